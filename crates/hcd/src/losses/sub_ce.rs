//! Cross-entropy of one stage's sub-logits with the labels: (1/N) Σ_j CE(z_ij, q).
//!
//! Source: HCD (Xu et al., AAAI 2026, arXiv 2511.10942), sub-logit decoupled distillation.

use super::same_batch;
use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

/// Mean over the batch and the N sub-logits of CE(z_ij, q).
///
/// # Shapes
/// `fused` z_i (B, N, K), `q` (B, K) with rows that are distributions → (1)
///
/// # Panics
/// Where B or K differ.
pub fn sub_ce(fused: Tensor<3>, q: Tensor<2>) -> Tensor<1> {
    same_batch("sub_ce", &fused, ("q", &q));
    let [batch, sub_logits, _] = fused.dims();
    let log_p = log_softmax(fused, 2); // (B, N, K)
    (q.unsqueeze_dim::<3>(1) * log_p).sum() / -((batch * sub_logits) as f64)
}
