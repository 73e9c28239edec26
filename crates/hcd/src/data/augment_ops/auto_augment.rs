//! AutoAugment: one of 25 pairs of operations, each with its own probability and magnitude.
//!
//! `original` is the policy for ImageNet of the paper, `v0` the one of Google's EfficientNet; `originalr` and `v0r` let
//! posterize grow stronger with its level. `original-mstd0.5` draws levels about those of the policy.
//!
//! Source: Cubuk et al., AutoAugment, 2018 (arXiv:1805.09501), table 9; timm 1.0.31 `data/auto_augment.py`.

use super::levels::{FULL, Kind, Magnitude};
use super::rand_augment::key_and_value;
use super::{Canvas, Op};
use crate::error::{Error, Result};
use crate::rng::Stream;
use Kind::{
    AutoContrast, Color, Contrast, Equalize, Invert, Posterize, PosterizeIncreasing, PosterizeOriginal,
    Rotate, Sharpness, ShearX, ShearY, Solarize, SolarizeAdd, TranslateYRel,
};
use rand::RngExt;

/// An operation, its probability and its level.
pub type Step = (Kind, f64, f64);

/// How levels vary, at most.
const MOST_DEVIATION: f64 = 100.0;

const ORIGINAL: [[Step; 2]; 25] = [
    [(PosterizeOriginal, 0.4, 8.0), (Rotate, 0.6, 9.0)],
    [(Solarize, 0.6, 5.0), (AutoContrast, 0.6, 5.0)],
    [(Equalize, 0.8, 8.0), (Equalize, 0.6, 3.0)],
    [(PosterizeOriginal, 0.6, 7.0), (PosterizeOriginal, 0.6, 6.0)],
    [(Equalize, 0.4, 7.0), (Solarize, 0.2, 4.0)],
    [(Equalize, 0.4, 4.0), (Rotate, 0.8, 8.0)],
    [(Solarize, 0.6, 3.0), (Equalize, 0.6, 7.0)],
    [(PosterizeOriginal, 0.8, 5.0), (Equalize, 1.0, 2.0)],
    [(Rotate, 0.2, 3.0), (Solarize, 0.6, 8.0)],
    [(Equalize, 0.6, 8.0), (PosterizeOriginal, 0.4, 6.0)],
    [(Rotate, 0.8, 8.0), (Color, 0.4, 0.0)],
    [(Rotate, 0.4, 9.0), (Equalize, 0.6, 2.0)],
    [(Equalize, 0.0, 7.0), (Equalize, 0.8, 8.0)],
    [(Invert, 0.6, 4.0), (Equalize, 1.0, 8.0)],
    [(Color, 0.6, 4.0), (Contrast, 1.0, 8.0)],
    [(Rotate, 0.8, 8.0), (Color, 1.0, 2.0)],
    [(Color, 0.8, 8.0), (Solarize, 0.8, 7.0)],
    [(Sharpness, 0.4, 7.0), (Invert, 0.6, 8.0)],
    [(ShearX, 0.6, 5.0), (Equalize, 1.0, 9.0)],
    [(Color, 0.4, 0.0), (Equalize, 0.6, 3.0)],
    [(Equalize, 0.4, 7.0), (Solarize, 0.2, 4.0)],
    [(Solarize, 0.6, 5.0), (AutoContrast, 0.6, 5.0)],
    [(Invert, 0.6, 4.0), (Equalize, 1.0, 8.0)],
    [(Color, 0.6, 4.0), (Contrast, 1.0, 8.0)],
    [(Equalize, 0.8, 8.0), (Equalize, 0.6, 3.0)],
];

const V0: [[Step; 2]; 25] = [
    [(Equalize, 0.8, 1.0), (ShearY, 0.8, 4.0)],
    [(Color, 0.4, 9.0), (Equalize, 0.6, 3.0)],
    [(Color, 0.4, 1.0), (Rotate, 0.6, 8.0)],
    [(Solarize, 0.8, 3.0), (Equalize, 0.4, 7.0)],
    [(Solarize, 0.4, 2.0), (Solarize, 0.6, 2.0)],
    [(Color, 0.2, 0.0), (Equalize, 0.8, 8.0)],
    [(Equalize, 0.4, 8.0), (SolarizeAdd, 0.8, 3.0)],
    [(ShearX, 0.2, 9.0), (Rotate, 0.6, 8.0)],
    [(Color, 0.6, 1.0), (Equalize, 1.0, 2.0)],
    [(Invert, 0.4, 9.0), (Rotate, 0.6, 0.0)],
    [(Equalize, 1.0, 9.0), (ShearY, 0.6, 3.0)],
    [(Color, 0.4, 7.0), (Equalize, 0.6, 0.0)],
    [(Posterize, 0.4, 6.0), (AutoContrast, 0.4, 7.0)],
    [(Solarize, 0.6, 8.0), (Color, 0.6, 9.0)],
    [(Solarize, 0.2, 4.0), (Rotate, 0.8, 9.0)],
    [(Rotate, 1.0, 7.0), (TranslateYRel, 0.8, 9.0)],
    [(ShearX, 0.0, 0.0), (Solarize, 0.8, 4.0)],
    [(ShearY, 0.8, 0.0), (Color, 0.6, 4.0)],
    [(Color, 1.0, 0.0), (Rotate, 0.6, 2.0)],
    [(Equalize, 0.8, 4.0), (Equalize, 0.0, 8.0)],
    [(Equalize, 1.0, 4.0), (AutoContrast, 0.6, 2.0)],
    [(ShearY, 0.4, 7.0), (SolarizeAdd, 0.6, 7.0)],
    [(Posterize, 0.8, 2.0), (Solarize, 0.6, 10.0)],
    [(Solarize, 0.6, 8.0), (Equalize, 0.6, 1.0)],
    [(Color, 0.8, 6.0), (Rotate, 0.4, 5.0)],
];

/// A policy: [`AutoAugment::parse`] makes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AutoAugment {
    /// One of them is drawn.
    pub pairs: [[Step; 2]; 25],
    /// Standard deviation of the levels.
    pub deviation: f64,
    /// For operations that move pixels.
    pub canvas: Canvas,
}

impl AutoAugment {
    /// From timm's notation: `original`, `v0`, `originalr` or `v0r`, and `-mstd` with a number behind it.
    ///
    /// # Errors
    /// Where the policy, or a part behind it, is unknown or out of its range.
    pub fn parse(text: &str, canvas: Canvas) -> Result<Self> {
        let problem = |what: String| Error::Recipe(format!("{text}: {what}"));
        let (name, rest) = match text.split_once('-') {
            Some((name, rest)) => (name, Some(rest)),
            None => (text, None),
        };
        let pairs = match name {
            "original" => ORIGINAL,
            "originalr" => increasing(ORIGINAL),
            "v0" => V0,
            "v0r" => increasing(V0),
            _ => {
                let known = "expected original, originalr, v0 or v0r";
                return Err(problem(format!("{name}, is no policy of AutoAugment, {known}")));
            }
        };
        let deviation = match rest.map(|part| (part, key_and_value(part))) {
            None => 0.0,
            Some((part, ("mstd", value))) => {
                let value = value.parse::<f64>().ok().filter(|value| (0.0..=MOST_DEVIATION).contains(value));
                value
                    .ok_or_else(|| problem(format!("{part}, must be a number from 0 to {MOST_DEVIATION}")))?
            }
            Some((part, _)) => {
                return Err(problem(format!("{part}, is unknown, expected mstd and a number")));
            }
        };
        Ok(Self { pairs, deviation, canvas })
    }

    /// The operations for one image of (height, width).
    pub fn draw(&self, image_size: (usize, usize), stream: &mut Stream) -> Vec<Op> {
        let pair = &self.pairs[stream.random_range(0..self.pairs.len())];
        let draw = |&(kind, probability, level): &Step| {
            let magnitude = Magnitude { mean: level, deviation: self.deviation, most: FULL };
            kind.draw(probability, magnitude, &self.canvas, image_size, stream)
        };
        pair.iter().filter_map(draw).collect()
    }
}

/// The same pairs, with a posterize that grows stronger with its level.
fn increasing(pairs: [[Step; 2]; 25]) -> [[Step; 2]; 25] {
    pairs.map(|pair| {
        pair.map(|(kind, probability, level)| match kind {
            Posterize | PosterizeOriginal => (PosterizeIncreasing, probability, level),
            _ => (kind, probability, level),
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CANVAS: Canvas = Canvas { resampling: None, fill: [128; 3] };

    #[test]
    fn reads_timms_notation() {
        let policy = AutoAugment::parse("original-mstd0.5", CANVAS).unwrap();
        assert_eq!(policy, AutoAugment { pairs: ORIGINAL, deviation: 0.5, canvas: CANVAS });
        let policy = AutoAugment::parse("v0r", CANVAS).unwrap();
        assert_eq!(policy.pairs[12][0], (PosterizeIncreasing, 0.4, 6.0));
        assert_eq!((policy.pairs[0], policy.deviation), (V0[0], 0.0));
        let check = |text: &str, expected: &str| {
            let error = AutoAugment::parse(text, CANVAS).unwrap_err().to_string();
            assert_eq!(error, format!("{text}: {expected}"));
        };
        check("v1", "v1, is no policy of AutoAugment, expected original, originalr, v0 or v0r");
        check("v0-m9", "m9, is unknown, expected mstd and a number");
        check("v0-mstd-1", "mstd-1, is unknown, expected mstd and a number");
        check("v0-mstd101", "mstd101, must be a number from 0 to 100");
    }
}
