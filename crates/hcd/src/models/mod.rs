//! Step 2, who looks: trait [`Backbone`] turns images into [`Features`]. One family a file.
//!
//! Stage taps and penultimate features are those of the table in `docs/method.md`: a student gives the
//! outputs of its stages, a teacher the vector that its classifier reads.

mod blocks;
mod cifar_resnet;
mod config;
mod convnext;
mod cost;
mod efficientnet;
pub mod layers;
mod mixer;
mod params;
mod presets;
mod resmlp;
mod resnet;
mod swin;
mod tokens;
mod vit;
pub mod weights;

pub use blocks::{Block, depth_of};
pub use cifar_resnet::{CifarResNet, CifarResNetConfig, Shortcut};
pub use config::{ModelConfig, ModelSpec};
pub use convnext::{ConvNext, ConvNextConfig};
pub use cost::{Cost, Layer};
pub use efficientnet::{BlockRow, EfficientNet, EfficientNetConfig, MapPadding};
pub(crate) use layers::remember;
pub use layers::{Init, Pass};
pub use mixer::{Mixer, MixerConfig};
pub use params::{NamedTensor, Parameters, Role};
pub(crate) use params::{freeze, names_by_id};
pub use presets::{Interpolation, PRESETS, Preprocessing, Preset};
pub use resmlp::{ResMlp, ResMlpConfig};
pub use resnet::{BlockKind, ResNet, ResNetConfig, Stem};
pub use swin::{Swin, SwinConfig};
pub(crate) use tokens::neighbours;
pub use vit::{Vit, VitConfig};

pub use crate::ops::global_average;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// What one stage of a network says about a batch.
#[derive(Debug, Clone)]
pub enum StageFeature {
    /// A feature map (B, C, H, W), from a CNN.
    Map(Tensor<4>),
    /// Tokens (B, L, D), from a transformer or MLP; the first `prefix` of the L are class tokens, the rest a
    /// grid of `grid` = (H, W) read row by row.
    Tokens {
        /// (B, L, D), L = prefix + H·W.
        tokens: Tensor<3>,
        /// Tokens before the grid.
        prefix: usize,
        /// Height and width of the grid.
        grid: [usize; 2],
    },
}

impl StageFeature {
    /// Mean over space, or over all tokens.
    ///
    /// # Shapes
    /// → (B, C)
    pub fn mean(self) -> Tensor<2> {
        match self {
            StageFeature::Map(map) => global_average(map),
            StageFeature::Tokens { tokens, .. } => tokens.mean_dim(1).squeeze_dim(1),
        }
    }

    /// Parts of a batch as one.
    ///
    /// # Panics
    /// Where there are none, or they differ in kind.
    pub(crate) fn joined(parts: impl IntoIterator<Item = StageFeature>) -> Self {
        let (mut maps, mut all, mut shape) = (Vec::new(), Vec::new(), (0, [0; 2]));
        for part in parts {
            match part {
                StageFeature::Map(map) => maps.push(map),
                StageFeature::Tokens { tokens, prefix, grid } => {
                    all.push(tokens);
                    shape = (prefix, grid);
                }
            }
        }
        match all.is_empty() {
            true => StageFeature::Map(Tensor::cat(maps, 0)),
            false => StageFeature::Tokens { tokens: Tensor::cat(all, 0), prefix: shape.0, grid: shape.1 },
        }
    }
}

/// The shape of one stage's features, known before any image is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageShape {
    /// A feature map.
    Map {
        /// C of (B, C, H, W).
        channels: usize,
    },
    /// Tokens.
    Tokens {
        /// D of (B, L, D).
        width: usize,
        /// Tokens before the grid.
        prefix: usize,
        /// Height and width of the grid.
        grid: [usize; 2],
    },
}

/// What a network says about a batch of images.
#[derive(Debug, Clone)]
pub struct Features {
    /// One entry a stage, shallow to deep.
    pub stages: Vec<StageFeature>,
    /// What the classifier reads: (B, D).
    pub penultimate: Tensor<2>,
    /// Unnormalised scores of the classes: (B, K).
    pub logits: Tensor<2>,
}

/// A classification network seen as stages, a penultimate feature and a last layer.
pub trait Backbone: Module {
    /// All features of a batch.
    ///
    /// # Shapes
    /// `images` (B, C_in, H, W), normalised
    fn forward(&self, images: Tensor<4>, pass: &mut Pass) -> Features;

    /// The shapes of the stages, in the order of [`Features::stages`].
    fn stages(&self) -> Vec<StageShape>;

    /// D, the width of the penultimate feature.
    fn penultimate_width(&self) -> usize;

    /// The last layer alone.
    ///
    /// # Shapes
    /// `penultimate` (B, D) → (B, K)
    fn classify(&self, penultimate: Tensor<2>) -> Tensor<2>;

    /// The network as a row of blocks, the stem first; what is in none of them belongs to the head. Fine-tuning by stage or by
    /// depth needs them.
    fn blocks(&self) -> Vec<Block> {
        Vec::new()
    }
}

/// Any network of the zoo.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Network {
    /// Residual network.
    ResNet(ResNet),
    /// Residual network for 32x32 images.
    CifarResNet(CifarResNet),
    /// MobileNetV2, EfficientNet-Lite.
    EfficientNet(EfficientNet),
    /// Modernised convolutional network.
    ConvNext(ConvNext),
    /// Vision transformer.
    Vit(Vit),
    /// Shifted-window transformer.
    Swin(Swin),
    /// Perceptrons over tokens and channels.
    Mixer(Mixer),
    /// Residual perceptrons with affine layers.
    ResMlp(ResMlp),
}

/// One line per family: hand a call through to the network inside.
macro_rules! each_family {
    ($network:expr, $inner:ident => $call:expr) => {
        match $network {
            Network::ResNet($inner) => $call,
            Network::CifarResNet($inner) => $call,
            Network::EfficientNet($inner) => $call,
            Network::ConvNext($inner) => $call,
            Network::Vit($inner) => $call,
            Network::Swin($inner) => $call,
            Network::Mixer($inner) => $call,
            Network::ResMlp($inner) => $call,
        }
    };
}

impl Network {
    /// Builds the network with values drawn from the stream "model" of `seed`, on `device`.
    pub fn new(config: &ModelConfig, seed: u64, device: &Device) -> Self {
        Self::build(config, &mut Init::new(crate::rng::stream(seed, "model", &[]), device))
    }

    /// Builds the network with zeros for values, for those who look at its shape or bring the values.
    pub fn blank(config: &ModelConfig, device: &Device) -> Self {
        Self::build(config, &mut Init::blank(device))
    }

    /// As [`Network::new`], or [`Network::blank`] without a seed, but of at most `numbers` numbers: beyond them, tensors
    /// are misshapen, so that they fit no weights. For configurations out of files, which may ask for anything.
    pub(crate) fn within(numbers: usize, config: &ModelConfig, seed: Option<u64>, device: &Device) -> Self {
        let init = match seed {
            Some(seed) => Init::new(crate::rng::stream(seed, "model", &[]), device),
            None => Init::blank(device),
        };
        Self::build(config, &mut init.within(numbers))
    }

    fn build(config: &ModelConfig, init: &mut Init) -> Self {
        match config {
            ModelConfig::ResNet(config) => Network::ResNet(ResNet::new(config, init)),
            ModelConfig::CifarResNet(config) => Network::CifarResNet(CifarResNet::new(config, init)),
            ModelConfig::EfficientNet(config) => Network::EfficientNet(EfficientNet::new(config, init)),
            ModelConfig::ConvNext(config) => Network::ConvNext(ConvNext::new(config, init)),
            ModelConfig::Vit(config) => Network::Vit(Vit::new(config, init)),
            ModelConfig::Swin(config) => Network::Swin(Swin::new(config, init)),
            ModelConfig::Mixer(config) => Network::Mixer(Mixer::new(config, init)),
            ModelConfig::ResMlp(config) => Network::ResMlp(ResMlp::new(config, init)),
        }
    }
}

impl Backbone for Network {
    fn forward(&self, images: Tensor<4>, pass: &mut Pass) -> Features {
        each_family!(self, network => network.forward(images, pass))
    }

    fn stages(&self) -> Vec<StageShape> {
        each_family!(self, network => network.stages())
    }

    fn penultimate_width(&self) -> usize {
        each_family!(self, network => network.penultimate_width())
    }

    fn classify(&self, penultimate: Tensor<2>) -> Tensor<2> {
        each_family!(self, network => network.classify(penultimate))
    }

    fn blocks(&self) -> Vec<Block> {
        each_family!(self, network => network.blocks())
    }
}

/// The pixels of a map as tokens, row by row.
///
/// # Shapes
/// `map` (B, C, H, W) → (B, H·W, C)
fn patch_tokens(map: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = map.dims();
    map.reshape([batch, channels, height * width]).swap_dims(1, 2)
}
