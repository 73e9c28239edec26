//! Step 3, what the expert says: trait [`Teacher`] answers for a batch of views. Always in evaluation mode,
//! never with a gradient.

mod cache;
mod live;
mod recorded;

pub use cache::{CacheKey, Cached, Filled, Stored, Verified};
pub use live::Live;
pub use recorded::Recorded;

use crate::data::HostBatch;
use crate::error::Result;
use burn::tensor::Tensor;

/// What a frozen teacher says about a batch.
#[derive(Debug, Clone)]
pub struct TeacherOutput {
    /// The vector that its classifier reads: (B, D_t).
    pub penultimate: Tensor<2>,
    /// Its unnormalised scores: (B, K).
    pub logits: Tensor<2>,
}

impl TeacherOutput {
    /// The same values as constants of an autodiff device: no gradient flows into them.
    pub fn on_autodiff(self) -> Self {
        Self { penultimate: self.penultimate.autodiff(), logits: self.logits.autodiff() }
    }
}

/// Which views a batch shows: answers to the same views are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

    /// D_t, the width of its penultimate feature.
    fn width(&self) -> usize;
}
