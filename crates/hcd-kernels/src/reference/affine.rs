//! Affine maps, number by number.

use super::product;

/// What an affine map gives, forward and backward.
#[derive(Debug)]
pub struct Affine {
    /// As the output.
    pub y: Vec<f64>,
    /// As x.
    pub dx: Vec<f64>,
    /// As the weight.
    pub dweight: Vec<f64>,
    /// As the bias.
    pub dbias: Vec<f64>,
}

/// Rows become columns.
fn turned(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns.max(1);
    (0..values.len()).map(|at| values[at % rows * columns + at / rows]).collect()
}

/// y = x·Wᵀ + b.
///
/// # Shapes
/// `x` (rows, depth); `weight` (out, depth); `bias` (out); `grad` (rows, out)
pub fn linear(x: &[f32], weight: &[f32], bias: &[f32], grad: &[f32]) -> Affine {
    let out = bias.len();
    let (rows, depth) = (grad.len() / out, weight.len() / out);
    let mut y = product(x, weight, [rows, depth, out]);
    y.iter_mut().enumerate().for_each(|(at, y)| *y += f64::from(bias[at % out]));
    let dbias = (0..out).map(|o| grad.iter().skip(o).step_by(out).map(|&v| f64::from(v)).sum());
    Affine {
        y,
        dx: product(grad, &turned(weight, depth), [rows, out, depth]),
        dweight: product(&turned(grad, out), &turned(x, depth), [out, rows, depth]),
        dbias: dbias.collect(),
    }
}

/// y = W·x + b in each image.
///
/// # Shapes
/// `weight` (out, tokens); `x` (images, tokens, width); `bias` (out); `grad` (images, out, width)
pub fn mix(width: usize, weight: &[f32], x: &[f32], bias: &[f32], grad: &[f32]) -> Affine {
    let out = bias.len();
    let tokens = weight.len() / out;
    let mut total = Affine { y: vec![], dx: vec![], dweight: vec![0.0; weight.len()], dbias: vec![0.0; out] };
    for (x, grad) in x.chunks_exact(tokens * width).zip(grad.chunks_exact(out * width)) {
        // Over tokens is over the last axis of the transpose.
        let of = linear(&turned(x, width), weight, bias, &turned(grad, width));
        let back = |values: &[f64], rows: usize| -> Vec<f64> {
            (0..values.len()).map(|at| values[at % width * rows + at / width]).collect()
        };
        total.y.extend(back(&of.y, out));
        total.dx.extend(back(&of.dx, tokens));
        total.dweight.iter_mut().zip(&of.dweight).for_each(|(sum, value)| *sum += value);
        total.dbias.iter_mut().zip(&of.dbias).for_each(|(sum, value)| *sum += value);
    }
    total
}
