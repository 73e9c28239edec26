//! One training from start to result: run folder, fit, test figures, what lies behind them.

use crate::output;
use crate::progress::TrainingBar;
use hcd::config::{self, Recipe, Resolved};
use hcd::eval::{self, Reference, Split};
use hcd::export;
use hcd::files::{self, Hold};
use hcd::models::{Network, Parameters};
use hcd::report::{ChosenEpoch, Diverged, Entry, Outcome};
use hcd::train::{Experiment, Fitted, Objective, Observer, RunFolder, fit, inspect_space, inspect_start};
use hcd_kernels::counted;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::Path;

const RESULT: &str = "result.json";
const DIVERGED: &str = "diverged.json";
const TIMING: &str = "timing.json";
const INSIGHT: &str = "insight.json";

/// Wall-clock time and memory, apart from the metrics: it alone differs between a run and its resumption.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Timing {
    seconds: f64,
    /// The most memory that was allocated at once, in MiB.
    #[serde(default)]
    peak_mib: u64,
}

/// What a training came to.
#[derive(Debug, Clone)]
pub enum Ended {
    /// Its last epoch.
    Whole(Box<Entry>),
    /// What is no number any more.
    Diverged(Diverged),
}

impl Ended {
    /// Hash of its recipe.
    fn recipe(&self) -> &str {
        match self {
            Ended::Whole(entry) => &entry.outcome.recipe,
            Ended::Diverged(run) => &run.recipe,
        }
    }
}

/// Whether the run in a folder came to an end.
pub fn is_finished(folder: &Path) -> bool {
    [RESULT, DIVERGED].iter().any(|name| folder.join(name).is_file())
}

/// A run that has ended: its folder, its recipe, and what it came to.
pub struct Finished {
    pub run: RunFolder,
    pub recipe: Recipe,
    pub ended: Ended,
}

impl Finished {
    /// Reads it.
    ///
    /// # Errors
    /// Where its files are missing or damaged.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let (run, recipe) = RunFolder::open(folder)?;
        let path = folder.join(DIVERGED);
        if path.is_file() {
            return Ok(Self { run, recipe, ended: Ended::Diverged(read_json(&path)?) });
        }
        let outcome: Outcome = read_json(&folder.join(RESULT))?;
        let path = folder.join(INSIGHT);
        // Runs of earlier versions have none.
        let insight = path.is_file().then(|| read_json(&path)).transpose()?;
        let entry = Entry { outcome, epochs: run.metrics()?, insight };
        Ok(Self { run, recipe, ended: Ended::Whole(Box::new(entry)) })
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> hcd::Result<T> {
    serde_json::from_str(&files::read_text(path)?).map_err(|e| {
        let (shown, folder) = (path.display(), path.parent().unwrap_or(path).display());
        let what = format!("{shown}: not as written ({e}); remove {folder} to have that run made again");
        hcd::Error::Run(what)
    })
}

/// How it stands with a training.
pub enum Standing {
    /// It was finished before.
    Finished(Ended),
    /// It is to be begun or gone on with, by this process alone.
    Ours(Hold),
    /// Another process is at it.
    Theirs,
}

/// A training that has come to its end.
pub struct Trained {
    run: RunFolder,
    fitted: Fitted,
    seconds: f64,
    peak_mib: u64,
}

/// One training to do.
pub struct Cell<'a> {
    /// What it is called.
    pub label: &'a str,
    /// Its recipe.
    pub resolved: &'a Resolved,
    /// Its data and network.
    pub experiment: &'a Experiment,
    /// Its folder.
    pub folder: &'a Path,
    /// Which images its result is on.
    pub split: Split,
    /// The pair of teacher and student, where there are several.
    pub pair: Option<&'a str>,
}

impl Cell<'_> {
    /// Hash of the recipe.
    fn recipe(&self) -> hcd::Result<String> {
        Ok(files::hash(self.resolved.to_toml()?.as_bytes()))
    }

    /// Whether it was finished before, and whose it is if not. Looks whether it can begin before its folder is made.
    pub fn standing(&self, objective: &Objective) -> anyhow::Result<Standing> {
        if let Some(ended) = self.finished(objective)? {
            return Ok(Standing::Finished(ended));
        }
        // Only what is new is looked at; that takes longer than asking whose the others are.
        if self.folder.is_dir() && Hold::of(self.folder)?.is_none() {
            return Ok(Standing::Theirs);
        }
        let learned = inspect_start(self.experiment, objective)?;
        inspect_space(self.folder, learned)?;
        let Some(hold) = Hold::of(self.folder)? else { return Ok(Standing::Theirs) };
        // Another process may have come to its end just now.
        Ok(self.finished(objective)?.map_or(Standing::Ours(hold), Standing::Finished))
    }

    /// What it came to, where this very recipe was finished before, on the same data and by the same teacher.
    fn finished(&self, objective: &Objective) -> anyhow::Result<Option<Ended>> {
        if !is_finished(self.folder) {
            return Ok(None);
        }
        let Finished { run, recipe, ended } = Finished::read(self.folder)?;
        if ended.recipe() != self.recipe()? {
            self.check_recipe(&recipe)?;
        }
        run.check_same(self.experiment, objective)?;
        match &ended {
            Ended::Whole(entry) if entry.outcome.split != self.split => Err(hcd::Error::Run(format!(
                "{}: its result is on {} images, asked for are {} images; name another folder with --out",
                self.folder.display(),
                entry.outcome.split,
                self.split
            ))
            .into()),
            _ => Ok(Some(ended)),
        }
    }

    /// Whether the run in the folder began with this recipe.
    fn check_recipe(&self, began: &Recipe) -> hcd::Result<()> {
        match config::difference(began, &self.resolved.recipe)? {
            None => Ok(()),
            Some(what) => Err(hcd::Error::Run(format!(
                "{}: was run with another recipe ({what}); name another folder with --out",
                self.folder.display()
            ))),
        }
    }

    /// Begins the run, or goes on with the one in the folder, to the end of its training. The hold is to last until that is judged, or
    /// given up.
    pub fn train(&self, _: &Hold, objective: &mut Objective) -> anyhow::Result<Trained> {
        let run = if RunFolder::exists(self.folder) {
            let (run, recipe) = RunFolder::open(self.folder)?;
            self.check_recipe(&recipe)?;
            for note in run.check_same(self.experiment, objective)? {
                output::note(&format!("warning: {note}"));
            }
            run.remove_unfinished()?;
            run
        } else {
            RunFolder::create(self.folder, self.resolved, self.experiment, objective)?
        };
        counted::restart();
        let mut watch = Watch::new(self.label, &run);
        let fitted = fit(self.experiment, objective, Some(&run), &mut watch)?;
        let peak_mib = watch.peak_mib();
        let seconds = watch.finish();
        Ok(Trained { run, fitted, seconds, peak_mib })
    }

    /// Keeps that the training came to no end, and why.
    pub fn give_up(&self, what: String) -> anyhow::Result<Diverged> {
        let diverged = Diverged {
            name: self.label.to_owned(),
            pair: self.pair.map(str::to_owned),
            seed: self.experiment.recipe.seed,
            what,
            recipe: self.recipe()?,
        };
        files::write_json(&self.folder.join(DIVERGED), &diverged)?;
        Ok(diverged)
    }

    /// Looks at the images of the split, once: with the last epoch's weights, beside what the teacher said of them, and with
    /// the chosen one's.
    pub fn judge(&self, trained: Trained, teacher: Option<&Reference>) -> anyhow::Result<Entry> {
        let Trained { run, fitted, seconds, peak_mib } = trained;
        let Experiment { normalization, device, .. } = self.experiment;
        let images = self.experiment.images(self.split)?;
        let measure = |network: &Network| eval::evaluate(network, images, normalization, device, &mut |_| {});
        let (last, insight) = eval::examine(&fitted.network, images, normalization, device, teacher)?;
        let epochs = fitted.history.epochs.len() as u64;
        let chosen = match fitted.history.best {
            None => None,
            Some(best) => {
                let top1 = match best.epoch == epochs {
                    true => last.top1,
                    false => measure(&export::load(&run.best(), device)?.network)?.top1,
                };
                Some(ChosenEpoch { epoch: best.epoch, validation_top1: best.top1, top1 })
            }
        };
        let outcome = Outcome {
            name: self.label.to_owned(),
            pair: self.pair.map(str::to_owned),
            seed: self.experiment.recipe.seed,
            split: self.split,
            top1: last.top1,
            top5: last.top5,
            loss: last.loss,
            calibration_error: last.calibration_error,
            chosen,
            seconds,
            peak_mib: Some(peak_mib),
            epochs,
            parameters: fitted.network.learned_count(),
            head_parameters: fitted.head_parameters,
            recipe: self.recipe()?,
            left_out: self.experiment.left_out(),
        };
        run.write_json(INSIGHT, &insight)?;
        run.write_json(RESULT, &outcome)?;
        Ok(Entry { outcome, epochs: fitted.history.epochs, insight: Some(insight) })
    }
}

/// Watches a training and keeps its time and memory, over all its resumptions.
struct Watch<'a> {
    bar: TrainingBar,
    run: &'a RunFolder,
    before: Timing,
}

impl<'a> Watch<'a> {
    fn new(label: &str, run: &'a RunFolder) -> Self {
        let text = std::fs::read_to_string(run.path().join(TIMING)).unwrap_or_default();
        let before = serde_json::from_str(&text).unwrap_or_default();
        Self { bar: TrainingBar::new(label), run, before }
    }

    fn seconds(&self) -> f64 {
        self.before.seconds + self.bar.seconds()
    }

    fn peak_mib(&self) -> u64 {
        self.before.peak_mib.max(counted::peak_bytes() as u64 >> 20)
    }

    fn timing(&self) -> Timing {
        Timing { seconds: self.seconds(), peak_mib: self.peak_mib() }
    }

    fn finish(self) -> f64 {
        self.bar.finish();
        self.seconds()
    }
}

impl Observer for Watch<'_> {
    fn progress(&mut self, progress: hcd::train::Progress) {
        self.bar.progress(progress);
    }

    fn epoch(&mut self, history: &hcd::train::History) {
        self.bar.epoch(history);
        if let Err(error) = self.run.write_json(TIMING, &self.timing()) {
            self.bar.notice(&error.to_string());
        }
    }

    fn notice(&mut self, message: &str) {
        self.bar.notice(message);
    }
}
