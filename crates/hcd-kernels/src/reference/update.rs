//! Steps of optimisers, number by number.

use crate::update::{AdamW, Sgd};

/// Velocity and value after a step.
///
/// # Shapes
/// All of one length
pub fn sgd(rule: &Sgd, grad: &[f32], velocity: &[f32], value: &[f32]) -> [Vec<f64>; 2] {
    let [rate, momentum, decay] = [rule.rate, rule.momentum, rule.decay].map(f64::from);
    let mut after = [vec![], vec![]];
    for ((&grad, &velocity), &value) in grad.iter().zip(velocity).zip(value) {
        let [grad, velocity, value] = [grad, velocity, value].map(f64::from);
        let direction = grad + decay * value;
        let velocity = momentum * velocity + direction;
        let step = if rule.nesterov { direction + momentum * velocity } else { velocity };
        after[0].push(velocity);
        after[1].push(value - rate * step);
    }
    after
}

/// Mean, square and value after a step.
///
/// # Shapes
/// All of one length
pub fn adamw(rule: &AdamW, grad: &[f32], mean: &[f32], square: &[f32], value: &[f32]) -> [Vec<f64>; 3] {
    let ([old, old_square], [new, new_square]) = (rule.betas.map(f64::from), rule.news.map(f64::from));
    let [rate, shrink, scale, epsilon] = [rule.rate, rule.shrink, rule.scale, rule.epsilon].map(f64::from);
    let mut after = [vec![], vec![], vec![]];
    for (i, &grad) in grad.iter().enumerate() {
        let [grad, mean, square, value] = [grad, mean[i], square[i], value[i]].map(f64::from);
        let mean = old * mean + new * grad;
        let square = old_square * square + new_square * grad * grad;
        after[0].push(mean);
        after[1].push(square);
        after[2].push(shrink * value - rate * mean / (square.sqrt() * scale + epsilon));
    }
    after
}

/// kept · mean + new · value.
///
/// # Shapes
/// `value`, `mean` of one length
pub fn faded(kept: f32, new: f32, value: &[f32], mean: &[f32]) -> Vec<f64> {
    let of =
        |(&value, &mean): (&f32, &f32)| f64::from(kept) * f64::from(mean) + f64::from(new) * f64::from(value);
    value.iter().zip(mean).map(of).collect()
}
