//! Rectifiers: y = max(x, 0), and y = max(a + b, 0) where a residual branch meets its shortcut.

use crate::split::CHUNK;
use rayon::prelude::*;

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

/// y = max(a + b, 0).
///
/// # Shapes
/// `a`, `b`, `y` of one length
pub fn add_forward(a: &[f32], b: &[f32], y: &mut [f32]) {
    assert_eq!((a.len(), b.len()), (y.len(), y.len()), "relu::add_forward: lengths differ");
    y.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK))).for_each(|(y, (a, b))| {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = relu(a + b);
        }
    });
}

/// Turns the gradient of y into that of what was rectified, in place: 0 where y is.
///
/// # Shapes
/// `y`, `grad` of one length
pub fn backward(y: &[f32], grad: &mut [f32]) {
    assert_eq!(y.len(), grad.len(), "relu::backward: lengths differ");
    grad.par_chunks_mut(CHUNK).zip(y.par_chunks(CHUNK)).for_each(|(grad, y)| {
        for (grad, &y) in grad.iter_mut().zip(y) {
            *grad = if y <= 0.0 { 0.0 } else { *grad };
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
            forward(&a, &mut y);
            add_forward(&a, &b, &mut sum);
            backward(&y, &mut dx);
            for i in 0..length {
                assert_eq!((y[i], sum[i]), (a[i].max(0.0), (a[i] + b[i]).max(0.0)));
                assert_eq!(dx[i], if a[i] > 0.0 { grad[i] } else { 0.0 });
            }
        }
    }
}
