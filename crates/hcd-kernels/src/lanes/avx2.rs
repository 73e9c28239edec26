//! [`Vector`] in two registers of 256 bits. Only `for_each_level` names this type, within functions that
//! have its instructions.

use super::{LANES, Lanes, Vector};
use std::arch::x86_64::*;
use std::sync::atomic::{Ordering, compiler_fence};

#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256, __m256);

impl Vector for Avx2 {
    const FMA: bool = true;
    const MANY: bool = false;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: used only where avx2 and fma were detected, as all of this type.
        let half = unsafe { _mm256_set1_ps(value) };
        Self(half, half)
    }

    #[inline(always)]
    fn load(from: &Lanes) -> Self {
        // SAFETY: as above; reads numbers 0 to 7 and 8 to 15, at any alignment.
        unsafe { Self(_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from[8..].as_ptr())) }
    }

    #[inline(always)]
    fn store(self, to: &mut Lanes) {
        // SAFETY: as above; writes numbers 0 to 7 and 8 to 15, at any alignment.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), self.0);
            _mm256_storeu_ps(to[8..].as_mut_ptr(), self.1);
        }
    }

    #[inline(always)]
    fn load_some(from: &[f32]) -> Self {
        let [low, high] = halves(from.len());
        // SAFETY: as above; reads no more than `from`, since numbers behind a mask are not touched.
        unsafe {
            Self(
                _mm256_maskload_ps(from.as_ptr(), first(low)),
                _mm256_maskload_ps(from.as_ptr().wrapping_add(8), first(high)),
            )
        }
    }

    #[inline(always)]
    fn store_some(self, to: &mut [f32]) {
        // Storing under a mask is slow on some processors.
        let (low, high) = to.split_at_mut(halves(to.len())[0]);
        store_some8(self.0, low);
        store_some8(self.1, high);
    }

    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        let mut turned = rows;
        for (right, down) in [(false, 0), (false, 8), (true, 0), (true, 8)] {
            let mut block = [rows[0].0; 8];
            for (line, row) in block.iter_mut().zip(&rows[down..down + 8]) {
                *line = if right { row.1 } else { row.0 };
            }
            let block = transpose8(block);
            for (line, turned) in block.into_iter().zip(&mut turned[if right { 8 } else { 0 }..]) {
                *(if down == 0 { &mut turned.0 } else { &mut turned.1 }) = line;
            }
        }
        turned
    }

    #[inline(always)]
    fn store_columns(rows: [Self; LANES], height: usize, count: usize, to: &mut [f32]) {
        // Heights above 8 are for processors with more registers.
        assert!(height <= 8 && count <= LANES);
        for (half, first) in [(false, 0), (true, 8)] {
            let mut block = [rows[0].0; 8];
            for (line, row) in block.iter_mut().zip(&rows[..8]) {
                *line = if half { row.1 } else { row.0 };
            }
            for (k, line) in transpose8(block).into_iter().enumerate() {
                if first + k < count {
                    let to = to[(first + k) * height..][..8].as_mut_ptr();
                    // SAFETY: as above; writes 8 numbers, at any alignment.
                    unsafe { _mm256_storeu_ps(to, line) };
                }
            }
        }
    }

    #[inline(always)]
    fn every_second(self, next: Self) -> Self {
        Self(every_second8(self.0, self.1), every_second8(next.0, next.1))
    }

    #[inline(always)]
    fn by_turns(self, other: Self) -> [Self; 2] {
        let (low, high) = (by_turns8(self.0, other.0), by_turns8(self.1, other.1));
        [Self(low[0], low[1]), Self(high[0], high[1])]
    }

    #[inline(always)]
    fn in_order() {
        compiler_fence(Ordering::SeqCst);
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { Self(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { Self(_mm256_sub_ps(self.0, other.0), _mm256_sub_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { Self(_mm256_mul_ps(self.0, other.0), _mm256_mul_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { Self(_mm256_div_ps(self.0, other.0), _mm256_div_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: as above.
        unsafe {
            let sign = _mm256_set1_ps(-0.0);
            Self(_mm256_andnot_ps(sign, self.0), _mm256_andnot_ps(sign, self.1))
        }
    }

    #[inline(always)]
    fn at_least(self, bound: Self) -> Self {
        // SAFETY: as above. Of two numbers one of which is NaN, the instruction gives the second.
        unsafe { Self(_mm256_max_ps(bound.0, self.0), _mm256_max_ps(bound.1, self.1)) }
    }

    #[inline(always)]
    fn at_most(self, bound: Self) -> Self {
        // SAFETY: as above. Of two numbers one of which is NaN, the instruction gives the second.
        unsafe { Self(_mm256_min_ps(bound.0, self.0), _mm256_min_ps(bound.1, self.1)) }
    }

    #[inline(always)]
    fn two_to(self) -> Self {
        // SAFETY: as above.
        unsafe {
            let bias = _mm256_set1_epi32(127);
            let low = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_castps_si256(self.0), bias));
            let high = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_castps_si256(self.1), bias));
            Self(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high))
        }
    }

    #[inline(always)]
    fn where_positive(self, gate: Self) -> Self {
        // SAFETY: as above.
        unsafe {
            let zero = _mm256_setzero_ps();
            Self(
                _mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_NLE_UQ>(gate.0, zero)),
                _mm256_and_ps(self.1, _mm256_cmp_ps::<_CMP_NLE_UQ>(gate.1, zero)),
            )
        }
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: as above.
        unsafe { Self(_mm256_fmadd_ps(self.0, b.0, c.0), _mm256_fmadd_ps(self.1, b.1, c.1)) }
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: as above.
        let four = unsafe {
            let eight = _mm256_add_ps(self.0, self.1);
            _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight))
        };
        // SAFETY: as above.
        unsafe {
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
}

/// How many of at most sixteen numbers lie in the first register, and how many in the second.
#[inline(always)]
fn halves(count: usize) -> [usize; 2] {
    assert!(count <= LANES, "a vector of {count} numbers");
    [count.min(8), count.saturating_sub(8)]
}

/// A mask of the first of eight numbers.
#[inline(always)]
fn first(count: usize) -> __m256i {
    const ENDS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    let from: &[i32; 8] = &ENDS[8 - count..].as_chunks().0[0];
    // SAFETY: called by [`Avx2`] alone, and so only where avx2 was detected.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

/// Stores the first of eight numbers, as many as `to` takes.
#[inline(always)]
fn store_some8(values: __m256, to: &mut [f32]) {
    let (count, mut to) = (to.len(), to.as_mut_ptr());
    // SAFETY: called by [`Avx2`] alone, and so only where avx2 was detected; writes 8, or the 4, 2 and 1 that
    // `count` adds up from.
    unsafe {
        if count >= 8 {
            return _mm256_storeu_ps(to, values);
        }
        let mut four = _mm256_castps256_ps128(values);
        if count & 4 != 0 {
            _mm_storeu_ps(to, four);
            four = _mm256_extractf128_ps::<1>(values);
            to = to.add(4);
        }
        if count & 2 != 0 {
            _mm_storel_pd(to.cast(), _mm_castps_pd(four));
            four = _mm_movehl_ps(four, four);
            to = to.add(2);
        }
        if count & 1 != 0 {
            _mm_store_ss(to, four);
        }
    }
}

#[inline(always)]
fn transpose8(rows: [__m256; 8]) -> [__m256; 8] {
    let mut halves = [[rows[0]; 4]; 2];
    for (group, halves) in halves.iter_mut().enumerate() {
        let [a, b] = [rows[4 * group], rows[4 * group + 1]];
        let [c, d] = [rows[4 * group + 2], rows[4 * group + 3]];
        // SAFETY: called by [`Avx2`] alone, and so only where avx2 was detected.
        unsafe {
            let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
            let (ab_high, cd_high) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
            *halves = [
                _mm256_shuffle_ps::<0x44>(ab, cd),
                _mm256_shuffle_ps::<0xee>(ab, cd),
                _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
                _mm256_shuffle_ps::<0xee>(ab_high, cd_high),
            ];
        }
    }
    let mut turned = rows;
    for column in 0..4 {
        let [low, high] = [halves[0][column], halves[1][column]];
        // SAFETY: as above.
        unsafe {
            turned[column] = _mm256_permute2f128_ps::<0x20>(low, high);
            turned[column + 4] = _mm256_permute2f128_ps::<0x31>(low, high);
        }
    }
    turned
}

#[inline(always)]
fn every_second8(a: __m256, b: __m256) -> __m256 {
    // SAFETY: called by [`Avx2`] alone, and so only where avx2 was detected.
    unsafe {
        let pairs = _mm256_castps_pd(_mm256_shuffle_ps::<0x88>(a, b));
        _mm256_castpd_ps(_mm256_permute4x64_pd::<0xd8>(pairs))
    }
}

/// The numbers of two vectors by turns.
#[inline(always)]
fn by_turns8(a: __m256, b: __m256) -> [__m256; 2] {
    // SAFETY: called by [`Avx2`] alone, and so only where avx2 was detected.
    unsafe {
        let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        [_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high)]
    }
}
