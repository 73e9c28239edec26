//! RandAugment: a few operations drawn from fifteen, all at about one magnitude.
//!
//! For each of n layers one operation, evenly and with replacement; it is applied with probability p, at a level drawn
//! about m. The recipe is a string as timm takes it, `rand-m9-mstd0.5-inc1`:
//!
//! | part | what | without it |
//! |---|---|---|
//! | `m9` | level, a whole number | 10 |
//! | `n2` | layers | 2 |
//! | `p0.5` | probability of each layer | 0.5 |
//! | `mstd0.5` | standard deviation of the level; above 100, evenly from 0 to m | 0 |
//! | `mmax10` | highest level | 10 |
//! | `inc1` | operations that all grow stronger with the level | 0 |
//!
//! Source: Cubuk et al., RandAugment, 2019 (arXiv:1909.13719); timm 1.0.31 `data/auto_augment.py`.

use super::levels::{FULL, Kind, Magnitude};
use super::{Canvas, Op};
use crate::error::{Error, Result};
use crate::rng::Stream;
use rand::RngExt;

/// What is drawn from.
pub const OPS: [Kind; 15] = [
    Kind::AutoContrast,
    Kind::Equalize,
    Kind::Invert,
    Kind::Rotate,
    Kind::Posterize,
    Kind::Solarize,
    Kind::SolarizeAdd,
    Kind::Color,
    Kind::Contrast,
    Kind::Brightness,
    Kind::Sharpness,
    Kind::ShearX,
    Kind::ShearY,
    Kind::TranslateXRel,
    Kind::TranslateYRel,
];

/// What is drawn from with `inc1`.
pub const INCREASING_OPS: [Kind; 15] = [
    Kind::AutoContrast,
    Kind::Equalize,
    Kind::Invert,
    Kind::Rotate,
    Kind::PosterizeIncreasing,
    Kind::SolarizeIncreasing,
    Kind::SolarizeAdd,
    Kind::ColorIncreasing,
    Kind::ContrastIncreasing,
    Kind::BrightnessIncreasing,
    Kind::SharpnessIncreasing,
    Kind::ShearX,
    Kind::ShearY,
    Kind::TranslateXRel,
    Kind::TranslateYRel,
];

/// Most layers, so that a typing error costs no day.
const MOST_LAYERS: usize = 16;
/// A standard deviation above it asks for even levels.
const EVEN_ABOVE: f64 = 100.0;

/// A policy: [`RandAugment::parse`] makes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandAugment {
    /// The levels drawn.
    pub magnitude: Magnitude,
    /// Operations drawn for an image.
    pub layers: usize,
    /// That of applying each.
    pub probability: f64,
    /// Whether every operation grows stronger with the level.
    pub increasing: bool,
    /// For those that move pixels.
    pub canvas: Canvas,
}

impl RandAugment {
    /// From timm's notation.
    ///
    /// # Errors
    /// Where a part of it is unknown, given twice or out of its range. timm's `t`, other sets of operations, is unknown.
    pub fn parse(text: &str, canvas: Canvas) -> Result<Self> {
        let magnitude = Magnitude { mean: FULL, deviation: 0.0, most: FULL };
        let mut policy = Self { magnitude, layers: 2, probability: 0.5, increasing: false, canvas };
        let mut parts = text.split('-');
        if parts.next() != Some("rand") {
            return Err(Error::Recipe(format!("{text}: no RandAugment, expected rand-…")));
        }
        let mut seen = Vec::new();
        for part in parts {
            let (key, value) = key_and_value(part);
            let problem = |what: &str| Error::Recipe(format!("{text}: {part}, {what}"));
            if seen.contains(&key) {
                return Err(problem("is given twice"));
            }
            seen.push(key);
            let whole = |least: u32| {
                let value = value.parse::<u32>().ok().filter(|&value| value >= least);
                value.ok_or_else(|| problem(&format!("must be a whole number from {least}")))
            };
            let number = |most: f64| {
                let value = value.parse::<f64>().ok().filter(|value| (0.0..=most).contains(value));
                value.ok_or_else(|| problem(&format!("must be a number from 0 to {most}")))
            };
            match key {
                "m" => policy.magnitude.mean = f64::from(whole(0)?),
                "n" => {
                    policy.layers = whole(1)? as usize;
                    if policy.layers > MOST_LAYERS {
                        return Err(problem(&format!("must be at most {MOST_LAYERS}")));
                    }
                }
                "p" => policy.probability = number(1.0)?,
                "mstd" => {
                    let deviation = number(f64::INFINITY)?;
                    policy.magnitude.deviation =
                        if deviation > EVEN_ABOVE { f64::INFINITY } else { deviation };
                }
                "mmax" => policy.magnitude.most = f64::from(whole(1)?),
                "inc" => {
                    policy.increasing = match value {
                        "0" => false,
                        "1" => true,
                        _ => return Err(problem("must be inc0 or inc1")),
                    }
                }
                _ => return Err(problem("is unknown, expected m, n, p, mstd, mmax or inc, and a number")),
            }
        }
        Ok(policy)
    }

    /// The operations for one image of (height, width).
    pub fn draw(&self, image_size: (usize, usize), stream: &mut Stream) -> Vec<Op> {
        let kinds = if self.increasing { &INCREASING_OPS } else { &OPS };
        let draw = |_| {
            let kind = kinds[stream.random_range(0..kinds.len())];
            kind.draw(self.probability, self.magnitude, &self.canvas, image_size, stream)
        };
        (0..self.layers).filter_map(draw).collect()
    }
}

/// The letters a part begins with, and the rest.
pub(super) fn key_and_value(part: &str) -> (&str, &str) {
    part.split_at(part.find(|character: char| character.is_ascii_digit()).unwrap_or(part.len()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CANVAS: Canvas = Canvas { resampling: None, fill: [128; 3] };

    #[test]
    fn reads_timms_notation() {
        let check = |text: &str, mean, deviation, most, layers, probability, increasing| {
            let magnitude = Magnitude { mean, deviation, most };
            let expected = RandAugment { magnitude, layers, probability, increasing, canvas: CANVAS };
            assert_eq!(RandAugment::parse(text, CANVAS).unwrap(), expected, "{text}");
        };
        check("rand", 10.0, 0.0, 10.0, 2, 0.5, false);
        check("rand-m9-mstd0.5-inc1", 9.0, 0.5, 10.0, 2, 0.5, true);
        check("rand-m15-n3-p0.25-mmax30-inc0", 15.0, 0.0, 30.0, 3, 0.25, false);
        check("rand-mstd101-m7", 7.0, f64::INFINITY, 10.0, 2, 0.5, false);
        check("rand-mstd100", 10.0, 100.0, 10.0, 2, 0.5, false);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let check = |text: &str, expected: &str| {
            let error = RandAugment::parse(text, CANVAS).unwrap_err().to_string();
            assert_eq!(error, format!("{text}: {expected}"));
        };
        let unknown = "is unknown, expected m, n, p, mstd, mmax or inc, and a number";
        check("", "no RandAugment, expected rand-…");
        check("augmix-m3", "no RandAugment, expected rand-…");
        check("rand-", &format!(", {unknown}"));
        check("rand-x3", &format!("x3, {unknown}"));
        check("rand-tweights", &format!("tweights, {unknown}"));
        check("rand-mstdinf", &format!("mstdinf, {unknown}"));
        check("rand-m9.5", "m9.5, must be a whole number from 0");
        check("rand-m9-m8", "m8, is given twice");
        check("rand-n0", "n0, must be a whole number from 1");
        check("rand-n17", "n17, must be at most 16");
        check("rand-p1.5", "p1.5, must be a number from 0 to 1");
        check("rand-inc2", "inc2, must be inc0 or inc1");
        check("rand-mmax0", "mmax0, must be a whole number from 1");
    }
}
