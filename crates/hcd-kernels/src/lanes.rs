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
    /// At most sixteen numbers, the rest 0.
    fn load_some(from: &[f32]) -> Self;
    /// [`Vector::load_some`], by a plain load where there are sixteen.
    #[inline(always)]
    fn load_up_to(from: &[f32]) -> Self {
        match from.as_array::<LANES>() {
            Some(whole) => Self::load(whole),
            None => Self::load_some(from),
        }
    }
    /// The first of the sixteen, as many as `to` takes.
    fn store_some(self, to: &mut [f32]);
    /// [`Vector::store_some`], by a plain store where `to` takes all.
    #[inline(always)]
    fn store_up_to(self, to: &mut [f32]) {
        match to.as_mut_array::<LANES>() {
            Some(whole) => self.store(whole),
            None => self.store_some(to),
        }
    }
    /// Number j of row i becomes number i of row j.
    fn transpose(rows: [Self; LANES]) -> [Self; LANES];
    /// Stores the first `count` columns of the first `height` rows, one after the other; up to sixteen numbers are written
    /// where the last begins. `height` is no more than a tile has rows.
    #[inline(always)]
    fn store_columns(rows: [Self; LANES], height: usize, count: usize, to: &mut [f32]) {
        for (k, line) in Self::transpose(rows).into_iter().enumerate() {
            if k < count {
                line.store(&mut to[k * height..].as_chunks_mut().0[0]);
            }
        }
    }
    /// Every second number of the 32 that two hold.
    fn every_second(self, next: Self) -> Self;
    /// Numbers 0 to 7, and 8 to 15, of this and of another by turns.
    #[inline(always)]
    fn by_turns(self, other: Self) -> [Self; 2] {
        let (mut even, mut odd) = ([0.0; LANES], [0.0; LANES]);
        self.store(&mut even);
        other.store(&mut odd);
        let mut both = [[0.0; LANES]; 2];
        for (i, both) in both.as_flattened_mut().iter_mut().enumerate() {
            *both = if i % 2 == 0 { even[i / 2] } else { odd[i / 2] };
        }
        [Self::load(&both[0]), Self::load(&both[1])]
    }
    /// to[2·i] = number i, as many as there are places for; what lies between is neither read nor written.
    #[inline(always)]
    fn store_every_second(self, to: &mut [f32]) {
        let mut values = [0.0; LANES];
        self.store(&mut values);
        for i in 0..LANES.min(to.len().div_ceil(2)) {
            to[2 * i] = values[i];
        }
    }
    /// Keeps the compiler from reading ahead, where that takes the registers that sums are kept in. No instruction.
    #[inline(always)]
    fn in_order() {}
    /// Tells the processor that these will be read soon.
    #[inline(always)]
    fn prefetch(_: &Lanes) {}
    /// Tells the processor that the first 32 of these will be written soon.
    #[inline(always)]
    fn prefetch_write(_: &[f32]) {}
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    /// self · b + c
    fn mul_add(self, b: Self, c: Self) -> Self;
    fn abs(self) -> Self;
    /// Each number, or the bound where it is below; NaN stays NaN.
    fn at_least(self, bound: Self) -> Self;
    /// Each number, or the bound where it is above; NaN stays NaN.
    fn at_most(self, bound: Self) -> Self;
    /// 2^k, k being the lowest eight bits of each, in [−127, 127]; 0 for −127.
    fn two_to(self) -> Self;
    /// Self, but 0 where `gate` ≤ 0.
    fn where_positive(self, gate: Self) -> Self;
    /// The sixteen added up.
    fn sum(self) -> f32;
    /// The first of the sixteen, as many as `to` takes, rounded to 16 bits.
    #[inline(always)]
    fn store_bf16(self, to: &mut [u16]) {
        let mut lanes = [0.0; LANES];
        self.store(&mut lanes);
        for (to, lane) in to.iter_mut().zip(lanes) {
            *to = crate::bf16::round(lane);
        }
    }
    /// Words of two numbers rounded to 16 bits: the low halves of these, the high ones of others.
    #[inline(always)]
    fn pair(self, high: Self) -> Self {
        let (mut low, mut other) = ([0.0; LANES], [0.0; LANES]);
        self.store(&mut low);
        high.store(&mut other);
        for (low, high) in low.iter_mut().zip(other) {
            let word = u32::from(crate::bf16::round(*low)) | u32::from(crate::bf16::round(high)) << 16;
            *low = f32::from_bits(word);
        }
        Self::load(&low)
    }
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
    fn load_some(from: &[f32]) -> Self {
        let mut values = [0.0; LANES];
        values[..from.len()].copy_from_slice(from);
        Self(values)
    }

    #[inline(always)]
    fn store_some(self, to: &mut [f32]) {
        to.copy_from_slice(&self.0[..to.len()]);
    }

    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        std::array::from_fn(|i| Self(std::array::from_fn(|j| rows[j].0[i])))
    }

    #[inline(always)]
    fn every_second(self, next: Self) -> Self {
        Self(std::array::from_fn(|i| if i < LANES / 2 { self.0[2 * i] } else { next.0[2 * i - LANES] }))
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
    fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.zip(self, |a, _| a.abs())
    }

    #[inline(always)]
    fn at_least(self, bound: Self) -> Self {
        self.zip(bound, |a, bound| if a < bound { bound } else { a })
    }

    #[inline(always)]
    fn at_most(self, bound: Self) -> Self {
        self.zip(bound, |a, bound| if a > bound { bound } else { a })
    }

    #[inline(always)]
    fn two_to(self) -> Self {
        self.zip(self, |k, _| f32::from_bits(k.to_bits().wrapping_add(127) << 23))
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
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) use {avx2::Avx2, avx512::Avx512};

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
    while V::MANY && groups - group >= 4 {
        columns::<V, 4>(a, b, c, groups, group);
        group += 4;
    }
    while groups - group >= 4 || (!V::MANY && groups - group >= 2) {
        columns::<V, 2>(a, b, c, groups, group);
        group += 2;
    }
    match groups - group {
        3 => columns::<V, 3>(a, b, c, groups, group),
        2 => columns::<V, 2>(a, b, c, groups, group),
        1 => columns::<V, 1>(a, b, c, groups, group),
        _ => {}
    }
}

/// The columns of the groups `group..group + G` of a [`product`], as many rows at a time as the registers allow.
#[inline(always)]
fn columns<V: Vector, const G: usize>(a: Strided, b: &[Lanes], c: &mut [Lanes], groups: usize, group: usize) {
    let rows = c.len() / groups;
    let count = rows.div_ceil(if V::MANY { 24 / G } else { 6 / G }.clamp(1, 12));
    for tile in 0..count {
        let (row, end) = (tile * rows / count, (tile + 1) * rows / count);
        match (end - row, G) {
            (12, 1..=2) if V::MANY => rows_of::<V, 12, G>(a, b, c, groups, group, row),
            (11, 1..=2) if V::MANY => rows_of::<V, 11, G>(a, b, c, groups, group, row),
            (10, 1..=2) if V::MANY => rows_of::<V, 10, G>(a, b, c, groups, group, row),
            (9, 1..=2) if V::MANY => rows_of::<V, 9, G>(a, b, c, groups, group, row),
            (8, 1..=3) if V::MANY => rows_of::<V, 8, G>(a, b, c, groups, group, row),
            (7, 1..=3) if V::MANY => rows_of::<V, 7, G>(a, b, c, groups, group, row),
            (6, _) => rows_of::<V, 6, G>(a, b, c, groups, group, row),
            (5, _) => rows_of::<V, 5, G>(a, b, c, groups, group, row),
            (4, _) => rows_of::<V, 4, G>(a, b, c, groups, group, row),
            (3, _) => rows_of::<V, 3, G>(a, b, c, groups, group, row),
            (2, _) => rows_of::<V, 2, G>(a, b, c, groups, group, row),
            _ => rows_of::<V, 1, G>(a, b, c, groups, group, row),
        }
    }
}

/// R rows by G groups, kept in registers over the whole of k.
#[inline(always)]
fn rows_of<V: Vector, const R: usize, const G: usize>(
    a: Strided,
    b: &[Lanes],
    c: &mut [Lanes],
    groups: usize,
    group: usize,
    row: usize,
) {
    let mut sums = [[V::splat(0.0); G]; R];
    let depth = b.len() / groups;
    assert!(depth == 0 || (row + R - 1) * a.row + (depth - 1) * a.column < a.values.len());
    for (k, b) in b.chunks_exact(groups).enumerate() {
        let b = &b[group..group + G];
        // Not `array::from_fn`, which is not always compiled into its caller.
        let mut line = [V::splat(0.0); G];
        for (line, b) in line.iter_mut().zip(b) {
            *line = V::load(b);
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: no further than the last number of these rows, which lies in the slice.
            let a = V::splat(unsafe { *a.values.get_unchecked((row + r) * a.row + k * a.column) });
            for (sum, b) in sums.iter_mut().zip(line) {
                *sum = a.mul_add(b, *sum);
            }
            V::in_order();
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        let c = &mut c[(row + r) * groups + group..][..G];
        for (sum, c) in sums.into_iter().zip(c) {
            sum.store(c);
        }
    }
}
