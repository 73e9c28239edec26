//! One-for-all distillation's cross-entropy, in which the teacher's target class counts for more where it is sure:
//! mean over the batch of Σ_c −[(p_t + m)^γ − m]_c log p_s,c, m the one-hot of the true class.
//!
//! Source: Hao et al., One-for-All: Bridge the Gap Between Heterogeneous Architectures in Knowledge Distillation, NeurIPS
//! 2023, arXiv 2310.19444, equation 7.

use super::same_shape;
use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

/// γ = 1 is cross-entropy with the teacher's softmax. The teacher gets no gradient.
///
/// # Shapes
/// `student_logits`, `teacher_logits` (B, K), `hard` one-hot of the true class (B, K) → (1)
///
/// # Panics
/// Where the shapes differ.
pub fn ofa(
    student_logits: Tensor<2>,
    teacher_logits: Tensor<2>,
    hard: Tensor<2>,
    gamma: f64,
    temperature: f64,
) -> Tensor<1> {
    same_shape("ofa", ("student logits", &student_logits), ("teacher logits", &teacher_logits));
    same_shape("ofa", ("student logits", &student_logits), ("one-hot", &hard));
    let batch = student_logits.dims()[0] as f64;
    let log_p = log_softmax(student_logits / temperature, 1); // (B, K)
    let teacher = log_softmax(teacher_logits.without_autodiff() / temperature, 1).exp();
    let target = (teacher + hard.clone()).powf_scalar(gamma) - hard; // (B, K)
    (target * log_p).sum() / -batch
}
