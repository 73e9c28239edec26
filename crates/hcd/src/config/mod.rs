//! What the user asked for: a recipe (TOML), its defaults, and where each value came from.
//!
//! A recipe holds only what differs from the defaults; [`Resolved`] holds everything, with the source of
//! each value. Every problem found is reported at once, in one line.

mod compare;
mod data;
mod resolve;

pub use compare::{CompareConfig, Lesson, Pairing};
pub use data::{DataConfig, Normalizing};
pub use resolve::{Origin, Override, Resolved, difference, from_text, load, parse_override, values};

use crate::data::Preprocess;
use crate::methods::MethodConfig;
use crate::models::ModelSpec;
use crate::teacher::Stored;
use crate::train::{FinetuneConfig, OptimizerConfig, ScheduleConfig};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Seed of everything drawn by chance: initial weights, order, views, held-out samples.
    #[serde(default)]
    pub seed: u64,
    /// What is looked at.
    pub data: DataConfig,
    /// The network that is trained.
    pub student: ModelSpec,
    /// Who teaches it; needed for distillation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<TeacherConfig>,
    /// How it is taught; HCD where there is a teacher and nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<MethodConfig>,
    /// Length and shape of the training.
    #[serde(default)]
    pub train: TrainConfig,
    /// Which layers learn, and how fast, where the student begins with trained weights.
    #[serde(default)]
    pub finetune: FinetuneConfig,
    /// What moves the weights.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// The learning rate over time.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// What `hcd compare` compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<CompareConfig>,
}

/// Who teaches.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherConfig {
    /// Its weights: a file written by this program, which says what network they fit, or of any other origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// In place of weights: answers that another framework's teacher has given ([`Given`](crate::teacher::Given)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<PathBuf>,
    /// The network that they fit, where the file does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelSpec>,
    /// Side of what it looks at, in pixels, where that is not the student's: the same views at another size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    /// Folder that its answers are kept in, and read from where they are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<PathBuf>,
    /// How they are stored: `f16`, `f32`, or `int8` with a scale a row.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub stored: Stored,
}

fn is_usual(stored: &Stored) -> bool {
    *stored == Stored::default()
}

impl TeacherConfig {
    /// What is wrong with the values, one line each, the key in front.
    fn check(&self) -> Vec<String> {
        let mut problems = self.image_size.map_or_else(Vec::new, |size| Preprocess::new(size).check());
        match (&self.weights, &self.features) {
            (None, None) => problems.push("weights is missing: set it, or give --teacher FILE".to_owned()),
            (Some(_), Some(_)) => problems.push("weights and features are two teachers, give one".to_owned()),
            (None, Some(_)) => {
                let set = [
                    ("model", self.model.is_some()),
                    ("image_size", self.image_size.is_some()),
                    ("cache", self.cache.is_some()),
                ];
                problems.extend(set.iter().filter(|(_, set)| *set).map(|(key, _)| {
                    format!("{key} is for a teacher that looks at images; teacher.features are its answers")
                }));
            }
            (Some(_), None) => {}
        }
        let Some(model) = &self.model else { return problems };
        problems.extend(model.check().into_iter().map(|what| format!("model.{what}")));
        if model.weights.is_some() {
            problems.push("model.weights: the teacher's weights are teacher.weights".to_owned());
        }
        problems
    }
}

/// Length and shape of the training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Passes over the training data.
    pub epochs: u64,
    /// Images a forward pass.
    pub batch_size: usize,
    /// Forward passes whose gradients are averaged for one optimiser step.
    pub accumulate: usize,
    /// ε of the smoothed labels.
    pub label_smoothing: f64,
    /// What convolutions and matrix products multiply: `f32`, or `bf16`, numbers rounded to 16 bits (see
    /// [`with_precision`](crate::ops::with_precision)).
    #[serde(with = "Precision")]
    pub precision: crate::ops::Precision,
    /// Largest common norm of all gradients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Decay of the averaged weights; where given, they are what is evaluated and exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema_decay: Option<f64>,
    /// Optimiser steps between checkpoints, beside the one at the end of each epoch; 0 for none.
    pub checkpoint_steps: u64,
    /// Whether each epoch ends with the norms of the gradient of every term of the loss, on its last batch; this takes a step for
    /// each term, and does not change what is learned.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gradient_norms: bool,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 300,
            batch_size: 128,
            accumulate: 1,
            label_smoothing: 0.1,
            precision: crate::ops::Precision::F32,
            clip_norm: None,
            ema_decay: None,
            checkpoint_steps: 0,
            gradient_norms: false,
        }
    }
}

/// The names of precisions.
#[derive(Serialize, Deserialize)]
#[serde(remote = "crate::ops::Precision", rename_all = "lowercase")]
enum Precision {
    F32,
    Bf16,
}

impl Recipe {
    /// What is wrong with the values, one line each, the key in front.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut add = |section: &str, found: Vec<String>| {
            problems.extend(found.into_iter().map(|what| format!("{section}.{what}")));
        };
        let train = &self.train;
        let mut wrong = Vec::new();
        let mut need = |good: bool, what: String| {
            if !good {
                wrong.push(what);
            }
        };
        need(train.epochs > 0, "epochs = 0, must be at least 1".to_owned());
        need(train.batch_size > 0, "batch_size = 0, must be at least 1".to_owned());
        need(train.accumulate > 0, "accumulate = 0, must be at least 1".to_owned());
        let smoothing = train.label_smoothing;
        need((0.0..1.0).contains(&smoothing), format!("label_smoothing = {smoothing}, must be in [0, 1)"));
        let clip = train.clip_norm.unwrap_or(1.0);
        need(clip > 0.0 && clip.is_finite(), format!("clip_norm = {clip}, must be above 0"));
        let decay = train.ema_decay.unwrap_or(0.5);
        need((0.0..1.0).contains(&decay), format!("ema_decay = {decay}, must be in [0, 1)"));
        add("train", wrong);
        add("data", self.data.check());
        add("data.views", self.data.views.check());
        add("student", self.student.check());
        add("teacher", self.teacher.as_ref().map(TeacherConfig::check).unwrap_or_default());
        add("method", self.method.as_ref().map(MethodConfig::check).unwrap_or_default());
        let lessons = self.compare.iter().flat_map(|compare| &compare.methods);
        for method in self.method.iter().chain(lessons.filter_map(|lesson| lesson.method.as_ref())) {
            let (least, came) = (method.least_batch(), train.batch_size);
            if came > 0 && came < least {
                let name = method.name();
                let what = format!(
                    "batch_size = {came}: {name} compares samples of a batch, must be at least {least}"
                );
                add("train", vec![what]);
            }
        }
        add("finetune", self.finetune.check());
        add("optimizer", self.optimizer.check());
        add("schedule", self.schedule.check(self.optimizer.lr(), train.epochs));
        if let Some(compare) = &self.compare {
            problems.extend(compare.check(self));
        }
        problems
    }
}
