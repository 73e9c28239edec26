//! ResNet, version 1 with basic blocks: y = relu(x' + BN(conv(relu(BN(conv(x)))))).
//!
//! Paper: He et al., Deep Residual Learning for Image Recognition, <https://arxiv.org/abs/1512.03385>.
//! Names and layout: timm `resnet18`, `resnet34`. The small-image stem is the 3x3 stride-1 convolution
//! without pooling that is used on CIFAR.

use super::layers::{BatchNorm2d, Conv2d, ConvSpec, Init, Linear, Pass};
use super::{Backbone, Features, StageFeature, StageShape, global_average};
use crate::ops::add_relu;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
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

/// A residual network's shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetConfig {
    /// Basic blocks in each of the four stages.
    pub depths: [usize; 4],
    /// Channels of each stage.
    pub widths: [usize; 4],
    /// How images enter.
    pub stem: Stem,
    /// C_in.
    pub in_channels: usize,
    /// K.
    pub num_classes: usize,
}

#[derive(Module, Debug)]
struct BasicBlock {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    downsample: Option<(Conv2d, BatchNorm2d)>,
}

impl BasicBlock {
    fn new(input: usize, output: usize, stride: usize, init: &mut Init) -> Self {
        let downsample = (stride != 1 || input != output).then(|| {
            (Conv2d::kaiming(ConvSpec::new(input, output, 1, stride), init), BatchNorm2d::new(output, init))
        });
        Self {
            conv1: Conv2d::kaiming(ConvSpec::new(input, output, 3, stride), init),
            bn1: BatchNorm2d::new(output, init),
            conv2: Conv2d::kaiming(ConvSpec::new(output, output, 3, 1), init),
            bn2: BatchNorm2d::new(output, init),
            downsample,
        }
    }

    fn forward(&self, x: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let shortcut = match &self.downsample {
            Some((conv, bn)) => bn.forward(conv.forward(x.clone()), pass),
            None => x.clone(),
        };
        let branch = self.bn1.forward_relu(self.conv1.forward(x), pass); // (B, C, H/s, W/s)
        let branch = self.bn2.forward(self.conv2.forward(branch), pass);
        add_relu(branch, shortcut)
    }
}

/// Residual network of basic blocks.
#[derive(Module, Debug)]
pub struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    layer1: Vec<BasicBlock>,
    layer2: Vec<BasicBlock>,
    layer3: Vec<BasicBlock>,
    layer4: Vec<BasicBlock>,
    fc: Linear,
    #[module(skip)]
    config: ResNetConfig,
}

impl ResNet {
    /// The network with initial values: Kaiming normal convolutions, PyTorch's default for the classifier.
    pub fn new(config: &ResNetConfig, init: &mut Init) -> Self {
        let [w1, w2, w3, w4] = config.widths;
        let [d1, d2, d3, d4] = config.depths;
        let stem = match config.stem {
            Stem::Imagenet => ConvSpec::new(config.in_channels, w1, 7, 2),
            Stem::Small => ConvSpec::new(config.in_channels, w1, 3, 1),
        };
        let conv1 = Conv2d::kaiming(stem, init);
        let mut stage = |input: usize, output: usize, depth: usize, stride: usize| {
            (0..depth)
                .map(|block| match block {
                    0 => BasicBlock::new(input, output, stride, init),
                    _ => BasicBlock::new(output, output, 1, init),
                })
                .collect::<Vec<_>>()
        };
        let layer1 = stage(w1, w1, d1, 1);
        let layer2 = stage(w1, w2, d2, 2);
        let layer3 = stage(w2, w3, d3, 2);
        let layer4 = stage(w3, w4, d4, 2);
        Self {
            conv1,
            bn1: BatchNorm2d::new(w1, init),
            layer1,
            layer2,
            layer3,
            layer4,
            fc: Linear::torch_default(w4, config.num_classes, init),
            config: config.clone(),
        }
    }
}

impl Backbone for ResNet {
    fn forward(&self, images: Tensor<4>, pass: &mut Pass) -> Features {
        let mut x = self.bn1.forward_relu(self.conv1.forward(images), pass);
        if self.config.stem == Stem::Imagenet {
            x = max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]));
        }
        let mut stages = Vec::with_capacity(4);
        for layer in [&self.layer1, &self.layer2, &self.layer3, &self.layer4] {
            for block in layer {
                x = block.forward(x, pass);
            }
            stages.push(StageFeature::Map(x.clone()));
        }
        let penultimate = global_average(x); // (B, w4)
        let logits = self.classify(penultimate.clone()); // (B, K)
        Features { stages, penultimate, logits }
    }

    fn stages(&self) -> Vec<StageShape> {
        self.config.widths.iter().map(|&channels| StageShape::Map { channels }).collect()
    }

    fn penultimate_width(&self) -> usize {
        self.config.widths[3]
    }

    fn classify(&self, penultimate: Tensor<2>) -> Tensor<2> {
        self.fc.forward(penultimate)
    }
}
