//! Images held in memory, one after the other: what small published sets are decoded to.

use super::{Dataset, Image, ImageShape};
use crate::error::{Error, Result};
use std::fmt;

/// Labelled images of one shape in one block of bytes. A sample's id is its index.
pub struct Memory {
    name: String,
    classes: Vec<String>,
    shape: ImageShape,
    pixels: Vec<u8>,
    labels: Vec<usize>,
}

impl Memory {
    /// Takes the images (each height × width × channels bytes, one after the other) and their labels.
    ///
    /// # Errors
    /// Where there are none, an image has no pixels, the bytes are not those of as many images as
    /// labels, or a label has no class.
    pub fn new(
        name: String,
        classes: Vec<String>,
        shape: ImageShape,
        pixels: Vec<u8>,
        labels: Vec<usize>,
    ) -> Result<Self> {
        let bad = |what: String| Err(Error::Data(format!("{name}: {what}")));
        if labels.is_empty() {
            return bad("holds no samples".to_owned());
        }
        if shape.numel() == 0 {
            return bad(format!("images are {shape}, expected at least 1x1x1"));
        }
        if labels.len().checked_mul(shape.numel()) != Some(pixels.len()) {
            let (bytes, count) = (pixels.len(), labels.len());
            return bad(format!("{bytes} bytes of pixels, expected {count} images of {shape}"));
        }
        if let Some(index) = labels.iter().position(|&label| label >= classes.len()) {
            let (label, count) = (labels[index], classes.len());
            return bad(format!("label {label} at index {index}, expected below {count}"));
        }
        Ok(Self { name, classes, shape, pixels, labels })
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("name", &self.name)
            .field("len", &self.labels.len())
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

impl Dataset for Memory {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> usize {
        self.labels[index]
    }

    fn image(&self, index: usize) -> Result<Image> {
        let ImageShape { channels, height, width } = self.shape;
        let size = self.shape.numel();
        let pixels = self.pixels[index * size..][..size].to_vec();
        Ok(Image { height, width, channels, pixels })
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
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn new(height: usize, bytes: usize, labels: Vec<usize>) -> Result<Memory> {
        let shape = ImageShape { channels: 3, height, width: 2 };
        let classes = vec!["cat".to_owned(), "dog".to_owned()];
        Memory::new("pets".to_owned(), classes, shape, (0..bytes).map(|byte| byte as u8).collect(), labels)
    }

    #[test]
    fn hands_out_each_image() {
        let set = new(1, 12, vec![1, 0]).unwrap();
        assert_eq!((set.len(), set.label(0), set.id(1)), (2, 1, 1));
        let pixels = vec![6, 7, 8, 9, 10, 11];
        assert_eq!(set.image(1).unwrap(), Image { height: 1, width: 2, channels: 3, pixels });
        assert!(!format!("{set:?}").contains("11"), "pixels do not belong into messages");
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let check = |height, bytes, labels, expected: &str| {
            assert_eq!(new(height, bytes, labels).unwrap_err().to_string(), format!("pets: {expected}"));
        };
        check(1, 0, vec![], "holds no samples");
        check(0, 0, vec![0], "images are 3x0x2, expected at least 1x1x1");
        check(1, 11, vec![0, 1], "11 bytes of pixels, expected 2 images of 3x1x2");
        check(1, 12, vec![0, 2], "label 2 at index 1, expected below 2");
    }
}
