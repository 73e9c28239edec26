//! Batches: views of samples laid out side by side, on the host.

use super::augment::{self, Levels};
use super::{Dataset, Image, ImageShape, View};
use crate::error::{Error, Result};
use rayon::prelude::*;

/// Images that are decoded before the first of them is laid out: bounds what waits in memory.
pub(super) const TOGETHER: usize = 64;

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
        let labels = indices.iter().map(|&index| dataset.label(index)).collect();
        let ids = indices.iter().map(|&index| dataset.id(index)).collect();
        for group in indices.chunks(TOGETHER) {
            for (&index, image) in group.iter().zip(images(dataset, group, shape)) {
                augment::apply(view_of(dataset.id(index)), &image?, levels, &mut pixels);
            }
        }
        let shape = [indices.len(), shape.channels, shape.height, shape.width];
        Ok(Self { pixels, shape, labels, ids })
    }
}

/// The images at `indices`, in that order; decoded by several threads where that takes work.
pub(super) fn images(dataset: &dyn Dataset, indices: &[usize], shape: ImageShape) -> Vec<Result<Image>> {
    let image = |&index: &usize| image_of_shape(dataset, index, shape);
    match dataset.decodes() {
        true => indices.par_iter().map(image).collect(),
        false => indices.iter().map(image).collect(),
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
