//! Relations in place of values: 1 − Pearson's correlation of the two softmaxes, over the classes of each sample
//! (inter-class) and over the samples of each class (intra-class), times T².
//!
//! Source: Huang et al., Knowledge Distillation from A Stronger Teacher (DIST), NeurIPS 2022, arXiv 2205.10536,
//! equations 6 to 9.

use super::same_shape;
use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

/// Added to the product of the norms.
const EPSILON: f64 = 1e-8;
/// Below this a squared norm is 0: the slope of the root there is infinite, and times 0 not a number.
const LEAST_SQUARE: f64 = 1e-24;

/// T² (1 − mean over samples of the correlation over classes). The teacher gets no gradient.
///
/// # Shapes
/// `student_logits`, `teacher_logits` (B, K) → (1)
///
/// # Panics
/// Where the shapes differ.
pub fn inter_class(student_logits: Tensor<2>, teacher_logits: Tensor<2>, temperature: f64) -> Tensor<1> {
    let [student, teacher] = softmaxes(student_logits, teacher_logits, temperature);
    one_minus_correlation(student, teacher) * (temperature * temperature)
}

/// T² (1 − mean over classes of the correlation over samples). The teacher gets no gradient.
///
/// # Shapes
/// `student_logits`, `teacher_logits` (B, K) → (1)
///
/// # Panics
/// Where the shapes differ.
pub fn intra_class(student_logits: Tensor<2>, teacher_logits: Tensor<2>, temperature: f64) -> Tensor<1> {
    let [student, teacher] = softmaxes(student_logits, teacher_logits, temperature);
    one_minus_correlation(student.transpose(), teacher.transpose()) * (temperature * temperature)
}

fn softmaxes(student: Tensor<2>, teacher: Tensor<2>, temperature: f64) -> [Tensor<2>; 2] {
    same_shape("dist", ("student logits", &student), ("teacher logits", &teacher));
    [student, teacher.without_autodiff()].map(|logits| log_softmax(logits / temperature, 1).exp())
}

/// 1 − mean of Pearson's correlation of the rows.
///
/// # Shapes
/// (R, C) each → (1)
fn one_minus_correlation(left: Tensor<2>, right: Tensor<2>) -> Tensor<1> {
    let centred = |rows: Tensor<2>| rows.clone() - rows.mean_dim(1); // (R, C)
    let norm = |rows: Tensor<2>| rows.square().sum_dim(1).clamp_min(LEAST_SQUARE).sqrt(); // (R, 1)
    let (left, right) = (centred(left), centred(right));
    let product = (left.clone() * right.clone()).sum_dim(1); // (R, 1)
    let cosine = product / (norm(left) * norm(right) + EPSILON);
    cosine.mean() * -1.0 + 1.0
}
