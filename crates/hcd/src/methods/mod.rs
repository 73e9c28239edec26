//! Step 5b, what the student is taught: trait [`Method`] turns the student's features, the teacher's output
//! and the targets into named terms, each raw and with its weight. One method a file.
//!
//! Weights are applied here and nowhere else: losses know none.
//!
//! A student without a teacher has no method: [`supervised_terms`] gives its one term.

mod cc;
mod crd;
mod dist;
mod distiller;
mod dkd;
mod fitnet;
mod hcd;
mod kd;
mod logit_term;
mod ofa;
mod registry;
mod rkd;
mod rsd;
mod targets;

pub use cc::{Cc, CcConfig};
pub use crd::{Crd, CrdConfig};
pub use dist::{Dist, DistConfig};
pub use distiller::{Design, Distiller};
pub use dkd::{Dkd, DkdConfig};
pub use fitnet::{FitNet, FitNetConfig};
pub use hcd::{Hcd, sub_logit_terms};
pub use kd::{Kd, KdConfig};
pub use logit_term::LogitTerm;
pub use ofa::{Ofa, OfaConfig};
pub use registry::{METHODS, MethodConfig, MethodInfo};
pub use rkd::{Rkd, RkdConfig};
pub use rsd::{Rsd, RsdConfig};

use crate::hcd::HeadShape;
use crate::losses::cross_entropy;
use crate::models::{Features, Pass, StageShape};
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

/// The two networks that a method stands between, and what they look at.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// Stages of the student, and the widths of both.
    pub shape: HeadShape<'a>,
    /// Stages of the teacher, where they can be had.
    pub teacher_stages: Option<&'a [StageShape]>,
    /// All samples that are learned from.
    pub samples: &'a [Sample],
}

/// A sample that is learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The number that it keeps for good.
    pub id: u64,
    /// Its class.
    pub class: usize,
}

/// What a method sees of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// What the student says.
    pub student: &'a Features,
    /// What the teacher says; its stages, too, where the method [needs](Method::needs_stages) them.
    pub teacher: &'a TeacherOutput,
    /// What the labels say.
    pub targets: &'a Targets,
    /// The numbers that the samples keep for good: B.
    pub ids: &'a [u64],
}

/// A way to teach a student from a teacher. Whatever it learns itself (its heads) are its parameters; they
/// are trained with the student, checkpointed, and never exported.
pub trait Method: Module {
    /// The terms of one batch, in a fixed order.
    fn terms(&self, seen: Seen, pass: &mut Pass) -> Vec<Term>;

    /// Whether it reads the teacher's stages.
    fn needs_stages(&self) -> bool {
        false
    }

    /// Whether [`sub_logits`](Self::sub_logits) gives any.
    fn has_sub_logits(&self) -> bool {
        false
    }

    /// Where the method has several opinions of each class that are to differ: the student's stage, from 1, and the vectors
    /// that its orthogonality loss compares, (B, N, K). Reports tell how alike they are.
    fn sub_logits(&self, _seen: Seen, _pass: &mut Pass) -> Vec<(usize, Tensor<3>)> {
        Vec::new()
    }
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

/// ω CE(z_s, q), which every method has.
fn ce_term(seen: &Seen, weight: f64) -> Term {
    let raw = cross_entropy(seen.student.logits.clone(), seen.targets.soft.clone());
    Term { name: "ce", raw, weight }
}

/// The width of embeddings that are compared.
fn check_embedding(problems: &mut Vec<String>, width: usize) {
    if !(1..=1 << 14).contains(&width) {
        problems.push(format!("embedding = {width}, must be from 1 to 16384"));
    }
}
