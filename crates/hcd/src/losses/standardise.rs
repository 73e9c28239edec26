//! Logit standardisation: (z − mean z) / (std z + 1e-7), std unbiased, row by row.
//!
//! Source: Sun et al., Logit Standardization in Knowledge Distillation, CVPR 2024, arXiv 2403.01427.

use burn::tensor::Tensor;

const STD_EPSILON: f64 = 1e-7;
/// Below this a variance is 0: the slope of the square root there is infinite, and times 0 not a number.
const LEAST_VARIANCE: f64 = 1e-24;

/// Logits of mean 0 and deviation 1. Gradients flow through both statistics.
///
/// # Shapes
/// `logits` (B, K), K ≥ 2 → (B, K)
///
/// # Panics
/// Where K < 2: the unbiased deviation of one number does not exist.
pub fn standardise(logits: Tensor<2>) -> Tensor<2> {
    let [batch, classes] = logits.dims();
    assert!(classes >= 2, "standardise: logits {:?} need at least 2 classes", [batch, classes]);
    let centred = logits.clone() - logits.mean_dim(1); // (B, K)
    let variance = centred.clone().square().sum_dim(1) / (classes - 1) as f64; // (B, 1)
    centred / (variance.clamp_min(LEAST_VARIANCE).sqrt() + STD_EPSILON)
}
