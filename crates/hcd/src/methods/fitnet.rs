//! Hints: total = ω CE(z_s, q) + β Σ_i MSE(r_i(F_i), F_i of the teacher), r_i a 1x1 convolution to the teacher's channels.
//!
//! For two CNNs alone: tokens and maps do not correspond. Stages are paired from the deepest up, as many as both have; of
//! two maps the larger one is averaged down to the other's sides. Source: Romero et al., FitNets: Hints for Thin Deep Nets,
//! ICLR 2015, arXiv 1412.6550, equation 3, at every stage and along with the labels, as its later benchmarks have it.

use super::{Method, Pair, Seen, Term, ce_term};
use crate::error::{Error, Result};
use crate::hcd::ranges::not_negative;
use crate::models::layers::{Conv2d, ConvSpec};
use crate::models::{Init, Pass, StageFeature, StageShape};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::module::adaptive_avg_pool2d;
use serde::{Deserialize, Serialize};

/// Hints of the teacher's feature maps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitNetConfig {
    /// ω, weight of ce.
    pub ce_weight: f64,
    /// β, weight of the hints.
    pub hint_weight: f64,
}

impl Default for FitNetConfig {
    fn default() -> Self {
        Self { ce_weight: 1.0, hint_weight: 1.0 }
    }
}

impl FitNetConfig {
    /// Everything that cannot be meant: one line each, `field = value, must be …`.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        not_negative(&mut problems, "ce_weight", self.ce_weight);
        not_negative(&mut problems, "hint_weight", self.hint_weight);
        problems
    }
}

/// [`FitNetConfig`] as a [`Method`], with a convolution a stage.
#[derive(Module, Debug)]
pub struct FitNet {
    /// Deepest first.
    regressors: Vec<Conv2d>,
    #[module(skip)]
    config: FitNetConfig,
}

impl FitNet {
    /// # Errors
    /// [`Error::Recipe`] where one of the two gives tokens, or the teacher's stages cannot be had.
    pub fn new(config: &FitNetConfig, pair: &Pair, init: &mut Init) -> Result<Self> {
        let Some(teacher) = pair.teacher_stages else {
            let why = "fitnet compares stages, and this teacher gives its last feature and logits alone; take another \
                       method, or the teacher's network itself";
            return Err(Error::Recipe(why.to_owned()));
        };
        let pairs = pair.shape.student_stages.iter().rev().zip(teacher.iter().rev());
        let regressor = |(student, teacher): (&StageShape, &StageShape)| match (student, teacher) {
            (StageShape::Map { channels: from }, StageShape::Map { channels: to }) => {
                Ok(Conv2d::kaiming_with_bias(ConvSpec::new(*from, *to, 1, 1), init))
            }
            (StageShape::Tokens { .. }, _) => Err(refusal("student")),
            (_, StageShape::Tokens { .. }) => Err(refusal("teacher")),
        };
        let regressors = pairs.map(regressor).collect::<Result<_>>()?;
        Ok(Self { regressors, config: config.clone() })
    }
}

fn refusal(who: &str) -> Error {
    Error::Recipe(format!(
        "fitnet compares the feature maps of two CNNs, and the {who} gives tokens; take hcd or ofa, which are made for \
         networks of unlike kinds, or a method on logits"
    ))
}

impl Method for FitNet {
    fn terms(&self, seen: Seen, _pass: &mut Pass) -> Vec<Term> {
        let stages = seen.student.stages.iter().rev().zip(seen.teacher.stages.iter().rev());
        let hints = self.regressors.iter().zip(stages).map(|(regressor, stages)| match stages {
            (StageFeature::Map(student), StageFeature::Map(teacher)) => {
                let [student, teacher] = same_sides(student.clone(), teacher.clone().without_autodiff());
                (regressor.forward(student) - teacher).square().mean()
            }
            _ => panic!("fitnet: a stage gives tokens, where maps were announced"),
        });
        let mut terms = vec![ce_term(&seen, self.config.ce_weight)];
        if let Some(raw) = hints.reduce(|sum, hint| sum + hint) {
            terms.push(Term { name: "hint", raw, weight: self.config.hint_weight });
        }
        terms
    }

    fn needs_stages(&self) -> bool {
        true
    }
}

/// Both averaged down to the smaller sides of the two.
///
/// # Shapes
/// (B, C, H, W) each, of other channels and sides → (B, C, min H, min W)
fn same_sides(left: Tensor<4>, right: Tensor<4>) -> [Tensor<4>; 2] {
    let ([_, _, height, width], [_, _, other_height, other_width]) = (left.dims(), right.dims());
    let sides = [height.min(other_height), width.min(other_width)];
    [left, right].map(|map| match [map.dims()[2], map.dims()[3]] == sides {
        true => map,
        false => adaptive_avg_pool2d(map, sides),
    })
}
