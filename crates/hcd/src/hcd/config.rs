//! The switches of HCD (Xu et al., AAAI 2026, arXiv 2511.10942), with the paper's symbols.
//!
//! total = ω(ce + sub_ce) + α kd + λ sub_kl + β orth.
//!
//! Where the paper's text and its released code are known to differ, a switch selects and the default is what
//! the code is reported to do.

use super::ranges::{not_negative, positive};
use crate::methods::LogitTerm;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How the terms of the stages become one: Σ_i, or (1/S) Σ_i.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageReduction {
    /// Σ over the chosen stages.
    #[default]
    Sum,
    /// Mean over the chosen stages.
    Mean,
}

/// Which logits are driven apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrthogonalityOn {
    /// z_ij, after fusion with the teacher's logits.
    #[default]
    Fused,
    /// s_ij, before.
    Sub,
}

/// What a complementary feature mapper is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MapperKind {
    /// Linear → ReLU → Linear.
    #[default]
    Mlp,
    /// One linear layer.
    Linear,
}

/// Which of the student's stages get a head: `"all"`, or a list such as `[3, 4]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"all\", or a list of stages counted from 1, such as [3, 4]")]
pub enum Stages {
    /// As many as the student has.
    Every(Every),
    /// These, from 1 (shallow) to S (deep).
    These(Vec<usize>),
}

/// The word that stands for every stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Every {
    /// `"all"`.
    All,
}

impl Stages {
    /// The chosen ones of a student of `count` stages; it may lack some of them.
    pub fn of(&self, count: usize) -> Vec<usize> {
        match self {
            Self::Every(Every::All) => (1..=count).collect(),
            Self::These(stages) => stages.clone(),
        }
    }

    /// What cannot be meant, whatever the student is.
    pub fn check(&self) -> Vec<String> {
        let Stages::These(stages) = self else { return Vec::new() };
        let mut problems = Vec::new();
        if stages.is_empty() {
            problems.push("stages = [], must name at least one stage".into());
        }
        if stages.contains(&0) {
            problems.push("stages has 0, stages are counted from 1".into());
        }
        let mut seen = BTreeSet::new();
        let repeated: BTreeSet<_> = stages.iter().filter(|&&stage| !seen.insert(stage)).collect();
        problems.extend(repeated.iter().map(|stage| format!("stages has {stage} more than once")));
        problems
    }

    /// Those that a student of `count` stages lacks, one line each.
    pub fn beyond(&self, count: usize) -> Vec<String> {
        let beyond = self.of(count).into_iter().filter(|&stage| stage > count);
        beyond
            .map(|stage| format!("stages has {stage}, must be in 1..={count}, the student's stages"))
            .collect()
    }
}

/// Heterogeneous complementary distillation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HcdConfig {
    /// N, sub-logits a stage.
    pub sub_logits: usize,
    /// The student's stages that get a head.
    pub stages: Stages,
    /// λ_s, what sub-logits are multiplied by when they are fused with the teacher's logits.
    pub sub_logit_scale: f64,
    /// λ_t, what the teacher's logits are multiplied by when they are fused with sub-logits.
    pub teacher_scale: f64,
    /// T, the temperature of both divergences.
    pub temperature: f64,
    /// θ, the cosine up to which two sub-logits count as complementary.
    pub cosine_threshold: f64,
    /// ω, weight of ce, and of sub_ce unless that has its own.
    pub ce_weight: f64,
    /// Weight of sub_ce, where it is not ω.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_ce_weight: Option<f64>,
    /// α, weight of kd, or of what takes its place.
    pub kd_weight: f64,
    /// λ, weight of sub_kl.
    pub sub_kl_weight: f64,
    /// β, weight of orth.
    pub orthogonality_weight: f64,
    /// Whether sub_kl moves the student alone and not the heads.
    pub detach_sub_logits: bool,
    /// Sum or mean over stages.
    pub stage_reduction: StageReduction,
    /// Which logits orth compares.
    pub orthogonality_on: OrthogonalityOn,
    /// What maps features to shared logits.
    pub mapper: MapperKind,
    /// What takes the place of kd; by default kd is the divergence from the teacher's softmax at `temperature`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logit_term: Option<LogitTerm>,
}

impl Default for HcdConfig {
    fn default() -> Self {
        Self {
            sub_logits: 4,
            stages: Stages::Every(Every::All),
            sub_logit_scale: 1.0,
            teacher_scale: 1.0,
            temperature: 1.0,
            cosine_threshold: 0.5,
            ce_weight: 1.0,
            sub_ce_weight: None,
            kd_weight: 1.0,
            sub_kl_weight: 6.0,
            orthogonality_weight: 1.0,
            detach_sub_logits: false,
            stage_reduction: StageReduction::Sum,
            orthogonality_on: OrthogonalityOn::Fused,
            mapper: MapperKind::Mlp,
            logit_term: None,
        }
    }
}

impl HcdConfig {
    /// Everything that cannot be meant, whatever the student is: one line each, `field = value, must be …`.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.sub_logits == 0 {
            problems.push("sub_logits = 0, must be at least 1".into());
        }
        problems.extend(self.stages.check());
        problems.extend(self.logit_term.as_ref().map(LogitTerm::check).unwrap_or_default());
        not_negative(&mut problems, "sub_logit_scale", self.sub_logit_scale);
        not_negative(&mut problems, "teacher_scale", self.teacher_scale);
        positive(&mut problems, "temperature", self.temperature);
        if !(0.0..=1.0).contains(&self.cosine_threshold) {
            problems.push(format!("cosine_threshold = {}, must be between 0 and 1", self.cosine_threshold));
        }
        not_negative(&mut problems, "ce_weight", self.ce_weight);
        not_negative(&mut problems, "sub_ce_weight", self.sub_ce_weight.unwrap_or(0.0));
        not_negative(&mut problems, "kd_weight", self.kd_weight);
        not_negative(&mut problems, "sub_kl_weight", self.sub_kl_weight);
        not_negative(&mut problems, "orthogonality_weight", self.orthogonality_weight);
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut HcdConfig), expected: &[&str]) {
        let mut config = HcdConfig::default();
        change(&mut config);
        assert_eq!(config.check(), expected);
    }

    #[test]
    fn the_defaults_are_the_methods() {
        check(|_| {}, &[]);
        for count in [3, 4] {
            assert_eq!(HcdConfig::default().stages.beyond(count), Vec::<String>::new());
        }
    }

    #[test]
    fn what_cannot_be_meant_is_named_with_its_value() {
        check(|c| c.sub_logits = 0, &["sub_logits = 0, must be at least 1"]);
        check(|c| c.stages = Stages::These(vec![]), &["stages = [], must name at least one stage"]);
        check(|c| c.stages = Stages::These(vec![0, 1]), &["stages has 0, stages are counted from 1"]);
        check(|c| c.stages = Stages::These(vec![2, 1, 2, 2]), &["stages has 2 more than once"]);
        check(|c| c.temperature = 0.0, &["temperature = 0, must be a positive number"]);
        check(|c| c.temperature = f64::NAN, &["temperature = NaN, must be a positive number"]);
        check(|c| c.cosine_threshold = 1.5, &["cosine_threshold = 1.5, must be between 0 and 1"]);
        check(|c| c.cosine_threshold = f64::NAN, &["cosine_threshold = NaN, must be between 0 and 1"]);
        check(|c| c.sub_kl_weight = -1.0, &["sub_kl_weight = -1, must be 0 or a positive number"]);
        check(|c| c.kd_weight = f64::INFINITY, &["kd_weight = inf, must be 0 or a positive number"]);
    }

    #[test]
    fn every_problem_is_told_at_once() {
        check(
            |c| (c.sub_logits, c.temperature, c.ce_weight) = (0, -2.0, -0.5),
            &[
                "sub_logits = 0, must be at least 1",
                "temperature = -2, must be a positive number",
                "ce_weight = -0.5, must be 0 or a positive number",
            ],
        );
    }

    #[test]
    fn a_stage_the_student_lacks_is_named() {
        let config = HcdConfig { stages: Stages::These(vec![1, 5]), ..HcdConfig::default() };
        assert_eq!(config.stages.beyond(4), ["stages has 5, must be in 1..=4, the student's stages"]);
    }
}
