//! Batches: views of samples laid out side by side, on the host.

use super::augment::{self, Levels};
use super::{Dataset, Image, ImageShape, Mixing, View, Views};
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
    /// With which class each sample's is mixed (mixup, CutMix), and its own share; empty where none is.
    pub mixed: Vec<(usize, f32)>,
}

impl HostBatch {
    /// Lays out the samples at `indices`, unvaried.
    ///
    /// # Errors
    /// Where an image cannot be read or has another shape than its set.
    pub fn unvaried(dataset: &dyn Dataset, indices: &[usize], levels: &Levels) -> Result<Self> {
        let shape = dataset.image_shape();
        let mut pixels = vec![0.0; indices.len() * shape.numel()];
        let show = |index: usize, place: &mut [f32]| {
            let image = image_of_shape(dataset, index, shape)?;
            augment::apply(&View::identity(), &image, shape, levels, place)
        };
        let places = pixels.chunks_exact_mut(shape.numel().max(1));
        each(indices, places, dataset.decodes(), |&index, place| show(index, place))?;
        Ok(Self::of(dataset, indices, pixels, Vec::new()))
    }

    /// Lays out samples in the views that are to be shown of them.
    ///
    /// # Errors
    /// Where an image cannot be read or has another shape than its set.
    pub(super) fn varied(
        dataset: &dyn Dataset,
        shown: &[Shown],
        levels: &Levels,
        views: &Views,
    ) -> Result<Self> {
        let shape = dataset.image_shape();
        let mut pixels = vec![0.0; shown.len() * shape.numel()];
        let places = pixels.chunks_exact_mut(shape.numel().max(1));
        let seen = Seen { dataset, levels, views };
        let together = dataset.decodes() || views.takes_work();
        let mut mixed = each(shown, places, together, |&shown, place| seen.mixed(shown, place))?;
        if !views.mixes() {
            mixed.clear();
        }
        let indices: Vec<usize> = shown.iter().map(|shown| shown.index).collect();
        Ok(Self::of(dataset, &indices, pixels, mixed))
    }

    fn of(dataset: &dyn Dataset, indices: &[usize], pixels: Vec<f32>, mixed: Vec<(usize, f32)>) -> Self {
        let ImageShape { channels, height, width } = dataset.image_shape();
        Self {
            pixels,
            shape: [indices.len(), channels, height, width],
            labels: indices.iter().map(|&index| dataset.label(index)).collect(),
            ids: indices.iter().map(|&index| dataset.id(index)).collect(),
            mixed,
        }
    }

    /// The distribution over classes that each row says, (B, K); none where each is its label alone.
    pub fn soft_labels(&self, classes: usize) -> Option<Vec<f32>> {
        if self.mixed.is_empty() {
            return None;
        }
        let mut rows = vec![0.0; self.labels.len() * classes];
        for ((row, &label), &(other, share)) in
            rows.chunks_exact_mut(classes).zip(&self.labels).zip(&self.mixed)
        {
            row[label] += share;
            row[other] += 1.0 - share;
        }
        Some(rows)
    }
}

/// A sample, and the number of the view that is shown of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) index: usize,
    pub(super) number: u64,
}

/// What `make` gives for each item, having filled its place; by several threads where that takes work.
fn each<'a, I: Sync, T: Send>(
    items: &[I],
    places: impl Iterator<Item = &'a mut [f32]>,
    together: bool,
    make: impl Fn(&I, &mut [f32]) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let pairs: Vec<(&I, &mut [f32])> = items.iter().zip(places).collect();
    let made: Vec<Result<T>> = match together {
        true => pairs.into_par_iter().with_max_len(1).map(|(item, place)| make(item, place)).collect(),
        false => pairs.into_iter().map(|(item, place)| make(item, place)).collect(),
    };
    // The first error in order, whichever came first.
    made.into_iter().collect()
}

/// How samples are seen.
#[derive(Clone, Copy)]
struct Seen<'a> {
    dataset: &'a dyn Dataset,
    levels: &'a Levels,
    views: &'a Views,
}

impl Seen<'_> {
    /// Fills a place with a sample's normalised pixels.
    fn alone(&self, Shown { index, number }: Shown, place: &mut [f32]) -> Result<()> {
        let Self { dataset, levels, views } = *self;
        let shape = dataset.image_shape();
        let image = match views.of_originals() {
            true => dataset.original(index)?,
            false => image_of_shape(dataset, index, shape)?,
        };
        let (size, shown) = ((image.height, image.width), (shape.height, shape.width));
        if size.0 == 0 || size.1 == 0 || image.channels != shape.channels {
            let (name, id, came) = (dataset.name(), dataset.id(index), image.shape());
            return Err(Error::Data(format!("{name}: sample {id} is {came}, expected {shape} or larger")));
        }
        let view = views.draw(number, dataset.id(index), size, shown);
        augment::apply(&view, &image, shape, levels, place)
    }

    /// The same mixed with its partner's; gives the partner's class, and the sample's own share.
    fn mixed(&self, shown: Shown, place: &mut [f32]) -> Result<(usize, f32)> {
        self.alone(shown, place)?;
        let (Self { dataset, views, .. }, Shown { index, number }) = (*self, shown);
        match views.draw_mixing(number, dataset.id(index), dataset.len()) {
            None => Ok((dataset.label(index), 1.0)),
            Some(Mixing { partner, mix }) => {
                let mut other = vec![0.0; place.len()];
                self.alone(Shown { index: partner, number }, &mut other)?;
                let shape = dataset.image_shape();
                let size = views.size_drawn_for((shape.height, shape.width));
                let share = augment::mix(place, &other, shape, mix, size);
                Ok((dataset.label(partner), share))
            }
        }
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
