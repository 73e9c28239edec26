//! What a training has seen so far: sums of the running epoch, records of the finished ones, the best.

use super::Probe;
use super::step::StepReport;
use crate::eval::Evaluation;
use serde::{Deserialize, Serialize};

/// One loss term over an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TermRecord {
    /// Its name.
    pub name: String,
    /// Mean value before weighting.
    pub raw: f64,
    /// Mean value as added to the total.
    pub weighted: f64,
}

/// One finished epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: u64,
    /// Learning rate of its last step.
    pub lr: f64,
    /// Mean training loss.
    pub loss: f64,
    /// Accuracy on the training views, in percent, as they went by.
    pub train_top1: f64,
    /// The loss by term.
    pub terms: Vec<TermRecord>,
    /// Mean norm of all gradients before clipping, where clipping is on.
    pub gradient_norm: Option<f64>,
    /// On the held-out part, where there is one.
    pub validation: Option<Evaluation>,
    /// What its last batch showed of what happens inside.
    #[serde(default, skip_serializing_if = "Probe::is_empty")]
    pub probe: Probe,
}

/// The epoch that did best on the held-out part; the earliest of equals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Counted from 1.
    pub epoch: u64,
    /// Its accuracy there, in percent.
    pub top1: f64,
}

/// Where a training stands, but for tensors.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    /// Finished epochs.
    pub epochs: Vec<EpochRecord>,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Batches of the running epoch that are done.
    pub batches: usize,
    /// The best epoch so far.
    pub best: Option<Best>,
    sums: Sums,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Sums {
    batches: usize,
    images: usize,
    correct: usize,
    loss: f64,
    terms: Vec<TermRecord>,
    norms: usize,
    norm: f64,
}

impl History {
    /// Takes in a batch.
    pub(super) fn add(&mut self, report: &StepReport) {
        let sums = &mut self.sums;
        self.batches += 1;
        sums.batches += 1;
        sums.images += report.images;
        sums.correct += report.correct;
        sums.loss += report.loss;
        if sums.terms.is_empty() {
            sums.terms.clone_from(&report.terms);
        } else {
            for (sum, term) in sums.terms.iter_mut().zip(&report.terms) {
                sum.raw += term.raw;
                sum.weighted += term.weighted;
            }
        }
    }

    /// Takes in the gradient norm of a step.
    pub(super) fn add_norm(&mut self, norm: f64) {
        self.sums.norms += 1;
        self.sums.norm += norm;
    }

    /// Mean training loss of the running epoch so far.
    pub(super) fn running_loss(&self) -> f64 {
        self.sums.loss / self.sums.batches.max(1) as f64
    }

    /// Closes the running epoch. Says whether it is the best so far.
    pub(super) fn finish_epoch(&mut self, lr: f64, validation: Option<Evaluation>, probe: Probe) -> bool {
        let sums = std::mem::take(&mut self.sums);
        let batches = sums.batches.max(1) as f64;
        let mean = |term: TermRecord| TermRecord {
            name: term.name,
            raw: term.raw / batches,
            weighted: term.weighted / batches,
        };
        let epoch = self.epochs.len() as u64 + 1;
        let top1 = validation.as_ref().map(|evaluation| evaluation.top1);
        self.epochs.push(EpochRecord {
            epoch,
            lr,
            loss: sums.loss / batches,
            train_top1: 100.0 * sums.correct as f64 / sums.images.max(1) as f64,
            terms: sums.terms.into_iter().map(mean).collect(),
            gradient_norm: (sums.norms > 0).then(|| sums.norm / sums.norms as f64),
            validation,
            probe,
        });
        self.batches = 0;
        let Some(top1) = top1 else { return false };
        let better = self.best.is_none_or(|best| top1 > best.top1);
        if better {
            self.best = Some(Best { epoch, top1 });
        }
        better
    }
}
