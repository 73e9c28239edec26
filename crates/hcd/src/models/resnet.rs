//! ResNet, version 1: y = relu(x' + F(x)), F two 3x3 convolutions (basic) or 1x1, 3x3, 1x1 (bottleneck).
//!
//! Paper: He et al., Deep Residual Learning for Image Recognition, <https://arxiv.org/abs/1512.03385>.
//! Names and layout: timm `resnet18`, `resnet34`, `resnet50` (stride in the bottleneck's 3x3 convolution). The
//! small-image stem is the 3x3 stride-1 convolution without pooling that is used on CIFAR.

use super::config::{Family, in_unit};
use super::layers::{BatchNorm2d, Conv2d, ConvSpec, Init, Linear, Pass};
use super::{Backbone, Block, Features, StageFeature, StageShape, global_average};
use crate::ops::max_pool2d;
use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// How images enter the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    /// 7x7 stride 2, then 3x3 max-pooling stride 2.
    Imagenet,
    /// 3x3 stride 1, for images of about 32x32.
    Small,
}

/// What a residual branch is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockKind {
    /// Two 3x3 convolutions.
    #[default]
    Basic,
    /// 1x1, 3x3 and 1x1 to four times the width.
    Bottleneck,
}

impl BlockKind {
    fn expansion(self) -> usize {
        match self {
            BlockKind::Basic => 1,
            BlockKind::Bottleneck => 4,
        }
    }
}

/// A residual network's shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetConfig {
    /// Blocks in each of the four stages.
    pub depths: [usize; 4],
    /// Inner channels of each stage; a bottleneck gives four times as many.
    pub widths: [usize; 4],
    /// How images enter.
    pub stem: Stem,
    /// What a residual branch is.
    #[serde(default)]
    pub block: BlockKind,
    /// Whether the last normalisation of a branch starts at weight 0, so that a block starts as the identity.
    #[serde(default)]
    pub zero_init_last: bool,
    /// Stochastic depth of the last block; earlier ones rise to it linearly from 0.
    #[serde(default)]
    pub drop_path: f64,
    /// Dropout before the classifier.
    #[serde(default)]
    pub dropout: f64,
    /// C_in.
    pub in_channels: usize,
    /// K.
    pub num_classes: usize,
}

impl Family for ResNetConfig {
    const HEAD: &'static str = "fc";

    fn check(&self) -> Result<(), String> {
        if self.depths.contains(&0) || self.widths.contains(&0) {
            return Err("depths and widths must be at least 1".to_owned());
        }
        in_unit("drop_path", self.drop_path)?;
        in_unit("dropout", self.dropout)
    }
}

#[derive(Module, Debug)]
struct BasicBlock {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    downsample: Option<(Conv2d, BatchNorm2d)>,
    #[module(skip)]
    drop_path: f64,
}

#[derive(Module, Debug)]
struct Bottleneck {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    conv3: Conv2d,
    bn3: BatchNorm2d,
    downsample: Option<(Conv2d, BatchNorm2d)>,
    #[module(skip)]
    drop_path: f64,
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Residual {
    Basic(BasicBlock),
    Bottleneck(Bottleneck),
}

/// Where a block stands: channels in and inside, stride, and its rate of stochastic depth.
struct Place {
    input: usize,
    width: usize,
    stride: usize,
    drop_path: f64,
}

impl Residual {
    fn new(place: &Place, config: &ResNetConfig, init: &mut Init) -> Self {
        let &Place { input, width, stride, drop_path } = place;
        let output = width * config.block.expansion();
        let mut conv = |input, output, kernel, stride| {
            Conv2d::kaiming(ConvSpec::new(input, output, kernel, stride), init)
        };
        let last = |channels, init: &Init| match config.zero_init_last {
            true => BatchNorm2d::zeroed(channels, init),
            false => BatchNorm2d::new(channels, init),
        };
        // Drawn first, as ever: the order of draws is part of what a seed means.
        let shortcut = (stride != 1 || input != output).then(|| conv(input, output, 1, stride));
        match config.block {
            BlockKind::Basic => {
                let (conv1, conv2) = (conv(input, width, 3, stride), conv(width, width, 3, 1));
                Residual::Basic(BasicBlock {
                    conv1,
                    bn1: BatchNorm2d::new(width, init),
                    conv2,
                    bn2: last(width, init),
                    downsample: shortcut.map(|conv| (conv, BatchNorm2d::new(output, init))),
                    drop_path,
                })
            }
            BlockKind::Bottleneck => {
                let (conv1, conv2) = (conv(input, width, 1, 1), conv(width, width, 3, stride));
                let conv3 = conv(width, output, 1, 1);
                Residual::Bottleneck(Bottleneck {
                    conv1,
                    bn1: BatchNorm2d::new(width, init),
                    conv2,
                    bn2: BatchNorm2d::new(width, init),
                    conv3,
                    bn3: last(output, init),
                    downsample: shortcut.map(|conv| (conv, BatchNorm2d::new(output, init))),
                    drop_path,
                })
            }
        }
    }

    /// # Shapes
    /// `x` (B, c_in, H, W) → (B, c_out, ⌈H/s⌉, ⌈W/s⌉)
    fn forward(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let (downsample, drop_path) = match self {
            Residual::Basic(block) => (&block.downsample, block.drop_path),
            Residual::Bottleneck(block) => (&block.downsample, block.drop_path),
        };
        let shortcut = match downsample {
            Some((conv, bn)) => bn.forward(conv.forward(x.clone()), pass),
            None => x.clone(),
        };
        let (last, branch) = match self {
            Residual::Basic(block) => {
                let branch = block.bn1.forward_relu(block.conv1.forward(x), pass); // (B, C, H/s, W/s)
                (&block.bn2, block.conv2.forward(branch))
            }
            Residual::Bottleneck(block) => {
                let branch = block.bn1.forward_relu(block.conv1.forward(x), pass); // (B, C, H, W)
                let branch = block.bn2.forward_relu(block.conv2.forward(branch), pass); // (B, C, H/s, W/s)
                (&block.bn3, block.conv3.forward(branch)) // (B, 4C, H/s, W/s)
            }
        };
        last.forward_add_relu(branch, shortcut, drop_path, pass)
    }
}

/// Residual network.
#[derive(Module, Debug)]
pub struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    layer1: Vec<Residual>,
    layer2: Vec<Residual>,
    layer3: Vec<Residual>,
    layer4: Vec<Residual>,
    fc: Linear,
    #[module(skip)]
    config: ResNetConfig,
}

impl ResNet {
    /// The network with timm's initial values: Kaiming normal convolutions, PyTorch's default for the classifier.
    pub fn new(config: &ResNetConfig, init: &mut Init) -> Self {
        let stem = match config.stem {
            Stem::Imagenet => ConvSpec::new(config.in_channels, config.widths[0], 7, 2),
            Stem::Small => ConvSpec::new(config.in_channels, config.widths[0], 3, 1),
        };
        let conv1 = Conv2d::kaiming(stem, init);
        let last = config.depths.iter().sum::<usize>().max(2) - 1;
        let (mut input, mut index) = (config.widths[0], 0);
        let [layer1, layer2, layer3, layer4] = [0, 1, 2, 3].map(|stage| {
            let width = config.widths[stage];
            let mut blocks = Vec::with_capacity(config.depths[stage]);
            for block in 0..config.depths[stage] {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let drop_path = config.drop_path * index as f64 / last as f64;
                blocks.push(Residual::new(&Place { input, width, stride, drop_path }, config, init));
                input = width * config.block.expansion();
                index += 1;
            }
            blocks
        });
        Self {
            conv1,
            bn1: BatchNorm2d::new(config.widths[0], init),
            layer1,
            layer2,
            layer3,
            layer4,
            fc: Linear::torch_default(input, config.num_classes, init),
            config: config.clone(),
        }
    }
}

impl Backbone for ResNet {
    fn forward(&self, images: Tensor<4>, pass: &mut Pass) -> Features {
        let mut x = self.bn1.forward_relu(self.conv1.forward(images), pass);
        if self.config.stem == Stem::Imagenet {
            x = max_pool2d(x, 3, 2, 1); // (B, C, H/4, W/4)
        }
        let mut stages = Vec::with_capacity(4);
        for layer in [&self.layer1, &self.layer2, &self.layer3, &self.layer4] {
            for block in layer {
                x = block.forward(x, pass);
            }
            stages.push(StageFeature::Map(x.clone()));
        }
        let penultimate = global_average(x); // (B, w4)
        let logits = self.classify(pass.dropout(penultimate.clone(), self.config.dropout)); // (B, K)
        Features { stages, penultimate, logits }
    }

    fn stages(&self) -> Vec<StageShape> {
        let expansion = self.config.block.expansion();
        self.config.widths.iter().map(|&width| StageShape::Map { channels: width * expansion }).collect()
    }

    fn penultimate_width(&self) -> usize {
        self.config.widths[3] * self.config.block.expansion()
    }

    fn classify(&self, penultimate: Tensor<2>) -> Tensor<2> {
        self.fc.forward(penultimate)
    }

    fn blocks(&self) -> Vec<Block> {
        let stage = |(stage, &depth): (usize, &usize)| {
            (0..depth).map(move |i| Block::new(stage + 1, [format!("layer{}.{i}.", stage + 1)]))
        };
        let blocks = self.config.depths.iter().enumerate().flat_map(stage);
        std::iter::once(Block::stem(["conv1.", "bn1."])).chain(blocks).collect()
    }
}
