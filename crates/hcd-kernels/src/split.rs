//! Where work is cut for the threads: at places that depend on its size alone.

use rayon::prelude::*;

/// Parts that sums over many rows are cut into; each has its own partial sum.
const PARTS: usize = 16;

/// Numbers in one chunk of an elementwise loop.
pub(crate) const CHUNK: usize = 16 * 1024;

/// Rows per part, at least 1, so that there are at most 16 parts.
pub(crate) fn rows_per_part(rows: usize) -> usize {
    rows.div_ceil(PARTS).max(1)
}

/// Adds up partial sums of `total.len()` numbers each, first to last.
pub(crate) fn sum_parts(partials: &[f32], total: &mut [f32]) {
    let length = total.len();
    total.par_chunks_mut(CHUNK).enumerate().for_each(|(index, total)| {
        let own = index * CHUNK..index * CHUNK + total.len();
        let mut parts = partials.chunks_exact(length).map(|partial| &partial[own.clone()]);
        match parts.next() {
            Some(first) => total.copy_from_slice(first),
            None => total.fill(0.0),
        }
        for part in parts {
            total.iter_mut().zip(part).for_each(|(sum, &value)| *sum += value);
        }
    });
}
