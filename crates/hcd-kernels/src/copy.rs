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

for_each_level! {
    /// to[i, j · stride] = from[i, j]; what lies between is neither read nor written.
    pub(crate) fn spread_lines(lines: Lines, from: &[f32], to: &mut [f32]) = spread_lines_body
}

#[inline(always)]
fn spread_lines_body<V: Vector>(lines: Lines, from: &[f32], to: &mut [f32]) {
    for line in 0..lines.count {
        let from = &from[line * lines.from_step..][..lines.length];
        let to = &mut to[line * lines.to_step..];
        match lines.stride {
            1 => copy_line::<V>(from, &mut to[..lines.length]),
            2 => {
                let to = &mut to[..(2 * lines.length).saturating_sub(1)];
                for (to, from) in to.chunks_mut(2 * LANES).zip(from.chunks(LANES)) {
                    V::load_up_to(from).store_every_second(to);
                }
            }
            stride => to.iter_mut().step_by(stride).zip(from).for_each(|(to, &from)| *to = from),
        }
    }
}

for_each_level! {
    /// to[i, 2·j] = even[i, j], to[i, 2·j + 1] = odd[i, j]: rows of `widths` numbers, those of `to` `to_step` apart.
    pub(crate) fn lines_by_turns(
        count: usize, widths: [usize; 2], even: &[f32], odd: &[f32], to: &mut [f32], to_step: usize,
    ) = lines_by_turns_body
}

#[inline(always)]
fn lines_by_turns_body<V: Vector>(
    count: usize,
    widths: [usize; 2],
    even: &[f32],
    odd: &[f32],
    to: &mut [f32],
    to_step: usize,
) {
    for line in 0..count {
        let even = &even[line * widths[0]..][..widths[0]];
        let odd = &odd[line * widths[1]..][..widths[1]];
        let to = &mut to[line * to_step..][..widths[0] + widths[1]];
        for (index, to) in to.chunks_mut(2 * LANES).enumerate() {
            let start = index * LANES;
            let [low, high] = part::<V>(even, start).by_turns(part(odd, start));
            let (first, second) = to.split_at_mut(to.len().min(LANES));
            low.store_up_to(first);
            high.store_up_to(second);
        }
    }
}

/// The numbers from `start` on, as many as there are.
#[inline(always)]
fn part<V: Vector>(of: &[f32], start: usize) -> V {
    V::load_up_to(&of[start.min(of.len())..of.len().min(start + LANES)])
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
        V::load_up_to(low).every_second(V::load_up_to(high)).store_up_to(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::noise;

    #[test]
    fn lines_are_copied_and_spread() {
        for stride in [1, 2, 3] {
            for length in [0, 1, 7, 8, 9, 15, 16, 17, 33] {
                let (count, short, long) = (3, length + 2, stride * length + 1);
                let (narrow, wide) = (noise(count * short, 1), noise(count * long, 2));
                let mut copied = vec![7.0; narrow.len()];
                let lines = Lines { count, length, from_step: long, to_step: short, stride };
                copy_lines(lines, &wide, &mut copied);
                let mut spread = vec![7.0; wide.len()];
                let lines = Lines { count, length, from_step: short, to_step: long, stride };
                spread_lines(lines, &narrow, &mut spread);
                for (place, &value) in copied.iter().enumerate() {
                    let (i, j) = (place / short, place % short);
                    let expected = if j < length { wide[i * long + j * stride] } else { 7.0 };
                    assert_eq!(value, expected, "copied: stride {stride}, length {length}, {i} {j}");
                }
                for (place, &value) in spread.iter().enumerate() {
                    let (i, j) = (place / long, place % long);
                    let is_written = j % stride == 0 && j / stride < length;
                    let expected = if is_written { narrow[i * short + j / stride] } else { 7.0 };
                    assert_eq!(value, expected, "spread: stride {stride}, length {length}, {i} {j}");
                }
            }
        }
    }

    #[test]
    fn lines_take_turns() {
        for [even_width, odd_width] in
            [[1, 0], [1, 1], [8, 7], [8, 8], [16, 16], [17, 16], [16, 15], [40, 40]]
        {
            let (count, to_step) = (3, even_width + odd_width + 2);
            let (even, odd) = (noise(count * even_width, 1), noise(count * odd_width, 2));
            let mut to = vec![7.0; count * to_step];
            lines_by_turns(count, [even_width, odd_width], &even, &odd, &mut to, to_step);
            for (place, &value) in to.iter().enumerate() {
                let (i, j) = (place / to_step, place % to_step);
                let expected = match (j < even_width + odd_width, j % 2) {
                    (false, _) => 7.0,
                    (_, 0) => even[i * even_width + j / 2],
                    _ => odd[i * odd_width + j / 2],
                };
                assert_eq!(value, expected, "{even_width} and {odd_width} at {i}, {j}");
            }
        }
    }
}
