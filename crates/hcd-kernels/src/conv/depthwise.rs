//! Convolutions in which each channel of the result reads one channel: sixteen pixels of a row side by side, four rows at
//! a time, every tap a run of a plane with margins.

use super::ConvShape;
use super::grads::{Margin, Place};
use super::planes::Planes;
use crate::copy::{Lines, copy_lines};
use crate::lanes::{LANES, Lanes, Vector, sum};
use rayon::prelude::*;

/// Rows whose sums are in registers together.
const ROWS: usize = 4;

/// Taps whose sums over pixels are in registers together.
const TAPS: usize = 9;

/// What one row of a result is computed from: result[i, j] = Σ_tap weight[tap] · x[start + offsets[tap] + i·step + j].
#[derive(Clone, Copy)]
struct Taps<'a> {
    x: &'a [f32],
    start: usize,
    step: usize,
    offsets: &'a [usize],
}

/// See [`super::forward`].
pub(super) fn forward(shape: &ConvShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let [rows, columns] = [shape.axis(0), shape.axis(1)];
    let (area, in_area) = (rows.output * columns.output, shape.size[0] * shape.size[1]);
    let outputs = shape.out_channels / shape.groups;
    let planes = || Planes::new(rows, columns, 1, 1);
    let offsets = planes().tap_offsets(1);
    let taps = offsets.len();
    y.par_chunks_mut(outputs * area).zip(x.par_chunks(in_area)).enumerate().for_each_init(
        planes,
        |planes, (index, (y, x))| {
            let channel = index % shape.groups * outputs;
            planes.fill_one(x);
            let from = Taps { x: planes.values(), start: 0, step: columns.step(), offsets: &offsets };
            for (o, y) in y.chunks_exact_mut(area).enumerate() {
                let weight = &weight[(channel + o) * taps..][..taps];
                let bias = bias.map_or(0.0, |bias| bias[channel + o]);
                plane(from, weight, bias, columns.output, y);
            }
        },
    );
}

/// See [`super::input_grad`].
pub(super) fn input_grad(shape: &ConvShape, grad: &[f32], weight: &[f32], dx: &mut [f32]) {
    let [rows, columns] = [shape.axis(0), shape.axis(1)];
    let (row_places, column_places) = (Place::all(&rows), Place::all(&columns));
    let (down, across) = (Margin::new(&rows, &row_places), Margin::new(&columns, &column_places));
    let (area, in_area) = (rows.output * columns.output, shape.size[0] * shape.size[1]);
    let outputs = shape.out_channels / shape.groups;
    let kernel = shape.kernel[0] * shape.kernel[1];
    let size = down.step * across.step;
    // For each place within the stride: where it reads for each output and tap, and which weights count.
    let jobs: Vec<_> = row_places
        .iter()
        .flat_map(|&row| column_places.iter().map(move |&column| (row, column)))
        .filter(|(row, column)| row.count * column.count > 0)
        .map(|(row, column)| {
            let taps = |o: usize| (0..row.taps).flat_map(move |t| (0..column.taps).map(move |u| (o, t, u)));
            let all: Vec<_> = (0..outputs).flat_map(taps).collect();
            let offset = |&(o, t, u): &(usize, usize, usize)| {
                (o * size + (row.first + down.before - t) * across.step) + column.first + across.before - u
            };
            let place = |&(o, t, u): &(usize, usize, usize)| {
                let (u, v) = (row.at + t * shape.stride[0], column.at + u * shape.stride[1]);
                o * kernel + u * shape.kernel[1] + v
            };
            let offsets: Vec<usize> = all.iter().map(offset).collect();
            (row, column, offsets, all.iter().map(place).collect::<Vec<usize>>())
        })
        .collect();
    let lines = Lines {
        count: rows.output,
        length: columns.output,
        from_step: columns.output,
        to_step: across.step,
        stride: 1,
    };
    // Runs reach over the end by whole vectors and what the last rows' taps lie apart.
    let room = outputs * size + across.step * rows.kernel + columns.kernel + 2 * LANES;
    dx.par_chunks_mut(in_area).zip(grad.par_chunks(outputs * area)).enumerate().for_each_init(
        || (vec![0.0; room], Vec::new(), Vec::new()),
        |(planes, weights, part), (index, (dx, grad))| {
            let weight = &weight[index % shape.groups * outputs * kernel..];
            for (o, grad) in grad.chunks_exact(area).enumerate() {
                let to = o * size + down.before * across.step + across.before;
                copy_lines(lines, grad, &mut planes[to..]);
            }
            for (row, column, offsets, places) in &jobs {
                weights.clear();
                weights.extend(places.iter().map(|&place| weight[place]));
                let from = Taps { x: planes, start: 0, step: across.step, offsets };
                if row.count * column.count == in_area {
                    plane(from, weights, 0.0, columns.input, dx);
                    continue;
                }
                part.resize(row.count * column.count, 0.0);
                plane(from, weights, 0.0, column.count, part);
                for (i, part) in part.chunks_exact(column.count).enumerate() {
                    let y = row.start(&rows) + i * rows.stride;
                    let to = &mut dx[y * columns.input + column.start(&columns)..(y + 1) * columns.input];
                    for (to, &from) in to.iter_mut().step_by(columns.stride).zip(part) {
                        *to = from;
                    }
                }
            }
        },
    );
}

/// See [`super::weight_grad`].
pub(super) fn weight_grad(shape: &ConvShape, x: &[f32], grad: &[f32], dweight: &mut [f32]) {
    let [rows, columns] = [shape.axis(0), shape.axis(1)];
    let (area, in_area) = (rows.output * columns.output, shape.size[0] * shape.size[1]);
    let outputs = shape.out_channels / shape.groups;
    let planes = || Planes::new(rows, columns, 1, 1);
    let offsets = planes().tap_offsets(1);
    let taps = offsets.len();
    // One channel after the other, so that its sums stay in registers' reach over all images.
    dweight.par_chunks_mut(outputs * taps).enumerate().for_each_init(
        || (planes(), vec![[0.0; LANES]; outputs * taps]),
        |(planes, sums), (channel, dweight)| {
            sums.fill([0.0; LANES]);
            let images = x.chunks_exact(in_area).skip(channel).step_by(shape.groups);
            let grads = grad.chunks_exact(outputs * area).skip(channel).step_by(shape.groups);
            for (x, grad) in images.zip(grads) {
                planes.fill_one(x);
                let from = Taps { x: planes.values(), start: 0, step: columns.step(), offsets: &offsets };
                for (sums, grad) in sums.chunks_exact_mut(taps).zip(grad.chunks_exact(area)) {
                    correlate(from, grad, columns.output, sums);
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
    let reach = from.start + furthest + (rows - 1) * from.step + width.next_multiple_of(LANES);
    assert!(reach <= from.x.len() && weight.len() <= from.offsets.len());
    for (index, y) in y.chunks_mut(ROWS * width).enumerate() {
        let from = Taps { start: from.start + index * ROWS * from.step, ..from };
        match y.len() / width {
            4 => lines::<V, 4>(from, weight, bias, width, y),
            3 => lines::<V, 3>(from, weight, bias, width, y),
            2 => lines::<V, 2>(from, weight, bias, width, y),
            _ => lines::<V, 1>(from, weight, bias, width, y),
        }
    }
}

/// R rows of a plane, whose reach [`plane_body`] has checked.
#[inline(always)]
fn lines<V: Vector, const R: usize>(from: Taps, weight: &[f32], bias: f32, width: usize, y: &mut [f32]) {
    for j in (0..width).step_by(LANES) {
        let mut sums = [V::splat(bias); R];
        for (&weight, &offset) in weight.iter().zip(from.offsets) {
            let weight = V::splat(weight);
            for (r, sum) in sums.iter_mut().enumerate() {
                // SAFETY: no further than `reach`, which lies in the slice.
                let x = unsafe { &*from.x.as_ptr().add(from.start + offset + r * from.step + j).cast() };
                *sum = weight.mul_add(V::load(x), *sum);
            }
        }
        let count = LANES.min(width - j);
        for (r, sum) in sums.into_iter().enumerate() {
            let to = &mut y[r * width + j..][..count];
            match to.as_mut_array::<LANES>() {
                Some(whole) => sum.store(whole),
                None => sum.store_some(to),
            }
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
            let start = from.start + i * from.step;
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
