//! Losses on logits that may stand in the place of HCD's plain divergence from the teacher.

use super::{DistConfig, DkdConfig, KdConfig, Targets, Term};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// One of them, as a recipe writes it: a table with its `name`. Its `ce_weight` is of no use here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum LogitTerm {
    /// With a temperature of its own, or of standardised logits.
    Kd(KdConfig),
    /// Decoupled.
    Dkd(DkdConfig),
    /// Of relations.
    Dist(DistConfig),
}

impl LogitTerm {
    /// Everything that cannot be meant: one line each, `logit_term.field = value, must be …`.
    pub fn check(&self) -> Vec<String> {
        let (mut problems, ce_weight) = match self {
            LogitTerm::Kd(config) => (config.check(), config.ce_weight),
            LogitTerm::Dkd(config) => (config.check(), config.ce_weight),
            LogitTerm::Dist(config) => (config.check(), config.ce_weight),
        };
        if ce_weight != 1.0 {
            problems
                .push(format!("ce_weight = {ce_weight}, must be left out: hcd has a ce_weight of its own"));
        }
        problems.into_iter().map(|problem| format!("logit_term.{problem}")).collect()
    }

    /// Its terms.
    ///
    /// # Shapes
    /// `student_logits`, `teacher_logits` (B, K)
    pub fn terms(
        &self,
        student_logits: Tensor<2>,
        teacher_logits: Tensor<2>,
        targets: &Targets,
    ) -> Vec<Term> {
        match self {
            LogitTerm::Kd(config) => config.logit_terms(student_logits, teacher_logits),
            LogitTerm::Dkd(config) => config.logit_terms(student_logits, teacher_logits, targets),
            LogitTerm::Dist(config) => config.logit_terms(student_logits, teacher_logits),
        }
    }
}
