//! MLP-Mixer: perceptrons in turn over the tokens of a channel and over the channels of a token.
//!
//! Paper: Tolstikhin et al., MLP-Mixer: An all-MLP Architecture for Vision, <https://arxiv.org/abs/2105.01601>.
//! Names, layout and initial values: timm's `mlp_mixer.py`. The classifier reads the tokens' mean after the last
//! norm. The token-mixing layers hold one weight for each pair of places, so the image size is part of the network.

use super::config::Family;
use super::layers::{Conv2d, ConvSpec, Init, LayerNorm, Linear, Mlp, Pass};
use super::tokens::TokenStack;
use super::{Backbone, Block, Features, StageShape, patch_tokens};
use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

const EPSILON: f64 = 1e-6;

/// An MLP-Mixer's shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixerConfig {
    /// Side of the images, in pixels.
    pub image_size: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// D, width of a token.
    pub width: usize,
    /// Blocks.
    pub depth: usize,
    /// Hidden width of the token-mixing perceptron.
    pub token_hidden: usize,
    /// Hidden width of the channel-mixing perceptron.
    pub channel_hidden: usize,
    /// Blocks after which a stage ends, from 0; empty for 1/6, 1/3, 5/6 and all of the depth.
    pub taps: Vec<usize>,
    /// Stochastic depth of every block.
    pub drop_path: f64,
    /// Dropout before the classifier.
    pub dropout: f64,
    /// Dropout in the perceptrons.
    pub token_dropout: f64,
    /// C_in.
    pub in_channels: usize,
    /// K.
    pub num_classes: usize,
}

impl MixerConfig {
    fn stack(&self) -> TokenStack<'_> {
        let Self { image_size, patch_size, width, depth, ref taps, .. } = *self;
        TokenStack { image_size, patch_size, width, depth, prefix: 0, taps }
    }
}

impl Family for MixerConfig {
    const HEAD: &'static str = "head";

    fn image_size(&self) -> Option<usize> {
        Some(self.image_size)
    }

    fn check(&self) -> Result<(), String> {
        if [self.depth, self.width, self.token_hidden, self.channel_hidden].contains(&0) {
            return Err("depth, width, token_hidden and channel_hidden must be at least 1".to_owned());
        }
        self.stack().check([
            ("drop_path", self.drop_path),
            ("dropout", self.dropout),
            ("token_dropout", self.token_dropout),
        ])
    }
}

#[derive(Module, Debug)]
struct Stem {
    proj: Conv2d,
}

#[derive(Module, Debug)]
struct MixerBlock {
    norm1: LayerNorm,
    mlp_tokens: Mlp,
    norm2: LayerNorm,
    mlp_channels: Mlp,
    #[module(skip)]
    drop_path: f64,
}

impl MixerBlock {
    /// # Shapes
    /// `x` (B, L, D) → (B, L, D)
    fn forward(&self, x: Tensor<3>, pass: &mut Pass) -> Tensor<3> {
        let mixed = self.mlp_tokens.mix(self.norm1.forward(x.clone()), pass); // (B, L, D)
        let x = pass.residual(x, mixed, self.drop_path);
        let mixed = self.mlp_channels.forward(self.norm2.forward(x.clone()), pass);
        pass.residual(x, mixed, self.drop_path)
    }
}

/// MLP-Mixer.
#[derive(Module, Debug)]
pub struct Mixer {
    stem: Stem,
    blocks: Vec<MixerBlock>,
    norm: LayerNorm,
    head: Linear,
    #[module(skip)]
    config: MixerConfig,
}

impl Mixer {
    /// The network with timm's initial values: LeCun normal stem, Xavier uniform perceptrons, a head of zeros.
    pub fn new(config: &MixerConfig, init: &mut Init) -> Self {
        let (width, tokens) = (config.width, config.stack().grid().pow(2));
        let patch = ConvSpec::patch(config.in_channels, width, config.patch_size);
        let stem = Stem { proj: Conv2d::lecun(patch, init) };
        let dropout = config.token_dropout;
        let blocks = (0..config.depth).map(|_| MixerBlock {
            norm1: LayerNorm::new(width, EPSILON, init),
            mlp_tokens: Mlp::xavier(tokens, config.token_hidden, dropout, init),
            norm2: LayerNorm::new(width, EPSILON, init),
            mlp_channels: Mlp::xavier(width, config.channel_hidden, dropout, init),
            drop_path: config.drop_path,
        });
        Self {
            stem,
            blocks: blocks.collect(),
            norm: LayerNorm::new(width, EPSILON, init),
            head: Linear::zeros(width, config.num_classes, init),
            config: config.clone(),
        }
    }
}

impl Backbone for Mixer {
    fn forward(&self, images: Tensor<4>, pass: &mut Pass) -> Features {
        let x = patch_tokens(self.stem.proj.forward(images)); // (B, L, D)
        let (x, stages) = self.config.stack().run(&self.blocks, x, |block, x| block.forward(x, pass));
        let penultimate = self.norm.forward(x).mean_dim(1).squeeze_dim(1); // (B, D)
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
        self.config.stack().blocks(["stem."])
    }
}
