//! Networks by name: presets, and what a recipe may change of them.

use super::{ResNetConfig, Stem, SwinConfig};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A network's complete shape, as saved in files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "lowercase")]
pub enum ModelConfig {
    /// Residual network.
    ResNet(ResNetConfig),
    /// Shifted-window transformer.
    Swin(SwinConfig),
}

/// What a user asks for: a preset's name, and options that differ from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// Name of a preset, as `hcd models` lists them.
    pub name: String,
    /// Fields of the preset's configuration to replace, such as `widths` or `depths`.
    #[serde(flatten)]
    pub options: toml::Table,
}

impl ModelSpec {
    /// The preset as it is.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), options: toml::Table::new() }
    }

    /// The complete configuration, for images of `channels` x `size` x `size` and `classes` classes.
    ///
    /// # Errors
    /// For an unknown preset, or an option that its family has not.
    pub fn resolve(&self, channels: usize, size: usize, classes: usize) -> Result<ModelConfig> {
        let refuse = |what: String| Error::Recipe(format!("model `{}`: {what}", self.name));
        let preset = self.preset().map_err(refuse)?;
        let config = self
            .change((preset.build)(channels, size, classes))
            .map_err(|problems| refuse(problems.join("; ")))?;
        config.check().map_err(refuse)?;
        Ok(config)
    }

    /// What is wrong with the name and the options, whatever the images are: one line each, the key in front.
    pub fn check(&self) -> Vec<String> {
        match self.preset() {
            Ok(preset) => self.change((preset.build)(1, preset.image_size, 1)).err().unwrap_or_default(),
            Err(problem) => vec![problem],
        }
    }

    fn preset(&self) -> std::result::Result<&'static Preset, String> {
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

impl ModelConfig {
    /// K.
    pub fn num_classes(&self) -> usize {
        match self {
            ModelConfig::ResNet(config) => config.num_classes,
            ModelConfig::Swin(config) => config.num_classes,
        }
    }

    /// C_in.
    pub fn in_channels(&self) -> usize {
        match self {
            ModelConfig::ResNet(config) => config.in_channels,
            ModelConfig::Swin(config) => config.in_channels,
        }
    }

    /// The one image side the network takes, where it is not free.
    pub fn image_size(&self) -> Option<usize> {
        match self {
            ModelConfig::ResNet(_) => None,
            ModelConfig::Swin(config) => Some(config.image_size),
        }
    }

    /// What makes the shape impossible, if anything.
    ///
    /// # Errors
    /// With one line on the first thing that is wrong.
    pub fn check(&self) -> std::result::Result<(), String> {
        match self {
            ModelConfig::ResNet(config) => {
                if config.depths.contains(&0) || config.widths.contains(&0) {
                    return Err("depths and widths must be at least 1".to_owned());
                }
            }
            ModelConfig::Swin(config) => {
                if config.depths.is_empty() || config.depths.len() != config.heads.len() {
                    return Err(format!(
                        "depths {:?} and heads {:?} must have one entry a stage",
                        config.depths, config.heads
                    ));
                }
                if config.patch_size == 0 || config.window == 0 || config.width == 0 {
                    return Err("patch_size, window and width must be at least 1".to_owned());
                }
                if config.image_size % config.patch_size != 0 || config.image_size == 0 {
                    return Err(format!(
                        "image_size = {} must be a multiple of patch_size = {}",
                        config.image_size, config.patch_size
                    ));
                }
                for (stage, heads) in config.heads.iter().enumerate() {
                    if *heads == 0 || (config.width << stage) % heads != 0 {
                        return Err(format!(
                            "width {} of stage {} must be a multiple of heads = {heads}",
                            config.width << stage,
                            stage + 1
                        ));
                    }
                }
                if !(0.0..1.0).contains(&config.drop_path) {
                    return Err(format!("drop_path = {}, must be in [0, 1)", config.drop_path));
                }
            }
        }
        Ok(())
    }
}

/// A named configuration.
#[derive(Debug)]
pub struct Preset {
    /// The name, timm's where timm has the network.
    pub name: &'static str,
    /// One line for `hcd models`.
    pub about: &'static str,
    /// The usual image side.
    pub image_size: usize,
    build: fn(channels: usize, size: usize, classes: usize) -> ModelConfig,
}

const fn preset(
    name: &'static str,
    about: &'static str,
    image_size: usize,
    build: fn(usize, usize, usize) -> ModelConfig,
) -> Preset {
    Preset { name, about, image_size, build }
}

fn resnet(
    depths: [usize; 4],
    width: usize,
    stem: Stem,
    in_channels: usize,
    num_classes: usize,
) -> ModelConfig {
    let widths = [width, 2 * width, 4 * width, 8 * width];
    ModelConfig::ResNet(ResNetConfig { depths, widths, stem, in_channels, num_classes })
}

/// The arguments are: images (channels, side), classes, patch size, width, depths and heads.
fn swin(
    (in_channels, image_size, num_classes): (usize, usize, usize),
    patch_size: usize,
    width: usize,
    depths: &[usize],
    heads: &[usize],
) -> ModelConfig {
    ModelConfig::Swin(SwinConfig {
        image_size,
        patch_size,
        window: 7,
        width,
        depths: depths.to_vec(),
        heads: heads.to_vec(),
        drop_path: 0.1,
        in_channels,
        num_classes,
    })
}

/// Every network that can be named.
pub const PRESETS: &[Preset] = &[
    preset("resnet18", "ResNet-18, ImageNet stem", 224, |c, _, k| {
        resnet([2, 2, 2, 2], 64, Stem::Imagenet, c, k)
    }),
    preset("resnet34", "ResNet-34, ImageNet stem", 224, |c, _, k| {
        resnet([3, 4, 6, 3], 64, Stem::Imagenet, c, k)
    }),
    preset("resnet18_small", "ResNet-18, 3x3 stem for small images", 32, |c, _, k| {
        resnet([2, 2, 2, 2], 64, Stem::Small, c, k)
    }),
    preset("resnet10_small", "ResNet-10 of width 16, 3x3 stem for small images", 32, |c, _, k| {
        resnet([1, 1, 1, 1], 16, Stem::Small, c, k)
    }),
    preset("swin_tiny_patch4_window7_224", "Swin-T", 224, |c, s, k| {
        swin((c, s, k), 4, 96, &[2, 2, 6, 2], &[3, 6, 12, 24])
    }),
    preset("swin_nano_patch4_window7_224", "Swin of width 64", 224, |c, s, k| {
        swin((c, s, k), 4, 64, &[2, 2, 2, 2], &[2, 4, 8, 16])
    }),
    preset("swin_pico_patch4_window7_224", "Swin of width 48", 224, |c, s, k| {
        swin((c, s, k), 4, 48, &[2, 2, 2, 2], &[2, 4, 8, 16])
    }),
    preset("swin_small_patch2", "Swin of three stages with 2x2 patches, for small images", 28, |c, s, k| {
        swin((c, s, k), 2, 48, &[2, 4, 2], &[2, 4, 8])
    }),
];
