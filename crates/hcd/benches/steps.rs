//! Whole steps, and inference, of networks in the zoo: seconds of each round as a line of JSON, and the most memory that
//! the program had.
//!
//! `benches/compare.py` runs this in turn with PyTorch. By itself:
//! `RAYON_NUM_THREADS=2 cargo bench --workspace --bench steps -- train/resnet18/32x224 --rounds 10`; without names, all.
//! With `HCD_PROFILE=1`, stderr tells where the time of the counted rounds went.
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs)]

mod common;

use hcd::burn::tensor::{Device, Tensor, TensorData};
use hcd::config;
use hcd::data::{HostBatch, ImageShape, Memory, Splits};
use hcd::export::{Card, Loaded};
use hcd::methods::MethodConfig;
use hcd::models::{Backbone, ModelSpec, Network, Pass};
use hcd::ops::{Precision, profile};
use hcd::teacher::{Cached, Live, Recorded, Stored, Teacher};
use hcd::train::{Experiment, Learner, Objective};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// As in the `hcd` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CLASSES: usize = 100;

/// Rounds that do not count.
const WARM_UPS: usize = 2;

/// What is done in a round.
#[derive(Clone, Copy)]
enum Work {
    /// Logits of a batch.
    Infer,
    /// Forward, backward and an SGD step, from labels.
    Train,
    /// The same with products of 16 bits.
    TrainBf16,
    /// The same by HCD, where the teacher looks at every batch.
    DistilLive(&'static str),
    /// The same, where the teacher's answers are there already.
    DistilGiven(&'static str),
    /// The same, where the teacher looks at every batch and its answers are kept in a file.
    DistilFilling(&'static str),
    /// The same, where its answers are read from a file.
    DistilCached(&'static str),
}

/// Where a teacher's answers come from.
#[derive(Clone, Copy, PartialEq)]
enum Answers {
    Live,
    Given,
    Filling,
    Cached,
}

const SWIN: &str = "swin_tiny_patch4_window7_224";

/// Name, work, network, batch and side.
const WORKS: &[(&str, Work, &str, usize, usize)] = &[
    ("train/resnet18/32x224", Work::Train, "resnet18", 32, 224),
    ("train/resnet18_small/128x32", Work::Train, "resnet18_small", 128, 32),
    ("train/mobilenetv2_100/32x224", Work::Train, "mobilenetv2_100", 32, 224),
    ("train/deit_tiny/32x224", Work::Train, "deit_tiny_patch16_224", 32, 224),
    ("train-bf16/resnet18/32x224", Work::TrainBf16, "resnet18", 32, 224),
    ("train-bf16/deit_tiny/32x224", Work::TrainBf16, "deit_tiny_patch16_224", 32, 224),
    ("infer/swin_tiny/32x224", Work::Infer, SWIN, 32, 224),
    ("infer/vit_small/32x224", Work::Infer, "vit_small_patch16_224", 32, 224),
    ("infer/convnext_tiny/32x224", Work::Infer, "convnext_tiny", 32, 224),
    ("infer/mixer_b16/32x224", Work::Infer, "mixer_b16_224", 32, 224),
    ("infer/resnet18/32x224", Work::Infer, "resnet18", 32, 224),
    ("infer/mobilenetv2_100/32x224", Work::Infer, "mobilenetv2_100", 32, 224),
    ("infer/resnet18/1x224", Work::Infer, "resnet18", 1, 224),
    ("infer/mobilenetv2_100/1x224", Work::Infer, "mobilenetv2_100", 1, 224),
    ("hcd/swin_tiny-resnet18/live/32x224", Work::DistilLive(SWIN), "resnet18", 32, 224),
    ("hcd/swin_tiny-resnet18/given/32x224", Work::DistilGiven(SWIN), "resnet18", 32, 224),
    ("hcd/swin_tiny-resnet18/filling/32x224", Work::DistilFilling(SWIN), "resnet18", 32, 224),
    ("hcd/swin_tiny-resnet18/cached/32x224", Work::DistilCached(SWIN), "resnet18", 32, 224),
];

fn main() {
    hcd_kernels::memory::keep();
    let (names, rounds) = common::arguments(10);
    for &(name, work, model, batch, side) in WORKS {
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        let seconds = match work {
            Work::Infer => infer(model, batch, side, rounds),
            Work::Train => train(model, [batch, side], "f32", rounds, None),
            Work::TrainBf16 => train(model, [batch, side], "bf16", rounds, None),
            Work::DistilLive(teacher) => distil(model, [batch, side], rounds, (teacher, Answers::Live)),
            Work::DistilGiven(teacher) => distil(model, [batch, side], rounds, (teacher, Answers::Given)),
            Work::DistilFilling(teacher) => distil(model, [batch, side], rounds, (teacher, Answers::Filling)),
            Work::DistilCached(teacher) => distil(model, [batch, side], rounds, (teacher, Answers::Cached)),
        };
        if let Some(report) = profile::take() {
            tell(name, &report);
        }
        let line = serde_json::json!({
            "work": name, "images": batch, "seconds": seconds, "peak_mib": common::peak_mib(),
        });
        println!("{line}");
    }
}

/// The table that the command prints.
fn tell(work: &str, report: &profile::Report) {
    eprintln!("{work:<44} {:>7} {:>11} {:>8} {:>8}", "calls", "ms", "of all", "GFLOP/s");
    let line = |name: &str, calls: String, time: Duration, gflops: String| {
        let (ms, share) = (1e3 * time.as_secs_f64(), report.share(time));
        eprintln!("{name:<44} {calls:>7} {ms:>11.1} {share:>6.1} % {gflops:>8}");
    };
    for row in &report.rows {
        let gflops = row.gflops().map_or(String::new(), |gflops| format!("{gflops:.1}"));
        line(&row.name, row.calls.to_string(), row.time, gflops);
    }
    line("elsewhere", String::new(), report.elsewhere(), String::new());
}

/// The seconds of `rounds` rounds, after [`WARM_UPS`].
fn timed(rounds: usize, mut round: impl FnMut()) -> Vec<f64> {
    let profiled = std::env::var_os("HCD_PROFILE").is_some_and(|value| !value.is_empty() && value != "0");
    let once = |number| {
        if profiled && number == WARM_UPS {
            profile::start();
        }
        let began = Instant::now();
        round();
        began.elapsed().as_secs_f64()
    };
    (0..rounds + WARM_UPS).map(once).skip(WARM_UPS).collect()
}

fn pixels(count: usize) -> Vec<f32> {
    (0..count).map(|at| (at * 7919 % 255) as f32 / 127.5 - 1.0).collect()
}

fn infer(model: &str, batch: usize, side: usize, rounds: usize) -> Vec<f64> {
    let device = Device::flex();
    let config = ModelSpec::named(model).resolve(3, side, CLASSES).expect("a preset");
    let network = Network::new(&config, 0, &device);
    let shape = [batch, 3, side, side];
    let images = Tensor::<4>::from_data(TensorData::new(pixels(shape.iter().product()), shape), &device);
    timed(rounds, || {
        network.forward(images.clone(), &mut Pass::Eval).logits.into_data();
    })
}

fn distil(model: &str, size: [usize; 2], rounds: usize, teacher: (&str, Answers)) -> Vec<f64> {
    train(model, size, "f32", rounds, Some(teacher))
}

fn train(
    model: &str,
    [batch, side]: [usize; 2],
    precision: &str,
    rounds: usize,
    teacher: Option<(&str, Answers)>,
) -> Vec<f64> {
    let shape = ImageShape { channels: 3, height: side, width: side };
    let recipe = format!(
        "data = {{ path = 'in memory', normalization = {{ mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }} }}\n\
         student.name = '{model}'\n\
         train = {{ batch_size = {batch}, precision = '{precision}' }}"
    );
    let recipe = config::from_text(&recipe, "bench", &[]).expect("a recipe").recipe;
    let classes: Vec<String> = (0..CLASSES).map(|class| class.to_string()).collect();
    // A file is filled by other samples in each round, and has answers to one batch where they are read.
    let samples = match teacher {
        Some((_, Answers::Filling)) => batch * (rounds + WARM_UPS),
        Some((_, Answers::Cached)) => batch,
        _ => 1,
    };
    let blank = vec![0; samples * shape.numel()];
    let set = Memory::new("none".to_owned(), classes, shape, blank, vec![0; samples]);
    let set = Arc::new(set.expect("images"));
    let data = Splits { train: set.clone(), validation: None, test: set };
    let experiment = Experiment::on(&recipe, data, &Device::flex()).expect("a preset");
    let method = MethodConfig::of_name("hcd").expect("hcd");
    let folder = tempfile::tempdir().expect("a folder");
    let step_ids = |step: usize| match teacher {
        Some((_, Answers::Filling)) => step * batch..(step + 1) * batch,
        _ => 0..batch,
    };
    let mut teacher = teacher.map(|(name, answers)| expert(name, answers, &experiment, folder.path()));
    let mut objective = match &mut teacher {
        None => Objective::Supervised,
        Some(teacher) => Objective::Distilled { teacher: teacher.as_mut(), method: &method },
    };
    let mut host = HostBatch {
        pixels: pixels(batch * 3 * side * side),
        shape: [batch, 3, side, side],
        labels: (0..batch).map(|sample| sample % CLASSES).collect(),
        ids: (0..batch as u64).collect(),
        mixed: Vec::new(),
    };
    let mut learner = Some(Learner::new(&experiment, &objective).expect("a student of the method"));
    let mut step = 0;
    timed(rounds, || {
        let mut begun = learner.take().expect("put back below");
        host.ids = step_ids(step).map(|id| id as u64).collect();
        // The epoch stays the same, and with it the views, of which a recorded teacher knows the answers.
        begun.learn(&host, &mut objective, (0, step), 1).expect("a finite loss");
        learner = Some(begun.update(1e-3, None).0);
        step += 1;
    })
}

/// A teacher that knows nothing, in as much time as one that does.
fn expert(name: &str, answers: Answers, experiment: &Experiment, folder: &Path) -> Box<dyn Teacher> {
    let image = experiment.train.image_shape();
    let config = ModelSpec::named(name).resolve(3, image.height, CLASSES).expect("a preset");
    let normalization = &experiment.normalization;
    let card = Card {
        model: name.to_owned(),
        config: config.clone(),
        classes: experiment.classes().to_vec(),
        image,
        normalization: normalization.clone(),
        preprocess: None,
        run: String::new(),
    };
    let loaded = Loaded { network: Network::new(&config, 0, &experiment.device), card, notes: vec![] };
    let live = Live::new(loaded, normalization, &experiment.device);
    match answers {
        Answers::Live => Box::new(live),
        Answers::Given => Box::new(Recorded::new(live, experiment.view_count())),
        Answers::Filling | Answers::Cached => {
            let loader = experiment.loader().expect("a batch");
            let cached = Cached::open(live, &loader, Precision::F32, Stored::F16, folder);
            Box::new(cached.expect("an empty folder"))
        }
    }
}
