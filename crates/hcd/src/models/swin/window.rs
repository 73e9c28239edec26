//! Window attention: softmax(q kᵀ/√d + relative position bias + mask) v within each window.
//!
//! Liu et al. 2021, section 3.2. A shifted block rolls the grid by half a window first; tokens that come to
//! lie together only by the roll are masked from each other with −100.

use super::pad_grid;
use crate::models::layers::{Init, Linear};
use burn::module::{Module, Param};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};

const MASKED: f32 = -100.0;

/// Attention over windows of `window` x `window` tokens, shifted by `shift`.
#[derive(Module, Debug)]
pub(super) struct WindowAttention {
    relative_position_bias_table: Param<Tensor<2>>,
    qkv: Linear,
    proj: Linear,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    window: usize,
    #[module(skip)]
    shift: usize,
}

impl WindowAttention {
    /// For a grid of `grid` x `grid` tokens: a grid no larger than the window is one window, unshifted.
    pub(super) fn new(
        width: usize,
        heads: usize,
        window: usize,
        grid: usize,
        shifted: bool,
        init: &mut Init,
    ) -> Self {
        let shift = if shifted && grid > window { window / 2 } else { 0 };
        let window = window.min(grid);
        let entries = (2 * window - 1).pow(2);
        Self {
            relative_position_bias_table: init.trunc_normal([entries, heads], 0.02),
            qkv: Linear::new(width, 3 * width, init),
            proj: Linear::new(width, width, init),
            heads,
            window,
            shift,
        }
    }

    /// # Shapes
    /// `x` (B, H, W, C) → (B, H, W, C)
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, h, w, c] = x.dims();
        let (window, shift) = (self.window, self.shift as i64);
        let x = if shift > 0 { x.roll(&[-shift, -shift], &[1, 2]) } else { x };
        let (hp, wp) = (h.next_multiple_of(window), w.next_multiple_of(window));
        let x = pad_grid(x, hp, wp);
        let (rows, cols, area) = (hp / window, wp / window, window * window);
        let x = x.reshape([b, rows, window, cols, window, c]).permute([0, 1, 3, 2, 4, 5]).reshape([
            b * rows * cols,
            area,
            c,
        ]); // (B·windows, area, C)
        let x = self.attend(x, rows, cols);
        let x =
            x.reshape([b, rows, cols, window, window, c]).permute([0, 1, 3, 2, 4, 5]).reshape([b, hp, wp, c]);
        let x = if (hp, wp) == (h, w) { x } else { x.slice([0..b, 0..h, 0..w, 0..c]) };
        if shift > 0 { x.roll(&[shift, shift], &[1, 2]) } else { x }
    }

    /// # Shapes
    /// `x` (B·windows, area, C) → (B·windows, area, C)
    fn attend(&self, x: Tensor<3>, rows: usize, cols: usize) -> Tensor<3> {
        let [n, area, c] = x.dims();
        let (heads, head) = (self.heads, c / self.heads);
        let device = x.device();
        let qkv = self.qkv.forward(x).reshape([n, area, 3, heads, head]).permute([2, 0, 3, 1, 4]);
        let part = |i: usize| qkv.clone().narrow(0, i, 1).squeeze_dim::<4>(0); // (n, heads, area, head)
        let (q, k, v) = (part(0) * (head as f64).powf(-0.5), part(1), part(2));
        let scores = q.matmul(k.transpose()) + self.position_bias(&device); // (n, heads, area, area)
        let scores = if self.shift > 0 {
            let windows = rows * cols;
            let mask = self.mask(rows, cols, &device).reshape([1, windows, 1, area, area]);
            let scores = scores.reshape([n / windows, windows, heads, area, area]) + mask;
            scores.reshape([n, heads, area, area])
        } else {
            scores
        };
        let x = softmax(scores, 3).matmul(v); // (n, heads, area, head)
        self.proj.forward(x.permute([0, 2, 1, 3]).reshape([n, area, c]))
    }

    /// The learned bias of every pair of places, by their difference.
    ///
    /// # Shapes
    /// → (1, heads, area, area)
    fn position_bias(&self, device: &Device) -> Tensor<4> {
        let window = self.window;
        let area = window * window;
        let places = || (0..area).map(|i| (i / window, i % window));
        let index: Vec<i64> = places()
            .flat_map(|(y, x)| {
                places().map(move |(v, u)| {
                    let (dy, dx) = (y + window - 1 - v, x + window - 1 - u);
                    (dy * (2 * window - 1) + dx) as i64
                })
            })
            .collect();
        let index = Tensor::<1, Int>::from_data(TensorData::new(index, [area * area]), device);
        let bias = self.relative_position_bias_table.val().select(0, index); // (area², heads)
        bias.transpose().reshape([1, self.heads, area, area])
    }

    /// −100 between places of one window that were not neighbours before the roll, else 0.
    ///
    /// # Shapes
    /// → (windows, area, area)
    fn mask(&self, rows: usize, cols: usize, device: &Device) -> Tensor<3> {
        let (window, shift) = (self.window, self.shift);
        let area = window * window;
        let band = |place: usize, size: usize| match place {
            p if p < size - window => 0,
            p if p < size - shift => 1,
            _ => 2,
        };
        let mut values = Vec::with_capacity(rows * cols * area * area);
        for row in 0..rows {
            for col in 0..cols {
                let region = |i: usize| {
                    let (y, x) = (row * window + i / window, col * window + i % window);
                    (band(y, rows * window), band(x, cols * window))
                };
                for i in 0..area {
                    values.extend((0..area).map(|j| if region(i) == region(j) { 0.0 } else { MASKED }));
                }
            }
        }
        Tensor::from_data(TensorData::new(values, [rows * cols, area, area]), device)
    }
}
