//! Redundancy suppression: the cross-correlation of student and teacher over the batch, driven to the identity.
//!
//! C = ẽ_sᵀ ẽ_t / B, ẽ of mean 0 and deviation 1 over the batch; mean_d (C_dd − 1)² + κ mean_{d≠e} C_de².
//! Source: Zhang et al., Cross-Architecture Distillation Made Simple with Redundancy Suppression, ICCV 2025, arXiv
//! 2507.21844.

use super::same_shape;
use burn::tensor::Tensor;

/// Added to the (biased) variance.
const EPSILON: f64 = 1e-5;

/// The teacher gets no gradient.
///
/// # Shapes
/// `student`, `teacher` (B, D) → (1)
///
/// # Panics
/// Where the shapes differ.
pub fn redundancy_suppression(student: Tensor<2>, teacher: Tensor<2>, kappa: f64) -> Tensor<1> {
    same_shape("redundancy_suppression", ("student", &student), ("teacher", &teacher));
    let [batch, width] = student.dims();
    let teacher = normalised(teacher.without_autodiff());
    let correlation = normalised(student).transpose().matmul(teacher) / batch as f64; // (D, D)
    let diagonal = Tensor::<2>::eye(width, &correlation.device()).cast(correlation.dtype());
    let on = ((correlation.clone() - diagonal.clone()) * diagonal.clone()).square().sum() / width as f64;
    let off = (correlation * (diagonal * -1.0 + 1.0)).square().sum() / (width * (width - 1)).max(1) as f64;
    on + off * kappa
}

/// Each column of mean 0 and deviation 1.
fn normalised(rows: Tensor<2>) -> Tensor<2> {
    let centred = rows.clone() - rows.mean_dim(0); // (B, D)
    let variance = centred.clone().square().mean_dim(0); // (1, D)
    centred / (variance + EPSILON).sqrt()
}
