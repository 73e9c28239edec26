//! MobileNetV2 and EfficientNet-Lite: inverted residuals, wide inside, narrow between, with ReLU6.
//!
//! Papers: Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, <https://arxiv.org/abs/1801.04381>;
//! Tan & Le, EfficientNet, <https://arxiv.org/abs/1905.11946>, in its Lite form (no squeeze-and-excitation, ReLU6).
//! Names, layout and initial values: timm's `efficientnet.py`. The classifier reads the pooled map of the 1x1 head
//! convolution.

use super::config::{Family, in_unit};
use super::layers::{BatchNorm2d, Conv2d, ConvSpec, Init, Linear, Padding, Pass};
use super::{Backbone, Block, Features, StageFeature, StageShape, global_average};
use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Blocks of one kind, one after the other; the first of them has the stride.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockRow {
    /// How many blocks.
    pub repeats: usize,
    /// Side of the depthwise kernel.
    pub kernel: usize,
    /// Stride of the first block.
    pub stride: usize,
    /// Inner width over the input's; 1 for a depthwise-separable block.
    pub expansion: usize,
    /// Channels that come out.
    pub width: usize,
}

/// How maps are padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MapPadding {
    /// Alike on every side, as PyTorch does.
    Even,
    /// As TensorFlow's "SAME": for weights that were trained there.
    Same,
}

/// An inverted-residual network's shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EfficientNetConfig {
    /// Channels of the stem.
    pub stem_width: usize,
    /// Rows of blocks.
    pub rows: Vec<BlockRow>,
    /// Rows after which a stage ends, from 0; the head convolution ends the last stage.
    pub taps: Vec<usize>,
    /// Channels of the head convolution.
    pub head_width: usize,
    /// How maps are padded.
    pub padding: MapPadding,
    /// ε of batch normalisation.
    pub norm_epsilon: f64,
    /// Stochastic depth that the blocks rise to linearly from 0.
    pub drop_path: f64,
    /// Dropout before the classifier.
    pub dropout: f64,
    /// C_in.
    pub in_channels: usize,
    /// K.
    pub num_classes: usize,
}

impl EfficientNetConfig {
    fn spec(&self, spec: ConvSpec) -> ConvSpec {
        match self.padding {
            MapPadding::Even => spec,
            MapPadding::Same => ConvSpec { padding: Padding::Same, ..spec },
        }
    }

    fn norm(&self, channels: usize, init: &Init) -> BatchNorm2d {
        BatchNorm2d::with_epsilon(channels, self.norm_epsilon, init)
    }
}

impl Family for EfficientNetConfig {
    const HEAD: &'static str = "classifier";

    fn check(&self) -> Result<(), String> {
        let sound = |row: &BlockRow| {
            ![row.repeats, row.stride, row.expansion, row.width].contains(&0) && !row.kernel.is_multiple_of(2)
        };
        if self.stem_width == 0 || self.head_width == 0 || self.rows.is_empty() {
            return Err("stem_width, head_width and the number of rows must be at least 1".to_owned());
        }
        if let Some(row) = self.rows.iter().position(|row| !sound(row)) {
            let what = "repeats, stride, expansion and width must be at least 1, kernel odd";
            return Err(format!("rows[{row}]: {what}"));
        }
        let rising = self.taps.windows(2).all(|pair| pair[0] < pair[1]);
        if !rising || self.taps.iter().any(|&tap| tap >= self.rows.len()) {
            let (taps, rows) = (&self.taps, self.rows.len());
            return Err(format!("taps = {taps:?}, must rise and be below {rows}, the number of rows"));
        }
        if !(self.norm_epsilon > 0.0 && self.norm_epsilon.is_finite()) {
            return Err(format!("norm_epsilon = {}, must be above 0", self.norm_epsilon));
        }
        in_unit("drop_path", self.drop_path)?;
        in_unit("dropout", self.dropout)
    }
}

/// min(max(BN(conv(x)), 0), 6)
fn conv_relu6(conv: &Conv2d, bn: &BatchNorm2d, x: Tensor<4>, pass: &Pass) -> Tensor<4> {
    bn.forward_relu6(conv.forward(x), pass)
}

/// Depthwise → ReLU6 → 1x1, without expansion.
#[derive(Module, Debug)]
struct Separable {
    conv_dw: Conv2d,
    bn1: BatchNorm2d,
    conv_pw: Conv2d,
    bn2: BatchNorm2d,
    #[module(skip)]
    shortcut: Option<f64>,
}

/// 1x1 to the inner width → ReLU6 → depthwise → ReLU6 → 1x1.
#[derive(Module, Debug)]
struct Inverted {
    conv_pw: Conv2d,
    bn1: BatchNorm2d,
    conv_dw: Conv2d,
    bn2: BatchNorm2d,
    conv_pwl: Conv2d,
    bn3: BatchNorm2d,
    #[module(skip)]
    shortcut: Option<f64>,
}

/// `shortcut` is the rate of stochastic depth where the block adds its input, none where it does not.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum MobileBlock {
    Separable(Separable),
    Inverted(Inverted),
}

impl MobileBlock {
    fn new(
        input: usize,
        row: &BlockRow,
        drop_path: f64,
        config: &EfficientNetConfig,
        init: &mut Init,
    ) -> Self {
        let mut conv = |spec: ConvSpec| Conv2d::kaiming(config.spec(spec), init);
        let (inner, output) = (input * row.expansion, row.width);
        let depthwise = ConvSpec::depthwise(inner, row.kernel, row.stride);
        let shortcut = (row.stride == 1 && input == output).then_some(drop_path);
        if row.expansion == 1 {
            let (conv_dw, conv_pw) = (conv(depthwise), conv(ConvSpec::new(input, output, 1, 1)));
            let (bn1, bn2) = (config.norm(inner, init), config.norm(output, init));
            return MobileBlock::Separable(Separable { conv_dw, bn1, conv_pw, bn2, shortcut });
        }
        let (conv_pw, conv_dw) = (conv(ConvSpec::new(input, inner, 1, 1)), conv(depthwise));
        let conv_pwl = conv(ConvSpec::new(inner, output, 1, 1));
        let [bn1, bn2, bn3] = [inner, inner, output].map(|channels| config.norm(channels, init));
        MobileBlock::Inverted(Inverted { conv_pw, bn1, conv_dw, bn2, conv_pwl, bn3, shortcut })
    }

    /// # Shapes
    /// `x` (B, c_in, H, W) → (B, c_out, ⌈H/s⌉, ⌈W/s⌉)
    fn forward(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let (shortcut, last, y) = match self {
            MobileBlock::Separable(block) => {
                let y = conv_relu6(&block.conv_dw, &block.bn1, x.clone(), pass); // (B, c_in, H/s, W/s)
                (block.shortcut, &block.bn2, block.conv_pw.forward(y))
            }
            MobileBlock::Inverted(block) => {
                let y = conv_relu6(&block.conv_pw, &block.bn1, x.clone(), pass); // (B, t·c_in, H, W)
                let y = conv_relu6(&block.conv_dw, &block.bn2, y, pass); // (B, t·c_in, H/s, W/s)
                (block.shortcut, &block.bn3, block.conv_pwl.forward(y))
            }
        };
        match shortcut {
            Some(drop_path) => last.forward_add(y, x, drop_path, pass),
            None => last.forward(y, pass),
        }
    }
}

/// Inverted-residual network.
#[derive(Module, Debug)]
pub struct EfficientNet {
    conv_stem: Conv2d,
    bn1: BatchNorm2d,
    blocks: Vec<Vec<MobileBlock>>,
    conv_head: Conv2d,
    bn2: BatchNorm2d,
    classifier: Linear,
    #[module(skip)]
    config: EfficientNetConfig,
}

impl EfficientNet {
    /// The network with timm's initial values: normal convolutions by fan-out, a uniform classifier.
    pub fn new(config: &EfficientNetConfig, init: &mut Init) -> Self {
        let stem = config.spec(ConvSpec::new(config.in_channels, config.stem_width, 3, 2));
        let conv_stem = Conv2d::kaiming(stem, init);
        let total = config.rows.iter().map(|row| row.repeats).sum::<usize>() as f64;
        let (mut input, mut index) = (config.stem_width, 0);
        let mut blocks = Vec::with_capacity(config.rows.len());
        for row in &config.rows {
            let mut of_row = Vec::with_capacity(row.repeats);
            for repeat in 0..row.repeats {
                let row = BlockRow { stride: if repeat == 0 { row.stride } else { 1 }, ..*row };
                let drop_path = config.drop_path * f64::from(index) / total;
                of_row.push(MobileBlock::new(input, &row, drop_path, config, init));
                input = row.width;
                index += 1;
            }
            blocks.push(of_row);
        }
        let conv_head = Conv2d::kaiming(ConvSpec::new(input, config.head_width, 1, 1), init);
        let bound = 1.0 / (config.num_classes as f32).sqrt();
        let weight = init.uniform([config.num_classes, config.head_width], bound);
        Self {
            conv_stem,
            bn1: config.norm(config.stem_width, init),
            blocks,
            conv_head,
            bn2: config.norm(config.head_width, init),
            classifier: Linear::from_parts(weight, Some(init.constant(0.0, [config.num_classes]))),
            config: config.clone(),
        }
    }
}

impl Backbone for EfficientNet {
    fn forward(&self, images: Tensor<4>, pass: &mut Pass) -> Features {
        let mut x = conv_relu6(&self.conv_stem, &self.bn1, images, pass); // (B, C, H/2, W/2)
        let mut stages = Vec::with_capacity(self.config.taps.len() + 1);
        for (row, blocks) in self.blocks.iter().enumerate() {
            for block in blocks {
                x = block.forward(x, pass);
            }
            if self.config.taps.contains(&row) {
                stages.push(StageFeature::Map(x.clone()));
            }
        }
        let x = conv_relu6(&self.conv_head, &self.bn2, x, pass); // (B, D, H/32, W/32)
        stages.push(StageFeature::Map(x.clone()));
        let penultimate = global_average(x); // (B, D)
        let logits = self.classify(pass.dropout(penultimate.clone(), self.config.dropout)); // (B, K)
        Features { stages, penultimate, logits }
    }

    fn stages(&self) -> Vec<StageShape> {
        let tapped = self.config.taps.iter().map(|&tap| self.config.rows[tap].width);
        tapped.chain([self.config.head_width]).map(|channels| StageShape::Map { channels }).collect()
    }

    fn penultimate_width(&self) -> usize {
        self.config.head_width
    }

    fn classify(&self, penultimate: Tensor<2>) -> Tensor<2> {
        self.classifier.forward(penultimate)
    }

    fn blocks(&self) -> Vec<Block> {
        let EfficientNetConfig { rows, taps, .. } = &self.config;
        let of_row = |(row, blocks): (usize, &BlockRow)| {
            let stage = 1 + taps.iter().filter(|&&tap| tap < row).count();
            (0..blocks.repeats).map(move |i| Block::new(stage, [format!("blocks.{row}.{i}.")]))
        };
        let last = Block::new(taps.len() + 1, ["conv_head.", "bn2."].map(str::to_owned));
        let blocks = rows.iter().enumerate().flat_map(of_row);
        std::iter::once(Block::stem(["conv_stem.", "bn1."])).chain(blocks).chain([last]).collect()
    }
}
