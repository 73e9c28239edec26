//! A teacher whose answers are kept in files says what a live one says: features, logits, HCD's loss, a training.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use hcd::data::HostBatch;
use hcd::ops::Precision;
use hcd::teacher::{Cached, Stored, Teacher, TeacherOutput, ViewKey};
use hcd::train::{Experiment, Learner, Objective, fit};
use std::path::Path;
use support::{RESNET, batches, bits_of, experiment, live, method};

fn open(experiment: &Experiment, stored: Stored, folder: &Path) -> hcd::Result<Cached> {
    Cached::open(live(&support::expert(), experiment), &experiment.loader()?, Precision::F32, stored, folder)
}

fn lesson(epochs: u64, rest: &str) -> Experiment {
    experiment(RESNET, &format!("train = {{ epochs = {epochs}, batch_size = 10 }}\n{rest}"))
}

fn numbers(output: &TeacherOutput) -> [Vec<f32>; 2] {
    [output.penultimate.clone(), output.logits.clone()].map(|x| x.into_data().iter::<f32>().collect())
}

fn key(number: u64) -> ViewKey {
    ViewKey { seed: 0, number }
}

fn all(experiment: &Experiment, number: u64) -> HostBatch {
    let indices: Vec<usize> = (0..experiment.train.len()).collect();
    experiment.loader().unwrap().view_batch(number, &indices).unwrap()
}

#[test]
fn features_and_logits_agree_within_rounding() {
    let experiment = lesson(2, "");
    let mut plain = live(&support::expert(), &experiment);
    // A unit in the last place: 2⁻¹¹ of a number for f16, half a 127th of a row's largest for int8. A logit is a sum of
    // 16 products with weights below 1.
    for (stored, tolerance) in [(Stored::F32, 0.0), (Stored::F16, 1.0 / 2048.0), (Stored::Int8, 0.5 / 127.0)]
    {
        let folder = tempfile::tempdir().unwrap();
        let mut first = open(&experiment, stored, folder.path()).unwrap();
        let loader = experiment.loader().unwrap();
        first.fill(&loader, 1, &mut |_| {}).unwrap();
        assert_eq!(first.counts(), [48, 0]);
        let mut again = open(&experiment, stored, folder.path()).unwrap();
        let batch = all(&experiment, 1);
        let (expected, found) = (
            numbers(&plain.answer(&batch, key(1)).unwrap()),
            numbers(&again.answer(&batch, key(1)).unwrap()),
        );
        assert_eq!(again.counts(), [0, 48], "{stored}: the teacher was asked again");
        for (which, (expected, found)) in expected.iter().zip(&found).enumerate() {
            let largest = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
            let allowed = tolerance * largest * if which == 0 { 1.0 } else { 16.0 };
            for (expected, found) in expected.iter().zip(found) {
                assert!(
                    (expected - found).abs() <= allowed + 1e-6 * largest,
                    "{stored} {which}: {found} for {expected}"
                );
            }
        }
        let verified = again.verify(&loader, &[1], 30).unwrap();
        assert_eq!((verified.entries, verified.missing), (30, 0));
        assert!(verified.difference <= (tolerance + 1e-6) * verified.largest, "{stored}: {verified:?}");
    }
}

#[test]
fn hcds_loss_agrees() {
    let experiment = lesson(1, "");
    let (method, folder) = (method("hcd"), tempfile::tempdir().unwrap());
    let batch = &batches(&experiment, 0)[0];
    let loss = |teacher: &mut dyn Teacher| {
        let mut objective = Objective::Distilled { teacher, method: &method };
        let mut learner = Learner::new(&experiment, &objective).unwrap();
        learner.learn(batch, &mut objective, (0, 0), 1).unwrap().loss
    };
    let expected = loss(&mut live(&support::expert(), &experiment));
    let filling = loss(&mut open(&experiment, Stored::F16, folder.path()).unwrap());
    let cached = loss(&mut open(&experiment, Stored::F16, folder.path()).unwrap());
    assert_eq!(filling, cached);
    // Features are rounded by 2⁻¹¹; the loss, a sum of some dozens of terms that are smooth in them, by about as much.
    assert!((expected - cached).abs() < 2e-3 * expected.abs(), "{cached} for {expected}");
}

#[test]
fn a_training_that_fills_and_one_that_reads_end_alike_and_near_a_live_one() {
    let experiment = lesson(3, "");
    let (method, folder) = (method("hcd"), tempfile::tempdir().unwrap());
    let train = |teacher: &mut dyn Teacher| {
        let fitted =
            fit(&experiment, &mut Objective::Distilled { teacher, method: &method }, None, &mut ()).unwrap();
        let losses: Vec<f64> = fitted.history.epochs.iter().map(|epoch| epoch.loss).collect();
        (bits_of(&fitted.network), losses)
    };
    let mut filling = open(&experiment, Stored::F16, folder.path()).unwrap();
    let first = train(&mut filling);
    assert_eq!(filling.counts(), [120, 0]);
    let mut reading = open(&experiment, Stored::F16, folder.path()).unwrap();
    let second = train(&mut reading);
    assert_eq!(reading.counts(), [0, 120]);
    assert!(first == second, "reading ends otherwise than filling");
    let (_, losses) = train(&mut live(&support::expert(), &experiment));
    for (cached, live) in first.1.iter().zip(losses) {
        // Twelve steps later the two have hardly moved apart.
        assert!((cached - live).abs() < 1e-2 * live, "{cached} for {live}");
    }
}

#[test]
fn a_bank_is_filled_once() {
    let views = "data = { path = 'in memory', views = { horizontal_flip = 0.5, bank = 2 } }";
    let experiment = lesson(5, views);
    let (method, folder) = (method("kd"), tempfile::tempdir().unwrap());
    let mut cached = open(&experiment, Stored::F16, folder.path()).unwrap();
    let numbers = experiment.recipe.data.views.numbers(0, 5);
    assert_eq!(numbers.len(), 2);
    for number in numbers {
        cached.fill(&experiment.loader().unwrap(), number, &mut |_| {}).unwrap();
    }
    fit(&experiment, &mut Objective::Distilled { teacher: &mut cached, method: &method }, None, &mut ())
        .unwrap();
    assert_eq!(cached.counts(), [96, 200]);
}

/// A mixed view, partner, λ and all, follows from its number as any other does.
#[test]
fn mixed_views_are_kept_as_others_are() {
    let views = "data = { path = 'in memory', views = { crop_padding = 1, mixup = 0.8, cutmix = 1.0 } }";
    let experiment = lesson(1, views);
    let folder = tempfile::tempdir().unwrap();
    let (mut plain, loader) = (live(&support::expert(), &experiment), experiment.loader().unwrap());
    open(&experiment, Stored::F32, folder.path()).unwrap().fill(&loader, 0, &mut |_| {}).unwrap();
    let mut cached = open(&experiment, Stored::F32, folder.path()).unwrap();
    let (mut mixed, whole) = (0, all(&experiment, 0));
    for batch in batches(&experiment, 0) {
        mixed += batch.mixed.iter().filter(|(_, share)| *share < 1.0).count();
        // In whatever order and company they come.
        let place = |id: &u64| whole.ids.iter().position(|other| other == id).unwrap();
        assert!(batch.ids.iter().zip(&batch.mixed).all(|(id, mix)| whole.mixed[place(id)] == *mix));
        let [expected, found] =
            [plain.answer(&batch, key(0)).unwrap(), cached.answer(&batch, key(0)).unwrap()]
                .map(|x| numbers(&x));
        for (expected, found) in expected.iter().flatten().zip(found.iter().flatten()) {
            // Sums in another order, where a batch has another size.
            assert!((expected - found).abs() <= 1e-5 * expected.abs().max(1.0), "{found} for {expected}");
        }
    }
    assert!(mixed > 30, "{mixed} of 40 are mixed");
    assert_eq!(cached.counts(), [0, 40]);
}
