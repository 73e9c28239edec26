//! What networks of equal blocks over the patches of a square image share: ViT, MLP-Mixer and ResMLP.

use super::blocks::{Block, check_taps, default_taps, stacked};
use super::config::{check_patches, in_unit};
use super::{StageFeature, StageShape};
use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;

/// A stack of `depth` blocks over tokens of `width` numbers, `prefix` of them before the patches.
pub(super) struct TokenStack<'a> {
    pub(super) image_size: usize,
    pub(super) patch_size: usize,
    pub(super) width: usize,
    pub(super) depth: usize,
    pub(super) prefix: usize,
    /// Blocks after which a stage ends; empty for the default ones.
    pub(super) taps: &'a [usize],
}

impl TokenStack<'_> {
    /// Patches on a side.
    pub(super) fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }

    fn taps(&self) -> Vec<usize> {
        if self.taps.is_empty() { default_taps(self.depth) } else { self.taps.to_vec() }
    }

    /// What makes the stack or one of its rates (key, value) impossible, if anything.
    pub(super) fn check(&self, rates: [(&str, f64); 3]) -> Result<(), String> {
        check_patches(self.image_size, self.patch_size)?;
        check_taps(self.taps, self.depth)?;
        rates.into_iter().try_for_each(|(key, rate)| in_unit(key, rate))
    }

    /// The shape of every stage.
    pub(super) fn stages(&self) -> Vec<StageShape> {
        let shape = StageShape::Tokens { width: self.width, prefix: self.prefix, grid: [self.grid(); 2] };
        vec![shape; self.taps().len()]
    }

    /// The blocks behind a stem.
    pub(super) fn blocks<const N: usize>(&self, stem: [&str; N]) -> Vec<Block> {
        stacked(stem, self.depth, &self.taps())
    }

    /// Runs the blocks in turn; gives the last one's output and the stages'.
    ///
    /// # Shapes
    /// `x` (B, L, D) → (B, L, D)
    pub(super) fn run<T>(
        &self,
        blocks: &[T],
        mut x: Tensor<3>,
        mut forward: impl FnMut(&T, Tensor<3>) -> Tensor<3>,
    ) -> (Tensor<3>, Vec<StageFeature>) {
        let (taps, grid) = (self.taps(), [self.grid(); 2]);
        let mut stages = Vec::with_capacity(taps.len());
        for (index, block) in blocks.iter().enumerate() {
            x = forward(block, x);
            if taps.contains(&index) {
                stages.push(StageFeature::Tokens { tokens: x.clone(), prefix: self.prefix, grid });
            }
        }
        (x, stages)
    }
}

/// Zeros below and to the right.
///
/// # Shapes
/// `x` (B, H, W, C) → (B, height, width, C)
pub(super) fn pad_grid(x: Tensor<4>, height: usize, width: usize) -> Tensor<4> {
    let [_, h, w, _] = x.dims();
    if (h, w) == (height, width) {
        return x;
    }
    x.pad([(0, 0), (0, height - h), (0, width - w), (0, 0)], PadMode::Constant(0.0))
}

/// 2x2 neighbours side by side, as Swin merges them; an odd side is filled up with zeros.
///
/// # Shapes
/// `grid` (B, H, W, C) → (B, ⌈H/2⌉, ⌈W/2⌉, 4C)
pub(crate) fn neighbours(grid: Tensor<4>) -> Tensor<4> {
    let [_, height, width, _] = grid.dims();
    let grid = pad_grid(grid, height.next_multiple_of(2), width.next_multiple_of(2));
    let [batch, height, width, channels] = grid.dims();
    let (rows, columns) = (height / 2, width / 2);
    let parted = grid.reshape([batch, rows, 2, columns, 2, channels]).permute([0, 1, 3, 4, 2, 5]);
    parted.reshape([batch, rows, columns, 4 * channels])
}
