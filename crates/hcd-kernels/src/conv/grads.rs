//! Gradients of convolutions that mix channels.
//!
//! Of the input: place (a, b) within the stride gets dx[i·s + a − p, …] = Σ_{o, taps u ≡ a, v ≡ b (mod s)}
//! weight[o, c, u, v] · dy[o, i − ⌊u/s⌋, …]: again a product whose rows are runs of a plane, here of dy with margins.
//! Of the weight: dw[o, c, u, v] = Σ_pixel dy[o, pixel] · x[c, pixel · s + (u, v) − p], a product over pixels. There a
//! copy of x with margins has the channels side by side, so that a tile of them is a run.

use super::ConvShape;
use super::dense::{Room, images_per_task, multiply, put};
use super::planes::Axis;
use crate::gemm::{Activation, Bias, Left, Panels, WIDTH, multiply_here};
use crate::lanes::LANES;
use crate::split::sum_parts;
use crate::transpose::transpose;
use rayon::prelude::*;

/// Pixels that the weight's gradient is summed over before it is added to what there is.
const PIXELS: usize = 784;

/// One direction of the input's gradient at one place within the stride.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// a of i·s + a − p.
    pub(super) at: usize,
    /// The first i inside the image.
    pub(super) first: usize,
    /// How many are inside.
    pub(super) count: usize,
    /// Taps a, a + s, a + 2s, …
    pub(super) taps: usize,
}

impl Place {
    pub(super) fn all(axis: &Axis) -> Vec<Place> {
        let all = (0..axis.stride).map(|at| {
            let first = axis.padding.saturating_sub(at).div_ceil(axis.stride);
            let end = (axis.input + axis.padding).saturating_sub(at).div_ceil(axis.stride);
            let taps = axis.kernel.saturating_sub(at).div_ceil(axis.stride);
            Place { at, first, count: end.saturating_sub(first), taps }
        });
        all.collect()
    }

    /// The first number of the image.
    pub(super) fn start(&self, axis: &Axis) -> usize {
        self.first * axis.stride + self.at - axis.padding
    }
}

/// One direction of dy's plane: the margin before each row, and from one row to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Margin {
    pub(super) before: usize,
    pub(super) step: usize,
}

impl Margin {
    pub(super) fn new(axis: &Axis, places: &[Place]) -> Self {
        let used = || places.iter().filter(|place| place.taps > 0 && place.count > 0);
        let before = used().map(|place| (place.taps - 1).saturating_sub(place.first)).max().unwrap_or(0);
        let after =
            used().map(|place| (place.first + place.count).saturating_sub(axis.output)).max().unwrap_or(0);
        Self { before, step: axis.output + before.max(after) }
    }
}

/// See [`super::input_grad`].
pub(super) fn input_grad(shape: &ConvShape, grad: &[f32], weight: &[f32], dx: &mut [f32]) {
    let [rows, columns] = [shape.axis(0), shape.axis(1)];
    let (row_places, column_places) = (Place::all(&rows), Place::all(&columns));
    let margins = [Margin::new(&rows, &row_places), Margin::new(&columns, &column_places)];
    let [down, across] = margins;
    let (inputs, outputs) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let plane = down.step * across.step;
    let (in_area, area) = (rows.input * columns.input, rows.output * columns.output);
    let images = images_per_task(shape, in_area);
    let jobs: Vec<Job> = row_places
        .iter()
        .flat_map(|&row| column_places.iter().map(move |&column| (row, column)))
        .filter(|(row, column)| row.count * column.count > 0)
        .map(|(row, column)| Job::new(shape, weight, [row, column], margins, images))
        .collect();
    let (x_image, y_image) = (shape.in_channels * in_area, shape.out_channels * area);
    dx.par_chunks_mut(images * x_image).zip(grad.par_chunks(images * y_image)).for_each_init(
        || {
            // The last row's runs reach over the end by less than this.
            let slack = plane + across.step + 2 * LANES + columns.kernel;
            (vec![0.0; outputs * images * plane + slack], Room::default(), Vec::new())
        },
        |(planes, room, turned), (dx, grad)| {
            for group in 0..shape.groups {
                // Margins are zero from the start.
                for (image, grad) in grad.chunks_exact(y_image).enumerate() {
                    let grad = &grad[group * outputs * area..(group + 1) * outputs * area];
                    for (o, grad) in grad.chunks_exact(area).enumerate() {
                        let start = (o * images + image) * plane + down.before * across.step + across.before;
                        for (i, grad) in grad.chunks_exact(columns.output).enumerate() {
                            let to = start + i * across.step;
                            planes[to..to + columns.output].copy_from_slice(grad);
                        }
                    }
                }
                let dx = &mut dx[group * inputs * in_area..];
                let count = grad.len() / y_image;
                for job in &jobs {
                    job.run(group, planes, count, [&rows, &columns], x_image, room, turned, dx);
                }
            }
        },
    );
}

/// The input's gradient at one place within the stride, down and across.
struct Job {
    row: Place,
    column: Place,
    inputs: usize,
    /// One for each group.
    weights: Vec<Panels>,
    offsets: Vec<usize>,
    starts: Vec<usize>,
}

impl Job {
    fn new(
        shape: &ConvShape,
        weight: &[f32],
        [row, column]: [Place; 2],
        [down, across]: [Margin; 2],
        images: usize,
    ) -> Self {
        let (inputs, outputs) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
        let plane = down.step * across.step;
        let taps: Vec<(usize, usize)> =
            (0..row.taps).flat_map(|t| (0..column.taps).map(move |u| (t, u))).collect();
        // From the last tap, which reads first.
        let offset = |o: usize, (t, u): (usize, usize)| {
            o * images * plane + (row.taps - 1 - t) * across.step + (column.taps - 1 - u)
        };
        let offsets = (0..outputs).flat_map(|o| taps.iter().map(move |&tap| offset(o, tap))).collect();
        let corner = [row.first + down.before + 1, column.first + across.before + 1];
        let corner = [corner[0].saturating_sub(row.taps), corner[1].saturating_sub(column.taps)];
        let starts = (0..images).flat_map(|image| {
            (0..row.count).flat_map(move |i| {
                (0..column.count).map(move |j| image * plane + (corner[0] + i) * across.step + corner[1] + j)
            })
        });
        let [kernel_rows, kernel_columns] = shape.kernel;
        let kernel = kernel_rows * kernel_columns;
        let places: Vec<usize> = taps
            .iter()
            .map(|&(t, u)| (row.at + t * shape.stride[0]) * kernel_columns + column.at + u * shape.stride[1])
            .collect();
        // Rows (o, tap) of a panel: for each o the weight (inputs, kernel) turned, those taps that count.
        let panels = |weight: &[f32]| {
            Panels::built(outputs * taps.len(), inputs, |first, width, panel| {
                let mut turned = vec![0.0; kernel * width];
                for o in 0..outputs {
                    transpose(
                        &weight[(o * inputs + first) * kernel..],
                        kernel,
                        width,
                        kernel,
                        &mut turned,
                        width,
                    );
                    for (tap, &place) in places.iter().enumerate() {
                        let to = (o * places.len() + tap) * WIDTH;
                        panel[to..to + width].copy_from_slice(&turned[place * width..][..width]);
                    }
                }
            })
        };
        let weights = weight.chunks_exact(outputs * inputs * kernel).map(panels).collect();
        Self { row, column, inputs, weights, offsets, starts: starts.collect() }
    }

    /// Writes this place of `images` images into dx (image, channels, H, W), images `step` apart.
    #[allow(clippy::too_many_arguments)]
    fn run(
        &self,
        group: usize,
        planes: &[f32],
        images: usize,
        [rows, columns]: [&Axis; 2],
        step: usize,
        room: &mut Room,
        turned: &mut Vec<f32>,
        dx: &mut [f32],
    ) {
        let (in_area, area) = (rows.input * columns.input, self.row.count * self.column.count);
        let starts = &self.starts[..images * area];
        let weights = &self.weights[group];
        if area == in_area {
            return multiply(
                planes,
                starts,
                &self.offsets,
                weights,
                Bias::None,
                room,
                |first, count, product| {
                    put(product, [first, count], [self.inputs, area], dx, step);
                },
            );
        }
        multiply(planes, starts, &self.offsets, weights, Bias::None, room, |first, count, product| {
            turned.resize(self.inputs * count, 0.0);
            transpose(product, self.inputs, count, self.inputs, turned, count);
            let mut done = 0;
            while done < count {
                let (image, pixel) = ((first + done) / area, (first + done) % area);
                let (i, j) = (pixel / self.column.count, pixel % self.column.count);
                let length = (self.column.count - j).min(count - done);
                let y = self.row.start(rows) + i * rows.stride;
                let x = self.column.start(columns) + j * columns.stride;
                for c in 0..self.inputs {
                    let to = &mut dx[image * step + c * in_area + y * columns.input + x..];
                    let from = &turned[c * count + done..][..length];
                    for (to, &from) in to.iter_mut().step_by(columns.stride).zip(from) {
                        *to = from;
                    }
                }
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
    // Each part has a sum of its own: fewer where the weight is large.
    let parts = (4_000_000 / dweight.len()).clamp(2, 16);
    let part = shape.images.div_ceil(parts);
    // Pixels enough that adding to the sums costs little.
    let block = PIXELS.div_ceil(area.max(1)).clamp(1, part);
    let layout = ByPixel::new(shape, block);
    let (starts, offsets) = (layout.tap_starts(shape), layout.pixel_offsets(shape));
    let mut sums = vec![0.0; shape.images.div_ceil(part) * dweight.len()];
    sums.par_chunks_mut(dweight.len())
        .zip(x.par_chunks(part * x_image).zip(grad.par_chunks(part * y_image)))
        .for_each(|(sums, (x, grad))| {
            let mut pixels = layout.empty();
            let (mut grads, mut tiles) = (Panels::default(), Vec::new());
            for (x, grad) in x.chunks(block * x_image).zip(grad.chunks(block * y_image)) {
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
                    multiply_here(taps, &grads, Bias::There, Activation::None, &mut tiles, sums);
                }
            }
        });
    // (tap, input, output) → (output, input, tap)
    let mut total = vec![0.0; dweight.len()];
    sum_parts(&sums, &mut total);
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
        let [rows, columns] = shape.kernel;
        let tap = |u: usize, v: usize| {
            let start = (u * self.size[1] + v) * self.channels;
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
