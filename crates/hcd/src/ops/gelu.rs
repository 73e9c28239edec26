//! The Gaussian error linear unit, exact: x Φ(x).

use super::{Kernels, has_kernels};
use burn::backend::Dispatch;
use burn::tensor::{Tensor, activation};

/// x Φ(x), by the error function.
///
/// # Shapes
/// Any.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !has_kernels(&x) {
        return activation::gelu(x);
    }
    Tensor::from_dispatch(<Dispatch as Kernels>::gelu(x.into_dispatch()))
}
