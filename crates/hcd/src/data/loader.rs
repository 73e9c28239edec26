//! Loaders: the batches of an epoch, prepared ahead on a thread of their own.
//!
//! The order of an epoch is a pure function of (seed, epoch), what is seen of a sample of
//! (seed, epoch, sample id); so an epoch taken up at batch k continues as if never left.

use super::augment::Levels;
use super::batch::Shown;
use super::{Dataset, HostBatch, Normalization, ViewPolicy, Views};
use crate::error::{Error, Result};
use crate::rng;
use rand::seq::SliceRandom;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

/// Batches that wait while the consumer works: enough to hide the preparation of one.
const DEPTH: usize = 2;

/// Shuffled, varied batches to train on; the samples left over after the last whole batch of an epoch are
/// dropped, other ones each epoch.
#[derive(Debug, Clone)]
pub struct TrainLoader {
    dataset: Arc<dyn Dataset>,
    views: Views,
    levels: Levels,
    batch_size: usize,
    /// Of the set, once it was asked for.
    fingerprint: Arc<OnceLock<String>>,
}

impl TrainLoader {
    /// A loader of batches of `batch_size` samples, with views drawn by `policy` under `seed`.
    ///
    /// # Errors
    /// Where the policy or normalisation cannot be meant for these images, the batch size is 0, or the set
    /// does not fill one batch.
    pub fn new(
        dataset: Arc<dyn Dataset>,
        policy: &ViewPolicy,
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
        let views = Views::new(policy, &normalization.mean, seed)?;
        Ok(Self { dataset, views, levels, batch_size, fingerprint: Arc::default() })
    }

    /// The loader with what is known of its set's fingerprint, and may be in time.
    pub(crate) fn known_by(self, fingerprint: Arc<OnceLock<String>>) -> Self {
        Self { fingerprint, ..self }
    }

    /// A loader of the same views of `dataset`, the same samples at another size, in batches of up to `most`.
    pub fn at_size_of(&self, dataset: Arc<dyn Dataset>, most: usize) -> Self {
        let shape = self.dataset.image_shape();
        let views = self.views.drawn_for((shape.height, shape.width));
        let (levels, batch_size) = (self.levels.clone(), self.batch_size.min(most));
        Self { dataset, views, levels, batch_size, fingerprint: Arc::default() }
    }

    /// A loader of views drawn under another seed.
    pub fn under(&self, seed: u64) -> Self {
        Self { views: self.views.under(seed), ..self.clone() }
    }

    /// Whole batches in an epoch, at least 1.
    pub fn batches_per_epoch(&self) -> usize {
        self.dataset.len() / self.batch_size
    }

    /// The batches of an epoch from batch `first_batch` on (0 for all of it); none where there are no more.
    pub fn epoch(&self, epoch: u64, first_batch: usize) -> Batches {
        let this = self.clone();
        let order = epoch_order(this.dataset.len(), self.seed(), epoch);
        Batches::prepare(first_batch..self.batches_per_epoch(), move |batch| {
            let (policy, repeats) = (this.policy(), this.policy().repeats as usize);
            let mut shown = Vec::with_capacity(this.batch_size);
            for (repeat, rows) in policy.rows_of(batch, this.batch_size) {
                let number = policy.number_of(this.seed(), epoch, repeat);
                let places = batch * this.batch_size..(batch + 1) * this.batch_size;
                let own = places.filter(|place| place % repeats == repeat as usize);
                shown.extend(own.map(|place| Shown { index: order[place / repeats], number }));
                debug_assert_eq!(shown.len(), rows.end);
            }
            this.show(&shown)
        })
    }

    /// The samples at `indices` as view `number` shows them, in that order; the last batch may be smaller.
    pub fn view_batches(&self, number: u64, indices: Vec<usize>) -> Batches {
        let this = self.clone();
        Batches::prepare(0..indices.len().div_ceil(self.batch_size), move |batch| {
            let start = batch * this.batch_size;
            this.view_batch(number, &indices[start..indices.len().min(start + this.batch_size)])
        })
    }

    /// View `number` of the samples at `indices`.
    ///
    /// # Errors
    /// Where an image cannot be read.
    pub fn view_batch(&self, number: u64, indices: &[usize]) -> Result<HostBatch> {
        self.show(&indices.iter().map(|&index| Shown { index, number }).collect::<Vec<_>>())
    }

    fn show(&self, shown: &[Shown]) -> Result<HostBatch> {
        HostBatch::varied(self.dataset.as_ref(), shown, &self.levels, &self.views)
    }

    /// Most samples in a batch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// What is learned from.
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.dataset
    }

    /// The [fingerprint](super::fingerprint()) of what is learned from. All images are read for it, once for a loader, its copies
    /// and the [experiment](crate::train::Experiment::loader) that made it.
    ///
    /// # Errors
    /// Where an image cannot be read.
    pub fn fingerprint(&self) -> Result<&str> {
        super::known_fingerprint(&self.fingerprint, self.dataset.as_ref())
    }

    /// How views are drawn.
    pub fn policy(&self) -> &ViewPolicy {
        self.views.policy()
    }

    /// Whether views are of images as they were before they were brought to one size.
    pub fn views_originals(&self) -> bool {
        self.views.of_originals()
    }

    /// The seed of order and views.
    pub fn seed(&self) -> u64 {
        self.views.seed()
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
            HostBatch::unvaried(this.dataset.as_ref(), &indices, &this.levels)
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
