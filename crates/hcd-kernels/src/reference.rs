//! Readable scalar versions of the kernels, in f64: what the tests hold them to.

mod affine;
mod maps;
mod update;

pub use affine::{Affine, linear, mix};
pub use maps::{BatchNorm, MaxPool, average, batch_norm, max_pool};
pub use update::{adamw, faded, sgd};

use crate::attention::Input;
use crate::conv::ConvShape;

/// Φ(x) by Marsaglia's series, or by the continued fraction of its tail.
fn normal(x: f64) -> f64 {
    let bell = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x.abs() < 5.0 {
        let (mut term, mut sum, mut n) = (x, x, 1.0);
        while term.abs() > 1e-18 * sum.abs() {
            n += 2.0;
            term *= x * x / n;
            sum += term;
        }
        return 0.5 + sum * bell;
    }
    let fraction = (1..=60).rev().fold(x.abs(), |below, n| x.abs() + n as f64 / below);
    let tail = bell / fraction;
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// GELU and its derivative.
pub fn gelu(x: f64) -> (f64, f64) {
    let bell = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    (x * normal(x), normal(x) + x * bell)
}

/// A·Bᵀ
///
/// # Shapes
/// `a` (rows, depth); `b` (columns, depth) → (rows, columns)
pub fn product(a: &[f32], b: &[f32], [rows, depth, columns]: [usize; 3]) -> Vec<f64> {
    let of = |row: usize, column: usize| {
        let (a, b) = (&a[row * depth..][..depth], &b[column * depth..][..depth]);
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    (0..rows * columns).map(|at| of(at / columns, at % columns)).collect()
}

/// What layer normalisation gives, forward and backward.
#[derive(Debug)]
pub struct LayerNorm {
    /// (rows, width)
    pub y: Vec<f64>,
    /// (rows, width)
    pub dx: Vec<f64>,
    /// (width)
    pub dweight: Vec<f64>,
    /// (width)
    pub dbias: Vec<f64>,
}

/// # Shapes
/// `x`, `grad` (rows, width); `weight`, `bias` (width)
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f64, grad: &[f32]) -> LayerNorm {
    let width = weight.len();
    let mut out = LayerNorm { y: vec![], dx: vec![], dweight: vec![0.0; width], dbias: vec![0.0; width] };
    for (x, grad) in x.chunks_exact(width).zip(grad.chunks_exact(width)) {
        let mean = x.iter().map(|&v| v as f64).sum::<f64>() / width as f64;
        let variance = x.iter().map(|&v| (v as f64 - mean).powi(2)).sum::<f64>() / width as f64;
        let rstd = 1.0 / (variance + epsilon).sqrt();
        let normal: Vec<f64> = x.iter().map(|&v| (v as f64 - mean) * rstd).collect();
        let g: Vec<f64> = grad.iter().zip(weight).map(|(&g, &w)| g as f64 * w as f64).collect();
        let mean_g = g.iter().sum::<f64>() / width as f64;
        let mean_gx = g.iter().zip(&normal).map(|(g, n)| g * n).sum::<f64>() / width as f64;
        for i in 0..width {
            out.y.push(normal[i] * weight[i] as f64 + bias[i] as f64);
            out.dx.push(rstd * (g[i] - mean_g - normal[i] * mean_gx));
            out.dweight[i] += grad[i] as f64 * normal[i];
            out.dbias[i] += grad[i] as f64;
        }
    }
    out
}

/// What attention gives, forward and backward.
#[derive(Debug)]
pub struct Attention {
    /// (images, tokens, width)
    pub out: Vec<f64>,
    /// (images, tokens, 3, heads, d)
    pub qkv_grad: Vec<f64>,
    /// (heads, area, area)
    pub bias_grad: Vec<f64>,
}

/// # Shapes
/// `grad` (images, tokens, width)
pub fn attention(input: &Input, grad: &[f32]) -> Attention {
    let (tokens, area, width) = (input.windows.tokens(), input.windows.area(), input.width);
    let head = width / input.heads;
    let scale = (head as f64).powf(-0.5);
    let mut result = Attention {
        out: vec![0.0; grad.len()],
        qkv_grad: vec![0.0; input.qkv.len()],
        bias_grad: vec![0.0; input.bias.len()],
    };
    let images = grad.len() / (tokens * width);
    for image in 0..images {
        for (window, table) in input.windows.table().chunks_exact(area).enumerate() {
            for h in 0..input.heads {
                let at = |token: usize, part: usize, i: usize| {
                    ((image * tokens + token) * 3 + part) * width + h * head + i
                };
                let to = |token: usize, i: usize| (image * tokens + token) * width + h * head + i;
                let qkv = |token, part, i| input.qkv[at(token, part, i)] as f64;
                for (row, &token) in table.iter().enumerate() {
                    let scores: Vec<f64> = (0..area)
                        .map(|column| {
                            let dot: f64 =
                                (0..head).map(|i| qkv(token, 0, i) * qkv(table[column], 1, i)).sum();
                            let mask = input
                                .windows
                                .mask()
                                .map_or(0.0, |mask| mask[(window * area + row) * area + column]);
                            scale * dot + input.bias[(h * area + row) * area + column] as f64 + mask as f64
                        })
                        .collect();
                    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let total: f64 = scores.iter().map(|s| (s - highest).exp()).sum();
                    let p: Vec<f64> = scores.iter().map(|s| (s - highest).exp() / total).collect();
                    let dp: Vec<f64> = table
                        .iter()
                        .map(|&t| (0..head).map(|i| grad[to(token, i)] as f64 * qkv(t, 2, i)).sum())
                        .collect();
                    let mean: f64 = p.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
                    for (column, &other) in table.iter().enumerate() {
                        let ds = p[column] * (dp[column] - mean);
                        result.bias_grad[(h * area + row) * area + column] += ds;
                        for i in 0..head {
                            result.out[to(token, i)] += p[column] * qkv(other, 2, i);
                            result.qkv_grad[at(other, 2, i)] += p[column] * grad[to(token, i)] as f64;
                            result.qkv_grad[at(token, 0, i)] += scale * ds * qkv(other, 1, i);
                            result.qkv_grad[at(other, 1, i)] += scale * ds * qkv(token, 0, i);
                        }
                    }
                }
            }
        }
    }
    result
}

/// What a convolution gives, forward and backward.
#[derive(Debug)]
pub struct Conv {
    /// (N, C_out, H_out, W_out)
    pub y: Vec<f64>,
    /// (N, C_in, H, W)
    pub dx: Vec<f64>,
    /// (C_out, C_in / groups, k_h, k_w)
    pub dweight: Vec<f64>,
    /// (C_out)
    pub dbias: Vec<f64>,
}

/// # Shapes
/// `x` (N, C_in, H, W); `weight` (C_out, C_in / groups, k_h, k_w); `bias` (C_out);
/// `grad` (N, C_out, H_out, W_out)
pub fn conv(shape: &ConvShape, x: &[f32], weight: &[f32], bias: &[f32], grad: &[f32]) -> Conv {
    let ([height, width], [out_height, out_width]) = (shape.size, shape.out_size());
    let (inputs, outputs) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let [kernel_rows, kernel_columns] = shape.kernel;
    let mut out = Conv {
        y: vec![0.0; grad.len()],
        dx: vec![0.0; x.len()],
        dweight: vec![0.0; weight.len()],
        dbias: vec![0.0; bias.len()],
    };
    for n in 0..shape.images {
        for (o, bias) in bias.iter().enumerate() {
            for i in 0..out_height {
                for j in 0..out_width {
                    let y = ((n * shape.out_channels + o) * out_height + i) * out_width + j;
                    out.y[y] += *bias as f64;
                    out.dbias[o] += grad[y] as f64;
                    for c in 0..inputs {
                        for u in 0..kernel_rows {
                            for v in 0..kernel_columns {
                                let row = (i * shape.stride[0] + u * shape.dilation[0])
                                    .wrapping_sub(shape.padding[0]);
                                let column = (j * shape.stride[1] + v * shape.dilation[1])
                                    .wrapping_sub(shape.padding[1]);
                                if row >= height || column >= width {
                                    continue;
                                }
                                let channel = n * shape.in_channels + o / outputs * inputs + c;
                                let from = (channel * height + row) * width + column;
                                let w = ((o * inputs + c) * kernel_rows + u) * kernel_columns + v;
                                out.y[y] += weight[w] as f64 * x[from] as f64;
                                out.dx[from] += weight[w] as f64 * grad[y] as f64;
                                out.dweight[w] += x[from] as f64 * grad[y] as f64;
                            }
                        }
                    }
                }
            }
        }
    }
    out
}

/// Numbers in [−1, 1) that look random, the same for the same seed.
pub fn noise(length: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(step).take(length).collect()
}

/// Compares with a tolerance relative to the largest expected number (or 1, if that is larger).
///
/// # Panics
/// If a number differs by more, or the lengths differ.
pub fn assert_close(name: &str, values: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(values.len(), expected.len(), "{name}: lengths differ");
    let size = expected.iter().fold(1.0f64, |size, v| size.max(v.abs()));
    for (i, (&value, &expected)) in values.iter().zip(expected).enumerate() {
        let error = (value as f64 - expected).abs();
        assert!(error <= tolerance * size, "{name}[{i}] = {value}, expected {expected}");
    }
}

/// Each number rounded to the nearest of 16 bits, ties to even.
pub fn rounded(values: &[f32]) -> Vec<f32> {
    // Finite numbers: the upper half of the bits counts, and the lower one rounds.
    let round = |bits: u32| (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
    values.iter().map(|value| f32::from_bits(round(value.to_bits()))).collect()
}
