//! A set's images in other channels or another size: grey as red, green and blue, small ones enlarged.

use super::{Dataset, Image, ImageShape, Preprocess, Request};
use crate::error::{Error, Result};
use std::sync::Arc;

/// The samples of a set as a [`Request`] wants to see them.
#[derive(Debug, Clone)]
pub struct Adapted {
    inner: Arc<dyn Dataset>,
    shape: ImageShape,
    preprocess: Option<Preprocess>,
}

impl Adapted {
    /// `inner` as it is where it suits the request, else adapted to it.
    ///
    /// # Errors
    /// Where colours are to become grey: what comes with fewer channels than it has is a mistake.
    pub fn wrap(inner: Arc<dyn Dataset>, request: &Request) -> Result<Arc<dyn Dataset>> {
        let own = inner.image_shape();
        let channels = request.channels.unwrap_or(own.channels);
        let (height, width) = request.preprocess.map_or((own.height, own.width), |p| (p.size, p.size));
        let shape = ImageShape { channels, height, width };
        if let Some(problem) = request.check().into_iter().next() {
            return Err(Error::Data(format!("{}: {problem}", inner.name())));
        }
        if shape == own {
            return Ok(inner);
        }
        if channels != own.channels && own.channels != 1 {
            let (name, came) = (inner.name(), own.channels);
            return Err(Error::Data(format!(
                "{name}: images have {came} channels, asked for were {channels}"
            )));
        }
        Ok(Arc::new(Self { inner, shape, preprocess: request.preprocess }))
    }
}

impl Adapted {
    /// Grey as often as there are channels.
    fn in_channels(&self, image: Image) -> Image {
        let channels = self.shape.channels;
        if channels == image.channels {
            return image;
        }
        let pixels = image.pixels.iter().flat_map(|&level| std::iter::repeat_n(level, channels)).collect();
        Image { channels, pixels, ..image }
    }
}

impl Dataset for Adapted {
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
        let image = self.inner.image(index)?;
        let image = match self.preprocess {
            Some(preprocess) => preprocess.apply(image)?,
            None => image,
        };
        Ok(self.in_channels(image))
    }

    fn original(&self, index: usize) -> Result<Image> {
        Ok(self.in_channels(self.inner.original(index)?))
    }

    fn image_shape(&self) -> ImageShape {
        self.shape
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
