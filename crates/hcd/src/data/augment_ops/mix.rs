//! Mixup and CutMix: how an image is mixed with its partner.
//!
//! λ from Beta(α, α) is the share that the image keeps, 1 − λ the partner's. Mixup mixes all pixels by it; CutMix puts
//! a rectangle of the partner in, √(1 − λ) of either side about a place drawn evenly. Where that reaches over the edge,
//! it is cut off there, and λ becomes 1 − its area / the image's.
//!
//! Source: Zhang et al., mixup, 2017 (arXiv:1710.09412); Yun et al., CutMix, 2019 (arXiv:1905.04899); timm 1.0.31
//! `data/mixup.py`.

use super::Rect;
use crate::rng::Stream;
use rand::RngExt;
use rand_distr::{Beta, Distribution};

/// The policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MixPolicy {
    /// α of mixup; at 0 there is none.
    pub mixup_alpha: f64,
    /// α of CutMix; at 0 there is none.
    pub cutmix_alpha: f64,
    /// Of mixing at all.
    pub probability: f64,
    /// Of CutMix rather than mixup, where there are both.
    pub switch_probability: f64,
}

/// How one image, or one batch, is mixed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mix {
    /// It stays as it is.
    None,
    /// λ · image + (1 − λ) · partner.
    Mixup {
        /// The image's share.
        lambda: f64,
    },
    /// A rectangle of the partner: [`cut`].
    Cutmix {
        /// The image's share, before the edge cuts the rectangle off.
        lambda: f64,
        /// Where the rectangle's middle lies, as shares below 1 of (height, width).
        centre: (f64, f64),
    },
}

impl MixPolicy {
    /// How to mix, this time.
    pub fn draw(&self, stream: &mut Stream) -> Mix {
        // Shares first, whether used or not: the two kinds then cannot disturb each other's numbers.
        let (applied, switched): (f64, f64) = (stream.random(), stream.random());
        let centre = (stream.random(), stream.random());
        let (mixup, cutmix) = (self.mixup_alpha > 0.0, self.cutmix_alpha > 0.0);
        if applied >= self.probability || !(mixup || cutmix) {
            return Mix::None;
        }
        let cuts = cutmix && (!mixup || switched < self.switch_probability);
        let alpha = if cuts { self.cutmix_alpha } else { self.mixup_alpha };
        let Ok(beta) = Beta::new(alpha, alpha) else { return Mix::None };
        match beta.sample(stream) {
            1.0 => Mix::None,
            lambda if cuts => Mix::Cutmix { lambda, centre },
            lambda => Mix::Mixup { lambda },
        }
    }
}

/// The rectangle that CutMix takes from the partner in an image of (height, width), and the share λ that is left.
pub fn cut(lambda: f64, centre: (f64, f64), (height, width): (usize, usize)) -> (Rect, f64) {
    let ratio = (1.0 - lambda).sqrt();
    let (top, bottom) = span(height, ratio, centre.0);
    let (left, right) = span(width, ratio, centre.1);
    let rect = Rect { top, left, height: bottom - top, width: right - left };
    let lambda = 1.0 - (rect.height * rect.width) as f64 / (height * width) as f64;
    (rect, lambda)
}

/// First pixel, and the one after the last, of `ratio` of a side about a place in it.
fn span(side: usize, ratio: f64, centre: f64) -> (usize, usize) {
    let length = (side as f64 * ratio) as usize;
    let middle = (side as f64 * centre) as usize;
    (middle.saturating_sub(length / 2), (middle + length.div_ceil(2)).min(side))
}
