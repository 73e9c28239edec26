//! Right-hand matrices as the kernel wants them.

use super::WIDTH;
use crate::lanes::{LANES, Lanes};
use crate::transpose::transpose;
use rayon::prelude::*;

/// A right-hand matrix (depth, columns) as panels of 32 columns, the last filled up: (panel, depth, 32).
#[derive(Debug, Clone, Default)]
pub struct Panels {
    pub(super) depth: usize,
    pub(super) columns: usize,
    pub(super) values: Vec<[Lanes; 2]>,
}

impl Panels {
    /// Of the transpose of `weight` (columns, depth).
    pub fn transposed(weight: &[f32], depth: usize) -> Self {
        let columns = weight.len().checked_div(depth).unwrap_or(0);
        assert_eq!(weight.len(), depth * columns, "Panels: the matrix is not (columns, {depth})");
        Self::built(depth, columns, |first, panel| {
            let width = WIDTH.min(columns - first);
            transpose(&weight[first * depth..], depth, width, depth, panel, WIDTH);
        })
    }

    /// `fill` is given the first column of each panel, and the panel (depth, 32), full of zeros.
    pub(crate) fn built(depth: usize, columns: usize, fill: impl Fn(usize, &mut [f32]) + Sync) -> Self {
        let mut values = vec![[[0.0; LANES]; 2]; columns.div_ceil(WIDTH) * depth];
        let panels = values.par_chunks_mut(depth.max(1)).enumerate();
        panels.for_each(|(index, panel)| fill(index * WIDTH, panel.as_flattened_mut().as_flattened_mut()));
        Self { depth, columns, values }
    }

    /// Of `x` (depth, columns) as it is.
    pub fn straight(x: &[f32], columns: usize) -> Self {
        let mut panels = Self::default();
        panels.refill(x, columns);
        panels
    }

    /// Becomes `x` (depth, columns) as it is, in the memory that there is.
    pub(crate) fn refill(&mut self, x: &[f32], columns: usize) {
        let depth = x.len().checked_div(columns).unwrap_or(0);
        assert_eq!(x.len(), depth * columns, "Panels: the matrix is not (depth, {columns})");
        self.resize(depth, columns);
        for (index, panel) in self.values.chunks_mut(depth.max(1)).enumerate() {
            let first = index * WIDTH;
            let width = WIDTH.min(columns - first);
            for (to, from) in panel.iter_mut().zip(x.chunks_exact(columns)) {
                let from = &from[first..first + width];
                match from.as_array::<WIDTH>() {
                    Some(whole) => *to.as_flattened_mut().as_mut_array::<WIDTH>().expect("two groups") = *whole,
                    None => to.as_flattened_mut()[..width].copy_from_slice(from),
                }
            }
        }
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Makes room for `depth` rows of `columns`; what is in it is left over from before.
    pub(crate) fn resize(&mut self, depth: usize, columns: usize) {
        (self.depth, self.columns) = (depth, columns);
        self.values.resize(columns.div_ceil(WIDTH) * depth, [[0.0; LANES]; 2]);
    }

    /// Puts the transpose of `x` (columns, length), a row `step` after the one before, into the rows from `first` on.
    pub(crate) fn turn_in(&mut self, first: usize, length: usize, x: &[f32], step: usize) {
        for (index, panel) in self.values.chunks_exact_mut(self.depth.max(1)).enumerate() {
            let column = index * WIDTH;
            let width = WIDTH.min(self.columns - column);
            let to = panel[first..first + length].as_flattened_mut().as_flattened_mut();
            transpose(&x[column * step..], step, width, length, to, WIDTH);
        }
    }
}
