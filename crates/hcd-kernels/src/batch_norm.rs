//! Batch normalisation of (N, C, area): y = clip((x − mean) · rstd · weight + bias + shortcut), the shortcut that of a
//! residual block where there is one, the clipping none, ReLU or ReLU6.
//!
//! Ioffe & Szegedy 2015, <https://arxiv.org/abs/1502.03167>. In training, mean and variance are those of x over N and
//! area; in evaluation they are given. Backward, with x̂ = (x − mean) · rstd, m = N · area and grad set to 0 where y was
//! clipped: dbias = Σ grad, dweight = Σ grad · x̂, dx = weight · rstd · (grad − dbias / m − x̂ · dweight / m), and
//! weight · rstd · grad where the statistics were given. Planes' means and squares are put together by Chan's formula,
//! so x is read once and nothing cancels.

use crate::lanes::{LANES, Vector};
use crate::math::fma;
use crate::relu::{Rectifier, clip};
use crate::split::CHUNK;
use crate::sums::{Plain, Squares, Terms, sum_over};
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
    /// What y is clipped to.
    pub rectifier: Rectifier,
}

/// What is learned and known of the channels.
#[derive(Debug, Clone, Copy)]
pub struct Channels<'a> {
    /// (C)
    pub weight: &'a [f32],
    /// (C)
    pub bias: &'a [f32],
    /// (C)
    pub mean: &'a [f32],
    /// (C)
    pub variance: &'a [f32],
}

impl BatchNorm {
    fn image(&self) -> usize {
        self.channels * self.area
    }

    fn rstd(&self, variance: f32) -> f32 {
        1.0 / (variance + self.epsilon).sqrt()
    }

    /// Planes that one job of an elementwise pass takes.
    fn planes(&self) -> usize {
        (CHUNK / self.area.max(1)).max(1)
    }

    fn check(&self, what: &str, x: &[f32], others: &[usize]) {
        assert!(others.iter().all(|&length| length == x.len()), "batch_norm::{what}: lengths differ");
        assert!(x.len().is_multiple_of(self.image()), "batch_norm::{what}: x is not (N, C, area)");
    }

    fn check_channels(&self, what: &str, channels: &Channels) {
        let Channels { weight, bias, mean, variance } = *channels;
        let lengths = [weight, bias, mean, variance].map(<[f32]>::len);
        assert_eq!(lengths, [self.channels; 4], "batch_norm::{what}: parameters are not (C)");
    }

    fn channel(&self, channels: &Channels, index: usize) -> Channel {
        let (mean, rstd) = (channels.mean[index], self.rstd(channels.variance[index]));
        let factor = channels.weight[index] * rstd;
        Channel { mean, rstd, factor, shift: channels.bias[index] - mean * factor, ..Channel::default() }
    }
}

/// What a pass knows of a channel.
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

/// The mean and the biased variance of each channel of a batch.
///
/// # Shapes
/// `x` (N, C, area); `mean`, `variance` (C)
pub fn moments(norm: &BatchNorm, x: &[f32], mean: &mut [f32], variance: &mut [f32]) {
    norm.check("moments", x, &[]);
    assert_eq!([mean.len(), variance.len()], [norm.channels; 2], "batch_norm::moments: outputs are not (C)");
    if x.is_empty() {
        mean.fill(0.0);
        return variance.fill(0.0);
    }
    mean.par_iter_mut().zip(variance.par_iter_mut()).enumerate().for_each(|(channel, (mean, variance))| {
        channel_moments(norm, x, channel, mean, variance);
    });
}

/// Where x is none, y holds it before.
///
/// # Shapes
/// `x`, `shortcut`, `y` (N, C, area)
pub fn forward(
    norm: &BatchNorm,
    x: Option<&[f32]>,
    channels: &Channels,
    shortcut: Option<&[f32]>,
    y: &mut [f32],
) {
    norm.check("forward", y, &[x, shortcut].map(|given| given.map_or(y.len(), <[f32]>::len)));
    norm.check_channels("forward", channels);
    let factors: Vec<[f32; 2]> = (0..norm.channels)
        .map(|index| norm.channel(channels, index))
        .map(|channel| [channel.factor, channel.shift])
        .collect();
    scale_planes(norm, norm.rectifier.bounds(), x, &factors, shortcut, y);
}

/// The gradients of weight and bias, of y's gradient: as far as it passes the clipping where there is no shortcut
/// (then x tells where y was clipped); with a shortcut or given statistics, `norm` must not clip, and
/// [`relu::backward`](crate::relu::backward) come before.
///
/// # Shapes
/// `x`, `grad` (N, C, area); `dweight`, `dbias` (C)
pub fn parameter_grads(
    norm: &BatchNorm,
    x: &[f32],
    channels: &Channels,
    grad: &[f32],
    dweight: &mut [f32],
    dbias: &mut [f32],
) {
    norm.check("parameter_grads", x, &[grad.len()]);
    norm.check_channels("parameter_grads", channels);
    let lengths = [dweight.len(), dbias.len()];
    assert_eq!(lengths, [norm.channels; 2], "batch_norm::parameter_grads: outputs are not (C)");
    if x.is_empty() {
        dweight.fill(0.0);
        return dbias.fill(0.0);
    }
    dweight.par_iter_mut().zip(dbias.par_iter_mut()).enumerate().for_each(|(index, (dweight, dbias))| {
        sums(norm, x, grad, index, &norm.channel(channels, index), dweight, dbias);
    });
}

/// The gradients of x, weight and bias where the statistics were the batch's: see [`parameter_grads`] for the clipping.
/// Where `grad` is none, `dx` holds it before.
///
/// # Shapes
/// `x`, `grad`, `dx` (N, C, area); `dweight`, `dbias` (C)
pub fn backward(
    norm: &BatchNorm,
    x: &[f32],
    channels: &Channels,
    grad: Option<&[f32]>,
    dx: &mut [f32],
    dweight: &mut [f32],
    dbias: &mut [f32],
) {
    norm.check("backward", x, &[dx.len(), grad.map_or(dx.len(), <[f32]>::len)]);
    parameter_grads(norm, x, channels, grad.unwrap_or(dx), dweight, dbias);
    let count = (x.len() / norm.channels.max(1)) as f32;
    let known: Vec<Channel> = (0..norm.channels)
        .map(|index| Channel {
            mean_grad: dbias[index] / count,
            mean_product: dweight[index] / count,
            ..norm.channel(channels, index)
        })
        .collect();
    let job = norm.planes() * norm.area;
    dx.par_chunks_mut(job.max(1)).enumerate().for_each(|(index, dx)| {
        let grad = grad.map(|grad| &grad[index * job..][..dx.len()]);
        backward_planes(norm, &x[index * job..][..dx.len()], &known, index * norm.planes(), grad, dx);
    });
}

/// The gradient of x where the statistics were given: weight · rstd · grad. Where `grad` is none, `dx` holds it before.
///
/// # Shapes
/// `grad`, `dx` (N, C, area)
pub fn backward_given(norm: &BatchNorm, channels: &Channels, grad: Option<&[f32]>, dx: &mut [f32]) {
    norm.check("backward_given", dx, &[grad.map_or(dx.len(), <[f32]>::len)]);
    norm.check_channels("backward_given", channels);
    let factors: Vec<[f32; 2]> =
        (0..norm.channels).map(|index| [norm.channel(channels, index).factor, 0.0]).collect();
    scale_planes(norm, Rectifier::None.bounds(), grad, &factors, None, dx);
}

/// y = clip(x · factor + shift + shortcut), each channel with its own; where x is none, y holds it before.
fn scale_planes(
    norm: &BatchNorm,
    bounds: [f32; 2],
    x: Option<&[f32]>,
    factors: &[[f32; 2]],
    shortcut: Option<&[f32]>,
    y: &mut [f32],
) {
    if y.is_empty() {
        return;
    }
    let job = norm.planes() * norm.area;
    y.par_chunks_mut(job).enumerate().for_each(|(index, y)| {
        let [x, shortcut] = [x, shortcut].map(|given| given.map(|given| &given[index * job..][..y.len()]));
        scale(norm.area, bounds, x, factors, index * norm.planes(), shortcut, y);
    });
}

for_each_level! {
    fn channel_moments(norm: &BatchNorm, x: &[f32], channel: usize, mean: &mut f32, variance: &mut f32)
        = moments_body
}
for_each_level! {
    fn scale(
        area: usize, bounds: [f32; 2], x: Option<&[f32]>, factors: &[[f32; 2]], first: usize,
        shortcut: Option<&[f32]>, y: &mut [f32],
    ) = scale_body
}
for_each_level! {
    fn sums(
        norm: &BatchNorm, x: &[f32], grad: &[f32], index: usize, channel: &Channel,
        dweight: &mut f32, dbias: &mut f32,
    ) = sums_body
}
for_each_level! {
    fn backward_planes(
        norm: &BatchNorm, x: &[f32], channels: &[Channel], first: usize, grad: Option<&[f32]>, dx: &mut [f32],
    ) = backward_body
}

#[inline(always)]
fn moments_body<V: Vector>(norm: &BatchNorm, x: &[f32], channel: usize, mean: &mut f32, variance: &mut f32) {
    let area = norm.area as f64;
    let (mut count, mut total_mean, mut squares) = (0.0, 0.0, 0.0);
    for image in x.chunks_exact(norm.image()) {
        let plane = &image[channel * norm.area..(channel + 1) * norm.area];
        let [sum] = sum_over::<V, 1, 1>([plane], Plain);
        let plane_mean = sum / norm.area as f32;
        let [plane_squares] = sum_over([plane], Squares(V::splat(plane_mean)));
        let difference = plane_mean as f64 - total_mean;
        squares += plane_squares as f64 + difference * difference * count * area / (count + area);
        count += area;
        total_mean += difference * area / count;
    }
    *mean = total_mean as f32;
    *variance = (squares / count) as f32;
}

/// Planes from the one numbered `first`.
#[inline(always)]
fn scale_body<V: Vector>(
    area: usize,
    bounds: [f32; 2],
    x: Option<&[f32]>,
    factors: &[[f32; 2]],
    first: usize,
    shortcut: Option<&[f32]>,
    y: &mut [f32],
) {
    for (index, y) in y.chunks_exact_mut(area).enumerate() {
        let [factor, shift] = factors[(first + index) % factors.len()];
        let [x, shortcut] = [x, shortcut].map(|given| given.map(|given| &given[index * area..][..area]));
        match (x, shortcut) {
            (Some(x), Some(shortcut)) => {
                for ((y, &x), &shortcut) in y.iter_mut().zip(x).zip(shortcut) {
                    *y = clip(fma::<V>(x, factor, shift) + shortcut, bounds);
                }
            }
            (Some(x), None) => {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = clip(fma::<V>(x, factor, shift), bounds);
                }
            }
            (None, Some(shortcut)) => {
                for (y, &shortcut) in y.iter_mut().zip(shortcut) {
                    *y = clip(fma::<V>(*y, factor, shift) + shortcut, bounds);
                }
            }
            (None, None) => {
                for y in y {
                    *y = clip(fma::<V>(*y, factor, shift), bounds);
                }
            }
        }
    }
}

/// What of y's gradient passes the clipping, of which x tells.
#[derive(Clone, Copy)]
struct Passed<V> {
    factor: V,
    shift: V,
    low: V,
    high: V,
}

impl<V: Vector> Passed<V> {
    #[inline(always)]
    fn new(norm: &BatchNorm, channel: &Channel) -> Self {
        let [low, high] = norm.rectifier.gradient_bounds();
        Self {
            factor: V::splat(channel.factor),
            shift: V::splat(channel.shift),
            low: V::splat(low),
            high: V::splat(high),
        }
    }

    #[inline(always)]
    fn of(&self, x: V, grad: V) -> V {
        let y = x.mul_add(self.factor, self.shift);
        grad.where_positive(y.sub(self.low)).where_positive(self.high.sub(y))
    }
}

/// The gradient that passes, and that times x − centre.
struct Products<V> {
    passed: Passed<V>,
    centre: V,
}

impl<V: Vector> Terms<V, 2, 2> for Products<V> {
    #[inline(always)]
    fn of(&self, [x, grad]: [V; 2]) -> [V; 2] {
        let grad = self.passed.of(x, grad);
        [grad, grad.mul(x.sub(self.centre))]
    }
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
    let passed = Passed::<V>::new(norm, channel);
    let centre = V::splat(channel.mean);
    let (mut products, mut total) = (0.0f64, 0.0f64);
    for (x, grad) in x.chunks_exact(norm.image()).zip(grad.chunks_exact(norm.image())) {
        let x = &x[index * norm.area..(index + 1) * norm.area];
        let grad = &grad[index * norm.area..(index + 1) * norm.area];
        let [grads, with_x] = sum_over([x, grad], Products { passed, centre });
        total += grads as f64;
        products += with_x as f64;
    }
    *dweight = (products * channel.rstd as f64) as f32;
    *dbias = total as f32;
}

/// Planes from the one numbered `first`.
#[inline(always)]
fn backward_body<V: Vector>(
    norm: &BatchNorm,
    x: &[f32],
    channels: &[Channel],
    first: usize,
    grad: Option<&[f32]>,
    dx: &mut [f32],
) {
    let area = norm.area;
    for (index, (dx, x)) in dx.chunks_exact_mut(area).zip(x.chunks_exact(area)).enumerate() {
        let channel = &channels[(first + index) % channels.len()];
        let passed = Passed::<V>::new(norm, channel);
        let (mean, rstd) = (V::splat(channel.mean), V::splat(channel.rstd));
        let (mean_grad, mean_product) = (V::splat(channel.mean_grad), V::splat(-channel.mean_product));
        let grad = grad.map(|grad| &grad[index * area..][..area]);
        // Spelled out for all processors: left to the compiler, the comparisons are branches on some.
        for start in (0..area).step_by(LANES) {
            let own = start..area.min(start + LANES);
            let x = V::load_up_to(&x[own.clone()]);
            let grad = V::load_up_to(match grad {
                Some(grad) => &grad[own.clone()],
                None => &dx[own.clone()],
            });
            let grad = passed.of(x, grad);
            let normal = x.sub(mean).mul(rstd);
            let dx_here = normal.mul_add(mean_product, grad.sub(mean_grad)).mul(passed.factor);
            dx_here.store_up_to(&mut dx[own]);
        }
    }
}
