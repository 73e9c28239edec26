//! Fine-tuning: what is frozen stays, and rates fall from the head to the stem.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use hcd::models::weights::{self, TensorMap};
use hcd::models::{Backbone, ModelSpec, Network, Parameters, depth_of};
use hcd::train::{Experiment, FinetuneConfig, Learner, Objective};
use support::{RESNET, SWIN, batches, experiment};

const TRAIN: &str = "train = { batch_size = 12 }\n";

/// Names of the tensors that three steps change.
fn moved(student: &str, finetune: &str) -> Vec<String> {
    let experiment = experiment(student, &format!("{TRAIN}{finetune}"));
    let (before, after) = three_steps(&experiment, 0.1);
    let changed = |(name, tensor): (&String, &weights::HostTensor)| {
        (tensor.values != after[name].values).then(|| name.clone())
    };
    before.iter().filter_map(changed).collect()
}

fn three_steps(experiment: &Experiment, lr: f64) -> (TensorMap, TensorMap) {
    let mut learner = Learner::new(experiment, &Objective::Supervised).unwrap();
    let before = weights::snapshot(&learner.exported());
    for (step, batch) in batches(experiment, 0).iter().take(3).enumerate() {
        learner.learn(batch, &mut Objective::Supervised, (0, step), 1).unwrap();
        learner = learner.update(lr, None).0;
    }
    (before, weights::snapshot(&learner.exported()))
}

#[test]
fn without_a_word_everything_learns() {
    let experiment = experiment(RESNET, TRAIN);
    let all = Learner::new(&experiment, &Objective::Supervised).unwrap().exported().named().len();
    assert_eq!(moved(RESNET, "").len(), all);
}

#[test]
fn frozen_stages_keep_weights_and_statistics() {
    let check = |student: &str, frozen: usize, still: &[&str]| {
        let moved = moved(student, &format!("finetune = {{ freeze_stages = {frozen} }}"));
        assert!(!moved.is_empty());
        let wrong: Vec<&String> =
            moved.iter().filter(|name| still.iter().any(|prefix| name.starts_with(prefix))).collect();
        assert!(wrong.is_empty(), "{student}, {frozen} frozen: {wrong:?} moved");
    };
    check(RESNET, 0, &["conv1.", "bn1."]);
    check(RESNET, 2, &["conv1.", "bn1.", "layer1.", "layer2."]);
    check(SWIN, 1, &["patch_embed.", "layers.0."]);
    let head = moved(RESNET, "finetune = { freeze_stages = 4 }");
    assert_eq!(head, ["fc.bias", "fc.weight"]);
    let head = moved(SWIN, "finetune = { freeze_stages = 2 }");
    assert_eq!(head, ["head.fc.bias", "head.fc.weight", "norm.bias", "norm.weight"]);
}

#[test]
fn more_frozen_stages_than_there_are_is_refused() {
    let experiment = experiment(RESNET, &format!("{TRAIN}finetune = {{ freeze_stages = 5 }}"));
    let error = Learner::new(&experiment, &Objective::Supervised).err().unwrap().to_string();
    assert_eq!(error, "finetune.freeze_stages = 5, must be at most 4, the student's stages");
}

#[test]
fn frozen_statistics_stay_while_weights_learn() {
    let moved = moved(RESNET, "finetune = { freeze_norm = true }");
    assert!(moved.iter().all(|name| !name.contains("running_")), "{moved:?}");
    assert!(moved.contains(&"layer1.0.bn1.weight".to_owned()) && moved.contains(&"conv1.weight".to_owned()));
}

#[test]
fn rates_fall_from_block_to_block() {
    let config = FinetuneConfig { layer_decay: 0.5, backbone_lr_scale: 0.1, ..FinetuneConfig::default() };
    let model = ModelSpec::named("vit_mini").resolve(3, 32, 10).unwrap();
    let network = Network::new(&model, 0, &burn::tensor::Device::flex());
    let rates = config.rates(&network);
    let check = |name: &str, expected: f64| assert!((rates[name] - expected).abs() < 1e-12, "{name}");
    check("head.weight", 1.0);
    check("norm.weight", 1.0);
    check("blocks.7.mlp.fc1.weight", 0.1 * 0.5);
    check("blocks.0.norm1.bias", 0.1 * 0.5f64.powi(8));
    check("pos_embed", 0.1 * 0.5f64.powi(9));
    assert!(FinetuneConfig::default().rates(&network).is_empty());
}

#[test]
fn a_rate_of_nought_below_the_head_moves_the_head_alone() {
    let experiment =
        experiment(RESNET, &format!("{TRAIN}finetune = {{ backbone_lr_scale = 0, freeze_norm = true }}"));
    let (before, after) = three_steps(&experiment, 0.1);
    let moved: Vec<&String> =
        before.keys().filter(|name| before[*name].values != after[*name].values).collect();
    assert_eq!(moved, ["fc.bias", "fc.weight"]);
}

#[test]
fn ranges_are_checked() {
    let check = |config: FinetuneConfig, expected: &str| assert_eq!(config.check(), [expected]);
    let plain = FinetuneConfig::default();
    check(FinetuneConfig { layer_decay: 0.0, ..plain }, "layer_decay = 0, must be in (0, 1]");
    check(FinetuneConfig { layer_decay: f64::NAN, ..plain }, "layer_decay = NaN, must be in (0, 1]");
    check(
        FinetuneConfig { backbone_lr_scale: -1.0, ..plain },
        "backbone_lr_scale = -1, must be finite and not negative",
    );
    assert!(plain.check().is_empty());
}

#[test]
fn every_network_is_a_row_of_blocks_of_rising_stages() {
    for preset in hcd::models::PRESETS.iter().filter(|preset| preset.image_size < 64) {
        let network =
            Network::new(&preset.config(3, preset.image_size, 10), 0, &burn::tensor::Device::flex());
        let blocks = network.blocks();
        let name = preset.name;
        assert!(blocks.is_sorted_by_key(|block| block.stage), "{name}");
        assert_eq!(blocks.last().unwrap().stage, network.stages().len(), "{name}");
        let mut seen: Vec<usize> =
            network.named().iter().map(|tensor| depth_of(&blocks, &tensor.name)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, (0..=blocks.len()).collect::<Vec<_>>(), "{name}: a place without parameters");
    }
}
