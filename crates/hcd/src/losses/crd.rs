//! Noise-contrastive estimation over one positive and m negatives: −(1/B) Σ_b [log h_b0 + Σ_j log(1 − h_bj)] with
//! h = x / (x + m/n), x the similarity of two embeddings over a constant, n the samples of the set.
//!
//! Source: Tian et al., Contrastive Representation Distillation, ICLR 2020, arXiv 1910.10699, equation 17.

use burn::tensor::Tensor;

const EPSILON: f64 = 1e-7;

/// Of similarities of which the first column is the positive's.
///
/// # Shapes
/// `similarities` (B, 1 + m) → (1)
pub fn contrast(similarities: Tensor<2>, samples: usize) -> Tensor<1> {
    let [batch, columns] = similarities.dims();
    let negatives = columns - 1;
    let noise = negatives as f64 / samples as f64; // m Pn
    let positive = similarities.clone().narrow(1, 0, 1); // (B, 1)
    let found = (positive.clone() / (positive + (noise + EPSILON))).log().sum();
    if negatives == 0 {
        return found / -(batch as f64);
    }
    let negative = similarities.narrow(1, 1, negatives); // (B, m)
    let left = ((negative + (noise + EPSILON)).recip() * noise).log().sum();
    (found + left) / -(batch as f64)
}
