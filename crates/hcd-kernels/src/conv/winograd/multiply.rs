//! The products of one point: C = A·B or C += A·B, where neither matrix is packed: A lies in blocks of 64 numbers a tile,
//! so that the numbers of fourteen tiles are at constant distances, or of one tile side by side.

use super::BLOCK;
use crate::gemm::WIDTH;
use crate::lanes::{LANES, Lanes, Vector};

/// A panel of the right-hand matrix: (depth, 32).
pub(super) type Panel = [[Lanes; 2]];

/// Rows ahead of those in use that are fetched.
const AHEAD: usize = 16;

for_each_level! {
    /// C = A·B over a point: rows are tiles, the shared axis channels.
    ///
    /// # Shapes
    /// `a` (depth / 64, tiles, 64); `b` (depth, 32); `c` (tiles, 32)
    pub(super) fn over_channels(a: &[f32], b: &Panel, c: &mut [f32]) = over_channels_body
}

for_each_level! {
    /// C = A·B, or C += A·B, over a point: rows are channels, the shared axis tiles.
    ///
    /// # Shapes
    /// `a` (rows / 64, tiles, 64); `b` (tiles, 32); `c` (rows, 32)
    pub(super) fn over_tiles(a: &[f32], b: &Panel, c: &mut [f32], adds: bool) = over_tiles_body
}

#[inline(always)]
fn over_channels_body<V: Vector>(a: &[f32], b: &Panel, c: &mut [f32]) {
    let tiles = c.len() / WIDTH;
    let (depth, block_step) = (b.len(), tiles * BLOCK);
    for rows in groups::<V>(tiles) {
        let first = rows.start * BLOCK;
        let left = Left { values: a, first, depth, block: BLOCK, block_step, step: 1 };
        by_height::<V, BLOCK>(left, b, &mut c[rows.start * WIDTH..rows.end * WIDTH], false);
    }
}

#[inline(always)]
fn over_tiles_body<V: Vector>(a: &[f32], b: &Panel, c: &mut [f32], adds: bool) {
    let tiles = b.len();
    for (a, c) in a.chunks(BLOCK * tiles).zip(c.chunks_mut(BLOCK * WIDTH)) {
        for rows in groups::<V>(c.len() / WIDTH) {
            let first = rows.start;
            let left = Left { values: a, first, depth: tiles, block: tiles, block_step: 0, step: BLOCK };
            by_height::<V, 1>(left, b, &mut c[rows.start * WIDTH..rows.end * WIDTH], adds);
        }
    }
}

/// Rows that are worked on together: as few groups as the registers allow, about equal.
#[inline(always)]
fn groups<V: Vector>(rows: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let count = rows.div_ceil(if V::MANY { 14 } else { 6 });
    (0..count).map(move |group| group * rows / count..(group + 1) * rows / count)
}

/// Number (row, k) of the left-hand matrix is at first + row · S + (k / block) · block_step + (k mod block) · step.
#[derive(Clone, Copy)]
struct Left<'a> {
    values: &'a [f32],
    first: usize,
    depth: usize,
    block: usize,
    block_step: usize,
    step: usize,
}

#[inline(always)]
fn by_height<V: Vector, const S: usize>(a: Left, b: &Panel, c: &mut [f32], adds: bool) {
    match (V::MANY, c.len() / WIDTH) {
        (true, 14) => tile::<V, 14, 2, S>(a, b, 0, c, adds),
        (true, 13) => tile::<V, 13, 2, S>(a, b, 0, c, adds),
        (true, 12) => tile::<V, 12, 2, S>(a, b, 0, c, adds),
        (true, 11) => tile::<V, 11, 2, S>(a, b, 0, c, adds),
        (true, 10) => tile::<V, 10, 2, S>(a, b, 0, c, adds),
        (true, 9) => tile::<V, 9, 2, S>(a, b, 0, c, adds),
        (true, 8) => tile::<V, 8, 2, S>(a, b, 0, c, adds),
        (true, 7) => tile::<V, 7, 2, S>(a, b, 0, c, adds),
        (_, 6) => halves::<V, 6, S>(a, b, c, adds),
        (_, 5) => halves::<V, 5, S>(a, b, c, adds),
        (_, 4) => halves::<V, 4, S>(a, b, c, adds),
        (_, 3) => halves::<V, 3, S>(a, b, c, adds),
        (_, 2) => halves::<V, 2, S>(a, b, c, adds),
        _ => halves::<V, 1, S>(a, b, c, adds),
    }
}

/// Sixteen columns after the other.
#[inline(always)]
fn halves<V: Vector, const R: usize, const S: usize>(a: Left, b: &Panel, c: &mut [f32], adds: bool) {
    tile::<V, R, 1, S>(a, b, 0, c, adds);
    tile::<V, R, 1, S>(a, b, 1, c, adds);
}

/// R rows by G groups of 16 columns in registers, from group `group` on.
#[inline(always)]
fn tile<V: Vector, const R: usize, const G: usize, const S: usize>(
    a: Left,
    b: &Panel,
    group: usize,
    c: &mut [f32],
    adds: bool,
) {
    let c = &mut c.as_chunks_mut::<LANES>().0.as_chunks_mut::<2>().0[..R];
    let blocks = a.depth.div_ceil(a.block);
    let last = a.first + (R - 1) * S + (blocks - 1) * a.block_step + (a.block.min(a.depth) - 1) * a.step;
    assert!(last < a.values.len() && b.len() == a.depth && a.depth > 0);
    let mut sums = [[V::splat(0.0); G]; R];
    if adds {
        for (sums, c) in sums.iter_mut().zip(&*c) {
            for g in 0..G {
                sums[g] = V::load(&c[group + g]);
            }
        }
    }
    for block in 0..blocks {
        let first = a.first + block * a.block_step;
        let start = block * a.block;
        for k in 0..a.block.min(a.depth - start) {
            let ahead = &b[(start + k + AHEAD).min(b.len() - 1)];
            let row = &b[start + k];
            let mut columns = [V::splat(0.0); G];
            for g in 0..G {
                V::prefetch(&ahead[group + g]);
                columns[g] = V::load(&row[group + g]);
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                // SAFETY: no more than `last`, which lies in the slice.
                let value = V::splat(unsafe { *a.values.get_unchecked(first + k * a.step + r * S) });
                for g in 0..G {
                    sums[g] = value.mul_add(columns[g], sums[g]);
                }
            }
        }
    }
    for (sums, c) in sums.into_iter().zip(c) {
        for g in 0..G {
            sums[g].store(&mut c[group + g]);
        }
    }
}
