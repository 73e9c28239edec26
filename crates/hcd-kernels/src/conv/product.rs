//! The matrix products of a convolution: right-hand rows are runs of one slice that start at given offsets.

use crate::lanes::{LANES, Lanes, Vector};

/// Groups of 16 numbers that a tile of [`multiply`] is wide.
pub(super) const GROUPS: usize = 3;

/// A left-hand matrix (rows, taps), in tiles of R rows: (rows / R, taps, R), filled up with zeros.
pub(super) struct Weights {
    rows: usize,
    tile: usize,
    taps: usize,
    values: Vec<f32>,
}

impl Weights {
    pub(super) fn pack(rows: usize, taps: usize, weight: impl Fn(usize, usize) -> f32) -> Self {
        let tile = match rows {
            0..=1 => 1,
            2 => 2,
            3..=4 => 4,
            _ => 8,
        };
        let mut values = Vec::with_capacity(rows.next_multiple_of(tile) * taps);
        for first in (0..rows).step_by(tile) {
            for tap in 0..taps {
                values
                    .extend((first..first + tile).map(|row| if row < rows { weight(row, tap) } else { 0.0 }));
            }
        }
        Self { rows, tile, taps, values }
    }

    /// From one row of a result to the next, for `length` columns.
    pub(super) fn run(&self, length: usize) -> usize {
        length.next_multiple_of(LANES)
    }
}

/// result[row, p] = Σ_tap weights[row, tap] · x[offsets[tap] + p] for p < length.
///
/// `result` becomes rows of [`Weights::run`] numbers. `x` must reach a tile's width beyond the last run.
pub(super) fn multiply(
    weights: &Weights,
    offsets: &[usize],
    x: &[f32],
    length: usize,
    result: &mut Vec<f32>,
) {
    result.resize(weights.rows.next_multiple_of(weights.tile) * weights.run(length), 0.0);
    run(weights, offsets, x, weights.run(length), result);
}

for_each_level! {
    fn run(weights: &Weights, offsets: &[usize], x: &[f32], length: usize, result: &mut [f32]) = run_body
}

#[inline(always)]
fn run_body<V: Vector>(weights: &Weights, offsets: &[usize], x: &[f32], length: usize, result: &mut [f32]) {
    match weights.tile {
        1 => rows::<V, 1>(weights, offsets, x, length, result),
        2 => rows::<V, 2>(weights, offsets, x, length, result),
        4 => rows::<V, 4>(weights, offsets, x, length, result),
        _ => rows::<V, 8>(weights, offsets, x, length, result),
    }
}

#[inline(always)]
fn rows<V: Vector, const R: usize>(
    weights: &Weights,
    offsets: &[usize],
    x: &[f32],
    length: usize,
    result: &mut [f32],
) {
    if length == 0 || weights.taps == 0 {
        return result.fill(0.0);
    }
    let tiles = weights.values.chunks_exact(R * weights.taps).zip(result.chunks_exact_mut(R * length));
    for (weights, result) in tiles {
        let weights = weights.as_chunks::<R>().0;
        let mut p = 0;
        while length - p >= GROUPS * LANES {
            tile::<V, R, GROUPS>(weights, offsets, x, p, length, result);
            p += GROUPS * LANES;
        }
        match (length - p) / LANES {
            2 => tile::<V, R, 2>(weights, offsets, x, p, length, result),
            1 => tile::<V, R, 1>(weights, offsets, x, p, length, result),
            _ => {}
        }
    }
}

/// R rows by G groups, kept in registers over all taps.
#[inline(always)]
fn tile<V: Vector, const R: usize, const G: usize>(
    weights: &[[f32; R]],
    offsets: &[usize],
    x: &[f32],
    p: usize,
    length: usize,
    result: &mut [f32],
) {
    let mut sums = [[V::splat(0.0); G]; R];
    let x = &x[p..];
    for (weight, &offset) in weights.iter().zip(offsets) {
        let x = x[offset..offset + G * LANES].as_chunks::<LANES>().0;
        let x: [V; G] = std::array::from_fn(|g| V::load(&x[g]));
        for r in 0..R {
            let weight = V::splat(weight[r]);
            for g in 0..G {
                sums[r][g] = weight.mul_add(x[g], sums[r][g]);
            }
        }
    }
    for r in 0..R {
        let to = result[r * length + p..r * length + p + G * LANES].as_chunks_mut::<LANES>().0;
        for g in 0..G {
            sums[r][g].store(&mut to[g]);
        }
    }
}

/// Rows and taps of a tile of [`correlate`].
const ROWS: usize = 4;
const TAPS: usize = 6;

/// sums[row, tap] += Σ_p y[row, p] · x[offsets[tap] + p] for p < length, a multiple of 16.
///
/// # Shapes
/// `y` (rows, length); `sums` (rows, taps)
pub(super) fn correlate(y: &[f32], offsets: &[usize], x: &[f32], length: usize, sums: &mut [f32]) {
    if length > 0 {
        correlate_run(y, offsets, x, length, sums);
    }
}

for_each_level! {
    fn correlate_run(y: &[f32], offsets: &[usize], x: &[f32], length: usize, sums: &mut [f32]) = correlate_body
}

#[inline(always)]
fn correlate_body<V: Vector>(y: &[f32], offsets: &[usize], x: &[f32], length: usize, sums: &mut [f32]) {
    let taps = offsets.len();
    for (first, y) in y.chunks(ROWS * length).enumerate() {
        let sums = &mut sums[first * ROWS * taps..];
        if y.len() == ROWS * length {
            correlate_rows::<V, ROWS>(y, offsets, x, length, sums);
        } else {
            for (row, y) in y.chunks_exact(length).enumerate() {
                correlate_rows::<V, 1>(y, offsets, x, length, &mut sums[row * taps..]);
            }
        }
    }
}

#[inline(always)]
fn correlate_rows<V: Vector, const R: usize>(
    y: &[f32],
    offsets: &[usize],
    x: &[f32],
    length: usize,
    sums: &mut [f32],
) {
    let taps = offsets.len();
    for (first, offsets) in offsets.chunks(TAPS).enumerate() {
        // A last tile that is not full does its last tap several times.
        let starts: [usize; TAPS] = std::array::from_fn(|i| offsets[i.min(offsets.len() - 1)]);
        let tile = correlate_tile::<V, R>(y, starts, x, length);
        for (row, tile) in tile.iter().enumerate() {
            let sums = &mut sums[row * taps + first * TAPS..][..offsets.len()];
            for (sum, &value) in sums.iter_mut().zip(tile) {
                *sum += value;
            }
        }
    }
}

#[inline(always)]
fn correlate_tile<'a, V: Vector, const R: usize>(
    y: &'a [f32],
    starts: [usize; TAPS],
    x: &'a [f32],
    length: usize,
) -> [[f32; TAPS]; R] {
    let mut lanes = [[V::splat(0.0); TAPS]; R];
    let count = length / LANES;
    let lanes_from =
        |values: &'a [f32], start: usize| &values[start..start + length].as_chunks::<LANES>().0[..count];
    let runs: [&[Lanes]; TAPS] = starts.map(|start| lanes_from(x, start));
    let rows: [&[Lanes]; R] = std::array::from_fn(|r| lanes_from(y, r * length));
    for i in 0..count {
        let y: [V; R] = std::array::from_fn(|r| V::load(&rows[r][i]));
        for t in 0..TAPS {
            let x = V::load(&runs[t][i]);
            for r in 0..R {
                lanes[r][t] = y[r].mul_add(x, lanes[r][t]);
            }
        }
    }
    let mut sums = [[0.0; TAPS]; R];
    for r in 0..R {
        for t in 0..TAPS {
            sums[r][t] = lanes[r][t].sum();
        }
    }
    sums
}
