//! Correlation congruence: total = ω CE(z_s, q) + β CC(e_s, e_t), e a linear map of the penultimate feature, learned on both
//! sides.
//!
//! Source: Peng et al., ICCV 2019, arXiv 1904.01802, in the form of Tian et al.'s benchmark (arXiv 1910.10699).

use super::{Method, Pair, Seen, Term, ce_term};
use crate::hcd::ranges::not_negative;
use crate::losses::correlation_congruence;
use crate::models::layers::Linear;
use crate::models::{Init, Pass};
use burn::module::Module;
use serde::{Deserialize, Serialize};

/// Correlation congruence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CcConfig {
    /// ω, weight of ce.
    pub ce_weight: f64,
    /// β, weight of cc.
    pub cc_weight: f64,
    /// Width of the embeddings.
    pub embedding: usize,
}

impl Default for CcConfig {
    fn default() -> Self {
        Self { ce_weight: 1.0, cc_weight: 0.02, embedding: 128 }
    }
}

impl CcConfig {
    /// Everything that cannot be meant: one line each, `field = value, must be …`.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        not_negative(&mut problems, "ce_weight", self.ce_weight);
        not_negative(&mut problems, "cc_weight", self.cc_weight);
        super::check_embedding(&mut problems, self.embedding);
        problems
    }
}

/// [`CcConfig`] as a [`Method`], with its two maps.
#[derive(Module, Debug)]
pub struct Cc {
    student: Linear,
    teacher: Linear,
    #[module(skip)]
    config: CcConfig,
}

impl Cc {
    /// The method between such networks.
    pub fn new(config: &CcConfig, pair: &Pair, init: &mut Init) -> Self {
        let shape = pair.shape;
        Self {
            student: Linear::torch_default(shape.student_width, config.embedding, init),
            teacher: Linear::torch_default(shape.teacher_width, config.embedding, init),
            config: config.clone(),
        }
    }
}

impl Method for Cc {
    fn terms(&self, seen: Seen, _pass: &mut Pass) -> Vec<Term> {
        let student = self.student.forward(seen.student.penultimate.clone()); // (B, E)
        let teacher = self.teacher.forward(seen.teacher.penultimate.clone());
        let raw = correlation_congruence(student, teacher);
        vec![ce_term(&seen, self.config.ce_weight), Term { name: "cc", raw, weight: self.config.cc_weight }]
    }
}
