//! The networks against timm 1.0.31: weights filled by rule, outputs compared.
//!
//! `docs/method.md` section 5 gives the rule. `HCD_GOLDEN_ZOO` points the test at another folder.
#![allow(clippy::unwrap_used, missing_docs)]

use burn::tensor::{Device, Tensor, TensorData};
use hcd::export::{self, Loaded, Request};
use hcd::models::weights::{self, HostTensor};
use hcd::models::{Backbone, ModelSpec, Parameters, Pass};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Largest difference allowed, in standard deviations of the expected tensor: f32 sums of up to 10^5 terms
/// in another order than timm's.
const TOLERANCE: f32 = 1e-4;

fn folder() -> PathBuf {
    match std::env::var_os("HCD_GOLDEN_ZOO") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/zoo"),
    }
}

fn splitmix64(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

fn fill(name: &str, shape: &[usize], scale: f32, centre: f32) -> HostTensor {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let value = |i: u64| {
        let unit = (splitmix64(seed.wrapping_add(i)) >> 40) as f32 / (1u32 << 24) as f32;
        (2.0 * unit - 1.0) * scale + centre
    };
    HostTensor {
        shape: shape.to_vec(),
        values: (0..shape.iter().product::<usize>() as u64).map(value).collect(),
    }
}

fn rule(name: &str, shape: &[usize]) -> (f32, f32) {
    match name.rsplit('.').next().unwrap() {
        "pos_embed" | "cls_token" | "relative_position_bias_table" => (0.2, 0.0),
        "running_mean" => (0.1, 0.0),
        "running_var" | "alpha" => (0.25, 1.0),
        "beta" | "bias" => (0.1, 0.0),
        "gamma" | "ls1" | "ls2" => (0.25, 0.5),
        _ if shape.len() <= 1 => (0.25, 1.0),
        _ => ((3.0 / shape[1..].iter().product::<usize>() as f32).sqrt(), 0.0),
    }
}

/// Name, shape and bytes of a tensor.
type Filled = (String, Vec<usize>, Vec<u8>);

/// A file as timm writes it, read as users have it read.
fn import(filled: &[Filled], name: &str, resolution: usize, device: &Device) -> Loaded {
    let file = tempfile::Builder::new().suffix(".safetensors").tempfile().unwrap();
    let views = filled
        .iter()
        .map(|(key, shape, bytes)| (key, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(views, Some(metadata), file.path()).unwrap();
    let model = Some(ModelSpec::named(name));
    let request = Request { model, image_size: Some(resolution), ..Request::default() };
    export::load_with(file.path(), &request, device).unwrap()
}

/// What differs from timm, one line a tensor.
fn differences(golden: &Path) -> Vec<String> {
    let bytes = std::fs::read(golden).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let tag = |key: &str| header.metadata().as_ref().unwrap()[key].clone();
    let (name, salt) = (tag("model"), tag("salt"));
    let (resolution, classes): (usize, usize) =
        (tag("resolution").parse().unwrap(), tag("classes").parse().unwrap());

    let keys: Vec<(String, Vec<usize>)> =
        serde_json::from_slice(&std::fs::read(golden.with_extension("keys.json")).unwrap()).unwrap();
    let mut filled = Vec::new();
    for (key, shape) in keys {
        let (scale, centre) = rule(&key, &shape);
        let values = fill(&format!("{salt}{key}"), &shape, scale, centre).values;
        filled.push((key, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()));
    }
    let device = Device::flex();
    let loaded = import(&filled, &name, resolution, &device);
    assert_eq!(loaded.card.config.num_classes(), classes, "{name}");
    assert!(loaded.notes.is_empty(), "{name}: {:?}", loaded.notes);
    let names: BTreeSet<String> = loaded.network.named().into_iter().map(|tensor| tensor.name).collect();
    assert_eq!(names, filled.into_iter().map(|(name, ..)| name).collect(), "{name}: names");
    let shape = [2, 3, resolution, resolution];
    let input = fill(&format!("{salt}input"), &shape, 2.0, 0.0);
    let images = Tensor::<4>::from_data(TensorData::new(input.values, shape), &device);
    let features = loaded.network.forward(images, &mut Pass::Eval);

    let (expected, _) = weights::read::<serde_json::Value>(golden).unwrap();
    let mut found =
        vec![("logits".to_owned(), features.logits), ("penultimate".to_owned(), features.penultimate)];
    for (stage, feature) in features.stages.into_iter().enumerate() {
        found.push((format!("stage{}_mean", stage + 1), feature.mean()));
    }
    assert_eq!(expected.len(), found.len(), "{name}: {:?}", expected.keys());
    let mut differences = Vec::new();
    for (key, tensor) in found {
        let want = &expected[&key];
        assert_eq!(want.shape, tensor.dims().to_vec(), "{name}: shape of {key}");
        let got: Vec<f32> = tensor.into_data().iter::<f32>().collect();
        let count = got.len() as f32;
        let mean = want.values.iter().sum::<f32>() / count;
        let deviation = (want.values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / count).sqrt();
        let worst = got.iter().zip(&want.values).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
        // The largest of numbers and NaN is a number: NaN is looked for by itself.
        if worst > TOLERANCE * deviation || got.iter().any(|value| value.is_nan()) {
            let what = format!("{name} at {resolution}: {key} differs by {} deviations", worst / deviation);
            differences.push(what);
        }
    }
    differences
}

#[test]
fn every_golden_network_gives_timms_outputs() {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "safetensors"));
    files.sort();
    assert!(!files.is_empty(), "no golden networks in {}", folder().display());
    let found: Vec<String> = files.iter().flat_map(|file| differences(file)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
