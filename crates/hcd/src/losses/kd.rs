//! Knowledge distillation: T² KL(softmax(z_t/T) ‖ softmax(z_s/T)), mean over the batch.
//!
//! Source: Hinton et al., arXiv 1503.02531; the KL of HCD's total loss (arXiv 2511.10942).

use super::{kl, same_shape};
use burn::tensor::Tensor;

/// How far the student's softmax is from the teacher's. The teacher gets no gradient.
///
/// # Shapes
/// `student_logits`, `teacher_logits` (B, K) → (1)
///
/// # Panics
/// Where the shapes differ, or `temperature` is not positive.
pub fn kd(student_logits: Tensor<2>, teacher_logits: Tensor<2>, temperature: f64) -> Tensor<1> {
    same_shape("kd", ("student logits", &student_logits), ("teacher logits", &teacher_logits));
    kl(teacher_logits.without_autodiff(), student_logits, temperature)
}
