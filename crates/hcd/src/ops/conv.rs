//! Two-dimensional convolution: y[n, o] = bias[o] + Σ_c weight[o, c] ⋆ x[n, c].

use super::{Kernels, has_kernels, precision};
use burn::backend::Dispatch;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, module};
use hcd_kernels::conv::ConvShape;

/// # Shapes
/// `x` (B, C_in, H, W); `weight` (C_out, C_in / groups, k_h, k_w); `bias` (C_out)
/// → (B, C_out, (H + 2p − k_h)/s + 1, (W + 2p − k_w)/s + 1)
///
/// # Panics
/// If a shape is not as above.
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: usize,
    padding: usize,
    groups: usize,
) -> Tensor<4> {
    if !has_kernels(&x) {
        let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], groups);
        return module::conv2d(x, weight, bias, options);
    }
    let [images, in_channels, height, width] = x.dims();
    let [out_channels, group_channels, kernel_rows, kernel_columns] = weight.dims();
    assert!(
        group_channels * groups == in_channels
            && out_channels % groups == 0
            && height + 2 * padding >= kernel_rows
            && width + 2 * padding >= kernel_columns
            && bias.as_ref().is_none_or(|bias| bias.dims() == [out_channels]),
        "conv2d: x {:?}, weight {:?}, {groups} groups, padding {padding}",
        x.dims(),
        weight.dims()
    );
    let shape = ConvShape {
        images,
        groups,
        in_channels,
        out_channels,
        size: [height, width],
        kernel: [kernel_rows, kernel_columns],
        stride: [stride; 2],
        padding: [padding; 2],
        dilation: [1, 1],
        precision: precision::current(),
    };
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => <Dispatch as Kernels>::conv2d_with_bias(x, weight, bias.into_dispatch(), shape),
        None => <Dispatch as Kernels>::conv2d(x, weight, shape),
    })
}
