//! Step 7, what came of it: the trained network as a file, and files of this kind as networks.
//!
//! Safetensors under timm's names, the heads left out; the metadata say which network, classes,
//! normalisation and run. Files of others say less, and are read with what the user says of them.

mod hub;
pub mod onnx;
mod request;

pub use request::{Request, load_with};

use crate::data::{self, ImageShape, Normalization, Preprocess};
use crate::error::Result;
use crate::models::weights::{self, Precision, TensorMap};
use crate::models::{ModelConfig, Network, PRESETS, Preset};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a weights file says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Name of the preset that the network came from.
    pub model: String,
    /// Its complete shape.
    pub config: ModelConfig,
    /// Class names, in the order of the logits.
    pub classes: Vec<String>,
    /// Channels, height and width of the images.
    pub image: ImageShape,
    /// What pixels are normalised by.
    pub normalization: Normalization,
    /// How images came to their size, where they were brought to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocess: Option<Preprocess>,
    /// How it was trained: method, seed, epoch; free text for people.
    pub run: String,
}

/// A network with what its file says.
#[derive(Debug)]
pub struct Loaded {
    /// The network.
    pub network: Network,
    /// Its description.
    pub card: Card,
    /// What was translated, adapted, replaced or left out on the way: one line each.
    pub notes: Vec<String>,
}

/// Writes a network's tensors.
///
/// # Errors
/// Where the file cannot be written.
pub fn save(path: &Path, tensors: &TensorMap, precision: Precision, card: &Card) -> Result<()> {
    weights::write(path, tensors, precision, card)
}

/// Reads a network from a file that says which one it is: one that this program wrote, or one of the
/// Hugging Face hub with its `config.json` beside it.
///
/// # Errors
/// Where the file is missing, damaged, says nothing of its network, or its tensors do not fit.
pub fn load(path: &Path, device: &Device) -> Result<Loaded> {
    load_with(path, &Request::default(), device)
}

/// The largest side of images that a file may describe its network for.
const LARGEST_SIDE: usize = 2048;

impl Card {
    /// How images of any size become those that the network looks at: as in its training, else as timm's weights
    /// of that name want it. None where these are not square.
    pub fn preprocess(&self) -> Option<Preprocess> {
        let size = self.image.height;
        if size != self.image.width {
            return None;
        }
        let usual = || match PRESETS.iter().find(|preset| preset.name == self.model) {
            Some(Preset { preprocessing, .. }) => {
                let (crop, interpolation) = (preprocessing.crop, preprocessing.interpolation);
                Preprocess { crop, interpolation, ..Preprocess::new(size) }
            }
            None => Preprocess::new(size),
        };
        Some(self.preprocess.map_or_else(usual, |own| Preprocess { size, ..own }))
    }

    /// How images are to be opened that the network looks at; upright where `exif_orientation` or its training says so.
    pub fn request(&self, exif_orientation: bool) -> data::Request {
        let preprocess = self.preprocess();
        data::Request {
            channels: Some(self.image.channels),
            preprocess,
            exif_orientation: exif_orientation || preprocess.is_some_and(|own| own.exif_orientation),
            ..data::Request::default()
        }
    }

    /// What is wrong with what a file says of itself, if anything.
    fn check(&self) -> std::result::Result<(), String> {
        self.config.check()?;
        if let Some(problem) = self.normalization.check(self.image.channels).into_iter().next() {
            return Err(problem);
        }
        self.config.check_images(self.image)?;
        if self.classes.len() != self.config.num_classes() {
            let (named, told) = (self.classes.len(), self.config.num_classes());
            return Err(format!("names {named} classes for a network of {told}"));
        }
        Ok(())
    }

    /// Whether the network may have as many blocks as it says: each has tensors of its own.
    fn check_against(&self, tensors: &TensorMap) -> std::result::Result<(), String> {
        let side = self.config.image_size().unwrap_or(1);
        if side > LARGEST_SIDE {
            return Err(format!("image_size = {side}, must be at most {LARGEST_SIDE}"));
        }
        let config = serde_json::to_value(&self.config).map_err(|e| e.to_string())?;
        let blocks = blocks(&config, false);
        match blocks > tensors.len() as u64 {
            true => {
                Err(format!("describes a network of {blocks} blocks, the file has {} tensors", tensors.len()))
            }
            false => Ok(()),
        }
    }
}

/// The sum of the numbers that count blocks in a configuration.
fn blocks(config: &serde_json::Value, counts: bool) -> u64 {
    let sum = |parts: &mut dyn Iterator<Item = u64>| parts.fold(0, u64::saturating_add);
    match config {
        serde_json::Value::Number(number) if counts => number.as_u64().unwrap_or(u64::MAX),
        serde_json::Value::Array(items) => sum(&mut items.iter().map(|item| blocks(item, counts))),
        serde_json::Value::Object(entries) => sum(&mut entries
            .iter()
            .map(|(key, value)| blocks(value, ["depth", "depths", "repeats"].contains(&key.as_str())))),
        _ => 0,
    }
}
