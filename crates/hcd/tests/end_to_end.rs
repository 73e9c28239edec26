//! The whole flow on files: a teacher learns from labels, is saved, loaded, tried, and teaches a student by HCD,
//! which is exported, evaluated and reported on.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use hcd::burn::tensor::Device;
use hcd::config::{self, Resolved};
use hcd::data::idx;
use hcd::eval::{self, Split};
use hcd::export::{self, Card, Loaded};
use hcd::files;
use hcd::methods::MethodConfig;
use hcd::models::weights::{self, Precision};
use hcd::models::{Network, Parameters};
use hcd::report::{self, ChosenEpoch, Entry, Outcome, Page, Part, TeacherLine};
use hcd::teacher::{Live, Teacher, ViewKey};
use hcd::train::{Experiment, Objective, RunFolder, fit, inspect_space, inspect_teacher};
use hcd::{Error, data};
use std::path::Path;
use support::{CLASSES, SIDE, bits_of};
use tempfile::TempDir;

/// An IDX file of unsigned bytes.
fn idx_file(path: &Path, dims: &[usize], body: &[u8]) {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    bytes.extend(dims.iter().flat_map(|&dim| (dim as u32).to_be_bytes()));
    bytes.extend(body);
    std::fs::write(path, bytes).unwrap();
}

/// A folder with 20 training and 8 test images of each class.
fn folder_of_images() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (part, per_class) in [(0, 20), (1, 8)] {
        let labels: Vec<u8> = (0..per_class * CLASSES).map(|sample| (sample % CLASSES) as u8).collect();
        let image = |(sample, &class): (usize, &u8)| {
            support::pixels(usize::from(class), sample as u64, 40 + part as u64)
        };
        let pixels: Vec<u8> = labels.iter().enumerate().flat_map(image).collect();
        let [images_name, labels_name] = [idx::NAMES[2 * part], idx::NAMES[2 * part + 1]];
        idx_file(&folder.path().join(images_name), &[labels.len(), SIDE, SIDE], &pixels);
        idx_file(&folder.path().join(labels_name), &[labels.len()], &labels);
    }
    std::fs::write(folder.path().join(idx::CLASSES), "top\nmiddle\nbottom\n").unwrap();
    folder
}

fn recipe(data: &Path, rest: &str) -> Resolved {
    let text = format!("data = {{ path = '{}', validation = 0.2 }}\n{rest}", data.display());
    config::from_text(&text, "test", &[]).unwrap()
}

fn prepare(resolved: &Resolved) -> Experiment {
    Experiment::prepare(&resolved.recipe, &Device::flex()).unwrap()
}

const TEACHER: &str = "model = { name = 'swin_small_patch2', width = 8, depths = [1, 1], heads = [1, 2] }\n\
                       train = { epochs = 2, batch_size = 4, clip_norm = 5.0 }\n\
                       optimizer = { name = 'adamw', lr = 1e-2 }\nschedule = { name = 'cosine', per = 'step' }";

/// A teacher's file, two epochs old.
fn teacher_file(data: &Path, path: &Path) -> Card {
    let lesson = prepare(&recipe(data, TEACHER));
    assert_eq!((lesson.train.len(), lesson.test.len()), (48, 24));
    assert_eq!(lesson.validation.as_ref().unwrap().len(), 12);
    assert_eq!(lesson.classes(), ["top", "middle", "bottom"]);
    let fitted = fit(&lesson, &mut Objective::Supervised, None, &mut ()).unwrap();
    let card = lesson.card("scratch, seed 0, last epoch (2)".to_owned()).unwrap();
    export::save(path, &weights::snapshot(&fitted.network), Precision::F32, &card).unwrap();
    let loaded = export::load(path, &lesson.device).unwrap();
    assert_eq!(loaded.card, card);
    assert_eq!(bits_of(&loaded.network), bits_of(&fitted.network));
    card
}

#[test]
fn from_files_to_a_report() {
    let data = folder_of_images();
    let path = data.path().join("teacher.safetensors");
    teacher_file(data.path(), &path);

    let resolved = recipe(
        data.path(),
        &format!(
            "student = {{ name = 'resnet10_small', widths = [4, 4, 8, 8] }}\nteacher.weights = '{}'\n\
             train = {{ epochs = 8, batch_size = 8, clip_norm = 5.0 }}\noptimizer = {{ name = 'sgd', lr = 0.02 }}\n\
             schedule = {{ name = 'cosine', per = 'step' }}",
            path.display()
        ),
    );
    let experiment = prepare(&resolved);
    let weights = &resolved.recipe.teacher.as_ref().unwrap().weights;
    let expert = export::load(weights.as_ref().unwrap(), &experiment.device).unwrap();
    assert_eq!(inspect_teacher(&expert, &experiment, "its file").unwrap(), Vec::<String>::new());
    let Experiment { test, normalization, device, .. } = &experiment;
    let evaluate = |network: &Network| eval::evaluate(network, test, normalization, device, &mut |_| {});
    let line = TeacherLine {
        name: expert.card.model.clone(),
        top1: evaluate(&expert.network).unwrap().top1,
        parameters: expert.network.learned_count(),
        seconds: None,
    };

    let method = resolved.recipe.method.clone().unwrap();
    assert_eq!(method, MethodConfig::of_name("hcd").unwrap());
    let folder = data.path().join("run");
    inspect_space(&folder, 100_000).unwrap();
    let mut teacher = Live::new(expert, normalization, device);
    let mut objective = Objective::Distilled { teacher: &mut teacher, method: &method };
    let run = RunFolder::create(&folder, &resolved, &experiment, &objective).unwrap();
    let fitted = fit(&experiment, &mut objective, Some(&run), &mut ()).unwrap();

    // What the file holds does on the test images what the network in memory does, and not badly.
    let student = export::load(&run.last(), device).unwrap();
    let mut looked_at = 0;
    let last =
        eval::evaluate(&student.network, test, &student.card.normalization, device, &mut |n| looked_at += n);
    let last = last.unwrap();
    assert_eq!(last, evaluate(&fitted.network).unwrap());
    assert_eq!((looked_at, last.images, last.per_class.len(), last.top5), (24, 24, 3, 100.0));
    assert!(last.top1 > 80.0, "{} %", last.top1);
    let best = fitted.history.best.unwrap();
    let chosen = evaluate(&export::load(&run.best(), device).unwrap().network).unwrap();

    let outcome = Outcome {
        name: "hcd".to_owned(),
        pair: None,
        seed: 0,
        split: Split::Test,
        top1: last.top1,
        top5: last.top5,
        loss: last.loss,
        calibration_error: last.calibration_error,
        chosen: Some(ChosenEpoch { epoch: best.epoch, validation_top1: best.top1, top1: chosen.top1 }),
        seconds: 1.0,
        peak_mib: None,
        epochs: 8,
        parameters: fitted.network.learned_count(),
        head_parameters: fitted.head_parameters,
        recipe: files::hash(resolved.to_toml().unwrap().as_bytes()),
        left_out: Vec::new(),
    };
    let entries = [Entry { outcome, epochs: run.metrics().unwrap(), insight: None }];
    let part = Part {
        name: None,
        teacher: Some(line),
        entries: &entries,
        diverged: &[],
        classes: experiment.classes(),
    };
    let page = Page {
        title: "hcd of resnet10_small",
        intro: "One training.".to_owned(),
        parts: &[part],
        recipe: &resolved.to_toml().unwrap(),
        notes: &[],
    };
    let path = run.path().join("report.html");
    files::write(&path, report::page(&page).unwrap().as_bytes()).unwrap();
    let html = std::fs::read_to_string(&path).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.trim_end().ends_with("</html>"));
    for part in
        ["hcd of resnet10_small", "swin_small_patch2", "sub_kl", "orth", "middle", "<svg", "batch_size"]
    {
        assert!(html.contains(part), "the report does not say {part}");
    }
}

#[test]
fn a_teacher_that_does_not_suit_the_data_is_named_before_the_training() {
    let data = folder_of_images();
    let path = data.path().join("teacher.safetensors");
    teacher_file(data.path(), &path);
    let experiment =
        prepare(&recipe(data.path(), "student = { name = 'resnet10_small', widths = [4, 4, 8, 8] }"));
    let load = || export::load(&path, &experiment.device).unwrap();
    let inspect = |teacher: &Loaded| inspect_teacher(teacher, &experiment, "t.safetensors");
    let error = |teacher: &Loaded| {
        let error = inspect(teacher).unwrap_err();
        assert!(matches!(error, Error::Recipe(_)), "{error:?}");
        error.to_string()
    };

    // Another number of classes, in the card and in the network.
    let config = experiment.recipe.student.resolve(1, SIDE, 5).unwrap();
    let mut card = load().card;
    card.classes = (0..5).map(|class| class.to_string()).collect();
    card.config = config.clone();
    let other = Loaded { network: Network::new(&config, 0, &experiment.device), card, notes: Vec::new() };
    let message = error(&other);
    assert!(message.contains("t.safetensors knows 5 classes") && message.contains("has 3"), "{message}");

    // Images of other sizes or colours.
    let mut wide = load();
    wide.card.config = experiment.recipe.student.resolve(3, SIDE, 3).unwrap();
    let message = error(&wide);
    assert!(message.contains("t.safetensors takes images of 3 channels and"), "{message}");
    assert!(message.contains("not 1x8x8, which "), "{message}");

    // One that never learned: a warning, with both figures.
    let mut untrained = load();
    untrained.network = Network::new(&untrained.card.config, 5, &experiment.device);
    let warnings = inspect(&untrained).unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("12 validation images, near chance (33.3 %)"), "{warnings:?}");

    // One that calls its classes otherwise.
    let mut renamed = load();
    renamed.card.classes.swap(0, 2);
    let warnings = inspect(&renamed).unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("calls class 0 `bottom`, the data `top`"), "{warnings:?}");
}

#[test]
fn a_teacher_with_a_normalisation_of_its_own_sees_the_images_as_it_learned_to() {
    let data = folder_of_images();
    let path = data.path().join("teacher.safetensors");
    teacher_file(data.path(), &path);
    let experiment =
        prepare(&recipe(data.path(), "student = { name = 'resnet10_small', widths = [4, 4, 8, 8] }"));
    let batch = &data_batch(&experiment);
    let answer = |mean: f32, std: f32| {
        let mut loaded = export::load(&path, &experiment.device).unwrap();
        loaded.card.normalization = data::Normalization { mean: vec![mean], std: vec![std] };
        // The same network on the same pixels, normalised its way.
        let mut own = experiment.clone();
        own.normalization = loaded.card.normalization.clone();
        let direct =
            logits(Live::new(support::copy(&loaded), &own.normalization, &own.device), &data_batch(&own));
        let through = logits(Live::new(loaded, &experiment.normalization, &experiment.device), batch);
        (direct, through)
    };
    for (mean, std) in [(0.1, 0.3), (0.5, 1.0)] {
        let (direct, through) = answer(mean, std);
        for (direct, through) in direct.iter().zip(&through) {
            // Pixels undone and done again: a few roundings.
            assert!((direct - through).abs() < 1e-4, "{direct} {through}");
        }
    }
    assert!(answer(0.1, 0.3).0 != answer(0.5, 1.0).0);
}

fn data_batch(experiment: &Experiment) -> data::HostBatch {
    let loader = data::EvalLoader::new(experiment.test.clone(), &experiment.normalization, 24).unwrap();
    loader.batches().next().unwrap().unwrap()
}

fn logits(mut teacher: Live, batch: &data::HostBatch) -> Vec<f32> {
    let output = teacher.answer(batch, ViewKey { seed: 0, number: 0 }).unwrap();
    output.logits.into_data().iter::<f32>().collect()
}
