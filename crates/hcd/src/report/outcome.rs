//! The outcome of one training, as `result.json` keeps it.

use crate::data::LeftOut;
use crate::eval::{Insight, Split};
use crate::train::EpochRecord;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The epoch that did best on validation data, and how its weights do on the images that are told of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ChosenEpoch {
    /// Counted from 1.
    pub epoch: u64,
    /// Accuracy on the held-out validation part, in percent.
    pub validation_top1: f64,
    /// Accuracy on the images of [`Outcome::split`], in percent.
    pub top1: f64,
}

/// What one training came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What the row is called.
    pub name: String,
    /// The pair of teacher and student, where a comparison has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
    /// Seed of the run.
    pub seed: u64,
    /// Which images the figures are on.
    pub split: Split,
    /// Accuracy of the *last* epoch's weights on these images, in percent.
    pub top1: f64,
    /// Their top-5 accuracy, in percent.
    pub top5: f64,
    /// Their loss, in nats.
    pub loss: f64,
    /// Their expected calibration error.
    pub calibration_error: f64,
    /// The epoch chosen on validation data, where a part was held out.
    pub chosen: Option<ChosenEpoch>,
    /// Wall-clock seconds of training, validation included.
    pub seconds: f64,
    /// The most memory that the program had meanwhile, data and teacher included, in MiB; where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_mib: Option<u64>,
    /// Epochs trained.
    pub epochs: u64,
    /// Numbers that the student learned, and costs when it runs.
    pub parameters: usize,
    /// Numbers that the method's heads learned, dropped afterwards.
    pub head_parameters: usize,
    /// BLAKE3 of the resolved recipe of this run.
    pub recipe: String,
    /// Images that could not be read and had no part in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// A training that came to no end, as `diverged.json` keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diverged {
    /// What its row would be called.
    pub name: String,
    /// The pair of teacher and student, where a comparison has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
    /// Seed of the run.
    pub seed: u64,
    /// What is no number any more, and when.
    pub what: String,
    /// BLAKE3 of the resolved recipe of this run.
    pub recipe: String,
}

impl fmt::Display for Diverged {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} diverged under seed {}, and is without that run: {}", self.name, self.seed, self.what)
    }
}

/// One training in a report.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it came to.
    pub outcome: Outcome,
    /// Its epochs.
    pub epochs: Vec<EpochRecord>,
    /// What lies behind its figures, where that was looked at.
    pub insight: Option<Insight>,
}
