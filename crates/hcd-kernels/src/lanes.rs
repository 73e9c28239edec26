//! Sums and products over groups of 16 numbers, which is one AVX-512 register.

/// Sixteen numbers side by side.
pub(crate) type Lanes = [f32; LANES];

/// Numbers in [`Lanes`].
pub(crate) const LANES: usize = 16;

/// [`Lanes`] in the registers of a [`Level`](crate::Level). Left to itself the compiler keeps tiles of plain
/// arrays in memory.
pub(crate) trait Vector: Copy {
    /// Whether multiplying and adding is one instruction (else `f32::mul_add` would be a library call).
    const FMA: bool;
    /// Whether there are registers for 32 of them.
    const MANY: bool;
    /// The same number sixteen times.
    fn splat(value: f32) -> Self;
    fn load(from: &Lanes) -> Self;
    fn store(self, to: &mut Lanes);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// self · b + c
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// Self, but 0 where `gate` ≤ 0.
    fn where_positive(self, gate: Self) -> Self;
    /// The sixteen added up.
    fn sum(self) -> f32;
}

/// Sixteen numbers for any processor.
#[derive(Clone, Copy)]
pub(crate) struct Portable(Lanes);

impl Portable {
    #[inline(always)]
    fn zip(mut self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        for lane in 0..LANES {
            self.0[lane] = f(self.0[lane], other.0[lane]);
        }
        self
    }
}

impl Vector for Portable {
    const FMA: bool = cfg!(target_arch = "aarch64");
    const MANY: bool = false;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    fn load(from: &Lanes) -> Self {
        Self(*from)
    }

    #[inline(always)]
    fn store(self, to: &mut Lanes) {
        *to = self.0;
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    fn where_positive(self, gate: Self) -> Self {
        self.zip(gate, |value, gate| if gate <= 0.0 { 0.0 } else { value })
    }

    #[inline(always)]
    fn mul_add(self, b: Self, mut c: Self) -> Self {
        for lane in 0..LANES {
            c.0[lane] = crate::math::fma::<Self>(self.0[lane], b.0[lane], c.0[lane]);
        }
        c
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        sum(self.0)
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

/// Only [`for_each_level`] names these types, within functions that have their instructions.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Lanes, Vector};
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
    }

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
}

/// Adds up the sixteen, in pairs.
#[inline(always)]
pub(crate) fn sum(mut lanes: Lanes) -> f32 {
    for width in [8, 4, 2, 1] {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}

/// M sums of f over N slices of one length, side by side, sixteen partial sums at a time.
#[inline(always)]
pub(crate) fn sum_over<V: Vector, const N: usize, const M: usize>(
    slices: [&[f32]; N],
    f: impl Fn([V; N]) -> [V; M],
) -> [f32; M] {
    let length = slices[0].len();
    let count = length / LANES;
    let groups = slices.map(|slice| &slice[..length].as_chunks::<LANES>().0[..count]);
    let mut sums = [V::splat(0.0); M];
    for i in 0..count {
        let terms = f(groups.map(|groups| V::load(&groups[i])));
        for m in 0..M {
            sums[m] = sums[m].add(terms[m]);
        }
    }
    let mut totals = sums.map(V::sum);
    let rest = length - count * LANES;
    if rest > 0 {
        let terms = f(slices.map(|slice| {
            let mut last = [0.0; LANES];
            last[..rest].copy_from_slice(&slice[count * LANES..length]);
            V::load(&last)
        }));
        for m in 0..M {
            let mut last = [0.0; LANES];
            terms[m].store(&mut last);
            totals[m] += last[..rest].iter().sum::<f32>();
        }
    }
    totals
}

/// A matrix of numbers, read at `row`·i + `column`·j.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a> {
    /// Where it lies.
    pub(crate) values: &'a [f32],
    /// From one row to the next.
    pub(crate) row: usize,
    /// From one column to the next.
    pub(crate) column: usize,
}

/// C = A·B for small matrices with rows padded to whole lanes.
///
/// # Shapes
/// `a` (m, k); `b` (k, groups) and `c` (m, groups) of 16 numbers each
#[inline(always)]
pub(crate) fn product<V: Vector>(a: Strided, b: &[Lanes], c: &mut [Lanes], groups: usize) {
    let mut group = 0;
    while groups - group >= 4 {
        columns::<V, 4>(a, b, c, groups, group);
        group += 4;
    }
    match groups - group {
        3 => columns::<V, 3>(a, b, c, groups, group),
        2 => columns::<V, 2>(a, b, c, groups, group),
        1 => columns::<V, 1>(a, b, c, groups, group),
        _ => {}
    }
}

/// The columns of the groups `group..group + G` of a [`product`].
#[inline(always)]
fn columns<V: Vector, const G: usize>(a: Strided, b: &[Lanes], c: &mut [Lanes], groups: usize, group: usize) {
    let rows = c.len() / groups;
    let mut row = 0;
    while rows - row >= 6 {
        tile::<V, 6, G>(a, b, c, groups, group, row);
        row += 6;
    }
    while row < rows {
        tile::<V, 1, G>(a, b, c, groups, group, row);
        row += 1;
    }
}

/// R rows by G groups, kept in registers over the whole of k.
#[inline(always)]
fn tile<V: Vector, const R: usize, const G: usize>(
    a: Strided,
    b: &[Lanes],
    c: &mut [Lanes],
    groups: usize,
    group: usize,
    row: usize,
) {
    let mut sums = [[V::splat(0.0); G]; R];
    for (k, b) in b.chunks_exact(groups).enumerate() {
        let b = &b[group..group + G];
        let b: [V; G] = std::array::from_fn(|g| V::load(&b[g]));
        for (r, sums) in sums.iter_mut().enumerate() {
            let a = V::splat(a.values[(row + r) * a.row + k * a.column]);
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = a.mul_add(b, *sum);
            }
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        let c = &mut c[(row + r) * groups + group..][..G];
        for (sum, c) in sums.into_iter().zip(c) {
            sum.store(c);
        }
    }
}
