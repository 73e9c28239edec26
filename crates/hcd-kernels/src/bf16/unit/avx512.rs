//! Dot products of pairs in vectors: AVX512_BF16.

use super::{Block, DEEP, Operands, TILE, WIDE};
use std::arch::x86_64::*;

/// See [`super::Session::product`].
///
/// # Safety
/// A and B reach as far as the steps do.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn product(operands: &Operands, steps: &[[usize; 2]], rows: usize, block: &mut Block) {
    let mut row = 0;
    while row < rows {
        // Rows of a tile lie at one distance from each other.
        let left = rows.min(row / TILE * TILE + TILE) - row;
        let sums = &mut block[row..];
        // SAFETY: as of this function.
        row += unsafe {
            match left {
                8.. => some_rows::<8>(operands, steps, row, sums),
                4.. => some_rows::<4>(operands, steps, row, sums),
                2.. => some_rows::<2>(operands, steps, row, sums),
                _ => some_rows::<1>(operands, steps, row, sums),
            }
        };
    }
}

/// R rows of the block, both halves of each in registers.
///
/// # Safety
/// As of [`product`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn some_rows<const R: usize>(
    operands: &Operands,
    steps: &[[usize; 2]],
    row: usize,
    block: &mut [[f32; WIDE]],
) -> usize {
    let block = &mut block[..R];
    let mut sums = [[_mm512_setzero_ps(); 2]; R];
    let first = row / TILE * operands.a_next + row % TILE * operands.a_row;
    for &[a, b] in steps {
        // SAFETY: the caller has checked that all rows of the step are inside; numbers are read at any alignment.
        unsafe {
            let a = operands.a.as_ptr().add(a + first);
            let b = operands.b.as_ptr().add(b);
            for p in 0..DEEP / 2 {
                let line = b.add(p * operands.b_row);
                let low: __m512bh = std::mem::transmute(_mm512_loadu_si512(line.cast()));
                let high: __m512bh = std::mem::transmute(_mm512_loadu_si512(line.add(WIDE / 2).cast()));
                for (r, sums) in sums.iter_mut().enumerate() {
                    let pair = a.add(r * operands.a_row + 2 * p).cast::<i32>().read_unaligned();
                    let pair: __m512bh = std::mem::transmute(_mm512_set1_epi32(pair));
                    sums[0] = _mm512_dpbf16_ps(sums[0], pair, low);
                    sums[1] = _mm512_dpbf16_ps(sums[1], pair, high);
                }
            }
        }
    }
    for (sums, line) in sums.iter().zip(block) {
        // SAFETY: two vectors of sixteen make a line.
        unsafe {
            _mm512_storeu_ps(line.as_mut_ptr(), sums[0]);
            _mm512_storeu_ps(line.as_mut_ptr().add(WIDE / 2), sums[1]);
        }
    }
    R
}
