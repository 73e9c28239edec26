//! The transforms of F(4x4, 3x3), with interpolation points 0, ±√½, ±√2 and ∞: one direction each, on sixteen channels
//! side by side. These points, unlike 0, ±1, ±2 and ∞, leave sums about as exact as direct ones: of 64 channels, errors are
//! twice as large, and not five times.

use crate::lanes::Vector;

/// A transform of one direction. Types and no closures: what is called through those is not compiled into its caller.
pub(super) trait Transform<const I: usize, const O: usize> {
    fn line<V: Vector>(line: [V; I]) -> [V; O];
}

/// Applies a transform of one direction to both: columns, then rows.
#[inline(always)]
pub(super) fn both<T: Transform<I, O>, V: Vector, const I: usize, const O: usize>(
    block: &[[V; I]; I],
) -> [[V; O]; O] {
    let mut rows = [[block[0][0]; I]; O];
    for column in 0..I {
        let mut line = [block[0][0]; I];
        for row in 0..I {
            line[row] = block[row][column];
        }
        let line = T::line(line);
        for row in 0..O {
            rows[row][column] = line[row];
        }
    }
    let mut out = [[block[0][0]; O]; O];
    for row in 0..O {
        out[row] = T::line(rows[row]);
    }
    out
}

/// √½ and √2.
const NEAR: f32 = std::f32::consts::FRAC_1_SQRT_2;
const FAR: f32 = std::f32::consts::SQRT_2;

/// Bᵀd.
pub(super) struct Input;

impl Transform<6, 6> for Input {
    #[inline(always)]
    fn line<V: Vector>(d: [V; 6]) -> [V; 6] {
        let outer = V::splat(-2.5);
        let (even, odd) = (d[2].mul_add(V::splat(-2.0), d[4]), d[1].mul_add(V::splat(-2.0), d[3]));
        let (far_even, far_odd) = (d[2].mul_add(V::splat(-0.5), d[4]), d[1].mul_add(V::splat(-0.5), d[3]));
        [
            d[2].mul_add(outer, d[0].add(d[4])),
            odd.mul_add(V::splat(NEAR), even),
            odd.mul_add(V::splat(-NEAR), even),
            far_odd.mul_add(V::splat(FAR), far_even),
            far_odd.mul_add(V::splat(-FAR), far_even),
            d[3].mul_add(outer, d[1].add(d[5])),
        ]
    }
}

/// Aᵀm.
pub(super) struct Output;

impl Transform<6, 4> for Output {
    #[inline(always)]
    fn line<V: Vector>(m: [V; 6]) -> [V; 4] {
        let (sum, far_sum) = (m[1].add(m[2]), m[3].add(m[4]));
        let (slope, far_slope) = (m[1].sub(m[2]), m[3].sub(m[4]));
        [
            m[0].add(sum).add(far_sum),
            slope.mul(V::splat(NEAR)).add(far_slope.mul(V::splat(FAR))),
            sum.mul(V::splat(0.5)).add(far_sum.mul(V::splat(2.0))),
            slope.mul_add(V::splat(0.5 * NEAR), far_slope.mul_add(V::splat(2.0 * FAR), m[5])),
        ]
    }
}

/// Ay: the adjoint of [`Output`].
pub(super) struct OutputGrad;

impl Transform<4, 6> for OutputGrad {
    #[inline(always)]
    fn line<V: Vector>(y: [V; 4]) -> [V; 6] {
        let (even, odd) = (y[2].mul_add(V::splat(0.5), y[0]), y[3].mul_add(V::splat(0.5), y[1]));
        let (far_even, far_odd) = (y[2].mul_add(V::splat(2.0), y[0]), y[3].mul_add(V::splat(2.0), y[1]));
        [
            y[0],
            odd.mul_add(V::splat(NEAR), even),
            odd.mul_add(V::splat(-NEAR), even),
            far_odd.mul_add(V::splat(FAR), far_even),
            far_odd.mul_add(V::splat(-FAR), far_even),
            y[3],
        ]
    }
}

/// Gg.
pub(super) struct Weight;

impl Transform<3, 6> for Weight {
    #[inline(always)]
    fn line<V: Vector>(g: [V; 3]) -> [V; 6] {
        let even = g[2].mul_add(V::splat(0.5), g[0]).mul(V::splat(-2.0 / 3.0));
        let far_even = g[2].mul_add(V::splat(2.0), g[0]).mul(V::splat(1.0 / 6.0));
        [
            g[0],
            g[1].mul_add(V::splat(-2.0 / 3.0 * NEAR), even),
            g[1].mul_add(V::splat(2.0 / 3.0 * NEAR), even),
            g[1].mul_add(V::splat(FAR / 6.0), far_even),
            g[1].mul_add(V::splat(FAR / -6.0), far_even),
            g[2],
        ]
    }
}

/// Gᵀu: the adjoint of [`Weight`].
pub(super) struct WeightGrad;

impl Transform<6, 3> for WeightGrad {
    #[inline(always)]
    fn line<V: Vector>(u: [V; 6]) -> [V; 3] {
        let (sum, far_sum) = (u[1].add(u[2]), u[3].add(u[4]));
        let (slope, far_slope) = (u[1].sub(u[2]), u[3].sub(u[4]));
        [
            sum.mul_add(V::splat(-2.0 / 3.0), far_sum.mul_add(V::splat(1.0 / 6.0), u[0])),
            slope.mul(V::splat(-2.0 / 3.0 * NEAR)).add(far_slope.mul(V::splat(FAR / 6.0))),
            far_sum.sub(sum).mul_add(V::splat(1.0 / 3.0), u[5]),
        ]
    }
}
