//! Step 7, what came of it: the trained network as a file, and files of this kind as networks.
//!
//! Safetensors under timm's names, the heads left out; the metadata say which network, classes,
//! normalisation and run.

pub mod onnx;

use crate::data::{ImageShape, Normalization};
use crate::error::{Error, Result};
use crate::models::weights::{self, Precision, TensorMap};
use crate::models::{ModelConfig, Network};
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
}

/// Writes a network's tensors.
///
/// # Errors
/// Where the file cannot be written.
pub fn save(path: &Path, tensors: &TensorMap, precision: Precision, card: &Card) -> Result<()> {
    weights::write(path, tensors, precision, card)
}

/// Reads a network from a file that this program wrote.
///
/// # Errors
/// Where the file is missing, damaged, says nothing of its network, or its tensors do not fit.
pub fn load(path: &Path, device: &Device) -> Result<Loaded> {
    let source = path.display().to_string();
    let (tensors, card) = weights::read::<Card>(path)?;
    let card = card.ok_or_else(|| {
        Error::Weights(format!(
            "{source}: says nothing of its network (metadata `hcd` is missing); expected a file that `hcd` wrote"
        ))
    })?;
    let problems = card.config.check().err().into_iter().chain(card.normalization.check(card.image.channels));
    if let Some(problem) = problems.into_iter().next() {
        return Err(Error::Weights(format!("{source}: metadata `hcd`: {problem}")));
    }
    if card.classes.len() != card.config.num_classes() {
        return Err(Error::Weights(format!(
            "{source}: metadata `hcd` names {} classes for a network of {}",
            card.classes.len(),
            card.config.num_classes()
        )));
    }
    let network = weights::restore(Network::new(&card.config, 0, device), &tensors, &source)?;
    Ok(Loaded { network, card })
}
