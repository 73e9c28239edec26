//! A set's images at another size, each showing the part of its original that it shows at the set's own: what a teacher
//! looks at whose images are larger or smaller than its student's.

use super::{Dataset, Image, ImageShape, Preprocess, resize::resize};
use crate::error::Result;
use crate::models::Interpolation;
use std::sync::Arc;

/// The samples of a set, `side` x `side` pixels each.
#[derive(Debug, Clone)]
pub struct AtSize {
    inner: Arc<dyn Dataset>,
    side: usize,
    /// How the set's own images come to their size, where they don't have it from the start.
    preprocess: Option<Preprocess>,
}

impl AtSize {
    /// The images of `inner`, which itself brings originals to its size by `preprocess`.
    pub fn new(inner: Arc<dyn Dataset>, side: usize, preprocess: Option<Preprocess>) -> Self {
        Self { inner, side, preprocess }
    }
}

impl Dataset for AtSize {
    fn len(&self) -> usize {
        self.inner.len()
    }

    fn classes(&self) -> &[String] {
        self.inner.classes()
    }

    fn label(&self, index: usize) -> usize {
        self.inner.label(index)
    }

    fn image(&self, index: usize) -> Result<Image> {
        let original = self.inner.original(index)?;
        let (height, width) = (original.height, original.width);
        if (height, width) == (self.side, self.side) && self.preprocess.is_none() {
            return Ok(original);
        }
        let window = match self.preprocess {
            Some(preprocess) => preprocess.window(height, width),
            None => [0.0, 0.0, height as f64, width as f64],
        };
        let interpolation = self.preprocess.map_or(Interpolation::Bicubic, |own| own.interpolation);
        resize(&original, window, [self.side; 2], interpolation)
    }

    fn original(&self, index: usize) -> Result<Image> {
        self.inner.original(index)
    }

    fn image_shape(&self) -> ImageShape {
        let channels = self.inner.image_shape().channels;
        ImageShape { channels, height: self.side, width: self.side }
    }

    fn id(&self, index: usize) -> u64 {
        self.inner.id(index)
    }

    fn name(&self) -> String {
        self.inner.name()
    }

    fn decodes(&self) -> bool {
        true
    }
}
