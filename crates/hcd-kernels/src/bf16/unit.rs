//! A block of 32 by 32 sums of products, by what the processor has for it.

mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::Level;
use crate::lanes::Vector;
use crate::math::fma;
use std::marker::PhantomData;
use std::sync::LazyLock;

/// Rows and columns of a block.
pub(crate) const WIDE: usize = 32;
/// Rows of A that lie at one distance from each other.
pub(crate) const TILE: usize = 16;
/// Numbers of the shared axis in a step.
pub(crate) const DEEP: usize = 32;

/// A block of sums, row by row.
pub(crate) type Block = [[f32; WIDE]; WIDE];

/// What multiplies numbers of 16 bits.
///
/// The environment variable `HCD_KERNELS` = `amx` or `avx512bf16` lowers the choice; at `avx512`, `avx2` and
/// `portable`, numbers of 16 bits are emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// f32 instructions, after rounding.
    Emulated,
    /// Vectors of 32 numbers.
    Avx512Bf16,
    /// Tiles of 16 by 32 numbers.
    Amx,
}

static UNIT: LazyLock<Unit> = LazyLock::new(|| {
    let wanted = match std::env::var("HCD_KERNELS").as_deref() {
        Ok("portable" | "avx2" | "avx512") => Unit::Emulated,
        Ok("avx512bf16") => Unit::Avx512Bf16,
        _ => Unit::Amx,
    };
    wanted.min(Unit::detect())
});

impl Unit {
    /// The unit in use: the processor's best, or less if `HCD_KERNELS` says so.
    pub fn current() -> Self {
        *UNIT
    }

    #[cfg(target_arch = "x86_64")]
    fn detect() -> Self {
        match Level::current() == Level::Avx512 && is_x86_feature_detected!("avx512bf16") {
            true if amx::available() => Unit::Amx,
            true => Unit::Avx512Bf16,
            false => Unit::Emulated,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn detect() -> Self {
        Unit::Emulated
    }
}

/// Where each step along the shared axis reads, from a block's places in A and B.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steps {
    places: Vec<[usize; 2]>,
    /// The furthest of each.
    far: [usize; 2],
}

impl FromIterator<[usize; 2]> for Steps {
    fn from_iter<I: IntoIterator<Item = [usize; 2]>>(places: I) -> Self {
        let places: Vec<[usize; 2]> = places.into_iter().collect();
        let far = [0, 1].map(|of| places.iter().map(|place| place[of]).max().unwrap_or(0));
        Self { places, far }
    }
}

/// Two matrices, as a block reads them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operands<'a> {
    /// A: in a step, row r < 16 has its 32 numbers side by side at r·`a_row`.
    pub(crate) a: &'a [u16],
    pub(crate) a_row: usize,
    /// From row r to row r + 16.
    pub(crate) a_next: usize,
    /// B: in a step, numbers 2p and 2p + 1 of the shared axis are the halves of 32 words at p·`b_row`, one a column.
    pub(crate) b: &'a [u32],
    pub(crate) b_row: usize,
}

/// The right to multiply on this thread. Until it is dropped nothing may be waited for that could begin another.
pub(crate) struct Session {
    unit: Unit,
    /// A thread's tiles are its own.
    bound: PhantomData<*const ()>,
}

impl Session {
    pub(crate) fn begin() -> Self {
        Self::with(Unit::current())
    }

    fn with(unit: Unit) -> Self {
        if unit == Unit::Amx {
            amx::configure();
        }
        Self { unit, bound: PhantomData }
    }

    /// The products of all steps, added up; rows from `rows` on are of no meaning.
    pub(crate) fn product(
        &self,
        operands: &Operands,
        [a_at, b_at]: [usize; 2],
        steps: &Steps,
        rows: usize,
        block: &mut Block,
    ) {
        if steps.places.is_empty() {
            return block.as_flattened_mut().fill(0.0);
        }
        let low = if rows > TILE { operands.a_next } else { 0 };
        let [a_end, b_end] = [
            a_at + steps.far[0] + low + (TILE - 1) * operands.a_row + DEEP,
            b_at + steps.far[1] + (DEEP / 2 - 1) * operands.b_row + WIDE,
        ];
        assert!(
            a_end <= operands.a.len() && b_end <= operands.b.len() && rows <= WIDE,
            "bf16: {a_end} of {} and {b_end} of {}, {rows} rows",
            operands.a.len(),
            operands.b.len()
        );
        let (a, b) = (&operands.a[a_at..], &operands.b[b_at..]);
        let operands = Operands { a, b, ..*operands };
        match self.unit {
            // SAFETY: the unit was detected and this thread configured; all places have been found inside.
            #[cfg(target_arch = "x86_64")]
            Unit::Amx => unsafe { amx::product(&operands, &steps.places, rows > TILE, block) },
            // SAFETY: the instructions were detected; all places have been found inside.
            #[cfg(target_arch = "x86_64")]
            Unit::Avx512Bf16 => unsafe { avx512::product(&operands, &steps.places, rows, block) },
            _ => emulated(&operands, &steps.places, rows, block),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.unit == Unit::Amx {
            amx::release();
        }
    }
}

for_each_level! {
    fn emulated(operands: &Operands, steps: &[[usize; 2]], rows: usize, block: &mut Block) = emulated_body
}

/// Two products to a word and column.
#[inline(always)]
fn emulated_body<V: Vector>(operands: &Operands, steps: &[[usize; 2]], rows: usize, block: &mut Block) {
    let halves = |word: u32| [f32::from_bits(word << 16), f32::from_bits(word & 0xffff_0000)];
    for (r, sums) in block.iter_mut().enumerate().take(rows) {
        let row = r / TILE * operands.a_next + r % TILE * operands.a_row;
        sums.fill(0.0);
        for &[a, b] in steps {
            let a: &[u16; DEEP] = &operands.a[a + row..].as_chunks().0[0];
            for (p, a) in a.as_chunks::<2>().0.iter().enumerate() {
                let b: &[u32; WIDE] = &operands.b[b + p * operands.b_row..].as_chunks().0[0];
                let [low, high] = [0, 1].map(|half| f32::from_bits(u32::from(a[half]) << 16));
                for (sum, &word) in sums.iter_mut().zip(b) {
                    let [b_low, b_high] = halves(word);
                    *sum = fma::<V>(high, b_high, fma::<V>(low, b_low, *sum));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bf16::{pair_lines, round_line};
    use crate::reference::noise;

    #[test]
    fn units_agree() {
        let (depth, b_row) = (3 * DEEP, 48);
        let mut a = vec![0; WIDE * depth];
        round_line(&noise(a.len(), 1), &mut a);
        let mut b = vec![0; depth / 2 * b_row];
        pair_lines(&noise(b.len(), 2), &noise(b.len(), 3), &mut b);
        let operands = Operands { a: &a, a_row: depth, a_next: TILE * depth, b: &b, b_row };
        let steps: Steps = (0..3).map(|step| [step * DEEP, step * DEEP / 2 * b_row]).collect();
        let [mut expected, mut found] = [[[0.0; WIDE]; WIDE]; 2];
        for rows in [1, 15, 16, 17, 32] {
            Session::with(Unit::Emulated).product(&operands, [0, 7], &steps, rows, &mut expected);
            for unit in [Unit::Avx512Bf16, Unit::Amx] {
                if unit > Unit::detect() {
                    continue;
                }
                Session::with(unit).product(&operands, [0, 7], &steps, rows, &mut found);
                for (found, expected) in found.iter().zip(&expected).take(rows) {
                    for (found, expected) in found.iter().zip(expected) {
                        assert!((found - expected).abs() < 1e-5, "{unit:?}: {found} {expected}");
                    }
                }
            }
        }
    }
}
