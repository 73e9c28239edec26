//! The head of one student stage: shared logits = mapper([projector(F_i) ‖ f_t]).
//!
//! Source: HCD (Xu et al., AAAI 2026, arXiv 2511.10942), projector and complementary feature mapper.

use super::config::HcdConfig;
use super::mapper::Mapper;
use super::projector::Projector;
use crate::error::Result;
use crate::models::{Init, Pass, StageFeature, StageShape};
use burn::module::Module;
use burn::tensor::Tensor;

/// What a student and a teacher offer to their heads.
#[derive(Debug, Clone, Copy)]
pub struct HeadShape<'a> {
    /// All of the student's stages, shallow to deep.
    pub student_stages: &'a [StageShape],
    /// D_s, width of the student's penultimate feature.
    pub student_width: usize,
    /// D_t, width of the teacher's penultimate feature.
    pub teacher_width: usize,
    /// K.
    pub classes: usize,
}

/// Projector and complementary feature mapper of one stage.
#[derive(Module, Debug)]
pub struct Head {
    projector: Projector,
    // Not `mapper`: Burn's derive takes that name for itself.
    feature_mapper: Mapper,
}

impl Head {
    /// The head of `stage`, counted from 1.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`] where the student has no such stage, or its features have no projector yet.
    pub fn new(stage: usize, shape: HeadShape, config: &HcdConfig, init: &mut Init) -> Result<Self> {
        let projector = Projector::new(stage, shape, init)?;
        let input = projector.width() + shape.teacher_width;
        let output = config.sub_logits * shape.classes;
        let feature_mapper = Mapper::new(config.mapper, input, shape.teacher_width, output, init);
        Ok(Self { projector, feature_mapper })
    }

    /// The stage's shared logits.
    ///
    /// # Shapes
    /// `feature` F_i as the student gives it, `teacher_penultimate` f_t (B, D_t) → (B, N·K)
    pub fn forward(
        &self,
        feature: StageFeature,
        teacher_penultimate: Tensor<2>,
        pass: &mut Pass,
    ) -> Tensor<2> {
        let projected = self.projector.forward(feature, pass); // (B, D)
        self.feature_mapper.forward(projected, teacher_penultimate)
    }
}
