//! The folder of a run: resolved recipe, metrics, checkpoints, weights.
//!
//! | file | what |
//! |---|---|
//! | `recipe.toml` | the resolved recipe, every default written out |
//! | `run.json` | program version, threads, fingerprints of the training data and the teacher |
//! | `metrics.jsonl` | one line an epoch |
//! | `checkpoints/` | the two newest checkpoints |
//! | `student.safetensors` | weights after the last epoch |
//! | `student-best.safetensors` | weights of the epoch that did best on validation data |

use super::checkpoint::Checkpoints;
use super::history::EpochRecord;
use super::{Experiment, History, Objective};
use crate::config::{self, Recipe, Resolved};
use crate::error::{Error, Result};
use crate::export::{self, Card};
use crate::files;
use crate::models::weights::{self, Precision, TensorMap};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const RECIPE: &str = "recipe.toml";
const ABOUT: &str = "run.json";
const METRICS: &str = "metrics.jsonl";

/// What a run was started with, beside its recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Version of the program.
    pub version: String,
    /// Threads it computes with: results are the same bits only at the same number.
    pub threads: usize,
    /// Of the data that is learned from.
    pub data: String,
    /// Of the weights that the student began with, where they were not drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<String>,
    /// Of the teacher, where there is one and it can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
    /// Names of the classes.
    #[serde(default)]
    pub classes: Vec<String>,
}

/// The folder of one training.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Starts a run in a new folder, or an empty one.
    ///
    /// # Errors
    /// Where the folder has something in it already, or cannot be written to.
    pub fn create(
        path: &Path,
        resolved: &Resolved,
        experiment: &Experiment,
        objective: &Objective,
    ) -> Result<Self> {
        claim(path)?;
        let run = Self { path: path.to_owned() };
        run.write_json(ABOUT, &about(experiment, objective)?)?;
        // The recipe comes last: a folder that has one is a run that can be continued.
        files::write(&path.join(RECIPE), resolved.to_toml()?.as_bytes())?;
        Ok(run)
    }

    /// Opens the folder of a run that was started before, and its recipe.
    ///
    /// # Errors
    /// Where the folder is none of a run.
    pub fn open(path: &Path) -> Result<(Self, Recipe)> {
        if let Some(missing) = [RECIPE, ABOUT].into_iter().find(|name| !path.join(name).is_file()) {
            return Err(Error::Run(format!(
                "{}: not the folder of a run, {missing} is missing",
                path.display()
            )));
        }
        Ok((Self { path: path.to_owned() }, config::load(Some(&path.join(RECIPE)), &[])?.recipe))
    }

    /// Whether a run was started in `path`.
    pub fn exists(path: &Path) -> bool {
        path.join(RECIPE).is_file() && path.join(ABOUT).is_file()
    }

    /// Removes what a killed run was still writing: files without their name, checkpoints without their sum.
    ///
    /// # Errors
    /// Where the folder cannot be read, or such a file not be removed.
    pub fn remove_unfinished(&self) -> Result<()> {
        files::remove_unfinished(&self.path)?;
        self.checkpoints().remove_unfinished()
    }

    /// Makes sure that the run is of the data, the teacher and the weights that it began with. Gives what else differs, one line
    /// each.
    ///
    /// # Errors
    /// Where one of them differs.
    pub fn check_same(&self, experiment: &Experiment, objective: &Objective) -> Result<Vec<String>> {
        let (began, now) = (self.about()?, about(experiment, objective)?);
        let refuse = |what: &dyn std::fmt::Display| {
            let shown = self.path.display();
            Err(Error::Run(format!(
                "{shown}: {what} not what the run began with; name another folder with --out"
            )))
        };
        if began.data != now.data {
            let shown = experiment.recipe.data.path.display();
            return refuse(&format_args!("the training data at {shown} are"));
        }
        if began.initial != now.initial {
            return refuse(&"the weights of student.weights are");
        }
        // Runs of earlier versions do not tell.
        if let (Some(began), Some(now)) = (&began.teacher, &now.teacher)
            && began != now
        {
            return refuse(&"what the teacher knows is");
        }
        let mut notes = Vec::new();
        if began.threads != now.threads {
            notes.push(format!(
                "the run began with {} threads and goes on with {}: results may differ in the last bits",
                began.threads, now.threads
            ));
        }
        if began.version != now.version {
            notes.push(format!(
                "the run began with version {} and goes on with {}",
                began.version, now.version
            ));
        }
        Ok(notes)
    }

    /// What it was started with.
    ///
    /// # Errors
    /// Where that is missing or damaged.
    pub fn about(&self) -> Result<About> {
        let path = self.path.join(ABOUT);
        serde_json::from_str(&files::read_text(&path)?)
            .map_err(|e| Error::Run(format!("{}: not as written ({e})", path.display())))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its checkpoints.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.path.join("checkpoints"))
    }

    /// Weights after the last epoch.
    pub fn last(&self) -> PathBuf {
        self.path.join("student.safetensors")
    }

    /// Weights of the best epoch.
    pub fn best(&self) -> PathBuf {
        self.path.join("student-best.safetensors")
    }

    /// The finished epochs.
    ///
    /// # Errors
    /// Where the metrics are missing or damaged.
    pub fn metrics(&self) -> Result<Vec<EpochRecord>> {
        let path = self.path.join(METRICS);
        let line = |(index, text): (usize, &str)| {
            serde_json::from_str(text)
                .map_err(|e| Error::Run(format!("{}: line {}: {e}", path.display(), index + 1)))
        };
        files::read_text(&path)?.lines().enumerate().map(line).collect()
    }

    /// Writes a small file of JSON into the folder.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        files::write_json(&self.path.join(name), value)
    }

    pub(super) fn save_metrics(&self, epochs: &[EpochRecord]) -> Result<()> {
        let path = self.path.join(METRICS);
        let mut text = String::new();
        for epoch in epochs {
            let line = serde_json::to_string(epoch)
                .map_err(|e| Error::Run(format!("{}: cannot write: {e}", path.display())))?;
            text.push_str(&line);
            text.push('\n');
        }
        files::write(&path, text.as_bytes())
    }

    pub(super) fn save_last(&self, tensors: &TensorMap, card: Option<&Card>) -> Result<()> {
        save(&self.last(), tensors, card)
    }

    pub(super) fn save_best(&self, tensors: &TensorMap, card: Option<&Card>) -> Result<()> {
        save(&self.best(), tensors, card)
    }

    /// Where the run stands by its newest checkpoint.
    ///
    /// # Errors
    /// Where every checkpoint is damaged.
    pub fn history(&self) -> Result<Option<History>> {
        Ok(self.checkpoints().newest::<History>()?.map(|found| found.state))
    }
}

fn save(path: &Path, tensors: &TensorMap, card: Option<&Card>) -> Result<()> {
    match card {
        Some(card) => export::save(path, tensors, Precision::F32, card),
        None => weights::write(path, tensors, Precision::F32, &()),
    }
}

/// Makes `path` a folder of one's own.
///
/// # Errors
/// As [`vacant`], and where it cannot be made.
fn claim(path: &Path) -> Result<()> {
    vacant(path)?;
    files::create_folder(path)
}

/// Whether `path` is free for a run: not there, or empty but for what a run leaves that died before it began.
///
/// # Errors
/// Where it has something in it already.
pub(super) fn vacant(path: &Path) -> Result<()> {
    let counts = |name: &str| name != ABOUT && !files::is_unfinished(name);
    let mut entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    if entries.any(|entry| counts(&entry.file_name().to_string_lossy())) {
        let go_on = if RunFolder::exists(path) { "go on with it by --resume, or " } else { "" };
        return Err(Error::Run(format!(
            "{}: already there and not empty; {go_on}name another folder with --out",
            path.display()
        )));
    }
    Ok(())
}

fn about(experiment: &Experiment, objective: &Objective) -> Result<About> {
    Ok(About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        threads: rayon::current_num_threads(),
        data: experiment.fingerprint()?.to_owned(),
        initial: experiment.initial.as_ref().map(|initial| weights::fingerprint(&initial.tensors)),
        teacher: objective.teacher_fingerprint(),
        classes: experiment.classes().to_vec(),
    })
}
