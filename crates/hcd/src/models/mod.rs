//! Step 2, who looks: trait [`Backbone`] turns images into [`Features`]. One family a file.
//!
//! Stage taps and penultimate features are those of the table in `docs/method.md`: a student gives the
//! outputs of its stages, a teacher the vector that its classifier reads.

mod config;
pub mod layers;
mod params;
mod resnet;
mod swin;
pub mod weights;

pub use config::{ModelConfig, ModelSpec, PRESETS, Preset};
pub use layers::{Init, Pass};
pub use params::{NamedTensor, Parameters, Role};
pub use resnet::{ResNet, ResNetConfig, Stem};
pub use swin::{Swin, SwinConfig};

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
}

/// Any network of the zoo.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Network {
    /// Residual network.
    ResNet(ResNet),
    /// Shifted-window transformer.
    Swin(Swin),
}

/// One line per family: hand a call through to the network inside.
macro_rules! each_family {
    ($network:expr, $inner:ident => $call:expr) => {
        match $network {
            Network::ResNet($inner) => $call,
            Network::Swin($inner) => $call,
        }
    };
}

impl Network {
    /// Builds the network with values drawn from the stream "model" of `seed`, on `device`.
    pub fn new(config: &ModelConfig, seed: u64, device: &Device) -> Self {
        let mut init = Init::new(crate::rng::stream(seed, "model", &[]), device);
        match config {
            ModelConfig::ResNet(config) => Network::ResNet(ResNet::new(config, &mut init)),
            ModelConfig::Swin(config) => Network::Swin(Swin::new(config, &mut init)),
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
}

/// Mean over height and width.
///
/// # Shapes
/// `map` (B, C, H, W) → (B, C)
pub fn global_average(map: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = map.dims();
    map.reshape([batch, channels, height * width]).mean_dim(2).squeeze_dim(2)
}
