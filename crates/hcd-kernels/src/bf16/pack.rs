//! Rounding f32 to 16 bits, and pairs of such numbers as words.

use crate::copy::Lines;
use crate::lanes::{LANES, Vector};
use crate::transpose::transpose;
use std::ops::Range;

/// The nearest number of 16 bits, ties to even; NaN stays NaN.
#[inline(always)]
pub(crate) fn round(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    if value.is_nan() { (bits >> 16) as u16 | 0x40 } else { rounded as u16 }
}

/// Each number rounded, as 32 bits.
pub(crate) fn rounded(values: &[f32]) -> Vec<f32> {
    values.iter().map(|&value| f32::from_bits(u32::from(round(value)) << 16)).collect()
}

/// Rounds each number.
pub(crate) fn round_line(from: &[f32], to: &mut [u16]) {
    assert_eq!(from.len(), to.len(), "bf16: lengths differ");
    let length = from.len();
    round_lines(Lines { count: 1, length, from_step: length, to_step: length, stride: 1 }, from, to);
}

for_each_level! {
    /// to[i, j] = from[i, j] rounded; the stride is 1.
    pub(crate) fn round_lines(lines: Lines, from: &[f32], to: &mut [u16]) = round_lines_body
}

#[inline(always)]
fn round_lines_body<V: Vector>(lines: Lines, from: &[f32], to: &mut [u16]) {
    for line in 0..lines.count {
        let from = &from[line * lines.from_step..][..lines.length];
        let to = &mut to[line * lines.to_step..][..lines.length];
        for start in (0..lines.length).step_by(LANES) {
            let own = start..lines.length.min(start + LANES);
            V::load_up_to(&from[own.clone()]).store_bf16(&mut to[own]);
        }
    }
}

/// Words of two numbers: the low half of each from `low`, the high half from `high`; 0 where there is none.
pub(crate) fn pair_lines(low: &[f32], high: &[f32], to: &mut [u32]) {
    assert!(low.len() == to.len() || low.is_empty(), "bf16: lengths differ");
    assert!(high.len() == to.len() || high.is_empty(), "bf16: lengths differ");
    pair_lines_at_level(low, high, to);
}

for_each_level! {
    fn pair_lines_at_level(low: &[f32], high: &[f32], to: &mut [u32]) = pair_lines_body
}

#[inline(always)]
fn pair_lines_body<V: Vector>(low: &[f32], high: &[f32], to: &mut [u32]) {
    let length = to.len();
    // SAFETY: u32 and f32 have one size and alignment, and neither has invalid bits; a vector's store does not look at
    // them.
    let to = unsafe { to.align_to_mut::<f32>().1 };
    for start in (0..length).step_by(LANES) {
        let own = start..length.min(start + LANES);
        let (low, high) = (load::<V>(low, own.clone()), load::<V>(high, own.clone()));
        low.pair(high).store_up_to(&mut to[own]);
    }
}

/// Zeros where there are no numbers at all.
#[inline(always)]
fn load<V: Vector>(from: &[f32], own: Range<usize>) -> V {
    if from.is_empty() { V::splat(0.0) } else { V::load_up_to(&from[own]) }
}

/// to[pair, row] = numbers 2·pair and 2·pair + 1 of `from`[row].
///
/// # Shapes
/// `from` (rows, 2 · pairs), a row `from_step` numbers (an even count) after the one before; `to` (pairs, rows), a line
/// `to_step` words after the one before
pub(crate) fn turn_pairs(
    from: &[u16],
    from_step: usize,
    [rows, pairs]: [usize; 2],
    to: &mut [u32],
    to_step: usize,
) {
    // SAFETY: an f32 has no invalid bits, and a kernel that moves them does not look at them; pairs of numbers are
    // read as words only where they lie at whole words, which is checked.
    let (start, words, end) = unsafe { from.align_to::<f32>() };
    assert!(start.is_empty() && end.len() < 2 && from_step.is_multiple_of(2), "bf16: pairs across words");
    // SAFETY: as above; u32 and f32 have one size and alignment.
    let to = unsafe { to.align_to_mut::<f32>().1 };
    transpose(words, from_step / 2, rows, pairs, to, to_step);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_nearest_even() {
        let cases = [
            (1.0, 0x3f80),
            (-2.0, 0xc000),
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            (f32::MAX, 0x7f80),
            (f32::INFINITY, 0x7f80),
            (f32::NEG_INFINITY, 0xff80),
        ];
        for (value, expected) in cases {
            assert_eq!(round(value), expected, "{value:e}");
        }
        assert!(f32::from_bits(u32::from(round(f32::from_bits(0x7f80_0001))) << 16).is_nan());
    }
}
