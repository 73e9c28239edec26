//! The rectifier where a residual branch meets its shortcut: max(a + b, 0).

use super::{Kernels, has_kernels};
use burn::backend::Dispatch;
use burn::tensor::{Tensor, activation};

/// max(a + b, 0).
///
/// # Shapes
/// Any, the same for both.
///
/// # Panics
/// If the shapes differ.
pub fn add_relu<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    assert_eq!(a.dims(), b.dims(), "add_relu: shapes differ");
    if !has_kernels(&a) {
        return activation::relu(a + b);
    }
    Tensor::from_dispatch(<Dispatch as Kernels>::add_relu(a.into_dispatch(), b.into_dispatch()))
}
