//! Scalar functions that the compiler can turn into vector code: no calls, no table, no branch.

use crate::lanes::Vector;

/// a·b + c, in one rounding where that is one instruction.
#[inline(always)]
pub(crate) fn fma<V: Vector>(a: f32, b: f32, c: f32) -> f32 {
    if V::FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Σ c_i x^i, lowest power first.
#[inline(always)]
fn polynomial<V: Vector, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut value = coefficients[N - 1];
    for i in (0..N - 1).rev() {
        value = fma::<V>(value, x, coefficients[i]);
    }
    value
}

/// eˣ to about 1 ulp, for x in [−87, 88]; 0 below −87.7, e⁸⁸ above. NaN stays NaN.
///
/// eˣ = 2^k e^r with k the integer nearest to x/ln 2, and e^r its Taylor series: |r| ≤ ln 2 / 2.
#[inline(always)]
pub(crate) fn exp<V: Vector>(x: f32) -> f32 {
    /// Adding it leaves the nearest integer in the low bits of the mantissa.
    const ROUND: f32 = 1.5 * (1 << 23) as f32;
    /// ln 2 in two parts, the first with few enough bits that k times it is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Written out, not `clamp`, which would be the same, or `max`, which would lose NaN.
    // Of −88, k is −127, and 2^k becomes 0 below.
    let x = if x < -88.0 { -88.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = fma::<V>(x, std::f32::consts::LOG2_E, ROUND);
    let k = shifted - ROUND;
    let r = fma::<V>(k, -LN2_LOW, fma::<V>(k, -LN2_HIGH, x));
    let series = [1.0, 1.0, 1.0 / 2.0, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0];
    let two_to_k = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    polynomial::<V, 8>(r, series) * two_to_k
}

/// Φ(x), the normal distribution, and e^(−x²/2).
///
/// Φ(−|x|) e^(x²/2) is smooth: a polynomial of degree 8 in t = 1/(1 + 0.26 |x|), without constant term,
/// interpolated at Chebyshev nodes of |x| ≤ 13, has a relative error of 5e-8.
#[inline(always)]
pub(crate) fn normal<V: Vector>(x: f32) -> (f32, f32) {
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
    let bell = exp::<V>(x * x * -0.5);
    let t = 1.0 / fma::<V>(x.abs(), 0.26, 1.0);
    let tail = bell * t * polynomial::<V, 9>(t, RATIO);
    (if x > 0.0 { 1.0 - tail } else { tail }, bell)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::Portable;

    #[derive(Clone, Copy)]
    struct Fused;

    impl Vector for Fused {
        const FMA: bool = true;
        const MANY: bool = false;
        fn splat(_: f32) -> Self {
            Self
        }
        fn load(_: &[f32; 16]) -> Self {
            Self
        }
        fn store(self, _: &mut [f32; 16]) {}
        fn load_some(_: &[f32]) -> Self {
            Self
        }
        fn store_some(self, _: &mut [f32]) {}
        fn every_second(self, _: Self) -> Self {
            self
        }
        fn transpose(rows: [Self; 16]) -> [Self; 16] {
            rows
        }
        fn add(self, _: Self) -> Self {
            Self
        }
        fn sub(self, _: Self) -> Self {
            Self
        }
        fn mul(self, _: Self) -> Self {
            Self
        }
        fn mul_add(self, _: Self, _: Self) -> Self {
            Self
        }
        fn where_positive(self, _: Self) -> Self {
            Self
        }
        fn sum(self) -> f32 {
            0.0
        }
    }

    #[test]
    fn exp_is_within_two_ulp() {
        for step in -87_000..=88_000 {
            let x = step as f32 / 1000.0;
            let exact = (x as f64).exp();
            for value in [exp::<Fused>(x), exp::<Portable>(x)] {
                assert!((value as f64 / exact - 1.0).abs() < 2.4e-7, "exp({x}) = {value}, not {exact}");
            }
        }
        assert!(exp::<Portable>(f32::NAN).is_nan());
        assert_eq!(exp::<Portable>(0.0), 1.0);
        for x in [-87.7, -88.0, -100.0, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!([exp::<Fused>(x), exp::<Portable>(x)], [0.0; 2], "exp({x})");
        }
    }
}
