//! The greatest number of each window of a map, as PyTorch's `max_pool2d`.

use super::{Kernels, has_kernels};
use burn::backend::Dispatch;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Tensor, module};
use hcd_kernels::max_pool::PoolShape;

/// # Shapes
/// `x` (B, C, H, W) → (B, C, (H + 2p − k)/s + 1, (W + 2p − k)/s + 1)
///
/// # Panics
/// If the padding is more than half a window, or the padded map smaller than one.
pub fn max_pool2d(x: Tensor<4>, kernel: usize, stride: usize, padding: usize) -> Tensor<4> {
    let [images, channels, height, width] = x.dims();
    let shape = PoolShape {
        planes: images * channels,
        size: [height, width],
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 2],
    };
    if !has_kernels(&x) || !shape.is_sound() {
        let options = MaxPoolOptions::new([kernel; 2]).with_stride([stride; 2]).with_padding([padding; 2]);
        return module::max_pool2d(x, options);
    }
    Tensor::from_dispatch(<Dispatch as Kernels>::max_pool2d(x.into_dispatch(), shape))
}
