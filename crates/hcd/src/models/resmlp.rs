//! ResMLP: one linear layer over tokens, one perceptron over channels, affine layers in place of norms.
//!
//! Paper: Touvron et al., ResMLP: Feedforward networks for image classification with data-efficient training,
//! <https://arxiv.org/abs/2105.03404>. Names, layout and initial values: timm's `mlp_mixer.py` (`resmlp_12_224`).
//! The classifier reads the tokens' mean after the last affine layer.

use super::config::Family;
use super::layers::{Conv2d, ConvSpec, Init, Linear, Mlp, Pass};
use super::tokens::TokenStack;
use super::{Backbone, Block, Features, StageShape, patch_tokens};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// A ResMLP's shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResMlpConfig {
    /// Side of the images, in pixels.
    pub image_size: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// D, width of a token.
    pub width: usize,
    /// Blocks.
    pub depth: usize,
    /// Hidden width of the channel perceptron over D.
    pub mlp_ratio: usize,
    /// What the residual branches are scaled by at the start.
    pub layer_scale: f64,
    /// Blocks after which a stage ends, from 0; empty for 1/6, 1/3, 5/6 and all of the depth.
    pub taps: Vec<usize>,
    /// Stochastic depth of every block.
    pub drop_path: f64,
    /// Dropout before the classifier.
    pub dropout: f64,
    /// Dropout in the channel perceptron.
    pub token_dropout: f64,
    /// C_in.
    pub in_channels: usize,
    /// K.
    pub num_classes: usize,
}

impl ResMlpConfig {
    fn stack(&self) -> TokenStack<'_> {
        let Self { image_size, patch_size, width, depth, ref taps, .. } = *self;
        TokenStack { image_size, patch_size, width, depth, prefix: 0, taps }
    }
}

impl Family for ResMlpConfig {
    const HEAD: &'static str = "head";

    fn image_size(&self) -> Option<usize> {
        Some(self.image_size)
    }

    fn check(&self) -> Result<(), String> {
        if [self.depth, self.width, self.mlp_ratio].contains(&0) {
            return Err("depth, width and mlp_ratio must be at least 1".to_owned());
        }
        if !self.layer_scale.is_finite() {
            return Err(format!("layer_scale = {}, must be finite", self.layer_scale));
        }
        self.stack().check([
            ("drop_path", self.drop_path),
            ("dropout", self.dropout),
            ("token_dropout", self.token_dropout),
        ])
    }
}

/// x ∘ α + β, each one number a channel.
#[derive(Module, Debug)]
struct Affine {
    alpha: Param<Tensor<3>>,
    beta: Param<Tensor<3>>,
}

impl Affine {
    fn new(width: usize, init: &Init) -> Self {
        Self { alpha: init.constant(1.0, [1, 1, width]), beta: init.constant(0.0, [1, 1, width]) }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        x * self.alpha.val() + self.beta.val()
    }
}

#[derive(Module, Debug)]
struct Stem {
    proj: Conv2d,
}

#[derive(Module, Debug)]
struct ResMlpBlock {
    ls1: Param<Tensor<1>>,
    ls2: Param<Tensor<1>>,
    norm1: Affine,
    linear_tokens: Linear,
    norm2: Affine,
    mlp_channels: Mlp,
    #[module(skip)]
    drop_path: f64,
}

impl ResMlpBlock {
    fn new(config: &ResMlpConfig, init: &mut Init) -> Self {
        let (width, tokens) = (config.width, config.stack().grid().pow(2));
        let scale = config.layer_scale as f32;
        let mixing = init.xavier_uniform([tokens, tokens]);
        Self {
            ls1: init.constant(scale, [width]),
            ls2: init.constant(scale, [width]),
            norm1: Affine::new(width, init),
            linear_tokens: Linear::from_parts(mixing, Some(init.constant(0.0, [tokens]))),
            norm2: Affine::new(width, init),
            mlp_channels: Mlp::xavier(width, config.mlp_ratio * width, config.token_dropout, init),
            drop_path: config.drop_path,
        }
    }

    /// # Shapes
    /// `x` (B, L, D) → (B, L, D)
    fn forward(&self, x: Tensor<3>, pass: &mut Pass) -> Tensor<3> {
        let mixed = self.linear_tokens.mix(self.norm1.forward(x.clone()), false); // (B, L, D)
        let x = pass.residual(x, mixed * self.ls1.val().unsqueeze::<3>(), self.drop_path);
        let mixed = self.mlp_channels.forward_scaled(self.norm2.forward(x.clone()), self.ls2.val(), pass);
        pass.residual(x, mixed, self.drop_path)
    }
}

/// ResMLP.
#[derive(Module, Debug)]
pub struct ResMlp {
    stem: Stem,
    blocks: Vec<ResMlpBlock>,
    norm: Affine,
    head: Linear,
    #[module(skip)]
    config: ResMlpConfig,
}

impl ResMlp {
    /// The network with timm's initial values: LeCun normal stem, Xavier uniform layers, a head of zeros.
    pub fn new(config: &ResMlpConfig, init: &mut Init) -> Self {
        let patch = ConvSpec::patch(config.in_channels, config.width, config.patch_size);
        Self {
            stem: Stem { proj: Conv2d::lecun(patch, init) },
            blocks: (0..config.depth).map(|_| ResMlpBlock::new(config, init)).collect(),
            norm: Affine::new(config.width, init),
            head: Linear::zeros(config.width, config.num_classes, init),
            config: config.clone(),
        }
    }
}

impl Backbone for ResMlp {
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
