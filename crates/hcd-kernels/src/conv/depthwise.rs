//! Convolutions in which each channel of the result reads one channel: sixteen pixels of a row side by side, four rows at
//! a time, every tap a run of a plane with margins.

use super::ConvShape;
use super::parts::{Part, Parts};
use super::planes::{Axis, Planes};
use crate::lanes::{LANES, Lanes, Vector, sum};
use rayon::prelude::*;

/// Rows whose sums are in registers together.
const ROWS: usize = 4;

/// Taps whose sums over pixels are in registers together.
const TAPS: usize = 9;

/// What a plane is computed from: result[i, j] = Σ_tap weight[tap] · x[offsets[tap] + i·step + j].
#[derive(Clone, Copy)]
struct Taps<'a> {
    x: &'a [f32],
    step: usize,
    offsets: &'a [usize],
}

/// How the layer reads its input, one plane of a channel at a time.
struct Reading {
    rows: Axis,
    columns: Axis,
    /// Where each tap reads.
    offsets: Vec<usize>,
    /// Channels of the output to each of the input.
    outputs: usize,
}

impl Reading {
    fn new(shape: &ConvShape) -> Self {
        let [rows, columns] = [shape.axis(0), shape.axis(1)];
        let offsets = Planes::new(rows, columns, 1, 1).tap_offsets(1);
        Self { rows, columns, offsets, outputs: shape.out_channels / shape.groups }
    }

    fn planes(&self) -> Planes {
        Planes::new(self.rows, self.columns, 1, 1)
    }

    fn taps<'a>(&'a self, planes: &'a Planes) -> Taps<'a> {
        Taps { x: planes.values(), step: self.columns.step(), offsets: &self.offsets }
    }

    /// Numbers of a channel, of the input and of the output.
    fn areas(&self) -> [usize; 2] {
        [self.rows.input * self.columns.input, self.rows.output * self.columns.output]
    }
}

/// See [`super::forward`].
pub(super) fn forward(shape: &ConvShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let reading = Reading::new(shape);
    let ([in_area, area], outputs, taps) = (reading.areas(), reading.outputs, reading.offsets.len());
    y.par_chunks_mut(outputs * area).zip(x.par_chunks(in_area)).enumerate().for_each_init(
        || reading.planes(),
        |planes, (index, (y, x))| {
            let channel = index % shape.groups * outputs;
            planes.fill_one(x);
            for (o, y) in y.chunks_exact_mut(area).enumerate() {
                let weight = &weight[(channel + o) * taps..][..taps];
                let bias = bias.map_or(0.0, |bias| bias[channel + o]);
                plane(reading.taps(planes), weight, bias, reading.columns.output, y);
            }
        },
    );
}

/// See [`super::input_grad`].
pub(super) fn input_grad(shape: &ConvShape, grad: &[f32], weight: &[f32], dx: &mut [f32]) {
    let (area, in_area) = (shape.out_size().iter().product(), shape.size[0] * shape.size[1]);
    let outputs = shape.out_channels / shape.groups;
    let kernel = shape.kernel[0] * shape.kernel[1];
    let parts = Parts::new(shape);
    let plane_size = parts.plane();
    // For each part: where it reads for each output and tap, and which weights count.
    let jobs: Vec<(&Part, Vec<usize>, Vec<usize>)> = parts
        .parts
        .iter()
        .map(|part| {
            let each = |places: &[usize], step: usize| {
                (0..outputs).flat_map(|o| places.iter().map(move |place| o * step + place)).collect()
            };
            (part, each(&part.offsets, plane_size), each(&part.taps, kernel))
        })
        .collect();
    dx.par_chunks_mut(in_area).zip(grad.par_chunks(outputs * area)).enumerate().for_each_init(
        || (parts.planes(outputs), Vec::new(), Vec::new()),
        |(planes, weights, result), (index, (dx, grad))| {
            let weight = &weight[index % shape.groups * outputs * kernel..];
            for (grad, plane) in grad.chunks_exact(area).zip(planes.chunks_mut(plane_size)) {
                parts.fill(grad, plane);
            }
            for (part, offsets, places) in &jobs {
                weights.clear();
                weights.extend(places.iter().map(|&place| weight[place]));
                let from = Taps { x: planes, step: parts.step(), offsets };
                let width = part.size[1];
                if part.area() == in_area {
                    plane(from, weights, 0.0, width, dx);
                    continue;
                }
                result.resize(part.area(), 0.0);
                plane(from, weights, 0.0, width, result);
                for (i, run) in result.chunks_exact(width).enumerate() {
                    parts.put(part, [i, 0], run, dx);
                }
            }
        },
    );
}

/// See [`super::weight_grad`].
pub(super) fn weight_grad(shape: &ConvShape, x: &[f32], grad: &[f32], dweight: &mut [f32]) {
    let reading = Reading::new(shape);
    let ([in_area, area], outputs, taps) = (reading.areas(), reading.outputs, reading.offsets.len());
    // One channel after the other, so that its sums stay in registers' reach over all images.
    dweight.par_chunks_mut(outputs * taps).enumerate().for_each_init(
        || (reading.planes(), vec![[0.0; LANES]; outputs * taps]),
        |(planes, sums), (channel, dweight)| {
            sums.fill([0.0; LANES]);
            let images = x.chunks_exact(in_area).skip(channel).step_by(shape.groups);
            let grads = grad.chunks_exact(outputs * area).skip(channel).step_by(shape.groups);
            for (x, grad) in images.zip(grads) {
                planes.fill_one(x);
                for (sums, grad) in sums.chunks_exact_mut(taps).zip(grad.chunks_exact(area)) {
                    correlate(reading.taps(planes), grad, reading.columns.output, sums);
                }
            }
            dweight.iter_mut().zip(&*sums).for_each(|(to, &sums)| *to = sum(sums));
        },
    );
}

for_each_level! {
    fn plane(from: Taps, weight: &[f32], bias: f32, width: usize, y: &mut [f32]) = plane_body
}
for_each_level! {
    fn correlate(from: Taps, grad: &[f32], width: usize, sums: &mut [Lanes]) = correlate_body
}

#[inline(always)]
fn plane_body<V: Vector>(from: Taps, weight: &[f32], bias: f32, width: usize, y: &mut [f32]) {
    let rows = y.len() / width;
    let furthest = from.offsets.iter().copied().max().unwrap_or(0);
    let reach = furthest + (rows - 1) * from.step + width.next_multiple_of(LANES);
    assert!(reach <= from.x.len() && weight.len() <= from.offsets.len());
    for (index, y) in y.chunks_mut(ROWS * width).enumerate() {
        let start = index * ROWS * from.step;
        match y.len() / width {
            4 => lines::<V, 4>(from, start, weight, bias, width, y),
            3 => lines::<V, 3>(from, start, weight, bias, width, y),
            2 => lines::<V, 2>(from, start, weight, bias, width, y),
            _ => lines::<V, 1>(from, start, weight, bias, width, y),
        }
    }
}

/// R rows of a plane, whose reach [`plane_body`] has checked; they begin to read at `start`.
#[inline(always)]
fn lines<V: Vector, const R: usize>(
    from: Taps,
    start: usize,
    weight: &[f32],
    bias: f32,
    width: usize,
    y: &mut [f32],
) {
    for j in (0..width).step_by(LANES) {
        let mut sums = [V::splat(bias); R];
        for (&weight, &offset) in weight.iter().zip(from.offsets) {
            let weight = V::splat(weight);
            for (r, sum) in sums.iter_mut().enumerate() {
                // SAFETY: no further than `reach`, which lies in the slice.
                let x = unsafe { &*from.x.as_ptr().add(start + offset + r * from.step + j).cast() };
                *sum = weight.mul_add(V::load(x), *sum);
            }
        }
        let count = LANES.min(width - j);
        for (r, sum) in sums.into_iter().enumerate() {
            sum.store_up_to(&mut y[r * width + j..][..count]);
        }
    }
}

#[inline(always)]
fn correlate_body<V: Vector>(from: Taps, grad: &[f32], width: usize, sums: &mut [Lanes]) {
    let (chunks, chunk_offsets) = (sums.chunks_mut(TAPS), from.offsets.chunks(TAPS));
    for (sums, offsets) in chunks.zip(chunk_offsets) {
        // A last group that is not full does its last tap several times.
        let offsets: [usize; TAPS] = std::array::from_fn(|tap| offsets[tap.min(offsets.len() - 1)]);
        let mut lanes = [V::splat(0.0); TAPS];
        for (i, grad) in grad.chunks_exact(width).enumerate() {
            let start = i * from.step;
            let (whole, rest) = grad.as_chunks::<LANES>();
            for (j, grad) in whole.iter().enumerate() {
                let grad = V::load(grad);
                for tap in 0..TAPS {
                    let x = &from.x[start + offsets[tap] + j * LANES..];
                    lanes[tap] = grad.mul_add(V::load(&x.as_chunks().0[0]), lanes[tap]);
                }
            }
            if !rest.is_empty() {
                let grad = V::load_some(rest);
                for tap in 0..TAPS {
                    // No more than the pixels: 0 times what lies behind them might not be 0.
                    let x = &from.x[start + offsets[tap] + whole.len() * LANES..][..rest.len()];
                    lanes[tap] = grad.mul_add(V::load_some(x), lanes[tap]);
                }
            }
        }
        for (sum, lanes) in sums.iter_mut().zip(lanes) {
            V::load(sum).add(lanes).store(sum);
        }
    }
}
