//! What is in a set: counts by class, sizes, mean and standard deviation, images that cannot be read, copies.

use super::normalize::Moments;
use super::{Dataset, Image};
use crate::error::Result;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;

/// Images that are looked at before the next ones are: bounds what waits in memory.
const TOGETHER: usize = 256;

/// What was found in one part of a data set.
#[derive(Debug, Clone, Serialize)]
pub struct Survey {
    /// What errors call the part.
    pub name: String,
    /// Samples.
    pub samples: usize,
    /// Samples of each class.
    pub classes: Vec<(String, usize)>,
    /// Images that were looked at.
    pub looked_at: usize,
    /// How many have each size (height, width).
    pub sizes: Vec<([usize; 2], usize)>,
    /// Mean of each channel's pixels, from 0 to 1.
    pub mean: Vec<f64>,
    /// Their standard deviation.
    pub std: Vec<f64>,
    /// What could not be read, an error each.
    pub unreadable: Vec<String>,
    /// Hash of each image that was looked at, and its index.
    #[serde(skip)]
    hashes: Vec<([u8; 32], usize)>,
}

impl Survey {
    /// Looks at all images of a set, or at `most` of them at even distances; `watch` is told how many it has looked at.
    pub fn of(dataset: &dyn Dataset, most: Option<usize>, watch: &mut dyn FnMut(usize)) -> Self {
        let samples = dataset.len();
        let step = most.map_or(1, |most| samples.div_ceil(most.max(1)).max(1));
        let indices: Vec<usize> = (0..samples).step_by(step).collect();
        let mut classes: Vec<(String, usize)> =
            dataset.classes().iter().map(|name| (name.clone(), 0)).collect();
        (0..samples).for_each(|index| classes[dataset.label(index)].1 += 1);
        let (mut moments, mut sizes) = (Moments::default(), BTreeMap::new());
        let (mut unreadable, mut hashes) = (Vec::new(), Vec::new());
        for group in indices.chunks(TOGETHER) {
            let look = |&index: &usize| dataset.original(index).map(|image| Look::at(&image, index));
            let looks: Vec<Result<Look>> = group.par_iter().map(look).collect();
            for look in looks {
                match look {
                    Ok(look) => {
                        *sizes.entry(look.size).or_insert(0) += 1;
                        hashes.push(look.hash);
                        moments = moments.join(look.moments);
                    }
                    Err(error) => unreadable.push(error.to_string()),
                }
            }
            watch(group.len());
        }
        let mut sizes: Vec<([usize; 2], usize)> = sizes.into_iter().collect();
        sizes.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let (mean, std) = moments.values().into_iter().unzip();
        let (name, looked_at) = (dataset.name(), indices.len());
        Self { name, samples, classes, looked_at, sizes, mean, std, unreadable, hashes }
    }

    /// Indices of equal images: here, and in `other`.
    pub fn copies_in(&self, other: &Self) -> Vec<[usize; 2]> {
        let known: BTreeMap<[u8; 32], usize> = self.hashes.iter().rev().copied().collect();
        other.hashes.iter().filter_map(|(hash, index)| Some([*known.get(hash)?, *index])).collect()
    }
}

/// What one image adds.
struct Look {
    size: [usize; 2],
    hash: ([u8; 32], usize),
    moments: Moments,
}

impl Look {
    fn at(image: &Image, index: usize) -> Self {
        let mut hasher = blake3::Hasher::new();
        for side in [image.height, image.width, image.channels] {
            hasher.update(&(side as u64).to_le_bytes());
        }
        hasher.update(&image.pixels);
        let hash = (*hasher.finalize().as_bytes(), index);
        Self { size: [image.height, image.width], hash, moments: Moments::of(image) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::{ImageShape, Memory};

    fn set(pixels: Vec<u8>) -> Memory {
        let shape = ImageShape { channels: 1, height: 1, width: 2 };
        let labels = (0..pixels.len() / 2).map(|index| index % 2).collect();
        Memory::new("set".to_owned(), vec!["a".to_owned(), "b".to_owned()], shape, pixels, labels).unwrap()
    }

    #[test]
    fn counts_sizes_moments_and_copies() {
        let train = Survey::of(&set(vec![0, 255, 10, 20, 0, 255]), None, &mut |_| {});
        assert_eq!(train.classes, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        assert_eq!((train.samples, train.looked_at), (3, 3));
        assert_eq!(train.sizes, [([1, 2], 3)]);
        let mean = (510.0 + 30.0) / 6.0 / 255.0;
        assert!((train.mean[0] - mean).abs() < 1e-12, "{:?}", train.mean);
        let squares = (2.0 * 255.0f64.powi(2) + 100.0 + 400.0) / 6.0 / 255.0f64.powi(2);
        assert!((train.std[0] - (squares - mean * mean).sqrt()).abs() < 1e-12, "{:?}", train.std);
        let test = Survey::of(&set(vec![1, 1, 10, 20]), None, &mut |_| {});
        assert_eq!(train.copies_in(&test), [[1, 1]]);
        assert_eq!(train.copies_in(&train), [[0, 0], [1, 1], [0, 2]]);
        assert_eq!(Survey::of(&set(vec![0; 20]), Some(3), &mut |_| {}).looked_at, 3);
    }
}
