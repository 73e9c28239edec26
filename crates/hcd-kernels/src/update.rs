//! One step of an optimiser, parameter by parameter, in one pass each.
//!
//! SGD (dampening 0): d = g + wd·p; m ← μ·m + d; p ← p − lr·(d + μ·m with Nesterov, else m).
//! AdamW (Loshchilov & Hutter 2019): m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²;
//! p ← p − lr·wd·p − lr·(m/(1−β₁ᵗ)) / (√(v/(1−β₂ᵗ)) + ε).
//! Averaging: w̄ ← d·w̄ + (1−d)·w.

use crate::lanes::Vector;
use crate::math::fma;
use crate::split::CHUNK;
use rayon::prelude::*;

/// Stochastic gradient descent with momentum.
#[derive(Debug, Clone, Copy)]
pub struct Sgd {
    /// lr.
    pub rate: f32,
    /// μ.
    pub momentum: f32,
    /// Whether to look ahead along the momentum.
    pub nesterov: bool,
    /// wd.
    pub decay: f32,
}

/// Adam with decoupled weight decay.
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    /// lr / (1−β₁ᵗ).
    pub rate: f32,
    /// 1 − lr·wd.
    pub shrink: f32,
    /// β₁ and β₂.
    pub betas: [f32; 2],
    /// 1 − β₁ and 1 − β₂, which are not exact if taken from these.
    pub news: [f32; 2],
    /// 1/√(1−β₂ᵗ).
    pub scale: f32,
    /// ε.
    pub epsilon: f32,
}

/// Moves `value`; `velocity` is 0 before the first step.
///
/// # Shapes
/// All of one length
pub fn sgd(rule: &Sgd, grad: &[f32], velocity: &mut [f32], value: &mut [f32]) {
    let lengths = [grad.len(), velocity.len()];
    assert_eq!(lengths, [value.len(); 2], "update::sgd: lengths differ");
    value
        .par_chunks_mut(CHUNK)
        .zip(velocity.par_chunks_mut(CHUNK).zip(grad.par_chunks(CHUNK)))
        .for_each(|(value, (velocity, grad))| sgd_chunk(rule, grad, velocity, value));
}

/// Moves `value`; the means of the gradient and of its square are 0 before the first step.
///
/// # Shapes
/// All of one length
pub fn adamw(rule: &AdamW, grad: &[f32], mean: &mut [f32], square: &mut [f32], value: &mut [f32]) {
    let lengths = [grad.len(), mean.len(), square.len()];
    assert_eq!(lengths, [value.len(); 3], "update::adamw: lengths differ");
    value
        .par_chunks_mut(CHUNK)
        .zip(grad.par_chunks(CHUNK))
        .zip(mean.par_chunks_mut(CHUNK).zip(square.par_chunks_mut(CHUNK)))
        .for_each(|((value, grad), (mean, square))| adamw_chunk(rule, grad, mean, square, value));
}

/// Moves `mean` towards `value`: it keeps `kept` of itself and takes `new` of the value.
///
/// # Shapes
/// All of one length
pub fn average(kept: f32, new: f32, value: &[f32], mean: &mut [f32]) {
    assert_eq!(value.len(), mean.len(), "update::average: lengths differ");
    mean.par_chunks_mut(CHUNK)
        .zip(value.par_chunks(CHUNK))
        .for_each(|(mean, value)| average_chunk(kept, new, value, mean));
}

for_each_level! {
    fn sgd_chunk(rule: &Sgd, grad: &[f32], velocity: &mut [f32], value: &mut [f32]) = sgd_body
}
for_each_level! {
    fn adamw_chunk(rule: &AdamW, grad: &[f32], mean: &mut [f32], square: &mut [f32], value: &mut [f32])
        = adamw_body
}
for_each_level! {
    fn average_chunk(kept: f32, new: f32, value: &[f32], mean: &mut [f32]) = average_body
}

#[inline(always)]
fn sgd_body<V: Vector>(rule: &Sgd, grad: &[f32], velocity: &mut [f32], value: &mut [f32]) {
    let Sgd { rate, momentum, nesterov, decay } = *rule;
    for ((value, velocity), &grad) in value.iter_mut().zip(velocity).zip(grad) {
        let direction = fma::<V>(*value, decay, grad);
        *velocity = fma::<V>(*velocity, momentum, direction);
        let step = if nesterov { fma::<V>(*velocity, momentum, direction) } else { *velocity };
        *value = fma::<V>(step, -rate, *value);
    }
}

#[inline(always)]
fn adamw_body<V: Vector>(
    rule: &AdamW,
    grad: &[f32],
    mean: &mut [f32],
    square: &mut [f32],
    value: &mut [f32],
) {
    let AdamW { rate, shrink, betas, news, scale, epsilon } = *rule;
    for ((value, &grad), (mean, square)) in value.iter_mut().zip(grad).zip(mean.iter_mut().zip(square)) {
        *mean = fma::<V>(*mean, betas[0], grad * news[0]);
        *square = fma::<V>(*square, betas[1], grad * grad * news[1]);
        let step = *mean / fma::<V>(square.sqrt(), scale, epsilon);
        *value = fma::<V>(*value, shrink, -rate * step);
    }
}

#[inline(always)]
fn average_body<V: Vector>(kept: f32, new: f32, value: &[f32], mean: &mut [f32]) {
    for (mean, &value) in mean.iter_mut().zip(value) {
        *mean = fma::<V>(*mean, kept, value * new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{assert_close, noise};

    const LENGTHS: [usize; 7] = [0, 1, 15, 16, 17, 49, CHUNK + 1];

    fn wide(values: &[f32]) -> Vec<f64> {
        values.iter().map(|&v| v as f64).collect()
    }

    #[test]
    fn sgd_follows_its_rule() {
        for (length, nesterov) in LENGTHS.into_iter().flat_map(|length| [(length, false), (length, true)]) {
            let (grad, old, start) = (noise(length, 1), noise(length, 2), noise(length, 3));
            let (mut velocity, mut value) = (old.clone(), start.clone());
            sgd(&Sgd { rate: 0.5, momentum: 0.75, nesterov, decay: 0.125 }, &grad, &mut velocity, &mut value);
            let (grad, old, start) = (wide(&grad), wide(&old), wide(&start));
            let direction = |i: usize| grad[i] + 0.125 * start[i];
            let moved = |i: usize| 0.75 * old[i] + direction(i);
            let step = |i: usize| if nesterov { direction(i) + 0.75 * moved(i) } else { moved(i) };
            assert_close("velocity", &velocity, &(0..length).map(moved).collect::<Vec<_>>(), 1e-6);
            let expected: Vec<f64> = (0..length).map(|i| start[i] - 0.5 * step(i)).collect();
            assert_close("value", &value, &expected, 1e-6);
        }
    }

    #[test]
    fn adamw_follows_its_rule() {
        let rule = AdamW {
            rate: 0.25,
            shrink: 0.875,
            betas: [0.5, 0.75],
            news: [0.5, 0.25],
            scale: 2.0,
            epsilon: 0.125,
        };
        for length in LENGTHS {
            let (grad, old_mean, start) = (noise(length, 1), noise(length, 2), noise(length, 3));
            let old_square: Vec<f32> = noise(length, 4).iter().map(|v| v * v).collect();
            let (mut mean, mut square, mut value) = (old_mean.clone(), old_square.clone(), start.clone());
            adamw(&rule, &grad, &mut mean, &mut square, &mut value);
            let (grad, old_mean, old_square) = (wide(&grad), wide(&old_mean), wide(&old_square));
            let means: Vec<f64> = (0..length).map(|i| 0.5 * old_mean[i] + 0.5 * grad[i]).collect();
            let squares: Vec<f64> =
                (0..length).map(|i| 0.75 * old_square[i] + 0.25 * grad[i] * grad[i]).collect();
            let step = |i: usize| 0.25 * means[i] / (squares[i].sqrt() * 2.0 + 0.125);
            let expected: Vec<f64> = (0..length).map(|i| 0.875 * start[i] as f64 - step(i)).collect();
            assert_close("mean", &mean, &means, 1e-6);
            assert_close("square", &square, &squares, 1e-6);
            assert_close("value", &value, &expected, 2e-6);
        }
    }

    #[test]
    fn averages_fade() {
        for length in LENGTHS {
            let (value, old) = (noise(length, 1), noise(length, 2));
            let mut mean = old.clone();
            average(0.75, 0.25, &value, &mut mean);
            let expected: Vec<f64> =
                (0..length).map(|i| 0.75 * old[i] as f64 + 0.25 * value[i] as f64).collect();
            assert_close("mean", &mean, &expected, 1e-6);
        }
    }
}
