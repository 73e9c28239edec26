//! Functions of sixteen numbers at a time: no calls, no table, no branch.

use crate::lanes::Vector;

/// a·b + c, in one rounding where that is one instruction.
#[inline(always)]
pub(crate) fn fma<V: Vector>(a: f32, b: f32, c: f32) -> f32 {
    if V::FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Σ c_i x^i, lowest power first.
#[inline(always)]
fn polynomial<V: Vector, const N: usize>(x: V, coefficients: [f32; N]) -> V {
    let mut value = V::splat(coefficients[N - 1]);
    for i in (0..N - 1).rev() {
        value = value.mul_add(x, V::splat(coefficients[i]));
    }
    value
}

/// eˣ to about 1 ulp, for x in [−87, 88]; 0 below −87.7, e⁸⁸ above. NaN stays NaN.
///
/// eˣ = 2^k e^r with k the integer nearest to x/ln 2, and e^r its Taylor series: |r| ≤ ln 2 / 2.
#[inline(always)]
pub(crate) fn exp<V: Vector>(x: V) -> V {
    /// Adding it leaves the nearest integer in the low bits of the mantissa.
    const ROUND: f32 = 1.5 * (1 << 23) as f32;
    /// ln 2 in two parts, the first with few enough bits that k times it is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Of −88, k is −127, and 2^k becomes 0 below.
    let x = x.at_least(V::splat(-88.0)).at_most(V::splat(88.0));
    let shifted = x.mul_add(V::splat(std::f32::consts::LOG2_E), V::splat(ROUND));
    let k = shifted.sub(V::splat(ROUND));
    let r = k.mul_add(V::splat(-LN2_LOW), k.mul_add(V::splat(-LN2_HIGH), x));
    let series = [1.0, 1.0, 1.0 / 2.0, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0];
    polynomial::<V, 8>(r, series).mul(shifted.two_to())
}

/// Φ(x), the normal distribution, and e^(−x²/2).
///
/// Φ(−|x|) e^(x²/2) is smooth: a polynomial of degree 8 in t = 1/(1 + 0.26 |x|), without constant term,
/// interpolated at Chebyshev nodes of |x| ≤ 13, has a relative error of 5e-8.
#[inline(always)]
pub(crate) fn normal<V: Vector>(x: V) -> (V, V) {
    const RATIO: [f32; 9] = [
        1.037_736_8e-1,
        1.027_703_05e-1,
        1.047_774_6e-1,
        4.421_737_3e-2,
        1.769_333e-1,
        -1.741_310_6e-1,
        2.718_197e-1,
        -1.627_066_3e-1,
        3.254_585_7e-2,
    ];
    let one = V::splat(1.0);
    let bell = exp(x.mul(x).mul(V::splat(-0.5)));
    let t = one.div(x.abs().mul_add(V::splat(0.26), one));
    let tail = bell.mul(t).mul(polynomial::<V, 9>(t, RATIO));
    // 1 − tail where x > 0.
    let below = tail.add(tail.mul_add(V::splat(-2.0), one).where_positive(x));
    (below, bell)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::LANES;

    for_each_level! { fn exp_all(x: &[f32], y: &mut [f32]) = exp_all_body }

    #[inline(always)]
    fn exp_all_body<V: Vector>(x: &[f32], y: &mut [f32]) {
        for (x, y) in x.chunks(LANES).zip(y.chunks_mut(LANES)) {
            exp(V::load_some(x)).store_some(y);
        }
    }

    fn exp_of(x: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; x.len()];
        exp_all(x, &mut y);
        y
    }

    #[test]
    fn exp_is_within_two_ulp() {
        let x: Vec<f32> = (-87_000..=88_000).map(|step| step as f32 / 1000.0).collect();
        for (value, x) in exp_of(&x).into_iter().zip(x) {
            let exact = (x as f64).exp();
            assert!((value as f64 / exact - 1.0).abs() < 2.4e-7, "exp({x}) = {value}, not {exact}");
        }
        let ends = exp_of(&[f32::NAN, 0.0, -87.7, -88.0, -100.0, f32::MIN, f32::NEG_INFINITY]);
        assert!(ends[0].is_nan());
        assert_eq!(ends[1..], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
