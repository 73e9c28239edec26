//! Layer normalisation over the last axis: y = (x − E[x]) / √(Var[x] + ε) · weight + bias.

use super::{Kernels, has_kernels};
use burn::backend::Dispatch;
use burn::tensor::{Tensor, module};

/// # Shapes
/// `x` (…, width); `weight`, `bias` (width) → (…, width)
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
) -> Tensor<D> {
    if !has_kernels(&x) {
        return module::layer_norm(x, weight, Some(bias), epsilon);
    }
    Tensor::from_dispatch(<Dispatch as Kernels>::layer_norm(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        epsilon,
    ))
}
