//! Random erasing: a rectangle of a normalised image becomes 0, one colour or noise.
//!
//! Its area lies evenly in [0.02, ⅓] of the image's and its ratio of height to width in [0.3, 1/0.3], evenly on a
//! logarithmic scale; of ten rectangles the first that is smaller than the image both ways is taken, anywhere in it.
//! Colours and noise are standard normal.
//!
//! Source: Zhong et al., Random erasing, 2017 (arXiv:1708.04896); timm 1.0.31 `data/random_erasing.py`.

use super::{Rect, uniform};
use crate::rng::{self, Stream};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// Rectangles tried.
const TRIES: usize = 10;

/// What comes where the image was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EraseMode {
    /// 0: the mean colour.
    #[default]
    Const,
    /// One number a channel.
    Rand,
    /// One number a channel and pixel.
    Pixel,
}

/// The policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomErasing {
    /// Of erasing at all.
    pub probability: f64,
    /// What comes in its place.
    pub mode: EraseMode,
    /// Least and greatest area, as a share of the image's.
    pub area: (f64, f64),
    /// Least and greatest height, as a multiple of the width.
    pub aspect: (f64, f64),
}

impl RandomErasing {
    /// With timm's rectangles.
    pub fn new(probability: f64, mode: EraseMode) -> Self {
        Self { probability, mode, area: (0.02, 1.0 / 3.0), aspect: (0.3, 1.0 / 0.3) }
    }

    /// What is erased of an image of (height, width), if anything.
    pub fn draw(&self, (height, width): (usize, usize), stream: &mut Stream) -> Option<Erasure> {
        if stream.random::<f64>() >= self.probability {
            return None;
        }
        for _ in 0..TRIES {
            let area = uniform(stream, self.area.0, self.area.1) * (height * width) as f64;
            let aspect = uniform(stream, self.aspect.0.ln(), self.aspect.1.ln()).exp();
            let rows = (area * aspect).sqrt().round_ties_even() as usize;
            let columns = (area / aspect).sqrt().round_ties_even() as usize;
            if rows < height && columns < width {
                let top = stream.random_range(0..=height - rows);
                let left = stream.random_range(0..=width - columns);
                let rect = Rect { top, left, height: rows, width: columns };
                return Some(Erasure { rect, mode: self.mode, seed: stream.random() });
            }
        }
        None
    }
}

/// What is erased of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erasure {
    /// Where.
    pub rect: Rect,
    /// What comes in its place.
    pub mode: EraseMode,
    /// Of the colour or noise.
    pub seed: u64,
}

impl Erasure {
    /// Erases.
    ///
    /// # Shapes
    /// `image` (C, H, W), normalised
    ///
    /// # Panics
    /// Where the image is of another length, or the rectangle reaches out of it.
    pub fn apply(&self, image: &mut [f32], [channels, height, width]: [usize; 3]) {
        let Rect { top, left, height: rows, width: columns } = self.rect;
        assert_eq!(
            image.len(),
            channels * height * width,
            "erase: expected {channels}x{height}x{width} numbers"
        );
        assert!(
            top + rows <= height && left + columns <= width,
            "erase: expected a rectangle inside of {height}x{width}, came {:?}",
            self.rect
        );
        let mut stream = rng::stream(self.seed, "erase", &[]);
        let mut normal = || -> f32 { StandardNormal.sample(&mut stream) };
        for plane in image.chunks_exact_mut((height * width).max(1)) {
            let colour = if self.mode == EraseMode::Rand { normal() } else { 0.0 };
            for row in plane.chunks_exact_mut(width.max(1)).skip(top).take(rows) {
                for value in &mut row[left..left + columns] {
                    *value = if self.mode == EraseMode::Pixel { normal() } else { colour };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erases_the_rectangle_and_nothing_else() {
        let rect = Rect { top: 1, left: 2, height: 2, width: 3 };
        for mode in [EraseMode::Const, EraseMode::Rand, EraseMode::Pixel] {
            let erased = |seed| {
                let mut image = vec![7.0; 2 * 4 * 6];
                Erasure { rect, mode, seed }.apply(&mut image, [2, 4, 6]);
                image
            };
            let image = erased(1);
            assert_eq!(image, erased(1), "{mode:?}");
            let inside = |index: usize| (1..3).contains(&(index / 6 % 4)) && (2..5).contains(&(index % 6));
            for (index, &value) in image.iter().enumerate() {
                assert_eq!(value == 7.0, !inside(index), "{mode:?} {index} {value}");
                assert!(mode != EraseMode::Const || !inside(index) || value == 0.0);
            }
            // The corners of the rectangle in the first channel, and one of the second.
            let (first, last, other) = (image[8], image[16], image[32]);
            assert_eq!(first == last, mode != EraseMode::Pixel);
            assert_eq!(first == other, mode == EraseMode::Const);
            assert_eq!(image == erased(2), mode == EraseMode::Const);
        }
    }

    #[test]
    fn an_empty_rectangle_erases_nothing() {
        let rect = Rect { top: 2, left: 2, height: 0, width: 0 };
        let mut image = [7.0; 4];
        Erasure { rect, mode: EraseMode::Const, seed: 0 }.apply(&mut image, [1, 2, 2]);
        assert_eq!(image, [7.0; 4]);
    }
}
