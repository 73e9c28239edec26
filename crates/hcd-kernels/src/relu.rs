//! Rectifiers: y = max(x, 0), y = min(max(x, 0), 6), and either, or none, of a + b where a residual branch meets its
//! shortcut.

use crate::split::CHUNK;
use rayon::prelude::*;

/// What a layer's output is clipped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rectifier {
    /// Nothing.
    None,
    /// max(y, 0).
    Relu,
    /// min(max(y, 0), 6): Krizhevsky 2010, and the networks of phones.
    Relu6,
}

impl Rectifier {
    /// The least and the greatest number that comes out.
    pub(crate) fn bounds(self) -> [f32; 2] {
        match self {
            Rectifier::None => [f32::NEG_INFINITY, f32::INFINITY],
            Rectifier::Relu => [0.0, f32::INFINITY],
            Rectifier::Relu6 => [0.0, 6.0],
        }
    }

    /// Where [`clip_gradient`] lets nothing pass, from each bound on. NaN where there is none: nothing compares with it,
    /// so that the gradient of ±∞ passes as well.
    pub(crate) fn gradient_bounds(self) -> [f32; 2] {
        match self {
            Rectifier::None => [f32::NAN; 2],
            Rectifier::Relu => [0.0, f32::NAN],
            Rectifier::Relu6 => [0.0, 6.0],
        }
    }
}

/// min(max(x, low), high); NaN stays NaN.
#[inline(always)]
pub(crate) fn clip(x: f32, [low, high]: [f32; 2]) -> f32 {
    // Written out, not `clamp`, which looks whether low ≤ high.
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// The gradient of x from that of its clipped value: 0 at both [`Rectifier::gradient_bounds`] and beyond, as in PyTorch.
#[inline(always)]
pub(crate) fn clip_gradient(x: f32, [low, high]: [f32; 2], grad: f32) -> f32 {
    if x <= low || x >= high { 0.0 } else { grad }
}

/// max(x, 0); NaN stays NaN.
#[inline(always)]
pub(crate) fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// y = max(x, 0).
///
/// # Shapes
/// `x`, `y` of one length
pub fn forward(x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "relu::forward: lengths differ");
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = relu(x);
        }
    });
}

/// y = a + b, clipped; where `b` is none, y holds it.
///
/// # Shapes
/// `a`, `b`, `y` of one length
pub fn add_forward(rectifier: Rectifier, a: &[f32], b: Option<&[f32]>, y: &mut [f32]) {
    assert_eq!(
        (a.len(), b.map_or(y.len(), <[f32]>::len)),
        (y.len(), y.len()),
        "relu::add_forward: lengths differ"
    );
    let bounds = rectifier.bounds();
    y.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).enumerate().for_each(|(chunk, (y, a))| match b {
        Some(b) => {
            for ((y, &a), &b) in y.iter_mut().zip(a).zip(&b[chunk * CHUNK..]) {
                *y = clip(a + b, bounds);
            }
        }
        None => {
            for (y, &a) in y.iter_mut().zip(a) {
                *y = clip(a + *y, bounds);
            }
        }
    });
}

/// Turns the gradient of y into that of what was rectified, in place: 0 where y is at a bound.
///
/// # Shapes
/// `y`, `grad` of one length
pub fn backward(rectifier: Rectifier, y: &[f32], grad: &mut [f32]) {
    assert_eq!(y.len(), grad.len(), "relu::backward: lengths differ");
    let bounds = rectifier.gradient_bounds();
    grad.par_chunks_mut(CHUNK).zip(y.par_chunks(CHUNK)).for_each(|(grad, y)| {
        for (grad, &y) in grad.iter_mut().zip(y) {
            *grad = clip_gradient(y, bounds, *grad);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::noise;

    #[test]
    fn any_length() {
        for length in [0, 1, 15, 17, CHUNK + 1] {
            let (a, b, grad) = (noise(length, 1), noise(length, 2), noise(length, 3));
            let (mut y, mut sum, mut dx) = (vec![f32::NAN; length], vec![f32::NAN; length], grad.clone());
            let mut over = b.clone();
            forward(&a, &mut y);
            add_forward(Rectifier::Relu, &a, Some(&b), &mut sum);
            add_forward(Rectifier::None, &a, None, &mut over);
            backward(Rectifier::Relu, &y, &mut dx);
            for i in 0..length {
                assert_eq!((y[i], sum[i]), (a[i].max(0.0), (a[i] + b[i]).max(0.0)));
                assert_eq!(over[i], a[i] + b[i]);
                assert_eq!(dx[i], if a[i] > 0.0 { grad[i] } else { 0.0 });
            }
        }
    }

    #[test]
    fn nothing_passes_at_a_bound() {
        let y = [-1.0, 0.0, 0.5, 6.0, 7.0];
        for (rectifier, clipped, passed) in [
            (Rectifier::None, y, [1.0; 5]),
            (Rectifier::Relu, [0.0, 0.0, 0.5, 6.0, 7.0], [0.0, 0.0, 1.0, 1.0, 1.0]),
            (Rectifier::Relu6, [0.0, 0.0, 0.5, 6.0, 6.0], [0.0, 0.0, 1.0, 0.0, 0.0]),
        ] {
            let mut grad = [1.0; 5];
            backward(rectifier, &y, &mut grad);
            assert_eq!((y.map(|y| clip(y, rectifier.bounds())), grad), (clipped, passed));
            assert!(clip(f32::NAN, rectifier.bounds()).is_nan());
        }
    }
}
