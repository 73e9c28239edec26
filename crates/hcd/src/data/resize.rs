//! The transform that images are evaluated under: shorter side to ⌊size / crop⌋, centre crop to size.
//!
//! As timm's `create_transform(is_training=False)` on PIL images. Filters are PIL's: a triangle (bilinear) or the
//! cubic of Keys with a = −1/2 (bicubic), widened by the scale where it shrinks ("antialiased"), 8-bit in and out. An
//! image of the network's own size is left as it is.
//!
//! Source: timm `data/transforms_factory.py`; torchvision `Resize`, `CenterCrop`.

use super::Image;
use super::augment_ops::Rect;
use crate::error::{Error, Result};
use crate::models::Interpolation;
use fast_image_resize::images::{Image as Pixels, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};

/// How an image of any size becomes one of `size` x `size`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// Side of the result, in pixels.
    pub size: usize,
    /// Share of the shorter side that the crop shows, in (0, 1].
    pub crop: f64,
    /// The filter.
    pub interpolation: Interpolation,
    /// Whether images are first turned upright as the camera's EXIF tag says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exif_orientation: bool,
}

impl Preprocess {
    /// Largest side, so that a typing error cannot ask for all memory.
    pub const MOST: usize = 4096;
    /// timm's share where a network names none.
    pub const CROP: f64 = 0.875;

    /// To `size`, with timm's defaults.
    pub fn new(size: usize) -> Self {
        Self { size, crop: Self::CROP, interpolation: Interpolation::Bicubic, exif_orientation: false }
    }

    /// Every problem with it, each as `key = value, what was expected`.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(1..=Self::MOST).contains(&self.size) {
            problems.push(format!("image_size = {}, must be from 1 to {}", self.size, Self::MOST));
        }
        if !(self.crop > 0.0 && self.crop <= 1.0) {
            problems.push(format!("crop = {}, must be above 0 and at most 1", self.crop));
        }
        problems
    }

    /// What the network sees of `image`.
    ///
    /// # Shapes
    /// `image` (H, W, C) → (size, size, C)
    ///
    /// # Errors
    /// Where the image has no pixels, or neither 1 nor 3 channels.
    pub fn apply(&self, image: Image) -> Result<Image> {
        let Image { height, width, .. } = image;
        if (height, width) == (self.size, self.size) {
            return Ok(image);
        }
        check_pixels(&image)?;
        resize(&image, self.window(height, width), [self.size; 2], self.interpolation)
    }

    /// Which part of an image of that size, which has pixels, is seen: top, left, rows and columns. Pixels outside of it
    /// only serve the filter's edges.
    pub fn window(&self, height: usize, width: usize) -> [f64; 4] {
        if (height, width) == (self.size, self.size) {
            return [0.0, 0.0, height as f64, width as f64];
        }
        let (tall, wide) = self.scaled(height, width);
        let window = |side: usize, scaled: usize| {
            let scale = side as f64 / scaled as f64;
            (centre(scaled, self.size) * scale, self.size as f64 * scale)
        };
        let ((top, rows), (left, columns)) = (window(height, tall), window(width, wide));
        [top, left, rows.min(height as f64 - top), columns.min(width as f64 - left)]
    }

    /// Height and width after the shorter side has become ⌊size / crop⌋, and the longer one follows.
    fn scaled(&self, height: usize, width: usize) -> (usize, usize) {
        let short = ((self.size as f64 / self.crop).floor() as usize).max(self.size);
        let long = |long: usize, of: usize| short * long / of;
        if height <= width { (short, long(width, height)) } else { (long(height, width), short) }
    }
}

/// A window of an image (top, left, rows, columns), brought to a size (height, width).
///
/// # Shapes
/// `image` (H, W, C) → (height, width, C)
///
/// # Errors
/// Where the image has no pixels, or neither 1 nor 3 channels, or the window is not in it.
pub fn resize(
    image: &Image,
    [top, left, rows, columns]: [f64; 4],
    [tall, wide]: [usize; 2],
    interpolation: Interpolation,
) -> Result<Image> {
    check_pixels(image)?;
    let Image { height, width, channels, .. } = *image;
    let kind = if channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
    let filter = match interpolation {
        Interpolation::Bilinear => FilterType::Bilinear,
        Interpolation::Bicubic => FilterType::CatmullRom,
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
    let failed = |error: &dyn std::fmt::Display| refused(image, &error.to_string());
    // Along rows before columns, as PIL up to 12: what the cubic overshoots is cut off in between. (PIL 13 takes
    // columns first where that is cheaper, for images much taller than wide.)
    let source = ImageRef::new(width as u32, height as u32, &image.pixels, kind).map_err(|e| failed(&e))?;
    let mut narrow = Pixels::new(wide as u32, height as u32, kind);
    let along = options.crop(left, 0.0, columns, height as f64);
    Resizer::new().resize(&source, &mut narrow, &along).map_err(|e| failed(&e))?;
    let mut target = Pixels::new(wide as u32, tall as u32, kind);
    let down = options.crop(0.0, top, wide as f64, rows);
    Resizer::new().resize(&narrow, &mut target, &down).map_err(|e| failed(&e))?;
    Ok(Image { height: tall, width: wide, channels, pixels: target.into_vec() })
}

fn check_pixels(image: &Image) -> Result<()> {
    match (image.channels, image.height.min(image.width)) {
        (1 | 3, 1..) => Ok(()),
        (1 | 3, 0) => Err(refused(image, "it has no pixels")),
        _ => Err(refused(image, "expected 1 or 3 channels")),
    }
}

fn refused(image: &Image, what: &str) -> Error {
    Error::Data(format!("image of {} cannot be resized: {what}", image.shape()))
}

/// A rectangle cut out of an image, pixel by pixel.
///
/// # Shapes
/// `image` (H, W, C) → (rect.height, rect.width, C)
pub fn cut_out(image: &Image, rect: Rect) -> Image {
    let Image { width, channels, .. } = *image;
    let rows = image.pixels.chunks_exact(width * channels).skip(rect.top).take(rect.height);
    let part = rect.left * channels..(rect.left + rect.width) * channels;
    let mut pixels = Vec::with_capacity(rect.height * rect.width * channels);
    rows.for_each(|row| pixels.extend_from_slice(&row[part.clone()]));
    Image { height: rect.height, width: rect.width, channels, pixels }
}

/// Where a crop of `size` begins: torchvision's `int(round((scaled − size) / 2.0))`, half to even.
fn centre(scaled: usize, size: usize) -> f64 {
    ((scaled - size) as f64 / 2.0).round_ties_even()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ramp(height: usize, width: usize) -> Image {
        let pixels = (0..height * width).map(|i| (i % width * 255 / (width - 1).max(1)) as u8).collect();
        Image { height, width, channels: 1, pixels }
    }

    #[test]
    fn sizes_are_torchvisions() {
        let of = |size, crop, height, width| {
            let seen = Preprocess { crop, ..Preprocess::new(size) };
            let (tall, wide) = seen.scaled(height, width);
            (tall, wide, centre(tall, size) as usize, centre(wide, size) as usize)
        };
        assert_eq!(of(224, 0.875, 333, 500), (256, 384, 16, 80));
        assert_eq!(of(224, 0.875, 500, 333), (384, 256, 80, 16));
        assert_eq!(of(224, 0.9, 400, 300), (330, 248, 53, 12));
        assert_eq!(of(4, 1.0, 10, 13), (4, 5, 0, 0)); // 0.5 rounds to even
        assert_eq!(of(4, 1.0, 10, 18), (4, 7, 0, 2)); // 1.5 rounds to even
    }

    #[test]
    fn an_image_of_the_right_size_is_left_alone() {
        let image = Image { height: 2, width: 2, channels: 3, pixels: (0..12).collect() };
        assert_eq!(Preprocess::new(2).apply(image.clone()).unwrap(), image);
    }

    #[test]
    fn shows_the_middle() {
        for interpolation in [Interpolation::Bilinear, Interpolation::Bicubic] {
            let seen = Preprocess { crop: 1.0, interpolation, ..Preprocess::new(8) };
            let image = seen.apply(ramp(16, 64)).unwrap();
            assert_eq!((image.height, image.width, image.pixels.len()), (8, 8, 64));
            // Columns 24 to 40 of 64, two to one: from 24.5/63 to 38.5/63 of 255.
            let row = &image.pixels[..8];
            assert!(row[0].abs_diff(99) <= 1 && row[7].abs_diff(155) <= 1, "{interpolation:?} {row:?}");
            assert!(row.is_sorted() && image.pixels.chunks(8).all(|other| other == row));
        }
    }

    #[test]
    fn extreme_shapes_stay_small() {
        for (height, width) in [(1, 1), (1, 30_000), (30_000, 1), (3, 700), (640, 480)] {
            let image = Preprocess::new(8).apply(ramp(height, width)).unwrap();
            assert_eq!(image.pixels.len(), 64, "{height} {width}");
        }
    }

    #[test]
    fn ranges_are_told() {
        let found = Preprocess { crop: 1.5, ..Preprocess::new(0) }.check();
        assert_eq!(
            found,
            ["image_size = 0, must be from 1 to 4096", "crop = 1.5, must be above 0 and at most 1"]
        );
        assert_eq!(Preprocess::new(224).check(), Vec::<String>::new());
    }
}
