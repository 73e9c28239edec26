//! ResNets of 6n + 2 layers for 32x32 images: three stages of n basic blocks, 16, 32 and 64 channels wide.
//!
//! Paper: He et al., Deep Residual Learning for Image Recognition, section 4.2, <https://arxiv.org/abs/1512.03385>.
//! Where a block halves the map, its shortcut is every second pixel with zeros for the new channels, half of them
//! on either side (option A, without parameters), or a 1x1 convolution with batch normalisation (option B). Names:
//! as torchvision's ResNets (timm has none of these); published weights of option A are akamaster's,
//! <https://github.com/akamaster/pytorch_resnet_cifar10>.

use super::config::{Family, in_unit};
use super::layers::{BatchNorm2d, Conv2d, ConvSpec, Init, Linear, Pass};
use super::{Backbone, Block, Features, StageFeature, StageShape, global_average};
use burn::module::Module;
use burn::tensor::ops::PadMode;
use burn::tensor::{Slice, Tensor};
use serde::{Deserialize, Serialize};

/// How the input of a block reaches its end where the block halves the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shortcut {
    /// Every second pixel, zeros for the channels that are new.
    A,
    /// 1x1 convolution of stride 2 and batch normalisation.
    B,
}

/// A CIFAR ResNet's shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CifarResNetConfig {
    /// n, blocks in each of the three stages.
    pub depth: usize,
    /// Channels of each stage.
    pub widths: [usize; 3],
    /// How a block's input reaches its end where the block halves the map.
    pub shortcut: Shortcut,
    /// Stochastic depth of the last block; earlier ones rise to it linearly from 0.
    pub drop_path: f64,
    /// Dropout before the classifier.
    pub dropout: f64,
    /// C_in.
    pub in_channels: usize,
    /// K.
    pub num_classes: usize,
}

impl Family for CifarResNetConfig {
    const HEAD: &'static str = "fc";

    fn check(&self) -> Result<(), String> {
        let [w1, w2, w3] = self.widths;
        if self.depth == 0 || w1 == 0 {
            return Err("depth and widths must be at least 1".to_owned());
        }
        let grows = |from: usize, to: usize| to >= from && (to - from).is_multiple_of(2);
        if self.shortcut == Shortcut::A && !(grows(w1, w2) && grows(w2, w3)) {
            return Err(format!(
                "widths = {:?}, must each exceed the one before by an even number with shortcut = \"a\"",
                self.widths
            ));
        }
        if self.widths.contains(&0) {
            return Err("depth and widths must be at least 1".to_owned());
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
    stride: usize,
    /// Zero channels on either side of option A.
    #[module(skip)]
    padding: usize,
    #[module(skip)]
    drop_path: f64,
}

impl BasicBlock {
    /// # Shapes
    /// `x` (B, c_in, H, W) → (B, c_out, ⌈H/s⌉, ⌈W/s⌉)
    fn forward(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let shortcut = match &self.downsample {
            Some((conv, bn)) => bn.forward(conv.forward(x.clone()), pass),
            None => self.subsample(x.clone()),
        };
        let branch = self.bn1.forward_relu(self.conv1.forward(x), pass);
        self.bn2.forward_add_relu(self.conv2.forward(branch), shortcut, self.drop_path, pass)
    }

    fn subsample(&self, x: Tensor<4>) -> Tensor<4> {
        if self.stride == 1 && self.padding == 0 {
            return x;
        }
        let (all, step) = (Slice::full(), Slice::with_step(0, None, self.stride as isize));
        let zeros = (self.padding, self.padding);
        x.slice([all, all, step, step]).pad([(0, 0), zeros, (0, 0), (0, 0)], PadMode::Constant(0.0))
    }
}

/// Residual network for small images.
#[derive(Module, Debug)]
pub struct CifarResNet {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    layer1: Vec<BasicBlock>,
    layer2: Vec<BasicBlock>,
    layer3: Vec<BasicBlock>,
    fc: Linear,
    #[module(skip)]
    config: CifarResNetConfig,
}

impl CifarResNet {
    /// The network with initial values: Kaiming normal (fan-out) convolutions, PyTorch's default classifier.
    pub fn new(config: &CifarResNetConfig, init: &mut Init) -> Self {
        let conv1 = Conv2d::kaiming(ConvSpec::new(config.in_channels, config.widths[0], 3, 1), init);
        let mut input = config.widths[0];
        let [layer1, layer2, layer3] = [0, 1, 2].map(|stage| {
            let output = config.widths[stage];
            let mut blocks = Vec::with_capacity(config.depth);
            for block in 0..config.depth {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let index = (stage * config.depth + block) as f64;
                let changes = stride != 1 || input != output;
                blocks.push(BasicBlock {
                    conv1: Conv2d::kaiming(ConvSpec::new(input, output, 3, stride), init),
                    bn1: BatchNorm2d::new(output, init),
                    conv2: Conv2d::kaiming(ConvSpec::new(output, output, 3, 1), init),
                    bn2: BatchNorm2d::new(output, init),
                    downsample: (changes && config.shortcut == Shortcut::B).then(|| {
                        let conv = Conv2d::kaiming(ConvSpec::new(input, output, 1, stride), init);
                        (conv, BatchNorm2d::new(output, init))
                    }),
                    stride,
                    padding: output.saturating_sub(input) / 2,
                    drop_path: config.drop_path * index / (3 * config.depth - 1) as f64,
                });
                input = output;
            }
            blocks
        });
        Self {
            conv1,
            bn1: BatchNorm2d::new(config.widths[0], init),
            layer1,
            layer2,
            layer3,
            fc: Linear::torch_default(config.widths[2], config.num_classes, init),
            config: config.clone(),
        }
    }
}

impl Backbone for CifarResNet {
    fn forward(&self, images: Tensor<4>, pass: &mut Pass) -> Features {
        let mut x = self.bn1.forward_relu(self.conv1.forward(images), pass); // (B, 16, H, W)
        let mut stages = Vec::with_capacity(3);
        for layer in [&self.layer1, &self.layer2, &self.layer3] {
            for block in layer {
                x = block.forward(x, pass);
            }
            stages.push(StageFeature::Map(x.clone()));
        }
        let penultimate = global_average(x); // (B, 64)
        let logits = self.classify(pass.dropout(penultimate.clone(), self.config.dropout)); // (B, K)
        Features { stages, penultimate, logits }
    }

    fn stages(&self) -> Vec<StageShape> {
        self.config.widths.iter().map(|&channels| StageShape::Map { channels }).collect()
    }

    fn penultimate_width(&self) -> usize {
        self.config.widths[2]
    }

    fn classify(&self, penultimate: Tensor<2>) -> Tensor<2> {
        self.fc.forward(penultimate)
    }

    fn blocks(&self) -> Vec<Block> {
        let depth = self.config.depth;
        let blocks = (1..=3)
            .flat_map(|stage| (0..depth).map(move |i| Block::new(stage, [format!("layer{stage}.{i}.")])));
        std::iter::once(Block::stem(["conv1.", "bn1."])).chain(blocks).collect()
    }
}
