//! One batch and one optimiser step: what they do to weights.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use hcd::burn::tensor::{Tensor, TensorData};
use hcd::data::HostBatch;
use hcd::export;
use hcd::models::weights::{self, TensorMap};
use hcd::models::{Backbone, Network, Pass};
use hcd::train::{Experiment, History, Learner, Objective, RunFolder, StepReport, fit};
use support::{RESNET, STILL, SWIN, batches, bits, bits_of, distance, experiment, live, method, under};

const PLAIN_SGD: &str = "optimizer = { name = 'sgd', lr = 0.1, momentum = 0, nesterov = false, weight_decay = 0 }\n\
                         schedule = { name = 'step', milestones = [] }\n";

/// `steps` optimiser steps on one and the same batch.
fn repeat(experiment: &Experiment, objective: &mut Objective, lr: f64, steps: usize) -> Vec<StepReport> {
    let batch = &batches(experiment, 0)[0];
    let mut learner = Learner::new(experiment, objective).unwrap();
    let mut reports = Vec::new();
    for step in 0..steps {
        reports.push(learner.learn(batch, objective, (0, step), 1).unwrap());
        learner = learner.update(lr, None).0;
    }
    reports
}

#[test]
fn one_batch_is_learned_by_heart() {
    let train = "train = { batch_size = 24, label_smoothing = 0 }\n";
    for (student, optimizer, lr) in [
        (RESNET, "optimizer = { name = 'sgd', lr = 0.05 }", 0.05),
        (SWIN, "optimizer = { name = 'adamw', lr = 5e-3 }\nschedule = { name = 'cosine', min_lr = 0 }", 5e-3),
    ] {
        let experiment = experiment(student, &format!("{train}{optimizer}"));
        let reports = repeat(&experiment, &mut Objective::Supervised, lr, 60);
        let (first, last) = (&reports[0], &reports[59]);
        assert!(last.loss < first.loss / 10.0, "{student}: {} to {}", first.loss, last.loss);
        assert_eq!((last.correct, last.images), (24, 24), "{student}");
        assert_eq!(first.terms.len(), 1);
        assert_eq!((first.terms[0].name.as_str(), first.terms[0].weighted), ("ce", first.loss));
    }
}

#[test]
fn the_total_of_a_distillation_falls_and_is_the_sum_of_its_terms() {
    let expert = support::expert();
    for (name, names, falls) in
        [("kd", vec!["ce", "kd"], 4.0), ("hcd", vec!["ce", "sub_ce", "kd", "sub_kl", "orth"], 4.0)]
    {
        let train = "train = { batch_size = 24, label_smoothing = 0 }";
        let experiment = experiment(RESNET, &format!("{STILL}{train}"));
        let (method, mut teacher) = (method(name), live(&expert, &experiment));
        let mut objective = Objective::Distilled { teacher: &mut teacher, method: &method };
        let reports = repeat(&experiment, &mut objective, 0.02, 60);
        let (first, last) = (&reports[0], &reports[59]);
        assert!(last.loss < first.loss / falls, "{name}: {first:?} to {last:?}");
        for report in [first, last] {
            assert_eq!(report.terms.iter().map(|term| term.name.as_str()).collect::<Vec<_>>(), names);
            assert_eq!(report.loss, report.terms.iter().map(|term| term.weighted).sum::<f64>());
        }
    }
}

#[test]
fn smoothed_labels_enter_the_loss() {
    for smoothing in [0.0, 0.1, 0.4] {
        let train = format!("train = {{ batch_size = 12, label_smoothing = {smoothing} }}");
        let experiment = experiment(SWIN, &train);
        let batch = &batches(&experiment, 0)[0];
        let mut learner = Learner::new(&experiment, &Objective::Supervised).unwrap();
        // The Swin without stochastic depth says the same in training and in evaluation.
        let images = TensorData::new(batch.pixels.clone(), batch.shape);
        let images = Tensor::<4>::from_data(images, &experiment.device);
        let logits = learner.exported().forward(images, &mut Pass::Eval).logits;
        let logits: Vec<f64> = logits.into_data().iter::<f64>().collect();
        let mut expected = 0.0;
        for (row, &label) in logits.chunks(support::CLASSES).zip(&batch.labels) {
            let sum = row.iter().map(|z| z.exp()).sum::<f64>().ln();
            let mean = row.iter().map(|z| sum - z).sum::<f64>() / support::CLASSES as f64;
            expected += ((1.0 - smoothing) * (sum - row[label]) + smoothing * mean) / 12.0;
        }
        let report = learner.learn(batch, &mut Objective::Supervised, (0, 0), 1).unwrap();
        // f32 on one side, f64 on the other.
        assert!((report.loss - expected).abs() < 1e-6, "{smoothing}: {} {expected}", report.loss);
    }
}

/// Weights after one optimiser step over those batches, each with its share of the step.
fn stepped(experiment: &Experiment, objective: &mut Objective, batches: &[HostBatch]) -> TensorMap {
    let mut learner = Learner::new(experiment, objective).unwrap();
    for (index, batch) in batches.iter().enumerate() {
        learner.learn(batch, objective, (0, index), batches.len()).unwrap();
    }
    under("student.", &learner.update(0.1, None).0.snapshot())
}

#[test]
fn accumulated_batches_are_one_larger_batch() {
    let expert = support::expert();
    let experiment = experiment(SWIN, &format!("{STILL}{PLAIN_SGD}train = {{ batch_size = 6 }}"));
    let parts = &batches(&experiment, 0)[..4];
    let check = |objective: &mut Objective| {
        let together = stepped(&experiment, objective, &[support::joined(parts)]);
        let apart = stepped(&experiment, objective, parts);
        let start =
            weights::snapshot(&Network::new(experiment.model.as_ref().unwrap(), 0, &experiment.device));
        // Sums in another order: a few roundings of f32, against a step many thousand times as large.
        let (gap, step) = (distance(&together, &apart), distance(&together, &start));
        assert!(gap < 1e-6 && step > 1e-3, "{}: gap {gap}, step {step}", objective.name());
    };
    check(&mut Objective::Supervised);
    let (method, mut teacher) = (method("kd"), live(&expert, &experiment));
    check(&mut Objective::Distilled { teacher: &mut teacher, method: &method });
}

#[test]
fn the_last_group_of_an_epoch_is_averaged_over_its_true_size() {
    let train = "train = { epochs = 2, batch_size = 9, accumulate = 3 }";
    let experiment = experiment(SWIN, &format!("{PLAIN_SGD}{train}"));
    let fitted = fit(&experiment, &mut Objective::Supervised, None, &mut ()).unwrap();
    let mut learner = Learner::new(&experiment, &Objective::Supervised).unwrap();
    for epoch in 0..2 {
        // 48 samples in batches of 9: five, in groups of three and two.
        let all = batches(&experiment, epoch);
        assert_eq!(all.len(), 5);
        for group in all.chunks(3) {
            let batch = support::joined(group);
            learner.learn(&batch, &mut Objective::Supervised, (epoch, 0), 1).unwrap();
            learner = learner.update(0.1, None).0;
        }
    }
    assert_eq!(fitted.history.steps, 4);
    let expected = weights::snapshot(&learner.exported());
    let gap = distance(&weights::snapshot(&fitted.network), &expected);
    // Roundings, carried through four steps.
    assert!(gap < 1e-5, "gap {gap}");
}

#[test]
fn averaged_weights_follow_the_recurrence_and_are_what_is_exported() {
    let decay = 0.8;
    let train = format!("train = {{ epochs = 1, batch_size = 16, ema_decay = {decay} }}");
    let experiment = experiment(RESNET, &format!("{STILL}{train}"));
    let mut learner = Learner::new(&experiment, &Objective::Supervised).unwrap();
    let mut mean = under("student.", &learner.snapshot());
    for (index, batch) in batches(&experiment, 0).iter().enumerate() {
        learner.learn(batch, &mut Objective::Supervised, (0, index), 1).unwrap();
        learner = learner.update(0.05, None).0;
        let now = under("student.", &learner.snapshot());
        for (name, mean) in &mut mean {
            for (mean, now) in mean.values.iter_mut().zip(&now[name].values) {
                *mean = (decay * f64::from(*mean) + (1.0 - decay) * f64::from(*now)) as f32;
            }
        }
        let averaged = under("ema.", &learner.snapshot());
        // Roundings of f32 against f64; the weights and statistics are of the size of 1.
        let gap = distance(&averaged, &mean);
        assert!(gap < 1e-6, "step {index}: gap {gap}");
        assert!(distance(&averaged, &now) > 1e-3, "step {index}: the average is the present");
        assert_eq!(bits_of(&learner.exported()), bits(&averaged));
    }
    let folder = tempfile::tempdir().unwrap();
    let resolved = support::resolve(RESNET, &format!("{STILL}{train}"));
    let run = RunFolder::create(folder.path(), &resolved, &experiment, &Objective::Supervised).unwrap();
    let fitted = fit(&experiment, &mut Objective::Supervised, Some(&run), &mut ()).unwrap();
    let checkpoint = run.checkpoints().newest::<History>().unwrap().unwrap().tensors;
    let averaged = bits(&under("ema.", &checkpoint));
    assert_ne!(averaged, bits(&under("student.", &checkpoint)));
    assert_eq!(bits_of(&fitted.network), averaged);
    for path in [run.last(), run.best()] {
        assert_eq!(bits_of(&export::load(&path, &experiment.device).unwrap().network), averaged);
    }
}

#[test]
fn clipping_bounds_the_common_norm_of_student_and_heads() {
    let expert = support::expert();
    let experiment = experiment(RESNET, &format!("{PLAIN_SGD}train = {{ batch_size = 24 }}"));
    let batch = &batches(&experiment, 0)[0];
    let method = method("hcd");
    // With plain SGD a step is lr · gradient, and so tells the gradient that was used.
    let gradient_norm = |clip: Option<f64>| {
        let mut teacher = live(&expert, &experiment);
        let mut objective = Objective::Distilled { teacher: &mut teacher, method: &method };
        let mut learner = Learner::new(&experiment, &objective).unwrap();
        learner.learn(batch, &mut objective, (0, 0), 1).unwrap();
        // Statistics move with the forward pass, not with the step.
        let before = learner.snapshot();
        let (learner, told) = learner.update(1.0, clip);
        let after = learner.snapshot();
        let mut squares = [0.0; 2];
        for (part, prefix) in ["student.", "heads."].into_iter().enumerate() {
            let (before, after) = (under(prefix, &before), under(prefix, &after));
            for (name, tensor) in before.iter() {
                let moved = tensor.values.iter().zip(&after[name].values);
                squares[part] += moved.map(|(b, a)| f64::from(b - a).powi(2)).sum::<f64>();
            }
        }
        assert!(squares[0] > 0.0 && squares[1] > 0.0, "both move: {squares:?}");
        (squares.iter().sum::<f64>().sqrt(), told)
    };
    // 1e-3: differences of weights in f32.
    let near = |found: f64, expected: f64| (found - expected).abs() < 1e-3 * expected;
    let (free, told) = gradient_norm(None);
    assert_eq!(told, None);
    let (clipped, told) = gradient_norm(Some(free / 4.0));
    assert!(near(clipped, free / 4.0) && near(told.unwrap(), free), "{free}: {clipped}, {told:?}");
    let (loose, told) = gradient_norm(Some(free * 4.0));
    assert!(near(loose, free) && near(told.unwrap(), free), "{free}: {loose}, {told:?}");
    let mean = "train = { epochs = 1, batch_size = 24, clip_norm = 1e-3 }";
    let experiment = support::experiment(RESNET, &format!("{PLAIN_SGD}{mean}"));
    let fitted = fit(&experiment, &mut Objective::Supervised, None, &mut ()).unwrap();
    assert!(fitted.history.epochs[0].gradient_norm.unwrap() > 1e-2);
}
