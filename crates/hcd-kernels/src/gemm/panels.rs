//! Right-hand matrices as the kernel wants them.

use super::WIDTH;
use crate::copy::{Lines, copy_lines};
use crate::lanes::Lanes;
use crate::memory;
use crate::transpose::transpose;
use rayon::prelude::*;
use std::ops::Range;

/// A right-hand matrix (depth, columns) as panels of 32 columns, the last filled up: (panel, depth, 32).
#[derive(Debug, Clone, Default)]
pub struct Panels {
    pub(super) depth: usize,
    pub(super) columns: usize,
    pub(super) values: Vec<f32>,
}

impl Panels {
    /// Of the transpose of `weight` (columns, depth).
    pub fn transposed(weight: &[f32], depth: usize) -> Self {
        let columns = weight.len().checked_div(depth).unwrap_or(0);
        assert_eq!(weight.len(), depth * columns, "Panels: the matrix is not (columns, {depth})");
        Self::built(depth, columns, |first, width, panel| {
            transpose(&weight[first * depth..], depth, width, depth, panel, WIDTH);
        })
    }

    /// `fill` is given the first column of each panel, how many there are, and the panel (depth, 32), of which it
    /// writes that many columns.
    pub(crate) fn built(
        depth: usize,
        columns: usize,
        fill: impl Fn(usize, usize, &mut [f32]) + Sync,
    ) -> Self {
        let panel = (depth * WIDTH).max(1);
        let values = memory::written(columns.div_ceil(WIDTH) * depth * WIDTH, |values| {
            values.par_chunks_mut(panel).enumerate().for_each(|(index, panel)| {
                let width = WIDTH.min(columns - index * WIDTH);
                if width < WIDTH {
                    panel.fill(0.0);
                }
                fill(index * WIDTH, width, panel);
            });
        });
        Self { depth, columns, values }
    }

    /// Of `x` (depth, columns) as it is.
    pub fn straight(x: &[f32], columns: usize) -> Self {
        let depth = x.len().checked_div(columns).unwrap_or(0);
        assert_eq!(x.len(), depth * columns, "Panels: the matrix is not (depth, {columns})");
        Self::built(depth, columns, |first, width, panel| {
            copy_columns(x, columns, first..first + width, panel);
        })
    }

    /// Becomes `x` (depth, columns) as it is, in the memory that there is and on this thread.
    pub(crate) fn refill(&mut self, x: &[f32], columns: usize) {
        let depth = x.len().checked_div(columns).unwrap_or(0);
        assert_eq!(x.len(), depth * columns, "Panels: the matrix is not (depth, {columns})");
        self.resize(depth, columns);
        let (whole, rest) = (columns / WIDTH, columns % WIDTH);
        // Row by row, as the numbers lie, so that they are fetched ahead.
        for (k, row) in x.chunks_exact(columns.max(1)).enumerate() {
            let lines =
                Lines { count: whole, length: WIDTH, from_step: WIDTH, to_step: depth * WIDTH, stride: 1 };
            copy_lines(lines, row, &mut self.values[k * WIDTH..]);
            if rest > 0 {
                let to = (whole * depth + k) * WIDTH;
                self.values[to..to + rest].copy_from_slice(&row[whole * WIDTH..]);
            }
        }
    }

    /// The panels, each (depth, 32).
    pub(super) fn panels(&self) -> &[[Lanes; 2]] {
        self.values.as_chunks().0.as_chunks().0
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Makes room for `depth` rows of `columns`; what is in it is left over from before.
    pub(crate) fn resize(&mut self, depth: usize, columns: usize) {
        (self.depth, self.columns) = (depth, columns);
        self.values.resize(columns.div_ceil(WIDTH) * depth * WIDTH, 0.0);
    }

    /// Puts the transpose of `x` (columns, length), a row `step` after the one before, into the rows from `first` on.
    pub(crate) fn turn_in(&mut self, first: usize, length: usize, x: &[f32], step: usize) {
        for (index, panel) in self.values.chunks_exact_mut((self.depth * WIDTH).max(1)).enumerate() {
            let column = index * WIDTH;
            let width = WIDTH.min(self.columns - column);
            transpose(&x[column * step..], step, width, length, &mut panel[first * WIDTH..], WIDTH);
        }
    }
}

/// Copies some columns of `x` (depth, columns) into a panel.
fn copy_columns(x: &[f32], columns: usize, taken: Range<usize>, panel: &mut [f32]) {
    let (count, length) = (x.len() / columns, taken.len());
    let lines = Lines { count, length, from_step: columns, to_step: WIDTH, stride: 1 };
    copy_lines(lines, &x[taken.start..], panel);
}
