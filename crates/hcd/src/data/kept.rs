//! Decoded images that are kept: those of small sets, so that an epoch costs no decoding after the first.

use super::{Image, ImageShape};
use crate::error::Result;
use std::sync::OnceLock;

/// A place for the pixels of each sample of a set, or none at all.
pub(super) struct Kept {
    shape: ImageShape,
    places: Vec<OnceLock<Box<[u8]>>>,
}

impl Kept {
    /// Places for `samples` images of `shape`, where all of them fit into `memory` bytes.
    pub(super) fn new(shape: ImageShape, samples: usize, memory: usize) -> Self {
        let fits = shape.numel().checked_mul(samples).is_some_and(|bytes| bytes <= memory);
        let places = if fits { (0..samples).map(|_| OnceLock::new()).collect() } else { Vec::new() };
        Self { shape, places }
    }

    /// The image of a sample, from its place or from `decode`.
    ///
    /// # Errors
    /// Those of `decode`, which gives an image of the set's shape.
    pub(super) fn image(&self, index: usize, decode: impl FnOnce() -> Result<Image>) -> Result<Image> {
        let ImageShape { channels, height, width } = self.shape;
        let place = self.places.get(index);
        if let Some(pixels) = place.and_then(OnceLock::get) {
            return Ok(Image { height, width, channels, pixels: pixels.to_vec() });
        }
        let image = decode()?;
        if let Some(place) = place {
            // Another thread may have been faster; its pixels are the same.
            let _ = place.set(image.pixels.clone().into_boxed_slice());
        }
        Ok(image)
    }
}
