//! What a comparison will take, from some measured steps.

use crate::command::compare::Pair;
use crate::{output, session};
use hcd::config::Lesson;
use hcd::data::{Dataset, HostBatch, Subset};
use hcd::eval;
use hcd::teacher::{Recorded, Teacher};
use hcd::train::{Experiment, Learner, Objective, ask};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

/// Steps that are timed, behind one that is not.
const STEPS: usize = 3;
/// Images that an evaluation is timed on, at most.
const IMAGES: usize = 512;

/// One row of the table.
struct Row {
    pair: Option<String>,
    method: String,
    step_seconds: f64,
    run_seconds: f64,
    runs: usize,
}

/// Measures each method with each pair, and prints what all seeds will take. Trains nothing that is kept.
pub fn tell(
    pairs: &[Pair],
    methods: &[Lesson],
    seeds: &[u64],
    leaves_out: bool,
    as_json: bool,
) -> anyhow::Result<()> {
    let (mut rows, mut teachers) = (Vec::new(), 0.0);
    for pair in pairs {
        let measured = Measured::new(&pair.experiment, methods)?;
        teachers += measured.answers * seeds.len() as f64;
        let mut taught = measured.teacher;
        for lesson in methods {
            let teacher = taught.as_deref_mut().map(|teacher| teacher as &mut dyn Teacher);
            match step_seconds(&pair.experiment, lesson, teacher, &measured.batches) {
                Ok(step) => {
                    let train = &pair.experiment.recipe.train;
                    let steps = pair.experiment.loader()?.batches_per_epoch() as f64;
                    let epoch = steps * step + measured.validation;
                    rows.push(Row {
                        pair: pair.name.clone(),
                        method: lesson.label.clone(),
                        step_seconds: step,
                        run_seconds: train.epochs as f64 * epoch + measured.test,
                        runs: seeds.len(),
                    });
                }
                Err(hcd::Error::Recipe(why)) if leaves_out => {
                    output::note(&format!("note: {} is left out: {why}", lesson.label));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    let total = teachers + rows.iter().map(|row| row.run_seconds * row.runs as f64).sum::<f64>();
    if as_json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({
                    "pair": row.pair, "method": row.method, "step_seconds": row.step_seconds,
                    "run_seconds": row.run_seconds, "runs": row.runs,
                })
            })
            .collect();
        return output::json(&json!({ "cells": rows, "teacher_seconds": teachers, "seconds": total }));
    }
    let table: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                row.pair.clone().unwrap_or_default(),
                row.method.clone(),
                format!("{:.1}", row.step_seconds * 1e3),
                time(row.run_seconds),
                row.runs.to_string(),
                time(row.run_seconds * row.runs as f64),
            ]
        })
        .collect();
    output::table(&["pair", "method", "ms a step", "a run", "runs", "all runs"], &table);
    output::line(&format!(
        "{} in all, of which the teachers look at their views for {}; measured on {STEPS} steps of each method, now",
        time(total),
        time(teachers)
    ));
    Ok(())
}

/// What the methods of a pair share.
struct Measured {
    batches: Vec<HostBatch>,
    teacher: Option<Box<dyn Teacher>>,
    /// Seconds that the teacher takes for all views of one seed, whatever a cache holds of them.
    answers: f64,
    /// Seconds of looking at the held-out images, and at the test images.
    validation: f64,
    test: f64,
}

impl Measured {
    fn new(experiment: &Experiment, methods: &[Lesson]) -> anyhow::Result<Self> {
        let recipe = &experiment.recipe;
        let loader = experiment.loader()?;
        let batches = loader.epoch(0, 0).take(1 + STEPS).collect::<hcd::Result<Vec<_>>>()?;
        let (mut teacher, mut answers): (Option<Box<dyn Teacher>>, f64) = (None, 0.0);
        let taught = methods.iter().any(|lesson| lesson.method.is_some());
        if let Some(given) = session::given_teacher(experiment, &[recipe.seed])?.filter(|_| taught) {
            teacher = Some(Box::new(given));
        } else if taught {
            let live = session::live_teacher(experiment, session::load_teacher(experiment)?)?;
            let mut recorded = Recorded::new(live, usize::MAX);
            let batch = seconds_each(&batches, |index, batch| {
                ask(&mut recorded, batch, loader.policy(), recipe.seed, (0, index), false).map(drop)
            })?;
            let views = experiment.view_numbers(recipe.seed).len();
            answers = batch * loader.batches_per_epoch() as f64 * views as f64;
            teacher = Some(Box::new(recorded));
        }
        let test = evaluation_seconds(experiment, &experiment.test)?;
        let validation = match &experiment.validation {
            Some(held_out) => evaluation_seconds(experiment, held_out)?,
            None => 0.0,
        };
        Ok(Self { batches, teacher, answers, validation, test })
    }
}

/// Seconds that looking at a part takes, from some of its images.
fn evaluation_seconds(experiment: &Experiment, part: &Arc<dyn Dataset>) -> anyhow::Result<f64> {
    let count = part.len().min(IMAGES);
    let some: Arc<dyn Dataset> = Arc::new(Subset::new(part.clone(), (0..count).collect())?);
    let network = Learner::new(experiment, &Objective::Supervised)?.exported();
    let began = Instant::now();
    eval::evaluate(&network, &some, &experiment.normalization, &experiment.device, &mut |_| {})?;
    Ok(began.elapsed().as_secs_f64() * part.len() as f64 / count.max(1) as f64)
}

/// Seconds of a step whose teacher has answered already.
fn step_seconds(
    experiment: &Experiment,
    lesson: &Lesson,
    teacher: Option<&mut dyn Teacher>,
    batches: &[HostBatch],
) -> hcd::Result<f64> {
    let mut objective = match (&lesson.method, teacher) {
        (Some(method), Some(teacher)) => Objective::Distilled { teacher, method },
        _ => Objective::Supervised,
    };
    let recipe = &experiment.recipe;
    let mut learner = Some(Learner::new(experiment, &objective)?);
    seconds_each(batches, |index, batch| {
        if let Some(mut taught) = learner.take() {
            taught.learn(batch, &mut objective, (0, index), 1)?;
            learner = Some(taught.update(recipe.optimizer.lr(), recipe.train.clip_norm).0);
        }
        Ok(())
    })
}

/// Seconds that `job` takes a batch, the first one left out.
fn seconds_each(
    batches: &[HostBatch],
    mut job: impl FnMut(usize, &HostBatch) -> hcd::Result<()>,
) -> hcd::Result<f64> {
    let mut began = Instant::now();
    for (index, batch) in batches.iter().enumerate() {
        if index == 1 {
            began = Instant::now();
        }
        job(index, batch)?;
    }
    Ok(began.elapsed().as_secs_f64() / (batches.len().max(2) - 1) as f64)
}

/// Seconds as people say them.
fn time(seconds: f64) -> String {
    match seconds {
        _ if seconds < 90.0 => format!("{seconds:.0} s"),
        _ if seconds < 5400.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}
