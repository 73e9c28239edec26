//! Convolutions of 1x1 kernels without padding: for each image Y = W·X over channels, pixels side by side as they lie.
//! Where the stride leaves pixels out, X is first what is left of them.

use super::ConvShape;
use super::grads::parts_of;
use crate::gemm::{Activation, Bias, Left, Panels, WIDTH, multiply_here};
use crate::memory;
use crate::split::sum_parts;
use rayon::prelude::*;

/// Whether a convolution is computed so: few of the last panel's columns may be wasted.
pub(super) fn suits(shape: &ConvShape) -> bool {
    let [height, width] = shape.out_size();
    let area = height * width;
    (shape.kernel, shape.padding, shape.groups) == ([1, 1], [0, 0], 1)
        && area.next_multiple_of(WIDTH) * 6 <= area * 7
}

/// See [`super::forward`].
pub(super) fn forward(shape: &ConvShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let [height, width] = shape.out_size();
    let (in_area, area) = (shape.size[0] * shape.size[1], height * width);
    let bias = bias.map_or(Bias::None, Bias::Row);
    let images = y.par_chunks_mut(shape.out_channels * area).zip(x.par_chunks(shape.in_channels * in_area));
    images.for_each_init(
        || (Panels::default(), Vec::new(), Vec::new()),
        |(panels, scratch, kept), (y, x)| {
            let x = if area == in_area { x } else { keep(shape, x, kept) };
            panels.refill(x, area);
            let weight = Left::straight(weight, shape.in_channels);
            multiply_here(weight, panels, bias, Activation::None, scratch, y);
        },
    );
}

/// See [`super::input_grad`].
pub(super) fn input_grad(shape: &ConvShape, grad: &[f32], weight: &[f32], dx: &mut [f32]) {
    let [height, width] = shape.out_size();
    let (in_area, area) = (shape.size[0] * shape.size[1], height * width);
    let images =
        dx.par_chunks_mut(shape.in_channels * in_area).zip(grad.par_chunks(shape.out_channels * area));
    images.for_each_init(
        || (Panels::default(), Vec::new(), Vec::new()),
        |(panels, scratch, kept), (dx, grad)| {
            panels.refill(grad, area);
            let weight = Left::transposed(weight, shape.in_channels);
            if area == in_area {
                return multiply_here(weight, panels, Bias::None, Activation::None, scratch, dx);
            }
            kept.resize(shape.in_channels * area, 0.0);
            multiply_here(weight, panels, Bias::None, Activation::None, scratch, kept);
            dx.fill(0.0);
            for (dx, kept) in dx.chunks_exact_mut(in_area).zip(kept.chunks_exact(area)) {
                for (row, kept) in kept.chunks_exact(width).enumerate() {
                    let to = &mut dx[row * shape.stride[0] * shape.size[1]..][..shape.size[1]];
                    to.iter_mut().step_by(shape.stride[1]).zip(kept).for_each(|(to, &value)| *to = value);
                }
            }
        },
    );
}

/// Pixels of an image from which on the weight's gradient is summed image by image.
const AREA: usize = 196;

/// Whether the gradient of the weight is computed so: sums are read and written once an image.
pub(super) fn suits_weight_grad(shape: &ConvShape) -> bool {
    (shape.kernel, shape.padding, shape.stride, shape.groups) == ([1, 1], [0, 0], [1, 1], 1)
        && shape.size[0] * shape.size[1] >= AREA
}

/// See [`super::weight_grad`]: dW = Σ dY·Xᵀ over images, of which X alone is turned.
pub(super) fn weight_grad(shape: &ConvShape, x: &[f32], grad: &[f32], dweight: &mut [f32]) {
    let area = shape.size[0] * shape.size[1];
    let (x_image, y_image) = (shape.in_channels * area, shape.out_channels * area);
    let part = parts_of(shape, dweight.len());
    let sums = memory::written(shape.images.div_ceil(part) * dweight.len(), |sums| {
        let parts = x.par_chunks(part * x_image).zip(grad.par_chunks(part * y_image));
        sums.par_chunks_mut(dweight.len()).zip(parts).for_each_init(
            || (Panels::default(), Vec::new()),
            |(panels, scratch), (sums, (x, grad))| {
                let images = x.chunks_exact(x_image).zip(grad.chunks_exact(y_image));
                for (index, (x, grad)) in images.enumerate() {
                    panels.resize(area, shape.in_channels);
                    panels.turn_in(0, area, x, area);
                    let before = if index == 0 { Bias::None } else { Bias::There };
                    multiply_here(
                        Left::straight(grad, area),
                        panels,
                        before,
                        Activation::None,
                        scratch,
                        sums,
                    );
                }
            },
        );
    });
    sum_parts(&sums, dweight);
}

/// The pixels of an image (channels, H, W) that the stride reads.
fn keep<'a>(shape: &ConvShape, x: &[f32], kept: &'a mut Vec<f32>) -> &'a [f32] {
    let [height, width] = shape.out_size();
    kept.clear();
    for x in x.chunks_exact(shape.size[0] * shape.size[1]) {
        for row in 0..height {
            let x = &x[row * shape.stride[0] * shape.size[1]..][..shape.size[1]];
            kept.extend(x.iter().step_by(shape.stride[1]).take(width));
        }
    }
    kept
}
