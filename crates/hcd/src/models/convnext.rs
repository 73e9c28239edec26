//! ConvNeXt: depthwise 7x7 convolution, layer norm and a perceptron over channels, scaled and added.
//!
//! Paper: Liu et al., A ConvNet for the 2020s, <https://arxiv.org/abs/2201.03545>. Names, layout and initial values:
//! timm's `convnext.py`. The classifier reads the pooled map after the head's norm.

use super::config::{Family, in_unit};
use super::layers::{Conv2d, ConvSpec, Init, LayerNorm, Linear, Mlp, Pass};
use super::{Backbone, Block, Features, StageFeature, StageShape, global_average};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

const EPSILON: f64 = 1e-6;

/// A ConvNeXt's shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvNextConfig {
    /// Blocks of each stage.
    pub depths: Vec<usize>,
    /// Channels of each stage.
    pub widths: Vec<usize>,
    /// Side of the stem's patches, in pixels.
    pub patch_size: usize,
    /// Side of the depthwise kernels.
    pub kernel: usize,
    /// What the residual branches are scaled by at the start.
    pub layer_scale: f64,
    /// Stochastic depth of the last block; earlier ones rise to it linearly from 0.
    pub drop_path: f64,
    /// Dropout before the classifier.
    pub dropout: f64,
    /// C_in.
    pub in_channels: usize,
    /// K.
    pub num_classes: usize,
}

impl Family for ConvNextConfig {
    const HEAD: &'static str = "head.fc";

    fn smallest_image(&self) -> usize {
        // The patches, then half at each further stage, nothing padded.
        let halvings = self.depths.len().saturating_sub(1) as u32;
        2usize.saturating_pow(halvings).saturating_mul(self.patch_size)
    }

    fn check(&self) -> Result<(), String> {
        let (depths, widths) = (&self.depths, &self.widths);
        if depths.is_empty() || depths.len() != widths.len() {
            return Err(format!("depths {depths:?} and widths {widths:?} must have one entry a stage"));
        }
        if depths.contains(&0) || widths.contains(&0) || self.patch_size == 0 {
            return Err("depths, widths and patch_size must be at least 1".to_owned());
        }
        if self.kernel.is_multiple_of(2) {
            return Err(format!("kernel = {}, must be odd", self.kernel));
        }
        if !self.layer_scale.is_finite() {
            return Err(format!("layer_scale = {}, must be finite", self.layer_scale));
        }
        in_unit("drop_path", self.drop_path)?;
        in_unit("dropout", self.dropout)
    }
}

#[derive(Module, Debug)]
struct ConvNextBlock {
    gamma: Param<Tensor<1>>,
    conv_dw: Conv2d,
    norm: LayerNorm,
    mlp: Mlp,
    #[module(skip)]
    drop_path: f64,
}

impl ConvNextBlock {
    fn new(width: usize, drop_path: f64, config: &ConvNextConfig, init: &mut Init) -> Self {
        Self {
            gamma: init.constant(config.layer_scale as f32, [width]),
            conv_dw: Conv2d::trunc_normal(ConvSpec::depthwise(width, config.kernel, 1), init),
            norm: LayerNorm::new(width, EPSILON, init),
            mlp: Mlp::new(width, 4 * width, 0.0, init),
            drop_path,
        }
    }

    /// # Shapes
    /// `x` (B, C, H, W) → (B, C, H, W)
    fn forward(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let branch = self.conv_dw.forward(x.clone()).permute([0, 2, 3, 1]); // (B, H, W, C)
        let branch = self.mlp.forward_scaled(self.norm.forward(branch), self.gamma.val(), pass);
        pass.residual(x, branch.permute([0, 3, 1, 2]), self.drop_path)
    }
}

#[derive(Module, Debug)]
struct Stage {
    downsample: Option<(LayerNorm, Conv2d)>,
    blocks: Vec<ConvNextBlock>,
}

#[derive(Module, Debug)]
struct Head {
    norm: LayerNorm,
    fc: Linear,
}

/// ConvNeXt.
#[derive(Module, Debug)]
pub struct ConvNext {
    stem: (Conv2d, LayerNorm),
    stages: Vec<Stage>,
    head: Head,
    #[module(skip)]
    config: ConvNextConfig,
}

impl ConvNext {
    /// The network with timm's initial values: truncated normal (σ = 0.02) weights, zero biases.
    pub fn new(config: &ConvNextConfig, init: &mut Init) -> Self {
        let (depths, widths) = (&config.depths, &config.widths);
        let patch = ConvSpec::patch(config.in_channels, widths[0], config.patch_size);
        let stem = (Conv2d::trunc_normal(patch, init), LayerNorm::new(widths[0], EPSILON, init));
        let last_block = depths.iter().sum::<usize>().max(2) - 1;
        let mut index = 0;
        let mut stages = Vec::with_capacity(depths.len());
        for (stage, &width) in widths.iter().enumerate() {
            let downsample = (stage > 0).then(|| {
                let before = widths[stage - 1];
                let conv = Conv2d::trunc_normal(ConvSpec::patch(before, width, 2), init);
                (LayerNorm::new(before, EPSILON, init), conv)
            });
            let mut blocks = Vec::with_capacity(depths[stage]);
            for _ in 0..depths[stage] {
                let drop_path = config.drop_path * index as f64 / last_block as f64;
                blocks.push(ConvNextBlock::new(width, drop_path, config, init));
                index += 1;
            }
            stages.push(Stage { downsample, blocks });
        }
        let last = widths[widths.len() - 1];
        let head = Head {
            norm: LayerNorm::new(last, EPSILON, init),
            fc: Linear::new(last, config.num_classes, init),
        };
        Self { stem, stages, head, config: config.clone() }
    }
}

impl Backbone for ConvNext {
    fn forward(&self, images: Tensor<4>, pass: &mut Pass) -> Features {
        let mut x = self.stem.1.forward_map(self.stem.0.forward(images)); // (B, C, H/p, W/p)
        let mut stages = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            if let Some((norm, conv)) = &stage.downsample {
                x = conv.forward(norm.forward_map(x)); // (B, 2C, H/2, W/2)
            }
            for block in &stage.blocks {
                x = block.forward(x, pass);
            }
            stages.push(StageFeature::Map(x.clone()));
        }
        let penultimate = self.head.norm.forward(global_average(x)); // (B, C)
        let logits = self.classify(pass.dropout(penultimate.clone(), self.config.dropout)); // (B, K)
        Features { stages, penultimate, logits }
    }

    fn stages(&self) -> Vec<StageShape> {
        self.config.widths.iter().map(|&channels| StageShape::Map { channels }).collect()
    }

    fn penultimate_width(&self) -> usize {
        self.config.widths[self.config.widths.len() - 1]
    }

    fn classify(&self, penultimate: Tensor<2>) -> Tensor<2> {
        self.head.fc.forward(penultimate)
    }

    fn blocks(&self) -> Vec<Block> {
        let stage = |(stage, &depth): (usize, &usize)| {
            (0..depth).map(move |i| {
                let block = format!("stages.{stage}.blocks.{i}.");
                // What makes a stage's map smaller goes with its first block.
                let before = (i == 0).then(|| format!("stages.{stage}.downsample."));
                Block::new(stage + 1, before.into_iter().chain([block]))
            })
        };
        let blocks = self.config.depths.iter().enumerate().flat_map(stage);
        std::iter::once(Block::stem(["stem."])).chain(blocks).collect()
    }
}
