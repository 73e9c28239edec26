//! TrivialAugment: one operation of fourteen, at one of 31 strengths, always applied.
//!
//! Strengths lie evenly between those named in [`Wide::magnitudes`], worked out in f32 as torchvision does, and are
//! negated by an even chance where the operation has two directions.
//!
//! Source: Müller and Hutter, TrivialAugment, 2021 (arXiv:2103.10158), "wide"; torchvision 0.29 `TrivialAugmentWide`.

use super::{Op, Resampling, Sampling};
use crate::rng::Stream;
use rand::RngExt;

/// Strengths of an operation.
const BINS: usize = 31;

/// What is drawn from, called as torchvision calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Wide {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

impl Wide {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Identity,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::Rotate,
        Self::Brightness,
        Self::Color,
        Self::Contrast,
        Self::Sharpness,
        Self::Posterize,
        Self::Solarize,
        Self::AutoContrast,
        Self::Equalize,
    ];

    /// Its strengths, and whether each may be negated; 0 alone where there is nothing to choose.
    pub fn magnitudes(self) -> (Vec<f32>, bool) {
        match self {
            Self::Identity | Self::AutoContrast | Self::Equalize => (vec![0.0], false),
            Self::ShearX | Self::ShearY => (evenly(0.0, 0.99), true),
            Self::TranslateX | Self::TranslateY => (evenly(0.0, 32.0), true),
            Self::Rotate => (evenly(0.0, 135.0), true),
            Self::Brightness | Self::Color | Self::Contrast | Self::Sharpness => (evenly(0.0, 0.99), true),
            Self::Posterize => {
                let dropped = |bin: usize| (bin as f32 / ((BINS - 1) as f32 / 6.0)).round_ties_even();
                ((0..BINS).map(|bin| 8.0 - dropped(bin)).collect(), false)
            }
            Self::Solarize => (evenly(255.0, 0.0), false),
        }
    }

    /// The operation at a strength; none where nothing is done.
    pub fn op(self, magnitude: f64, sampling: Sampling) -> Option<Op> {
        // torchvision takes shears for angles: by degrees, radians and tangents back to where they came from.
        let angle = magnitude.atan().to_degrees().to_radians();
        let factor = 1.0 + magnitude;
        // torchvision moves the image, where the operation moves the place that is looked at.
        let pixels = -magnitude.trunc();
        Some(match self {
            Self::Identity => return None,
            Self::ShearX => Op::ShearX { factor: angle.tan(), sampling },
            Self::ShearY => Op::ShearY { factor: angle.sin() / angle.cos(), sampling },
            Self::TranslateX => Op::TranslateX { pixels, sampling },
            Self::TranslateY => Op::TranslateY { pixels, sampling },
            Self::Rotate => Op::Rotate { degrees: magnitude, sampling },
            Self::Brightness => Op::Brightness { factor },
            Self::Color => Op::Color { factor },
            Self::Contrast => Op::Contrast { factor },
            Self::Sharpness => Op::Sharpness { factor },
            Self::Posterize => Op::Posterize { bits: magnitude as u8 },
            // Levels are whole: below 8.5 is below 9.
            Self::Solarize => Op::Solarize { threshold: magnitude.ceil() as u16 },
            Self::AutoContrast => Op::AutoContrast,
            Self::Equalize => Op::Equalize,
        })
    }
}

/// From `start` to `end`, each half reckoned from its own end, as `torch.linspace` does: products are not rounded before
/// they are added.
fn evenly(start: f32, end: f32) -> Vec<f32> {
    let last = BINS - 1;
    let step = (end - start) / last as f32;
    let at = |bin: usize| match bin < BINS / 2 {
        true => step.mul_add(bin as f32, start),
        false => (-step).mul_add((last - bin) as f32, end),
    };
    (0..BINS).map(at).collect()
}

/// The policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrivialAugment {
    /// For operations that move pixels.
    pub sampling: Sampling,
}

impl Default for TrivialAugment {
    /// torchvision's: the nearest pixel, and black around the image.
    fn default() -> Self {
        Self { sampling: Sampling { resampling: Resampling::Nearest, fill: [0; 3] } }
    }
}

impl TrivialAugment {
    /// The operations for one image: one or none.
    ///
    /// Its size does not matter; it is asked for as other policies ask for it.
    pub fn draw(&self, _image_size: (usize, usize), stream: &mut Stream) -> Vec<Op> {
        let wide = Wide::ALL[stream.random_range(0..Wide::ALL.len())];
        let (magnitudes, signed) = wide.magnitudes();
        let bin = stream.random_range(0..BINS);
        let negative = stream.random_bool(0.5) && signed;
        let magnitude = f64::from(magnitudes[bin % magnitudes.len()]);
        wide.op(if negative { -magnitude } else { magnitude }, self.sampling).into_iter().collect()
    }
}
