//! Networks as ONNX files, run by another program: tract gives the logits that the network gives.
#![allow(clippy::unwrap_used, missing_docs)]

use burn::tensor::{Device, Tensor, TensorData};
use hcd::data::{ImageShape, Normalization};
use hcd::export::{Card, onnx};
use hcd::models::weights::{self, Precision};
use hcd::models::{Backbone, ModelSpec, Network, PRESETS, Pass, Role};
use hcd::rng;
use rand::RngExt;
use std::collections::BTreeSet;
use tract_onnx::prelude::{Framework, InferenceModelExt, IntoRunnable, Tensor as TractTensor, tvec};

const CLASSES: usize = 7;
/// Largest difference allowed, in standard deviations of the logits: the same f32 sums in another order.
const TOLERANCE: f32 = 1e-4;

/// Every family, block, stem, shortcut and padding, as small as it gets: preset, image side, options.
const NETWORKS: &[(&str, usize, &str)] = &[
    ("resnet18", 32, "widths = [4, 8, 8, 16]\ndepths = [1, 2, 1, 1]"),
    ("resnet18_small", 16, "widths = [4, 8, 8, 16]"),
    ("resnet50", 32, "widths = [4, 4, 8, 8]\ndepths = [1, 2, 1, 1]"),
    ("resnet20", 16, "depth = 2\nwidths = [4, 8, 16]"),
    ("resnet20", 16, "depth = 1\nwidths = [4, 8, 16]\nshortcut = 'b'"),
    ("mobilenetv2_100", 32, "stem_width = 8\nhead_width = 32"),
    ("efficientnet_lite0", 33, "stem_width = 8\nhead_width = 32"),
    ("tf_efficientnet_lite0", 30, "stem_width = 8\nhead_width = 32"),
    ("convnext_tiny", 32, "widths = [4, 8, 8, 16]\ndepths = [1, 1, 2, 1]"),
    ("deit_tiny_patch16_224", 32, "width = 24\ndepth = 2"),
    ("vit_mini", 16, "width = 24\ndepth = 2"),
    // Shifted windows; a grid that is padded; one smaller than the window.
    ("swin_tiny_patch4_window7_224", 56, "width = 8\ndepths = [2, 1]\nheads = [1, 2]"),
    ("swin_pico_patch4_window7_224", 36, "width = 8\ndepths = [2, 2]\nheads = [2, 4]\nwindow = 4"),
    ("swin_small_patch2", 10, "width = 8\ndepths = [1, 2]\nheads = [1, 2]"),
    ("mixer_mini", 16, "width = 24\ndepth = 2\ntoken_hidden = 8\nchannel_hidden = 48"),
    ("resmlp_mini", 16, "width = 24\ndepth = 2"),
];

/// The network with no parameter left at 0 or 1, where an error would hide.
fn network(name: &str, side: usize, options: &str) -> (Network, Card) {
    let mut spec = ModelSpec::named(name);
    spec.options = options.parse().unwrap();
    let config = spec.resolve(3, side, CLASSES).unwrap();
    let mut tensors = weights::snapshot(&Network::new(&config, 0, &Device::flex()));
    let mut stream = rng::stream(0, "parameters", &[]);
    for (name, tensor) in &mut tensors {
        let (centre, spread) = match name.rsplit('.').next().unwrap() {
            "running_var" => (1.0, 0.3),
            _ if tensor.shape.len() == 1 => (tensor.values[0].max(0.3), 0.2),
            _ => (0.0, (3.0 / tensor.shape[1..].iter().product::<usize>() as f32).sqrt()),
        };
        tensor.values.fill_with(|| centre + spread * stream.random_range(-1.0..1.0f32));
    }
    let network = weights::restore(Network::new(&config, 0, &Device::flex()), &tensors, name).unwrap();
    let card = Card {
        model: name.to_owned(),
        classes: (0..CLASSES).map(|class| format!("class \"{class}\"")).collect(),
        image: ImageShape { channels: 3, height: side, width: side },
        normalization: Normalization { mean: vec![0.4, 0.5, 0.6], std: vec![0.2; 3] },
        preprocess: None,
        run: "a test".to_owned(),
        config,
    };
    (network, card)
}

fn images(batch: usize, side: usize) -> Vec<f32> {
    let mut stream = rng::stream(batch as u64, "images", &[]);
    (0..batch * 3 * side * side).map(|_| stream.random_range(-2.0..2.0)).collect()
}

fn logits(network: &Network, images: &[f32], batch: usize, side: usize) -> Vec<f32> {
    let images = TensorData::new(images.to_vec(), [batch, 3, side, side]);
    let images = Tensor::<4>::from_data(images, &Device::flex());
    network.forward(images, &mut Pass::Eval).logits.into_data().iter::<f32>().collect()
}

/// The largest difference between the file's logits and the network's, in standard deviations, over batches of
/// 1, 2 and 5 given to one and the same file.
fn difference(file: &[u8], network: &Network, side: usize) -> f32 {
    let model = tract_onnx::onnx().model_for_read(&mut &file[..]).unwrap();
    assert_eq!(model.input_outlets().unwrap().len(), 1);
    let model = model.into_optimized().unwrap().into_runnable().unwrap();
    let of_batch = |batch: usize| {
        let pixels = images(batch, side);
        let input = TractTensor::from_shape(&[batch, 3, side, side], &pixels).unwrap();
        let found = model.run(tvec!(input.into())).unwrap();
        let found = found[0].to_plain_array_view::<f32>().unwrap();
        assert_eq!(found.shape(), [batch, CLASSES]);
        let expected = logits(network, &pixels, batch, side);
        let mean = expected.iter().sum::<f32>() / expected.len() as f32;
        let variance = expected.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / expected.len() as f32;
        assert!(variance.is_normal(), "the logits say nothing: {expected:?}");
        let worst = found.iter().zip(&expected).map(|(f, e)| (f - e).abs()).fold(0.0, f32::max);
        worst / variance.sqrt()
    };
    [1, 2, 5].map(of_batch).into_iter().fold(0.0, f32::max)
}

#[test]
fn every_network_gives_its_logits_for_any_batch() {
    let mut families = BTreeSet::new();
    for &(name, side, options) in NETWORKS {
        let (network, card) = network(name, side, options);
        let before = weights::snapshot(&network);
        let file = onnx::encode(&network, Precision::F32, &card).unwrap();
        let worst = difference(&file, &network, side);
        assert!(worst <= TOLERANCE, "{name} {options}: the logits differ by {worst} deviations");
        assert_eq!(before, weights::snapshot(&network), "{name}: the export changed the network");
        families.insert(format!("{:?}", std::mem::discriminant(&card.config)));
    }
    let all = PRESETS.iter().map(|preset| preset.config(3, preset.image_size, CLASSES));
    let all: BTreeSet<_> = all.map(|config| format!("{:?}", std::mem::discriminant(&config))).collect();
    assert_eq!(families, all, "a family is not tested");
}

#[test]
fn parameters_have_timms_names_and_half_of_the_bytes_on_request() {
    let (network, card) = network("resnet18_small", 16, "widths = [16, 16, 32, 32]");
    let whole = onnx::encode(&network, Precision::F32, &card).unwrap();
    let half = onnx::encode(&network, Precision::F16, &card).unwrap();
    assert!(half.len() < whole.len() * 6 / 10, "{} of {} bytes", half.len(), whole.len());
    // f16 holds 11 bits.
    let worst = difference(&half, &network, 16);
    assert!(worst > TOLERANCE && worst < 0.02, "{worst}");
    let named = tract_onnx::onnx().proto_model_for_read(&mut &whole[..]).unwrap();
    let initializers = named.graph.unwrap().initializer;
    let names: BTreeSet<_> = initializers.iter().map(|tensor| tensor.name.clone()).collect();
    use hcd::models::Parameters;
    for parameter in network.named() {
        assert!(names.contains(&parameter.name), "{} is missing", parameter.name);
        assert!(matches!(parameter.role, Role::Learned | Role::Buffer));
    }
}

#[test]
fn the_file_says_what_it_is() {
    let (network, card) = network("vit_mini", 8, "width = 12\ndepth = 1");
    let file = onnx::encode(&network, Precision::F32, &card).unwrap();
    let model = tract_onnx::onnx().proto_model_for_read(&mut &file[..]).unwrap();
    assert_eq!((model.producer_name.as_str(), model.opset_import[0].version), ("hcd", 17));
    let said: Vec<_> = model.metadata_props.iter().map(|entry| (&*entry.key, &*entry.value)).collect();
    let classes = serde_json::to_string(&card.classes).unwrap();
    assert_eq!(said[..2], [("model", "vit_mini"), ("classes", classes.as_str())]);
    assert!(said.contains(&("run", "a test")), "{said:?}");
    let graph = model.graph.unwrap();
    assert_eq!((&*graph.input[0].name, &*graph.output[0].name), ("images", "logits"));
}

#[test]
fn images_of_another_size_are_refused() {
    let (network, mut card) = network("vit_mini", 8, "width = 12\ndepth = 1");
    card.image.height = 12;
    let error = onnx::encode(&network, Precision::F32, &card).unwrap_err().to_string();
    assert!(error.contains("vit_mini cannot be exported") && error.contains("3x12x8"), "{error}");
}
