//! Where work is cut for the threads: at places that depend on its size alone.

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
    total.fill(0.0);
    if total.is_empty() {
        return;
    }
    for partial in partials.chunks_exact(total.len()) {
        for (sum, &value) in total.iter_mut().zip(partial) {
            *sum += value;
        }
    }
}
