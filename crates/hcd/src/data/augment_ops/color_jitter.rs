//! Colour jitter: brightness, contrast, saturation and hue by chance, in an order by chance.
//!
//! Factors lie evenly in [max(0, 1 − s), 1 + s] of each strength s, turns of the hue in [−s, s]; a strength of 0 leaves
//! its operation out.
//!
//! Source: torchvision 0.29 `ColorJitter`.

use super::{Op, uniform};
use crate::rng::Stream;
use rand::seq::SliceRandom;

/// The policy: how strongly each may change.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ColorJitter {
    /// At least 0.
    pub brightness: f64,
    /// At least 0.
    pub contrast: f64,
    /// At least 0.
    pub saturation: f64,
    /// From 0 to 0.5.
    pub hue: f64,
}

impl ColorJitter {
    /// As timm's `color_jitter = strength`: all but the hue.
    pub fn even(strength: f64) -> Self {
        Self { brightness: strength, contrast: strength, saturation: strength, hue: 0.0 }
    }

    /// The operations for one image.
    pub fn draw(&self, stream: &mut Stream) -> Vec<Op> {
        // All are drawn, used or not, so that no strength disturbs another's numbers.
        let mut factor = |strength: f64| uniform(stream, (1.0 - strength).max(0.0), 1.0 + strength);
        let mut ops = [
            (self.brightness, Op::Brightness { factor: factor(self.brightness) }),
            (self.contrast, Op::Contrast { factor: factor(self.contrast) }),
            (self.saturation, Op::Color { factor: factor(self.saturation) }),
            (self.hue, Op::Hue { turns: uniform(stream, -self.hue, self.hue) }),
        ];
        ops.shuffle(stream);
        ops.into_iter().filter(|&(strength, _)| strength > 0.0).map(|(_, op)| op).collect()
    }
}
