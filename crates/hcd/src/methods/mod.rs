//! Step 5b, what the student is taught: trait [`Method`] turns the student's features, the teacher's output
//! and the targets into named terms, each raw and with its weight. One method a file.
//!
//! Weights are applied here and nowhere else: losses know none.
//!
//! A student without a teacher has no method: [`supervised_terms`] gives its one term.

mod distiller;
mod hcd;
mod kd;
mod targets;

pub use distiller::{Distiller, METHODS, MethodConfig, MethodInfo};
pub use hcd::{Hcd, sub_logit_terms};
pub use kd::{Kd, KdConfig, kd_terms};

use crate::losses::cross_entropy;
use crate::models::{Features, Pass};
use crate::teacher::TeacherOutput;
use burn::module::Module;
use burn::tensor::Tensor;

/// One summand of a loss.
#[derive(Debug, Clone)]
pub struct Term {
    /// Its name in metrics and reports.
    pub name: &'static str,
    /// Its value before weighting, a scalar (1).
    pub raw: Tensor<1>,
    /// What it is multiplied by in the total.
    pub weight: f64,
}

/// What the labels say of a batch.
#[derive(Debug, Clone)]
pub struct Targets {
    /// q (B, K): each row a distribution over classes, label smoothing applied.
    pub soft: Tensor<2>,
    /// One-hot (B, K) of the true class; of the most probable one where labels are soft.
    pub hard: Tensor<2>,
}

/// A way to teach a student from a teacher. Whatever it learns itself (its heads) are its parameters; they
/// are trained with the student, checkpointed, and never exported.
pub trait Method: Module {
    /// The terms of one batch, in a fixed order.
    fn terms(
        &self,
        student: &Features,
        teacher: &TeacherOutput,
        targets: &Targets,
        pass: &mut Pass,
    ) -> Vec<Term>;
}

/// Σ weight · raw.
pub fn total(terms: &[Term]) -> Option<Tensor<1>> {
    terms.iter().map(|term| term.raw.clone() * term.weight).reduce(|sum, term| sum + term)
}

/// The only term of a student that learns from labels alone: CE(z_s, q).
///
/// # Shapes
/// `student_logits` (B, K)
pub fn supervised_terms(student_logits: Tensor<2>, targets: &Targets) -> Vec<Term> {
    vec![Term { name: "ce", raw: cross_entropy(student_logits, targets.soft.clone()), weight: 1.0 }]
}
