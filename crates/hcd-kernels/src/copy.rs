//! Copies of many runs, short or long, by whole vectors.

use crate::lanes::{LANES, Vector};

/// Runs that are copied one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Lines {
    pub(crate) count: usize,
    pub(crate) length: usize,
    /// From one run to the next.
    pub(crate) from_step: usize,
    pub(crate) to_step: usize,
    /// Every how manieth number counts.
    pub(crate) stride: usize,
}

for_each_level! {
    /// to[i, j] = from[i, j · stride].
    pub(crate) fn copy_lines(lines: Lines, from: &[f32], to: &mut [f32]) = copy_lines_body
}

#[inline(always)]
fn copy_lines_body<V: Vector>(lines: Lines, from: &[f32], to: &mut [f32]) {
    for line in 0..lines.count {
        let from = &from[line * lines.from_step..];
        let to = &mut to[line * lines.to_step..][..lines.length];
        match lines.stride {
            1 => copy_line::<V>(&from[..lines.length], to),
            2 => copy_second::<V>(&from[..(2 * lines.length).saturating_sub(1)], to),
            stride => to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, &from)| *to = from),
        }
    }
}

#[inline(always)]
fn copy_line<V: Vector>(from: &[f32], to: &mut [f32]) {
    let ((from, from_rest), (to, to_rest)) = (from.as_chunks(), to.as_chunks_mut());
    for (to, from) in to.iter_mut().zip(from) {
        V::load(from).store(to);
    }
    V::load_some(from_rest).store_some(to_rest);
}

#[inline(always)]
fn copy_second<V: Vector>(from: &[f32], to: &mut [f32]) {
    for (to, from) in to.chunks_mut(LANES).zip(from.chunks(2 * LANES)) {
        let (low, high) = from.split_at(LANES.min(from.len()));
        V::load_some(low).every_second(V::load_some(high)).store_some(to);
    }
}
