//! Orthogonality of one stage's sub-logits, away from the true class:
//! mean over the batch and the ordered pairs j ≠ k of relu(cos(m_ij, m_ik) − θ)², m the logits with the true
//! class's entry set to 0.
//!
//! Source: HCD (Xu et al., AAAI 2026, arXiv 2511.10942), orthogonality loss. The true class is *zeroed*: a
//! large negative number in its place would dominate every norm, make all cosines 1 and their gradient 0.

use super::same_batch;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

/// Least norm in a cosine, so that an all-zero vector has cosine 0 with everything.
const LEAST_NORM: f64 = 1e-12;

/// How much alike the N sub-logits are beyond cosine θ; 0 for N = 1.
///
/// # Shapes
/// `logits` (B, N, K), `hard` one-hot of the true class (B, K) → (1)
///
/// # Panics
/// Where B or K differ.
pub fn orthogonality(logits: Tensor<3>, hard: Tensor<2>, cosine_threshold: f64) -> Tensor<1> {
    same_batch("orthogonality", &logits, ("one-hot", &hard));
    let [batch, sub_logits, _] = logits.dims();
    let (device, dtype) = (logits.device(), logits.dtype());
    if sub_logits < 2 {
        return Tensor::zeros([1], (&device, dtype));
    }
    let cosines = masked_cosines(logits, hard); // (B, N, N)
    let pairs = Tensor::<2>::eye(sub_logits, &device).cast(dtype) * -1.0 + 1.0; // (N, N), 0 where j = k
    let excess = relu(cosines - cosine_threshold).square() * pairs.unsqueeze_dim::<3>(0);
    excess.sum() / (batch * sub_logits * (sub_logits - 1)) as f64
}

/// cos(m_ij, m_ik) of all pairs of sub-logits, m the logits with the true class's entry set to 0.
///
/// # Shapes
/// `logits` (B, N, K), `hard` one-hot of the true class (B, K) → (B, N, N)
pub(crate) fn masked_cosines(logits: Tensor<3>, hard: Tensor<2>) -> Tensor<3> {
    let others = hard.ones_like() - hard; // (B, K)
    let masked = logits * others.unsqueeze_dim::<3>(1); // (B, N, K)
    // The clamp stands under the root: there its gradient is 0, not 0 · ∞.
    let squares = masked.clone().square().sum_dim(2); // (B, N, 1)
    let unit = masked / squares.clamp_min(LEAST_NORM * LEAST_NORM).sqrt();
    unit.clone().matmul(unit.swap_dims(1, 2))
}
