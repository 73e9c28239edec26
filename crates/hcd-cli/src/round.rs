//! All methods of a comparison under one seed: same initial weights, same views, and the teacher asked once.

use crate::cell::{Cell, Ended, Standing};
use crate::{output, progress, publish, session};
use hcd::config::{self, Lesson, Recipe, Resolved};
use hcd::eval::{Reference, Split};
use hcd::export::Card;
use hcd::files::{self, Hold};
use hcd::models::{Network, Parameters};
use hcd::ops::with_precision;
use hcd::report::TeacherLine;
use hcd::teacher::{Cached, Given, Recorded, Teacher};
use hcd::train::{Experiment, Objective, RunFolder, ask, inspect_space, inspect_start};
use std::path::{Path, PathBuf};
use std::time::Instant;

const RECIPE: &str = "recipe.toml";

/// What the rounds of a comparison share.
pub struct Round<'a> {
    resolved: &'a Resolved,
    experiment: &'a Experiment,
    methods: Vec<Lesson>,
    folder: PathBuf,
    pair: Option<&'a str>,
    split: Split,
    expert: Option<Expert>,
    /// Methods that do not suit the two networks, and why.
    left_out: Vec<String>,
}

/// A teacher that looks at a view once, and remembers.
enum Answers {
    /// In memory, where they fit.
    Memory(Box<Recorded>),
    /// In files.
    Files(Box<Cached>),
    /// Given beforehand, by another framework's.
    Given(Box<Given>),
}

impl Answers {
    fn teacher(&mut self) -> &mut dyn Teacher {
        match self {
            Answers::Memory(recorded) => recorded.as_mut(),
            Answers::Files(cached) => cached.as_mut(),
            Answers::Given(given) => given.as_mut(),
        }
    }

    /// How many views the network itself has looked at.
    fn asked(&self) -> usize {
        match self {
            Answers::Memory(recorded) => recorded.asked(),
            Answers::Files(cached) => cached.counts()[0],
            Answers::Given(_) => 0,
        }
    }
}

/// The teacher, and what is told of it.
struct Expert {
    answers: Answers,
    /// The network itself and its file's card, where it is there to be asked.
    network: Option<(Network, Card)>,
    seconds: Option<f64>,
    /// The seed whose views it has answered for.
    prepared: Option<u64>,
    /// What the network says of the images that results are on.
    reference: Option<Reference>,
}

impl<'a> Round<'a> {
    /// Looks at the teacher, the methods and the disk before anything is trained. Methods that do not suit the two
    /// networks are an error, or, where `leaves_out`, left out and said so.
    pub fn new(
        resolved: &'a Resolved,
        experiment: &'a Experiment,
        methods: &[Lesson],
        folder: &Path,
        pair: Option<&'a str>,
        leaves_out: bool,
    ) -> anyhow::Result<Self> {
        let taught = methods.iter().any(|lesson| lesson.method.is_some());
        let compare = resolved.recipe.compare.as_ref();
        let seeds = compare.map_or_else(|| vec![resolved.recipe.seed], |compare| compare.seeds.clone());
        let expert = match taught {
            true => Some(Expert::new(experiment, &seeds)?),
            false => None,
        };
        let split = compare.map(|compare| compare.on).unwrap_or_default();
        let mut round = Self {
            resolved,
            experiment,
            methods: Vec::new(),
            folder: folder.to_owned(),
            pair,
            split,
            expert,
            left_out: Vec::new(),
        };
        let mut learned = 0;
        for lesson in methods {
            match inspect_start(experiment, &round.objective(lesson)) {
                Ok(numbers) => {
                    learned += numbers;
                    round.methods.push(lesson.clone());
                }
                Err(hcd::Error::Recipe(why)) if leaves_out => {
                    let of = pair.map_or(String::new(), |pair| format!("{pair}: "));
                    round.left_out.push(format!("note: {of}{} is left out: {why}", lesson.label));
                }
                Err(error) => return Err(error.into()),
            }
        }
        inspect_space(folder, learned * seeds.len())?;
        Ok(round)
    }

    /// Begins the folder, and tells which methods are left out.
    fn begin(&self) -> anyhow::Result<()> {
        self.left_out.iter().for_each(|note| output::note(note));
        begin(&self.folder, self.resolved)
    }

    /// Whether a comparison was begun in `folder`: it has a recipe, but is not itself a run.
    ///
    /// # Errors
    /// Where that is another comparison: its recipe says something else of what all cells share. Methods and seeds may be others.
    pub fn begun(folder: &Path, resolved: &Resolved) -> anyhow::Result<bool> {
        let path = folder.join(RECIPE);
        if !path.is_file() || RunFolder::exists(folder) {
            return Ok(false);
        }
        let shared = |recipe: &Recipe| {
            let on = recipe.compare.as_ref().map(|compare| compare.on).unwrap_or_default();
            (Recipe { seed: 0, method: None, compare: None, ..recipe.clone() }, on)
        };
        let (before, on_before) = shared(&config::load(Some(&path), &[])?.recipe);
        let (now, on_now) = shared(&resolved.recipe);
        let on = (on_before != on_now).then(|| format!("compare.on = {on_before}, now {on_now}"));
        match config::difference(&before, &now)?.or(on) {
            None => Ok(true),
            Some(what) => Err(hcd::Error::Run(format!(
                "{}: holds a comparison by another recipe ({what}); name another folder with --out",
                folder.display()
            ))
            .into()),
        }
    }

    fn objective<'b>(&'b mut self, lesson: &'b Lesson) -> Objective<'b> {
        match (&lesson.method, &mut self.expert) {
            (Some(method), Some(expert)) => {
                Objective::Distilled { teacher: expert.answers.teacher(), method }
            }
            _ => Objective::Supervised,
        }
    }

    /// Runs every method with `seed` that has not ended yet; a finished cell is read, an interrupted one goes on. What other
    /// processes are at stays without.
    fn run(&mut self, seed: u64, cells: &mut [Option<Ended>]) -> anyhow::Result<()> {
        if cells.iter().all(Option::is_some) {
            return Ok(());
        }
        let mut resolved = self.resolved.clone();
        resolved.recipe.seed = seed;
        resolved.recipe.compare = None;
        let experiment = self.experiment.under(&resolved.recipe)?;
        let methods = self.methods.clone();
        for (lesson, ended) in methods.iter().zip(cells).filter(|(_, ended)| ended.is_none()) {
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
                pair: self.pair,
            };
            *ended = match cell.standing(&self.objective(lesson))? {
                Standing::Finished(found) => Some(found),
                Standing::Theirs => None,
                Standing::Ours(hold) => Some(self.train(&cell, lesson, hold)?),
            };
        }
        Ok(())
    }

    /// Trains one cell to its end, whatever that is.
    fn train(&mut self, cell: &Cell, lesson: &Lesson, hold: Hold) -> anyhow::Result<Ended> {
        if let Some(expert) = self.expert.as_mut().filter(|_| lesson.method.is_some()) {
            expert.prepare(cell.experiment)?;
        }
        match cell.train(&hold, &mut self.objective(lesson)) {
            Ok(trained) => Ok(Ended::Whole(Box::new(cell.judge(trained, self.reference()?)?))),
            Err(error) => match error.downcast::<hcd::Error>()? {
                hcd::Error::Diverged(what) => {
                    let diverged = cell.give_up(what)?;
                    output::note(&format!("warning: {diverged}"));
                    Ok(Ended::Diverged(diverged))
                }
                error => Err(error.into()),
            },
        }
    }

    /// What the teacher says of the images of the split, where it is there to be asked; it is asked once.
    fn reference(&mut self) -> anyhow::Result<Option<&Reference>> {
        let Some(expert) = &mut self.expert else { return Ok(None) };
        if let (Some((network, card)), None) = (&expert.network, &expert.reference) {
            expert.reference = Some(session::reference(self.experiment, self.split, network, card)?);
        }
        Ok(expert.reference.as_ref())
    }

    /// The teacher's own row, its accuracy on the images of the split among it.
    pub fn teacher_line(&mut self) -> anyhow::Result<Option<TeacherLine>> {
        let Some(top1) = self.reference()?.map(|reference| reference.evaluation.top1) else {
            return Ok(None);
        };
        let Some(expert) = &self.expert else { return Ok(None) };
        let Some((network, card)) = &expert.network else { return Ok(None) };
        // A comparison that goes on adds to what its first part took.
        let before = publish::teacher(&self.folder).and_then(|line| line.seconds);
        let seconds = expert.seconds.map_or(before, |now| Some(now + before.unwrap_or(0.0)));
        Ok(Some(TeacherLine { name: card.model.clone(), top1, parameters: network.learned_count(), seconds }))
    }
}

/// Begins all rounds and runs each with all seeds; gives what the trainings of each came to. Cells that other processes are at are waited
/// for, and taken over where those give up.
pub fn run_all(rounds: &mut [Round], seeds: &[u64]) -> anyhow::Result<Vec<Vec<Ended>>> {
    rounds.iter().try_for_each(Round::begin)?;
    let mut done: Vec<Vec<Vec<Option<Ended>>>> =
        rounds.iter().map(|round| vec![vec![None; round.methods.len()]; seeds.len()]).collect();
    let mut told = false;
    loop {
        for (round, seeds_of) in rounds.iter_mut().zip(&mut done) {
            for (&seed, entries) in seeds.iter().zip(seeds_of) {
                round.run(seed, entries)?;
            }
        }
        if done.iter().flatten().flatten().all(Option::is_some) {
            let trainings = |seeds: Vec<Vec<Option<Ended>>>| seeds.into_iter().flatten().flatten().collect();
            return Ok(done.into_iter().map(trainings).collect());
        }
        if !std::mem::replace(&mut told, true) {
            output::note("note: other processes are at the cells that are left; waiting for them");
        }
        std::thread::sleep(session::WAIT);
    }
}

/// Writes the recipe of a comparison into its folder.
pub fn begin(folder: &Path, resolved: &Resolved) -> anyhow::Result<()> {
    files::create_folder(folder)?;
    Ok(files::write(&folder.join(RECIPE), resolved.to_toml()?.as_bytes())?)
}

impl Expert {
    fn new(experiment: &Experiment, seeds: &[u64]) -> anyhow::Result<Self> {
        if let Some(given) = session::given_teacher(experiment, seeds)? {
            let answers = Answers::Given(Box::new(given));
            return Ok(Self { answers, network: None, seconds: None, prepared: None, reference: None });
        }
        let cache = experiment.recipe.teacher.as_ref().and_then(|teacher| teacher.cache.as_deref());
        let loaded = session::load_teacher(experiment)?;
        let (card, network) = (loaded.card.clone(), loaded.network.clone());
        let live = session::live_teacher(experiment, loaded)?;
        let answers = match cache {
            Some(folder) => Answers::Files(Box::new(session::keep_answers(experiment, live, folder, seeds)?)),
            None => Answers::Memory(Box::new(Recorded::new(live, experiment.view_count()))),
        };
        Ok(Self { answers, network: Some((network, card)), seconds: None, prepared: None, reference: None })
    }

    /// Has the teacher look at every view of the run once, where the answers can be kept.
    fn prepare(&mut self, experiment: &Experiment) -> anyhow::Result<()> {
        let recipe = &experiment.recipe;
        if self.prepared.replace(recipe.seed) == Some(recipe.seed) {
            return Ok(());
        }
        let (began, asked) = (Instant::now(), self.answers.asked());
        match &mut self.answers {
            Answers::Files(cached) => session::fill(experiment, cached)?,
            Answers::Given(_) => {}
            Answers::Memory(recorded) => {
                recorded.clear();
                if !recorded.remembers() {
                    output::note(
                        "note: the teacher's answers take more memory than 1 GiB, so that every method asks anew; --cache DIR \
                         keeps them in files",
                    );
                    return Ok(());
                }
                with_precision(recipe.train.precision, || ask_all(recorded, experiment))?;
            }
        }
        if self.answers.asked() > asked {
            *self.seconds.get_or_insert(0.0) += began.elapsed().as_secs_f64();
        }
        Ok(())
    }
}

/// Has a teacher look at every view of a training, in the order of the batches.
fn ask_all(teacher: &mut Recorded, experiment: &Experiment) -> hcd::Result<()> {
    let (recipe, loader) = (&experiment.recipe, experiment.loader()?);
    let bar = progress::bar("teacher", loader.batches_per_epoch() as u64 * recipe.train.epochs);
    for epoch in 0..recipe.train.epochs {
        for (index, batch) in loader.epoch(epoch, 0).enumerate() {
            ask(teacher, &batch?, loader.policy(), recipe.seed, (epoch, index), false)?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(())
}
