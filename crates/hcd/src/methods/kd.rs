//! Knowledge distillation: total = ω CE(z_s, q) + α T² KL(softmax(z_t/T) ‖ softmax(z_s/T)).
//!
//! Source: Hinton et al., arXiv 1503.02531. With `standardise`, both logits have their row's mean taken off
//! and are divided by its deviation first: Sun et al., CVPR 2024, arXiv 2403.01427 (which takes T = 2).

use super::{Method, Targets, Term};
use crate::hcd::ranges::{not_negative, positive};
use crate::losses::{cross_entropy, kd, standardise};
use crate::models::{Features, Pass};
use crate::teacher::TeacherOutput;
use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Knowledge distillation on logits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KdConfig {
    /// T, the temperature: 1 in the heterogeneous benchmarks, 4 classically.
    pub temperature: f64,
    /// ω, weight of ce.
    pub ce_weight: f64,
    /// α, weight of kd.
    pub kd_weight: f64,
    /// Whether logits are standardised before they are compared.
    pub standardise: bool,
}

impl Default for KdConfig {
    fn default() -> Self {
        Self { temperature: 1.0, ce_weight: 1.0, kd_weight: 1.0, standardise: false }
    }
}

impl KdConfig {
    /// Everything that cannot be meant: one line each, `field = value, must be …`.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        positive(&mut problems, "temperature", self.temperature);
        not_negative(&mut problems, "ce_weight", self.ce_weight);
        not_negative(&mut problems, "kd_weight", self.kd_weight);
        problems
    }
}

/// [`KdConfig`] as a [`Method`]; it learns nothing itself.
#[derive(Module, Debug)]
pub struct Kd {
    #[module(skip)]
    config: KdConfig,
}

impl Kd {
    /// The method of `config`.
    pub fn new(config: &KdConfig) -> Self {
        Self { config: config.clone() }
    }
}

impl Method for Kd {
    fn terms(
        &self,
        student: &Features,
        teacher: &TeacherOutput,
        targets: &Targets,
        _pass: &mut Pass,
    ) -> Vec<Term> {
        kd_terms(&self.config, student.logits.clone(), teacher.logits.clone(), targets)
    }
}

/// ce and kd.
///
/// # Shapes
/// `student_logits`, `teacher_logits` (B, K)
pub fn kd_terms(
    config: &KdConfig,
    student_logits: Tensor<2>,
    teacher_logits: Tensor<2>,
    targets: &Targets,
) -> Vec<Term> {
    let ce = cross_entropy(student_logits.clone(), targets.soft.clone());
    let compared = if config.standardise {
        (standardise(student_logits), standardise(teacher_logits.without_autodiff()))
    } else {
        (student_logits, teacher_logits)
    };
    vec![
        Term { name: "ce", raw: ce, weight: config.ce_weight },
        Term { name: "kd", raw: kd(compared.0, compared.1, config.temperature), weight: config.kd_weight },
    ]
}
