//! The greatest number of each window of a plane, and where it was.
//!
//! As PyTorch's `max_pool2d`: padding never wins, the first of equal numbers does, row by row, and NaN wins over all.
//! A plane is first dealt out: columns that are a stride apart go side by side, so that a tap of the window is a run of
//! numbers for a whole row of windows.

use crate::lanes::Vector;
use rayon::prelude::*;

/// The sizes of a pooling.
#[derive(Debug, Clone, Copy)]
pub struct PoolShape {
    /// Images times channels.
    pub planes: usize,
    /// Height and width.
    pub size: [usize; 2],
    /// Of the window.
    pub kernel: [usize; 2],
    /// From window to window.
    pub stride: [usize; 2],
    /// On either side, at most half a window.
    pub padding: [usize; 2],
}

impl PoolShape {
    /// Height and width of the result.
    pub fn out_size(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            (self.size[axis] + 2 * self.padding[axis] - self.kernel[axis]) / self.stride[axis] + 1
        })
    }

    /// Whether every window has numbers, and places in it fit a byte.
    pub fn is_sound(&self) -> bool {
        self.kernel[0] * self.kernel[1] <= 256
            && [0, 1].into_iter().all(|axis| {
                self.size[axis] > 0
                    && self.stride[axis] > 0
                    && self.kernel[axis] > 0
                    && self.padding[axis] <= self.kernel[axis] / 2
                    && self.size[axis] + 2 * self.padding[axis] >= self.kernel[axis]
            })
    }

    fn area(&self) -> usize {
        self.size[0] * self.size[1]
    }

    fn out_area(&self) -> usize {
        let [height, width] = self.out_size();
        height * width
    }

    fn check(&self, what: &str, x: usize, y: &[usize]) {
        assert!(self.is_sound(), "max_pool::{what}: {self:?}");
        let lengths = y.iter().all(|&length| length == self.planes * self.out_area());
        assert!(x == self.planes * self.area() && lengths, "max_pool::{what}: lengths are not of {self:?}");
    }

    /// The rows of the window at row `row` that are inside, as rows of the window.
    fn taps(&self, row: usize) -> std::ops::Range<usize> {
        let start = row * self.stride[0];
        self.padding[0].saturating_sub(start)..self.kernel[0].min(self.size[0] + self.padding[0] - start)
    }
}

/// # Shapes
/// `x` (planes, H, W); `y` (planes, out_h, out_w)
pub fn forward(shape: &PoolShape, x: &[f32], y: &mut [f32]) {
    shape.check("forward", x.len(), &[y.len()]);
    let planes = y.par_chunks_mut(shape.out_area()).zip(x.par_chunks(shape.area()));
    planes.for_each(|(y, x)| plane(shape, x, y, None));
}

/// Also gives each maximum's place in its window, row by row.
///
/// # Shapes
/// `x` (planes, H, W); `y`, `places` (planes, out_h, out_w)
pub fn forward_with_places(shape: &PoolShape, x: &[f32], y: &mut [f32], places: &mut [u8]) {
    shape.check("forward_with_places", x.len(), &[y.len(), places.len()]);
    y.par_chunks_mut(shape.out_area())
        .zip(places.par_chunks_mut(shape.out_area()))
        .zip(x.par_chunks(shape.area()))
        .for_each(|((y, places), x)| plane(shape, x, y, Some(places)));
}

/// The gradient of x, from where [`forward_with_places`] found the maxima.
///
/// # Shapes
/// `places`, `grad` (planes, out_h, out_w); `dx` (planes, H, W)
pub fn backward(shape: &PoolShape, places: &[u8], grad: &[f32], dx: &mut [f32]) {
    shape.check("backward", dx.len(), &[places.len(), grad.len()]);
    let ([height, width], [_, out_width]) = (shape.size, shape.out_size());
    let offsets: Vec<[usize; 2]> = (0..shape.kernel[0] * shape.kernel[1])
        .map(|at| [at / shape.kernel[1], at % shape.kernel[1]])
        .collect();
    dx.par_chunks_mut(shape.area().max(1))
        .zip(places.par_chunks(shape.out_area()).zip(grad.par_chunks(shape.out_area())))
        .for_each(|(dx, (places, grad))| {
            dx.fill(0.0);
            let rows = places.chunks_exact(out_width).zip(grad.chunks_exact(out_width));
            for (i, (places, grad)) in rows.enumerate() {
                for (j, (&place, &grad)) in places.iter().zip(grad).enumerate() {
                    let [u, v] = offsets[place as usize];
                    // Padding never wins, so that both are inside.
                    let row = (i * shape.stride[0] + u - shape.padding[0]).min(height - 1);
                    dx[row * width + j * shape.stride[1] + v - shape.padding[1]] += grad;
                }
            }
        });
}

for_each_level! {
    fn plane(shape: &PoolShape, x: &[f32], y: &mut [f32], places: Option<&mut [u8]>) = plane_body
}

#[inline(always)]
fn plane_body<V: Vector>(shape: &PoolShape, x: &[f32], y: &mut [f32], places: Option<&mut [u8]>) {
    let ([_, width], [_, out_width]) = (shape.size, shape.out_size());
    let stride = shape.stride[1];
    let length = out_width + (shape.kernel[1] - 1) / stride;
    let mut dealt = vec![f32::NEG_INFINITY; shape.size[0] * stride * length];
    for (row, dealt) in x.chunks_exact(width).zip(dealt.chunks_exact_mut(stride * length)) {
        for (phase, line) in dealt.chunks_exact_mut(length).enumerate() {
            match stride {
                1 => deal(row, phase, 1, shape.padding[1], line),
                2 => deal(row, phase, 2, shape.padding[1], line),
                _ => deal(row, phase, stride, shape.padding[1], line),
            }
        }
    }
    let tap = |row: usize, v: usize| {
        let line = &dealt[(row * stride + v % stride) * length..][..length];
        &line[v / stride..][..out_width]
    };
    match places {
        None => maxima(shape, tap, y),
        Some(places) => maxima_with_places(shape, tap, y, places),
    }
}

/// Numbers of a row that stand `phase` behind a multiple of the stride, padding included.
#[inline(always)]
fn deal(row: &[f32], phase: usize, stride: usize, padding: usize, line: &mut [f32]) {
    let skipped = padding.saturating_sub(phase).div_ceil(stride);
    let from = skipped * stride + phase - padding;
    let numbers = row.get(from..).unwrap_or_default();
    for (to, &x) in line.iter_mut().skip(skipped).zip(numbers.iter().step_by(stride)) {
        *to = x;
    }
}

#[inline(always)]
fn maxima<'a>(shape: &PoolShape, tap: impl Fn(usize, usize) -> &'a [f32], y: &mut [f32]) {
    let out_width = shape.out_size()[1];
    for (i, y) in y.chunks_exact_mut(out_width).enumerate() {
        y.fill(f32::NEG_INFINITY);
        for u in shape.taps(i) {
            for v in 0..shape.kernel[1] {
                let line = tap(i * shape.stride[0] + u - shape.padding[0], v);
                for (best, &x) in y.iter_mut().zip(line) {
                    *best = if wins(x, *best) { x } else { *best };
                }
            }
        }
    }
}

#[inline(always)]
fn maxima_with_places<'a>(
    shape: &PoolShape,
    tap: impl Fn(usize, usize) -> &'a [f32],
    y: &mut [f32],
    places: &mut [u8],
) {
    let out_width = shape.out_size()[1];
    // A window full of −∞ has its maximum at its first number.
    let starts: Vec<u32> =
        (0..out_width).map(|j| shape.padding[1].saturating_sub(j * shape.stride[1]) as u32).collect();
    let mut at = vec![0; out_width];
    let rows = y.chunks_exact_mut(out_width).zip(places.chunks_exact_mut(out_width));
    for (i, (y, places)) in rows.enumerate() {
        y.fill(f32::NEG_INFINITY);
        let taps = shape.taps(i);
        for (at, start) in at.iter_mut().zip(&starts) {
            *at = (taps.start * shape.kernel[1]) as u32 + start;
        }
        for u in taps {
            for v in 0..shape.kernel[1] {
                let (place, line) =
                    ((u * shape.kernel[1] + v) as u32, tap(i * shape.stride[0] + u - shape.padding[0], v));
                for ((best, at), &x) in y.iter_mut().zip(&mut at).zip(line) {
                    let won = wins(x, *best);
                    *best = if won { x } else { *best };
                    *at = if won { place } else { *at };
                }
            }
        }
        for (place, &at) in places.iter_mut().zip(&at) {
            *place = at as u8;
        }
    }
}

/// Greater, or NaN; NaN gives way to NaN alone.
#[inline(always)]
fn wins(x: f32, best: f32) -> bool {
    x > best || x.is_nan()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{self, assert_close, noise};

    #[test]
    fn windows_must_have_numbers() {
        let sound = PoolShape { planes: 1, size: [2; 2], kernel: [2; 2], stride: [2; 2], padding: [1; 2] };
        assert!(sound.is_sound());
        for shape in [
            PoolShape { size: [0, 2], ..sound },
            PoolShape { kernel: [2, 0], ..sound },
            PoolShape { stride: [0, 2], ..sound },
            PoolShape { padding: [1, 2], ..sound },
            PoolShape { kernel: [5, 2], padding: [1, 1], ..sound },
            PoolShape { size: [40; 2], kernel: [17; 2], ..sound },
        ] {
            assert!(!shape.is_sound(), "{shape:?}");
        }
    }

    /// Few values, so that many are equal, and some that are not finite.
    fn rough(length: usize) -> Vec<f32> {
        let odd = |v: f32| match (v * 64.0).floor() as i32 {
            63 => f32::NAN,
            62 => f32::INFINITY,
            ..-20 => f32::NEG_INFINITY,
            other => (other / 8) as f32,
        };
        noise(length, 5).into_iter().map(odd).collect()
    }

    #[test]
    fn agrees_with_the_reference() {
        for (planes, size, kernel, stride, padding) in [
            (0, [4, 4], [3, 3], [2, 2], [1, 1]),
            (1, [1, 1], [3, 3], [2, 2], [1, 1]),
            (2, [7, 15], [3, 3], [2, 2], [1, 1]),
            (3, [16, 34], [3, 3], [2, 2], [1, 1]),
            (3, [17, 49], [3, 3], [2, 2], [1, 1]),
            (2, [9, 11], [2, 2], [2, 2], [0, 0]),
            (2, [9, 20], [5, 4], [1, 3], [2, 2]),
            (2, [5, 33], [3, 5], [3, 1], [0, 1]),
        ] {
            let shape = PoolShape { planes, size, kernel, stride, padding };
            let [height, width] = shape.out_size();
            let grad = noise(planes * height * width, 2);
            for x in [noise(planes * size[0] * size[1], 1), rough(planes * size[0] * size[1])] {
                let (mut y, mut again) = (vec![0.0; grad.len()], vec![0.0; grad.len()]);
                let (mut places, mut dx) = (vec![0; grad.len()], vec![f32::NAN; x.len()]);
                forward(&shape, &x, &mut y);
                forward_with_places(&shape, &x, &mut again, &mut places);
                backward(&shape, &places, &grad, &mut dx);
                let expected = reference::max_pool(&shape, &x, &grad);
                for y in [y, again] {
                    let same = y.iter().zip(&expected.y).all(|(a, b)| a == b || a.is_nan() && b.is_nan());
                    assert!(same, "{shape:?}: {y:?}, expected {:?}", expected.y);
                }
                assert_close("dx", &dx, &expected.dx, 1e-6);
            }
        }
    }
}
