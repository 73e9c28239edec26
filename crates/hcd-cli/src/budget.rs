//! What a comparison will take, from some measured steps.

use crate::command::compare::Pair;
use crate::{output, session};
use hcd::config::Lesson;
use hcd::data::{Dataset, HostBatch, Normalization, Subset};
use hcd::eval;
use hcd::models::Network;
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
        let mut measured = Measured::new(&pair.experiment, methods)?;
        teachers += measured.reference + measured.answers * seeds.len() as f64;
        for lesson in methods {
            match measured.run(pair, lesson, seeds.len()) {
                Ok(row) => rows.push(row),
                Err(hcd::Error::Recipe(why)) if leaves_out => {
                    output::note(&format!("note: {} is left out: {why}", lesson.label));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    match as_json {
        true => print_json(&rows, teachers),
        false => {
            print_table(&rows, teachers);
            Ok(())
        }
    }
}

fn total(rows: &[Row], teachers: f64) -> f64 {
    teachers + rows.iter().map(|row| row.run_seconds * row.runs as f64).sum::<f64>()
}

fn print_json(rows: &[Row], teachers: f64) -> anyhow::Result<()> {
    let cell = |row: &Row| {
        json!({
            "pair": row.pair, "method": row.method, "step_seconds": row.step_seconds,
            "run_seconds": row.run_seconds, "runs": row.runs,
        })
    };
    let cells: Vec<_> = rows.iter().map(cell).collect();
    output::json(&json!({ "cells": cells, "teacher_seconds": teachers, "seconds": total(rows, teachers) }))
}

fn print_table(rows: &[Row], teachers: f64) {
    let cells = |row: &Row| {
        vec![
            row.pair.clone().unwrap_or_default(),
            row.method.clone(),
            format!("{:.1}", row.step_seconds * 1e3),
            time(row.run_seconds),
            row.runs.to_string(),
            time(row.run_seconds * row.runs as f64),
        ]
    };
    let table: Vec<Vec<String>> = rows.iter().map(cells).collect();
    output::table(&["pair", "method", "ms a step", "a run", "runs", "all runs"], &table);
    output::line(&format!(
        "{} in all, of which the teachers look at their views, and at the images of the results, for {}; measured on {STEPS} \
         steps of each method, now",
        time(total(rows, teachers)),
        time(teachers)
    ));
}

/// What the methods of a pair share.
struct Measured {
    batches: Vec<HostBatch>,
    teacher: Option<Box<dyn Teacher>>,
    /// Seconds that the teacher takes for all views of one seed, whatever a cache holds of them; none where nothing keeps its
    /// answers, and each step asks anew.
    answers: f64,
    /// Seconds that it takes to look at the images of the results.
    reference: f64,
    /// Seconds that the student takes to look at the held-out images, and at those of the results.
    validation: f64,
    results: f64,
}

impl Measured {
    fn new(experiment: &Experiment, methods: &[Lesson]) -> anyhow::Result<Self> {
        let recipe = &experiment.recipe;
        let loader = experiment.loader()?;
        let batches = loader.epoch(0, 0).take(1 + STEPS).collect::<hcd::Result<Vec<_>>>()?;
        let (mut teacher, mut answers, mut reference): (Option<Box<dyn Teacher>>, _, _) = (None, 0.0, 0.0);
        let split = recipe.compare.as_ref().map(|compare| compare.on).unwrap_or_default();
        let taught = methods.iter().any(|lesson| lesson.method.is_some());
        if let Some(given) = session::given_teacher(experiment, &[recipe.seed])?.filter(|_| taught) {
            teacher = Some(Box::new(given));
        } else if taught {
            let loaded = session::load_teacher(experiment)?;
            let (network, normalization) = (loaded.network.clone(), loaded.card.normalization.clone());
            let images = experiment.as_taught(experiment.images(split)?)?;
            reference = evaluation_seconds(&network, &images, &normalization, experiment)?;
            let live = session::live_teacher(experiment, loaded)?;
            let cached = recipe.teacher.as_ref().is_some_and(|teacher| teacher.cache.is_some());
            // What files keep is remembered, however much; so are the few views of these batches in their place.
            let few = batches.iter().map(|batch| batch.ids.len()).sum();
            let mut recorded = Recorded::new(live, if cached { few } else { experiment.view_count() });
            let batch = seconds_each(&batches, |index, batch| {
                ask(&mut recorded, batch, loader.policy(), recipe.seed, (0, index), false).map(drop)
            })?;
            // Where nothing is remembered, it is part of each method's step.
            if recorded.remembers() {
                let views = experiment.view_numbers(recipe.seed).len();
                answers = batch * loader.batches_per_epoch() as f64 * views as f64;
            }
            teacher = Some(Box::new(recorded));
        }
        let student = Learner::new(experiment, &Objective::Supervised)?.exported();
        let look = |part| evaluation_seconds(&student, part, &experiment.normalization, experiment);
        let results = look(experiment.images(split)?)?;
        let validation = experiment.validation.as_ref().map_or(Ok(0.0), look)?;
        Ok(Self { batches, teacher, answers, reference, validation, results })
    }

    /// What a method takes with a pair.
    fn run(&mut self, pair: &Pair, lesson: &Lesson, runs: usize) -> hcd::Result<Row> {
        let experiment = &pair.experiment;
        let teacher = self.teacher.as_deref_mut().map(|teacher| teacher as &mut dyn Teacher);
        let step = step_seconds(experiment, lesson, teacher, &self.batches)?;
        let epoch = experiment.loader()?.batches_per_epoch() as f64 * step + self.validation;
        Ok(Row {
            pair: pair.name.clone(),
            method: lesson.label.clone(),
            step_seconds: step,
            // The chosen epoch's weights look at the images of the results, too.
            run_seconds: experiment.recipe.train.epochs as f64 * epoch + 2.0 * self.results,
            runs,
        })
    }
}

/// Seconds that a network takes to look at a part, from some of its images.
fn evaluation_seconds(
    network: &Network,
    part: &Arc<dyn Dataset>,
    normalization: &Normalization,
    experiment: &Experiment,
) -> hcd::Result<f64> {
    let count = part.len().min(IMAGES);
    let some: Arc<dyn Dataset> = Arc::new(Subset::new(part.clone(), (0..count).collect())?);
    let began = Instant::now();
    eval::evaluate(network, &some, normalization, &experiment.device, &mut |_| {})?;
    Ok(began.elapsed().as_secs_f64() * part.len() as f64 / count.max(1) as f64)
}

/// Seconds of a step; where the teacher's answers are kept, it has given them already.
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
