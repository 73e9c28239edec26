//! Loaders: the batches of an epoch, prepared ahead on a thread of their own.
//!
//! The order of an epoch is a pure function of (seed, epoch), what is seen of a sample of
//! (seed, epoch, sample id); so an epoch taken up at batch k continues as if never left.

use super::augment::Levels;
use super::{Dataset, HostBatch, Normalization, View, ViewPolicy};
use crate::error::{Error, Result};
use crate::rng;
use rand::seq::SliceRandom;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

/// Batches that wait while the consumer works: enough to hide the preparation of one.
const DEPTH: usize = 2;

/// Shuffled, varied batches to train on; the samples left over after the last whole batch of an epoch are
/// dropped, other ones each epoch.
#[derive(Debug, Clone)]
pub struct TrainLoader {
    dataset: Arc<dyn Dataset>,
    policy: ViewPolicy,
    levels: Levels,
    batch_size: usize,
    seed: u64,
}

impl TrainLoader {
    /// A loader of batches of `batch_size` samples, with views drawn by `policy` under `seed`.
    ///
    /// # Errors
    /// Where the policy or normalisation cannot be meant for these images, the batch size is 0, or the set
    /// does not fill one batch.
    pub fn new(
        dataset: Arc<dyn Dataset>,
        policy: ViewPolicy,
        normalization: &Normalization,
        batch_size: usize,
        seed: u64,
    ) -> Result<Self> {
        let shape = dataset.image_shape();
        let mut problems = policy.check();
        let side = shape.height.min(shape.width);
        if policy.crop_padding as usize >= side {
            let came = policy.crop_padding;
            problems.push(format!(
                "crop_padding = {came}, must be below {side}: a crop might show none of the image"
            ));
        }
        let levels = checked_levels(dataset.as_ref(), normalization, batch_size, problems)?;
        if dataset.len() < batch_size {
            let (name, count) = (dataset.name(), dataset.len());
            return Err(Error::Data(format!(
                "{name}: {count} samples, expected at least one batch of {batch_size}; lower batch_size"
            )));
        }
        Ok(Self { dataset, policy, levels, batch_size, seed })
    }

    /// Whole batches in an epoch, at least 1.
    pub fn batches_per_epoch(&self) -> usize {
        self.dataset.len() / self.batch_size
    }

    /// The batches of an epoch from batch `first_batch` on (0 for all of it); none where there are no more.
    pub fn epoch(&self, epoch: u64, first_batch: usize) -> Batches {
        let this = self.clone();
        let order = epoch_order(this.dataset.len(), this.seed, epoch);
        Batches::prepare(first_batch..self.batches_per_epoch(), move |batch| {
            let indices = &order[batch * this.batch_size..][..this.batch_size];
            let view_of = |id| View::draw(&this.policy, this.seed, epoch, id);
            HostBatch::assemble(this.dataset.as_ref(), indices, &this.levels, view_of)
        })
    }
}

/// Batches to evaluate on: every sample once, in order, unvaried; the last batch may be smaller.
#[derive(Debug, Clone)]
pub struct EvalLoader {
    dataset: Arc<dyn Dataset>,
    levels: Levels,
    batch_size: usize,
}

impl EvalLoader {
    /// A loader of batches of up to `batch_size` samples.
    ///
    /// # Errors
    /// Where the normalisation is not for these images or the batch size is 0.
    pub fn new(dataset: Arc<dyn Dataset>, normalization: &Normalization, batch_size: usize) -> Result<Self> {
        let levels = checked_levels(dataset.as_ref(), normalization, batch_size, Vec::new())?;
        Ok(Self { dataset, levels, batch_size })
    }

    /// How many batches there are, the last one included that may be smaller.
    pub fn batch_count(&self) -> usize {
        self.dataset.len().div_ceil(self.batch_size)
    }

    /// All samples, in order.
    pub fn batches(&self) -> Batches {
        let this = self.clone();
        Batches::prepare(0..self.batch_count(), move |batch| {
            let start = batch * this.batch_size;
            let indices: Vec<usize> = (start..this.dataset.len().min(start + this.batch_size)).collect();
            HostBatch::assemble(this.dataset.as_ref(), &indices, &this.levels, |_| View::identity())
        })
    }
}

/// The order in which an epoch visits samples, from the stream (seed, "order", epoch).
fn epoch_order(samples: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..samples).collect();
    order.shuffle(&mut rng::stream(seed, "order", &[epoch]));
    order
}

/// The normalisation's tables, once it and the batch size are found sound; `problems` are those found before.
fn checked_levels(
    dataset: &dyn Dataset,
    normalization: &Normalization,
    batch_size: usize,
    mut problems: Vec<String>,
) -> Result<Levels> {
    problems.extend(normalization.check(dataset.image_shape().channels));
    if batch_size == 0 {
        problems.push("batch_size = 0, must be at least 1".to_owned());
    }
    match problems.is_empty() {
        true => Ok(Levels::new(normalization)),
        false => Err(Error::Recipe(format!("{}: {}", dataset.name(), problems.join("; ")))),
    }
}

/// Batches in order, prepared ahead by a thread, which ends when these are dropped. The first
/// error is the last item.
#[derive(Debug)]
pub struct Batches {
    /// Taken away to tell the thread that nobody waits any more.
    receiver: Option<Receiver<Result<HostBatch>>>,
    worker: Option<JoinHandle<()>>,
    left: usize,
}

impl Batches {
    /// Starts making the batches of those numbers.
    fn prepare(
        numbers: std::ops::Range<usize>,
        make: impl Fn(usize) -> Result<HostBatch> + Send + 'static,
    ) -> Self {
        let left = numbers.len();
        if left == 0 {
            return Self { receiver: None, worker: None, left };
        }
        let (sender, receiver) = sync_channel(DEPTH);
        let spare = sender.clone();
        let work = move || {
            for number in numbers {
                let batch = make(number);
                let stop = batch.is_err();
                if sender.send(batch).is_err() || stop {
                    return;
                }
            }
        };
        let worker = match thread::Builder::new().name("hcd-loader".to_owned()).spawn(work) {
            Ok(worker) => Some(worker),
            Err(error) => {
                // The channel is new and the other end in this function: this neither blocks nor fails.
                let _ = spare.send(Err(Error::Data(format!("cannot start a thread to load data: {error}"))));
                None
            }
        };
        Self { receiver: Some(receiver), worker, left }
    }
}

impl Iterator for Batches {
    type Item = Result<HostBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Ok(batch) = self.receiver.as_ref()?.recv() {
            self.left = if batch.is_ok() { self.left.saturating_sub(1) } else { 0 };
            return Some(batch);
        }
        self.receiver = None;
        if let Some(Err(panic)) = self.worker.take().map(JoinHandle::join) {
            // A fault in the program, not in the data: it must not pass for the end of the epoch.
            std::panic::resume_unwind(panic);
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // An error may cut them short.
        (0, Some(self.left))
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.receiver = None;
        if let Some(worker) = self.worker.take() {
            // Nobody is left to tell of a panic, and panicking while dropping would abort.
            let _ = worker.join();
        }
    }
}
