//! Random resized crop: which rectangle of an image is shown, and how it is resized.
//!
//! Its area lies evenly in `scale` of the image's, its ratio of width to height in `ratio`, evenly on a logarithmic
//! scale; of ten rectangles the first that fits is taken, anywhere. Where none does, it is the middle of the image: all
//! of it, but for what its own ratio exceeds `ratio` by.
//!
//! Source: Szegedy et al., Going deeper with convolutions, 2014 (arXiv:1409.4842); timm 1.0.31
//! `RandomResizedCropAndInterpolation`.

use super::{Rect, uniform};
use crate::models::Interpolation;
use crate::rng::Stream;
use rand::RngExt;

/// Rectangles tried.
const TRIES: usize = 10;

/// The policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResizedCropPolicy {
    /// Least and greatest area, as a share of the image's.
    pub scale: (f64, f64),
    /// Least and greatest width, as a multiple of the height.
    pub ratio: (f64, f64),
    /// How it is resized; with none, bilinear or bicubic by an even chance, as where timm is told `random`.
    pub interpolation: Option<Interpolation>,
}

impl Default for ResizedCropPolicy {
    /// timm's, for training on ImageNet.
    fn default() -> Self {
        Self { scale: (0.08, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0), interpolation: None }
    }
}

/// What is shown of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResizedCrop {
    /// The part, at least one pixel of it.
    pub rect: Rect,
    /// How it is resized.
    pub interpolation: Interpolation,
}

impl ResizedCropPolicy {
    /// What is shown of an image of (height, width), which has pixels.
    pub fn draw(&self, (height, width): (usize, usize), stream: &mut Stream) -> ResizedCrop {
        let either = if stream.random_bool(0.5) { Interpolation::Bilinear } else { Interpolation::Bicubic };
        let interpolation = self.interpolation.unwrap_or(either);
        for _ in 0..TRIES {
            let area = uniform(stream, self.scale.0, self.scale.1) * (height * width) as f64;
            let ratio = uniform(stream, self.ratio.0.ln(), self.ratio.1.ln()).exp();
            let columns = whole((area * ratio).sqrt());
            let rows = whole((area / ratio).sqrt());
            if columns <= width && rows <= height {
                let top = stream.random_range(0..=height - rows);
                let left = stream.random_range(0..=width - columns);
                let rect = Rect { top, left, height: rows, width: columns };
                return ResizedCrop { rect, interpolation };
            }
        }
        ResizedCrop { rect: self.middle(height, width), interpolation }
    }

    /// The largest rectangle of a ratio within the range.
    fn middle(&self, height: usize, width: usize) -> Rect {
        let (narrowest, widest) = (self.ratio.0.min(self.ratio.1), self.ratio.0.max(self.ratio.1));
        let ratio = width as f64 / height as f64;
        let (rows, columns) = if ratio < narrowest {
            (whole(width as f64 / narrowest), width)
        } else if ratio > widest {
            (height, whole(height as f64 * widest))
        } else {
            (height, width)
        };
        Rect { top: (height - rows) / 2, left: (width - columns) / 2, height: rows, width: columns }
    }
}

/// Rounded as Python rounds, half to even; at least 1, where timm's crop of a tiny image could be empty.
fn whole(side: f64) -> usize {
    (side.round_ties_even() as usize).max(1)
}
