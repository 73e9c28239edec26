//! The loop: epochs of batches, validation after each, checkpoints on the way.
//!
//! Order of samples, views and dropout are functions of (seed, epoch, batch or sample), so a run that goes on
//! from a checkpoint computes what it would have computed without the stop, bit for bit.

use super::history::History;
use super::step::{Learner, StepReport, share};
use super::{Experiment, Objective, Probe, RunFolder};
use crate::data::TrainLoader;
use crate::error::{Error, Result};
use crate::eval::{self, Evaluation};
use crate::models::weights::{self, TensorMap};
use crate::models::{Backbone, Network};

/// Where a training stands, for those who watch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Batches done in the whole run.
    pub done: u64,
    /// Batches of the whole run.
    pub total: u64,
    /// The running epoch, counted from 1.
    pub epoch: u64,
    /// Epochs of the whole run.
    pub epochs: u64,
    /// Mean training loss of the running epoch so far.
    pub loss: f64,
}

/// Someone who watches a training. All have defaults that do nothing.
pub trait Observer {
    /// After each batch, and once at the start of a run that goes on from a checkpoint.
    fn progress(&mut self, _progress: Progress) {}
    /// After each epoch.
    fn epoch(&mut self, _history: &History) {}
    /// Something that people should know.
    fn notice(&mut self, _message: &str) {}
}

/// Nobody watches.
impl Observer for () {}

/// What a training leaves.
#[derive(Debug)]
pub struct Fitted<N = Network> {
    /// The network after the last epoch, on a plain device (averaged weights where averaging is on).
    pub network: N,
    /// What was seen on the way.
    pub history: History,
    /// How many numbers the method's heads learned.
    pub head_parameters: usize,
}

/// Trains. With a run folder, goes on from its newest checkpoint where it has one, saves checkpoints,
/// metrics, and the weights of the best and the last epoch.
///
/// # Errors
/// Where data cannot be read, the loss is no number, or the run folder cannot be written to.
pub fn fit(
    experiment: &Experiment,
    objective: &mut Objective,
    run: Option<&RunFolder>,
    observer: &mut dyn Observer,
) -> Result<Fitted> {
    let learner = Learner::new(experiment, objective)?;
    learn(learner, experiment, objective, run, observer)
}

/// The same with a network of one's own, which is on the experiment's device with autodiff; the recipe's student is
/// [`own`](crate::models::ModelSpec::OWN). Weights are saved under the paths in its module tree.
///
/// # Errors
/// As [`fit`].
pub fn fit_own<N: Backbone>(
    network: N,
    experiment: &Experiment,
    objective: &mut Objective,
    run: Option<&RunFolder>,
    observer: &mut dyn Observer,
) -> Result<Fitted<N>> {
    let learner = Learner::of(network, experiment, objective)?;
    learn(learner, experiment, objective, run, observer)
}

fn learn<N: Backbone>(
    mut learner: Learner<N>,
    experiment: &Experiment,
    objective: &mut Objective,
    run: Option<&RunFolder>,
    observer: &mut dyn Observer,
) -> Result<Fitted<N>> {
    let recipe = &experiment.recipe;
    let loader = experiment.loader()?;
    let mut history = History::default();
    if let Some(found) = run.map(|run| run.checkpoints().newest::<History>()).transpose()?.flatten() {
        found.damaged.iter().for_each(|line| observer.notice(&format!("{line}; using the one before it")));
        history = found.state;
        learner = learner.restore(&found.tensors, history.steps, experiment)?;
        // The checkpoint is the word on what was done; the file may have been cut since.
        run.map_or(Ok(()), |run| run.save_metrics(&history.epochs))?;
        observer.progress(progress(&history, &loader, recipe.train.epochs));
    }
    while (history.epochs.len() as u64) < recipe.train.epochs {
        learner = run_epoch(learner, &mut history, experiment, objective, &loader, run, observer)?;
    }
    let network = learner.exported();
    if let Some(run) = run {
        let note =
            format!("{}, seed {}, last epoch ({})", objective.name(), recipe.seed, recipe.train.epochs);
        run.save_last(&weights::snapshot(&network), experiment.card(note).as_ref())?;
    }
    Ok(Fitted { network, history, head_parameters: learner.head_count() })
}

fn run_epoch<N: Backbone>(
    mut learner: Learner<N>,
    history: &mut History,
    experiment: &Experiment,
    objective: &mut Objective,
    loader: &TrainLoader,
    run: Option<&RunFolder>,
    observer: &mut dyn Observer,
) -> Result<Learner<N>> {
    let recipe = &experiment.recipe;
    let train = &recipe.train;
    let (epoch, batches) = (history.epochs.len() as u64, loader.batches_per_epoch());
    let rate = |batch: usize| {
        let share = batch as f64 / batches as f64;
        recipe.schedule.lr(recipe.optimizer.lr(), epoch, share, train.epochs)
    };
    let mut probe = Probe::default();
    for batch in loader.epoch(epoch, history.batches) {
        let (batch, at) = (batch?, (epoch, history.batches));
        let share = share(history, train.accumulate, batches);
        let report: StepReport = learner.learn(&batch, objective, at, share)?;
        history.add(&report);
        if history.batches.is_multiple_of(train.accumulate) || history.batches == batches {
            let (updated, norm) = learner.update(rate(history.batches - share), train.clip_norm);
            learner = updated;
            history.steps += 1;
            norm.into_iter().for_each(|norm| history.add_norm(norm));
            let due = train.checkpoint_steps > 0 && history.steps.is_multiple_of(train.checkpoint_steps);
            if let Some(run) = run.filter(|_| due && history.batches < batches) {
                run.checkpoints().save(history.steps, &*history, &learner.snapshot())?;
            }
        }
        if history.batches == batches {
            (learner, probe) = learner.probe(&batch, epoch, train.gradient_norms)?;
        }
        observer.progress(progress(history, loader, train.epochs));
    }
    let network = learner.exported();
    let validation = validate(experiment, &network)?;
    let tensors = weights::snapshot(&network);
    if let Some(what) = broken(&tensors, validation.as_ref()) {
        return Err(Error::Diverged(format!(
            "{what} after epoch {}: lower optimizer.lr, or set train.clip_norm",
            epoch + 1
        )));
    }
    let better = history.finish_epoch(rate(batches - 1), validation, probe);
    if let Some(run) = run {
        if better {
            let note =
                format!("{}, seed {}, best epoch {} on validation", objective.name(), recipe.seed, epoch + 1);
            run.save_best(&tensors, experiment.card(note).as_ref())?;
        }
        run.save_metrics(&history.epochs)?;
        run.checkpoints().save(history.steps, &*history, &learner.snapshot())?;
    }
    observer.epoch(history);
    Ok(learner)
}

fn validate<N: Backbone>(experiment: &Experiment, network: &N) -> Result<Option<Evaluation>> {
    let evaluate = |dataset| {
        eval::evaluate(network, dataset, &experiment.normalization, &experiment.device, &mut |_| {})
    };
    experiment.validation.as_ref().map(evaluate).transpose()
}

/// What no longer is a number, where an epoch's last step broke the network: no later batch would tell.
fn broken(tensors: &TensorMap, validation: Option<&Evaluation>) -> Option<String> {
    if let Some(loss) = validation.map(|found| found.loss).filter(|loss| !loss.is_finite()) {
        return Some(format!("the validation loss is {loss}"));
    }
    let (name, _) = weights::first_odd(tensors)?;
    Some(format!("the weights `{name}` are not numbers any more"))
}

fn progress(history: &History, loader: &TrainLoader, epochs: u64) -> Progress {
    let batches = loader.batches_per_epoch() as u64;
    let finished = history.epochs.len() as u64;
    Progress {
        done: finished * batches + history.batches as u64,
        total: epochs * batches,
        epoch: (finished + 1).min(epochs),
        epochs,
        loss: history.running_loss(),
    }
}
