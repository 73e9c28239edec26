//! DIST: total = ω CE(z_s, q) + β T² (1 − correlation over classes) + γ T² (1 − correlation over samples).
//!
//! Source: Huang et al., NeurIPS 2022, arXiv 2205.10536.

use super::{Method, Seen, Term, ce_term};
use crate::hcd::ranges::{not_negative, positive};
use crate::losses::{inter_class, intra_class};
use crate::models::Pass;
use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Distillation of relations between the logits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistConfig {
    /// T, the temperature.
    pub temperature: f64,
    /// ω, weight of ce.
    pub ce_weight: f64,
    /// β, weight of the relation between the classes of a sample.
    pub inter_weight: f64,
    /// γ, weight of the relation between the samples of a class.
    pub intra_weight: f64,
}

impl Default for DistConfig {
    fn default() -> Self {
        Self { temperature: 1.0, ce_weight: 1.0, inter_weight: 1.0, intra_weight: 1.0 }
    }
}

impl DistConfig {
    /// Everything that cannot be meant: one line each, `field = value, must be …`.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        positive(&mut problems, "temperature", self.temperature);
        not_negative(&mut problems, "ce_weight", self.ce_weight);
        not_negative(&mut problems, "inter_weight", self.inter_weight);
        not_negative(&mut problems, "intra_weight", self.intra_weight);
        problems
    }

    /// inter and intra.
    ///
    /// # Shapes
    /// `student_logits`, `teacher_logits` (B, K)
    pub fn logit_terms(&self, student_logits: Tensor<2>, teacher_logits: Tensor<2>) -> Vec<Term> {
        let inter = inter_class(student_logits.clone(), teacher_logits.clone(), self.temperature);
        let intra = intra_class(student_logits, teacher_logits, self.temperature);
        vec![
            Term { name: "inter", raw: inter, weight: self.inter_weight },
            Term { name: "intra", raw: intra, weight: self.intra_weight },
        ]
    }
}

/// [`DistConfig`] as a [`Method`]; it learns nothing itself.
#[derive(Module, Debug)]
pub struct Dist {
    #[module(skip)]
    config: DistConfig,
}

impl Dist {
    /// The method of `config`.
    pub fn new(config: &DistConfig) -> Self {
        Self { config: config.clone() }
    }
}

impl Method for Dist {
    fn terms(&self, seen: Seen, _pass: &mut Pass) -> Vec<Term> {
        let (student, teacher) = (seen.student.logits.clone(), seen.teacher.logits.clone());
        let mut terms = vec![ce_term(&seen, self.config.ce_weight)];
        terms.extend(self.config.logit_terms(student, teacher));
        terms
    }
}
