//! Heterogeneous complementary distillation: total = ω(ce + sub_ce) + α kd + λ sub_kl + β orth; another loss on logits
//! may take the place of kd ([`LogitTerm`](super::LogitTerm)).
//!
//! The head of each chosen stage i gives sub-logits s_ij, fused with the teacher's to
//! z_ij = λ_s s_ij + λ_t z_t. Then ce = CE(z_s, q), kd = T² KL(z_t ‖ z_s), and over stages (sum or mean):
//! sub_ce = (1/N) Σ_j CE(z_ij, q), sub_kl = T² (1/N) Σ_j KL(z_ij ‖ z_s), orth as in
//! [`crate::losses::orthogonality`].
//!
//! Source: HCD (Xu et al., AAAI 2026, arXiv 2511.10942), sub-logit decoupled distillation and total loss.

use super::{Method, Pair, Seen, Targets, Term};
use crate::error::{Error, Result};
use crate::hcd::{HcdConfig, Head, OrthogonalityOn, StageReduction, fuse, split};
use crate::losses::{cross_entropy, kd, orthogonality, sub_ce, sub_kl};
use crate::models::{Features, Init, Pass};
use crate::teacher::TeacherOutput;
use burn::module::Module;
use burn::tensor::Tensor;

/// [`HcdConfig`] as a [`Method`], with one head a stage.
#[derive(Module, Debug)]
pub struct Hcd {
    heads: Vec<Head>,
    /// The stage that each head looks at, from 1.
    #[module(skip)]
    stages: Vec<usize>,
    #[module(skip)]
    config: HcdConfig,
}

impl Hcd {
    /// Heads for the stages that `config` names, in that order.
    ///
    /// # Errors
    /// [`Error::Recipe`] where the student lacks a stage, or gives features without a projector.
    pub fn new(config: &HcdConfig, pair: &Pair, init: &mut Init) -> Result<Self> {
        let (shape, count) = (pair.shape, pair.shape.student_stages.len());
        let problems = config.stages.beyond(count);
        if !problems.is_empty() {
            return Err(Error::Recipe(problems.join("; ")));
        }
        let stages = config.stages.of(count);
        let heads =
            stages.iter().map(|&stage| Head::new(stage, shape, config, init)).collect::<Result<_>>()?;
        Ok(Self { heads, stages, config: config.clone() })
    }

    /// s_i of every chosen stage: (B, N, K) each.
    fn shared_out(&self, student: &Features, teacher: &TeacherOutput, pass: &mut Pass) -> Vec<Tensor<3>> {
        let mut all = Vec::with_capacity(self.heads.len());
        for (head, stage) in self.heads.iter().zip(&self.stages) {
            let feature = student.stages[stage - 1].clone();
            let shared = head.forward(feature, teacher.penultimate.clone(), pass); // (B, N·K)
            all.push(split(shared, self.config.sub_logits));
        }
        all
    }
}

impl Method for Hcd {
    fn terms(&self, seen: Seen, pass: &mut Pass) -> Vec<Term> {
        let sub_logits = self.shared_out(seen.student, seen.teacher, pass);
        let (student, teacher) = (seen.student.logits.clone(), seen.teacher.logits.clone());
        sub_logit_terms(&self.config, student, teacher, sub_logits, seen.targets)
    }

    fn has_sub_logits(&self) -> bool {
        true
    }

    fn sub_logits(&self, seen: Seen, pass: &mut Pass) -> Vec<(usize, Tensor<3>)> {
        let found = self.shared_out(seen.student, seen.teacher, pass);
        let compared = found.into_iter().map(|sub| match self.config.orthogonality_on {
            OrthogonalityOn::Fused => fused(&self.config, sub, seen.teacher.logits.clone()),
            OrthogonalityOn::Sub => sub,
        });
        self.stages.iter().copied().zip(compared).collect()
    }
}

/// z_ij of one stage.
fn fused(config: &HcdConfig, sub_logits: Tensor<3>, teacher_logits: Tensor<2>) -> Tensor<3> {
    fuse(sub_logits, teacher_logits, config.sub_logit_scale, config.teacher_scale)
}

/// The terms of HCD once the heads have spoken.
///
/// # Shapes
/// `student_logits`, `teacher_logits` (B, K); `sub_logits` s_i, one (B, N, K) for each chosen stage
///
/// # Panics
/// Where there are no sub-logits, or shapes differ.
pub fn sub_logit_terms(
    config: &HcdConfig,
    student_logits: Tensor<2>,
    teacher_logits: Tensor<2>,
    sub_logits: Vec<Tensor<3>>,
    targets: &Targets,
) -> Vec<Term> {
    let (q, hard) = (&targets.soft, &targets.hard);
    let (mut sub_ces, mut sub_kls, mut orths) = (Vec::new(), Vec::new(), Vec::new());
    for sub in sub_logits {
        let fused = fused(config, sub.clone(), teacher_logits.clone()); // (B, N, K)
        let leader = if config.detach_sub_logits { fused.clone().without_autodiff() } else { fused.clone() };
        let compared = match config.orthogonality_on {
            OrthogonalityOn::Fused => fused.clone(),
            OrthogonalityOn::Sub => sub,
        };
        sub_ces.push(sub_ce(fused, q.clone()));
        sub_kls.push(sub_kl(student_logits.clone(), leader, config.temperature));
        orths.push(orthogonality(compared, hard.clone(), config.cosine_threshold));
    }
    let over_stages = |terms| reduce(terms, config.stage_reduction);
    let ce = cross_entropy(student_logits.clone(), q.clone());
    let mut terms = vec![
        Term { name: "ce", raw: ce, weight: config.ce_weight },
        Term {
            name: "sub_ce",
            raw: over_stages(sub_ces),
            weight: config.sub_ce_weight.unwrap_or(config.ce_weight),
        },
    ];
    match &config.logit_term {
        None => {
            let raw = kd(student_logits, teacher_logits, config.temperature);
            terms.push(Term { name: "kd", raw, weight: config.kd_weight });
        }
        Some(term) => {
            let found = term.terms(student_logits, teacher_logits, targets).into_iter();
            terms.extend(found.map(|term| Term { weight: config.kd_weight * term.weight, ..term }));
        }
    }
    terms.push(Term { name: "sub_kl", raw: over_stages(sub_kls), weight: config.sub_kl_weight });
    terms.push(Term { name: "orth", raw: over_stages(orths), weight: config.orthogonality_weight });
    terms
}

/// Σ_i, or the mean over stages.
fn reduce(terms: Vec<Tensor<1>>, reduction: StageReduction) -> Tensor<1> {
    let count = terms.len();
    assert!(count > 0, "hcd: no stage gave sub-logits");
    let sum = Tensor::cat(terms, 0).sum(); // (S) → (1)
    match reduction {
        StageReduction::Sum => sum,
        StageReduction::Mean => sum / count as f64,
    }
}
