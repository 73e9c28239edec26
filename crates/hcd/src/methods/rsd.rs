//! Redundancy suppression distillation: total = ω CE(z_s, q) + β RSD(MLP(f_s), f_t).
//!
//! Source: Zhang et al., ICCV 2025, arXiv 2507.21844.

use super::{Method, Pair, Seen, Term, ce_term};
use crate::hcd::ranges::not_negative;
use crate::losses::redundancy_suppression;
use crate::models::layers::Linear;
use crate::models::{Init, Pass};
use burn::module::Module;
use burn::tensor::activation::relu;
use serde::{Deserialize, Serialize};

/// Redundancy suppression distillation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RsdConfig {
    /// ω, weight of ce.
    pub ce_weight: f64,
    /// β, weight of rsd.
    pub rsd_weight: f64,
    /// κ, what correlations of unlike features count.
    pub kappa: f64,
}

impl Default for RsdConfig {
    fn default() -> Self {
        Self { ce_weight: 1.0, rsd_weight: 1.0, kappa: 0.01 }
    }
}

impl RsdConfig {
    /// Everything that cannot be meant: one line each, `field = value, must be …`.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        not_negative(&mut problems, "ce_weight", self.ce_weight);
        not_negative(&mut problems, "rsd_weight", self.rsd_weight);
        not_negative(&mut problems, "kappa", self.kappa);
        problems
    }
}

/// [`RsdConfig`] as a [`Method`], with a perceptron D_s → D_t → D_t.
#[derive(Module, Debug)]
pub struct Rsd {
    fc1: Linear,
    fc2: Linear,
    #[module(skip)]
    config: RsdConfig,
}

impl Rsd {
    /// The method between such networks.
    pub fn new(config: &RsdConfig, pair: &Pair, init: &mut Init) -> Self {
        let (student, teacher) = (pair.shape.student_width, pair.shape.teacher_width);
        Self {
            fc1: Linear::torch_default(student, teacher, init),
            fc2: Linear::torch_default(teacher, teacher, init),
            config: config.clone(),
        }
    }
}

impl Method for Rsd {
    fn terms(&self, seen: Seen, _pass: &mut Pass) -> Vec<Term> {
        let hidden = relu(self.fc1.forward(seen.student.penultimate.clone())); // (B, D_t)
        let teacher = seen.teacher.penultimate.clone();
        let raw = redundancy_suppression(self.fc2.forward(hidden), teacher, self.config.kappa);
        vec![ce_term(&seen, self.config.ce_weight), Term { name: "rsd", raw, weight: self.config.rsd_weight }]
    }
}
