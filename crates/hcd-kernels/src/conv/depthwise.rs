//! Convolutions in which each channel of the result reads one channel: sixteen pixels of a row side by side, four rows at
//! a time, every tap a run of a plane with margins.

use super::ConvShape;
use super::parts::{Part, Parts};
use super::planes::{Axis, Planes};
use crate::lanes::{LANES, Lanes, Vector, sum};
use rayon::prelude::*;

/// Rows whose sums are in registers together.
const ROWS: usize = 4;

/// Rows that eight rows of a result read through the highest kernel whose columns are taken together.
const HIGHEST: usize = 8 + 7 - 1;

/// Where taps read: result[i, j] = Σ_tap weight[tap] · x[offsets[tap] + i·step + j].
struct Taps {
    step: usize,
    offsets: Vec<usize>,
    /// The first and the last of the offsets.
    ends: [usize; 2],
    /// The side of a square of taps that follow on each other, row by row, or all the other way round.
    side: Option<usize>,
}

impl Taps {
    fn new(step: usize, offsets: Vec<usize>) -> Self {
        let ends = [offsets.iter().min(), offsets.iter().max()].map(|end| *end.unwrap_or(&0));
        let side = [3, 5, 7].into_iter().find(|&side| {
            let place = |tap: usize| ends[0] + tap / side * step + tap % side;
            let forward = offsets.iter().enumerate().all(|(tap, &offset)| offset == place(tap));
            let backward = offsets.iter().rev().enumerate().all(|(tap, &offset)| offset == place(tap));
            offsets.len() == side * side && (forward || backward)
        });
        Self { step, offsets, ends, side }
    }

    fn is_backward(&self) -> bool {
        self.offsets.first() > self.offsets.last()
    }
}

/// How the layer reads its input, one plane of a channel at a time.
struct Reading {
    rows: Axis,
    columns: Axis,
    taps: Taps,
    /// Channels of the output to each of the input.
    outputs: usize,
}

impl Reading {
    fn new(shape: &ConvShape) -> Self {
        let [rows, columns] = [shape.axis(0), shape.axis(1)];
        let offsets = Planes::new(rows, columns, 1, 1).tap_offsets(1);
        let taps = Taps::new(columns.step(), offsets);
        Self { rows, columns, taps, outputs: shape.out_channels / shape.groups }
    }

    fn planes(&self) -> Planes {
        Planes::new(self.rows, self.columns, 1, 1)
    }

    /// Numbers of a channel, of the input and of the output.
    fn areas(&self) -> [usize; 2] {
        [self.rows.input * self.columns.input, self.rows.output * self.columns.output]
    }
}

/// See [`super::forward`].
pub(super) fn forward(shape: &ConvShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let reading = Reading::new(shape);
    let ([in_area, area], outputs, taps) = (reading.areas(), reading.outputs, reading.taps.offsets.len());
    y.par_chunks_mut(outputs * area).zip(x.par_chunks(in_area)).enumerate().for_each_init(
        || reading.planes(),
        |planes, (index, (y, x))| {
            let channel = index % shape.groups * outputs;
            planes.fill_one(x);
            for (o, y) in y.chunks_exact_mut(area).enumerate() {
                let weight = &weight[(channel + o) * taps..][..taps];
                let bias = bias.map_or(0.0, |bias| bias[channel + o]);
                plane(&reading.taps, planes.values(), weight, bias, reading.columns.output, y);
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
    let jobs: Vec<(&Part, Taps, Vec<usize>)> = parts
        .parts
        .iter()
        .map(|part| {
            let each = |places: &[usize], step: usize| {
                (0..outputs).flat_map(|o| places.iter().map(move |place| o * step + place)).collect()
            };
            (part, Taps::new(parts.step(), each(&part.offsets, plane_size)), each(&part.taps, kernel))
        })
        .collect();
    dx.par_chunks_mut(in_area).zip(grad.par_chunks(outputs * area)).enumerate().for_each_init(
        || (parts.planes(outputs), Vec::new(), Vec::new()),
        |(planes, weights, result), (index, (dx, grad))| {
            let weight = &weight[index % shape.groups * outputs * kernel..];
            for (grad, plane) in grad.chunks_exact(area).zip(planes.chunks_mut(plane_size)) {
                parts.fill(grad, plane);
            }
            let alone = jobs.len() == 1;
            if !alone {
                result.resize(in_area, 0.0);
            }
            let mut done = 0;
            for (part, taps, places) in &jobs {
                weights.clear();
                weights.extend(places.iter().map(|&place| weight[place]));
                let to = if alone { &mut *dx } else { &mut result[done..done + part.area()] };
                plane(taps, planes, weights, 0.0, part.size[1], to);
                done += part.area();
            }
            if !alone {
                parts.put_all(result, dx);
            }
        },
    );
}

/// See [`super::weight_grad`].
pub(super) fn weight_grad(shape: &ConvShape, x: &[f32], grad: &[f32], dweight: &mut [f32]) {
    let reading = Reading::new(shape);
    let ([in_area, area], outputs, taps) = (reading.areas(), reading.outputs, reading.taps.offsets.len());
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
                    correlate(&reading.taps, planes.values(), grad, reading.columns.output, sums);
                }
            }
            dweight.iter_mut().zip(&*sums).for_each(|(to, &sums)| *to = sum(sums));
        },
    );
}

for_each_level! {
    fn plane(taps: &Taps, x: &[f32], weight: &[f32], bias: f32, width: usize, y: &mut [f32]) = plane_body
}
for_each_level! {
    fn correlate(taps: &Taps, x: &[f32], grad: &[f32], width: usize, sums: &mut [Lanes]) = correlate_body
}

#[inline(always)]
fn plane_body<V: Vector>(taps: &Taps, x: &[f32], weight: &[f32], bias: f32, width: usize, y: &mut [f32]) {
    let rows = y.len() / width;
    let reach = taps.ends[1] + (rows - 1) * taps.step + width.next_multiple_of(LANES);
    assert!(reach <= x.len() && weight.len() == taps.offsets.len());
    match taps.side {
        Some(3) => square::<V, 3>(taps, x, weight, bias, width, y),
        Some(5) => square::<V, 5>(taps, x, weight, bias, width, y),
        Some(7) => square::<V, 7>(taps, x, weight, bias, width, y),
        _ => blocks(rows, &[ROWS, 1], |first, count| {
            let (start, y) = (first * taps.step, &mut y[first * width..]);
            match count {
                ROWS => lines::<V, ROWS>(taps, x, start, weight, bias, width, y),
                _ => lines::<V, 1>(taps, x, start, weight, bias, width, y),
            }
        }),
    }
}

/// Covers `rows` by blocks of the given heights, the highest that fits first; `f` is given a block's first row and height.
/// A block may cover rows once more, in place of many low ones.
#[inline(always)]
fn blocks(rows: usize, heights: &[usize], mut f: impl FnMut(usize, usize)) {
    let height = heights.iter().copied().find(|&height| height <= rows).unwrap_or(1);
    for first in (0..rows).step_by(height) {
        f(first.min(rows - height), height);
    }
}

/// A plane by a kernel of side K, column by column of its taps: what is read of a row serves all rows of the result
/// that it counts for.
#[inline(always)]
fn square<V: Vector, const K: usize>(
    taps: &Taps,
    x: &[f32],
    weight: &[f32],
    bias: f32,
    width: usize,
    y: &mut [f32],
) {
    let is_backward = taps.is_backward();
    let mut columns = [[0.0; K]; K];
    for (tap, &weight) in weight.iter().enumerate() {
        let place = if is_backward { K * K - 1 - tap } else { tap };
        columns[place % K][place / K] = weight;
    }
    let rows = y.len() / width;
    let heights: &[usize] = match V::MANY {
        // No row twice where sevens do.
        true if rows.is_multiple_of(7) && !rows.is_multiple_of(8) => &[7],
        true => &[8, 4, 1],
        false => &[4, 1],
    };
    blocks(rows, heights, |row, height| {
        let (start, y) = (taps.ends[0] + row * taps.step, &mut y[row * width..]);
        match height {
            8 => square_rows::<V, K, 8>(taps, x, start, &columns, bias, width, y),
            7 => square_rows::<V, K, 7>(taps, x, start, &columns, bias, width, y),
            4 => square_rows::<V, K, 4>(taps, x, start, &columns, bias, width, y),
            _ => square_rows::<V, K, 1>(taps, x, start, &columns, bias, width, y),
        }
    });
}

/// R rows of a plane, whose reach [`plane_body`] has checked; `columns` are the kernel's.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn square_rows<V: Vector, const K: usize, const R: usize>(
    taps: &Taps,
    x: &[f32],
    start: usize,
    columns: &[[f32; K]; K],
    bias: f32,
    width: usize,
    y: &mut [f32],
) {
    for j in (0..width).step_by(LANES) {
        let mut sums = [V::splat(bias); R];
        for (v, column) in columns.iter().enumerate() {
            let mut read = [V::splat(0.0); HIGHEST];
            for (i, read) in read.iter_mut().enumerate().take(R + K - 1) {
                // SAFETY: row R - 1 of the result reads no further than `reach`, which lies in the slice.
                *read = V::load(unsafe { &*x.as_ptr().add(start + i * taps.step + v + j).cast() });
            }
            for u in 0..K {
                let weight = V::splat(column[u]);
                for r in 0..R {
                    sums[r] = weight.mul_add(read[r + u], sums[r]);
                }
            }
        }
        let count = LANES.min(width - j);
        for (r, sum) in sums.into_iter().enumerate() {
            sum.store_up_to(&mut y[r * width + j..][..count]);
        }
    }
}

/// R rows of a plane, whose reach [`plane_body`] has checked; they begin to read at `start`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn lines<V: Vector, const R: usize>(
    taps: &Taps,
    x: &[f32],
    start: usize,
    weight: &[f32],
    bias: f32,
    width: usize,
    y: &mut [f32],
) {
    for j in (0..width).step_by(LANES) {
        let mut sums = [V::splat(bias); R];
        for (&weight, &offset) in weight.iter().zip(&taps.offsets) {
            let weight = V::splat(weight);
            for (r, sum) in sums.iter_mut().enumerate() {
                // SAFETY: no further than `reach`, which lies in the slice.
                let x = unsafe { &*x.as_ptr().add(start + offset + r * taps.step + j).cast() };
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
fn correlate_body<V: Vector>(taps: &Taps, x: &[f32], grad: &[f32], width: usize, sums: &mut [Lanes]) {
    // As many as there are registers for.
    match V::MANY {
        true => correlate_taps::<V, 9>(taps, x, grad, width, sums),
        false => correlate_taps::<V, 5>(taps, x, grad, width, sums),
    }
}

/// T taps after the other: sums over pixels of each stay in registers.
#[inline(always)]
fn correlate_taps<V: Vector, const T: usize>(
    taps: &Taps,
    x: &[f32],
    grad: &[f32],
    width: usize,
    sums: &mut [Lanes],
) {
    let rows = grad.len() / width;
    let reach = taps.ends[1] + rows.saturating_sub(1) * taps.step + width;
    assert!(reach <= x.len(), "depthwise: taps beyond the plane");
    for (sums, offsets) in sums.chunks_mut(T).zip(taps.offsets.chunks(T)) {
        // A last group that is not full does its last tap several times.
        let mut places = [0; T];
        for (tap, place) in places.iter_mut().enumerate() {
            *place = offsets[tap.min(offsets.len() - 1)];
        }
        let mut lanes = [V::splat(0.0); T];
        for (i, grad) in grad.chunks_exact(width).enumerate() {
            let start = i * taps.step;
            let (whole, rest) = grad.as_chunks::<LANES>();
            for (j, grad) in whole.iter().enumerate() {
                let grad = V::load(grad);
                for tap in 0..T {
                    // SAFETY: whole vectors of a row reach no further than `reach`, which lies in the slice.
                    let x = unsafe { &*x.as_ptr().add(start + places[tap] + j * LANES).cast() };
                    lanes[tap] = grad.mul_add(V::load(x), lanes[tap]);
                }
            }
            if !rest.is_empty() {
                let grad = V::load_some(rest);
                for tap in 0..T {
                    // No more than the pixels: 0 times what lies behind them might not be 0.
                    let x = &x[start + places[tap] + whole.len() * LANES..][..rest.len()];
                    lanes[tap] = grad.mul_add(V::load_some(x), lanes[tap]);
                }
            }
        }
        for (sum, lanes) in sums.iter_mut().zip(lanes) {
            V::load(sum).add(lanes).store(sum);
        }
    }
}
