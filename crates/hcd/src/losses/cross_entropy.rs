//! Cross-entropy with a label distribution: −(1/B) Σ_b Σ_c q_bc log softmax(z_b)_c.
//!
//! Source: the CE of HCD's total loss (Xu et al., AAAI 2026, arXiv 2511.10942); q is a one-hot smoothed by ε
//! (Szegedy et al. 2016) or any soft label.

use super::same_shape;
use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

/// CE(z, q), mean over the batch.
///
/// # Shapes
/// `logits` (B, K), `q` (B, K) with rows that are distributions → (1)
///
/// # Panics
/// Where the shapes differ.
pub fn cross_entropy(logits: Tensor<2>, q: Tensor<2>) -> Tensor<1> {
    same_shape("cross_entropy", ("logits", &logits), ("q", &q));
    let batch = logits.dims()[0] as f64;
    let log_p = log_softmax(logits, 1); // (B, K)
    (q * log_p).sum() / -batch
}
