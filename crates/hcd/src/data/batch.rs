//! Batches: views of samples laid out side by side, on the host.

use super::augment::{self, Levels};
use super::{Dataset, Image, ImageShape, View};
use crate::error::{Error, Result};

/// A batch ready to become a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct HostBatch {
    /// Normalised pixels, B × C × H × W.
    pub pixels: Vec<f32>,
    /// Its dimensions: [B, C, H, W].
    pub shape: [usize; 4],
    /// The class of each sample.
    pub labels: Vec<usize>,
    /// The id of each sample.
    pub ids: Vec<u64>,
}

impl HostBatch {
    /// Lays out the samples at `indices`, each as `view_of` its id shows it.
    ///
    /// # Errors
    /// Where an image cannot be read or has another shape than its set.
    pub fn assemble(
        dataset: &dyn Dataset,
        indices: &[usize],
        levels: &Levels,
        view_of: impl Fn(u64) -> View,
    ) -> Result<Self> {
        let shape = dataset.image_shape();
        let mut pixels = Vec::with_capacity(indices.len() * shape.numel());
        let (mut labels, mut ids) = (Vec::new(), Vec::new());
        for &index in indices {
            let image = image_of_shape(dataset, index, shape)?;
            let id = dataset.id(index);
            augment::apply(view_of(id), &image, levels, &mut pixels);
            labels.push(dataset.label(index));
            ids.push(id);
        }
        let shape = [indices.len(), shape.channels, shape.height, shape.width];
        Ok(Self { pixels, shape, labels, ids })
    }
}

/// The image at `index`, which must be of the given shape and have all its pixels.
pub(super) fn image_of_shape(dataset: &dyn Dataset, index: usize, expected: ImageShape) -> Result<Image> {
    let image = dataset.image(index)?;
    let came = image.shape();
    let bad = |what| Err(Error::Data(format!("{}: sample {} {what}", dataset.name(), dataset.id(index))));
    if came != expected {
        return bad(format!("is {came}, expected {expected} as the others (channels x height x width)"));
    }
    if image.pixels.len() != expected.numel() {
        return bad(format!(
            "has {} bytes of pixels, expected {} ({expected})",
            image.pixels.len(),
            expected.numel()
        ));
    }
    Ok(image)
}
