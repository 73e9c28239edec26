//! Relational knowledge distillation: total = ω CE(z_s, q) + β distances + γ angles, of penultimate features.
//!
//! Source: Park et al., CVPR 2019, arXiv 1904.05068.

use super::{Method, Seen, Term, ce_term};
use crate::hcd::ranges::not_negative;
use crate::losses::{relative_angles, relative_distances};
use crate::models::Pass;
use burn::module::Module;
use serde::{Deserialize, Serialize};

/// Relational knowledge distillation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RkdConfig {
    /// ω, weight of ce.
    pub ce_weight: f64,
    /// β, weight of the distances between two samples.
    pub distance_weight: f64,
    /// γ, weight of the angles among three.
    pub angle_weight: f64,
}

impl Default for RkdConfig {
    fn default() -> Self {
        Self { ce_weight: 1.0, distance_weight: 25.0, angle_weight: 50.0 }
    }
}

impl RkdConfig {
    /// Everything that cannot be meant: one line each, `field = value, must be …`.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        not_negative(&mut problems, "ce_weight", self.ce_weight);
        not_negative(&mut problems, "distance_weight", self.distance_weight);
        not_negative(&mut problems, "angle_weight", self.angle_weight);
        problems
    }
}

/// [`RkdConfig`] as a [`Method`]; it learns nothing itself.
#[derive(Module, Debug)]
pub struct Rkd {
    #[module(skip)]
    config: RkdConfig,
}

impl Rkd {
    /// The method of `config`.
    pub fn new(config: &RkdConfig) -> Self {
        Self { config: config.clone() }
    }
}

impl Method for Rkd {
    fn terms(&self, seen: Seen, _pass: &mut Pass) -> Vec<Term> {
        let (student, teacher) = (&seen.student.penultimate, &seen.teacher.penultimate);
        let distance = relative_distances(student.clone(), teacher.clone());
        let angle = relative_angles(student.clone(), teacher.clone());
        vec![
            ce_term(&seen, self.config.ce_weight),
            Term { name: "distance", raw: distance, weight: self.config.distance_weight },
            Term { name: "angle", raw: angle, weight: self.config.angle_weight },
        ]
    }
}
