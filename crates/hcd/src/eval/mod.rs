//! Step 7, what came of it: accuracy, loss and calibration of a network on a data set.
//!
//! Expected calibration error (Naeini et al. 2015; Guo et al. 2017): Σ over 15 equal bins of confidence of
//! (share of samples) · |accuracy − mean confidence|.

mod features;
mod images;
mod insight;
mod tensor_file;
mod views;

pub use features::{FeatureFile, extract};
pub use images::{Part, is_numbered, open};
pub use insight::{BesideTeacher, ConfidenceBin, Insight, Reference, examine};
pub use tensor_file::ImageTensors;
pub use views::write_view;

use crate::data::{Dataset, EvalLoader, HostBatch, ImageShape, Normalization};
use crate::error::Result;
use crate::models::{Backbone, Features, Network, Pass};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

const BINS: usize = 15;
/// Images a forward pass in evaluation, where they are small.
pub const BATCH: usize = 250;

/// Images a forward pass in evaluation: fewer of large ones, so that memory stays bounded.
pub fn batch_of(image: ImageShape) -> usize {
    (BATCH * SMALL / image.numel().max(1)).clamp(LARGE_BATCH, BATCH)
}

/// Numbers in an image of 48 x 48 in colour, the largest of which [`BATCH`] go at once.
const SMALL: usize = 3 * 48 * 48;
const LARGE_BATCH: usize = 32;

/// How many rows have their greatest logit at the label.
///
/// # Shapes
/// `logits` (B, K), `labels` B numbers
pub(crate) fn count_correct(logits: Tensor<2>, labels: &[usize]) -> usize {
    let values: Vec<f32> = logits.into_data().iter::<f32>().collect();
    let width = values.len() / labels.len().max(1);
    let right = |(row, &label): (&[f32], &usize)| {
        row.iter().enumerate().all(|(class, &value)| class == label || value < row[label])
    };
    values.chunks(width.max(1)).zip(labels).filter(|pair| right(*pair)).count()
}

/// What guessing among `classes` comes to, in percent, where an accuracy is hardly better.
pub(crate) fn near_chance(top1: f64, classes: usize) -> Option<f64> {
    let chance = 100.0 / classes as f64;
    // Twice chance means little where there are few classes: of two, it is all there is.
    (top1 < (2.0 * chance).min(chance + 10.0)).then_some(chance)
}

/// Which images a figure is on. Settings are chosen on validation data, results are told on test data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// The test images.
    #[default]
    Test,
    /// The part of the training images that is held out.
    Validation,
}

impl fmt::Display for Split {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Split::Test => "test",
            Split::Validation => "validation",
        })
    }
}

/// How a network does on a data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Images looked at.
    pub images: usize,
    /// Share whose most probable class is the true one, in percent.
    pub top1: f64,
    /// Share whose true class is among the five most probable, in percent.
    pub top5: f64,
    /// Mean cross-entropy with the labels, in nats.
    pub loss: f64,
    /// Expected calibration error over 15 bins, in [0, 1].
    pub calibration_error: f64,
    /// Top-1 accuracy of each class, in percent; none where the class has no image.
    pub per_class: Vec<Option<f64>>,
}

/// Counts that add up to an [`Evaluation`].
#[derive(Debug, Clone)]
struct Tally {
    top1: usize,
    top5: usize,
    loss: f64,
    classes: Vec<(usize, usize)>,
    bins: [(usize, usize, f64); BINS],
}

impl Tally {
    fn new(classes: usize) -> Self {
        Self { top1: 0, top5: 0, loss: 0.0, classes: vec![(0, 0); classes], bins: [(0, 0, 0.0); BINS] }
    }

    fn add(&mut self, logits: &[f32], label: usize) {
        let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|&z| f64::from(z - best).exp()).sum();
        // Ties count against the network, as do comparisons with NaN.
        let own = logits[label];
        let ahead = logits
            .iter()
            .enumerate()
            .filter(|&(k, &z)| k != label && z.partial_cmp(&own) != Some(Ordering::Less))
            .count();
        let right = ahead == 0;
        self.top1 += usize::from(right);
        self.top5 += usize::from(ahead < 5);
        self.loss += sum.ln() - f64::from(own - best);
        let (seen, hit) = &mut self.classes[label];
        *seen += 1;
        *hit += usize::from(right);
        let confidence = 1.0 / sum;
        let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        let (seen, hit, total) = &mut self.bins[bin];
        *seen += 1;
        *hit += usize::from(right);
        *total += confidence;
    }

    /// The same of rows of logits, one for each label.
    fn add_rows(&mut self, logits: &[f32], labels: &[usize]) {
        let width = logits.len() / labels.len().max(1);
        logits.chunks(width.max(1)).zip(labels).for_each(|(row, &label)| self.add(row, label));
    }

    /// The bins of confidence, as they are told.
    fn calibration(&self) -> Vec<ConfidenceBin> {
        let bin = |&(images, right, confidence): &(usize, usize, f64)| {
            let percent = |sum: f64| 100.0 * sum / images.max(1) as f64;
            ConfidenceBin { images, confidence: percent(confidence), accuracy: percent(right as f64) }
        };
        self.bins.iter().map(bin).collect()
    }

    fn finish(self) -> Evaluation {
        let images: usize = self.classes.iter().map(|(seen, _)| seen).sum();
        let percent = |hits: usize| 100.0 * hits as f64 / images.max(1) as f64;
        let gap = |&(_, hit, confidence): &(usize, usize, f64)| (hit as f64 - confidence).abs();
        Evaluation {
            images,
            top1: percent(self.top1),
            top5: percent(self.top5),
            loss: self.loss / images.max(1) as f64,
            calibration_error: self.bins.iter().map(gap).sum::<f64>() / images.max(1) as f64,
            per_class: self
                .classes
                .iter()
                .map(|&(seen, hit)| (seen > 0).then(|| 100.0 * hit as f64 / seen as f64))
                .collect(),
        }
    }
}

/// Evaluates `network` (on a plain device) on the whole of `dataset`; `progress` is told of images done.
///
/// # Errors
/// Where an image cannot be read.
pub fn evaluate<N: Backbone>(
    network: &N,
    dataset: &Arc<dyn Dataset>,
    normalization: &Normalization,
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> Result<Evaluation> {
    let mut tally = Tally::new(dataset.classes().len());
    each_batch(network, dataset, normalization, device, &mut |features, labels| {
        let logits: Vec<f32> = features.logits.into_data().iter::<f32>().collect();
        tally.add_rows(&logits, labels);
        progress(labels.len());
    })?;
    Ok(tally.finish())
}

/// Hands what `network` says of each batch of `dataset`, and its labels, to `visit`, in order.
fn each_batch<N: Backbone>(
    network: &N,
    dataset: &Arc<dyn Dataset>,
    normalization: &Normalization,
    device: &Device,
    visit: &mut dyn FnMut(Features, &[usize]),
) -> Result<()> {
    for batch in EvalLoader::new(dataset.clone(), normalization, batch_of(dataset.image_shape()))?.batches() {
        let batch = batch?;
        let images = Tensor::<4>::from_data(TensorData::new(batch.pixels, batch.shape), device);
        visit(network.forward(images, &mut Pass::Eval), &batch.labels);
    }
    Ok(())
}

/// The probabilities of the classes for each image of a batch: softmax of the logits, in f64.
pub fn probabilities(network: &Network, batch: HostBatch, device: &Device) -> Vec<Vec<f64>> {
    let (count, images) = (batch.shape[0], TensorData::new(batch.pixels, batch.shape));
    let logits = network.forward(Tensor::<4>::from_data(images, device), &mut Pass::Eval).logits;
    let values: Vec<f32> = logits.into_data().iter::<f32>().collect();
    let softmax = |row: &[f32]| log_softmax(row).into_iter().map(f64::exp).collect();
    values.chunks(values.len() / count.max(1)).map(softmax).collect()
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - most)).collect();
    let sum = shifted.iter().map(|value| value.exp()).sum::<f64>().ln();
    shifted.into_iter().map(|value| value - sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_four_known_answers() {
        let mut tally = Tally::new(6);
        let even = (1.0f32 / 3.0).ln();
        tally.add(&[9.0, 0.0, 0.0, 0.0, 0.0, 0.0], 0); // right
        tally.add(&[5.0, 4.0, 3.0, 2.0, 1.0, 0.0], 4); // fifth
        tally.add(&[5.0, 4.0, 3.0, 2.0, 1.0, 0.0], 5); // sixth
        tally.add(&[even, even, even, -99.0, -99.0, -99.0], 1); // tied: not right
        let result = tally.finish();
        assert_eq!((result.images, result.top1, result.top5), (4, 25.0, 75.0));
        assert_eq!(result.per_class, [Some(100.0), Some(0.0), None, None, Some(0.0), Some(0.0)]);
        let tail =
            (1.0 + (-1.0f64).exp() + (-2.0f64).exp() + (-3.0f64).exp() + (-4.0f64).exp() + (-5.0f64).exp())
                .ln();
        let first = (1.0 + 5.0 * (-9.0f64).exp()).ln();
        let expected = (first + (tail + 4.0) + (tail + 5.0) + 3.0f64.ln()) / 4.0;
        assert!((result.loss - expected).abs() < 1e-6, "{} {expected}", result.loss);
        // Confidences: c0 right; c1 twice, wrong; 1/3, wrong.
        let (c0, c1) = ((-first).exp(), (-tail).exp());
        let expected = ((1.0 - c0) + 2.0 * c1 + 1.0 / 3.0) / 4.0;
        assert!((result.calibration_error - expected).abs() < 1e-6, "{}", result.calibration_error);
    }
}
