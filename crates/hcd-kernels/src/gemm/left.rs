//! Left-hand matrices, and how tiles are collected from them.

use super::{TALL, tiles};
use crate::lanes::{LANES, Vector};
use crate::transpose::transpose;
use std::ops::Range;

/// A left-hand matrix (rows, depth).
#[derive(Debug, Clone, Copy)]
pub struct Left<'a> {
    values: &'a [f32],
    pub(super) rows: usize,
    pub(super) depth: usize,
    order: Order<'a>,
}

/// How a left-hand matrix lies.
#[derive(Debug, Clone, Copy)]
enum Order<'a> {
    /// Row by row.
    Straight,
    /// Column by column.
    Turned,
    /// Row by row in each of several images, whose columns follow on each other's: (image, row, column).
    Joined { columns: usize },
    /// Number (i, k) at starts[i] + offsets[k].
    Runs { starts: &'a [usize], offsets: &'a [usize] },
}

impl<'a> Left<'a> {
    /// `values` (rows, depth)
    pub fn straight(values: &'a [f32], depth: usize) -> Self {
        let rows = values.len().checked_div(depth).unwrap_or(0);
        assert_eq!(values.len(), rows * depth, "Left: the matrix is not (rows, {depth})");
        Self { values, rows, depth, order: Order::Straight }
    }

    /// The transpose of `values` (depth, rows)
    pub fn transposed(values: &'a [f32], rows: usize) -> Self {
        let depth = values.len().checked_div(rows).unwrap_or(0);
        assert_eq!(values.len(), rows * depth, "Left: the matrix is not (depth, {rows})");
        Self { values, rows, depth, order: Order::Turned }
    }

    /// `values` (images, rows, columns) as (rows, images · columns)
    pub(crate) fn joined(values: &'a [f32], rows: usize, columns: usize) -> Self {
        let depth = values.len().checked_div(rows).unwrap_or(0);
        assert!(
            values.len() == rows * depth && depth.is_multiple_of(columns),
            "Left: the matrices are not ({rows}, {columns})"
        );
        Self { values, rows, depth, order: Order::Joined { columns } }
    }

    /// Number (i, k) is `values[starts[i] + offsets[k]]`; fast where many starts follow on the one before. `values`
    /// must reach 16 numbers beyond the last.
    pub(crate) fn runs(values: &'a [f32], starts: &'a [usize], offsets: &'a [usize]) -> Self {
        let last = |places: &[usize]| places.iter().copied().max().unwrap_or(0);
        let end = last(starts) + last(offsets) + LANES;
        assert!(
            end <= values.len() || starts.is_empty() || offsets.is_empty(),
            "Left: runs beyond the values"
        );
        let order = Order::Runs { starts, offsets };
        Self { values, rows: starts.len(), depth: offsets.len(), order }
    }

    /// A matrix of no depth, which has no values to tell its rows by.
    #[cfg(test)]
    pub(super) fn of(values: &'a [f32], [rows, depth]: [usize; 2], turned: bool) -> Self {
        Self { values, rows, depth, order: if turned { Order::Turned } else { Order::Straight } }
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Some rows of a block of it, one by one; `scratch` holds them where they do not lie so.
    pub(crate) fn lines<'s>(
        &'s self,
        rows: Range<usize>,
        block: Range<usize>,
        scratch: &'s mut Vec<f32>,
    ) -> impl Iterator<Item = &'s [f32]> {
        let (count, length) = (rows.len(), block.len());
        let (lines, step) = match self.order {
            Order::Straight => (&self.values[rows.start * self.depth + block.start..], self.depth),
            Order::Turned => {
                scratch.resize(count * length, 0.0);
                let from = &self.values[block.start * self.rows + rows.start..];
                transpose(from, self.rows, length, count, scratch, length);
                (&scratch[..], length)
            }
            Order::Joined { columns } => {
                scratch.clear();
                let place = |row, k| (k / columns * self.rows + row) * columns + k % columns;
                let places = rows.flat_map(|row| block.clone().map(move |k| place(row, k)));
                scratch.extend(places.map(|place| self.values[place]));
                (&scratch[..], length)
            }
            Order::Runs { starts, offsets } => {
                scratch.clear();
                let places =
                    starts[rows].iter().flat_map(|s| offsets[block.clone()].iter().map(move |o| s + o));
                scratch.extend(places.map(|place| self.values[place]));
                (&scratch[..], length)
            }
        };
        (0..count).map(move |row| &lines[row * step..][..length])
    }

    /// A block of it, tile by tile, each as (length, rows of the tile).
    #[inline(always)]
    pub(super) fn pack<V: Vector>(&self, rows: &Range<usize>, block: &Range<usize>, scratch: &mut Vec<f32>) {
        let length = block.len();
        // Whole vectors are written, and the next ones over what is too much of them.
        let room = rows.len() * length + LANES;
        if scratch.len() < room {
            scratch.resize(room, 0.0);
        }
        let mut done = 0;
        for height in tiles::<V>(rows.len()) {
            let to = &mut scratch[done * length..][..height * length + LANES];
            let first = rows.start + done;
            match self.order {
                Order::Straight => {
                    pack_lines::<V>(
                        &self.values[first * self.depth + block.start..],
                        self.depth,
                        height,
                        length,
                        to,
                    );
                }
                Order::Joined { columns } => self.pack_joined::<V>(first, height, columns, block, to),
                Order::Turned => self.pack_turned::<V>(first, height, block, to),
                Order::Runs { starts, offsets } => {
                    self.pack_runs::<V>(&starts[first..first + height], &offsets[block.clone()], to);
                }
            }
            done += height;
        }
    }

    #[inline(always)]
    fn pack_joined<V: Vector>(
        &self,
        first: usize,
        height: usize,
        columns: usize,
        block: &Range<usize>,
        to: &mut [f32],
    ) {
        let mut k = block.start;
        while k < block.end {
            let (image, column) = (k / columns, k % columns);
            let count = (columns - column).min(block.end - k);
            let from = &self.values[(image * self.rows + first) * columns + column..];
            pack_lines::<V>(from, columns, height, count, &mut to[(k - block.start) * height..]);
            k += count;
        }
    }

    #[inline(always)]
    fn pack_turned<V: Vector>(&self, first: usize, height: usize, block: &Range<usize>, to: &mut [f32]) {
        for (index, k) in block.clone().enumerate() {
            let from = &self.values[k * self.rows + first..];
            let values = match from.as_chunks().0.first() {
                Some(whole) => V::load(whole),
                None => V::load_some(&from[..height]),
            };
            values.store(&mut to[index * height..].as_chunks_mut().0[0]);
        }
    }

    #[inline(always)]
    fn pack_runs<V: Vector>(&self, starts: &[usize], offsets: &[usize], to: &mut [f32]) {
        let height = starts.len();
        // Where rows follow on each other they are one run.
        let mut runs = [(0, 0); TALL];
        let mut count = 0;
        for (row, &start) in starts.iter().enumerate() {
            if row == 0 || start != starts[row - 1] + 1 {
                runs[count] = (row, start);
                count += 1;
            }
        }
        assert!(to.len() >= height * offsets.len() + LANES);
        for (k, &offset) in offsets.iter().enumerate() {
            for &(row, start) in &runs[..count] {
                // SAFETY: `runs` has checked that values reach 16 numbers beyond each start and offset; row < height
                // and k < offsets.len(), so `to` reaches 16 numbers beyond their place.
                unsafe {
                    let run = V::load(&*self.values.as_ptr().add(start + offset).cast());
                    run.store(&mut *to.as_mut_ptr().add(k * height + row).cast());
                }
            }
        }
    }
}

/// Turns `height` rows of `count` numbers, each `step` after the one before; whole vectors are written.
#[inline(always)]
fn pack_lines<V: Vector>(from: &[f32], step: usize, height: usize, count: usize, to: &mut [f32]) {
    match height {
        // Most tiles have it where registers are few; as a constant, it lets the rows stay in them.
        6 if !V::MANY => pack_rows::<V>(from, step, 6, count, to),
        _ => pack_rows::<V>(from, step, height, count, to),
    }
}

#[inline(always)]
fn pack_rows<V: Vector>(from: &[f32], step: usize, height: usize, count: usize, to: &mut [f32]) {
    for done in (0..count).step_by(LANES) {
        let width = LANES.min(count - done);
        let mut lines = [V::splat(0.0); LANES];
        for (r, line) in lines.iter_mut().enumerate().take(height) {
            *line = V::load_up_to(&from[r * step + done..][..width]);
        }
        V::store_columns(lines, height, width, &mut to[done * height..]);
    }
}
