//! Sets of encoded images, decoded when they are asked for: files of their own, or places within larger ones.
//!
//! Opening reads headers alone. What was decoded is kept where the whole set fits into [`Request::memory`].

use super::kept::Kept;
use super::{Dataset, Image, ImageShape, Preprocess, Request, decode};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::fmt::{self, Debug};

/// Where the encoded images are.
pub(super) trait Source: Send + Sync {
    /// The bytes of the image of a sample.
    fn bytes(&self, index: usize) -> Result<Cow<'_, [u8]>>;

    /// What errors call that image.
    fn shown(&self, index: usize) -> String;
}

/// A set of encoded images. A sample's id is its index.
pub struct Encoded {
    name: String,
    classes: Vec<String>,
    labels: Vec<u32>,
    source: Box<dyn Source>,
    shape: ImageShape,
    preprocess: Option<Preprocess>,
    exif_orientation: bool,
    kept: Kept,
}

impl Encoded {
    /// Most images whose headers are read to learn whether a set is in colour.
    const PROBES: usize = 16;

    /// The images of `source`, each with its class, below `classes.len()`; decoded ones are kept where all fit into
    /// `memory` bytes.
    pub(super) fn new(
        name: String,
        classes: Vec<String>,
        labels: Vec<u32>,
        source: Box<dyn Source>,
        request: &Request,
        memory: usize,
    ) -> Result<Self> {
        let bad = |what: String| Err(Error::Data(format!("{name}: {what}")));
        if let Some(problem) = request.check().into_iter().next() {
            return bad(problem);
        }
        if labels.is_empty() {
            return bad("holds no images".to_owned());
        }
        if let Some(index) = labels.iter().position(|&label| label as usize >= classes.len()) {
            let (shown, label, count) = (source.shown(index), labels[index], classes.len());
            return Err(Error::Data(format!("{shown}: label {label}, expected below {count}")));
        }
        let shape = Self::shape_of(source.as_ref(), labels.len(), request)?;
        let kept = Kept::new(shape, labels.len(), memory);
        let Request { preprocess, exif_orientation, .. } = *request;
        Ok(Self { name, classes, labels, source, shape, preprocess, exif_orientation, kept })
    }

    /// The shape that the images of a set have, or come to: that of the first, in colour where any looked at is.
    fn shape_of(source: &dyn Source, samples: usize, request: &Request) -> Result<ImageShape> {
        if let (Some(channels), Some(Preprocess { size, .. })) = (request.channels, request.preprocess) {
            return Ok(ImageShape { channels, height: size, width: size });
        }
        let probe = |index: usize| {
            decode::probe_bytes(&source.shown(index), &source.bytes(index)?, request.exif_orientation)
        };
        let first = match (probe(0), request.skip_bad) {
            (Err(error), true) => (1..samples).find_map(|index| probe(index).ok()).ok_or(error),
            (probed, _) => probed,
        };
        let ImageShape { mut channels, height, width } = first?;
        if request.channels.is_none() {
            for index in (0..samples).step_by(samples.div_ceil(Self::PROBES)) {
                // One that cannot be read is told of when it is looked at.
                channels = probe(index).map_or(channels, |probed| channels.max(probed.channels));
            }
        }
        let (height, width) = request.preprocess.map_or((height, width), |p| (p.size, p.size));
        Ok(ImageShape { channels: request.channels.unwrap_or(channels), height, width })
    }

    fn decode(&self, index: usize) -> Result<Image> {
        let (shown, bytes) = (self.source.shown(index), self.source.bytes(index)?);
        decode::decode_oriented(&shown, &bytes, self.shape.channels, self.exif_orientation)
    }

    fn decode_to_shape(&self, index: usize) -> Result<Image> {
        let image = self.decode(index)?;
        if let Some(preprocess) = self.preprocess {
            return preprocess.apply(image);
        }
        match image.shape() == self.shape {
            true => Ok(image),
            false => Err(Error::Data(format!(
                "{}: is {}, the first image of {} is {}; images of several sizes need data.image_size",
                self.source.shown(index),
                image.shape(),
                self.name,
                self.shape
            ))),
        }
    }
}

impl Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded")
            .field("name", &self.name)
            .field("len", &self.labels.len())
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

impl Dataset for Encoded {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> usize {
        self.labels[index] as usize
    }

    fn image(&self, index: usize) -> Result<Image> {
        self.kept.image(index, || self.decode_to_shape(index))
    }

    fn original(&self, index: usize) -> Result<Image> {
        match self.preprocess {
            Some(_) => self.decode(index),
            None => self.image(index),
        }
    }

    fn image_shape(&self) -> ImageShape {
        self.shape
    }

    fn id(&self, index: usize) -> u64 {
        assert!(index < self.len(), "sample {index} of {}", self.len());
        index as u64
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn shown(&self, index: usize) -> String {
        self.source.shown(index)
    }

    fn decodes(&self) -> bool {
        true
    }
}
