//! How a data set is to be opened: what its files are taken for, and how its images are to be seen.

use super::cifar::Labels;
use super::{Layout, Preprocess};

/// How images are to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Request {
    /// 1 for grey, 3 for red, green and blue; as in the files where not said.
    pub channels: Option<usize>,
    /// How images become one size; where not said, they must have one already.
    pub preprocess: Option<Preprocess>,
    /// Whether images are turned upright as the camera's EXIF tag says; torchvision's loaders don't.
    pub exif_orientation: bool,
    /// Most bytes of decoded pixels that a set may keep.
    pub memory: usize,
    /// How the files are laid out; found out where not said.
    pub layout: Option<Layout>,
    /// Which labels of a set that has two kinds.
    pub labels: Labels,
    /// Whether images that cannot be read are passed over where a set is opened, rather than refused.
    pub skip_bad: bool,
}

impl Request {
    /// Every problem with it, each as `key = value, what was expected`.
    pub fn check(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.preprocess.iter().flat_map(Preprocess::check).collect();
        if let Some(channels) = self.channels.filter(|channels| ![1, 3].contains(channels)) {
            problems.push(format!("channels = {channels}, must be 1 (grey) or 3 (red, green, blue)"));
        }
        problems
    }
}
