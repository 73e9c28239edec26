//! Affine maps: over the last axis, y = f(x·Wᵀ + b), and over the tokens of an image, y = f(W·x + b).
//!
//! Backward, without f: dx = dy·W, dW = dyᵀ·x, db = Σ dy; over tokens dx = Wᵀ·dy, dW = Σ dy·xᵀ.

use crate::bf16::Precision;
use crate::gemm::{self, Activation, Bias, Left, Panels};
use crate::memory;
use crate::product::Right;
use crate::split::{rows_per_part, sum_parts};
use rayon::prelude::*;

/// y = f(x·Wᵀ + b); an empty `bias` stands for none.
///
/// # Shapes
/// `x` (rows, in); `weight` (out, in); `bias` (out) or (0); `y` (rows, out)
pub fn forward(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    depth: usize,
    precision: Precision,
    activation: Activation,
    y: &mut [f32],
) {
    let bias = if bias.is_empty() { Bias::None } else { Bias::Column(bias) };
    Right::transposed(precision, weight, depth).multiply(Left::straight(x, depth), bias, activation, y);
}

/// The gradient of x.
///
/// # Shapes
/// `grad` (rows, out); `weight` (out, in); `dx` (rows, in)
pub fn input_grad(grad: &[f32], weight: &[f32], depth: usize, precision: Precision, dx: &mut [f32]) {
    let out = weight.len().checked_div(depth).unwrap_or(0);
    let weight = Right::straight(precision, weight, depth);
    weight.multiply(Left::straight(grad, out), Bias::None, Activation::None, dx);
}

/// The gradient of W.
///
/// # Shapes
/// `x` (rows, in); `grad` (rows, out); `dweight` (out, in)
pub fn weight_grad(x: &[f32], grad: &[f32], depth: usize, precision: Precision, dweight: &mut [f32]) {
    if dweight.is_empty() {
        return;
    }
    let out = dweight.len() / depth;
    let parts = (SUMS / dweight.len()).min(PARTS).min(x.len() / (ROWS * depth));
    if precision == Precision::F32 && parts > 1 {
        return weight_grad_by_parts(x, grad, [depth, out], parts, dweight);
    }
    let x = Right::straight(precision, x, depth);
    x.multiply(Left::transposed(grad, out), Bias::None, Activation::None, dweight);
}

/// Numbers that the sums of all parts of a weight's gradient have together, at most, and the most parts.
const SUMS: usize = 2_500_000;
const PARTS: usize = 8;

/// Rows whose products are added to a part's sums at a time.
const ROWS: usize = 512;

/// [`weight_grad`] of many rows and a weight that is small beside them: cut by rows, so that each is read once and together
/// with its gradient, and packed where it stays in the cache.
fn weight_grad_by_parts(
    x: &[f32],
    grad: &[f32],
    [depth, out]: [usize; 2],
    parts: usize,
    dweight: &mut [f32],
) {
    let rows = x.len() / depth;
    assert_eq!(grad.len(), rows * out, "linear::weight_grad: the gradient is not ({rows}, {out})");
    let part = rows.div_ceil(parts);
    let parts = rows.div_ceil(part);
    let sums = memory::written(parts * dweight.len(), |sums| {
        let rows = x.par_chunks(part * depth).zip(grad.par_chunks(part * out));
        sums.par_chunks_mut(dweight.len()).zip(rows).for_each_init(
            || (Panels::default(), Vec::new()),
            |(panels, scratch), (sums, (x, grad))| {
                let rows = x.chunks(ROWS * depth).zip(grad.chunks(ROWS * out));
                for (index, (x, grad)) in rows.enumerate() {
                    panels.refill(x, depth);
                    let before = if index == 0 { Bias::None } else { Bias::There };
                    let grad = Left::transposed(grad, out);
                    gemm::multiply_here(grad, panels, before, Activation::None, scratch, sums);
                }
            },
        );
    });
    sum_parts(&sums, dweight);
}

/// The gradient of b: sums over rows.
///
/// # Shapes
/// `grad` (rows, out); `dbias` (out)
pub fn bias_grad(grad: &[f32], dbias: &mut [f32]) {
    let out = dbias.len();
    if out == 0 {
        return;
    }
    let part = rows_per_part(grad.len() / out);
    let mut sums = vec![0.0; grad.len().div_ceil(part * out) * out];
    sums.par_chunks_mut(out).zip(grad.par_chunks(part * out)).for_each(|(sums, grad)| {
        for row in grad.chunks_exact(out) {
            sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += value);
        }
    });
    sum_parts(&sums, dbias);
}

/// The extents of a map over tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mix {
    /// Tokens that come in.
    pub tokens: usize,
    /// Tokens that go out.
    pub out: usize,
    /// Numbers a token.
    pub width: usize,
    /// What is multiplied.
    pub precision: Precision,
}

/// y = f(W·x + b) in each image.
///
/// # Shapes
/// `weight` (out, tokens); `x` (images, tokens, width); `bias` (out); `y` (images, out, width)
pub fn mix_forward(
    mix: &Mix,
    weight: &[f32],
    x: &[f32],
    bias: &[f32],
    activation: Activation,
    y: &mut [f32],
) {
    let (input, output) = (mix.tokens * mix.width, mix.out * mix.width);
    if output == 0 {
        return;
    }
    assert_eq!(x.len(), y.len() / output * input, "linear::mix_forward: x and y differ in images");
    y.par_chunks_mut(output).enumerate().for_each_init(Vec::new, |scratch, (image, y)| {
        let x = Right::straight(mix.precision, &x[image * input..][..input], mix.width);
        x.multiply_here(Left::straight(weight, mix.tokens), Bias::Row(bias), activation, scratch, y);
    });
}

/// The gradient of x.
///
/// # Shapes
/// `weight` (out, tokens); `grad` (images, out, width); `dx` (images, tokens, width)
pub fn mix_input_grad(mix: &Mix, weight: &[f32], grad: &[f32], dx: &mut [f32]) {
    let (input, output) = (mix.tokens * mix.width, mix.out * mix.width);
    if input == 0 {
        return;
    }
    assert_eq!(grad.len(), dx.len() / input * output, "linear::mix_input_grad: images differ");
    dx.par_chunks_mut(input).enumerate().for_each_init(Vec::new, |scratch, (image, dx)| {
        let grad = Right::straight(mix.precision, &grad[image * output..][..output], mix.width);
        let weight = Left::transposed(weight, mix.tokens);
        grad.multiply_here(weight, Bias::None, Activation::None, scratch, dx);
    });
}

/// The gradients of W and b.
///
/// # Shapes
/// `x` (images, tokens, width); `grad` (images, out, width); `dweight` (out, tokens); `dbias` (out)
pub fn mix_weight_grad(mix: &Mix, x: &[f32], grad: &[f32], dweight: &mut [f32], dbias: &mut [f32]) {
    let (input, output) = (mix.tokens * mix.width, mix.out * mix.width);
    if input == 0 || output == 0 {
        dweight.fill(0.0);
        return dbias.fill(0.0);
    }
    let part = rows_per_part(x.len() / input);
    let sizes = dweight.len() + dbias.len();
    let mut sums = vec![0.0; (x.len() / input).div_ceil(part) * sizes];
    let images = x.par_chunks(part * input).zip(grad.par_chunks(part * output));
    sums.par_chunks_mut(sizes).zip(images).for_each(|(sums, (x, grad))| {
        let (dweight, dbias) = sums.split_at_mut(mix.out * mix.tokens);
        let (mut scratch, mut product) = (Vec::new(), vec![0.0; dweight.len()]);
        for (x, grad) in x.chunks_exact(input).zip(grad.chunks_exact(output)) {
            let x = Right::transposed(mix.precision, x, mix.width);
            let grads = Left::straight(grad, mix.width);
            x.multiply_here(grads, Bias::None, Activation::None, &mut scratch, &mut product);
            dweight.iter_mut().zip(&product).for_each(|(sum, &value)| *sum += value);
            for (sum, row) in dbias.iter_mut().zip(grad.chunks_exact(mix.width)) {
                *sum += row.iter().sum::<f32>();
            }
        }
    });
    let mut total = vec![0.0; sizes];
    sum_parts(&sums, &mut total);
    dweight.copy_from_slice(&total[..dweight.len()]);
    dbias.copy_from_slice(&total[dweight.len()..]);
}
