//! Step 6, learning: from an [`Experiment`] and an [`Objective`] to trained weights.
//!
//! [`fit`] is the loop, [`Learner`] one batch of it, [`checkpoint`] what survives a kill.

mod ask;
pub mod checkpoint;
mod ema;
mod experiment;
mod finetune;
mod fit;
mod history;
mod optimizer;
mod preflight;
mod probe;
mod run;
mod schedule;
mod step;

pub use ask::ask;
pub use ema::Ema;
pub use experiment::{Experiment, Initial};
pub use finetune::FinetuneConfig;
pub use fit::{Fitted, Observer, Progress, fit, fit_own};
pub use history::{Best, EpochRecord, History, TermRecord};
pub use optimizer::{GradientMap, Optimizer, OptimizerConfig, clip_global_norm};
pub use preflight::{
    inspect_folder, inspect_precision, inspect_room, inspect_space, inspect_start, inspect_teacher,
    inspect_writable,
};
pub use probe::{Probe, StageCosines, TermGradient};
pub use run::{About, RunFolder};
pub use schedule::{Per, ScheduleConfig};
pub use step::{Learner, StepReport};

use crate::methods::Design;
use crate::teacher::Teacher;

/// What a network learns from. A distillation without a teacher cannot be written.
pub enum Objective<'a> {
    /// Labels alone.
    Supervised,
    /// Labels, and a teacher by a method.
    Distilled {
        /// The frozen expert.
        teacher: &'a mut dyn Teacher,
        /// How it teaches.
        method: &'a dyn Design,
    },
}

impl<'a> Objective<'a> {
    /// The method's name, "scratch" where there is none.
    pub fn name(&self) -> &'static str {
        match self {
            Objective::Supervised => "scratch",
            Objective::Distilled { method, .. } => method.name(),
        }
    }

    /// What the teacher knows, as a [fingerprint](Teacher::fingerprint); none where there is no teacher or it cannot be told.
    pub fn teacher_fingerprint(&self) -> Option<String> {
        match self {
            Objective::Supervised => None,
            Objective::Distilled { teacher, .. } => teacher.fingerprint(),
        }
    }
}
