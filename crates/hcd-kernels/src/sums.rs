//! Sums over slices, sixteen partial ones side by side.

use crate::lanes::{LANES, Vector};

/// What is summed: M numbers of N. A type and no closure: what is called through one is not always compiled into its
/// caller, and then runs without the caller's instructions, many times slower.
pub(crate) trait Terms<V, const N: usize, const M: usize> {
    fn of(&self, values: [V; N]) -> [V; M];
}

/// The numbers themselves.
pub(crate) struct Plain;

impl<V: Vector> Terms<V, 1, 1> for Plain {
    #[inline(always)]
    fn of(&self, values: [V; 1]) -> [V; 1] {
        values
    }
}

/// The squares of their distances from a number.
pub(crate) struct Squares<V>(pub(crate) V);

impl<V: Vector> Terms<V, 1, 1> for Squares<V> {
    #[inline(always)]
    fn of(&self, [x]: [V; 1]) -> [V; 1] {
        let centred = x.sub(self.0);
        [centred.mul(centred)]
    }
}

/// M sums of terms over N slices of one length, side by side.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
pub(crate) fn sum_over<V: Vector, const N: usize, const M: usize>(
    slices: [&[f32]; N],
    terms: impl Terms<V, N, M>,
) -> [f32; M] {
    let length = slices[0].len();
    let (count, rest) = (length / LANES, length % LANES);
    // Loops, for the same reason.
    let mut groups = [slices[0].as_chunks::<LANES>().0; N];
    for n in 0..N {
        groups[n] = &slices[n].as_chunks::<LANES>().0[..count];
    }
    let mut sums = [V::splat(0.0); M];
    for i in 0..count {
        let mut values = [V::splat(0.0); N];
        for n in 0..N {
            values[n] = V::load(&groups[n][i]);
        }
        let own = terms.of(values);
        for m in 0..M {
            sums[m] = sums[m].add(own[m]);
        }
    }
    let mut totals = [0.0; M];
    for m in 0..M {
        totals[m] = sums[m].sum();
    }
    if rest > 0 {
        let mut values = [V::splat(0.0); N];
        for n in 0..N {
            values[n] = V::load_some(&slices[n][count * LANES..length]);
        }
        let own = terms.of(values);
        for m in 0..M {
            let mut last = [0.0; LANES];
            own[m].store(&mut last);
            for &term in &last[..rest] {
                totals[m] += term;
            }
        }
    }
    totals
}
