//! Divergence of the student from one stage's sub-logits:
//! T² (1/N) Σ_j KL(softmax(z_ij/T) ‖ softmax(z_s/T)).
//!
//! Source: HCD (Xu et al., AAAI 2026, arXiv 2511.10942), sub-logit decoupled distillation.

use super::{kl, same_batch};
use burn::tensor::Tensor;

/// Mean over the batch and the N sub-logits. Gradients reach the student *and* the sub-logits; detach
/// `fused` for a student that follows without being met half-way.
///
/// # Shapes
/// `student_logits` z_s (B, K), `fused` z_i (B, N, K) → (1)
///
/// # Panics
/// Where B or K differ, or `temperature` is not positive.
pub fn sub_kl(student_logits: Tensor<2>, fused: Tensor<3>, temperature: f64) -> Tensor<1> {
    same_batch("sub_kl", &fused, ("student logits", &student_logits));
    kl(fused, student_logits.unsqueeze_dim::<3>(1), temperature)
}
