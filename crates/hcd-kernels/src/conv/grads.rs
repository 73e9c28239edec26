//! Gradients of convolutions that mix channels.
//!
//! Of the input: each part of it (`parts.rs`) is again a product whose rows are runs of a plane, here of dy with margins.
//! Of the weight: dw[o, c, u, v] = Σ_pixel dy[o, pixel] · x[c, pixel · s + (u, v) · d − p], a product over pixels. There a
//! copy of x with margins has the channels side by side, so that a tile of them is a run.

use super::ConvShape;
use super::dense::{Room, images_per_task, multiply, put};
use super::parts::{Part, Parts, Runs};
use crate::gemm::{Activation, Bias, Left, Panels, WIDTH, multiply_here};
use crate::lanes::LANES;
use crate::memory;
use crate::split::sum_parts;
use crate::transpose::transpose;
use rayon::prelude::*;

/// Pixels that the weight's gradient is summed over before it is added to what there is.
const PIXELS: usize = 784;

/// See [`super::input_grad`].
pub(super) fn input_grad(shape: &ConvShape, grad: &[f32], weight: &[f32], dx: &mut [f32]) {
    let (inputs, outputs) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let area = shape.out_size()[0] * shape.out_size()[1];
    let in_area = shape.size[0] * shape.size[1];
    let images = images_per_task(shape, in_area);
    let parts = Parts::new(shape);
    let jobs: Vec<Job> =
        parts.parts.iter().map(|part| Job::new(shape, weight, &parts, part, images)).collect();
    let (x_image, y_image) = (shape.in_channels * in_area, shape.out_channels * area);
    dx.par_chunks_mut(images * x_image).zip(grad.par_chunks(images * y_image)).for_each_init(
        || (parts.planes(outputs * images), Room::default(), Vec::new()),
        |(planes, room, turned), (dx, grad)| {
            for group in 0..shape.groups {
                for (image, grad) in grad.chunks_exact(y_image).enumerate() {
                    let grad = &grad[group * outputs * area..(group + 1) * outputs * area];
                    for (o, grad) in grad.chunks_exact(area).enumerate() {
                        parts.fill(grad, &mut planes[(o * images + image) * parts.plane()..]);
                    }
                }
                let dx = &mut dx[group * inputs * in_area..];
                for job in &jobs {
                    job.run(&parts, group, planes, grad.len() / y_image, room, turned, dx);
                }
            }
        },
    );
}

/// One part of the input's gradient, as a product.
struct Job<'a> {
    part: &'a Part,
    inputs: usize,
    /// Numbers of a channel of dx, and of an image.
    lengths: [usize; 2],
    /// One for each group.
    weights: Vec<Panels>,
    offsets: Vec<usize>,
    starts: Vec<usize>,
}

impl<'a> Job<'a> {
    fn new(shape: &ConvShape, weight: &[f32], parts: &Parts, part: &'a Part, images: usize) -> Self {
        let (inputs, outputs) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
        let (plane, step, taps) = (parts.plane(), parts.step(), &part.taps);
        let offsets = (0..outputs)
            .flat_map(|o| part.offsets.iter().map(move |offset| o * images * plane + offset))
            .collect();
        let [rows, columns] = part.size;
        let starts = (0..images)
            .flat_map(|image| {
                (0..rows).flat_map(move |i| (0..columns).map(move |j| image * plane + i * step + j))
            })
            .collect();
        let kernel = shape.kernel[0] * shape.kernel[1];
        // Rows (o, tap) of a panel: for each o the weight (inputs, kernel) turned, those taps that count.
        let panels = |weight: &[f32]| {
            Panels::built(outputs * taps.len(), inputs, |first, width, panel| {
                let mut turned = vec![0.0; kernel * width];
                for o in 0..outputs {
                    let weight = &weight[(o * inputs + first) * kernel..];
                    transpose(weight, kernel, width, kernel, &mut turned, width);
                    for (tap, &place) in taps.iter().enumerate() {
                        let to = (o * taps.len() + tap) * WIDTH;
                        panel[to..to + width].copy_from_slice(&turned[place * width..][..width]);
                    }
                }
            })
        };
        let weights = weight.chunks_exact(outputs * inputs * kernel).map(panels).collect();
        let area = shape.size[0] * shape.size[1];
        Self { part, inputs, lengths: [area, shape.in_channels * area], weights, offsets, starts }
    }

    /// Writes this part of `images` images into dx (image, channels, H, W).
    #[allow(clippy::too_many_arguments)]
    fn run(
        &self,
        parts: &Parts,
        group: usize,
        planes: &[f32],
        images: usize,
        room: &mut Room,
        turned: &mut Vec<f32>,
        dx: &mut [f32],
    ) {
        let (area, inputs, [in_area, step]) = (self.part.area(), self.inputs, self.lengths);
        let (starts, weights) = (&self.starts[..images * area], &self.weights[group]);
        multiply(planes, starts, &self.offsets, weights, Bias::None, room, |first, count, product| {
            if area == in_area {
                return put(product, [first, count], [inputs, area], dx, step);
            }
            turned.resize(inputs * count, 0.0);
            transpose(product, inputs, count, inputs, turned, count);
            let mut done = 0;
            while done < count {
                let (image, pixel) = ((first + done) / area, (first + done) % area);
                let at = [pixel / self.part.size[1], pixel % self.part.size[1]];
                let length = (self.part.size[1] - at[1]).min(count - done);
                let runs = Runs { values: &turned[done..], channels: inputs, length, step: count };
                parts.put(self.part, at, runs, &mut dx[image * step..]);
                done += length;
            }
        });
    }
}

/// See [`super::weight_grad`].
pub(super) fn weight_grad(shape: &ConvShape, x: &[f32], grad: &[f32], dweight: &mut [f32]) {
    let (inputs, outputs) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let kernel = shape.kernel[0] * shape.kernel[1];
    let area = shape.out_size()[0] * shape.out_size()[1];
    let (x_image, y_image) = (shape.in_channels * shape.size[0] * shape.size[1], shape.out_channels * area);
    let part = parts_of(shape, dweight.len());
    // Pixels enough that adding to the sums costs little.
    let block = PIXELS.div_ceil(area.max(1)).clamp(1, part);
    let layout = ByPixel::new(shape, block);
    let (starts, offsets) = (layout.tap_starts(shape), layout.pixel_offsets(shape));
    let sums = memory::written(shape.images.div_ceil(part) * dweight.len(), |sums| {
        sums.par_chunks_mut(dweight.len())
            .zip(x.par_chunks(part * x_image).zip(grad.par_chunks(part * y_image)))
            .for_each(|(sums, (x, grad))| {
                let mut pixels = layout.empty();
                let (mut grads, mut tiles) = (Panels::default(), Vec::new());
                let blocks = x.chunks(block * x_image).zip(grad.chunks(block * y_image));
                for (index, (x, grad)) in blocks.enumerate() {
                    let images = x.len() / x_image;
                    for (group, sums) in sums.chunks_exact_mut(outputs * shape.taps()).enumerate() {
                        for (image, x) in x.chunks_exact(x_image).enumerate() {
                            layout.fill(shape, image, &x[group * x_image / shape.groups..], &mut pixels);
                        }
                        grads.resize(images * area, outputs);
                        for (image, grad) in grad.chunks_exact(y_image).enumerate() {
                            grads.turn_in(image * area, area, &grad[group * outputs * area..], area);
                        }
                        let taps = Left::runs(&pixels, &starts, &offsets[..images * area]);
                        let before = if index == 0 { Bias::None } else { Bias::There };
                        multiply_here(taps, &grads, before, Activation::None, &mut tiles, sums);
                    }
                }
            });
    });
    let total = memory::written(dweight.len(), |total| sum_parts(&sums, total));
    by_output(&total, outputs, [inputs, kernel], dweight);
}

/// Images whose gradients of a weight of so many numbers are summed by themselves: more where the weight is large.
pub(super) fn parts_of(shape: &ConvShape, weights: usize) -> usize {
    shape.images.div_ceil((2_000_000 / weights).clamp(2, 16).next_power_of_two())
}

/// (tap, input, output) → (output, input, tap), group by group.
pub(super) fn by_output(total: &[f32], outputs: usize, [inputs, kernel]: [usize; 2], dweight: &mut [f32]) {
    let per_output = inputs * kernel;
    dweight.par_chunks_mut(outputs * per_output).zip(total.par_chunks(outputs * per_output)).for_each(
        |(dweight, total)| {
            dweight.par_chunks_mut(LANES * per_output).enumerate().for_each_init(
                Vec::new,
                |by_tap, (index, dweight)| {
                    let count = dweight.len() / per_output;
                    let total = &total[index * LANES..];
                    if kernel == 1 {
                        return transpose(total, outputs, inputs, count, dweight, inputs);
                    }
                    by_tap.resize(count * per_output, 0.0);
                    transpose(total, outputs, per_output, count, by_tap, per_output);
                    for (by_tap, dweight) in
                        by_tap.chunks_exact(per_output).zip(dweight.chunks_exact_mut(per_output))
                    {
                        transpose(by_tap, inputs, kernel, inputs, dweight, kernel);
                    }
                },
            );
        },
    );
}

/// Images with margins whose channels lie side by side: (image, row, column, channel).
struct ByPixel {
    images: usize,
    channels: usize,
    size: [usize; 2],
}

impl ByPixel {
    fn new(shape: &ConvShape, images: usize) -> Self {
        let size = [0, 1].map(|axis| shape.size[axis] + 2 * shape.padding[axis]);
        Self { images, channels: shape.in_channels / shape.groups, size }
    }

    fn empty(&self) -> Vec<f32> {
        vec![0.0; self.images * self.size[0] * self.size[1] * self.channels + LANES]
    }

    /// Where each (tap, channel) of the first pixel lies.
    fn tap_starts(&self, shape: &ConvShape) -> Vec<usize> {
        let ([rows, columns], [down, across]) = (shape.kernel, shape.dilation);
        let tap = |u: usize, v: usize| {
            let start = (u * down * self.size[1] + v * across) * self.channels;
            start..start + self.channels
        };
        (0..rows).flat_map(|u| (0..columns).flat_map(move |v| tap(u, v))).collect()
    }

    /// From the first pixel to each, by image, row and column.
    fn pixel_offsets(&self, shape: &ConvShape) -> Vec<usize> {
        let [rows, columns] = shape.out_size();
        let [down, across] = shape.stride;
        let pixel = |image: usize, i: usize, j: usize| {
            ((image * self.size[0] + i * down) * self.size[1] + j * across) * self.channels
        };
        (0..self.images)
            .flat_map(|image| (0..rows).flat_map(move |i| (0..columns).map(move |j| pixel(image, i, j))))
            .collect()
    }

    /// Copies the channels of one image (C, H, W); margins are zero from the start.
    fn fill(&self, shape: &ConvShape, image: usize, x: &[f32], to: &mut [f32]) {
        let [height, width] = shape.size;
        for row in 0..height {
            let start = (image * self.size[0] + row + shape.padding[0]) * self.size[1] + shape.padding[1];
            let to = &mut to[start * self.channels..];
            transpose(&x[row * width..], height * width, self.channels, width, to, self.channels);
        }
    }
}
