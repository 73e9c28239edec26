//! Gradients of a convolution.
//!
//! Of the input: place (a, b) within the stride gets dx[i·s + a − p, …] = Σ_{o, taps u ≡ a, v ≡ b (mod s)}
//! weight[o, c, u, v] · dy[o, i − ⌊u/s⌋, …]: again a product whose right-hand rows are runs of a plane, here of dy
//! with margins. Of the weight: dw[o, c, u, v] = Σ dy[o, i, j] · (run of the tap)[i, j].

use super::ConvShape;
use super::planes::{Axis, Planes};
use super::product::{Weights, correlate, multiply};
use crate::lanes::{LANES, Portable, sum_over};
use crate::split::sum_parts;
use rayon::prelude::*;

/// One direction of the input's gradient at one place within the stride.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// a of i·s + a − p.
    at: usize,
    /// The first i inside the image.
    first: usize,
    /// How many are inside.
    count: usize,
    /// Taps a, a + s, a + 2s, …
    taps: usize,
}

impl Place {
    fn all(axis: &Axis) -> Vec<Place> {
        let all = (0..axis.stride).map(|at| {
            let first = axis.padding.saturating_sub(at).div_ceil(axis.stride);
            let end = (axis.input + axis.padding).saturating_sub(at).div_ceil(axis.stride);
            let taps = axis.kernel.saturating_sub(at).div_ceil(axis.stride);
            Place { at, first, count: end.saturating_sub(first), taps }
        });
        all.collect()
    }
}

/// One direction of dy's plane: the margin before each row, and from one row to the next.
#[derive(Debug, Clone, Copy)]
struct Margin {
    before: usize,
    step: usize,
}

impl Margin {
    fn new(axis: &Axis, places: &[Place]) -> Self {
        let used = || places.iter().filter(|place| place.taps > 0 && place.count > 0);
        let before = used().map(|place| (place.taps - 1).saturating_sub(place.first)).max().unwrap_or(0);
        let after =
            used().map(|place| (place.first + place.count).saturating_sub(axis.output)).max().unwrap_or(0);
        Self { before, step: axis.output + before.max(after) }
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
    if dx.is_empty() || grad.is_empty() {
        return dx.fill(0.0);
    }
    let [rows, columns] = [shape.axis(0), shape.axis(1)];
    let (row_places, column_places) = (Place::all(&rows), Place::all(&columns));
    let (down, across) = (Margin::new(&rows, &row_places), Margin::new(&columns, &column_places));
    let (inputs, outputs) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let plane = down.step * across.step;
    let block = shape.block(plane);
    let jobs: Vec<Job> = row_places
        .iter()
        .flat_map(|&row| column_places.iter().map(move |&column| (row, column)))
        .filter(|(row, column)| row.count * column.count > 0)
        .map(|(row, column)| Job::new(shape, weight, row, column, [down, across], block * plane))
        .collect();
    let [height, width] = shape.size;
    let (x_image, y_image) =
        (shape.in_channels * height * width, shape.out_channels * rows.output * columns.output);
    dx.par_chunks_mut(block * x_image).zip(grad.par_chunks(block * y_image)).for_each_init(
        || {
            // The last row's runs reach over the end by less than this.
            let slack = plane + across.step + super::product::GROUPS * LANES + columns.kernel;
            (vec![0.0; outputs * block * plane + slack], Vec::new())
        },
        |(planes, result), (dx, grad)| {
            let images = dx.len() / x_image;
            for group in 0..shape.groups {
                // Margins are zero from the start.
                for (image, grad) in grad.chunks_exact(y_image).enumerate() {
                    let area = rows.output * columns.output;
                    let grad = &grad[group * outputs * area..(group + 1) * outputs * area];
                    for (o, grad) in grad.chunks_exact(area).enumerate() {
                        let start = (o * block + image) * plane + down.before * across.step + across.before;
                        for (i, grad) in grad.chunks_exact(columns.output).enumerate() {
                            let to = start + i * across.step;
                            planes[to..to + columns.output].copy_from_slice(grad);
                        }
                    }
                }
                for job in &jobs {
                    let length = images * plane;
                    multiply(&job.weights[group], &job.offsets, planes, length, result);
                    let run = job.weights[group].run(length);
                    for (image, dx) in dx.chunks_exact_mut(x_image).enumerate() {
                        let dx =
                            &mut dx[group * inputs * height * width..(group + 1) * inputs * height * width];
                        for (c, dx) in dx.chunks_exact_mut(height * width).enumerate() {
                            job.write(&result[c * run + image * plane..], across.step, [&rows, &columns], dx);
                        }
                    }
                }
            }
        },
    );
}

/// The input's gradient at one place within the stride, down and across.
struct Job {
    row: Place,
    column: Place,
    /// One for each group.
    weights: Vec<Weights>,
    offsets: Vec<usize>,
}

impl Job {
    fn new(
        shape: &ConvShape,
        weight: &[f32],
        row: Place,
        column: Place,
        [down, across]: [Margin; 2],
        channel: usize,
    ) -> Self {
        let (inputs, outputs) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
        let taps: Vec<(usize, usize, usize)> = (0..outputs)
            .flat_map(|o| (0..row.taps).flat_map(move |t| (0..column.taps).map(move |u| (o, t, u))))
            .collect();
        let offsets = taps
            .iter()
            .map(|&(o, t, u)| {
                let i = row.first + down.before - t;
                let j = column.first + across.before - u;
                o * channel + i * across.step + j
            })
            .collect();
        let [kernel_rows, kernel_columns] = shape.kernel;
        let weights = weight
            .chunks_exact(outputs * shape.taps())
            .map(|weight| {
                Weights::pack(inputs, taps.len(), |c, tap| {
                    let (o, t, u) = taps[tap];
                    let (u, v) = (row.at + t * shape.stride[0], column.at + u * shape.stride[1]);
                    weight[((o * inputs + c) * kernel_rows + u) * kernel_columns + v]
                })
            })
            .collect();
        Self { row, column, weights, offsets }
    }

    /// Writes one channel's result to where it belongs in dx (H, W).
    fn write(&self, result: &[f32], step: usize, [rows, columns]: [&Axis; 2], dx: &mut [f32]) {
        for i in 0..self.row.count {
            let from = &result[i * step..][..self.column.count];
            let y = (self.row.first + i) * rows.stride + self.row.at - rows.padding;
            let x = self.column.first * columns.stride + self.column.at - columns.padding;
            let to = &mut dx[y * columns.input + x..(y + 1) * columns.input];
            if columns.stride == 1 {
                to[..from.len()].copy_from_slice(from);
            } else {
                for (to, &from) in to.iter_mut().step_by(columns.stride).zip(from) {
                    *to = from;
                }
            }
        }
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
    let [rows, columns] = [shape.axis(0), shape.axis(1)];
    let area = rows.output * columns.output;
    if let Some(dbias) = dbias {
        assert_eq!(dbias.len(), shape.out_channels, "conv::weight_grad: dbias is not (C_out)");
        dbias.par_iter_mut().enumerate().for_each(|(channel, sum)| {
            let planes = grad.chunks_exact(area.max(1)).skip(channel).step_by(shape.out_channels);
            *sum = planes.map(|plane| sum_over([plane], |[x]: [Portable; 1]| [x])[0]).sum();
        });
    }
    if dweight.is_empty() || grad.is_empty() || x.is_empty() {
        return dweight.fill(0.0);
    }
    let (inputs, outputs) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let plane = rows.step() * columns.step();
    let block = shape.block(plane);
    // Each part has a sum of its own: fewer where the weight is large.
    let parts = (4_000_000 / dweight.len()).clamp(2, 16);
    let part = shape.images.div_ceil(parts).next_multiple_of(block);
    let (x_image, y_image) = (shape.in_channels * shape.size[0] * shape.size[1], shape.out_channels * area);
    let mut sums = vec![0.0; shape.images.div_ceil(part) * dweight.len()];
    sums.par_chunks_mut(dweight.len())
        .zip(x.par_chunks(part * x_image).zip(grad.par_chunks(part * y_image)))
        .for_each(|(sums, (x, grad))| {
            let mut planes = Planes::new(rows, columns, inputs, block);
            let offsets = planes.tap_offsets(inputs);
            let length = (block * plane).next_multiple_of(LANES);
            let mut padded = vec![0.0; outputs * length];
            for (x, grad) in x.chunks(block * x_image).zip(grad.chunks(block * y_image)) {
                let images = x.len() / x_image;
                if images < block {
                    padded.fill(0.0);
                }
                for (group, sums) in sums.chunks_exact_mut(outputs * shape.taps()).enumerate() {
                    planes.fill(x, shape, images, group * inputs);
                    for (image, grad) in grad.chunks_exact(y_image).enumerate() {
                        let grad = &grad[group * outputs * area..(group + 1) * outputs * area];
                        for (o, grad) in grad.chunks_exact(area).enumerate() {
                            let start = o * length + image * plane;
                            for (i, grad) in grad.chunks_exact(columns.output).enumerate() {
                                let to = start + i * columns.step();
                                padded[to..to + columns.output].copy_from_slice(grad);
                            }
                        }
                    }
                    correlate(&padded, &offsets, planes.values(), length, sums);
                }
            }
        });
    sum_parts(&sums, dweight);
}
