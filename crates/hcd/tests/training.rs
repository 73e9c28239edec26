//! Whole runs: what is learned, which epoch is chosen, and how a run that breaks ends.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use hcd::Error;
use hcd::eval;
use hcd::export;
use hcd::train::{Experiment, History, Objective, Observer, Progress, RunFolder, fit};
use support::{RESNET, STILL, bits_of, experiment, live, method};

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
fn the_best_epoch_is_the_earliest_of_the_best_on_validation_data() {
    let run_of = |epochs: u64| {
        let text = format!(
            "{STILL}train = {{ epochs = {epochs}, batch_size = 16 }}\noptimizer = {{ name = 'sgd', lr = 0.03 }}\n\
             schedule = {{ name = 'step', milestones = [] }}"
        );
        let experiment = experiment(RESNET, &text);
        let folder = tempfile::tempdir().unwrap();
        let resolved = support::resolve(RESNET, &text);
        let run = RunFolder::create(folder.path(), &resolved, &experiment, &Objective::Supervised).unwrap();
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
    let resolved = support::resolve(RESNET, text);
    let run = RunFolder::create(folder.path(), &resolved, &experiment, &Objective::Supervised).unwrap();
    let fitted = fit(&experiment, &mut Objective::Supervised, Some(&run), &mut ()).unwrap();
    assert_eq!((fitted.history.best, &fitted.history.epochs[0].validation), (None, &None));
    assert!(run.last().exists() && !run.best().exists());
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_says_where() {
    let message = |lr: f64, train: &str| {
        let rate = format!(
            "optimizer = {{ name = 'sgd', lr = {lr:e} }}\nschedule = {{ name = 'step', milestones = [] }}"
        );
        let experiment = experiment(RESNET, &format!("{rate}\n{train}"));
        let error = fit(&experiment, &mut Objective::Supervised, None, &mut ()).unwrap_err();
        assert!(matches!(error, Error::Diverged(_)), "{error:?}");
        error.to_string()
    };
    let early = message(1e30, "train = { epochs = 2, batch_size = 16 }");
    assert!(early.contains("in epoch 1, batch 2: lower optimizer.lr"), "{early}");
    // The last step of an epoch breaks the weights: validation is the first to see it.
    let late = message(1e30, "train = { epochs = 1, batch_size = 48 }");
    assert!(late.contains("validation loss is") && late.contains("after epoch 1"), "{late}");
    // And the weights themselves, where nothing is held out.
    let blind = "data = { path = 'in memory', validation = 0 }\ntrain = { epochs = 1, batch_size = 48 }";
    let unseen = message(1e39, blind);
    assert!(unseen.contains("are not numbers any more after epoch 1: lower optimizer.lr"), "{unseen}");
}
