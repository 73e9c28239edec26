//! Where a residual branch meets its shortcut: a + b, and max(a + b, 0).

use super::{Kernels, Rectifier, has_kernels};
use burn::backend::Dispatch;
use burn::tensor::{Tensor, activation};

/// a + b.
///
/// # Shapes
/// Any, the same for both.
///
/// # Panics
/// If the shapes differ.
pub fn add<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    match has_kernels(&a) {
        true => sum(a, b, Rectifier::None),
        false => a + b,
    }
}

/// max(a + b, 0).
///
/// # Shapes
/// Any, the same for both.
///
/// # Panics
/// If the shapes differ.
pub fn add_relu<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    match has_kernels(&a) {
        true => sum(a, b, Rectifier::Relu),
        false => activation::relu(a + b),
    }
}

fn sum<const D: usize>(a: Tensor<D>, b: Tensor<D>, rectifier: Rectifier) -> Tensor<D> {
    assert_eq!(a.dims(), b.dims(), "add: shapes differ");
    Tensor::from_dispatch(<Dispatch as Kernels>::sum(a.into_dispatch(), b.into_dispatch(), rectifier))
}
