//! Operations that vary 8-bit images, and the policies that draw them.
//!
//! Drawing and applying are apart. A policy ([`RandAugment`], [`AutoAugment`], [`TrivialAugment`], [`ColorJitter`])
//! draws a list of [`Op`]s, plain data with every argument settled; [`apply`] carries one out and knows no chance.
//! Results are PIL's to the bit, as timm and torchvision call it: 8-bit in and out after each operation, f64 for
//! places between pixels, f32 where images are blended. `golden/views` holds them to it.
//!
//! Source: Pillow 13 (`Image.transform`, `Image.rotate`, `ImageOps`, `ImageEnhance`, conversion to L and HSV); timm
//! 1.0.31 `data/auto_augment.py`; torchvision 0.29 `transforms/functional.py`.

use super::Image;
use crate::models::Interpolation;
use crate::rng::Stream;
use rand::RngExt;
use serde::{Deserialize, Serialize};

mod affine;
pub mod auto_augment;
pub mod color_jitter;
mod enhance;
pub mod erase;
mod hue;
pub mod levels;
mod lookup;
pub mod mix;
pub mod rand_augment;
pub mod resized_crop;
pub mod trivial_augment;

pub use auto_augment::AutoAugment;
pub use color_jitter::ColorJitter;
pub use erase::{EraseMode, Erasure, RandomErasing};
pub use mix::{Mix, MixPolicy};
pub use rand_augment::RandAugment;
pub use resized_crop::{ResizedCrop, ResizedCropPolicy};
pub use trivial_augment::TrivialAugment;

/// How a value between pixels is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resampling {
    /// That of the pixel it lies in.
    Nearest,
    /// A straight line between two pixels, along rows and then columns.
    Bilinear,
    /// A cubic through four, with a slope of (v₃ − v₁) at the second: a = −1.
    Bicubic,
}

impl From<Interpolation> for Resampling {
    fn from(interpolation: Interpolation) -> Self {
        match interpolation {
            Interpolation::Bilinear => Self::Bilinear,
            Interpolation::Bicubic => Self::Bicubic,
        }
    }
}

/// How an operation that moves pixels fills the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// Between pixels.
    pub resampling: Resampling,
    /// Outside of the image; of a grey one, the first value.
    pub fill: [u8; 3],
}

/// What a policy knows of the image, to settle on a [`Sampling`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canvas {
    /// Between pixels; with none, bilinear or bicubic by an even chance, as where timm is told `random`.
    pub resampling: Option<Resampling>,
    /// Outside of the image.
    pub fill: [u8; 3],
}

impl Canvas {
    /// As timm's `create_transform` sets it up: the images' mean colour, from 0 to 1, around them.
    pub fn around(mean: &[f32], resampling: Option<Resampling>) -> Self {
        // Half to even, as Python rounds; a grey image's one mean serves for all.
        let level = |channel: usize| {
            mean.get(channel)
                .or(mean.first())
                .map_or(0, |&mean| (f64::from(mean) * 255.0).round_ties_even() as u8)
        };
        Self { resampling, fill: [level(0), level(1), level(2)] }
    }

    fn draw(&self, stream: &mut Stream) -> Sampling {
        let either = if stream.random_bool(0.5) { Resampling::Bilinear } else { Resampling::Bicubic };
        Sampling { resampling: self.resampling.unwrap_or(either), fill: self.fill }
    }
}

/// A rectangle of whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// Its first row.
    pub top: usize,
    /// Its first column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// One operation with its arguments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op {
    /// out(x, y) = in(x + factor·y, y).
    ShearX {
        /// Pixels a row.
        factor: f64,
        /// Between and beyond.
        sampling: Sampling,
    },
    /// out(x, y) = in(x, y + factor·x).
    ShearY {
        /// Pixels a column.
        factor: f64,
        /// Between and beyond.
        sampling: Sampling,
    },
    /// out(x, y) = in(x + pixels, y).
    TranslateX {
        /// To the left, where above 0.
        pixels: f64,
        /// Between and beyond.
        sampling: Sampling,
    },
    /// out(x, y) = in(x, y + pixels).
    TranslateY {
        /// Upwards, where above 0.
        pixels: f64,
        /// Between and beyond.
        sampling: Sampling,
    },
    /// Turns about the centre.
    Rotate {
        /// Counter-clockwise.
        degrees: f64,
        /// Between and beyond.
        sampling: Sampling,
    },
    /// Stretches each channel to 0 to 255.
    AutoContrast,
    /// 255 − level.
    Invert,
    /// Makes each channel's levels about equally frequent.
    Equalize,
    /// Keeps the upper bits of each level.
    Posterize {
        /// From 0, which leaves black, to 8, which changes nothing.
        bits: u8,
    },
    /// 255 − level, of levels from the threshold on.
    Solarize {
        /// From 0 to 256.
        threshold: u16,
    },
    /// Adds to the levels below 128, up to 255.
    SolarizeAdd {
        /// What is added.
        add: u8,
    },
    /// Blends grey (0) with colour (1); torchvision's saturation.
    Color {
        /// Above 1, beyond.
        factor: f64,
    },
    /// Blends the mean grey (0) with the image (1).
    Contrast {
        /// Above 1, beyond.
        factor: f64,
    },
    /// Blends black (0) with the image (1).
    Brightness {
        /// Above 1, beyond.
        factor: f64,
    },
    /// Blends the smoothed image (0) with the image (1).
    Sharpness {
        /// Above 1, beyond.
        factor: f64,
    },
    /// Turns the hue, in PIL's 8-bit HSV; grey images have none.
    Hue {
        /// Turns, from −0.5 to 0.5.
        turns: f64,
    },
    /// Takes the colour out, and leaves as many channels.
    Grayscale,
    /// Left and right change sides.
    Mirror,
}

/// Carries out one operation.
///
/// # Shapes
/// `image` (H, W, C) → (H, W, C), C 1 or 3
///
/// # Panics
/// Where the image has neither 1 nor 3 channels.
pub fn apply(op: &Op, image: Image) -> Image {
    let channels = image.channels;
    assert!(matches!(channels, 1 | 3), "augment_ops: expected an image of 1 or 3 channels, came {channels}");
    match *op {
        Op::ShearX { factor, sampling } => {
            affine::transform(&image, [1.0, factor, 0.0, 0.0, 1.0, 0.0], sampling)
        }
        Op::ShearY { factor, sampling } => {
            affine::transform(&image, [1.0, 0.0, 0.0, factor, 1.0, 0.0], sampling)
        }
        Op::TranslateX { pixels, sampling } => {
            affine::transform(&image, [1.0, 0.0, pixels, 0.0, 1.0, 0.0], sampling)
        }
        Op::TranslateY { pixels, sampling } => {
            affine::transform(&image, [1.0, 0.0, 0.0, 0.0, 1.0, pixels], sampling)
        }
        Op::Rotate { degrees, sampling } => affine::rotate(image, degrees, sampling),
        Op::AutoContrast => lookup::auto_contrast(image),
        Op::Invert => lookup::invert(image),
        Op::Equalize => lookup::equalize(image),
        Op::Posterize { bits } => lookup::posterize(image, bits),
        Op::Solarize { threshold } => lookup::solarize(image, threshold),
        Op::SolarizeAdd { add } => lookup::solarize_add(image, add),
        Op::Color { factor } => enhance::color(image, factor),
        Op::Contrast { factor } => enhance::contrast(image, factor),
        Op::Brightness { factor } => enhance::brightness(image, factor),
        Op::Sharpness { factor } => enhance::sharpness(image, factor),
        Op::Hue { turns } => hue::turn(image, turns),
        Op::Grayscale => enhance::color(image, 0.0),
        Op::Mirror => affine::mirror(&image),
    }
}

/// Carries out one operation after the other.
///
/// # Shapes
/// As [`apply`].
///
/// # Panics
/// As [`apply`].
pub fn apply_all(ops: &[Op], image: Image) -> Image {
    ops.iter().fold(image, |image, op| apply(op, image))
}

/// A number from `low` up to `high`.
fn uniform(stream: &mut Stream, low: f64, high: f64) -> f64 {
    low + (high - low) * stream.random::<f64>()
}
