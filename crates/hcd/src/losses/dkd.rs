//! Decoupled knowledge distillation: the divergence of true class against the rest (TCKD), and of the rest among
//! themselves (NCKD), each with a weight of its own.
//!
//! b = (p_y, 1 − p_y), TCKD = T² KL(b_t ‖ b_s); NCKD = T² KL of the softmaxes of z/T − 1000·[c = y].
//! Source: Zhao et al., Decoupled Knowledge Distillation, CVPR 2022, arXiv 2203.08679, equation 7.

use super::{kl, same_shape};
use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

/// What is taken off the true class's logit, after the temperature: its probability among the rest is 0.
const MASK: f64 = 1000.0;

/// How far the student's certainty about the true class is from the teacher's, mean over the batch. The teacher gets no
/// gradient.
///
/// # Shapes
/// `student_logits`, `teacher_logits` (B, K), `hard` one-hot of the true class (B, K) → (1)
///
/// # Panics
/// Where the shapes differ.
pub fn tckd(
    student_logits: Tensor<2>,
    teacher_logits: Tensor<2>,
    hard: Tensor<2>,
    temperature: f64,
) -> Tensor<1> {
    check("tckd", &student_logits, &teacher_logits, &hard);
    let batch = student_logits.dims()[0] as f64;
    let [student_true, student_rest] = true_and_rest(student_logits / temperature, hard.clone());
    let [teacher_true, teacher_rest] = true_and_rest(teacher_logits.without_autodiff() / temperature, hard);
    let divergence = teacher_true.clone().exp() * (teacher_true - student_true)
        + teacher_rest.clone().exp() * (teacher_rest - student_rest); // (B, 1)
    divergence.sum() * (temperature * temperature / batch)
}

/// How far the student's softmax over the other classes is from the teacher's, mean over the batch. The teacher gets no
/// gradient.
///
/// # Shapes
/// `student_logits`, `teacher_logits` (B, K), `hard` one-hot of the true class (B, K) → (1)
///
/// # Panics
/// Where the shapes differ.
pub fn nckd(
    student_logits: Tensor<2>,
    teacher_logits: Tensor<2>,
    hard: Tensor<2>,
    temperature: f64,
) -> Tensor<1> {
    check("nckd", &student_logits, &teacher_logits, &hard);
    let masked = |logits: Tensor<2>| logits / temperature - hard.clone() * MASK;
    let teacher = masked(teacher_logits.without_autodiff());
    kl(teacher, masked(student_logits), 1.0) * (temperature * temperature)
}

fn check(loss: &str, student: &Tensor<2>, teacher: &Tensor<2>, hard: &Tensor<2>) {
    same_shape(loss, ("student logits", student), ("teacher logits", teacher));
    same_shape(loss, ("student logits", student), ("one-hot", hard));
}

/// log p_y and log(1 − p_y), without a difference of 1 and nearly 1.
///
/// # Shapes
/// `logits`, `hard` (B, K) → (B, 1) each
fn true_and_rest(logits: Tensor<2>, hard: Tensor<2>) -> [Tensor<2>; 2] {
    let log_p = log_softmax(logits, 1); // (B, K)
    let of_true = (log_p.clone() * hard.clone()).sum_dim(1);
    let rest = log_p - hard.clone() * MASK;
    let greatest = rest.clone().without_autodiff().max_dim(1); // (B, 1)
    let others = hard.ones_like() - hard;
    let sum = ((rest - greatest.clone()).exp() * others).sum_dim(1);
    [of_true, sum.log() + greatest]
}
