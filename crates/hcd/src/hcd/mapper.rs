//! Complementary feature mapper (CFM): c_i = [p_i ‖ f_t];
//! shared logits = Linear(D + D_t → D_t) → ReLU → Linear(D_t → N·K), or one Linear(D + D_t → N·K).
//!
//! Source: HCD (Xu et al., AAAI 2026, arXiv 2511.10942), complementary feature mapper.

use super::config::MapperKind;
use crate::models::Init;
use crate::models::layers::Linear;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

/// What turns a projected student feature and the teacher's penultimate feature into shared logits.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Mapper {
    /// Two layers with a ReLU between.
    Mlp(MlpMapper),
    /// A single fully connected layer.
    Linear(Linear),
}

/// Linear → ReLU → Linear.
#[derive(Module, Debug)]
pub struct MlpMapper {
    fc1: Linear,
    fc2: Linear,
}

impl Mapper {
    /// From `input` = D + D_t over `hidden` = D_t, where there is a hidden layer, to `output` = N·K.
    pub fn new(kind: MapperKind, input: usize, hidden: usize, output: usize, init: &mut Init) -> Self {
        match kind {
            MapperKind::Mlp => Mapper::Mlp(MlpMapper {
                fc1: Linear::new(input, hidden, init),
                fc2: Linear::new(hidden, output, init),
            }),
            MapperKind::Linear => Mapper::Linear(Linear::new(input, output, init)),
        }
    }

    /// # Shapes
    /// `projected` p_i (B, D), `teacher_penultimate` f_t (B, D_t) → (B, N·K)
    ///
    /// # Panics
    /// Where the batches differ.
    pub fn forward(&self, projected: Tensor<2>, teacher_penultimate: Tensor<2>) -> Tensor<2> {
        let (left, right) = (projected.dims(), teacher_penultimate.dims());
        assert_eq!(left[0], right[0], "mapper: projected {left:?} and teacher {right:?} differ in batch");
        let complementary = Tensor::cat(vec![projected, teacher_penultimate], 1); // (B, D + D_t)
        match self {
            Mapper::Mlp(mlp) => mlp.fc2.forward(relu(mlp.fc1.forward(complementary))),
            Mapper::Linear(fc) => fc.forward(complementary),
        }
    }
}
