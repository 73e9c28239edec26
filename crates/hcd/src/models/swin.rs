//! Swin transformer: attention within windows that shift from block to block, patches merged between stages.
//!
//! Paper: Liu et al., Swin Transformer: Hierarchical Vision Transformer using Shifted Windows,
//! <https://arxiv.org/abs/2103.14030>. Names, padding and the window that shrinks to a smaller grid follow
//! timm's `swin_transformer.py`. Activations are channels-last: (B, H, W, C).

mod window;

use super::config::{Family, check_heads, check_patches, in_unit};
use super::layers::{Conv2d, ConvSpec, Init, LayerNorm, Linear, Mlp, Pass};
use super::tokens::neighbours;
use super::{Backbone, Block, Features, StageFeature, StageShape};
use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use window::WindowAttention;

const EPSILON: f64 = 1e-5;

/// A Swin transformer's shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwinConfig {
    /// Side of the images, in pixels.
    pub image_size: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// Side of a window, in tokens.
    pub window: usize,
    /// Width of the first stage; it doubles from stage to stage.
    pub width: usize,
    /// Blocks of each stage.
    pub depths: Vec<usize>,
    /// Attention heads of each stage.
    pub heads: Vec<usize>,
    /// Stochastic depth of the last block; earlier ones rise to it linearly from 0.
    pub drop_path: f64,
    /// Dropout before the classifier.
    #[serde(default)]
    pub dropout: f64,
    /// Dropout after attention's projection and the MLP's layers.
    #[serde(default)]
    pub token_dropout: f64,
    /// C_in.
    pub in_channels: usize,
    /// K.
    pub num_classes: usize,
}

impl SwinConfig {
    /// Height and width of the token grid of each stage.
    fn grids(&self) -> Vec<usize> {
        let first = self.image_size / self.patch_size;
        std::iter::successors(Some(first), |side| Some(side.div_ceil(2))).take(self.depths.len()).collect()
    }

    fn width_of(&self, stage: usize) -> usize {
        self.width << stage
    }
}

impl Family for SwinConfig {
    const HEAD: &'static str = "head.fc";

    fn image_size(&self) -> Option<usize> {
        Some(self.image_size)
    }

    fn check(&self) -> Result<(), String> {
        let (depths, heads) = (&self.depths, &self.heads);
        if depths.is_empty() || depths.len() != heads.len() {
            return Err(format!("depths {depths:?} and heads {heads:?} must have one entry a stage"));
        }
        if self.window == 0 || depths.contains(&0) {
            return Err("window and depths must be at least 1".to_owned());
        }
        check_patches(self.image_size, self.patch_size)?;
        if self.depths.len() > 16 || self.width > 1 << 16 {
            return Err(format!("depths {depths:?} and width = {} are beyond any use", self.width));
        }
        for (stage, &heads) in heads.iter().enumerate() {
            check_heads(self.width_of(stage), heads)
                .map_err(|what| format!("stage {}: {what}", stage + 1))?;
        }
        in_unit("drop_path", self.drop_path)?;
        in_unit("dropout", self.dropout)?;
        in_unit("token_dropout", self.token_dropout)
    }
}

#[derive(Module, Debug)]
struct PatchEmbed {
    proj: Conv2d,
    norm: LayerNorm,
}

/// 2x2 neighbours → LayerNorm(4C) → Linear(4C → 2C).
#[derive(Module, Debug)]
struct PatchMerging {
    norm: LayerNorm,
    reduction: Linear,
}

impl PatchMerging {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.reduction.forward(self.norm.forward(neighbours(x))) // (B, H/2, W/2, 2C)
    }
}

#[derive(Module, Debug)]
struct SwinBlock {
    norm1: LayerNorm,
    attn: WindowAttention,
    norm2: LayerNorm,
    mlp: Mlp,
    #[module(skip)]
    drop_path: f64,
    #[module(skip)]
    dropout: f64,
}

impl SwinBlock {
    /// # Shapes
    /// `x` (B, H, W, C) → (B, H, W, C)
    fn forward(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let attended = pass.dropout(self.attn.forward(self.norm1.forward(x.clone())), self.dropout);
        let x = pass.residual(x, attended, self.drop_path);
        let hidden = self.mlp.forward(self.norm2.forward(x.clone()), pass);
        pass.residual(x, hidden, self.drop_path)
    }
}

#[derive(Module, Debug)]
struct Stage {
    downsample: Option<PatchMerging>,
    blocks: Vec<SwinBlock>,
}

#[derive(Module, Debug)]
struct Head {
    fc: Linear,
}

/// Shifted-window transformer.
#[derive(Module, Debug)]
pub struct Swin {
    patch_embed: PatchEmbed,
    layers: Vec<Stage>,
    norm: LayerNorm,
    head: Head,
    #[module(skip)]
    config: SwinConfig,
}

impl Swin {
    /// The network with timm's initial values: truncated normal (σ = 0.02) linears and position tables.
    pub fn new(config: &SwinConfig, init: &mut Init) -> Self {
        let patch = ConvSpec::patch(config.in_channels, config.width, config.patch_size);
        let patch_embed = PatchEmbed {
            proj: Conv2d::torch_default(patch, init),
            norm: LayerNorm::new(config.width, EPSILON, init),
        };
        let total: usize = config.depths.iter().sum();
        let mut index = 0;
        let layers = config
            .grids()
            .into_iter()
            .enumerate()
            .map(|(stage, grid)| {
                let width = config.width_of(stage);
                let downsample = (stage > 0).then(|| PatchMerging {
                    norm: LayerNorm::new(2 * width, EPSILON, init),
                    reduction: Linear::without_bias(2 * width, width, init),
                });
                let blocks = (0..config.depths[stage])
                    .map(|block| {
                        let drop_path = config.drop_path * index as f64 / (total.max(2) - 1) as f64;
                        index += 1;
                        SwinBlock {
                            norm1: LayerNorm::new(width, EPSILON, init),
                            attn: WindowAttention::new(
                                width,
                                config.heads[stage],
                                config.window,
                                grid,
                                block % 2 == 1,
                                init,
                            ),
                            norm2: LayerNorm::new(width, EPSILON, init),
                            mlp: Mlp::new(width, 4 * width, config.token_dropout, init),
                            drop_path,
                            dropout: config.token_dropout,
                        }
                    })
                    .collect();
                Stage { downsample, blocks }
            })
            .collect();
        let last = config.width_of(config.depths.len() - 1);
        Self {
            patch_embed,
            layers,
            norm: LayerNorm::new(last, EPSILON, init),
            head: Head { fc: Linear::new(last, config.num_classes, init) },
            config: config.clone(),
        }
    }
}

impl Backbone for Swin {
    fn forward(&self, images: Tensor<4>, pass: &mut Pass) -> Features {
        let patches = self.patch_embed.proj.forward(images).permute([0, 2, 3, 1]); // (B, H, W, C)
        let mut x = self.patch_embed.norm.forward(patches);
        let mut stages = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            if let Some(merge) = &layer.downsample {
                x = merge.forward(x);
            }
            for block in &layer.blocks {
                x = block.forward(x, pass);
            }
            let [b, h, w, c] = x.dims();
            stages.push(StageFeature::Tokens {
                tokens: x.clone().reshape([b, h * w, c]),
                prefix: 0,
                grid: [h, w],
            });
        }
        let [b, h, w, c] = x.dims();
        let tokens = self.norm.forward(x).reshape([b, h * w, c]);
        let penultimate = tokens.mean_dim(1).squeeze_dim(1); // (B, C)
        let logits = self.classify(pass.dropout(penultimate.clone(), self.config.dropout)); // (B, K)
        Features { stages, penultimate, logits }
    }

    fn stages(&self) -> Vec<StageShape> {
        let shape = |(stage, side)| StageShape::Tokens {
            width: self.config.width_of(stage),
            prefix: 0,
            grid: [side; 2],
        };
        self.config.grids().into_iter().enumerate().map(shape).collect()
    }

    fn penultimate_width(&self) -> usize {
        self.config.width_of(self.config.depths.len() - 1)
    }

    fn classify(&self, penultimate: Tensor<2>) -> Tensor<2> {
        self.head.fc.forward(penultimate)
    }

    fn blocks(&self) -> Vec<Block> {
        let stage = |(stage, &depth): (usize, &usize)| {
            (0..depth).map(move |i| {
                let block = format!("layers.{stage}.blocks.{i}.");
                // What merges patches goes with the first block behind it.
                let before = (i == 0).then(|| format!("layers.{stage}.downsample."));
                Block::new(stage + 1, before.into_iter().chain([block]))
            })
        };
        let blocks = self.config.depths.iter().enumerate().flat_map(stage);
        std::iter::once(Block::stem(["patch_embed."])).chain(blocks).collect()
    }
}
