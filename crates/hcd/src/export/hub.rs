//! `config.json`, which timm puts beside the weights that it gives to the Hugging Face hub.

use crate::data::Normalization;
use crate::error::{Error, Result};
use crate::files;
use serde::Deserialize;
use std::path::Path;

/// What it says of the weights beside it, as far as that matters here.
#[derive(Debug, Default, Deserialize)]
pub struct HubConfig {
    /// timm's name of the network.
    pub architecture: String,
    /// Class names, in the order of the logits.
    #[serde(default)]
    label_names: Option<Vec<String>>,
    #[serde(default)]
    pretrained_cfg: Pretraining,
}

#[derive(Debug, Default, Deserialize)]
struct Pretraining {
    #[serde(default)]
    mean: Option<Vec<f32>>,
    #[serde(default)]
    std: Option<Vec<f32>>,
    /// Channels, height, width.
    #[serde(default)]
    input_size: Option<Vec<usize>>,
    #[serde(default)]
    label_names: Option<Vec<String>>,
}

impl HubConfig {
    /// Reads the file beside `weights`; nothing where there is none, or where it is not timm's.
    ///
    /// # Errors
    /// Where it cannot be read, or says of its network something that makes no sense.
    pub fn beside(weights: &Path) -> Result<Option<Self>> {
        let path = weights.with_file_name("config.json");
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = files::read(&path)?;
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(&bytes) else { return Ok(None) };
        if value.get("architecture").is_none() {
            return Ok(None);
        }
        let config = serde_json::from_value(value);
        config
            .map(Some)
            .map_err(|e| Error::Weights(format!("{}: not as timm writes it ({e})", path.display())))
    }

    /// The name without the tag that tells trainings of one network apart.
    pub fn model(&self) -> &str {
        self.architecture.split('.').next().unwrap_or_default()
    }

    /// Class names, where there are `count`.
    pub fn classes(&self, count: usize) -> Option<Vec<String>> {
        let names = self.label_names.as_ref().or(self.pretrained_cfg.label_names.as_ref());
        names.filter(|names| names.len() == count).cloned()
    }

    /// The side of the images.
    pub fn image_size(&self) -> Option<usize> {
        match self.pretrained_cfg.input_size.as_deref() {
            Some([_, height, width]) if height == width => Some(*height),
            _ => None,
        }
    }

    /// What pixels are normalised by.
    pub fn normalization(&self) -> Option<Normalization> {
        let Pretraining { mean, std, .. } = &self.pretrained_cfg;
        Some(Normalization { mean: mean.clone()?, std: std.clone()? })
    }
}
