//! The section `data`: where the images are and how they are seen.

use crate::data::cifar::Labels;
use crate::data::{Layout, Normalization, Preprocess, Request, ViewPolicy};
use crate::models::Interpolation;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where the images are and how they are seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Folder of the data set.
    pub path: PathBuf,
    /// How the files are laid out, as `cifar` or `imagenet`; found out where not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Layout>,
    /// Which labels of CIFAR-100: `fine` (100 classes) or `coarse` (20).
    #[serde(default, skip_serializing_if = "is_fine")]
    pub labels: Labels,
    /// Share of the training data held out for validation, stratified by class; where the set comes with a part for
    /// validation, that is taken instead, unless this is 0.
    #[serde(default = "usual_validation")]
    pub validation: f64,
    /// Seed of the held-out part; one seed for all runs that are to be compared.
    #[serde(default)]
    pub split_seed: u64,
    /// The most images of each class that are learned from, drawn by `split_seed` once the held-out part is; all where
    /// not said. Those of a smaller number are among those of a larger one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_class: Option<usize>,
    /// Side that images are brought to, in pixels; needed where they differ in size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    /// 1 for grey, 3 for red, green and blue; as in the files where not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    /// Share of an image's shorter side that is shown when it is brought to `image_size`; 0.875.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<f64>,
    /// The filter by which it is: `bicubic` or `bilinear`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpolation: Option<Interpolation>,
    /// What pixels are normalised by; where not said, as the weights that the student begins with want it, else as
    /// [`Normalizing::Dataset`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalization: Option<Normalizing>,
    /// Whether images are turned upright as the camera's EXIF tag says.
    #[serde(default, skip_serializing_if = "is_off")]
    pub exif_orientation: bool,
    /// Whether images that cannot be read are left out, and listed in the result, rather than refused.
    #[serde(default, skip_serializing_if = "is_off")]
    pub skip_bad: bool,
    /// How training images vary.
    #[serde(default)]
    pub views: ViewPolicy,
}

fn usual_validation() -> f64 {
    0.1
}

fn is_off(flag: &bool) -> bool {
    !flag
}

fn is_fine(labels: &Labels) -> bool {
    *labels == Labels::Fine
}

impl DataConfig {
    /// Most bytes of decoded images that a half of a data set may keep in memory.
    const MEMORY: usize = 1 << 30;

    /// How images are brought to one size, where they are.
    pub fn preprocess(&self) -> Option<Preprocess> {
        let usual = Preprocess::new(self.image_size?);
        Some(Preprocess {
            crop: self.crop.unwrap_or(usual.crop),
            interpolation: self.interpolation.unwrap_or(usual.interpolation),
            exif_orientation: self.exif_orientation,
            ..usual
        })
    }

    /// How the data set is to be opened.
    pub fn request(&self) -> Request {
        Request {
            channels: self.channels,
            preprocess: self.preprocess(),
            memory: Self::MEMORY,
            layout: self.format,
            labels: self.labels,
            exif_orientation: self.exif_orientation,
            skip_bad: self.skip_bad,
        }
    }

    /// Every problem with it, each as `key = value, what was expected`.
    pub(super) fn check(&self) -> Vec<String> {
        let share = self.validation;
        let mut problems = Vec::new();
        if !(0.0..1.0).contains(&share) {
            problems.push(format!("validation = {share}, must be in [0, 1)"));
        }
        if self.per_class == Some(0) {
            problems.push("per_class = 0, must be at least 1".to_owned());
        }
        if self.image_size.is_none() && (self.crop.is_some() || self.interpolation.is_some()) {
            problems.push(
                "crop and interpolation say how images come to image_size, which is missing".to_owned(),
            );
        }
        problems.extend(self.request().check());
        if let Some(Normalizing::Given { mean, std }) = &self.normalization {
            let channels = self.channels.unwrap_or(mean.len());
            let given = Normalizing::given(mean, std);
            problems.extend(given.check(channels).into_iter().map(|what| format!("normalization.{what}")));
        }
        problems
    }
}

/// What pixels are normalised by: in a recipe `"dataset"`, `"imagenet"`, or a table of `mean` and `std`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "toml::Value", into = "toml::Value")]
pub enum Normalizing {
    /// Mean and deviation of the images that are learned from.
    Dataset,
    /// Those of ImageNet, which timm's weights want for the most part.
    Imagenet,
    /// These, a number a channel, of pixels from 0 to 1.
    Given {
        /// Subtracted.
        mean: Vec<f64>,
        /// Divided by.
        std: Vec<f64>,
    },
}

impl Normalizing {
    /// The values, where they do not follow from the images.
    pub fn values(&self) -> Option<Normalization> {
        match self {
            Self::Dataset => None,
            Self::Imagenet => Some(Normalization::imagenet()),
            Self::Given { mean, std } => Some(Self::given(mean, std)),
        }
    }

    fn given(mean: &[f64], std: &[f64]) -> Normalization {
        let single = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
        Normalization { mean: single(mean), std: single(std) }
    }
}

/// The table that gives numbers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl TryFrom<toml::Value> for Normalizing {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::String(name) if name == "dataset" => Ok(Self::Dataset),
            toml::Value::String(name) if name == "imagenet" => Ok(Self::Imagenet),
            toml::Value::Table(table) => {
                let numbers = table.try_into().map_err(|error: toml::de::Error| error.message().to_owned());
                numbers.map(|Numbers { mean, std }| Self::Given { mean, std })
            }
            other => Err(format!(
                "{other}, must be \"dataset\", \"imagenet\", or mean and std, as `hcd data` prints them"
            )),
        }
    }
}

impl From<Normalizing> for toml::Value {
    fn from(normalizing: Normalizing) -> Self {
        let list = |values: Vec<f64>| Self::Array(values.into_iter().map(Self::Float).collect());
        match normalizing {
            Normalizing::Dataset => "dataset".into(),
            Normalizing::Imagenet => "imagenet".into(),
            Normalizing::Given { mean, std } => {
                let entries =
                    [("mean", mean), ("std", std)].map(|(key, values)| (key.to_owned(), list(values)));
                Self::Table(entries.into_iter().collect())
            }
        }
    }
}
