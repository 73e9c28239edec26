//! One-for-all distillation: total = ω CE(z_s, q) + α OFA(z_s) + β Σ_i OFA(b_i), b_i the logits of a branch at stage i.
//!
//! A branch is a projector, as HCD's, and a linear layer to the classes: it says in the teacher's terms, logits, what a
//! stage knows. Source: Hao et al., NeurIPS 2023, arXiv 2310.19444.

use super::{Method, Pair, Seen, Term, ce_term};
use crate::error::{Error, Result};
use crate::hcd::ranges::{not_negative, positive};
use crate::hcd::{Every, Projector, Stages};
use crate::losses::ofa;
use crate::models::layers::Linear;
use crate::models::{Init, Pass};
use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// One-for-all distillation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OfaConfig {
    /// T, the temperature.
    pub temperature: f64,
    /// γ, how much more the true class counts where the teacher is sure; 1.5 for some pairs of the paper.
    pub gamma: f64,
    /// ω, weight of ce.
    pub ce_weight: f64,
    /// α, weight of the loss on the student's own logits.
    pub ofa_weight: f64,
    /// β, weight of the losses on the branches' logits.
    pub branch_weight: f64,
    /// The student's stages that get a branch.
    pub stages: Stages,
}

impl Default for OfaConfig {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            gamma: 1.0,
            ce_weight: 1.0,
            ofa_weight: 1.0,
            branch_weight: 1.0,
            stages: Stages::Every(Every::All),
        }
    }
}

impl OfaConfig {
    /// Everything that cannot be meant: one line each, `field = value, must be …`.
    pub fn check(&self) -> Vec<String> {
        let mut problems = self.stages.check();
        positive(&mut problems, "temperature", self.temperature);
        positive(&mut problems, "gamma", self.gamma);
        not_negative(&mut problems, "ce_weight", self.ce_weight);
        not_negative(&mut problems, "ofa_weight", self.ofa_weight);
        not_negative(&mut problems, "branch_weight", self.branch_weight);
        problems
    }
}

/// What brings one stage to logits.
#[derive(Module, Debug)]
struct Branch {
    projector: Projector,
    fc: Linear,
}

/// [`OfaConfig`] as a [`Method`], with one branch a stage.
#[derive(Module, Debug)]
pub struct Ofa {
    branches: Vec<Branch>,
    /// The stage that each branch looks at, from 1.
    #[module(skip)]
    stages: Vec<usize>,
    #[module(skip)]
    config: OfaConfig,
}

impl Ofa {
    /// Branches for the stages that `config` names, in that order.
    ///
    /// # Errors
    /// [`Error::Recipe`] where the student lacks a stage, or its features have no projector.
    pub fn new(config: &OfaConfig, pair: &Pair, init: &mut Init) -> Result<Self> {
        let count = pair.shape.student_stages.len();
        let problems = config.stages.beyond(count);
        if !problems.is_empty() {
            return Err(Error::Recipe(problems.join("; ")));
        }
        let stages = config.stages.of(count);
        let branch = |&stage: &usize| {
            let projector = Projector::new(stage, pair.shape, init)?;
            let fc = Linear::new(projector.width(), pair.shape.classes, init);
            Ok(Branch { projector, fc })
        };
        let branches = stages.iter().map(branch).collect::<Result<_>>()?;
        Ok(Self { branches, stages, config: config.clone() })
    }
}

impl Method for Ofa {
    fn terms(&self, seen: Seen, pass: &mut Pass) -> Vec<Term> {
        let OfaConfig { temperature, gamma, .. } = self.config;
        let loss = |logits: Tensor<2>| {
            ofa(logits, seen.teacher.logits.clone(), seen.targets.hard.clone(), gamma, temperature)
        };
        let own = loss(seen.student.logits.clone());
        let mut terms = vec![
            ce_term(&seen, self.config.ce_weight),
            Term { name: "ofa", raw: own, weight: self.config.ofa_weight },
        ];
        let branches = self.branches.iter().zip(&self.stages).map(|(branch, stage)| {
            let projected = branch.projector.forward(seen.student.stages[stage - 1].clone(), pass); // (B, D)
            loss(branch.fc.forward(projected))
        });
        if let Some(raw) = branches.reduce(|sum, branch| sum + branch) {
            terms.push(Term { name: "branches", raw, weight: self.config.branch_weight });
        }
        terms
    }
}
