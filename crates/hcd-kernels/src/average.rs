//! The mean of each plane of a map: global average pooling.

use crate::lanes::Vector;
use crate::split::CHUNK;
use crate::sums::{Plain, sum_over};
use rayon::prelude::*;

/// # Shapes
/// `x` (planes, area); `y` (planes)
pub fn forward(area: usize, x: &[f32], y: &mut [f32]) {
    assert!(area > 0 && x.len() == y.len() * area, "average::forward: x is not (planes, area)");
    let planes = (CHUNK / area).max(1);
    y.par_chunks_mut(planes).zip(x.par_chunks(planes * area)).for_each(|(y, x)| means(area, x, y));
}

/// # Shapes
/// `grad` (planes); `dx` (planes, area)
pub fn backward(area: usize, grad: &[f32], dx: &mut [f32]) {
    assert!(area > 0 && dx.len() == grad.len() * area, "average::backward: dx is not (planes, area)");
    let planes = (CHUNK / area).max(1);
    dx.par_chunks_mut(planes * area).zip(grad.par_chunks(planes)).for_each(|(dx, grad)| {
        for (dx, grad) in dx.chunks_exact_mut(area).zip(grad) {
            dx.fill(grad / area as f32);
        }
    });
}

for_each_level! {
    fn means(area: usize, x: &[f32], y: &mut [f32]) = means_body
}

#[inline(always)]
fn means_body<V: Vector>(area: usize, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x.chunks_exact(area)) {
        let [sum] = sum_over::<V, 1, 1>([x], Plain);
        *y = sum / area as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{assert_close, noise};

    #[test]
    fn any_size() {
        for (planes, area) in [(0, 4), (1, 1), (3, 15), (5, 16), (700, 49), (2, CHUNK + 1)] {
            let (x, grad) = (noise(planes * area, 1), noise(planes, 2));
            let (mut y, mut dx) = (vec![f32::NAN; planes], vec![f32::NAN; x.len()]);
            forward(area, &x, &mut y);
            backward(area, &grad, &mut dx);
            let mean = |x: &[f32]| x.iter().map(|&v| v as f64).sum::<f64>() / area as f64;
            assert_close("y", &y, &x.chunks(area).map(mean).collect::<Vec<_>>(), 1e-6);
            let each: Vec<f64> = (0..x.len()).map(|i| grad[i / area] as f64 / area as f64).collect();
            assert_close("dx", &dx, &each, 1e-6);
        }
    }
}
