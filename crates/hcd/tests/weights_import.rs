//! Weights of others into networks: names translated, sizes adapted, classifiers replaced, all else listed.
#![allow(clippy::unwrap_used, missing_docs)]

use burn::tensor::Device;
use hcd::data::{ImageShape, Normalization};
use hcd::export::{self, Card, Request};
use hcd::models::weights::{self, HostTensor, Precision, TensorMap};
use hcd::models::{ModelSpec, Network};
use std::collections::BTreeSet;
use std::path::Path;

/// Tensors of a network that is told apart from a fresh one, by name.
fn tensors(model: &ModelSpec, channels: usize, size: usize, classes: usize) -> TensorMap {
    let config = model.resolve(channels, size, classes).unwrap();
    weights::snapshot(&Network::new(&config, 5, &Device::flex()))
}

fn write(path: &Path, tensors: &TensorMap) {
    weights::write(path, tensors, Precision::F32, &()).unwrap();
}

fn spec(text: &str) -> ModelSpec {
    toml::from_str(text).unwrap()
}

fn load(tensors: &TensorMap, request: &Request) -> Result<(TensorMap, Card, Vec<String>), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    write(&path, tensors);
    let loaded = export::load_with(&path, request, &Device::flex());
    let loaded = loaded.map_err(|error| error.to_string().replace(&path.display().to_string(), "file"))?;
    Ok((weights::snapshot(&loaded.network), loaded.card, loaded.notes))
}

fn asked(model: &ModelSpec) -> Request {
    Request { model: Some(model.clone()), ..Request::default() }
}

fn renamed(tensors: &TensorMap, rename: impl Fn(&str) -> String) -> TensorMap {
    let renamed: TensorMap = tensors.iter().map(|(name, tensor)| (rename(name), tensor.clone())).collect();
    assert_eq!(renamed.len(), tensors.len(), "two names became one");
    renamed
}

fn small(family: &str) -> ModelSpec {
    spec(match family {
        "swin" => "name = \"swin_small_patch2\"\nwidth = 8\ndepths = [1, 2, 1]\nheads = [1, 2, 4]",
        "convnext" => "name = \"convnext_tiny\"\nwidths = [4, 8, 12, 16]\ndepths = [1, 1, 2, 1]",
        "vit" => {
            "name = \"deit_tiny_patch16_224\"\nwidth = 12\ndepth = 2\nheads = 3\ntaps = [0, 1]\npatch_size = 4"
        }
        "mixer" => "name = \"mixer_b16_224\"\nwidth = 8\ndepth = 2\ntaps = [0, 1]\npatch_size = 4",
        "resmlp" => "name = \"resmlp_12_224\"\nwidth = 8\ndepth = 2\ntaps = [0, 1]\npatch_size = 4",
        other => panic!("{other}"),
    })
}

/// The names that their authors gave, from timm's.
fn original(family: &str, name: &str) -> String {
    let head = |name: &str| name.replace("head.fc.", "head.").replace("head.norm.", "norm.");
    match family {
        "swin" => match name.strip_prefix("layers.").and_then(|rest| rest.split_once(".downsample.")) {
            Some((stage, rest)) => {
                format!("layers.{}.downsample.{rest}", stage.parse::<usize>().unwrap() - 1)
            }
            None => head(name),
        },
        "convnext" => {
            let parts: Vec<&str> = name.split('.').collect();
            match parts[..] {
                ["stem", layer, leaf] => format!("downsample_layers.0.{layer}.{leaf}"),
                ["stages", stage, "downsample", layer, leaf] => {
                    format!("downsample_layers.{stage}.{layer}.{leaf}")
                }
                ["stages", stage, "blocks", ..] => format!("stages.{stage}.{}", parts[3..].join("."))
                    .replace("conv_dw", "dwconv")
                    .replace("mlp.fc", "pwconv"),
                _ => head(name),
            }
        }
        "resmlp" => name
            .replace("stem.", "patch_embed.")
            .replace("linear_tokens.", "attn.")
            .replace("mlp_channels.", "mlp.")
            .replace("ls1", "gamma_1")
            .replace("ls2", "gamma_2"),
        "cifar" => name.replace("fc.", "linear.").replace(".downsample.", ".shortcut."),
        other => panic!("{other}"),
    }
}

#[test]
fn their_authors_names_are_translated() {
    for (family, model, whose) in [
        ("swin", small("swin"), "the original Swin"),
        ("convnext", small("convnext"), "the original ConvNeXt"),
        ("resmlp", small("resmlp"), "the original ResMLP"),
        ("cifar", ModelSpec::named("resnet20"), "pytorch_resnet_cifar10"),
        ("cifar", ModelSpec::named("resnet10_small"), "pytorch-cifar"),
    ] {
        let timm = tensors(&model, 3, 32, 7);
        let mut theirs = renamed(&timm, |name| original(family, name));
        assert_ne!(theirs, timm, "{family}");
        for (name, tensor) in &mut theirs {
            if name.ends_with(".alpha") || name.ends_with(".beta") {
                tensor.shape = vec![tensor.values.len()];
            }
        }
        let request = Request { image_size: Some(32), ..asked(&model) };
        let (found, card, notes) = load(&theirs, &request).unwrap();
        assert!(found == timm, "{family}: other tensors than were saved");
        assert_eq!(card.classes, ["0", "1", "2", "3", "4", "5", "6"], "{family}");
        assert!(notes.len() == 1 && notes[0].contains(whose), "{family}: {notes:?}");
    }
}

/// `efficientnet_pytorch` counts blocks through, and names a block's layers by their place.
#[test]
fn efficientnet_pytorchs_names_are_translated() {
    let model = ModelSpec::named("tf_efficientnet_lite0");
    let timm = tensors(&model, 3, 32, 10);
    let blocks: BTreeSet<(usize, usize)> = timm
        .keys()
        .filter_map(|name| name.strip_prefix("blocks."))
        .map(|rest| rest.split('.').collect::<Vec<_>>())
        .map(|parts| (parts[0].parse().unwrap(), parts[1].parse().unwrap()))
        .collect();
    assert_eq!(blocks.len(), 16);
    let theirs = renamed(&timm, |name| {
        let parts: Vec<&str> = name.split('.').collect();
        let ["blocks", stage, block, layer, leaf] = parts[..] else {
            return name
                .replace("conv_stem", "_conv_stem")
                .replace("conv_head", "_conv_head")
                .replace("classifier", "_fc")
                .replace("bn1", "_bn0")
                .replace("bn2", "_bn1");
        };
        let place = (stage.parse().unwrap(), block.parse().unwrap());
        let number = blocks.iter().position(|known| *known == place).unwrap();
        let layer = match (stage, layer) {
            ("0", "conv_pw") => "_project_conv",
            ("0", "bn1") => "_bn1",
            ("0", "bn2") => "_bn2",
            (_, "conv_dw") => "_depthwise_conv",
            (_, "conv_pw") => "_expand_conv",
            (_, "conv_pwl") => "_project_conv",
            (_, "bn1") => "_bn0",
            (_, "bn2") => "_bn1",
            (_, "bn3") => "_bn2",
            other => panic!("{other:?}"),
        };
        format!("_blocks.{number}.{layer}.{leaf}")
    });
    let (found, _, notes) = load(&theirs, &asked(&model)).unwrap();
    assert!(found == timm);
    assert!(notes[0].contains("efficientnet_pytorch"), "{notes:?}");
}

#[test]
fn a_classifier_for_other_classes_is_replaced_only_where_asked() {
    let model = ModelSpec::named("resnet10_small");
    let timm = tensors(&model, 3, 32, 7);
    let names = |count: usize| Some((0..count).map(|class| format!("class {class}")).collect());
    let request = Request { classes: names(4), ..asked(&model) };
    let error = load(&timm, &request).unwrap_err();
    assert_eq!(error, "file: its classifier tells 7 classes apart, but 4 are named");
    let (found, card, notes) = load(&timm, &Request { new_classifier: true, ..request }).unwrap();
    assert_eq!(notes, ["classifier `fc` of 7 classes replaced by a new one of 4"]);
    assert_eq!(card.classes.len(), 4);
    assert_eq!(found["fc.weight"].shape[0], 4);
    for (name, tensor) in &found {
        assert!(name.starts_with("fc.") || tensor == &timm[name], "{name}");
    }
    // The one it has is kept where as many classes are named.
    let request = Request { classes: names(7), new_classifier: true, ..asked(&model) };
    assert!(load(&timm, &request).unwrap().0 == timm);
}

#[test]
fn resolutions_and_channels_are_adapted_and_said_so() {
    for (family, note, adapted) in [
        ("vit", "position embeddings resampled from 64 to 25 tokens", "pos_embed"),
        ("swin", "relative position tables resampled from windows of 7 to 5", "relative_position_bias_table"),
    ] {
        let model = small(family);
        let timm = tensors(&model, 3, 32, 5);
        let size = 20;
        let request = Request { image_size: Some(size), ..asked(&model) };
        let (found, card, notes) = load(&timm, &request).unwrap();
        assert!(notes.iter().any(|found| found == note), "{family}: {notes:?}");
        assert_eq!(card.image.height, size);
        for (name, tensor) in &found {
            assert!(name.ends_with(adapted) || tensor == &timm[name], "{name}");
        }
    }
    let model = ModelSpec::named("resnet10_small");
    let timm = tensors(&model, 3, 32, 5);
    let (found, card, notes) = load(&timm, &Request { channels: Some(1), ..asked(&model) }).unwrap();
    assert_eq!(notes, ["conv1.weight adapted from 3 channels to 1"]);
    assert_eq!((card.image.channels, card.normalization.mean.len()), (1, 1));
    let sum: f32 = timm["conv1.weight"].values.iter().step_by(9).take(3).sum();
    assert!((found["conv1.weight"].values[0] - sum).abs() < 1e-6);
}

#[test]
fn layers_that_mix_tokens_are_not_resampled() {
    for (family, layer) in [("mixer", "mlp_tokens"), ("resmlp", "linear_tokens")] {
        let model = small(family);
        let timm = tensors(&model, 3, 32, 5);
        let request = Request { image_size: Some(16), ..asked(&model) };
        let error = load(&timm, &request).unwrap_err();
        assert!(error.contains(layer) && error.contains("hold for one resolution"), "{error}");
    }
}

#[test]
fn what_does_not_fit_is_listed_and_loaded_only_in_part() {
    let model = ModelSpec::named("resnet10_small");
    let timm = tensors(&model, 3, 32, 5);
    let mut damaged = timm.clone();
    damaged.remove("bn1.weight");
    damaged.insert("extra".to_owned(), HostTensor { shape: vec![1], values: vec![1.0] });
    damaged.insert("bn1.bias".to_owned(), HostTensor { shape: vec![3], values: vec![1.0; 3] });
    let error = load(&damaged, &asked(&model)).unwrap_err();
    for part in
        ["bn1.weight is missing", "bn1.bias has shape [3], expected [16]", "extra is unexpected", "--partial"]
    {
        assert!(error.contains(part), "{error}");
    }
    let (found, _, notes) = load(&damaged, &Request { partial: true, ..asked(&model) }).unwrap();
    assert_eq!(notes.len(), 4, "{notes:?}");
    assert_eq!(notes[0], format!("{} of {} tensors loaded", timm.len() - 2, timm.len()));
    assert_eq!(found["conv1.weight"], timm["conv1.weight"]);
    // Of another network nothing fits, and the error stays readable.
    let error = load(&timm, &asked(&ModelSpec::named("resnet20"))).unwrap_err();
    assert!(
        error.contains("and ") && error.contains(" more") && error.contains("is it a file of this network?"),
        "{error}"
    );
    assert!(error.len() < 3000, "{} characters", error.len());
    let distilled = HostTensor { shape: vec![1, 1, 12], values: vec![0.0; 12] };
    let mut deit = tensors(&small("vit"), 3, 32, 5);
    deit.insert("dist_token".to_owned(), distilled);
    let error = load(&deit, &Request { image_size: Some(32), ..asked(&small("vit")) }).unwrap_err();
    assert!(error.contains("a distilled DeiT"), "{error}");
}

#[test]
fn the_network_is_named_by_the_user_the_file_or_the_hub() {
    let model = ModelSpec::named("resnet10_small");
    let timm = tensors(&model, 3, 32, 2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write(&path, &timm);
    let device = Device::flex();
    let load = |request: &Request| export::load_with(&path, request, &device).map_err(|e| e.to_string());
    // `()` is no card.
    assert!(load(&Request::default()).unwrap_err().contains("metadata `hcd`"));
    let bytes = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
    assert!(header.starts_with(r#"{"__metadata__":{"format":"pt","hcd":"null"},"#), "{header}");
    let plain = header.replace(r#","hcd":"null""#, "");
    let plain = [&(plain.len() as u64).to_le_bytes()[..], plain.as_bytes(), &bytes[8 + length..]].concat();
    std::fs::write(&path, plain).unwrap();
    let error = load(&Request::default()).unwrap_err();
    assert!(error.contains("name it with --model"), "{error}");

    let config = r#"{"architecture": "resnet10_small.mine", "num_classes": 2, "label_names": ["cat", "dog"],
        "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [1.0, 1.0, 1.0], "input_size": [3, 40, 40]}}"#;
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let loaded = load(&Request::default()).unwrap();
    assert_eq!(loaded.card.classes, ["cat", "dog"]);
    assert_eq!((loaded.card.model.as_str(), loaded.card.image.height), ("resnet10_small", 40));
    assert_eq!(loaded.card.normalization.mean, [0.1, 0.2, 0.3]);
    let loaded = load(&asked(&model)).unwrap();
    assert_eq!(loaded.card.classes, ["cat", "dog"]);
    std::fs::write(folder.path().join("config.json"), config.replace("resnet10_small", "vgg16")).unwrap();
    assert!(load(&Request::default()).unwrap_err().contains("\"vgg16.mine\""));
    let loaded = load(&asked(&model)).unwrap();
    assert_eq!(loaded.card.classes, ["0", "1"]);
}

/// A network as a training leaves it.
fn exported() -> export::Loaded {
    let model = ModelSpec::named("resnet10_small");
    let config = model.resolve(3, 32, 2).unwrap();
    let card = Card {
        model: model.name,
        config: config.clone(),
        classes: vec!["cat".to_owned(), "dog".to_owned()],
        image: ImageShape { channels: 3, height: 32, width: 32 },
        normalization: Normalization { mean: vec![0.5; 3], std: vec![0.5; 3] },
        preprocess: None,
        run: "none".to_owned(),
    };
    export::Loaded { network: Network::new(&config, 1, &Device::flex()), card, notes: Vec::new() }
}

/// What a file says of its network is no reason to take more memory than the file holds numbers.
#[test]
fn a_card_cannot_ask_for_more_than_the_file_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let loaded = exported();
    let check = |change: &dyn Fn(&mut serde_json::Value), expected: &str| {
        let mut card = serde_json::to_value(&loaded.card).unwrap();
        change(&mut card["config"]);
        weights::write(&path, &weights::snapshot(&loaded.network), Precision::F32, &card).unwrap();
        let error = export::load(&path, &Device::flex()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        &|config| config["widths"] = serde_json::json!([65536, 65536, 65536, 65536]),
        "do not fit the model",
    );
    check(&|config| config["depths"] = serde_json::json!([1, 1, 1, 1_000_000_000]), "1000000003 blocks");
}

/// The file that is written loads in timm by name: its metadata say `pt`, its bytes are the same each time.
#[test]
fn files_are_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = exported();
    let write = |name: &str, precision| {
        let path = folder.path().join(name);
        export::save(&path, &weights::snapshot(&loaded.network), precision, &loaded.card).unwrap();
        std::fs::read(path).unwrap()
    };
    assert!(write("a", Precision::F32) == write("b", Precision::F32));
    let half = write("half", Precision::F16);
    let read = weights::decode_any(&half, "half").unwrap();
    assert_eq!(read.metadata["format"], "pt");
    assert!(read.metadata["hcd"].contains("normalization"));
}

/// The limit on what a card asks for stands in no network's way.
#[test]
fn every_preset_is_read_back_from_its_own_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let device = Device::flex();
    for preset in hcd::models::PRESETS.iter().filter(|preset| preset.image_size <= 32) {
        let config = preset.config(3, preset.image_size, 2);
        let image = ImageShape { channels: 3, height: preset.image_size, width: preset.image_size };
        let card = Card { model: preset.name.to_owned(), config: config.clone(), image, ..exported().card };
        let tensors = weights::snapshot(&Network::new(&config, 1, &device));
        export::save(&path, &tensors, Precision::F32, &card).unwrap();
        let loaded = export::load(&path, &device).unwrap();
        assert!(weights::snapshot(&loaded.network) == tensors, "{}", preset.name);
    }
}

/// Sizes that cost nothing in a file cost nothing here.
#[test]
fn empty_tensors_and_metadata_name_no_sizes() {
    let model = ModelSpec::named("resnet10_small");
    let empty = |shape: &[usize]| HostTensor { shape: shape.to_vec(), values: Vec::new() };
    let mut hostile = tensors(&model, 3, 32, 5);
    hostile.insert("fc.weight".to_owned(), empty(&[1 << 40, 0]));
    let error = load(&hostile, &asked(&model)).unwrap_err();
    assert_eq!(error, "file: holds no classifier, so that the classes must be named");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut card = exported().card;
    let tensors = weights::snapshot(&exported().network);
    let mut check = |change: &dyn Fn(&mut Card), request: Request, expected: &str| {
        change(&mut card);
        export::save(&path, &tensors, Precision::F32, &card).unwrap();
        let error = export::load_with(&path, &request, &Device::flex()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(&|card| card.image.height = 1 << 40, asked(&small("vit")), "pixels a side, expected at most 2048");
    let wide = |card: &mut Card| {
        let mut config = serde_json::to_value(&card.config).unwrap();
        config["widths"] = serde_json::json!([65536, 65536, 65536, 65536]);
        card.config = serde_json::from_value(config).unwrap();
    };
    check(&wide, Request { image_size: Some(32), ..Request::default() }, "do not fit the model");
    check(&|card| card.image.height = 0, Request::default(), "at least 1x1 pixels, not 3x0x");
    check(&|card| card.image.height = 32, Request::default(), "do not fit the model");
    check(&|card| card.image.channels = 1, Request::default(), "must have 1 values");
    check(&|card| card.normalization.mean.truncate(1), Request::default(), "metadata `hcd`");
}
