//! Vision transformer: patches as tokens behind a class token, pre-norm attention and MLP blocks.
//!
//! Papers: Dosovitskiy et al., An Image is Worth 16x16 Words, <https://arxiv.org/abs/2010.11929>; Touvron et al.,
//! Training data-efficient image transformers (DeiT), <https://arxiv.org/abs/2012.12877>. Names, layout and initial
//! values: timm's `vision_transformer.py`. The classifier reads the class token after the last norm.

use super::config::{Family, check_heads};
use super::layers::{Conv2d, ConvSpec, Init, LayerNorm, Linear, Pass, TransformerBlock, TransformerShape};
use super::tokens::TokenStack;
use super::{Backbone, Block, Features, StageShape, patch_tokens};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

const EPSILON: f64 = 1e-6;

/// A vision transformer's shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitConfig {
    /// Side of the images, in pixels.
    pub image_size: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// D, width of a token.
    pub width: usize,
    /// Blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the MLP over D.
    pub mlp_ratio: usize,
    /// Blocks after which a stage ends, from 0; empty for 1/6, 1/3, 5/6 and all of the depth.
    pub taps: Vec<usize>,
    /// Stochastic depth of the last block; earlier ones rise to it linearly from 0.
    pub drop_path: f64,
    /// Dropout before the classifier.
    pub dropout: f64,
    /// Dropout of the embedding, and after attention's projection and the MLP's layers.
    pub token_dropout: f64,
    /// C_in.
    pub in_channels: usize,
    /// K.
    pub num_classes: usize,
}

impl VitConfig {
    fn stack(&self) -> TokenStack<'_> {
        let Self { image_size, patch_size, width, depth, ref taps, .. } = *self;
        TokenStack { image_size, patch_size, width, depth, prefix: 1, taps }
    }
}

impl Family for VitConfig {
    const HEAD: &'static str = "head";

    fn image_size(&self) -> Option<usize> {
        Some(self.image_size)
    }

    fn check(&self) -> Result<(), String> {
        if self.depth == 0 || self.mlp_ratio == 0 {
            return Err("depth and mlp_ratio must be at least 1".to_owned());
        }
        self.stack().check([
            ("drop_path", self.drop_path),
            ("dropout", self.dropout),
            ("token_dropout", self.token_dropout),
        ])?;
        check_heads(self.width, self.heads)
    }
}

#[derive(Module, Debug)]
struct PatchEmbed {
    proj: Conv2d,
}

/// Vision transformer.
#[derive(Module, Debug)]
pub struct Vit {
    cls_token: Param<Tensor<3>>,
    pos_embed: Param<Tensor<3>>,
    patch_embed: PatchEmbed,
    blocks: Vec<TransformerBlock>,
    norm: LayerNorm,
    head: Linear,
    #[module(skip)]
    config: VitConfig,
}

impl Vit {
    /// The network with timm's initial values: truncated normal (σ = 0.02) linears and position embeddings.
    pub fn new(config: &VitConfig, init: &mut Init) -> Self {
        let width = config.width;
        let patch = ConvSpec::patch(config.in_channels, width, config.patch_size);
        let shape = |drop_path| TransformerShape {
            width,
            heads: config.heads,
            mlp_ratio: config.mlp_ratio,
            qkv_bias: true,
            epsilon: EPSILON,
            drop_path,
            dropout: config.token_dropout,
        };
        let rate = |index: usize| config.drop_path * index as f64 / (config.depth.max(2) - 1) as f64;
        Self {
            cls_token: init.normal([1, 1, width], 1e-6),
            pos_embed: init.trunc_normal([1, 1 + config.stack().grid().pow(2), width], 0.02),
            patch_embed: PatchEmbed { proj: Conv2d::torch_default(patch, init) },
            blocks: (0..config.depth).map(|index| TransformerBlock::new(shape(rate(index)), init)).collect(),
            norm: LayerNorm::new(width, EPSILON, init),
            head: Linear::new(width, config.num_classes, init),
            config: config.clone(),
        }
    }
}

impl Backbone for Vit {
    fn forward(&self, images: Tensor<4>, pass: &mut Pass) -> Features {
        let patches = patch_tokens(self.patch_embed.proj.forward(images)); // (B, grid², D)
        let [batch, _, width] = patches.dims();
        let class = self.cls_token.val().expand([batch, 1, width]);
        let x = Tensor::cat(vec![class, patches], 1) + self.pos_embed.val(); // (B, 1 + grid², D)
        let x = pass.dropout(x, self.config.token_dropout);
        let (x, stages) = self.config.stack().run(&self.blocks, x, |block, x| block.forward(x, pass));
        // Each token is normalised alone: the class token is all that is read.
        let penultimate = self.norm.forward(x.narrow(1, 0, 1)).squeeze_dim(1); // (B, D)
        let logits = self.classify(pass.dropout(penultimate.clone(), self.config.dropout)); // (B, K)
        Features { stages, penultimate, logits }
    }

    fn stages(&self) -> Vec<StageShape> {
        self.config.stack().stages()
    }

    fn penultimate_width(&self) -> usize {
        self.config.width
    }

    fn classify(&self, penultimate: Tensor<2>) -> Tensor<2> {
        self.head.forward(penultimate)
    }

    fn blocks(&self) -> Vec<Block> {
        self.config.stack().blocks(["cls_token", "pos_embed", "patch_embed."])
    }
}
