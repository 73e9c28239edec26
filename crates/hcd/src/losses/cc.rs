//! Correlation congruence of embeddings: mean over neighbours in the batch of Σ_d |e_s − e_t|_i,d |e_s − e_t|_i+1,d.
//!
//! Source: Peng et al., Correlation Congruence for Knowledge Distillation, ICCV 2019, arXiv 1904.01802, in the form of
//! Tian et al.'s benchmark (arXiv 1910.10699), which leaves out the kernel.

use super::same_shape;
use burn::tensor::Tensor;

/// 0 for a single sample, which has no neighbour.
///
/// # Shapes
/// `student`, `teacher` (B, D) → (1)
///
/// # Panics
/// Where the shapes differ.
pub fn correlation_congruence(student: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    same_shape("correlation_congruence", ("student", &student), ("teacher", &teacher));
    let batch = student.dims()[0];
    let apart = (student - teacher).abs(); // (B, D)
    if batch < 2 {
        return apart.sum() * 0.0;
    }
    let pairs = batch - 1;
    (apart.clone().narrow(0, 0, pairs) * apart.narrow(0, 1, pairs)).sum() / pairs as f64
}
