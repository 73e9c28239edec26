//! [`Vector`] in a register of 512 bits. Only `for_each_level` names this type, within functions that
//! have its instructions.

use super::{LANES, Lanes, Vector};
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512);

impl Vector for Avx512 {
    const FMA: bool = true;
    const MANY: bool = true;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: used only where avx512f was detected, as all of this type.
        Self(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    fn load(from: &Lanes) -> Self {
        // SAFETY: as above; reads the sixteen numbers, at any alignment.
        Self(unsafe { _mm512_loadu_ps(from.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, to: &mut Lanes) {
        // SAFETY: as above; writes the sixteen numbers, at any alignment.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn load_some(from: &[f32]) -> Self {
        // SAFETY: as above; reads no more than `from`, since numbers behind the mask are not touched.
        Self(unsafe { _mm512_maskz_loadu_ps(first(from.len()), from.as_ptr()) })
    }

    #[inline(always)]
    fn store_some(self, to: &mut [f32]) {
        // SAFETY: as above; writes no more than `to`, since numbers behind the mask are not touched.
        unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), first(to.len()), self.0) }
    }

    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        // No closures: what they call is not compiled into them.
        let mut quarters = [[rows[0].0; 4]; 4];
        for (group, quarters) in quarters.iter_mut().enumerate() {
            let [a, b] = [rows[4 * group].0, rows[4 * group + 1].0];
            let [c, d] = [rows[4 * group + 2].0, rows[4 * group + 3].0];
            // SAFETY: as above.
            unsafe {
                let ab = _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
                let cd = _mm512_castps_pd(_mm512_unpacklo_ps(c, d));
                let ab_high = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
                let cd_high = _mm512_castps_pd(_mm512_unpackhi_ps(c, d));
                *quarters = [
                    _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
                    _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)),
                    _mm512_castpd_ps(_mm512_unpacklo_pd(ab_high, cd_high)),
                    _mm512_castpd_ps(_mm512_unpackhi_pd(ab_high, cd_high)),
                ];
            }
        }
        let mut turned = rows;
        for column in 0..4 {
            let [a, b] = [quarters[0][column], quarters[1][column]];
            let [c, d] = [quarters[2][column], quarters[3][column]];
            // SAFETY: as above.
            unsafe {
                let (even, odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
                let (later_even, later_odd) =
                    (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
                turned[column] = Self(_mm512_shuffle_f32x4::<0x88>(even, later_even));
                turned[column + 4] = Self(_mm512_shuffle_f32x4::<0x88>(odd, later_odd));
                turned[column + 8] = Self(_mm512_shuffle_f32x4::<0xdd>(even, later_even));
                turned[column + 12] = Self(_mm512_shuffle_f32x4::<0xdd>(odd, later_odd));
            }
        }
        turned
    }

    #[inline(always)]
    fn every_second(self, next: Self) -> Self {
        // SAFETY: as above.
        unsafe {
            let places = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
            Self(_mm512_permutex2var_ps(self.0, places, next.0))
        }
    }

    #[inline(always)]
    fn by_turns(self, other: Self) -> [Self; 2] {
        // SAFETY: as above.
        unsafe {
            let low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
            let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
            [low, high].map(|places| Self(_mm512_permutex2var_ps(self.0, places, other.0)))
        }
    }

    #[inline(always)]
    fn store_every_second(self, to: &mut [f32]) {
        let count = to.len().div_ceil(2).min(LANES);
        // Bits 0, 2, … of as many numbers.
        let places = 0x5555_5555_u32 & u32::MAX.checked_shr(32 - 2 * count as u32).unwrap_or(0);
        // SAFETY: as above; place 2·i is within `to` for each i below `count`, and no other is touched.
        unsafe {
            let halves = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
            let doubled = |first: i32| {
                _mm512_permutexvar_ps(_mm512_add_epi32(halves, _mm512_set1_epi32(first)), self.0)
            };
            _mm512_mask_storeu_ps(to.as_mut_ptr(), places as u16, doubled(0));
            _mm512_mask_storeu_ps(to.as_mut_ptr().wrapping_add(LANES), (places >> 16) as u16, doubled(8));
        }
    }

    #[inline(always)]
    fn prefetch_write(of: &[f32]) {
        let start = of.as_ptr();
        // SAFETY: as above; hints, which read and write nothing, wherever they point.
        unsafe {
            _mm_prefetch::<_MM_HINT_ET0>(start.cast());
            _mm_prefetch::<_MM_HINT_ET0>(start.wrapping_add(LANES).cast());
        }
    }

    #[inline(always)]
    fn prefetch(of: &Lanes) {
        // SAFETY: as above; a hint, which reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(of.as_ptr().cast()) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_div_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_abs_ps(self.0) })
    }

    #[inline(always)]
    fn at_least(self, bound: Self) -> Self {
        // SAFETY: as above. Of two numbers one of which is NaN, the instruction gives the second.
        Self(unsafe { _mm512_max_ps(bound.0, self.0) })
    }

    #[inline(always)]
    fn at_most(self, bound: Self) -> Self {
        // SAFETY: as above. Of two numbers one of which is NaN, the instruction gives the second.
        Self(unsafe { _mm512_min_ps(bound.0, self.0) })
    }

    #[inline(always)]
    fn two_to(self) -> Self {
        // SAFETY: as above.
        unsafe {
            let exponent = _mm512_add_epi32(_mm512_castps_si512(self.0), _mm512_set1_epi32(127));
            Self(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent)))
        }
    }

    #[inline(always)]
    fn where_positive(self, gate: Self) -> Self {
        // SAFETY: as above.
        unsafe {
            let keep = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(gate.0, _mm512_setzero_ps());
            Self(_mm512_maskz_mov_ps(keep, self.0))
        }
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: as above.
        unsafe { _mm512_reduce_add_ps(self.0) }
    }

    #[inline(always)]
    fn store_bf16(self, to: &mut [u16]) {
        // SAFETY: as above; writes no more than `to`, since numbers behind the mask are not touched.
        unsafe {
            let halves = _mm512_srli_epi32::<16>(rounded(self.0));
            _mm512_mask_cvtepi32_storeu_epi16(to.as_mut_ptr().cast(), first(to.len()), halves);
        }
    }

    #[inline(always)]
    fn pair(self, high: Self) -> Self {
        // SAFETY: as above.
        unsafe {
            let low = _mm512_srli_epi32::<16>(rounded(self.0));
            let high = _mm512_and_si512(rounded(high.0), _mm512_set1_epi32(0xffff_0000_u32 as i32));
            Self(_mm512_castsi512_ps(_mm512_or_si512(low, high)))
        }
    }
}

/// Bits whose upper halves are those of the nearest numbers of 16 bits, ties to even; NaN stays NaN.
#[inline(always)]
fn rounded(x: __m512) -> __m512i {
    // SAFETY: called by [`Avx512`] alone, and so only where avx512f was detected.
    unsafe {
        let bits = _mm512_castps_si512(x);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let near = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x40_0000));
        _mm512_mask_mov_epi32(near, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x), quiet)
    }
}

/// A mask of the first numbers.
#[inline(always)]
fn first(count: usize) -> __mmask16 {
    assert!(count <= LANES);
    ((1u32 << count) - 1) as __mmask16
}
