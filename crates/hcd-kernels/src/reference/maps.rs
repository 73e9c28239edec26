//! Batch normalisation and pooling of maps, number by number.

use crate::max_pool::PoolShape;
use crate::relu::Rectifier;

/// What batch normalisation gives, forward and backward.
#[derive(Debug)]
pub struct BatchNorm {
    /// (N, C, area)
    pub y: Vec<f64>,
    /// (C)
    pub mean: Vec<f64>,
    /// (C), biased
    pub variance: Vec<f64>,
    /// (N, C, area)
    pub dx: Vec<f64>,
    /// (N, C, area)
    pub dshortcut: Vec<f64>,
    /// (C)
    pub dweight: Vec<f64>,
    /// (C)
    pub dbias: Vec<f64>,
}

/// Batch normalisation with the batch's statistics or the given mean and variance, plus a shortcut, clipped; `area`
/// numbers to each channel of an image.
///
/// # Shapes
/// `x`, `shortcut`, `grad` (N, C, area); `weight`, `bias`, `given` (C)
#[allow(clippy::too_many_arguments)]
pub fn batch_norm(
    x: &[f32],
    [weight, bias]: [&[f32]; 2],
    given: Option<[&[f32]; 2]>,
    shortcut: Option<&[f32]>,
    epsilon: f64,
    rectifier: Rectifier,
    grad: &[f32],
    area: usize,
) -> BatchNorm {
    let channels = weight.len();
    let (each, all) = (|| vec![0.0; channels], || vec![0.0; x.len()]);
    let mut out = BatchNorm {
        y: all(),
        mean: each(),
        variance: each(),
        dx: all(),
        dshortcut: all(),
        dweight: each(),
        dbias: each(),
    };
    // The value, and whether its gradient ends there.
    let clipped = |v: f64| match rectifier {
        Rectifier::None => (v, false),
        Rectifier::Relu => (if v < 0.0 { 0.0 } else { v }, v <= 0.0),
        Rectifier::Relu6 => (v.clamp(0.0, 6.0), v <= 0.0 || v >= 6.0),
    };
    for c in 0..channels {
        let places: Vec<usize> = (0..x.len()).filter(|i| i / area % channels == c).collect();
        let count = places.len() as f64;
        let mut mean = places.iter().map(|&i| x[i] as f64).sum::<f64>() / count;
        let mut variance = places.iter().map(|&i| (x[i] as f64 - mean).powi(2)).sum::<f64>() / count;
        if let Some([means, variances]) = given {
            (mean, variance) = (means[c] as f64, variances[c] as f64);
        }
        let rstd = 1.0 / (variance + epsilon).sqrt();
        let normal = |i: usize| (x[i] as f64 - mean) * rstd;
        let added = |i: usize| shortcut.map_or(0.0, |shortcut| shortcut[i] as f64);
        let before = |i: usize| normal(i) * weight[c] as f64 + bias[c] as f64 + added(i);
        let slope = |i: usize| if clipped(before(i)).1 { 0.0 } else { grad[i] as f64 };
        out.dbias[c] = places.iter().map(|&i| slope(i)).sum();
        out.dweight[c] = places.iter().map(|&i| slope(i) * normal(i)).sum();
        for &i in &places {
            out.y[i] = clipped(before(i)).0;
            out.dshortcut[i] = slope(i);
            let centred = slope(i) - out.dbias[c] / count - normal(i) * out.dweight[c] / count;
            let direction = if given.is_some() { slope(i) } else { centred };
            out.dx[i] = weight[c] as f64 * rstd * direction;
        }
        (out.mean[c], out.variance[c]) = (mean, variance);
    }
    out
}

/// The mean of each plane, and the gradient of x.
///
/// # Shapes
/// `x` (planes, area); `grad` (planes)
pub fn average(area: usize, x: &[f32], grad: &[f32]) -> [Vec<f64>; 2] {
    let mean = |x: &[f32]| x.iter().map(|&v| f64::from(v)).sum::<f64>() / area as f64;
    let share = |at: usize| f64::from(grad[at / area]) / area as f64;
    [x.chunks_exact(area).map(mean).collect(), (0..x.len()).map(share).collect()]
}

/// What a maximum of windows gives, forward and backward.
#[derive(Debug)]
pub struct MaxPool {
    /// (planes, out_h, out_w)
    pub y: Vec<f32>,
    /// (planes, H, W)
    pub dx: Vec<f64>,
}

/// The greatest number of each window, the first of equals, the last NaN where there are any.
///
/// # Shapes
/// `x` (planes, H, W); `grad` (planes, out_h, out_w)
pub fn max_pool(shape: &PoolShape, x: &[f32], grad: &[f32]) -> MaxPool {
    let ([height, width], [out_height, out_width]) = (shape.size, shape.out_size());
    let mut out = MaxPool { y: vec![], dx: vec![0.0; x.len()] };
    for (at, &grad) in grad.iter().enumerate() {
        let (plane, i, j) = (at / (out_height * out_width), at / out_width % out_height, at % out_width);
        let mut best: Option<usize> = None;
        for u in 0..shape.kernel[0] {
            for v in 0..shape.kernel[1] {
                let row = (i * shape.stride[0] + u).checked_sub(shape.padding[0]).filter(|&row| row < height);
                let column =
                    (j * shape.stride[1] + v).checked_sub(shape.padding[1]).filter(|&column| column < width);
                let (Some(row), Some(column)) = (row, column) else { continue };
                let from = (plane * height + row) * width + column;
                if best.is_none_or(|best| x[from] > x[best] || x[from].is_nan()) {
                    best = Some(from);
                }
            }
        }
        let best = best.expect("a window has numbers");
        out.y.push(x[best]);
        out.dx[best] += grad as f64;
    }
    out
}
