//! Layer normalisation of rows: y = (x − mean) · rstd · weight + bias, rstd = 1/√(variance + ε).
//!
//! Ba et al. 2016, <https://arxiv.org/abs/1607.06450>. Backward, with x̂ = (x − mean) · rstd and
//! g = grad · weight: dx = rstd · (g − mean(g) − x̂ · mean(g · x̂)), dweight = Σ grad · x̂, dbias = Σ grad.
//! Mean and rstd are computed again there: a row is in the cache anyway.

use crate::lanes::Vector;
use crate::math::fma;
use crate::split::{rows_per_part, sum_parts};
use crate::sums::{Plain, Squares, Terms, sum_over};
use rayon::prelude::*;

/// Rows that one job of the forward pass takes.
const ROWS: usize = 64;

/// # Shapes
/// `x`, `y` (rows, width); `weight`, `bias` (width)
pub fn forward(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, y: &mut [f32]) {
    let width = weight.len();
    assert_eq!(x.len(), y.len(), "layer_norm::forward: x and y differ in length");
    assert_eq!(bias.len(), width, "layer_norm::forward: weight and bias differ in length");
    if width == 0 {
        return;
    }
    assert_eq!(x.len() % width, 0, "layer_norm::forward: x is not whole rows");
    y.par_chunks_mut(ROWS * width)
        .zip(x.par_chunks(ROWS * width))
        .for_each(|(y, x)| forward_rows(x, weight, bias, epsilon, y));
}

/// Turns the gradient of y into that of x, in place, and gives those of weight and bias.
///
/// # Shapes
/// `x`, `grad` (rows, width); `weight`, `weight_grad`, `bias_grad` (width)
pub fn backward(
    x: &[f32],
    weight: &[f32],
    epsilon: f32,
    grad: &mut [f32],
    weight_grad: &mut [f32],
    bias_grad: &mut [f32],
) {
    let width = weight.len();
    assert_eq!(x.len(), grad.len(), "layer_norm::backward: x and grad differ in length");
    assert_eq!(
        (weight_grad.len(), bias_grad.len()),
        (width, width),
        "layer_norm::backward: a parameter's gradient differs from it in length"
    );
    if width == 0 {
        return;
    }
    assert_eq!(x.len() % width, 0, "layer_norm::backward: x is not whole rows");
    let part = rows_per_part(x.len() / width) * width;
    let parts = x.len().div_ceil(part);
    let mut weight_sums = vec![0.0; parts * width];
    let mut bias_sums = vec![0.0; parts * width];
    grad.par_chunks_mut(part)
        .zip(x.par_chunks(part))
        .zip(weight_sums.par_chunks_mut(width).zip(bias_sums.par_chunks_mut(width)))
        .for_each(|((grad, x), (weight_sum, bias_sum))| {
            backward_rows(x, weight, epsilon, grad, weight_sum, bias_sum);
        });
    sum_parts(&weight_sums, weight_grad);
    sum_parts(&bias_sums, bias_grad);
}

for_each_level! {
    fn forward_rows(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, y: &mut [f32]) = forward_body
}
for_each_level! {
    fn backward_rows(
        x: &[f32], weight: &[f32], epsilon: f32,
        grad: &mut [f32], weight_sum: &mut [f32], bias_sum: &mut [f32],
    ) = backward_body
}

/// Mean and 1/√(variance + ε) of a row.
#[inline(always)]
fn moments<V: Vector>(x: &[f32], epsilon: f32) -> (f32, f32) {
    let count = x.len() as f32;
    let [sum] = sum_over::<V, 1, 1>([x], Plain);
    let mean = sum / count;
    let [squares] = sum_over([x], Squares(V::splat(mean)));
    let variance = squares / count;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

/// g = grad · weight, and g · (x − centre).
struct Products<V> {
    centre: V,
}

impl<V: Vector> Terms<V, 3, 2> for Products<V> {
    #[inline(always)]
    fn of(&self, [x, weight, grad]: [V; 3]) -> [V; 2] {
        let g = grad.mul(weight);
        [g, g.mul(x.sub(self.centre))]
    }
}

#[inline(always)]
fn forward_body<V: Vector>(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, y: &mut [f32]) {
    let width = weight.len();
    for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
        let (mean, rstd) = moments::<V>(x, epsilon);
        for (((y, &x), &weight), &bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
            *y = fma::<V>((x - mean) * rstd, weight, bias);
        }
    }
}

#[inline(always)]
fn backward_body<V: Vector>(
    x: &[f32],
    weight: &[f32],
    epsilon: f32,
    grad: &mut [f32],
    weight_sum: &mut [f32],
    bias_sum: &mut [f32],
) {
    let width = weight.len();
    let (weight_sum, bias_sum) = (&mut weight_sum[..width], &mut bias_sum[..width]);
    for (grad, x) in grad.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
        let (mean, rstd) = moments::<V>(x, epsilon);
        let [sum_g, sum_gx] = sum_over([x, weight, grad], Products { centre: V::splat(mean) });
        let (mean_g, mean_gx) = (sum_g / width as f32, sum_gx * rstd / width as f32);
        let (grad, x) = (&mut grad[..width], &x[..width]);
        for i in 0..width {
            let normal = (x[i] - mean) * rstd;
            weight_sum[i] = fma::<V>(grad[i], normal, weight_sum[i]);
            bias_sum[i] += grad[i];
            grad[i] = rstd * (fma::<V>(grad[i], weight[i], -mean_g) - normal * mean_gx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{self, assert_close, noise};

    #[test]
    fn agrees_with_the_reference() {
        for (rows, width) in [(0, 4), (1, 1), (3, 5), (2, 15), (5, 16), (7, 17), (130, 48), (33, 100)] {
            let x: Vec<f32> = noise(rows * width, 1).iter().map(|v| v + 3.0).collect();
            let (weight, bias) = (noise(width, 2), noise(width, 3));
            let grad = noise(rows * width, 4);
            let mut y = vec![f32::NAN; x.len()];
            forward(&x, &weight, &bias, 1e-5, &mut y);
            let (mut dx, mut dweight, mut dbias) =
                (grad.clone(), vec![f32::NAN; width], vec![f32::NAN; width]);
            backward(&x, &weight, 1e-5, &mut dx, &mut dweight, &mut dbias);
            let expected = reference::layer_norm(&x, &weight, &bias, 1e-5, &grad);
            // A row of width 1 divides rounding errors by √ε.
            assert_close("y", &y, &expected.y, 2e-6);
            assert_close("dx", &dx, &expected.dx, if width == 1 { 1e-4 } else { 1e-5 });
            assert_close("dweight", &dweight, &expected.dweight, 1e-5);
            assert_close("dbias", &dbias, &expected.dbias, 1e-5);
        }
    }
}
