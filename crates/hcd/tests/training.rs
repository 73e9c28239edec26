//! Learning: what one batch, one step and one run do to weights, and what they leave alone.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use hcd::Error;
use hcd::burn::tensor::{Tensor, TensorData};
use hcd::data::HostBatch;
use hcd::eval;
use hcd::export;
use hcd::models::weights::{self, TensorMap};
use hcd::models::{Backbone, Network, Parameters, Pass};
use hcd::teacher::{Live, Recorded, Teacher, TeacherOutput, ViewKey};
use hcd::train::{Experiment, History, Learner, Objective, Observer, Progress, RunFolder, StepReport, fit};
use std::collections::BTreeSet;
use support::{RESNET, SWIN, batches, bits, bits_of, distance, experiment, live, method, under};

const STILL: &str = "data = { path = 'in memory' }\n";
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

/// Watches without stopping anything.
#[derive(Default)]
struct Watch {
    batches: Vec<Progress>,
    epochs: usize,
}

impl Observer for Watch {
    fn progress(&mut self, progress: Progress) {
        self.batches.push(progress);
    }

    fn epoch(&mut self, history: &History) {
        self.epochs += 1;
        assert_eq!(history.epochs.len(), self.epochs);
    }
}

#[test]
fn a_whole_run_learns_the_classes_with_and_without_a_teacher() {
    let expert = support::expert();
    let experiment = experiment(
        RESNET,
        "data = { path = 'in memory', views = { horizontal_flip = 0.5 } }\n\
         train = { epochs = 12, batch_size = 10, clip_norm = 5 }\noptimizer = { name = 'sgd', lr = 0.01 }\n\
         schedule = { name = 'cosine', per = 'step' }",
    );
    let check = |objective: &mut Objective, heads: bool, terms: usize| {
        let mut watch = Watch::default();
        let fitted = fit(&experiment, objective, None, &mut watch).unwrap();
        let name = objective.name();
        // 48 samples in batches of 10: 8 are dropped in each epoch.
        assert_eq!((watch.batches.len(), watch.epochs, fitted.history.steps), (48, 12, 48), "{name}");
        let places: Vec<_> = watch.batches.iter().map(|p| (p.done, p.total, p.epoch, p.epochs)).collect();
        assert_eq!((places[0], places[4], places[47]), ((1, 48, 1, 12), (5, 48, 2, 12), (48, 48, 12, 12)));
        let last = fitted.history.epochs.last().unwrap();
        assert_eq!((last.epoch, last.terms.len(), last.gradient_norm.is_some()), (12, terms, true), "{name}");
        assert!(last.loss < fitted.history.epochs[0].loss, "{name}");
        let validation = last.validation.as_ref().unwrap();
        assert!(validation.top1 > 90.0, "{name}: {} %", validation.top1);
        assert_eq!(fitted.head_parameters > 0, heads, "{name}");
        // What is reported of the last epoch is what its network does.
        let Experiment { validation: held_out, normalization, device, .. } = &experiment;
        let again =
            eval::evaluate(&fitted.network, held_out.as_ref().unwrap(), normalization, device, &mut |_| {});
        assert_eq!(&again.unwrap(), validation, "{name}");
        // And () may watch.
        let silent = fit(&experiment, objective, None, &mut ()).unwrap();
        assert_eq!(bits_of(&silent.network), bits_of(&fitted.network), "{name}: same run, other weights");
    };
    check(&mut Objective::Supervised, false, 1);
    for (name, heads, terms) in [("kd", false, 2), ("hcd", true, 5)] {
        let (method, mut teacher) = (method(name), live(&expert, &experiment));
        check(&mut Objective::Distilled { teacher: &mut teacher, method: &method }, heads, terms);
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
        let start = weights::snapshot(&Network::new(&experiment.model, 0, &experiment.device));
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
    let run =
        RunFolder::create(folder.path(), &support::resolve(RESNET, &format!("{STILL}{train}")), &experiment);
    let run = run.unwrap();
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

#[test]
fn a_distillation_leaves_the_teacher_as_it_was() {
    let expert = support::expert();
    // A CNN as well: its statistics would move in training mode.
    let lesson = experiment(RESNET, "train = { epochs = 1, batch_size = 16 }");
    let fitted = fit(&lesson, &mut Objective::Supervised, None, &mut ()).unwrap();
    let cnn = export::Loaded { network: fitted.network, card: lesson.card("a CNN".to_owned()) };
    let pupil = experiment(RESNET, "seed = 1\ntrain = { epochs = 2, batch_size = 16, ema_decay = 0.5 }");
    for expert in [expert, cnn] {
        let before = bits_of(&expert.network);
        let (method, mut teacher) = (method("hcd"), Live::new(expert, &pupil.normalization, &pupil.device));
        fit(&pupil, &mut Objective::Distilled { teacher: &mut teacher, method: &method }, None, &mut ())
            .unwrap();
        assert_eq!(bits_of(teacher.network()), before);
    }
}

/// Notes what it is asked.
struct Spy {
    inner: Live,
    asked: Vec<(ViewKey, HostBatch)>,
}

impl Teacher for Spy {
    fn answer(&mut self, batch: &HostBatch, views: ViewKey) -> hcd::Result<TeacherOutput> {
        self.asked.push((views, batch.clone()));
        self.inner.answer(batch, views)
    }

    fn width(&self) -> usize {
        self.inner.width()
    }
}

#[test]
fn methods_start_from_the_same_student_and_see_the_same_views() {
    let expert = support::expert();
    let experiment = experiment(RESNET, "seed = 3\ntrain = { epochs = 2, batch_size = 16 }");
    let start = Learner::new(&experiment, &Objective::Supervised).unwrap().snapshot();
    let plain = weights::snapshot(&Network::new(&experiment.model, 3, &experiment.device));
    assert_eq!(bits(&under("student.", &start)), bits(&plain));
    let mut seen = Vec::new();
    for name in ["kd", "hcd"] {
        let method = method(name);
        let mut spy = Spy { inner: live(&expert, &experiment), asked: Vec::new() };
        let mut objective = Objective::Distilled { teacher: &mut spy, method: &method };
        let learner = Learner::new(&experiment, &objective).unwrap();
        assert_eq!(bits(&under("student.", &learner.snapshot())), bits(&plain), "{name}");
        fit(&experiment, &mut objective, None, &mut ()).unwrap();
        seen.push(spy.asked);
    }
    assert_eq!(seen[0].len(), 6);
    assert!(seen[0] == seen[1], "kd and hcd saw other views");
    let of = |epoch: u64| batches(&experiment, epoch).into_iter().map(move |batch| (epoch, batch));
    let expected: Vec<_> = of(0).chain(of(1)).collect();
    let asked: Vec<_> = seen[0].iter().map(|(key, batch)| (key.epoch, batch.clone())).collect();
    assert!(asked == expected, "the teacher saw other views than the student");
    assert!(seen[0].iter().all(|(key, _)| key.seed == 3));
}

#[test]
fn a_recorded_teacher_says_what_a_live_one_says_and_looks_once() {
    let expert = support::expert();
    let experiment = experiment(RESNET, "train = { epochs = 2, batch_size = 10 }");
    let mut direct = live(&expert, &experiment);
    let mut recorded = Recorded::new(live(&expert, &experiment), usize::MAX);
    let answer = |output: TeacherOutput| {
        let bits = |tensor: Tensor<2>| tensor.into_data().iter::<f32>().map(f32::to_bits).collect();
        (bits(output.penultimate), bits(output.logits))
    };
    for round in 0..2 {
        for epoch in 0..2 {
            let key = ViewKey { seed: 0, epoch };
            for batch in batches(&experiment, epoch) {
                let expected: (Vec<u32>, Vec<u32>) = answer(direct.answer(&batch, key).unwrap());
                assert_eq!(answer(recorded.answer(&batch, key).unwrap()), expected, "round {round}");
            }
        }
        assert_eq!(recorded.asked(), 80, "round {round}: 2 epochs of 4 batches of 10");
    }
    assert_eq!(recorded.width(), direct.width());
    let method = method("hcd");
    let trained = |teacher: &mut dyn Teacher| {
        let fitted = fit(&experiment, &mut Objective::Distilled { teacher, method: &method }, None, &mut ());
        bits_of(&fitted.unwrap().network)
    };
    assert_eq!(trained(&mut recorded), trained(&mut direct));
    assert_eq!(recorded.asked(), 80);
    recorded.clear();
    let first = &batches(&experiment, 0)[0];
    recorded.answer(first, ViewKey { seed: 0, epoch: 0 }).unwrap();
    assert_eq!(recorded.asked(), 90);
}

#[test]
fn heads_are_checkpointed_and_never_exported() {
    let expert = support::expert();
    let text = "train = { epochs = 1, batch_size = 16, ema_decay = 0.9 }";
    let experiment = experiment(RESNET, text);
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(folder.path(), &support::resolve(RESNET, text), &experiment).unwrap();
    let (method, mut teacher) = (method("hcd"), live(&expert, &experiment));
    let mut objective = Objective::Distilled { teacher: &mut teacher, method: &method };
    let fitted = fit(&experiment, &mut objective, Some(&run), &mut ()).unwrap();
    let plain: BTreeSet<String> = Network::new(&experiment.model, 0, &experiment.device)
        .named()
        .into_iter()
        .map(|tensor| tensor.name)
        .collect();
    for path in [run.last(), run.best()] {
        let (tensors, card) = weights::read::<export::Card>(&path).unwrap();
        assert_eq!(tensors.into_keys().collect::<BTreeSet<_>>(), plain);
        let card = card.unwrap();
        assert_eq!((card.model.as_str(), &card.config), ("resnet10_small", &experiment.model));
        assert_eq!((card.classes.len(), &card.normalization), (3, &experiment.normalization));
        assert!(card.run.starts_with("hcd, seed 0"), "{}", card.run);
    }
    let tensors = run.checkpoints().newest::<History>().unwrap().unwrap().tensors;
    let names = |prefix: &str| under(prefix, &tensors).into_keys().collect::<BTreeSet<_>>();
    assert_eq!((names("student."), names("ema.")), (plain.clone(), plain));
    let heads = names("heads.");
    assert!(heads.iter().any(|name| name.contains("projector")), "{heads:?}");
    assert!(heads.iter().any(|name| name.contains("feature_mapper")), "{heads:?}");
    let learned = |name: &&String| !name.contains("running_");
    let sizes =
        under("heads.", &tensors).into_iter().filter(|(name, _)| learned(&name)).map(|(_, t)| t.values.len());
    assert_eq!(sizes.sum::<usize>(), fitted.head_parameters);
    // The optimiser moves all of them.
    assert_eq!(names("optimizer.first.heads.").len(), heads.iter().filter(learned).count());
}

#[test]
fn the_best_epoch_is_the_earliest_of_the_best_on_validation_data() {
    let run_of = |epochs: u64| {
        let text = format!(
            "{STILL}train = {{ epochs = {epochs}, batch_size = 16 }}\noptimizer = {{ name = 'sgd', lr = 0.03 }}\n\
             schedule = {{ name = 'step', milestones = [] }}"
        );
        let experiment = experiment(RESNET, &text);
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::create(folder.path(), &support::resolve(RESNET, &text), &experiment).unwrap();
        let fitted = fit(&experiment, &mut Objective::Supervised, Some(&run), &mut ()).unwrap();
        let best = export::load(&run.best(), &experiment.device).unwrap();
        assert_eq!(run.metrics().unwrap(), fitted.history.epochs);
        (fitted, best)
    };
    let (fitted, best) = run_of(12);
    let top1: Vec<f64> =
        fitted.history.epochs.iter().map(|epoch| epoch.validation.as_ref().unwrap().top1).collect();
    let highest = top1.iter().copied().fold(0.0, f64::max);
    let expected = top1.iter().position(|&top1| top1 == highest).unwrap() as u64 + 1;
    let chosen = fitted.history.best.unwrap();
    assert_eq!((chosen.epoch, chosen.top1), (expected, highest));
    // The run must have a tie and a worse start, or it shows nothing.
    assert!(top1.iter().filter(|&&top1| top1 == highest).count() > 1 && expected > 1, "{top1:?}");
    assert!(best.card.run.contains(&format!("best epoch {expected} ")), "{}", best.card.run);
    // With a constant rate, a run of so many epochs ends with the weights that were chosen.
    assert_eq!(bits_of(&run_of(expected).0.network), bits_of(&best.network));
}

#[test]
fn without_held_out_data_no_epoch_is_chosen() {
    let text = "data = { path = 'in memory', validation = 0 }\ntrain = { epochs = 1, batch_size = 16 }";
    let experiment = experiment(RESNET, text);
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(folder.path(), &support::resolve(RESNET, text), &experiment).unwrap();
    let fitted = fit(&experiment, &mut Objective::Supervised, Some(&run), &mut ()).unwrap();
    assert_eq!((fitted.history.best, &fitted.history.epochs[0].validation), (None, &None));
    assert!(run.last().exists() && !run.best().exists());
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_says_where() {
    let rate = "optimizer = { name = 'sgd', lr = 1e30 }\nschedule = { name = 'step', milestones = [] }\n";
    let message = |train: &str| {
        let experiment = experiment(RESNET, &format!("{rate}{train}"));
        let error = fit(&experiment, &mut Objective::Supervised, None, &mut ()).unwrap_err();
        assert!(matches!(error, Error::Run(_)), "{error:?}");
        error.to_string()
    };
    let early = message("train = { epochs = 2, batch_size = 16 }");
    assert!(early.contains("in epoch 1, batch 2: lower optimizer.lr"), "{early}");
    // The last step of an epoch breaks the weights: validation is the first to see it.
    let late = message("train = { epochs = 1, batch_size = 48 }");
    assert!(late.contains("validation loss is") && late.contains("after epoch 1"), "{late}");
}
