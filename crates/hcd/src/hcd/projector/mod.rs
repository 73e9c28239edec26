//! Projector: a student's stage feature F_i to a vector p_i (B, D).
//!
//! Maps, D = max(D_s, D_t), in [`map`](MapProjector); tokens, D = D_s, in [`tokens`](TokenProjector).
//!
//! Source: HCD (Xu et al., AAAI 2026, arXiv 2511.10942), feature projector; both are those of OFA (Hao et al., NeurIPS 2023,
//! arXiv 2310.19444).

mod map;
mod tokens;

pub use map::{MapProjector, SepConv};
pub use tokens::{PatchMerge, TokenProjector};

use super::head::HeadShape;
use crate::error::{Error, Result};
use crate::models::{Init, Pass, StageFeature, StageShape};
use burn::module::Module;
use burn::tensor::Tensor;

/// What brings one stage's feature to width D. One variant a kind of feature.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Projector {
    /// For feature maps.
    Map(MapProjector),
    /// For tokens.
    Tokens(TokenProjector),
}

impl Projector {
    /// The projector of `stage`, counted from 1.
    ///
    /// # Errors
    /// [`Error::Recipe`] where the student has no such stage, or it gives tokens and D_s is not to be cut into heads.
    pub fn new(stage: usize, shape: HeadShape, init: &mut Init) -> Result<Self> {
        let count = shape.student_stages.len();
        let found = stage.checked_sub(1).and_then(|index| shape.student_stages.get(index));
        match found {
            Some(StageShape::Map { channels }) => {
                let width = shape.student_width.max(shape.teacher_width);
                Ok(Projector::Map(MapProjector::new(*channels, count - stage, width, init)))
            }
            Some(&StageShape::Tokens { width, prefix, grid }) => {
                let from = tokens::TokenShape { width, prefix, grid };
                let blocks = (count - stage).max(1);
                Ok(Projector::Tokens(TokenProjector::new(from, blocks, shape.student_width, init)?))
            }
            None => Err(Error::Recipe(format!(
                "a head at stage {stage}, must be in 1..={count}, the student's stages"
            ))),
        }
    }

    /// D.
    pub fn width(&self) -> usize {
        match self {
            Projector::Map(projector) => projector.width(),
            Projector::Tokens(projector) => projector.width(),
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
            (Projector::Tokens(projector), StageFeature::Tokens { tokens, .. }) => {
                projector.forward(tokens, pass)
            }
            (Projector::Map(_), StageFeature::Tokens { tokens, .. }) => {
                panic!("projector: expected a feature map, got tokens {:?}", tokens.dims())
            }
            (Projector::Tokens(_), StageFeature::Map(map)) => {
                panic!("projector: expected tokens, got a feature map {:?}", map.dims())
            }
        }
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
    fn parameters_are_as_many_as_the_formula_says() {
        for (widths, student, teacher) in [(NARROW, 128, 192), (RESNET18, 512, 768), (RESNET18, 512, 384)] {
            let width = student.max(teacher);
            for stage in 1..=4 {
                let stages = maps(widths);
                let projector = build(stage, shape(&stages, student, teacher)).unwrap();
                let path = match stage {
                    4 => Vec::new(),
                    _ => (0..4 - stage).map(|block| widths[stage - 1] << block).chain([width]).collect(),
                };
                let expected = match stage {
                    4 => widths[3] * width + width,
                    _ => path.windows(2).map(|pair: &[usize]| sep_conv_count(pair[0], pair[1])).sum(),
                };
                assert_eq!(projector.learned_count(), expected, "stage {stage} of {widths:?}");
                assert_eq!(projector.width(), width);
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
    fn a_stage_without_projector_is_refused() {
        let check = |stage, stages: &[StageShape], expected: &str| {
            let message = build(stage, shape(stages, 128, 192)).unwrap_err().to_string();
            assert_eq!(message, expected);
        };
        check(5, &maps(NARROW), "a head at stage 5, must be in 1..=4, the student's stages");
        check(0, &maps(NARROW), "a head at stage 0, must be in 1..=4, the student's stages");
        let message = build(1, shape(&[tokens(90, 0, 7)], 90, 192)).unwrap_err().to_string();
        assert_eq!(
            message,
            "heads at a student's tokens attend in 4 parts: its last feature is 90 wide, must be a multiple of 4"
        );
    }

    fn tokens(width: usize, prefix: usize, side: usize) -> StageShape {
        StageShape::Tokens { width, prefix, grid: [side; 2] }
    }

    /// Norms, attention without a bias of queries, keys and values, and a perceptron four times as wide.
    fn block_count(width: usize) -> usize {
        4 * width + 3 * width * width + (width * width + width) + (8 * width * width + 5 * width)
    }

    #[test]
    fn tokens_are_merged_to_sevens_and_come_out_as_wide_as_the_student() {
        let merge = |from: usize, to: usize| 8 * from + 4 * from * to;
        // Swin-T: 56, 28, 14 and 7 patches a side. ViT: 14 at every stage, behind a class token. At 32 pixels: fewer than 14.
        let swin =
            [56, 28, 14, 7].iter().enumerate().map(|(i, &side)| tokens(96 << i, 0, side)).collect::<Vec<_>>();
        let vit = vec![tokens(192, 1, 14); 4];
        let small = vec![tokens(64, 1, 8); 4];
        let narrow =
            [8, 4, 2, 1].iter().enumerate().map(|(i, &side)| tokens(12 << i, 0, side)).collect::<Vec<_>>();
        for (stages, width, extra) in [
            (
                &swin,
                768,
                [merge(96, 768) + 2 * merge(768, 768), merge(192, 768) + merge(768, 768), merge(384, 768), 0],
            ),
            (&vit, 192, [merge(192, 192); 4]),
            (&small, 64, [0; 4]),
            (&narrow, 96, [12 * 96 + 96, 24 * 96 + 96, 48 * 96 + 96, 0]),
        ] {
            for stage in 1..=4 {
                let projector = build(stage, shape(stages, width, 384)).unwrap();
                let blocks = (4 - stage).max(1) * block_count(width);
                assert_eq!(
                    projector.learned_count(),
                    blocks + extra[stage - 1],
                    "stage {stage} of {stages:?}"
                );
                assert_eq!(projector.width(), width);
                let StageShape::Tokens { width: from, prefix, grid } = stages[stage - 1] else { continue };
                let feature = StageFeature::Tokens {
                    tokens: Tensor::ones([2, prefix + grid[0] * grid[1], from], &Device::flex()),
                    prefix,
                    grid,
                };
                assert_eq!(projector.forward(feature, &mut Pass::Eval).dims(), [2, width]);
            }
        }
    }
}
