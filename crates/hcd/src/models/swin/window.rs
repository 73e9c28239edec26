//! Window attention: softmax(q kᵀ/√d + relative position bias + mask) v within each window.
//!
//! Liu et al. 2021, section 3.2. A shifted block takes its windows from the grid rolled by half a window; tokens
//! that lie together only by the roll are masked from each other with −100. Roll and partition are a table of
//! which tokens make up which window ([`layout`]), so nothing moves.

use crate::models::layers::{Init, Linear};
use crate::models::tokens::pad_grid;
use crate::ops::{Windows, window_attention};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::sync::Arc;

const MASKED: f32 = -100.0;

/// Attention over windows of `window` x `window` tokens, shifted by half a window or not.
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
    windows: Arc<Windows>,
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
            windows: Arc::new(layout(grid, window, shift)),
        }
    }

    /// # Shapes
    /// `x` (B, H, W, C), H = W = the grid's side → (B, H, W, C)
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, h, w, c] = x.dims();
        let (hp, wp) = (h.next_multiple_of(self.window), w.next_multiple_of(self.window));
        let x = pad_grid(x, hp, wp).reshape([b, hp * wp, c]);
        let bias = self.position_bias(&x.device());
        let x = self.proj.forward(window_attention(self.qkv.forward(x), bias, &self.windows));
        let x = x.reshape([b, hp, wp, c]);
        if (hp, wp) == (h, w) { x } else { x.slice([0..b, 0..h, 0..w, 0..c]) }
    }

    /// The learned bias of every pair of places, by their difference.
    ///
    /// # Shapes
    /// → (heads, area, area)
    fn position_bias(&self, device: &Device) -> Tensor<3> {
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
        bias.transpose().reshape([self.heads, area, area])
    }
}

/// The windows of a `grid` x `grid` square of tokens rolled up and left by `shift`, and then filled up to whole
/// windows at the right and below; tokens are counted in the square that was filled up without the roll. With a
/// shift, places of one window that were not neighbours before the roll are masked from each other.
fn layout(grid: usize, window: usize, shift: usize) -> Windows {
    let side = grid.next_multiple_of(window);
    let (across, area) = (side / window, window * window);
    // Places in the rolled square, (row, column), window after window.
    let places: Vec<(usize, usize)> = (0..across * across)
        .flat_map(|w| {
            let (top, left) = (w / across * window, w % across * window);
            (0..area).map(move |i| (top + i / window, left + i % window))
        })
        .collect();
    let token = |&(y, x): &(usize, usize)| match y < grid && x < grid {
        true => (y + shift) % grid * side + (x + shift) % grid,
        false => y * side + x,
    };
    let table = places.iter().map(token).collect();
    let band = |place: usize| match place {
        p if p < side - window => 0,
        p if p < side - shift => 1,
        _ => 2,
    };
    let regions: Vec<(i32, i32)> = places.iter().map(|&(y, x)| (band(y), band(x))).collect();
    let mask = || {
        let pairs = regions.chunks(area).flat_map(|window| {
            window.iter().flat_map(move |i| window.iter().map(move |j| if i == j { 0.0 } else { MASKED }))
        });
        pairs.collect()
    };
    Windows::new(area, table, (shift > 0).then(mask))
}
