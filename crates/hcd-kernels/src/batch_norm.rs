//! Batch normalisation of (N, C, area) over N and area, in training: y = (x − mean) · rstd · weight + bias, and
//! max(y, 0) where asked for.
//!
//! Ioffe & Szegedy 2015, <https://arxiv.org/abs/1502.03167>. Backward, with x̂ = (x − mean) · rstd, m = N · area
//! and grad set to 0 where the rectifier was: dbias = Σ grad, dweight = Σ grad · x̂,
//! dx = weight · rstd · (grad − dbias / m − x̂ · dweight / m). Planes' means and squares are put together by Chan's
//! formula, so x is read once and nothing cancels.

use crate::lanes::{Vector, sum_over};
use crate::math::fma;
use crate::relu::relu;
use rayon::prelude::*;

/// The sizes of a batch and what is done to it.
#[derive(Debug, Clone, Copy)]
pub struct BatchNorm {
    /// C.
    pub channels: usize,
    /// Numbers to each channel of an image.
    pub area: usize,
    /// ε.
    pub epsilon: f32,
    /// Whether max(y, 0) follows.
    pub relu: bool,
}

impl BatchNorm {
    fn image(&self) -> usize {
        self.channels * self.area
    }

    fn rstd(&self, variance: f32) -> f32 {
        1.0 / (variance + self.epsilon).sqrt()
    }
}

/// Also gives the mean and the biased variance of each channel.
///
/// # Shapes
/// `x`, `y` (N, C, area); `weight`, `bias`, `mean`, `variance` (C)
pub fn forward(
    norm: &BatchNorm,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    y: &mut [f32],
    mean: &mut [f32],
    variance: &mut [f32],
) {
    let lengths = [weight.len(), bias.len(), mean.len(), variance.len()];
    assert_eq!(lengths, [norm.channels; 4], "batch_norm::forward: parameters are not (C)");
    assert_eq!(x.len(), y.len(), "batch_norm::forward: x and y differ in length");
    if x.is_empty() {
        mean.fill(0.0);
        return variance.fill(0.0);
    }
    assert_eq!(x.len() % norm.image(), 0, "batch_norm::forward: x is not (N, C, area)");
    mean.par_iter_mut().zip(variance.par_iter_mut()).enumerate().for_each(|(channel, (mean, variance))| {
        moments(norm, x, channel, mean, variance);
    });
    let factors: Vec<[f32; 2]> = (0..norm.channels)
        .map(|c| {
            let factor = weight[c] * norm.rstd(variance[c]);
            [factor, bias[c] - mean[c] * factor]
        })
        .collect();
    y.par_chunks_mut(norm.image()).zip(x.par_chunks(norm.image())).for_each(|(y, x)| {
        forward_image(norm, x, &factors, y);
    });
}

/// Turns the gradient of y into that of x, in place, and gives those of weight and bias.
///
/// # Shapes
/// `x`, `grad` (N, C, area); `weight`, `bias`, `mean`, `variance`, `dweight`, `dbias` (C)
#[allow(clippy::too_many_arguments)]
pub fn backward(
    norm: &BatchNorm,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    mean: &[f32],
    variance: &[f32],
    grad: &mut [f32],
    dweight: &mut [f32],
    dbias: &mut [f32],
) {
    let lengths = [weight, bias, mean, variance, dweight, dbias].map(|values| values.len());
    assert_eq!(lengths, [norm.channels; 6], "batch_norm::backward: parameters are not (C)");
    assert_eq!(x.len(), grad.len(), "batch_norm::backward: x and grad differ in length");
    if x.is_empty() {
        dweight.fill(0.0);
        return dbias.fill(0.0);
    }
    assert_eq!(x.len() % norm.image(), 0, "batch_norm::backward: x is not (N, C, area)");
    let channels: Vec<Channel> = (0..norm.channels)
        .map(|c| {
            let rstd = norm.rstd(variance[c]);
            let factor = weight[c] * rstd;
            Channel { mean: mean[c], rstd, factor, shift: bias[c] - mean[c] * factor, ..Channel::default() }
        })
        .collect();
    let given = &*grad;
    dweight.par_iter_mut().zip(dbias.par_iter_mut()).enumerate().for_each(|(c, (dweight, dbias))| {
        sums(norm, x, given, c, &channels[c], dweight, dbias);
    });
    let count = (x.len() / norm.channels) as f32;
    let channels: Vec<Channel> = channels
        .iter()
        .zip(dweight.iter().zip(dbias.iter()))
        .map(|(&channel, (dweight, dbias))| Channel {
            mean_grad: dbias / count,
            mean_product: dweight / count,
            ..channel
        })
        .collect();
    grad.par_chunks_mut(norm.image()).zip(x.par_chunks(norm.image())).for_each(|(grad, x)| {
        backward_image(norm, x, &channels, grad);
    });
}

/// What the backward pass knows of a channel.
#[derive(Debug, Clone, Copy, Default)]
struct Channel {
    mean: f32,
    rstd: f32,
    /// y = x · factor + shift
    factor: f32,
    shift: f32,
    mean_grad: f32,
    mean_product: f32,
}

for_each_level! {
    fn moments(norm: &BatchNorm, x: &[f32], channel: usize, mean: &mut f32, variance: &mut f32) = moments_body
}
for_each_level! {
    fn forward_image(norm: &BatchNorm, x: &[f32], factors: &[[f32; 2]], y: &mut [f32]) = forward_body
}
for_each_level! {
    fn sums(
        norm: &BatchNorm, x: &[f32], grad: &[f32], index: usize, channel: &Channel,
        dweight: &mut f32, dbias: &mut f32,
    ) = sums_body
}
for_each_level! {
    fn backward_image(norm: &BatchNorm, x: &[f32], channels: &[Channel], grad: &mut [f32]) = backward_body
}

#[inline(always)]
fn moments_body<V: Vector>(norm: &BatchNorm, x: &[f32], channel: usize, mean: &mut f32, variance: &mut f32) {
    let area = norm.area as f64;
    let (mut count, mut total_mean, mut squares) = (0.0, 0.0, 0.0);
    for image in x.chunks_exact(norm.image()) {
        let plane = &image[channel * norm.area..(channel + 1) * norm.area];
        let [sum] = sum_over([plane], |[x]: [V; 1]| [x]);
        let plane_mean = sum / norm.area as f32;
        let centre = V::splat(plane_mean);
        let [plane_squares] = sum_over([plane], |[x]: [V; 1]| {
            let centred = x.sub(centre);
            [centred.mul(centred)]
        });
        let difference = plane_mean as f64 - total_mean;
        squares += plane_squares as f64 + difference * difference * count * area / (count + area);
        count += area;
        total_mean += difference * area / count;
    }
    *mean = total_mean as f32;
    *variance = (squares / count) as f32;
}

#[inline(always)]
fn forward_body<V: Vector>(norm: &BatchNorm, x: &[f32], factors: &[[f32; 2]], y: &mut [f32]) {
    let planes = y.chunks_exact_mut(norm.area).zip(x.chunks_exact(norm.area));
    for ((y, x), &[factor, shift]) in planes.zip(factors) {
        if norm.relu {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = relu(fma::<V>(x, factor, shift));
            }
        } else {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = fma::<V>(x, factor, shift);
            }
        }
    }
}

/// The gradient as the rectifier let it through.
#[inline(always)]
fn passed<V: Vector>(norm: &BatchNorm, channel: &Channel, x: f32, grad: f32) -> f32 {
    if norm.relu && fma::<V>(x, channel.factor, channel.shift) <= 0.0 { 0.0 } else { grad }
}

#[inline(always)]
fn sums_body<V: Vector>(
    norm: &BatchNorm,
    x: &[f32],
    grad: &[f32],
    index: usize,
    channel: &Channel,
    dweight: &mut f32,
    dbias: &mut f32,
) {
    let [centre, factor, shift] = [channel.mean, channel.factor, channel.shift].map(V::splat);
    let (mut products, mut total) = (0.0f64, 0.0f64);
    for (x, grad) in x.chunks_exact(norm.image()).zip(grad.chunks_exact(norm.image())) {
        let x = &x[index * norm.area..(index + 1) * norm.area];
        let grad = &grad[index * norm.area..(index + 1) * norm.area];
        let [grads, with_x] = sum_over([x, grad], |[x, grad]: [V; 2]| {
            let grad = if norm.relu { grad.where_positive(x.mul_add(factor, shift)) } else { grad };
            [grad, grad.mul(x.sub(centre))]
        });
        total += grads as f64;
        products += with_x as f64;
    }
    *dweight = (products * channel.rstd as f64) as f32;
    *dbias = total as f32;
}

#[inline(always)]
fn backward_body<V: Vector>(norm: &BatchNorm, x: &[f32], channels: &[Channel], grad: &mut [f32]) {
    let planes = grad.chunks_exact_mut(norm.area).zip(x.chunks_exact(norm.area));
    for ((grad, x), channel) in planes.zip(channels) {
        for (grad, &x) in grad.iter_mut().zip(x) {
            let normal = (x - channel.mean) * channel.rstd;
            let centred = passed::<V>(norm, channel, x, *grad) - channel.mean_grad;
            *grad = channel.factor * fma::<V>(-normal, channel.mean_product, centred);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{self, assert_close, noise};

    #[test]
    fn agrees_with_the_reference() {
        for (images, channels, area) in
            [(1, 1, 2), (3, 2, 1), (2, 3, 15), (5, 4, 16), (4, 3, 49), (2, 17, 33)]
        {
            for relu in [false, true] {
                let length = images * channels * area;
                let x: Vec<f32> = noise(length, 1).iter().map(|v| v + 2.0).collect();
                let (weight, bias, grad) = (noise(channels, 2), noise(channels, 3), noise(length, 4));
                let norm = BatchNorm { channels, area, epsilon: 1e-5, relu };
                let empty = || vec![f32::NAN; channels];
                let (mut y, mut mean, mut variance) = (vec![f32::NAN; length], empty(), empty());
                forward(&norm, &x, &weight, &bias, &mut y, &mut mean, &mut variance);
                let (mut dx, mut dweight, mut dbias) = (grad.clone(), empty(), empty());
                backward(&norm, &x, &weight, &bias, &mean, &variance, &mut dx, &mut dweight, &mut dbias);
                let expected = reference::batch_norm(&x, &weight, &bias, 1e-5, relu, &grad, area);
                assert_close("y", &y, &expected.y, 3e-6);
                assert_close("mean", &mean, &expected.mean, 1e-6);
                assert_close("variance", &variance, &expected.variance, 1e-6);
                assert_close("dx", &dx, &expected.dx, 2e-5);
                assert_close("dweight", &dweight, &expected.dweight, 1e-5);
                assert_close("dbias", &dbias, &expected.dbias, 1e-5);
            }
        }
    }
}
