//! Targets from labels: q = (1 − ε) · label + ε/K, and the one-hot of the most probable class.
//!
//! Source: label smoothing, Szegedy et al., Rethinking the Inception Architecture, arXiv 1512.00567, section
//! 7. Smoothing a mixture of labels (mixup, CutMix) is the same as mixing smoothed ones: it is linear.

use super::Targets;
use crate::error::{Error, Result};
use burn::tensor::{Device, Tensor, TensorData};

impl Targets {
    /// From class numbers, smoothed by ε = `smoothing`.
    ///
    /// # Shapes
    /// `labels` B numbers below K = `classes` → (B, K) each
    ///
    /// # Errors
    /// [`Error::Data`] where a label is not below `classes`.
    ///
    /// # Panics
    /// Where `smoothing` is not in 0..=1.
    pub fn from_labels(labels: &[usize], classes: usize, smoothing: f64, device: &Device) -> Result<Self> {
        let mut one_hot = vec![0.0f32; labels.len() * classes];
        for (index, &label) in labels.iter().enumerate() {
            if label >= classes {
                let message = format!("label {label} at place {index} of the batch, must be below {classes}");
                return Err(Error::Data(message));
            }
            one_hot[index * classes + label] = 1.0;
        }
        let hard = Tensor::<2>::from_data(TensorData::new(one_hot, [labels.len(), classes]), device);
        Ok(Self { soft: smooth(hard.clone(), smoothing), hard })
    }

    /// From a distribution a row, as mixup and CutMix give them, smoothed by ε = `smoothing`. The hard class
    /// is the most probable one, the first of several.
    ///
    /// # Shapes
    /// `labels` (B, K), rows that are distributions
    ///
    /// # Panics
    /// Where `smoothing` is not in 0..=1.
    pub fn from_soft(labels: Tensor<2>, smoothing: f64) -> Self {
        let classes = labels.dims()[1];
        // Burn leaves open which of several equal maxima `argmax` finds. Here the candidates get falling ranks
        // K, K−1, …, 1 and the highest wins.
        let ranks = (0..classes).rev().map(|rank| rank as f32 + 1.0).collect();
        let ranks = Tensor::<2>::from_data(
            TensorData::new::<f32, _>(ranks, [1, classes]),
            (&labels.device(), labels.dtype()),
        );
        let candidates = labels.clone().equal(labels.clone().max_dim(1)); // (B, K)
        let ranked = candidates.float().cast(labels.dtype()) * ranks;
        let hard = ranked.clone().equal(ranked.max_dim(1)).float().cast(labels.dtype());
        Self { soft: smooth(labels, smoothing), hard }
    }
}

/// (1 − ε) q + ε/K.
fn smooth(labels: Tensor<2>, smoothing: f64) -> Tensor<2> {
    assert!((0.0..=1.0).contains(&smoothing), "label smoothing {smoothing} must be between 0 and 1");
    let classes = labels.dims()[1] as f64;
    labels * (1.0 - smoothing) + smoothing / classes
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn values(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    #[test]
    fn smoothing_spreads_epsilon_over_all_classes() {
        let targets = Targets::from_labels(&[1, 0], 4, 0.2, &Device::flex()).unwrap();
        assert_eq!(values(targets.hard), [0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        let expected = [0.05, 0.85, 0.05, 0.05, 0.85, 0.05, 0.05, 0.05];
        for (got, expected) in values(targets.soft).into_iter().zip(expected) {
            assert!((got - expected).abs() < 1e-6, "{got} instead of {expected}");
        }
    }

    #[test]
    fn a_label_beyond_the_classes_is_refused() {
        let error = Targets::from_labels(&[0, 4], 4, 0.0, &Device::flex()).unwrap_err();
        assert_eq!(error.to_string(), "label 4 at place 1 of the batch, must be below 4");
    }

    #[test]
    fn the_hard_class_is_the_first_of_the_most_probable() {
        let check = |row: [f32; 4], expected: [f32; 4]| {
            let targets = Targets::from_soft(Tensor::from_data([row], &Device::flex()), 0.1);
            assert_eq!(values(targets.hard), expected);
        };
        check([0.1, 0.6, 0.3, 0.0], [0.0, 1.0, 0.0, 0.0]);
        check([0.0, 0.5, 0.5, 0.0], [0.0, 1.0, 0.0, 0.0]);
        check([0.25; 4], [1.0, 0.0, 0.0, 0.0]);
        check([0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn soft_one_hots_and_labels_agree() {
        let hard = Targets::from_labels(&[2, 0], 3, 0.1, &Device::flex()).unwrap();
        let soft = Targets::from_soft(hard.hard.clone(), 0.1);
        assert_eq!(values(soft.soft), values(hard.soft));
        assert_eq!(values(soft.hard), values(hard.hard));
    }
}
