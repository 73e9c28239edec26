//! What networks cost, against the figures that timm and torchvision publish.
#![allow(clippy::unwrap_used, missing_docs)]

use hcd::burn::tensor::{Device, Tensor};
use hcd::data::ImageShape;
use hcd::models::{Backbone, Cost, Features, ModelSpec, Network, PRESETS, Parameters, Pass};

fn network(name: &str, side: usize, classes: usize) -> Network {
    let config = ModelSpec::named(name).resolve(3, side, classes).unwrap();
    Network::blank(&config, &Device::flex())
}

fn cost(name: &str) -> Cost {
    let image = ImageShape { channels: 3, height: 224, width: 224 };
    Cost::of(&network(name, 224, 1000), image, &Device::flex())
}

#[test]
fn published_figures_are_met() {
    // Parameters in millions and multiply-adds in billions, timm's model results; its count of what is neither
    // convolution nor product differs from ours by up to 2 %.
    for (name, millions, billions) in [
        ("resnet18", 11.69, 1.82),
        ("resnet34", 21.80, 3.67),
        ("resnet50", 25.56, 4.11),
        ("mobilenetv2_100", 3.50, 0.31),
        ("swin_tiny_patch4_window7_224", 28.29, 4.51),
        ("deit_tiny_patch16_224", 5.72, 1.26),
        ("vit_small_patch16_224", 22.05, 4.61),
        ("mixer_b16_224", 59.88, 12.62),
        ("convnext_tiny", 28.59, 4.47),
    ] {
        let found = cost(name);
        let (m, g) = (found.parameters as f64 / 1e6, found.multiply_adds as f64 / 1e9);
        assert!((m - millions).abs() < 0.006, "{name}: {m} million parameters, expected {millions}");
        assert!((g / billions - 1.0).abs() < 0.02, "{name}: {g} G multiply-adds, expected {billions}");
    }
}

#[test]
fn each_parameter_is_in_one_layer_and_layers_have_timms_names() {
    for preset in PRESETS {
        let side = preset.image_size;
        let network = network(preset.name, side, 10);
        let image = ImageShape { channels: 3, height: side, width: side };
        let found = Cost::of(&network, image, &Device::flex());
        assert_eq!(found.parameters, network.learned_count(), "{}", preset.name);
        let known: Vec<String> = network.named().into_iter().map(|tensor| tensor.name).collect();
        for layer in &found.layers {
            let module = format!("{}.", layer.name);
            let is_known = known.iter().any(|name| *name == layer.name || name.starts_with(&module));
            assert!(is_known, "{}: {}", preset.name, layer.name);
        }
    }
}

#[test]
fn layers_come_in_the_order_of_the_pass() {
    let found = cost("swin_tiny_patch4_window7_224");
    let names: Vec<(&str, &str)> =
        found.layers.iter().take(7).map(|layer| (layer.name.as_str(), layer.kind)).collect();
    assert_eq!(
        names,
        [
            ("patch_embed.proj", "Conv2d"),
            ("patch_embed.norm", "LayerNorm"),
            ("layers.0.blocks.0.norm1", "LayerNorm"),
            ("layers.0.blocks.0.attn.relative_position_bias_table", "Parameter"),
            ("layers.0.blocks.0.attn.qkv", "Linear"),
            ("layers.0.blocks.0.attn", "Attention"),
            ("layers.0.blocks.0.attn.proj", "Linear"),
        ]
    );
    let attention = &found.layers[5];
    // 64 windows of 49 tokens, two products of 49 x 49 x 96 each.
    assert_eq!((attention.multiply_adds, attention.parameters), (64 * 2 * 49 * 49 * 96, 0));
    assert_eq!(attention.output, [1, 64 * 49, 96]);
}

/// What stands in for results has their shapes, and afterwards results are results again.
#[test]
fn counting_shows_true_shapes_and_leaves_nothing_behind() {
    let shape = ImageShape { channels: 3, height: 32, width: 32 };
    for name in ["resnet10_small", "swin_small_patch2", "convnext_mini"] {
        let config = ModelSpec::named(name).resolve(3, 32, 10).unwrap();
        let network = Network::new(&config, 0, &Device::flex());
        let logits = || -> Vec<f32> {
            let images = Tensor::ones([1, 3, 32, 32], &Device::flex());
            let Features { logits, .. } = network.forward(images, &mut Pass::Eval);
            logits.into_data().iter::<f32>().collect()
        };
        let before = logits();
        let found = Cost::of(&network, shape, &Device::flex());
        assert_eq!(found.layers.last().unwrap().output, [1, 10]);
        assert_eq!(before, logits(), "{name}");
        assert!(before.iter().any(|logit| *logit != 0.0));
    }
}
