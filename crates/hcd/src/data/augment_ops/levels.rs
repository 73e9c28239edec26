//! timm's operations by name, and how a level from 0 to 10 becomes their argument.
//!
//! With l = level / 10 and ± an even chance: rotate ±30·l degrees; shear ±0.3·l; translate ±0.45·l of the side;
//! enhance 1.8·l + 0.1, or increasing 1 ± 0.9·l, at least 0.1; posterize to ⌊4·l⌋ bits, increasing 4 − ⌊4·l⌋, original
//! 4 + ⌊4·l⌋; solarize from ⌊256·l⌋, increasing 256 − ⌊256·l⌋; add ⌊110·l⌋, at most 128, where solarize adds.
//!
//! Source: timm 1.0.31 `data/auto_augment.py`.

use super::{Canvas, Op, Sampling};
use crate::rng::Stream;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

/// The level at which operations are as strong as they were meant to be.
pub const FULL: f64 = 10.0;

/// Share of a side that [`FULL`] translates by.
const TRANSLATE: f64 = 0.45;

/// An operation, called as timm calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    AutoContrast,
    Equalize,
    Invert,
    Rotate,
    Posterize,
    PosterizeIncreasing,
    PosterizeOriginal,
    Solarize,
    SolarizeIncreasing,
    SolarizeAdd,
    Color,
    ColorIncreasing,
    Contrast,
    ContrastIncreasing,
    Brightness,
    BrightnessIncreasing,
    Sharpness,
    SharpnessIncreasing,
    ShearX,
    ShearY,
    TranslateXRel,
    TranslateYRel,
}

impl Kind {
    /// The operation at a level, on an image of (height, width). `negative` is for those whose sign is left to chance.
    pub fn op(self, level: f64, negative: bool, sampling: Sampling, (height, width): (usize, usize)) -> Op {
        let share = level / FULL;
        let signed = |value: f64| if negative { -value } else { value };
        let enhance = share * 1.8 + 0.1;
        let increasing = (1.0 + signed(share * 0.9)).max(0.1);
        let bits = (share * 4.0) as u8;
        let threshold = ((share * 256.0) as u16).min(256);
        match self {
            Self::AutoContrast => Op::AutoContrast,
            Self::Equalize => Op::Equalize,
            Self::Invert => Op::Invert,
            Self::Rotate => Op::Rotate { degrees: signed(share * 30.0), sampling },
            Self::Posterize => Op::Posterize { bits },
            Self::PosterizeIncreasing => Op::Posterize { bits: 4_u8.saturating_sub(bits) },
            Self::PosterizeOriginal => Op::Posterize { bits: bits.saturating_add(4) },
            Self::Solarize => Op::Solarize { threshold },
            Self::SolarizeIncreasing => Op::Solarize { threshold: 256 - threshold },
            Self::SolarizeAdd => Op::SolarizeAdd { add: ((share * 110.0) as u8).min(128) },
            Self::Color => Op::Color { factor: enhance },
            Self::ColorIncreasing => Op::Color { factor: increasing },
            Self::Contrast => Op::Contrast { factor: enhance },
            Self::ContrastIncreasing => Op::Contrast { factor: increasing },
            Self::Brightness => Op::Brightness { factor: enhance },
            Self::BrightnessIncreasing => Op::Brightness { factor: increasing },
            Self::Sharpness => Op::Sharpness { factor: enhance },
            Self::SharpnessIncreasing => Op::Sharpness { factor: increasing },
            Self::ShearX => Op::ShearX { factor: signed(share * 0.3), sampling },
            Self::ShearY => Op::ShearY { factor: signed(share * 0.3), sampling },
            Self::TranslateXRel => {
                Op::TranslateX { pixels: signed(share * TRANSLATE) * width as f64, sampling }
            }
            Self::TranslateYRel => {
                Op::TranslateY { pixels: signed(share * TRANSLATE) * height as f64, sampling }
            }
        }
    }

    /// The operation at a magnitude drawn anew, with a probability.
    pub(super) fn draw(
        self,
        probability: f64,
        magnitude: Magnitude,
        canvas: &Canvas,
        image_size: (usize, usize),
        stream: &mut Stream,
    ) -> Option<Op> {
        // All are drawn whatever the kind and whether it is applied, so that the numbers after them do not depend on it.
        let applied = stream.random::<f64>() < probability;
        let level = magnitude.draw(stream);
        let negative = stream.random_bool(0.5);
        let sampling = canvas.draw(stream);
        applied.then(|| self.op(level, negative, sampling, image_size))
    }
}

/// Which levels a policy draws.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Magnitude {
    /// The level in the mean.
    pub mean: f64,
    /// Standard deviation of a normal distribution about the mean; where infinite, levels come evenly from 0 to the
    /// mean.
    pub deviation: f64,
    /// What is drawn beyond it counts as it.
    pub most: f64,
}

impl Magnitude {
    /// A level from 0 to `most`.
    pub fn draw(&self, stream: &mut Stream) -> f64 {
        // One number of either kind each time, for the same reason as in `Kind::draw`.
        let share: f64 = stream.random();
        let normal: f64 = StandardNormal.sample(stream);
        let level = match self.deviation {
            deviation if deviation.is_infinite() => self.mean * share,
            deviation => self.mean + deviation * normal,
        };
        level.min(self.most).max(0.0)
    }
}
