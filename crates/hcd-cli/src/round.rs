//! All methods of a comparison under one seed: same initial weights, same views, and the teacher asked once.

use crate::cell::Cell;
use crate::{progress, session};
use hcd::config::{Lesson, Resolved};
use hcd::eval::{self, Split};
use hcd::export::Loaded;
use hcd::files;
use hcd::models::{Network, Parameters};
use hcd::report::{Entry, TeacherLine};
use hcd::teacher::{Live, Recorded, Teacher, ViewKey};
use hcd::train::{Experiment, Objective, RunFolder, inspect_space, inspect_start};
use std::path::Path;
use std::time::Instant;

const RECIPE: &str = "recipe.toml";

/// Most memory that a teacher's answers may take; beyond it the teacher looks at each batch anew.
const MOST_ANSWERS: usize = 1 << 30;

/// What the rounds of a comparison share.
pub struct Round<'a> {
    resolved: &'a Resolved,
    experiment: &'a Experiment,
    methods: &'a [Lesson],
    folder: &'a Path,
    split: Split,
    expert: Option<Expert>,
}

/// The teacher, and what is told of it.
struct Expert {
    teacher: Recorded,
    name: String,
    network: Network,
    seconds: Option<f64>,
    normalization: hcd::data::Normalization,
}

impl<'a> Round<'a> {
    /// Looks at the teacher, the methods and the disk before anything is trained, and begins the folder.
    pub fn new(
        resolved: &'a Resolved,
        experiment: &'a Experiment,
        methods: &'a [Lesson],
        folder: &'a Path,
    ) -> anyhow::Result<Self> {
        let taught = methods.iter().any(|lesson| lesson.method.is_some());
        let expert = match taught {
            true => Some(Expert::new(session::load_teacher(experiment)?, experiment)),
            false => None,
        };
        let split = resolved.recipe.compare.as_ref().map(|compare| compare.on).unwrap_or_default();
        let mut round = Self { resolved, experiment, methods, folder, split, expert };
        let mut learned = 0;
        for lesson in methods {
            learned += inspect_start(experiment, &round.objective(lesson))?;
        }
        let seeds = resolved.recipe.compare.as_ref().map_or(1, |compare| compare.seeds.len());
        inspect_space(folder, learned * seeds)?;
        files::create_folder(folder)?;
        files::write(&folder.join(RECIPE), resolved.to_toml()?.as_bytes())?;
        Ok(round)
    }

    /// Whether a comparison was begun in `folder`: it has a recipe, but is not itself a run.
    pub fn begun(folder: &Path) -> bool {
        folder.join(RECIPE).is_file() && !RunFolder::exists(folder)
    }

    fn objective<'b>(&'b mut self, lesson: &'b Lesson) -> Objective<'b> {
        match (&lesson.method, &mut self.expert) {
            (Some(method), Some(expert)) => Objective::Distilled { teacher: &mut expert.teacher, method },
            _ => Objective::Supervised,
        }
    }

    /// Runs every method with `seed`; a finished cell is read, an interrupted one goes on.
    pub fn run(&mut self, seed: u64) -> anyhow::Result<Vec<Entry>> {
        let mut resolved = self.resolved.clone();
        resolved.recipe.seed = seed;
        resolved.recipe.compare = None;
        let experiment = self.experiment.under(&resolved.recipe)?;
        if let Some(expert) = &mut self.expert {
            expert.teacher.clear();
        }
        let mut entries = Vec::new();
        for lesson in self.methods {
            resolved.recipe.method = lesson.method.clone();
            // A recipe with a teacher is one with a method.
            resolved.recipe.teacher =
                self.resolved.recipe.teacher.clone().filter(|_| lesson.method.is_some());
            let folder = self.folder.join(&lesson.label).join(format!("seed-{seed}"));
            let cell = Cell {
                label: &lesson.label,
                resolved: &resolved,
                experiment: &experiment,
                folder: &folder,
                split: self.split,
            };
            if let Some(entry) = cell.finished()? {
                entries.push(entry);
                continue;
            }
            if let Some(expert) = self.expert.as_mut().filter(|_| lesson.method.is_some()) {
                expert.prepare(&experiment)?;
            }
            entries.push(cell.run(&mut self.objective(lesson))?);
        }
        Ok(entries)
    }

    /// The teacher's own row, its accuracy on the images of the split among it.
    pub fn teacher_line(&self) -> anyhow::Result<Option<TeacherLine>> {
        let Some(expert) = &self.expert else { return Ok(None) };
        let images = self.experiment.images(self.split)?;
        let device = &self.experiment.device;
        let result = eval::evaluate(&expert.network, images, &expert.normalization, device, &mut |_| {})?;
        Ok(Some(TeacherLine {
            name: expert.name.clone(),
            top1: result.top1,
            parameters: expert.network.learned_count(),
            seconds: expert.seconds,
        }))
    }
}

impl Expert {
    fn new(loaded: Loaded, experiment: &Experiment) -> Self {
        let (name, network) = (loaded.card.model.clone(), loaded.network.clone());
        let normalization = loaded.card.normalization.clone();
        let live = Live::new(loaded, &experiment.normalization, &experiment.device);
        Self { teacher: Recorded::new(live, MOST_ANSWERS), name, network, seconds: None, normalization }
    }

    /// Has the teacher look at every view of the run once, where the answers fit in memory.
    fn prepare(&mut self, experiment: &Experiment) -> anyhow::Result<()> {
        let recipe = &experiment.recipe;
        let loader = experiment.loader()?;
        let batches = loader.batches_per_epoch() as u64 * recipe.train.epochs;
        let views = batches as usize * recipe.train.batch_size;
        if !self.teacher.has_room_for(views) {
            return Ok(());
        }
        let bar = progress::bar("teacher", batches);
        let (began, asked) = (Instant::now(), self.teacher.asked());
        for epoch in 0..recipe.train.epochs {
            for batch in loader.epoch(epoch, 0) {
                self.teacher.answer(&batch?, ViewKey { seed: recipe.seed, epoch })?;
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        if self.teacher.asked() > asked {
            *self.seconds.get_or_insert(0.0) += began.elapsed().as_secs_f64();
        }
        Ok(())
    }
}
