//! The mean of a map over height and width.

use super::{Kernels, has_kernels};
use burn::backend::Dispatch;
use burn::tensor::Tensor;

/// Mean over height and width.
///
/// # Shapes
/// `map` (B, C, H, W) → (B, C)
///
/// # Panics
/// If the map has no pixels.
pub fn global_average(map: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = map.dims();
    if !has_kernels(&map) {
        return map.reshape([batch, channels, height * width]).mean_dim(2).squeeze_dim(2);
    }
    Tensor::from_dispatch(<Dispatch as Kernels>::global_average(map.into_dispatch()))
}
