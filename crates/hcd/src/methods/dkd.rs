//! Decoupled knowledge distillation: total = ω CE(z_s, q) + α TCKD + β NCKD, both with T².
//!
//! Source: Zhao et al., CVPR 2022, arXiv 2203.08679. Of soft labels, the most probable class counts as the true one.

use super::{Method, Seen, Targets, Term, ce_term};
use crate::hcd::ranges::{not_negative, positive};
use crate::losses::{nckd, tckd};
use crate::models::Pass;
use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Decoupled knowledge distillation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DkdConfig {
    /// T, the temperature: 1 in the heterogeneous benchmarks, 4 classically.
    pub temperature: f64,
    /// ω, weight of ce.
    pub ce_weight: f64,
    /// α, weight of what is said about the true class.
    pub tckd_weight: f64,
    /// β, weight of what is said about the others; 8 for pairs of CNNs on CIFAR.
    pub nckd_weight: f64,
}

impl Default for DkdConfig {
    fn default() -> Self {
        Self { temperature: 1.0, ce_weight: 1.0, tckd_weight: 1.0, nckd_weight: 2.0 }
    }
}

impl DkdConfig {
    /// Everything that cannot be meant: one line each, `field = value, must be …`.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        positive(&mut problems, "temperature", self.temperature);
        not_negative(&mut problems, "ce_weight", self.ce_weight);
        not_negative(&mut problems, "tckd_weight", self.tckd_weight);
        not_negative(&mut problems, "nckd_weight", self.nckd_weight);
        problems
    }

    /// tckd and nckd.
    ///
    /// # Shapes
    /// `student_logits`, `teacher_logits` (B, K)
    pub fn logit_terms(
        &self,
        student_logits: Tensor<2>,
        teacher_logits: Tensor<2>,
        targets: &Targets,
    ) -> Vec<Term> {
        let (hard, temperature) = (&targets.hard, self.temperature);
        let of_true = tckd(student_logits.clone(), teacher_logits.clone(), hard.clone(), temperature);
        let of_others = nckd(student_logits, teacher_logits, hard.clone(), temperature);
        vec![
            Term { name: "tckd", raw: of_true, weight: self.tckd_weight },
            Term { name: "nckd", raw: of_others, weight: self.nckd_weight },
        ]
    }
}

/// [`DkdConfig`] as a [`Method`]; it learns nothing itself.
#[derive(Module, Debug)]
pub struct Dkd {
    #[module(skip)]
    config: DkdConfig,
}

impl Dkd {
    /// The method of `config`.
    pub fn new(config: &DkdConfig) -> Self {
        Self { config: config.clone() }
    }
}

impl Method for Dkd {
    fn terms(&self, seen: Seen, _pass: &mut Pass) -> Vec<Term> {
        let (student, teacher) = (seen.student.logits.clone(), seen.teacher.logits.clone());
        let mut terms = vec![ce_term(&seen, self.config.ce_weight)];
        terms.extend(self.config.logit_terms(student, teacher, seen.targets));
        terms
    }
}
