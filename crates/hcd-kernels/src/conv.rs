//! Two-dimensional convolution of images (N, C, H, W): forward, gradient of the input, gradient of the weight.
//!
//! y[n, o, i, j] = Σ_{c, u, v} weight[o, c, u, v] · x[n, c, i·s + u − p, j·s + v − p], zero outside the image.
//!
//! Nothing is unrolled into columns. A few images are copied to planes with zero margins, one plane for each
//! place of a row and column within the stride (`planes.rs`); there every tap (u, v) of the kernel reads a
//! contiguous run of the plane, at an offset of its own. So the convolution is a matrix product whose
//! right-hand rows are overlapping runs (`product.rs`); what falls on margins is not written out.

mod grads;
mod planes;
mod product;

pub use grads::{input_grad, weight_grad};

use planes::{Axis, Planes};
use product::{Weights, multiply};
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
        Axis::new(self.size[axis], self.kernel[axis], self.stride[axis], self.padding[axis])
    }

    /// Images that are worked on at once: enough to fill vectors, few enough to stay in the cache and to leave
    /// work for other threads.
    fn block(&self, plane: usize) -> usize {
        (1024 / plane.max(1)).clamp(1, self.images.div_ceil(16).max(1))
    }

    fn check(&self) {
        assert!(
            self.groups > 0
                && self.in_channels.is_multiple_of(self.groups)
                && self.out_channels.is_multiple_of(self.groups)
                && self.stride[0] > 0
                && self.stride[1] > 0,
            "conv: {self:?}"
        );
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
    let [rows, columns] = [shape.axis(0), shape.axis(1)];
    if y.is_empty() {
        return;
    }
    let (inputs, outputs) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let block = shape.block(rows.step() * columns.step());
    let weights: Vec<Weights> = weight
        .chunks_exact(outputs * shape.taps())
        .map(|weight| Weights::pack(outputs, shape.taps(), |row, tap| weight[row * shape.taps() + tap]))
        .collect();
    let area = rows.output * columns.output;
    let (x_image, y_image) = (shape.in_channels * shape.size[0] * shape.size[1], shape.out_channels * area);
    y.par_chunks_mut(block * y_image).zip(x.par_chunks(block * x_image)).for_each_init(
        || (Planes::new(rows, columns, inputs, block), Vec::new()),
        |(planes, result), (y, x)| {
            let images = y.len() / y_image;
            let offsets = planes.tap_offsets(inputs);
            for (group, weights) in weights.iter().enumerate() {
                planes.fill(x, shape, images, group * inputs);
                multiply(weights, &offsets, planes.values(), images * planes.plane(), result);
                let run = weights.run(images * planes.plane());
                for (image, y) in y.chunks_exact_mut(y_image).enumerate() {
                    let y = &mut y[group * outputs * area..(group + 1) * outputs * area];
                    for (o, y) in y.chunks_exact_mut(area).enumerate() {
                        let bias = bias.map_or(0.0, |bias| bias[group * outputs + o]);
                        let result = &result[o * run + image * planes.plane()..];
                        for (i, y) in y.chunks_exact_mut(columns.output).enumerate() {
                            let from = &result[i * columns.step()..][..columns.output];
                            for (y, &value) in y.iter_mut().zip(from) {
                                *y = value + bias;
                            }
                        }
                    }
                }
            }
        },
    );
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
            shape(2, 1, [3, 4], [30, 31], [7, 7], [2, 2], [3, 3]),
            shape(2, 1, [3, 9], [12, 8], [4, 4], [4, 4], [0, 0]),
            shape(2, 1, [2, 3], [9, 11], [2, 3], [3, 2], [1, 0]),
            shape(2, 1, [2, 3], [5, 5], [3, 3], [1, 1], [2, 2]),
            shape(2, 1, [2, 3], [5, 4], [3, 3], [1, 1], [0, 0]),
            shape(20, 6, [6, 6], [9, 9], [3, 3], [1, 1], [1, 1]),
            shape(3, 6, [6, 12], [9, 8], [3, 3], [2, 2], [1, 1]),
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
            assert_close(&format!("y {shape:?}"), &y, &expected.y, 2e-6);
            assert_close(&format!("dx {shape:?}"), &dx, &expected.dx, 2e-6);
            assert_close(&format!("dweight {shape:?}"), &dweight, &expected.dweight, 5e-6);
            assert_close(&format!("dbias {shape:?}"), &dbias, &expected.dbias, 5e-6);
        }
    }
}
