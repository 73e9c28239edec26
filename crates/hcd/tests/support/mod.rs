//! What the tests of training share: images that are easy to tell apart, tiny experiments on them, a teacher
//! that learns in a moment, and weights as bits.
#![allow(clippy::unwrap_used, missing_docs, dead_code)] // dead: each test file takes what it needs

use hcd::burn::tensor::Device;
use hcd::config::{self, Resolved};
use hcd::data::{Dataset, HostBatch, ImageShape, Memory, Splits};
use hcd::export::{Card, Loaded};
use hcd::methods::MethodConfig;
use hcd::models::Network;
use hcd::models::weights::{self, TensorMap};
use hcd::rng;
use hcd::teacher::Live;
use hcd::train::{Experiment, Objective, fit};
use rand::RngExt;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// The part of a recipe that varies no view.
pub const STILL: &str = "data = { path = 'in memory' }\n";

/// Rows and columns of every image here.
pub const SIDE: usize = 8;
/// Classes.
pub const CLASSES: usize = 3;
/// A CNN of 4 stages and a few thousand weights.
pub const RESNET: &str = "student = { name = 'resnet10_small', widths = [4, 4, 8, 8] }\n";
/// A transformer without chance in its passes: no BatchNorm, no stochastic depth.
pub const SWIN: &str = "student = { name = 'swin_small_patch2', width = 8, depths = [1, 1], heads = [1, 2], \
                        drop_path = 0.0 }\n";

/// One small member of each family, for images of 8x8.
pub const SMALL: [&str; 10] = [
    "name = 'resnet10_small', widths = [4, 4, 8, 8]",
    "name = 'resnet10_small', widths = [4, 4, 8, 8], block = 'bottleneck', zero_init_last = true, drop_path = 0.1",
    "name = 'resnet20', depth = 1, widths = [4, 8, 16]",
    "name = 'resnet20', depth = 1, widths = [4, 8, 16], shortcut = 'b'",
    "name = 'mobilenetv2_100', stem_width = 8, head_width = 32, rows = [\
        { repeats = 1, kernel = 3, stride = 1, expansion = 1, width = 8 }, \
        { repeats = 2, kernel = 5, stride = 2, expansion = 2, width = 12 }], taps = [0]",
    "name = 'convnext_mini', depths = [1, 1], widths = [8, 16], kernel = 3, layer_scale = 1.0",
    "name = 'vit_mini', width = 12, depth = 2, heads = 2",
    "name = 'swin_small_patch2', width = 8, depths = [1, 1], heads = [1, 2], window = 3, token_dropout = 0.05",
    "name = 'mixer_mini', width = 12, depth = 2, token_hidden = 6, channel_hidden = 24, dropout = 0.05",
    "name = 'resmlp_mini', width = 12, depth = 2, layer_scale = 0.5",
];

/// One image of a class, pixels in rows: a bright band of rows says the class, under noise.
pub fn pixels(class: usize, sample: u64, seed: u64) -> Vec<u8> {
    let mut stream = rng::stream(seed, "synthetic", &[sample]);
    let mut pixel = |row: usize| {
        let level = if row * CLASSES / SIDE == class { 130 } else { 20 };
        level + stream.random_range(0..100u8)
    };
    (0..SIDE * SIDE).map(|at| pixel(at / SIDE)).collect()
}

/// `per_class` images of each class, one class after the other in turn.
pub fn images(per_class: usize, seed: u64) -> Arc<dyn Dataset> {
    let labels: Vec<usize> = (0..per_class * CLASSES).map(|sample| sample % CLASSES).collect();
    let pixels =
        labels.iter().enumerate().flat_map(|(sample, &class)| pixels(class, sample as u64, seed)).collect();
    let classes = (0..CLASSES).map(|class| format!("band {class}")).collect();
    let shape = ImageShape { channels: 1, height: SIDE, width: SIDE };
    Arc::new(Memory::new("bands".to_owned(), classes, shape, pixels, labels).unwrap())
}

/// A recipe of a student and whatever else, all inline tables; images vary unless it says how they do.
pub fn resolve(student: &str, rest: &str) -> Resolved {
    let views = "data = { path = 'in memory', views = { crop_padding = 1, horizontal_flip = 0.5 } }\n";
    let data = if rest.contains("data =") { "" } else { views };
    config::from_text(&format!("{data}{student}{rest}"), "test", &[]).unwrap()
}

/// The experiment of a recipe on `train`; what it validates on is easy to get right.
pub fn experiment_on(train: Arc<dyn Dataset>, resolved: &Resolved) -> Experiment {
    let held_out = (resolved.recipe.data.validation > 0.0).then(|| images(6, 1000));
    let data = Splits { train, validation: held_out, test: images(4, 2000) };
    Experiment::on(&resolved.recipe, data, &Device::flex()).unwrap()
}

/// The experiment of a recipe on 16 images of each class.
pub fn experiment(student: &str, rest: &str) -> Experiment {
    experiment_on(images(16, 0), &resolve(student, rest))
}

/// Every batch of an epoch.
pub fn batches(experiment: &Experiment, epoch: u64) -> Vec<HostBatch> {
    experiment.loader().unwrap().epoch(epoch, 0).map(Result::unwrap).collect()
}

/// The samples of several batches as one.
pub fn joined(batches: &[HostBatch]) -> HostBatch {
    let mut all = batches[0].clone();
    for batch in &batches[1..] {
        all.pixels.extend(&batch.pixels);
        all.labels.extend(&batch.labels);
        all.ids.extend(&batch.ids);
        all.mixed.extend(&batch.mixed);
        all.shape[0] += batch.shape[0];
    }
    all
}

/// A transformer that knows the classes, with penultimate features 16 wide. It is trained once a process.
pub fn expert() -> Loaded {
    static EXPERT: OnceLock<(TensorMap, Card)> = OnceLock::new();
    let (tensors, card) = EXPERT.get_or_init(train_expert);
    let network = Network::new(&card.config, 0, &Device::flex());
    Loaded {
        network: weights::restore(network, tensors, "expert").unwrap(),
        card: card.clone(),
        notes: Vec::new(),
    }
}

fn train_expert() -> (TensorMap, Card) {
    let lesson = experiment(
        SWIN,
        "seed = 7\ndata = { path = 'in memory' }\ntrain = { epochs = 30, batch_size = 24 }\n\
         optimizer = { name = 'adamw', lr = 5e-3 }\nschedule = { name = 'cosine', min_lr = 0 }",
    );
    let fitted = fit(&lesson, &mut Objective::Supervised, None, &mut ()).unwrap();
    let last = fitted.history.epochs.last().unwrap().validation.clone().unwrap();
    assert!(last.top1 > 90.0, "the expert has {} %", last.top1);
    (weights::snapshot(&fitted.network), lesson.card("an expert".to_owned()).unwrap())
}

/// A copy of a loaded network.
pub fn copy(loaded: &Loaded) -> Loaded {
    Loaded { network: loaded.network.clone(), card: loaded.card.clone(), notes: Vec::new() }
}

/// A live teacher of a copy of `expert`.
pub fn live(expert: &Loaded, experiment: &Experiment) -> Live {
    Live::new(copy(expert), &experiment.normalization, &experiment.device)
}

/// A method with its defaults.
pub fn method(name: &str) -> MethodConfig {
    MethodConfig::of_name(name).unwrap()
}

/// Tensors as bits, so that equal means identical.
pub fn bits(tensors: &TensorMap) -> BTreeMap<String, Vec<u32>> {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect();
    tensors.iter().map(|(name, tensor)| (name.clone(), bits(&tensor.values))).collect()
}

/// The weights and statistics of a network as bits.
pub fn bits_of(network: &Network) -> BTreeMap<String, Vec<u32>> {
    bits(&weights::snapshot(network))
}

/// The tensors under a prefix, without it.
pub fn under(prefix: &str, tensors: &TensorMap) -> TensorMap {
    let strip = |(name, tensor): (&String, &weights::HostTensor)| {
        Some((name.strip_prefix(prefix)?.to_owned(), tensor.clone()))
    };
    tensors.iter().filter_map(strip).collect()
}

/// The largest difference between tensors of the same names.
pub fn distance(left: &TensorMap, right: &TensorMap) -> f32 {
    assert!(left.keys().eq(right.keys()), "other names");
    let pairs = left.iter().flat_map(|(name, tensor)| tensor.values.iter().zip(&right[name].values));
    pairs.map(|(l, r)| (l - r).abs()).fold(0.0, f32::max)
}
