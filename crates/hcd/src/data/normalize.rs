//! Normalisation: per channel, (pixel/255 − mean) / std.

use super::{Dataset, Image, batch};
use crate::error::{Error, Result};
use crate::models::Preprocessing;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Mean and standard deviation of each channel, of pixels from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    /// Subtracted, one a channel.
    pub mean: Vec<f32>,
    /// Divided by, one a channel, above 0.
    pub std: Vec<f32>,
}

impl Normalization {
    /// Every problem that stands against using it for images of so many channels, each as
    /// `key = value, what was expected`.
    pub fn check(&self, channels: usize) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != channels {
                problems.push(format!("{key} = {values:?}, must have {channels} values, one a channel"));
            }
        }
        if self.mean.iter().any(|mean| !mean.is_finite()) {
            problems.push(format!("mean = {:?}, must be finite", self.mean));
        }
        if self.std.iter().any(|&std| !(std.is_finite() && std > 0.0)) {
            problems.push(format!("std = {:?}, must be above 0", self.std));
        }
        problems
    }

    /// Those of ImageNet's training images in colour, as torchvision and timm have them.
    pub fn imagenet() -> Self {
        let Preprocessing { mean, std, .. } = Preprocessing::imagenet(1.0);
        Self { mean: mean.to_vec(), std: std.to_vec() }
    }

    /// Mean and population standard deviation of each channel over all pixels of a set.
    ///
    /// The sums are whole numbers and so exact: the result does not depend on order or threads.
    ///
    /// # Errors
    /// Where the set is empty, an image cannot be read or has another shape, or a channel has one
    /// value throughout.
    pub fn of(dataset: &dyn Dataset) -> Result<Self> {
        let shape = dataset.image_shape();
        let moments = (0..dataset.len())
            .into_par_iter()
            .map(|index| -> Result<Moments> {
                Ok(Moments::of(&batch::image_of_shape(dataset, index, shape)?))
            })
            .try_reduce(Moments::default, |left, right| Ok(left.join(right)))?;
        moments.normalization(&dataset.name())
    }
}

/// What mean and deviation follow from: whole numbers, which no order of adding can disturb.
#[derive(Debug, Clone, Default)]
pub(super) struct Moments {
    channels: Vec<Sums>,
    pixels: u64,
}

impl Moments {
    /// Those of one image.
    pub(super) fn of(image: &Image) -> Self {
        let mut channels = vec![Sums::default(); image.channels];
        for pixel in image.pixels.chunks_exact(image.channels.max(1)) {
            channels.iter_mut().zip(pixel).for_each(|(sums, &level)| sums.add(level));
        }
        Self { channels, pixels: (image.height * image.width) as u64 }
    }

    /// Those of both.
    pub(super) fn join(mut self, other: Self) -> Self {
        self.channels.resize(self.channels.len().max(other.channels.len()), Sums::default());
        for (own, other) in self.channels.iter_mut().zip(other.channels) {
            own.levels += other.levels;
            own.squares += other.squares;
        }
        self.pixels += other.pixels;
        self
    }

    /// Mean and deviation of each channel, from 0 to 1.
    pub(super) fn values(&self) -> Vec<(f64, f64)> {
        self.channels.iter().map(|sums| sums.moments(self.pixels)).collect()
    }

    /// What a set called `name` is normalised by.
    ///
    /// # Errors
    /// Where there are no pixels, or a channel has one value throughout.
    pub(super) fn normalization(&self, name: &str) -> Result<Normalization> {
        let bad = |what: String| Err(Error::Data(format!("{name}: {what}")));
        let values = self.values();
        if values.is_empty() {
            return bad("holds no samples to normalise by".to_owned());
        }
        if let Some(channel) = values.iter().position(|(_, std)| *std == 0.0) {
            return bad(format!("channel {channel} has the same value in all pixels"));
        }
        let (mean, std) = values.into_iter().map(|(mean, std)| (mean as f32, std as f32)).unzip();
        Ok(Normalization { mean, std })
    }
}

/// Σx and Σx² over the levels of one channel. 64 bits hold the squares of 2·10¹⁴ pixels.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    levels: u64,
    squares: u64,
}

impl Sums {
    fn add(&mut self, level: u8) {
        let level = u64::from(level);
        self.levels += level;
        self.squares += level * level;
    }

    /// Mean and standard deviation of x/255 over n pixels; 0 where there are none.
    /// n²·var = n·Σx² − (Σx)² is a whole number, so nothing cancels.
    fn moments(self, pixels: u64) -> (f64, f64) {
        let (n, levels, squares) = (u128::from(pixels), u128::from(self.levels), u128::from(self.squares));
        let spread = n * squares - levels * levels;
        let scale = 255.0 * pixels.max(1) as f64;
        (self.levels as f64 / scale, (spread as f64).sqrt() / scale)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::{ImageShape, Memory};
    use proptest::prelude::*;

    fn set(channels: usize, pixels: Vec<u8>) -> Memory {
        let shape = ImageShape { channels, height: 1, width: 2 };
        let labels = vec![0; pixels.len() / shape.numel()];
        Memory::new("set".to_owned(), vec!["only".to_owned()], shape, pixels, labels).unwrap()
    }

    #[test]
    fn mean_and_deviation_are_per_channel() {
        // Channel 0: 0, 255, 0, 255. Channel 1: 51, 51, 102, 102.
        let found = Normalization::of(&set(2, vec![0, 51, 255, 51, 0, 102, 255, 102])).unwrap();
        assert_eq!(found, Normalization { mean: vec![0.5, 0.3], std: vec![0.5, 0.1] });
    }

    #[test]
    fn a_constant_channel_is_refused() {
        let error = Normalization::of(&set(2, vec![0, 9, 255, 9])).unwrap_err().to_string();
        assert_eq!(error, "set: channel 1 has the same value in all pixels");
    }

    #[test]
    fn is_checked_against_the_channels() {
        let good = Normalization { mean: vec![0.5], std: vec![0.2] };
        assert_eq!(good.check(1), Vec::<String>::new());
        assert_eq!(
            good.check(3),
            [
                "mean = [0.5], must have 3 values, one a channel",
                "std = [0.2], must have 3 values, one a channel"
            ]
        );
        for std in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(Normalization { mean: vec![0.5], std: vec![std] }.check(1).len(), 1, "std {std}");
        }
        assert_eq!(Normalization { mean: vec![f32::NAN], std: vec![1.0] }.check(1).len(), 1);
    }

    proptest! {
        #[test]
        fn agrees_with_the_two_pass_definition(mut pixels in proptest::collection::vec(any::<u8>(), 2..200)) {
            pixels.truncate(pixels.len() / 2 * 2);
            pixels[0] = !pixels[1]; // not all the same
            let n = pixels.len() as f64;
            let mean = pixels.iter().map(|&p| f64::from(p) / 255.0).sum::<f64>() / n;
            let variance = pixels.iter().map(|&p| (f64::from(p) / 255.0 - mean).powi(2)).sum::<f64>() / n;
            let found = Normalization::of(&set(1, pixels)).unwrap();
            // Half a unit in the last place of an f32 below 1, and the definition's own rounding.
            prop_assert!((f64::from(found.mean[0]) - mean).abs() < 6e-8);
            prop_assert!((f64::from(found.std[0]) - variance.sqrt()).abs() < 6e-8);
        }
    }
}
