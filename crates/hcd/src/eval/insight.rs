//! What lies behind an accuracy: classes, calibration, and how a student stands beside its teacher.
//!
//! How alike two features are is linear CKA (Kornblith et al., ICML 2019, section 3): with centred columns,
//! ‖YᵀX‖²_F / (‖XᵀX‖_F ‖YᵀY‖_F), from 0 to 1, over up to [`COMPARED`] images spread evenly over the set. A stage's feature is
//! its mean over space, or over tokens. The divergence is KL(softmax(z_t) ‖ softmax(z_s)), in nats.

use super::{Evaluation, Tally, each_batch, log_softmax};
use crate::data::{Dataset, Normalization};
use crate::error::{Error, Result};
use crate::models::{Backbone, Features};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Images that features are compared on, at most.
const COMPARED: usize = 2048;

/// What a trained network does on a data set, beyond its accuracy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Insight {
    /// Top-1 accuracy of each class, in percent; none where the class has no image.
    pub per_class: Vec<Option<f64>>,
    /// Confidence and accuracy, by equal bins of confidence.
    pub calibration: Vec<ConfidenceBin>,
    /// How it stands beside its teacher, where there is one that could be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside_teacher: Option<BesideTeacher>,
}

/// The images whose most probable class has a probability within an interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceBin {
    /// How many there are.
    pub images: usize,
    /// The mean of these probabilities, in percent; 0 where there is no image.
    pub confidence: f64,
    /// Share whose class is the true one, in percent; 0 where there is no image.
    pub accuracy: f64,
}

/// A student beside its teacher, on the same images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BesideTeacher {
    /// Share of the images of which both say the same class, in percent.
    pub agreement: f64,
    /// Mean divergence of the student's probabilities from the teacher's, in nats.
    pub divergence: f64,
    /// CKA of each stage with the teacher's penultimate feature, shallow to deep.
    pub stages: Vec<f64>,
    /// CKA of the two penultimate features.
    pub penultimate: f64,
}

/// What a teacher says of every image of a data set.
#[derive(Debug, Clone)]
pub struct Reference {
    /// How it does itself.
    pub evaluation: Evaluation,
    logits: Vec<f32>,
    penultimate: Rows,
}

impl Reference {
    /// Asks `network`, on a plain device, about the whole of `dataset`.
    ///
    /// # Errors
    /// Where an image cannot be read.
    pub fn of<N: Backbone>(
        network: &N,
        dataset: &Arc<dyn Dataset>,
        normalization: &Normalization,
        device: &Device,
    ) -> Result<Self> {
        let mut tally = Tally::new(dataset.classes().len());
        let (mut logits, mut penultimate) = (Vec::new(), Rows::of(dataset.len()));
        each_batch(network, dataset, normalization, device, &mut |features, labels| {
            let said = host(features.logits);
            tally.add_rows(&said, labels);
            logits.extend(said);
            penultimate.take(features.penultimate);
        })?;
        Ok(Self { evaluation: tally.finish(), logits, penultimate })
    }
}

/// Looks at the whole of `dataset` with `network`, on a plain device, and at how it stands beside `teacher`'s answers about
/// the same images.
///
/// # Errors
/// Where an image cannot be read, or the teacher's answers are about other images or classes.
pub fn examine<N: Backbone>(
    network: &N,
    dataset: &Arc<dyn Dataset>,
    normalization: &Normalization,
    device: &Device,
    teacher: Option<&Reference>,
) -> Result<(Evaluation, Insight)> {
    let (images, classes) = (dataset.len(), dataset.classes().len());
    if let Some(told) = teacher.map(|teacher| teacher.logits.len()).filter(|&told| told != images * classes) {
        return Err(Error::Run(format!(
            "{}: the teacher said {told} logits of it, expected {images} of {classes} classes",
            dataset.name()
        )));
    }
    let mut tally = Tally::new(classes);
    let mut beside = Beside::default();
    let mut at = 0;
    each_batch(network, dataset, normalization, device, &mut |features, labels| {
        let said = host(features.logits.clone());
        tally.add_rows(&said, labels);
        if let Some(teacher) = teacher {
            let range = at * classes..(at + labels.len()) * classes;
            beside.add_logits(&teacher.logits[range], &said, classes);
            beside.add_features(features, images);
        }
        at += labels.len();
    })?;
    let calibration = tally.calibration();
    let evaluation = tally.finish();
    let beside_teacher = teacher.map(|teacher| beside.finish(images, &teacher.penultimate, device));
    let insight = Insight { per_class: evaluation.per_class.clone(), calibration, beside_teacher };
    Ok((evaluation, insight))
}

/// Sums that become a [`BesideTeacher`].
#[derive(Debug, Default)]
struct Beside {
    agreed: usize,
    divergence: f64,
    /// Of every stage, then of the penultimate feature.
    features: Vec<Rows>,
}

impl Beside {
    fn add_logits(&mut self, teacher: &[f32], student: &[f32], classes: usize) {
        for (teacher, student) in teacher.chunks(classes).zip(student.chunks(classes)) {
            self.agreed += usize::from(most_probable(teacher) == most_probable(student));
            let (of_teacher, of_student) = (log_softmax(teacher), log_softmax(student));
            let pairs = of_teacher.iter().zip(&of_student);
            self.divergence += pairs.map(|(t, s)| t.exp() * (t - s)).sum::<f64>();
        }
    }

    fn add_features(&mut self, features: Features, images: usize) {
        let mut tensors: Vec<Tensor<2>> = features.stages.into_iter().map(|stage| stage.mean()).collect();
        tensors.push(features.penultimate);
        self.features.resize_with(tensors.len(), || Rows::of(images));
        self.features.iter_mut().zip(tensors).for_each(|(rows, tensor)| rows.take(tensor));
    }

    fn finish(self, images: usize, teacher: &Rows, device: &Device) -> BesideTeacher {
        let mut alike: Vec<f64> =
            self.features.iter().map(|rows| linear_cka(rows, teacher, device)).collect();
        let penultimate = alike.pop().unwrap_or(0.0);
        let count = images.max(1) as f64;
        BesideTeacher {
            agreement: 100.0 * self.agreed as f64 / count,
            divergence: self.divergence / count,
            stages: alike,
            penultimate,
        }
    }
}

/// Features of the images that are compared, one a row.
#[derive(Debug, Clone)]
struct Rows {
    width: usize,
    values: Vec<f32>,
    seen: usize,
    images: usize,
}

impl Rows {
    /// For a set of `images`.
    fn of(images: usize) -> Self {
        Self { width: 0, values: Vec::new(), seen: 0, images }
    }

    /// Takes in the next batch (B, D), of which those rows are kept that are to be compared.
    fn take(&mut self, batch: Tensor<2>) {
        self.width = batch.dims()[1];
        for row in host(batch).chunks(self.width) {
            // Every image of a small set; of a large one, COMPARED at equal distances: sets are often sorted by class.
            let place = |index: usize| index * COMPARED / self.images;
            if self.images <= COMPARED || place(self.seen) != place(self.seen + 1) {
                self.values.extend_from_slice(row);
            }
            self.seen += 1;
        }
    }

    /// The rows with their mean taken off, in units of their mean square: (n, D).
    fn centred(&self, device: &Device) -> Tensor<2> {
        let (width, count) = (self.width, self.values.len() / self.width.max(1));
        let mut means = vec![0.0; width];
        for row in self.values.chunks(width) {
            means.iter_mut().zip(row).for_each(|(mean, &value)| *mean += f64::from(value) / count as f64);
        }
        let column = |(index, &value): (usize, &f32)| f64::from(value) - means[index % width];
        let values: Vec<f64> = self.values.iter().enumerate().map(column).collect();
        let square = values.iter().map(|value| value * value).sum::<f64>() / values.len().max(1) as f64;
        let unit = if square > 0.0 { square.sqrt() } else { 1.0 };
        let values: Vec<f32> = values.iter().map(|value| (value / unit) as f32).collect();
        Tensor::from_data(TensorData::new(values, [count, width]), device)
    }
}

/// Linear CKA of features of the same images; 0 where one of them never varies.
fn linear_cka(left: &Rows, right: &Rows, device: &Device) -> f64 {
    let (left, right) = (left.centred(device), right.centred(device));
    let product = |a: &Tensor<2>, b: &Tensor<2>| {
        let values = a.clone().transpose().matmul(b.clone()); // (D_a, D_b)
        host(values).into_iter().map(|value| f64::from(value).powi(2)).sum::<f64>()
    };
    let own = (product(&left, &left) * product(&right, &right)).sqrt();
    if own > 0.0 { product(&left, &right) / own } else { 0.0 }
}

fn host(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// The first of the greatest logits.
fn most_probable(logits: &[f32]) -> usize {
    let better =
        |best: usize, (index, &value): (usize, &f32)| if value > logits[best] { index } else { best };
    logits.iter().enumerate().fold(0, better)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(width: usize, values: &[f32]) -> Rows {
        let images = values.len() / width;
        let mut rows = Rows::of(images);
        let data = TensorData::new(values.to_vec(), [images, width]);
        rows.take(Tensor::from_data(data, &Device::flex()));
        rows
    }

    fn alike(left: &Rows, right: &Rows) -> f64 {
        linear_cka(left, right, &Device::flex())
    }

    #[test]
    fn cka_of_known_features() {
        let first = rows(2, &[1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, -1.0]);
        // Turned, made larger and moved: as alike as can be.
        let turned = rows(2, &[5.0, 8.0, 2.0, 5.0, 5.0, 2.0, 8.0, 5.0]);
        assert!((alike(&first, &turned) - 1.0).abs() < 1e-6);
        // XᵀX = 2·1, x the first column alone: ‖xᵀX‖² = 4, over √8 · 2.
        let column = rows(1, &[1.0, 0.0, -1.0, 0.0]);
        assert!((alike(&first, &column) - 1.0 / 2.0_f64.sqrt()).abs() < 1e-6);
        let across = rows(1, &[1.0, -1.0, 1.0, -1.0]);
        assert!(alike(&first, &across) < 1e-6);
        assert_eq!(alike(&first, &rows(1, &[3.0; 4])), 0.0);
    }

    #[test]
    fn a_large_set_is_compared_on_images_at_equal_distances() {
        let values: Vec<f32> = (0..3 * COMPARED).map(|index| index as f32).collect();
        let kept = rows(1, &values).values;
        assert_eq!(kept.len(), COMPARED);
        assert!(kept.windows(2).all(|pair| pair[1] - pair[0] == 3.0));
        assert_eq!(rows(1, &values[..COMPARED]).values.len(), COMPARED);
    }

    #[test]
    fn agreement_and_divergence_of_known_answers() {
        let mut beside = Beside::default();
        let (even, likely) = ([0.0, 0.0], [3.0_f32.ln(), 0.0]);
        beside.add_logits(&[even, likely, likely].concat(), &[likely, likely, [0.0, 1.0]].concat(), 2);
        // Of equals, the first counts.
        assert_eq!(beside.agreed, 2);
        let first = 0.5 * (0.5_f64 / 0.75).ln() + 0.5 * (0.5_f64 / 0.25).ln();
        let sum = 1.0_f64 + 1.0_f64.exp();
        let third = 0.75 * (0.75 * sum).ln() + 0.25 * (0.25 * sum / 1.0_f64.exp()).ln();
        assert!((beside.divergence - first - third).abs() < 1e-6, "{}", beside.divergence);
    }
}
