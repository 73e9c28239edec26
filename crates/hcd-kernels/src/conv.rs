//! Two-dimensional convolution of images (N, C, H, W): forward, gradient of the input, gradient of the weight.
//!
//! y[n, o, i, j] = Σ_{c, u, v} weight[o, c, u, v] · x[n, c, i·s + u·d − p, j·s + v·d − p], zero outside the image.
//!
//! Nothing is unrolled into columns. Images are copied, a few at a time, to planes with zero margins, one plane for
//! each place of a row and column within the stride (`planes.rs`); there every tap (u, v) of the kernel reads a
//! contiguous run of the plane, at an offset of its own. Where channels mix, the convolution is a matrix product whose
//! tiles are collected from such runs (`dense.rs`, `grads.rs`); where each channel stands alone, sixteen pixels are
//! computed side by side (`depthwise.rs`).

mod bf16;
mod dense;
mod depthwise;
mod grads;
mod parts;
mod planes;
mod pointwise;
mod winograd;

use crate::bf16::{Precision, Unit, rounded};
use crate::lanes::Portable;
use crate::sums::{Plain, sum_over};
use planes::Axis;
use rayon::prelude::*;

/// The sizes of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// N.
    pub images: usize,
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// C of the input.
    pub in_channels: usize,
    /// C of the output.
    pub out_channels: usize,
    /// Height and width of the input.
    pub size: [usize; 2],
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Stride, down and across.
    pub stride: [usize; 2],
    /// Zero padding, above and below, left and right.
    pub padding: [usize; 2],
    /// From one tap of the kernel to the next, down and across.
    pub dilation: [usize; 2],
    /// What is multiplied, where channels mix; depthwise convolutions wait for memory, and stay at 32 bits.
    pub precision: Precision,
}

impl ConvShape {
    /// Height and width of the output.
    pub fn out_size(&self) -> [usize; 2] {
        [0, 1].map(|axis| self.axis(axis).output)
    }

    /// Numbers in the input.
    pub fn input_len(&self) -> usize {
        self.images * self.in_channels * self.size[0] * self.size[1]
    }

    /// Numbers in the weight (C_out, C_in / groups, k_h, k_w).
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.taps()
    }

    /// Numbers in the output.
    pub fn output_len(&self) -> usize {
        let [height, width] = self.out_size();
        self.images * self.out_channels * height * width
    }

    /// Products that make one number of the output.
    fn taps(&self) -> usize {
        self.in_channels / self.groups * self.kernel[0] * self.kernel[1]
    }

    fn axis(&self, axis: usize) -> Axis {
        Axis::new(
            self.size[axis],
            self.kernel[axis],
            self.stride[axis],
            self.padding[axis],
            self.dilation[axis],
        )
    }

    /// The same at 32 bits.
    fn single(&self) -> Self {
        Self { precision: Precision::F32, ..*self }
    }

    /// Whether each channel of the output reads one channel.
    fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.in_channels == self.groups
    }

    /// Whether operands are rounded to 16 bits, forward and backward: as `precision` asks, but for depthwise
    /// convolutions and those that f32 computes sooner on this processor.
    pub fn rounds(&self) -> bool {
        matches!(Way::of(self), Way::Bf16 | Way::Rounded)
    }

    fn check(&self) {
        assert!(
            self.groups > 0
                && self.in_channels.is_multiple_of(self.groups)
                && self.out_channels.is_multiple_of(self.groups)
                && self.stride.iter().chain(&self.dilation).all(|&step| step > 0),
            "conv: {self:?}"
        );
    }
}

/// How a convolution is computed, forward and backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Depthwise,
    /// Numbers of 16 bits.
    Bf16,
    /// Numbers rounded to 16 bits and multiplied as those of 32.
    Rounded,
    Winograd,
    Pointwise,
    Dense,
}

impl Way {
    fn of(shape: &ConvShape) -> Self {
        // Vectors take twice as many numbers of 16 bits, Winograd's method a quarter of the products: where tiles are
        // not at hand, it is the faster one, and the more exact.
        let vectors = || Unit::current() == Unit::Avx512Bf16;
        match shape.precision {
            _ if shape.is_depthwise() => Way::Depthwise,
            Precision::Bf16 if vectors() && winograd::suits(shape) => Way::Winograd,
            Precision::Bf16 if bf16::suits(shape) => Way::Bf16,
            Precision::Bf16 => Way::Rounded,
            Precision::F32 if winograd::suits(shape) => Way::Winograd,
            Precision::F32 if pointwise::suits(shape) => Way::Pointwise,
            Precision::F32 => Way::Dense,
        }
    }
}

/// # Shapes
/// `x` (N, C_in, H, W); `weight` (C_out, C_in / groups, k_h, k_w); `bias` (C_out); `y` (N, C_out, H_out, W_out)
pub fn forward(shape: &ConvShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    shape.check();
    assert_eq!(x.len(), shape.input_len(), "conv::forward: x is not as in {shape:?}");
    assert_eq!(weight.len(), shape.weight_len(), "conv::forward: weight is not as in {shape:?}");
    assert_eq!(y.len(), shape.output_len(), "conv::forward: y is not as in {shape:?}");
    assert!(bias.is_none_or(|bias| bias.len() == shape.out_channels), "conv::forward: bias is not (C_out)");
    match Way::of(shape) {
        _ if y.is_empty() => {}
        Way::Depthwise => depthwise::forward(shape, x, weight, bias, y),
        Way::Bf16 => bf16::forward(shape, x, weight, bias, y),
        Way::Rounded => forward(&shape.single(), &rounded(x), &rounded(weight), bias, y),
        Way::Winograd => winograd::forward(shape, x, weight, bias, y),
        Way::Pointwise => pointwise::forward(shape, x, weight, bias, y),
        Way::Dense => dense::forward(shape, x, weight, bias, y),
    }
}

/// Gradient of x.
///
/// # Shapes
/// `grad` (N, C_out, H_out, W_out); `weight` (C_out, C_in / groups, k_h, k_w); `dx` (N, C_in, H, W)
pub fn input_grad(shape: &ConvShape, grad: &[f32], weight: &[f32], dx: &mut [f32]) {
    shape.check();
    assert_eq!(grad.len(), shape.output_len(), "conv::input_grad: grad is not as in {shape:?}");
    assert_eq!(weight.len(), shape.weight_len(), "conv::input_grad: weight is not as in {shape:?}");
    assert_eq!(dx.len(), shape.input_len(), "conv::input_grad: dx is not as in {shape:?}");
    match Way::of(shape) {
        _ if dx.is_empty() || grad.is_empty() => dx.fill(0.0),
        Way::Depthwise => depthwise::input_grad(shape, grad, weight, dx),
        Way::Bf16 => bf16::input_grad(shape, grad, weight, dx),
        Way::Rounded => input_grad(&shape.single(), &rounded(grad), &rounded(weight), dx),
        Way::Winograd => winograd::input_grad(shape, grad, weight, dx),
        Way::Pointwise => pointwise::input_grad(shape, grad, weight, dx),
        Way::Dense => grads::input_grad(shape, grad, weight, dx),
    }
}

/// Gradients of weight and bias.
///
/// # Shapes
/// `x` (N, C_in, H, W); `grad` (N, C_out, H_out, W_out); `dweight` (C_out, C_in / groups, k_h, k_w);
/// `dbias` (C_out)
pub fn weight_grad(
    shape: &ConvShape,
    x: &[f32],
    grad: &[f32],
    dweight: &mut [f32],
    dbias: Option<&mut [f32]>,
) {
    shape.check();
    assert_eq!(x.len(), shape.input_len(), "conv::weight_grad: x is not as in {shape:?}");
    assert_eq!(grad.len(), shape.output_len(), "conv::weight_grad: grad is not as in {shape:?}");
    assert_eq!(dweight.len(), shape.weight_len(), "conv::weight_grad: dweight is not as in {shape:?}");
    if let Some(dbias) = dbias {
        assert_eq!(dbias.len(), shape.out_channels, "conv::weight_grad: dbias is not (C_out)");
        let area = shape.out_size()[0] * shape.out_size()[1];
        dbias.par_iter_mut().enumerate().for_each(|(channel, sum)| {
            let planes = grad.chunks_exact(area.max(1)).skip(channel).step_by(shape.out_channels);
            *sum = planes.map(|plane| sum_over::<Portable, 1, 1>([plane], Plain)[0]).sum();
        });
    }
    match Way::of(shape) {
        _ if dweight.is_empty() || grad.is_empty() || x.is_empty() => dweight.fill(0.0),
        Way::Depthwise => depthwise::weight_grad(shape, x, grad, dweight),
        Way::Bf16 => bf16::weight_grad(shape, x, grad, dweight),
        Way::Rounded => weight_grad(&shape.single(), &rounded(x), &rounded(grad), dweight, None),
        Way::Winograd => winograd::weight_grad(shape, x, grad, dweight),
        Way::Pointwise => pointwise::weight_grad(shape, x, grad, dweight),
        Way::Dense => grads::weight_grad(shape, x, grad, dweight),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{self, assert_close, noise};

    #[test]
    fn agrees_with_the_reference() {
        let shape = |images, groups, channels: [usize; 2], size, kernel, stride, padding| ConvShape {
            images,
            groups,
            in_channels: channels[0],
            out_channels: channels[1],
            size,
            kernel,
            stride,
            padding,
            dilation: [1, 1],
            precision: Precision::F32,
        };
        for shape in [
            shape(0, 1, [1, 1], [3, 3], [3, 3], [1, 1], [1, 1]),
            shape(1, 1, [1, 1], [1, 1], [1, 1], [1, 1], [0, 0]),
            shape(2, 1, [1, 8], [28, 28], [3, 3], [1, 1], [1, 1]),
            shape(3, 1, [3, 5], [7, 9], [3, 3], [1, 1], [1, 1]),
            shape(2, 1, [4, 16], [28, 28], [3, 3], [2, 2], [1, 1]),
            shape(35, 1, [5, 17], [7, 7], [3, 3], [2, 2], [1, 1]),
            shape(5, 1, [6, 3], [8, 6], [1, 1], [2, 2], [0, 0]),
            shape(5, 1, [6, 9], [5, 6], [1, 1], [1, 1], [0, 0]),
            shape(3, 1, [6, 9], [9, 7], [1, 1], [1, 1], [0, 0]),
            shape(3, 1, [5, 19], [17, 15], [1, 1], [2, 2], [0, 0]),
            shape(5, 1, [37, 50], [14, 15], [1, 1], [1, 1], [0, 0]),
            shape(3, 1, [6, 9], [16, 16], [1, 1], [1, 1], [0, 0]),
            shape(9, 1, [8, 5], [16, 16], [1, 1], [2, 2], [0, 0]),
            shape(2, 1, [3, 4], [30, 31], [7, 7], [2, 2], [3, 3]),
            shape(2, 1, [3, 9], [12, 8], [4, 4], [4, 4], [0, 0]),
            shape(2, 1, [2, 3], [9, 11], [2, 3], [3, 2], [1, 0]),
            shape(2, 1, [2, 3], [5, 5], [3, 3], [1, 1], [2, 2]),
            shape(2, 1, [2, 3], [5, 4], [3, 3], [1, 1], [0, 0]),
            shape(20, 6, [6, 6], [9, 9], [3, 3], [1, 1], [1, 1]),
            shape(3, 6, [6, 12], [9, 8], [3, 3], [2, 2], [1, 1]),
            shape(2, 6, [6, 6], [34, 35], [5, 5], [1, 1], [2, 2]),
            shape(2, 3, [3, 3], [19, 40], [7, 7], [2, 2], [3, 3]),
            shape(3, 1, [64, 33], [12, 9], [3, 3], [1, 1], [1, 1]),
            shape(2, 1, [32, 80], [31, 13], [3, 3], [1, 1], [0, 2]),
            shape(36, 1, [130, 48], [4, 4], [3, 3], [1, 1], [1, 1]),
            shape(5, 1, [33, 40], [14, 14], [3, 3], [1, 1], [1, 1]),
            shape(2, 2, [6, 10], [6, 6], [5, 5], [1, 1], [2, 2]),
            shape(2, 1, [1, 2], [2, 2], [5, 5], [1, 1], [1, 1]),
            shape(40, 1, [8, 8], [1, 1], [3, 3], [1, 1], [1, 1]),
        ] {
            let (x, weight) = (noise(shape.input_len(), 1), noise(shape.weight_len(), 2));
            let (bias, grad) = (noise(shape.out_channels, 3), noise(shape.output_len(), 4));
            let mut y = vec![f32::NAN; grad.len()];
            forward(&shape, &x, &weight, Some(&bias), &mut y);
            let mut dx = vec![f32::NAN; x.len()];
            input_grad(&shape, &grad, &weight, &mut dx);
            let (mut dweight, mut dbias) = (vec![f32::NAN; weight.len()], vec![f32::NAN; bias.len()]);
            weight_grad(&shape, &x, &grad, &mut dweight, Some(&mut dbias));
            let expected = reference::conv(&shape, &x, &weight, &bias, &grad);
            // Winograd's transforms are sums of their own.
            let scale = if winograd::suits(&shape) { 3.0 } else { 1.0 };
            assert_close(&format!("y {shape:?}"), &y, &expected.y, 2e-6 * scale);
            assert_close(&format!("dx {shape:?}"), &dx, &expected.dx, 2e-6 * scale);
            assert_close(&format!("dweight {shape:?}"), &dweight, &expected.dweight, 5e-6 * scale);
            assert_close(&format!("dbias {shape:?}"), &dbias, &expected.dbias, 5e-6);
        }
    }
}
