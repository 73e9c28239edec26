//! How the input's gradient falls into parts: one for each place within the stride, down and across.
//!
//! Part (a, b) is dx[i·s + a − p, j·s + b − p] for all i, j inside the image: the sum over the output's channels and the
//! taps with u·d ≡ a, v·d ≡ b (mod s), d being the dilation, of weight[…, u, v] · dy[i − ⌊u·d/s⌋, j − ⌊v·d/s⌋]. A copy of
//! dy with zero margins makes each tap a run of a plane, at an offset of its own.

use super::ConvShape;
use super::planes::Axis;
use crate::copy::{Lines, copy_lines, lines_by_turns, spread_lines};
use crate::lanes::LANES;

/// One direction of a part.
#[derive(Debug, Clone)]
struct Place {
    /// a of i·s + a − p.
    at: usize,
    /// The first i inside the image.
    first: usize,
    /// How many are inside.
    count: usize,
    /// Its taps, each with how far back it reads.
    taps: Vec<(usize, usize)>,
}

impl Place {
    fn all(axis: &Axis) -> Vec<Place> {
        let all = (0..axis.stride).map(|at| {
            let first = axis.padding.saturating_sub(at).div_ceil(axis.stride);
            let end = (axis.input + axis.padding).saturating_sub(at).div_ceil(axis.stride);
            let taps = (0..axis.kernel).map(|tap| (tap, axis.tap(tap)));
            let taps =
                taps.filter(|(_, (place, _))| *place == at).map(|(tap, (_, back))| (tap, back)).collect();
            Place { at, first, count: end.saturating_sub(first), taps }
        });
        all.collect()
    }

    /// The first number of the image.
    fn start(&self, axis: &Axis) -> usize {
        self.first * axis.stride + self.at - axis.padding
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
        let used = || places.iter().filter(|place| !place.taps.is_empty() && place.count > 0);
        let furthest = |place: &Place| place.taps.iter().map(|&(_, back)| back).max().unwrap_or(0);
        let before = used().map(|place| furthest(place).saturating_sub(place.first)).max().unwrap_or(0);
        let after =
            used().map(|place| (place.first + place.count).saturating_sub(axis.output)).max().unwrap_or(0);
        Self { before, step: axis.output + before.max(after) }
    }
}

/// The planes of dy, and what is computed from them.
pub(super) struct Parts {
    rows: Axis,
    columns: Axis,
    down: Margin,
    across: Margin,
    pub(super) parts: Vec<Part>,
}

/// The input's gradient at one place within the stride.
pub(super) struct Part {
    /// Rows and columns.
    pub(super) size: [usize; 2],
    /// Where each tap reads for the part's first pixel, in a plane.
    pub(super) offsets: Vec<usize>,
    /// Each tap's place in the kernel.
    pub(super) taps: Vec<usize>,
    /// The first pixel's place in the image.
    pub(super) start: usize,
}

impl Parts {
    pub(super) fn new(shape: &ConvShape) -> Self {
        let [rows, columns] = [shape.axis(0), shape.axis(1)];
        let (row_places, column_places) = (Place::all(&rows), Place::all(&columns));
        let (down, across) = (Margin::new(&rows, &row_places), Margin::new(&columns, &column_places));
        let part = |row: &Place, column: &Place| {
            let taps = || row.taps.iter().flat_map(|&u| column.taps.iter().map(move |&v| (u, v)));
            let offset = |((_, up), (_, left)): ((usize, usize), (usize, usize))| {
                (row.first + down.before - up) * across.step + column.first + across.before - left
            };
            Part {
                size: [row.count, column.count],
                offsets: taps().map(offset).collect(),
                taps: taps().map(|((u, _), (v, _))| u * columns.kernel + v).collect(),
                start: row.start(&rows) * columns.input + column.start(&columns),
            }
        };
        let inside = |place: &&Place| place.count > 0;
        let parts = row_places
            .iter()
            .filter(inside)
            .flat_map(|row| column_places.iter().filter(inside).map(move |column| (row, column)));
        let parts = parts.map(|(row, column)| part(row, column)).collect();
        Self { rows, columns, down, across, parts }
    }

    /// Numbers of one plane of dy.
    pub(super) fn plane(&self) -> usize {
        self.down.step * self.across.step
    }

    /// From one row of a plane to the next.
    pub(super) fn step(&self) -> usize {
        self.across.step
    }

    /// So many planes, empty, and behind them as much as runs reach over the end of the last one: whole vectors, too.
    pub(super) fn planes(&self, count: usize) -> Vec<f32> {
        let reach = |part: &Part| {
            let [rows, columns] = part.size;
            part.offsets.iter().max().unwrap_or(&0) + (rows - 1) * self.across.step + columns
        };
        let reach = self.parts.iter().map(reach).fold(self.plane(), usize::max);
        vec![0.0; (count - 1) * self.plane() + reach + 2 * LANES]
    }

    /// Copies one channel of dy (H_out, W_out) into a plane; its margins are zero from the start.
    pub(super) fn fill(&self, grad: &[f32], plane: &mut [f32]) {
        let lines = Lines {
            count: self.rows.output,
            length: self.columns.output,
            from_step: self.columns.output,
            to_step: self.across.step,
            stride: 1,
        };
        copy_lines(lines, grad, &mut plane[self.down.before * self.across.step + self.across.before..]);
    }

    /// Writes a run of a part, from its pixel (i, j) on within row i, into each of some channels of dx (channel, H, W);
    /// that of a channel lies `step` after the one before.
    pub(super) fn put(&self, part: &Part, [i, j]: [usize; 2], runs: Runs, dx: &mut [f32]) {
        let start = part.start + i * self.rows.stride * self.columns.input + j * self.columns.stride;
        let lines = Lines {
            count: runs.channels,
            length: runs.length,
            from_step: runs.step,
            to_step: self.rows.input * self.columns.input,
            stride: self.columns.stride,
        };
        spread_lines(lines, runs.values, &mut dx[start..]);
    }

    /// Writes all parts, whose pixels follow on each other in `values`, into a channel of dx (H, W).
    pub(super) fn put_all(&self, mut values: &[f32], dx: &mut [f32]) {
        let to_step = self.rows.stride * self.columns.input;
        // The parts of the same rows.
        let across = if self.columns.stride == 2 && self.columns.input > 1 { 2 } else { 1 };
        for parts in self.parts.chunks_exact(across) {
            let [count, length] = parts[0].size;
            let (first, rest) = values.split_at(parts[0].area());
            if across == 1 {
                values = rest;
                let lines = Lines { count, length, from_step: length, to_step, stride: self.columns.stride };
                spread_lines(lines, first, &mut dx[parts[0].start..]);
                continue;
            }
            let (second, rest) = rest.split_at(parts[1].area());
            values = rest;
            let other = parts[1].size[1];
            // Which of the two has the first column depends on the padding.
            match parts[0].start < parts[1].start {
                true => {
                    lines_by_turns(count, [length, other], first, second, &mut dx[parts[0].start..], to_step)
                }
                false => {
                    lines_by_turns(count, [other, length], second, first, &mut dx[parts[1].start..], to_step)
                }
            }
        }
    }
}

/// A run of pixels in each of some channels.
pub(super) struct Runs<'a> {
    pub(super) values: &'a [f32],
    pub(super) channels: usize,
    pub(super) length: usize,
    /// From one channel's to the next.
    pub(super) step: usize,
}

impl Part {
    /// Pixels.
    pub(super) fn area(&self) -> usize {
        self.size[0] * self.size[1]
    }
}
