//! The Gaussian error linear unit, exact: y = x Φ(x), y' = Φ(x) + x φ(x).
//!
//! Hendrycks & Gimpel 2016, <https://arxiv.org/abs/1606.08415>.

use crate::lanes::{LANES, Vector};
use crate::math::normal;
use crate::split::CHUNK;
use rayon::prelude::*;

/// y = x Φ(x), to an absolute error of 1e-6 (see the tests).
///
/// # Shapes
/// `x`, `y` of one length
pub fn forward(x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "gelu::forward: x and y differ in length");
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| forward_chunk(x, y));
}

/// Turns the gradient of y into that of x, in place.
///
/// # Shapes
/// `x`, `grad` of one length
pub fn backward(x: &[f32], grad: &mut [f32]) {
    assert_eq!(x.len(), grad.len(), "gelu::backward: x and grad differ in length");
    grad.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(grad, x)| backward_chunk(x, grad));
}

for_each_level! { fn forward_chunk(x: &[f32], y: &mut [f32]) = forward_body }
for_each_level! { fn backward_chunk(x: &[f32], grad: &mut [f32]) = backward_body }

#[inline(always)]
fn forward_body<V: Vector>(x: &[f32], y: &mut [f32]) {
    for (y, x) in y.chunks_mut(LANES).zip(x.chunks(LANES)) {
        of(V::load_up_to(x)).store_up_to(y);
    }
}

/// x Φ(x)
#[inline(always)]
pub(crate) fn of<V: Vector>(x: V) -> V {
    x.mul(normal(x).0)
}

#[inline(always)]
fn backward_body<V: Vector>(x: &[f32], grad: &mut [f32]) {
    for (grad, x) in grad.chunks_mut(LANES).zip(x.chunks(LANES)) {
        V::load_up_to(grad).mul(slope(V::load_up_to(x))).store_up_to(grad);
    }
}

/// Φ(x) + x φ(x)
#[inline(always)]
fn slope<V: Vector>(x: V) -> V {
    /// 1/√(2π)
    const PEAK: f32 = 0.398_942_3;
    let (below, bell) = normal(x);
    x.mul(V::splat(PEAK)).mul_add(bell, below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;

    #[test]
    fn agrees_with_f64() {
        let x: Vec<f32> = (-150_000..=150_000).map(|i| i as f32 / 10_000.0).collect();
        let mut y = vec![0.0; x.len()];
        forward(&x, &mut y);
        let mut slope = vec![1.0; x.len()];
        backward(&x, &mut slope);
        for i in 0..x.len() {
            let (value, derivative) = reference::gelu(x[i] as f64);
            // Half an ulp of f32 at 15 is 5e-7.
            assert!((y[i] as f64 - value).abs() < 1e-6, "gelu({}) = {}, not {value}", x[i], y[i]);
            assert!((slope[i] as f64 - derivative).abs() < 5e-7, "gelu'({}) = {}", x[i], slope[i]);
        }
    }

    #[test]
    fn any_length() {
        for length in [0, 1, 15, 16, 17, 33, CHUNK - 1, CHUNK + 1] {
            let x = reference::noise(length, 1);
            let mut y = vec![f32::NAN; length];
            forward(&x, &mut y);
            for (y, x) in y.iter().zip(&x) {
                assert!((*y as f64 - reference::gelu(*x as f64).0).abs() < 1e-6);
            }
        }
    }
}
