//! Every network that can be named, under timm's name where timm has it, and how timm's weights of that name want
//! their images: resized so that the shorter side is size / crop, cut in the middle, normalised.
//!
//! Source of the figures: timm 1.0.31, the default configuration of each name.

use super::{
    BlockKind, BlockRow, CifarResNetConfig, ConvNextConfig, EfficientNetConfig, MapPadding, MixerConfig,
    ModelConfig, ResMlpConfig, ResNetConfig, Shortcut, Stem, SwinConfig, VitConfig,
};
use serde::{Deserialize, Serialize};

/// How an image is resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Triangle filter.
    Bilinear,
    /// Catmull-Rom-like cubic filter, a = −0.5.
    Bicubic,
}

/// What an image goes through before a network that was trained elsewhere looks at it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preprocessing {
    /// Mean of red, green and blue, of pixels from 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue.
    pub std: [f32; 3],
    /// Share of the resized image's shorter side that the middle crop keeps.
    pub crop: f64,
    /// How it is resized.
    pub interpolation: Interpolation,
}

impl Preprocessing {
    /// With ImageNet's mean and deviation.
    pub(crate) const fn imagenet(crop: f64) -> Self {
        Self {
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            crop,
            interpolation: Interpolation::Bicubic,
        }
    }

    /// From −1 to 1.
    const fn inception(crop: f64) -> Self {
        Self { mean: [0.5; 3], std: [0.5; 3], crop, interpolation: Interpolation::Bicubic }
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
    /// What published weights of that name expect of images.
    pub preprocessing: Preprocessing,
    build: fn(Images) -> ModelConfig,
}

impl Preset {
    /// The configuration for images of `channels` x `size` x `size` and `classes` classes.
    pub fn config(&self, channels: usize, size: usize, classes: usize) -> ModelConfig {
        (self.build)(Images { channels, size, classes })
    }
}

/// What a network is to look at.
#[derive(Debug, Clone, Copy)]
struct Images {
    channels: usize,
    size: usize,
    classes: usize,
}

const fn preset(
    name: &'static str,
    about: &'static str,
    image_size: usize,
    preprocessing: Preprocessing,
    build: fn(Images) -> ModelConfig,
) -> Preset {
    Preset { name, about, image_size, preprocessing, build }
}

const P95: Preprocessing = Preprocessing::imagenet(0.95);
const P90: Preprocessing = Preprocessing::imagenet(0.9);
const P875: Preprocessing = Preprocessing::imagenet(0.875);
/// Images are shown whole.
const WHOLE: Preprocessing = Preprocessing::imagenet(1.0);

/// Every network that can be named.
pub const PRESETS: &[Preset] = &[
    preset("resnet18", "ResNet-18", 224, P95, |i| resnet(i, BlockKind::Basic, [2, 2, 2, 2])),
    preset("resnet34", "ResNet-34", 224, P95, |i| resnet(i, BlockKind::Basic, [3, 4, 6, 3])),
    preset("resnet50", "ResNet-50", 224, P95, |i| resnet(i, BlockKind::Bottleneck, [3, 4, 6, 3])),
    preset("mobilenetv2_100", "MobileNetV2", 224, P875, |i| efficientnet(i, MOBILENET_V2, MapPadding::Even)),
    preset("efficientnet_lite0", "EfficientNet-Lite0", 224, P875, |i| {
        efficientnet(i, EFFICIENTNET_LITE0, MapPadding::Even)
    }),
    preset(
        "tf_efficientnet_lite0",
        "EfficientNet-Lite0 for TensorFlow's weights: SAME padding, ε = 1e-3",
        224,
        Preprocessing::inception(0.875),
        |i| efficientnet(i, EFFICIENTNET_LITE0, MapPadding::Same),
    ),
    preset("convnext_tiny", "ConvNeXt-T", 224, P95, |i| convnext(i, 4, &[3, 3, 9, 3], &[96, 192, 384, 768])),
    preset("convnext_small", "ConvNeXt-S", 224, P95, |i| {
        convnext(i, 4, &[3, 3, 27, 3], &[96, 192, 384, 768])
    }),
    preset("deit_tiny_patch16_224", "DeiT-Ti", 224, P90, |i| vit(i, 16, 192, 12, 3)),
    preset("deit_small_patch16_224", "DeiT-S", 224, P90, |i| vit(i, 16, 384, 12, 6)),
    preset("vit_tiny_patch16_224", "ViT-Ti", 224, Preprocessing::inception(0.9), |i| vit(i, 16, 192, 12, 3)),
    preset("vit_small_patch16_224", "ViT-S", 224, Preprocessing::inception(0.9), |i| vit(i, 16, 384, 12, 6)),
    preset("swin_small_patch4_window7_224", "Swin-S", 224, P90, |i| {
        swin(i, 4, 96, &[2, 2, 18, 2], &[3, 6, 12, 24])
    }),
    preset("swin_tiny_patch4_window7_224", "Swin-T", 224, P90, |i| {
        swin(i, 4, 96, &[2, 2, 6, 2], &[3, 6, 12, 24])
    }),
    preset("swin_nano_patch4_window7_224", "Swin of width 64", 224, P90, |i| {
        swin(i, 4, 64, &[2, 2, 2, 2], &[2, 4, 8, 16])
    }),
    preset("swin_pico_patch4_window7_224", "Swin of width 48", 224, P90, |i| {
        swin(i, 4, 48, &[2, 2, 2, 2], &[2, 4, 8, 16])
    }),
    preset("mixer_b16_224", "MLP-Mixer-B/16", 224, Preprocessing::inception(0.875), |i| {
        mixer(i, 16, 768, 12, [384, 3072])
    }),
    preset("resmlp_12_224", "ResMLP-S12", 224, P875, |i| resmlp(i, 16, 384, 12, 1e-4)),
    preset("resmlp_24_224", "ResMLP-S24", 224, P875, |i| resmlp(i, 16, 384, 24, 1e-5)),
    preset("resnet20", "CIFAR ResNet of 20 layers", 32, WHOLE, |i| cifar_resnet(i, 3)),
    preset("resnet32", "CIFAR ResNet of 32 layers", 32, WHOLE, |i| cifar_resnet(i, 5)),
    preset("resnet44", "CIFAR ResNet of 44 layers", 32, WHOLE, |i| cifar_resnet(i, 7)),
    preset("resnet56", "CIFAR ResNet of 56 layers", 32, WHOLE, |i| cifar_resnet(i, 9)),
    preset("resnet110", "CIFAR ResNet of 110 layers", 32, WHOLE, |i| cifar_resnet(i, 18)),
    preset("resnet18_small", "ResNet-18, 3x3 stem for small images", 32, WHOLE, |i| {
        small_resnet(i, [2, 2, 2, 2], 64)
    }),
    preset("resnet10_small", "ResNet-10 of width 16, 3x3 stem for small images", 32, WHOLE, |i| {
        small_resnet(i, [1, 1, 1, 1], 16)
    }),
    preset("convnext_mini", "ConvNeXt with 2x2 patches, for small images", 32, WHOLE, |i| {
        convnext(i, 2, &[2, 2, 4, 2], &[32, 64, 128, 256])
    }),
    preset("vit_mini", "ViT of 8 blocks with 4x4 patches, for small images", 32, WHOLE, |i| {
        vit(i, 4, 192, 8, 3)
    }),
    preset("swin_small_patch2", "Swin of three stages with 2x2 patches, for small images", 28, WHOLE, |i| {
        swin(i, 2, 48, &[2, 4, 2], &[2, 4, 8])
    }),
    preset("mixer_mini", "MLP-Mixer of 8 blocks with 4x4 patches, for small images", 32, WHOLE, |i| {
        mixer(i, 4, 192, 8, [96, 768])
    }),
    preset("resmlp_mini", "ResMLP of 8 blocks with 4x4 patches, for small images", 32, WHOLE, |i| {
        resmlp(i, 4, 192, 8, 1e-4)
    }),
];

/// Of 64, 128, 256 and 512 inner channels behind the ImageNet stem.
fn resnet(images: Images, block: BlockKind, depths: [usize; 4]) -> ModelConfig {
    ModelConfig::ResNet(ResNetConfig {
        depths,
        widths: [64, 128, 256, 512],
        stem: Stem::Imagenet,
        block,
        zero_init_last: true,
        drop_path: 0.0,
        dropout: 0.0,
        in_channels: images.channels,
        num_classes: images.classes,
    })
}

fn small_resnet(images: Images, depths: [usize; 4], width: usize) -> ModelConfig {
    ModelConfig::ResNet(ResNetConfig {
        depths,
        widths: [width, 2 * width, 4 * width, 8 * width],
        stem: Stem::Small,
        block: BlockKind::Basic,
        zero_init_last: false,
        drop_path: 0.0,
        dropout: 0.0,
        in_channels: images.channels,
        num_classes: images.classes,
    })
}

/// Of 6n + 2 layers.
fn cifar_resnet(images: Images, n: usize) -> ModelConfig {
    ModelConfig::CifarResNet(CifarResNetConfig {
        depth: n,
        widths: [16, 32, 64],
        shortcut: Shortcut::A,
        drop_path: 0.0,
        dropout: 0.0,
        in_channels: images.channels,
        num_classes: images.classes,
    })
}

/// Repeats, kernel, stride, expansion and width of each row.
type Rows = [[usize; 5]; 7];

const MOBILENET_V2: Rows = [
    [1, 3, 1, 1, 16],
    [2, 3, 2, 6, 24],
    [3, 3, 2, 6, 32],
    [4, 3, 2, 6, 64],
    [3, 3, 1, 6, 96],
    [3, 3, 2, 6, 160],
    [1, 3, 1, 6, 320],
];

const EFFICIENTNET_LITE0: Rows = [
    [1, 3, 1, 1, 16],
    [2, 3, 2, 6, 24],
    [2, 5, 2, 6, 40],
    [3, 3, 2, 6, 80],
    [3, 5, 1, 6, 112],
    [4, 5, 2, 6, 192],
    [1, 3, 1, 6, 320],
];

fn efficientnet(images: Images, rows: Rows, padding: MapPadding) -> ModelConfig {
    let row = |[repeats, kernel, stride, expansion, width]: [usize; 5]| BlockRow {
        repeats,
        kernel,
        stride,
        expansion,
        width,
    };
    ModelConfig::EfficientNet(EfficientNetConfig {
        stem_width: 32,
        rows: rows.map(row).to_vec(),
        taps: vec![1, 2, 4],
        head_width: 1280,
        padding,
        norm_epsilon: if padding == MapPadding::Same { 1e-3 } else { 1e-5 },
        drop_path: 0.0,
        dropout: 0.0,
        in_channels: images.channels,
        num_classes: images.classes,
    })
}

fn convnext(images: Images, patch_size: usize, depths: &[usize], widths: &[usize]) -> ModelConfig {
    ModelConfig::ConvNext(ConvNextConfig {
        depths: depths.to_vec(),
        widths: widths.to_vec(),
        patch_size,
        kernel: 7,
        layer_scale: 1e-6,
        drop_path: 0.0,
        dropout: 0.0,
        in_channels: images.channels,
        num_classes: images.classes,
    })
}

fn vit(images: Images, patch_size: usize, width: usize, depth: usize, heads: usize) -> ModelConfig {
    ModelConfig::Vit(VitConfig {
        image_size: images.size,
        patch_size,
        width,
        depth,
        heads,
        mlp_ratio: 4,
        taps: Vec::new(),
        drop_path: 0.0,
        dropout: 0.0,
        token_dropout: 0.0,
        in_channels: images.channels,
        num_classes: images.classes,
    })
}

fn swin(images: Images, patch_size: usize, width: usize, depths: &[usize], heads: &[usize]) -> ModelConfig {
    ModelConfig::Swin(SwinConfig {
        image_size: images.size,
        patch_size,
        window: 7,
        width,
        depths: depths.to_vec(),
        heads: heads.to_vec(),
        drop_path: 0.1,
        dropout: 0.0,
        token_dropout: 0.0,
        in_channels: images.channels,
        num_classes: images.classes,
    })
}

/// `hidden`: of the token-mixing and the channel-mixing perceptron.
fn mixer(images: Images, patch_size: usize, width: usize, depth: usize, hidden: [usize; 2]) -> ModelConfig {
    ModelConfig::Mixer(MixerConfig {
        image_size: images.size,
        patch_size,
        width,
        depth,
        token_hidden: hidden[0],
        channel_hidden: hidden[1],
        taps: Vec::new(),
        drop_path: 0.0,
        dropout: 0.0,
        token_dropout: 0.0,
        in_channels: images.channels,
        num_classes: images.classes,
    })
}

fn resmlp(images: Images, patch_size: usize, width: usize, depth: usize, layer_scale: f64) -> ModelConfig {
    ModelConfig::ResMlp(ResMlpConfig {
        image_size: images.size,
        patch_size,
        width,
        depth,
        mlp_ratio: 4,
        layer_scale,
        taps: Vec::new(),
        drop_path: 0.0,
        dropout: 0.0,
        token_dropout: 0.0,
        in_channels: images.channels,
        num_classes: images.classes,
    })
}
