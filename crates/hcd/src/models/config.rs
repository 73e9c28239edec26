//! Networks by name: what a user asks for, and the complete shape that it resolves to.

use super::{
    CifarResNetConfig, ConvNextConfig, EfficientNetConfig, MixerConfig, PRESETS, Preset, ResMlpConfig,
    ResNetConfig, SwinConfig, VitConfig,
};
use crate::data::ImageShape;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What every family's configuration can be asked.
pub(super) trait Family {
    /// Path of the last layer.
    const HEAD: &'static str;

    /// The one image side the network takes, where it is not free.
    fn image_size(&self) -> Option<usize> {
        None
    }

    /// The smallest image side of which anything is left in the last stage.
    fn smallest_image(&self) -> usize {
        1
    }

    /// What makes the shape impossible, if anything: one line on the first thing that is wrong.
    fn check(&self) -> std::result::Result<(), String>;
}

/// A network's complete shape, as saved in files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "lowercase")]
pub enum ModelConfig {
    /// Residual network.
    ResNet(ResNetConfig),
    /// Residual network for 32x32 images.
    CifarResNet(CifarResNetConfig),
    /// MobileNetV2, EfficientNet-Lite.
    EfficientNet(EfficientNetConfig),
    /// Modernised convolutional network.
    ConvNext(ConvNextConfig),
    /// Vision transformer.
    Vit(VitConfig),
    /// Shifted-window transformer.
    Swin(SwinConfig),
    /// Perceptrons over tokens and channels.
    Mixer(MixerConfig),
    /// Residual perceptrons with affine layers.
    ResMlp(ResMlpConfig),
}

/// One line per family: hand a call through to the configuration inside.
macro_rules! each_config {
    ($config:expr, $inner:ident => $call:expr) => {
        match $config {
            ModelConfig::ResNet($inner) => $call,
            ModelConfig::CifarResNet($inner) => $call,
            ModelConfig::EfficientNet($inner) => $call,
            ModelConfig::ConvNext($inner) => $call,
            ModelConfig::Vit($inner) => $call,
            ModelConfig::Swin($inner) => $call,
            ModelConfig::Mixer($inner) => $call,
            ModelConfig::ResMlp($inner) => $call,
        }
    };
}

impl ModelConfig {
    /// K.
    pub fn num_classes(&self) -> usize {
        each_config!(self, config => config.num_classes)
    }

    /// C_in.
    pub fn in_channels(&self) -> usize {
        each_config!(self, config => config.in_channels)
    }

    /// The one image side the network takes, where it is not free.
    pub fn image_size(&self) -> Option<usize> {
        each_config!(self, config => config.image_size())
    }

    /// What is wrong with images of that shape, if anything.
    ///
    /// # Errors
    /// With one line where the network takes others alone.
    pub fn check_images(&self, images: ImageShape) -> std::result::Result<(), String> {
        let (channels, smallest) =
            (self.in_channels(), each_config!(self, config => config.smallest_image()));
        let wanted = match self.image_size() {
            Some(side) => format!("{channels}x{side}x{side}"),
            None => format!("{channels} channels and at least {smallest}x{smallest} pixels"),
        };
        let fits = |side| self.image_size().is_none_or(|own| own == side) && side >= smallest;
        match images.channels == channels && fits(images.height) && fits(images.width) {
            true => Ok(()),
            false => Err(format!("takes images of {wanted}, not {images}")),
        }
    }

    /// Path of the last layer, such as `head.fc`.
    pub fn head(&self) -> &'static str {
        fn of<F: Family>(_: &F) -> &'static str {
            F::HEAD
        }
        each_config!(self, config => of(config))
    }

    /// What makes the shape impossible, if anything.
    ///
    /// # Errors
    /// With one line on the first thing that is wrong.
    pub fn check(&self) -> std::result::Result<(), String> {
        if self.num_classes() == 0 || self.in_channels() == 0 {
            return Err("num_classes and in_channels must be at least 1".to_owned());
        }
        each_config!(self, config => config.check())
    }
}

/// What a user asks for: a preset's name, perhaps weights to begin with, and options that differ from the preset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// Name of a preset, as `hcd models` lists them.
    pub name: String,
    /// Weights to begin with, a file of any origin; initial values are drawn where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// Whether to take what fits of the weights, where tensors are missing, unexpected or misshapen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Fields of the preset's configuration to replace, such as `widths` or `depths`.
    #[serde(flatten)]
    pub options: toml::Table,
}

impl ModelSpec {
    /// The name of a network that a program brings itself ([`crate::train::fit_own`]).
    pub const OWN: &str = "own";

    /// Whether it is a network that a program brings itself.
    pub fn is_own(&self) -> bool {
        self.name == Self::OWN
    }

    /// The preset as it is.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), weights: None, partial: false, options: toml::Table::new() }
    }

    /// The complete configuration, for images of `channels` x `size` x `size` and `classes` classes.
    ///
    /// # Errors
    /// For an unknown preset, or an option that its family has not.
    pub fn resolve(&self, channels: usize, size: usize, classes: usize) -> Result<ModelConfig> {
        let refuse = |what: String| Error::Recipe(format!("model `{}`: {what}", self.name));
        let preset = self.preset().map_err(refuse)?;
        let config = self
            .change(preset.config(channels, size, classes))
            .map_err(|problems| refuse(problems.join("; ")))?;
        config.check().map_err(refuse)?;
        config.check_images(ImageShape { channels, height: size, width: size }).map_err(refuse)?;
        Ok(config)
    }

    /// What is wrong with the name and the options, whatever the images are: one line each, the key in front.
    pub fn check(&self) -> Vec<String> {
        if self.is_own() && self.options.is_empty() && self.weights.is_none() {
            return Vec::new();
        }
        match self.preset() {
            Ok(preset) => self.change(preset.config(1, preset.image_size, 1)).err().unwrap_or_default(),
            Err(problem) => vec![problem],
        }
    }

    /// The preset of that name.
    ///
    /// # Errors
    /// Where there is none, with the names there are.
    pub fn preset(&self) -> std::result::Result<&'static Preset, String> {
        PRESETS.iter().find(|preset| preset.name == self.name).ok_or_else(|| {
            let known = PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ");
            format!("name = \"{}\", expected one of {known}", self.name)
        })
    }

    /// `base` with the options in their places, or everything that is wrong with them.
    fn change(&self, base: ModelConfig) -> std::result::Result<ModelConfig, Vec<String>> {
        let base = toml::Table::try_from(&base).map_err(|e| vec![e.to_string()])?;
        let (mut table, mut problems) = (base.clone(), Vec::new());
        for (key, value) in &self.options {
            if key == "family" || !base.contains_key(key) {
                let known =
                    base.keys().filter(|key| *key != "family").cloned().collect::<Vec<_>>().join(", ");
                problems.push(format!("{key}: unknown option of `{}`, expected one of {known}", self.name));
                continue;
            }
            let mut alone = base.clone();
            alone.insert(key.clone(), value.clone());
            match alone.try_into::<ModelConfig>() {
                Ok(_) => {
                    table.insert(key.clone(), value.clone());
                }
                Err(error) => {
                    problems.push(format!("{key} = {value}: {}", error.message().replace('\n', " ")))
                }
            }
        }
        match problems.is_empty() {
            true => table.try_into().map_err(|e: toml::de::Error| vec![e.message().replace('\n', " ")]),
            false => Err(problems),
        }
    }
}

/// Whether a rate lies in [0, 1).
pub(super) fn in_unit(key: &str, value: f64) -> std::result::Result<(), String> {
    match (0.0..1.0).contains(&value) {
        true => Ok(()),
        false => Err(format!("{key} = {value}, must be in [0, 1)")),
    }
}

/// Whether images of `image_size` can be cut into patches of `patch_size`. As timm does, what is left over at
/// the right and below is not looked at.
pub(super) fn check_patches(image_size: usize, patch_size: usize) -> std::result::Result<(), String> {
    match patch_size > 0 && image_size >= patch_size {
        true => Ok(()),
        false => Err(format!("patch_size = {patch_size}, must be from 1 to image_size = {image_size}")),
    }
}

/// Whether a width can be shared out among attention heads.
pub(super) fn check_heads(width: usize, heads: usize) -> std::result::Result<(), String> {
    match heads > 0 && width > 0 && width.is_multiple_of(heads) {
        true => Ok(()),
        false => Err(format!("width {width} must be a multiple of heads = {heads}")),
    }
}
