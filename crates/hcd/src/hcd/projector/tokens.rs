//! From tokens, for transformer and MLP students.
//!
//! Tokens of the grid are merged, 2x2 neighbours → LayerNorm(4d) → Linear without bias to D_s → GELU, until fewer than 14 are
//! on a side: max(⌊log2(side / 7)⌋, 0) times; an odd side is filled up with zeros. Prefix tokens (the class token) stand aside
//! meanwhile; where the width changes, a Linear brings them to D_s, and the grid's, too, where nothing is merged. Then
//! max(S−i, 1) transformer blocks of width D_s, pre-norm, 4 heads, MLP ratio 4, no bias of queries, keys and values. p_i is the
//! class token where there is one, else the mean of all tokens.

use crate::error::{Error, Result};
use crate::models::layers::{LayerNorm, Linear, TransformerBlock, TransformerShape};
use crate::models::{Init, Pass, neighbours};
use burn::module::Module;
use burn::tensor::Tensor;

const HEADS: usize = 4;
const MLP_RATIO: usize = 4;
/// PyTorch's of a LayerNorm.
const EPSILON: f64 = 1e-5;
/// Tokens on a side that merging ends at.
const SIDE: usize = 7;

/// Tokens of a stage.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenShape {
    pub(super) width: usize,
    pub(super) prefix: usize,
    pub(super) grid: [usize; 2],
}

impl TokenShape {
    /// How often they are merged.
    fn merges(&self) -> usize {
        let side = self.grid[0].min(self.grid[1]);
        (side / SIDE).checked_ilog2().unwrap_or(0) as usize
    }
}

/// 2x2 neighbours made one token.
#[derive(Module, Debug)]
pub struct PatchMerge {
    norm: LayerNorm,
    reduction: Linear,
}

impl PatchMerge {
    fn new(from: usize, to: usize, init: &mut Init) -> Self {
        Self {
            norm: LayerNorm::new(4 * from, EPSILON, init),
            reduction: Linear::without_bias(4 * from, to, init),
        }
    }

    /// # Shapes
    /// `grid` (B, H, W, d) → (B, ⌈H/2⌉, ⌈W/2⌉, D_s)
    fn forward(&self, grid: Tensor<4>) -> Tensor<4> {
        self.reduction.forward_gelu(self.norm.forward(neighbours(grid)))
    }
}

/// Merging, then transformer blocks.
#[derive(Module, Debug)]
pub struct TokenProjector {
    merges: Vec<PatchMerge>,
    /// Brings tokens that nothing merges to D_s.
    widen: Option<Linear>,
    blocks: Vec<TransformerBlock>,
    #[module(skip)]
    from: TokenShape,
    #[module(skip)]
    width: usize,
}

impl TokenProjector {
    /// From tokens of a stage, through so many `blocks`, to `width` = D_s.
    ///
    /// # Errors
    /// [`Error::Recipe`] where `width` is no multiple of the heads.
    pub(super) fn new(from: TokenShape, blocks: usize, width: usize, init: &mut Init) -> Result<Self> {
        if !width.is_multiple_of(HEADS) {
            return Err(Error::Recipe(format!(
                "heads at a student's tokens attend in {HEADS} parts: its last feature is {width} wide, must be a multiple \
                 of {HEADS}"
            )));
        }
        let count = from.merges();
        let merge = |index| PatchMerge::new(if index == 0 { from.width } else { width }, width, init);
        let merges: Vec<PatchMerge> = (0..count).map(merge).collect();
        let widens = from.width != width && (count == 0 || from.prefix > 0);
        let widen = widens.then(|| Linear::new(from.width, width, init));
        let shape = TransformerShape {
            width,
            heads: HEADS,
            mlp_ratio: MLP_RATIO,
            qkv_bias: false,
            epsilon: EPSILON,
            drop_path: 0.0,
            dropout: 0.0,
        };
        let blocks = (0..blocks).map(|_| TransformerBlock::new(shape, init)).collect();
        Ok(Self { merges, widen, blocks, from, width })
    }

    /// D.
    pub fn width(&self) -> usize {
        self.width
    }

    /// # Shapes
    /// `tokens` (B, L, d) → (B, D_s)
    pub fn forward(&self, tokens: Tensor<3>, pass: &mut Pass) -> Tensor<2> {
        let mut x = self.merged(tokens); // (B, L', D_s)
        for block in &self.blocks {
            x = block.forward(x, pass);
        }
        match self.from.prefix {
            0 => x.mean_dim(1).squeeze_dim(1),
            _ => x.narrow(1, 0, 1).squeeze_dim(1),
        }
    }

    /// # Shapes
    /// `tokens` (B, prefix + H·W, d) → (B, prefix + H'·W', D_s)
    fn merged(&self, tokens: Tensor<3>) -> Tensor<3> {
        let widened = |tokens: Tensor<3>| match &self.widen {
            Some(widen) => widen.forward(tokens),
            None => tokens,
        };
        if self.merges.is_empty() {
            return widened(tokens);
        }
        let ([batch, count, width], TokenShape { prefix, grid: [height, columns], .. }) =
            (tokens.dims(), self.from);
        let mut grid =
            tokens.clone().narrow(1, prefix, count - prefix).reshape([batch, height, columns, width]);
        for merge in &self.merges {
            grid = merge.forward(grid);
        }
        let [_, height, columns, width] = grid.dims();
        let grid = grid.reshape([batch, height * columns, width]);
        match prefix {
            0 => grid,
            _ => Tensor::cat(vec![widened(tokens.narrow(1, 0, prefix)), grid], 1),
        }
    }
}
