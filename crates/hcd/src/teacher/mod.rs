//! Step 3, what the expert says: trait [`Teacher`] answers for a batch of views. Always in evaluation mode,
//! never with a gradient.

mod cache;
mod given;
mod live;
mod recorded;

pub use cache::{CacheKey, Cached, Filled, Stored, Verified};
pub use given::Given;
pub use live::Live;
pub use recorded::Recorded;

use crate::data::HostBatch;
use crate::error::{Error, Result};
use crate::models::{StageFeature, StageShape};
use burn::tensor::Tensor;

/// What a frozen teacher says about a batch.
#[derive(Debug, Clone)]
pub struct TeacherOutput {
    /// The vector that its classifier reads: (B, D_t).
    pub penultimate: Tensor<2>,
    /// Its unnormalised scores: (B, K).
    pub logits: Tensor<2>,
    /// Its stages, shallow to deep; none where nobody asked for them.
    pub stages: Vec<StageFeature>,
}

impl TeacherOutput {
    /// The same values as constants of an autodiff device: no gradient flows into them.
    pub fn on_autodiff(self) -> Self {
        let stage = |stage| match stage {
            StageFeature::Map(map) => StageFeature::Map(map.autodiff()),
            StageFeature::Tokens { tokens, prefix, grid } => {
                StageFeature::Tokens { tokens: tokens.autodiff(), prefix, grid }
            }
        };
        Self {
            penultimate: self.penultimate.autodiff(),
            logits: self.logits.autodiff(),
            stages: self.stages.into_iter().map(stage).collect(),
        }
    }

    /// Answers about parts of a batch as one about the whole.
    ///
    /// # Panics
    /// Where there are none, or they differ in kind.
    pub(crate) fn joined(parts: Vec<Self>) -> Self {
        let count = parts[0].stages.len();
        let stage = |index: usize| StageFeature::joined(parts.iter().map(|part| part.stages[index].clone()));
        let stages = (0..count).map(stage).collect();
        let (penultimate, logits) = parts.into_iter().map(|part| (part.penultimate, part.logits)).unzip();
        // (B, D_t) and (B, K)
        Self { penultimate: Tensor::cat(penultimate, 0), logits: Tensor::cat(logits, 0), stages }
    }
}

/// Which views a batch shows: answers to the same views are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewKey {
    /// Seed of the views.
    pub seed: u64,
    /// Their number: see [`ViewPolicy::number`](crate::data::ViewPolicy::number).
    pub number: u64,
}

/// A frozen expert.
pub trait Teacher {
    /// What it says about the views of `batch`, on a device without autodiff.
    ///
    /// # Errors
    /// Where an answer cannot be had.
    fn answer(&mut self, batch: &HostBatch, views: ViewKey) -> Result<TeacherOutput>;

    /// The same with its stages, where it can be asked for them: a network can, a cache of its answers alone cannot.
    ///
    /// # Errors
    /// Where an answer cannot be had.
    fn answer_with_stages(&mut self, _batch: &HostBatch, _views: ViewKey) -> Result<TeacherOutput> {
        Err(Error::Run("this teacher gives its last feature and logits alone, no stages".to_owned()))
    }

    /// The shapes of its stages, where it can be asked for them.
    fn stages(&self) -> Option<Vec<StageShape>> {
        None
    }

    /// D_t, the width of its penultimate feature.
    fn width(&self) -> usize;

    /// BLAKE3 of what it knows (its weights, or its answers), by which a run that goes on recognises it; none where it cannot be
    /// told.
    fn fingerprint(&self) -> Option<String> {
        None
    }
}
