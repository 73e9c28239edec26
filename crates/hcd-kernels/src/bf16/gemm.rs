//! Matrix products C = f(A·B + bias) of numbers rounded to 16 bits.

use super::{Block, DEEP, Operands, Session, Steps, TILE, WIDE, pair_lines, round_line, turn_pairs};
use crate::gelu;
use crate::gemm::{Activation, Bias, Left};
use crate::lanes::{LANES, Vector};
use crate::memory;
use rayon::prelude::*;
use std::ops::Range;

/// Longest block of the shared axis, so that what a task multiplies stays in the second-level cache.
const BLOCK: usize = 1024;
/// Rows that a task packs at once.
const TASK: usize = 256;

/// A right-hand matrix (depth, columns), rounded: panels of 32 columns, each a line of 32 words to two of its rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns {
    depth: usize,
    columns: usize,
    values: Vec<u32>,
}

impl Columns {
    /// Of `x` (depth, columns) as it is.
    pub(crate) fn straight(x: &[f32], columns: usize) -> Self {
        let depth = x.len().checked_div(columns).unwrap_or(0);
        assert_eq!(x.len(), depth * columns, "bf16: the matrix is not (depth, {columns})");
        Self::built(depth, columns, |first, width, panel| {
            for (lines, panel) in x.chunks(2 * columns).zip(panel.chunks_exact_mut(WIDE)) {
                let high = lines.get(columns + first..columns + first + width).unwrap_or_default();
                pair_lines(&lines[first..first + width], high, &mut panel[..width]);
            }
        })
    }

    /// Of the transpose of `weight` (columns, depth).
    pub(crate) fn transposed(weight: &[f32], depth: usize) -> Self {
        let columns = weight.len().checked_div(depth).unwrap_or(0);
        assert_eq!(weight.len(), depth * columns, "bf16: the matrix is not (columns, {depth})");
        let even = depth.next_multiple_of(2);
        Self::built(depth, columns, |first, width, panel| {
            // Words, so that pairs lie at whole ones.
            let mut rounded = vec![0u32; even / 2 * width];
            // SAFETY: two numbers of 16 bits are a word, whatever their bits.
            let rounded = unsafe { rounded.align_to_mut::<u16>().1 };
            for (to, from) in
                rounded.chunks_exact_mut(even.max(1)).zip(weight[first * depth..].chunks_exact(depth))
            {
                round_line(from, &mut to[..depth]);
            }
            turn_pairs(rounded, even, [width, even / 2], panel, WIDE);
        })
    }

    /// `fill` is given the first column of each panel, how many there are, and the panel, all zero.
    fn built(depth: usize, columns: usize, fill: impl Fn(usize, usize, &mut [u32]) + Sync) -> Self {
        let panel = depth.next_multiple_of(DEEP) / 2 * WIDE;
        let values = memory::written(columns.div_ceil(WIDE) * panel, |values: &mut [u32]| {
            values.par_chunks_mut(panel.max(1)).enumerate().for_each(|(index, panel)| {
                panel.fill(0);
                fill(index * WIDE, WIDE.min(columns - index * WIDE), panel);
            });
        });
        Self { depth, columns, values }
    }
}

/// A left-hand matrix, rounded, in tiles of 16 rows by 32 numbers: (rows / 16, depth / 32, 16, 32).
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    /// Steps of the shared axis.
    steps: usize,
    values: Vec<u16>,
}

impl Rows {
    /// From one tile to the next along the shared axis.
    pub(crate) const STEP: usize = TILE * DEEP;

    /// All zero.
    pub(crate) fn empty(rows: usize, depth: usize) -> Self {
        let mut new = Self::default();
        new.resize(rows, depth);
        new
    }

    fn resize(&mut self, rows: usize, depth: usize) {
        self.steps = depth.div_ceil(DEEP);
        self.values.clear();
        self.values.resize(rows.next_multiple_of(WIDE) * self.steps * DEEP, 0);
    }

    /// Puts numbers into a row from the beginning of a step on.
    pub(crate) fn set(&mut self, row: usize, step: usize, from: &[f32]) {
        let first = row / TILE * self.steps;
        for (index, from) in from.chunks(DEEP).enumerate() {
            let at = (first + step + index) * Self::STEP + row % TILE * DEEP;
            round_line(from, &mut self.values[at..at + from.len()]);
        }
    }

    /// These and a right-hand matrix.
    pub(crate) fn with<'a>(&'a self, b: &'a [u32], b_row: usize) -> Operands<'a> {
        Operands { a: &self.values, a_row: DEEP, a_next: self.steps * Self::STEP, b, b_row }
    }

    /// Where a row's tile lies.
    pub(crate) fn place(&self, row: usize) -> usize {
        row / TILE * self.steps * Self::STEP
    }

    /// Becomes a block of `left`.
    fn refill(&mut self, left: Left, rows: Range<usize>, block: Range<usize>, turned: &mut Vec<f32>) {
        self.resize(rows.len(), block.len());
        for row in rows.clone().step_by(LANES) {
            let lines = left.lines(row..rows.end.min(row + LANES), block.clone(), turned);
            for (index, line) in lines.enumerate() {
                self.set(row - rows.start + index, 0, line);
            }
        }
    }
}

/// C = f(A·B + bias), rows shared out among the threads.
///
/// # Shapes
/// `a` (rows, depth); `b` (depth, columns); `c` (rows, columns)
pub(crate) fn multiply(a: Left, b: &Columns, bias: Bias, activation: Activation, c: &mut [f32]) {
    if c.is_empty() {
        return;
    }
    let rows = c.len() / b.columns;
    // As many tasks for each thread, about equal.
    let tasks = rows.div_ceil(TASK).next_multiple_of(rayon::current_num_threads());
    let task = rows.div_ceil(tasks).next_multiple_of(TILE);
    c.par_chunks_mut(task * b.columns).enumerate().for_each(|(index, c)| {
        rows_of(a, index * task, b, bias, activation, c);
    });
}

/// [`multiply`] on this thread alone.
pub(crate) fn multiply_here(a: Left, b: &Columns, bias: Bias, activation: Activation, c: &mut [f32]) {
    if !c.is_empty() {
        rows_of(a, 0, b, bias, activation, c);
    }
}

fn rows_of(a: Left, first: usize, b: &Columns, bias: Bias, activation: Activation, c: &mut [f32]) {
    assert_eq!(a.depth(), b.depth, "bf16: the matrices share no axis");
    let session = Session::begin();
    let (mut packed, mut turned) = (Rows::default(), Vec::new());
    let (rows, panel) = (c.len() / b.columns, b.depth.next_multiple_of(DEEP) / 2 * WIDE);
    let mut block = [[0.0; WIDE]; WIDE];
    let blocks = b.depth.div_ceil(BLOCK).max(1);
    let length = b.depth.div_ceil(blocks).next_multiple_of(DEEP);
    for index in 0..blocks {
        let shared = (index * length).min(b.depth)..b.depth.min((index + 1) * length);
        packed.refill(a, first..first + rows, shared.clone(), &mut turned);
        let steps: Steps =
            (0..packed.steps).map(|step| [step * Rows::STEP, step * DEEP / 2 * WIDE]).collect();
        let operands = packed.with(&b.values, WIDE);
        let bias = if index == 0 { bias } else { Bias::There };
        let activation = if index + 1 == blocks { activation } else { Activation::None };
        for column in (0..b.columns).step_by(WIDE) {
            let b_at = column / WIDE * panel + shared.start / 2 * WIDE;
            for row in (0..rows).step_by(WIDE) {
                let height = WIDE.min(rows - row);
                session.product(&operands, [packed.place(row), b_at], &steps, height, &mut block);
                let to = &mut c[row * b.columns + column..];
                finish(&block, [first + row, height], [column, b.columns], bias, activation, to);
            }
        }
    }
}

for_each_level! {
    /// Adds what is to be added to a block, and writes it to `c`, from its first number on.
    fn finish(
        block: &Block, rows: [usize; 2], columns: [usize; 2], bias: Bias, activation: Activation, c: &mut [f32],
    ) = finish_body
}

#[inline(always)]
fn finish_body<V: Vector>(
    block: &Block,
    [first, height]: [usize; 2],
    [column, columns]: [usize; 2],
    bias: Bias,
    activation: Activation,
    c: &mut [f32],
) {
    let width = WIDE.min(columns - column);
    for (r, sums) in block.iter().enumerate().take(height) {
        let c = &mut c[r * columns..][..width];
        for (group, c) in c.chunks_mut(LANES).enumerate() {
            let at = group * LANES;
            let sum = V::load(&sums[at..].as_chunks().0[0]);
            let sum = match bias {
                Bias::None => sum,
                Bias::There => sum.add(V::load_some(c)),
                Bias::Column(bias) => sum.add(V::load_some(&bias[column + at..][..c.len()])),
                Bias::Row(bias) => sum.add(V::splat(bias[first + r])),
            };
            let sum = if activation == Activation::Gelu { gelu::of(sum) } else { sum };
            sum.store_up_to(c);
        }
    }
}
