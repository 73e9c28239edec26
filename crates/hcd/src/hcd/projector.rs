//! Projector: a student's stage feature F_i to a vector p_i (B, D).
//!
//! CNN student, D = max(D_s, D_t): stage i < S passes S−i SepConv blocks, each halving height and width;
//! channels double at each, the last gives D. Stage S passes one 1x1 convolution with bias. Then global
//! average pooling.
//! SepConv(c_in, c_out) = depthwise 3x3 stride 2 → pointwise c_in→c_in → BN → ReLU → depthwise 3x3 stride 1
//! → pointwise c_in→c_out → BN → ReLU, convolutions without bias.
//!
//! Source: HCD (Xu et al., AAAI 2026, arXiv 2511.10942), feature projector; the block is that of OFA (Hao et
//! al., NeurIPS 2023, arXiv 2310.19444).

use super::head::HeadShape;
use crate::error::{Error, Result};
use crate::models::layers::{BatchNorm2d, Conv2d, ConvSpec};
use crate::models::{Init, Pass, StageFeature, StageShape, global_average};
use burn::module::Module;
use burn::tensor::Tensor;

/// What brings one stage's feature to width D. One variant a kind of feature.
#[derive(Module, Debug)]
pub enum Projector {
    /// For feature maps.
    Map(MapProjector),
}

impl Projector {
    /// The projector of `stage`, counted from 1.
    ///
    /// # Errors
    /// [`Error::Recipe`] where the student has no such stage, or it gives tokens.
    pub fn new(stage: usize, shape: HeadShape, init: &mut Init) -> Result<Self> {
        let count = shape.student_stages.len();
        let found = stage.checked_sub(1).and_then(|index| shape.student_stages.get(index));
        match found {
            Some(StageShape::Map { channels }) => {
                let width = shape.student_width.max(shape.teacher_width);
                Ok(Projector::Map(MapProjector::new(*channels, count - stage, width, init)))
            }
            Some(StageShape::Tokens { width, grid: [height, columns], .. }) => Err(Error::Recipe(format!(
                "the student's stage {stage} gives tokens ({height}x{columns} of width {width}): hcd heads for \
                 token students are not available yet, take a CNN student or method kd"
            ))),
            None => Err(Error::Recipe(format!(
                "an hcd head at stage {stage}, must be in 1..={count}, the student's stages"
            ))),
        }
    }

    /// D.
    pub fn width(&self) -> usize {
        match self {
            Projector::Map(projector) => projector.width,
        }
    }

    /// # Shapes
    /// `feature` as its stage gives it → (B, D)
    ///
    /// # Panics
    /// Where the feature is of another kind than the stage's shape announced.
    pub fn forward(&self, feature: StageFeature, pass: &mut Pass) -> Tensor<2> {
        match (self, feature) {
            (Projector::Map(projector), StageFeature::Map(map)) => projector.forward(map, pass),
            (Projector::Map(_), StageFeature::Tokens { tokens, .. }) => {
                panic!("projector: expected a feature map, got tokens {:?}", tokens.dims())
            }
        }
    }
}

/// SepConv blocks or, for the last stage, one 1x1 convolution; then global average pooling.
#[derive(Module, Debug)]
pub struct MapProjector {
    blocks: Vec<SepConv>,
    conv: Option<Conv2d>,
    #[module(skip)]
    width: usize,
}

impl MapProjector {
    /// From a map of `channels`, `depth` = S−i blocks above the last stage, to `width` = D.
    pub fn new(channels: usize, depth: usize, width: usize, init: &mut Init) -> Self {
        let path = channel_path(channels, depth, width);
        let blocks = path.windows(2).map(|pair| SepConv::new(pair[0], pair[1], init)).collect();
        let conv =
            (depth == 0).then(|| Conv2d::kaiming_with_bias(ConvSpec::new(channels, width, 1, 1), init));
        Self { blocks, conv, width }
    }

    /// # Shapes
    /// `map` (B, C, H, W) → (B, D)
    pub fn forward(&self, map: Tensor<4>, pass: &Pass) -> Tensor<2> {
        let mut map = map;
        for block in &self.blocks {
            map = block.forward(map, pass); // (B, 2C, H/2, W/2), at last (B, D, …)
        }
        match &self.conv {
            // Averaging and a 1x1 convolution commute; averaging first convolves one pixel instead of H·W.
            Some(conv) => {
                let mean = global_average(map); // (B, C)
                let [batch, channels] = mean.dims();
                conv.forward(mean.reshape([batch, channels, 1, 1])).reshape([batch, self.width])
            }
            None => global_average(map),
        }
    }
}

/// Channels before and after each of `depth` blocks: doubled at each, the last gives `width`.
fn channel_path(channels: usize, depth: usize, width: usize) -> Vec<usize> {
    let mut path: Vec<usize> = (0..depth).map(|block| channels << block).collect();
    if depth > 0 {
        path.push(width);
    }
    path
}

/// Two depthwise-separable convolutions, the first of stride 2.
#[derive(Module, Debug)]
pub struct SepConv {
    depthwise1: Conv2d,
    pointwise1: Conv2d,
    bn1: BatchNorm2d,
    depthwise2: Conv2d,
    pointwise2: Conv2d,
    bn2: BatchNorm2d,
}

impl SepConv {
    /// From `input` to `output` channels.
    pub fn new(input: usize, output: usize, init: &mut Init) -> Self {
        Self {
            depthwise1: Conv2d::kaiming(ConvSpec::depthwise(input, 3, 2), init),
            pointwise1: Conv2d::kaiming(ConvSpec::new(input, input, 1, 1), init),
            bn1: BatchNorm2d::new(input, init),
            depthwise2: Conv2d::kaiming(ConvSpec::depthwise(input, 3, 1), init),
            pointwise2: Conv2d::kaiming(ConvSpec::new(input, output, 1, 1), init),
            bn2: BatchNorm2d::new(output, init),
        }
    }

    /// # Shapes
    /// `x` (B, c_in, H, W) → (B, c_out, ⌈H/2⌉, ⌈W/2⌉)
    pub fn forward(&self, x: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let x = self.pointwise1.forward(self.depthwise1.forward(x)); // (B, c_in, ⌈H/2⌉, ⌈W/2⌉)
        let x = self.bn1.forward_relu(x, pass);
        let x = self.pointwise2.forward(self.depthwise2.forward(x)); // (B, c_out, ⌈H/2⌉, ⌈W/2⌉)
        self.bn2.forward_relu(x, pass)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::models::Parameters;
    use crate::rng;
    use burn::tensor::Device;

    const RESNET18: [usize; 4] = [64, 128, 256, 512];
    const NARROW: [usize; 4] = [16, 32, 64, 128];

    fn maps(widths: [usize; 4]) -> Vec<StageShape> {
        widths.map(|channels| StageShape::Map { channels }).to_vec()
    }

    fn shape(student_stages: &[StageShape], student_width: usize, teacher_width: usize) -> HeadShape<'_> {
        HeadShape { student_stages, student_width, teacher_width, classes: 10 }
    }

    fn build(stage: usize, shape: HeadShape) -> Result<Projector> {
        Projector::new(stage, shape, &mut Init::new(rng::stream(0, "heads", &[]), &Device::flex()))
    }

    /// Two 3x3 depthwise, two pointwise and two batch normalisations.
    fn sep_conv_count(input: usize, output: usize) -> usize {
        9 * input + input * input + 2 * input + 9 * input + input * output + 2 * output
    }

    #[test]
    fn channels_double_and_the_last_block_gives_d() {
        let check = |channels, depth, width, expected: &[usize]| {
            assert_eq!(channel_path(channels, depth, width), expected);
        };
        check(16, 3, 192, &[16, 32, 64, 192]);
        check(32, 2, 192, &[32, 64, 192]);
        check(64, 1, 192, &[64, 192]);
        check(128, 0, 192, &[]);
        check(64, 3, 768, &[64, 128, 256, 768]);
        check(256, 1, 768, &[256, 768]);
        check(256, 3, 2048, &[256, 512, 1024, 2048]);
        check(24, 3, 1280, &[24, 48, 96, 1280]);
    }

    #[test]
    fn parameters_are_as_many_as_the_formula_says() {
        for (widths, student, teacher) in [(NARROW, 128, 192), (RESNET18, 512, 768), (RESNET18, 512, 384)] {
            let width = student.max(teacher);
            for stage in 1..=4 {
                let stages = maps(widths);
                let projector = build(stage, shape(&stages, student, teacher)).unwrap();
                let path = channel_path(widths[stage - 1], 4 - stage, width);
                let expected = match stage {
                    4 => widths[3] * width + width,
                    _ => path.windows(2).map(|pair| sep_conv_count(pair[0], pair[1])).sum(),
                };
                assert_eq!(projector.learned_count(), expected, "stage {stage} of {widths:?}");
                assert_eq!(projector.width(), width);
                let Projector::Map(projector) = projector;
                assert_eq!(projector.blocks.len(), 4 - stage);
            }
        }
    }

    #[test]
    fn every_stage_comes_out_d_wide() {
        let stages = maps(NARROW);
        for (index, side) in [8, 4, 2, 1].into_iter().enumerate() {
            let projector = build(index + 1, shape(&stages, 128, 192)).unwrap();
            let map = Tensor::ones([2, NARROW[index], side, side], &Device::flex());
            let projected = projector.forward(StageFeature::Map(map), &mut Pass::Eval);
            assert_eq!(projected.dims(), [2, 192]);
        }
    }

    #[test]
    fn each_block_halves_odd_sides_upwards() {
        let block = SepConv::new(3, 5, &mut Init::new(rng::stream(0, "heads", &[]), &Device::flex()));
        for (side, half) in [(7, 4), (8, 4), (1, 1)] {
            let out = block.forward(Tensor::ones([2, 3, side, side], &Device::flex()), &Pass::Eval);
            assert_eq!(out.dims(), [2, 5, half, half]);
        }
    }

    #[test]
    fn a_stage_without_projector_is_refused() {
        let check = |stage, stages: &[StageShape], expected: &str| {
            let message = build(stage, shape(stages, 128, 192)).unwrap_err().to_string();
            assert_eq!(message, expected);
        };
        check(5, &maps(NARROW), "an hcd head at stage 5, must be in 1..=4, the student's stages");
        check(0, &maps(NARROW), "an hcd head at stage 0, must be in 1..=4, the student's stages");
        check(
            1,
            &[StageShape::Tokens { width: 96, prefix: 0, grid: [56, 56] }],
            "the student's stage 1 gives tokens (56x56 of width 96): hcd heads for token students are not \
             available yet, take a CNN student or method kd",
        );
    }
}
