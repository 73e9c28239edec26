//! Knowledge distillation: total = ω CE(z_s, q) + α T² KL(softmax(z_t/T) ‖ softmax(z_s/T)).
//!
//! Source: Hinton et al., arXiv 1503.02531. With `standardise`, both logits have their row's mean taken off
//! and are divided by its deviation first: Sun et al., CVPR 2024, arXiv 2403.01427; then T is 2 where nothing else is said.

use super::{Method, Seen, Term, ce_term};
use crate::hcd::ranges::{not_negative, positive};
use crate::losses::{kd, standardise};
use crate::models::Pass;
use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Knowledge distillation on logits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Given")]
pub struct KdConfig {
    /// T, the temperature: 1 in the heterogeneous benchmarks, 4 classically; of standardised logits 2.
    pub temperature: f64,
    /// ω, weight of ce.
    pub ce_weight: f64,
    /// α, weight of kd.
    pub kd_weight: f64,
    /// Whether logits are standardised before they are compared.
    pub standardise: bool,
}

/// [`KdConfig`] as a recipe writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Given {
    temperature: Option<f64>,
    ce_weight: Option<f64>,
    kd_weight: Option<f64>,
    standardise: bool,
}

impl From<Given> for KdConfig {
    fn from(Given { temperature, ce_weight, kd_weight, standardise }: Given) -> Self {
        Self {
            temperature: temperature.unwrap_or(if standardise { 2.0 } else { 1.0 }),
            ce_weight: ce_weight.unwrap_or(1.0),
            kd_weight: kd_weight.unwrap_or(1.0),
            standardise,
        }
    }
}

impl Default for KdConfig {
    fn default() -> Self {
        Given::default().into()
    }
}

impl KdConfig {
    /// The defaults on standardised logits.
    pub fn standardised() -> Self {
        Given { standardise: true, ..Given::default() }.into()
    }

    /// Everything that cannot be meant: one line each, `field = value, must be …`.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        positive(&mut problems, "temperature", self.temperature);
        not_negative(&mut problems, "ce_weight", self.ce_weight);
        not_negative(&mut problems, "kd_weight", self.kd_weight);
        problems
    }

    /// kd.
    ///
    /// # Shapes
    /// `student_logits`, `teacher_logits` (B, K)
    pub fn logit_terms(&self, student_logits: Tensor<2>, teacher_logits: Tensor<2>) -> Vec<Term> {
        let compared = match self.standardise {
            true => [standardise(student_logits), standardise(teacher_logits.without_autodiff())],
            false => [student_logits, teacher_logits],
        };
        let [student, teacher] = compared;
        vec![Term { name: "kd", raw: kd(student, teacher, self.temperature), weight: self.kd_weight }]
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
    fn terms(&self, seen: Seen, _pass: &mut Pass) -> Vec<Term> {
        let (student, teacher) = (seen.student.logits.clone(), seen.teacher.logits.clone());
        let mut terms = vec![ce_term(&seen, self.config.ce_weight)];
        terms.extend(self.config.logit_terms(student, teacher));
        terms
    }
}
