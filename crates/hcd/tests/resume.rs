//! A run that was killed anywhere and taken up again leaves the same bits as one that was not.
//!
//! The kill is an unwinding out of the observer: whatever was not on the disk by then is lost.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use hcd::Error;
use hcd::config::Resolved;
use hcd::export::Loaded;
use hcd::methods::{CrdConfig, MethodConfig};
use hcd::train::{Experiment, Fitted, History, Objective, Observer, Progress, RunFolder, fit};
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use support::{RESNET, bits_of, experiment_on, images, live, method};
use tempfile::TempDir;

/// Counts what happens, and dies at event number `dies_at`, counted from 1.
#[derive(Default)]
struct Watch {
    dies_at: Option<usize>,
    events: usize,
    first: Option<Progress>,
    epochs: usize,
    notices: Vec<String>,
}

impl Watch {
    fn event(&mut self) {
        self.events += 1;
        if Some(self.events) == self.dies_at {
            // Unwinds without the panic hook's message.
            resume_unwind(Box::new("killed"));
        }
    }
}

impl Observer for Watch {
    fn progress(&mut self, progress: Progress) {
        self.first.get_or_insert(progress);
        self.event();
    }

    fn epoch(&mut self, _history: &History) {
        self.epochs += 1;
        self.event();
    }

    fn notice(&mut self, message: &str) {
        self.notices.push(message.to_owned());
    }
}

/// An experiment and who teaches.
struct Lesson {
    resolved: Resolved,
    experiment: Experiment,
    teacher: Option<(Loaded, MethodConfig)>,
}

impl Lesson {
    /// 21 images in batches of 4: five batches an epoch.
    fn new(student: &str, rest: &str, teacher: Option<(Loaded, MethodConfig)>) -> Self {
        let resolved = support::resolve(student, rest);
        Self { experiment: experiment_on(images(7, 5), &resolved), resolved, teacher }
    }

    /// Distilled by HCD, with all that a checkpoint can hold.
    fn distilled(every: u64) -> Self {
        Self::by(method("hcd"), every)
    }

    /// The same by another method.
    fn by(method: MethodConfig, every: u64) -> Self {
        let train = format!(
            "seed = 2\ntrain = {{ epochs = 2, batch_size = 4, accumulate = 2, clip_norm = 2.0, ema_decay = 0.7, \
             gradient_norms = true, checkpoint_steps = {every} }}\noptimizer = {{ name = 'sgd', lr = 0.02 }}\n\
             schedule = {{ name = 'cosine', per = 'step' }}"
        );
        Self::new(RESNET, &train, Some((support::expert(), method)))
    }

    /// From labels, by AdamW, with stochastic depth.
    fn from_labels(every: u64) -> Self {
        let student = "student = { name = 'swin_small_patch2', width = 8, depths = [1, 1], heads = [1, 2], \
                       drop_path = 0.5 }\n";
        let train = format!(
            "train = {{ epochs = 2, batch_size = 4, checkpoint_steps = {every} }}\n\
             optimizer = {{ name = 'adamw', lr = 2e-3 }}\nschedule = {{ name = 'cosine', min_lr = 0 }}"
        );
        Self::new(student, &train, None)
    }

    /// Starts a run in `folder`, or goes on with the one there, as a new process would.
    fn run(&self, folder: &Path, watch: &mut Watch) -> hcd::Result<Fitted> {
        let mut teacher = self.teacher.as_ref().map(|(expert, _)| live(expert, &self.experiment));
        let mut objective = match (&mut teacher, &self.teacher) {
            (Some(teacher), Some((_, method))) => Objective::Distilled { teacher, method },
            _ => Objective::Supervised,
        };
        let run = if RunFolder::exists(folder) {
            let (run, recipe) = RunFolder::open(folder)?;
            assert_eq!(recipe, self.resolved.recipe);
            assert_eq!(run.check_same(&self.experiment, &objective)?, Vec::<String>::new());
            run
        } else {
            RunFolder::create(folder, &self.resolved, &self.experiment, &objective)?
        };
        fit(&self.experiment, &mut objective, Some(&run), watch)
    }

    /// Runs until the event; says whether it was killed there.
    fn killed(&self, folder: &Path, dies_at: usize) -> bool {
        let mut watch = Watch { dies_at: Some(dies_at), ..Watch::default() };
        match catch_unwind(AssertUnwindSafe(|| self.run(folder, &mut watch))) {
            Ok(done) => {
                done.unwrap();
                false
            }
            Err(payload) => {
                assert_eq!(payload.downcast_ref::<&str>(), Some(&"killed"));
                true
            }
        }
    }

    /// To the end, in a new folder; how much happened on the way.
    fn uninterrupted(&self) -> (TempDir, usize) {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Watch::default();
        self.run(folder.path(), &mut watch).unwrap();
        (folder, watch.events)
    }

    /// To the end, in a folder with a past.
    fn finish(&self, folder: &Path) -> (Fitted, Watch) {
        let mut watch = Watch::default();
        let fitted = self.run(folder, &mut watch).unwrap();
        (fitted, watch)
    }
}

/// Every file of a run, by its path in the folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for inner in [folder.to_owned(), folder.join("checkpoints")] {
        for entry in fs::read_dir(inner).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

fn assert_same(one: &Path, other: &Path, what: &str) {
    let (one, other) = (files(one), files(other));
    for name in ["student.safetensors", "student-best.safetensors", "metrics.jsonl"] {
        assert!(one.contains_key(name), "{what}: {name} is missing");
    }
    assert!(one.keys().eq(other.keys()), "{what}: {:?} and {:?}", one.keys(), other.keys());
    for (name, bytes) in &one {
        assert!(*bytes == other[name], "{what}: {name} differs");
    }
}

/// The newest checkpoint of a run.
fn newest(folder: &Path) -> PathBuf {
    let all = files(folder).into_keys().filter(|name| name.ends_with(".safetensors.b3"));
    folder.join(all.max().unwrap().trim_end_matches(".b3"))
}

/// Kills a run at each of its events in turn, takes it up again, and compares all that it leaves.
fn check_every_kill(lesson: &Lesson, batches: usize) {
    let (whole, events) = lesson.uninterrupted();
    assert_eq!(events, batches + 2, "batches and two epochs");
    for event in 1..=events {
        let folder = tempfile::tempdir().unwrap();
        assert!(lesson.killed(folder.path(), event));
        assert!(!folder.path().join("student.safetensors").exists());
        let (_, watch) = lesson.finish(folder.path());
        assert_eq!(watch.notices, Vec::<String>::new());
        assert_same(whole.path(), folder.path(), &format!("killed at event {event}"));
    }
}

#[test]
fn a_distillation_killed_after_any_batch_goes_on_bit_for_bit() {
    // Steps of two batches; a checkpoint after each step, after every other, and at the end of epochs alone.
    for every in [1, 2, 0] {
        check_every_kill(&Lesson::distilled(every), 10);
    }
}

/// Its memory banks and constants are part of a checkpoint, and its negatives drawn by the batch.
#[test]
fn a_contrastive_distillation_killed_after_any_batch_goes_on_bit_for_bit() {
    let crd = CrdConfig { negatives: 6, embedding: 4, ..CrdConfig::default() };
    for every in [1, 0] {
        check_every_kill(&Lesson::by(MethodConfig::Crd(crd.clone()), every), 10);
    }
    let lesson = Lesson::by(MethodConfig::Crd(crd), 0);
    let (folder, _) = lesson.uninterrupted();
    let run = RunFolder::open(folder.path()).unwrap().0;
    let tensors = run.checkpoints().newest::<History>().unwrap().unwrap().tensors;
    for name in ["running_student", "running_teacher"] {
        let bank = &tensors[&format!("heads.{name}")];
        assert_eq!(bank.shape, [21, 4], "{name}");
        for row in bank.values.chunks(4) {
            // Every sample has been seen: its row is of length 1, which the random one it began with was not.
            let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
            assert!((length - 1.0).abs() < 1e-5, "{name}: {length}");
        }
    }
    assert!(tensors["heads.running_constants"].values.iter().all(|&constant| constant > 0.0));
}

#[test]
fn a_transformer_with_stochastic_depth_killed_after_any_batch_goes_on_bit_for_bit() {
    for every in [1, 3, 0] {
        check_every_kill(&Lesson::from_labels(every), 10);
    }
}

#[test]
fn a_run_killed_again_and_again_ends_as_it_would_have() {
    for lesson in [Lesson::distilled(1), Lesson::from_labels(1)] {
        let (whole, _) = lesson.uninterrupted();
        let folder = tempfile::tempdir().unwrap();
        let mut lives = 1;
        // The fourth event of a life lies beyond a step of two batches, wherever it began.
        while lesson.killed(folder.path(), 4) {
            lives += 1;
            assert!(lives < 20, "the run does not get on");
        }
        assert!(lives > 3, "{lives}");
        assert_same(whole.path(), folder.path(), "killed again and again");
    }
}

#[test]
fn what_is_done_is_not_done_again() {
    let lesson = Lesson::distilled(1);
    let folder = tempfile::tempdir().unwrap();
    // Nine events: the first epoch's five batches and its end, three batches of the second.
    assert!(lesson.killed(folder.path(), 9));
    let (_, watch) = lesson.finish(folder.path());
    let first = watch.first.unwrap();
    assert_eq!((first.done, first.total, first.epoch, first.epochs), (7, 10, 2, 2));
    // That first word, three batches, the end of an epoch.
    assert_eq!((watch.events, watch.epochs), (5, 1));
}

#[test]
fn a_damaged_checkpoint_is_told_of_and_the_one_before_it_used() {
    let lesson = Lesson::distilled(1);
    let (whole, _) = lesson.uninterrupted();
    type Damage = (&'static str, fn(&Path));
    let damage: [Damage; 4] = [
        ("a flipped bit", |path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("cut short", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("emptied", |path| fs::write(path, b"").unwrap()),
        ("its sum emptied", |path| fs::write(path.with_extension("safetensors.b3"), b"").unwrap()),
    ];
    for (what, damage) in damage {
        // In the middle of an epoch, and at the end of one.
        for event in [8, 6] {
            let folder = tempfile::tempdir().unwrap();
            assert!(lesson.killed(folder.path(), event));
            let path = newest(folder.path());
            damage(&path);
            let (_, watch) = lesson.finish(folder.path());
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(watch.notices.len(), 1, "{what}: {:?}", watch.notices);
            let notice = &watch.notices[0];
            assert!(
                notice.contains(name) && notice.ends_with("; using the one before it"),
                "{what}: {notice}"
            );
            assert_same(whole.path(), folder.path(), what);
        }
    }
}

#[test]
fn with_every_checkpoint_damaged_a_run_does_not_begin_anew_in_silence() {
    let lesson = Lesson::from_labels(1);
    let folder = tempfile::tempdir().unwrap();
    assert!(lesson.killed(folder.path(), 4));
    for name in files(folder.path()).into_keys().filter(|name| name.ends_with(".safetensors")) {
        fs::write(folder.path().join(name), b"x").unwrap();
    }
    let error = lesson.run(folder.path(), &mut Watch::default()).unwrap_err();
    assert!(matches!(error, Error::Run(_)));
    assert!(error.to_string().contains("no whole checkpoint is left"), "{error}");
}

#[test]
fn a_file_that_was_being_written_does_not_count() {
    let lesson = Lesson::distilled(1);
    let (whole, _) = lesson.uninterrupted();
    let folder = tempfile::tempdir().unwrap();
    assert!(lesson.killed(folder.path(), 8));
    let half = fs::read(newest(folder.path())).unwrap();
    let half = &half[..half.len() / 2];
    let checkpoints = folder.path().join("checkpoints");
    let left = [checkpoints.join("step-00000099.safetensors"), checkpoints.join(".Xy12.tmp")];
    left.iter().for_each(|path| fs::write(path, half).unwrap());
    let (_, watch) = lesson.finish(folder.path());
    assert_eq!(watch.notices, Vec::<String>::new());
    left.iter().for_each(|path| fs::remove_file(path).unwrap());
    assert_same(whole.path(), folder.path(), "half a file");
}

#[test]
fn other_data_or_another_folder_are_refused() {
    let lesson = Lesson::from_labels(1);
    let folder = tempfile::tempdir().unwrap();
    assert!(lesson.killed(folder.path(), 3));
    let (run, _) = RunFolder::open(folder.path()).unwrap();
    let other = experiment_on(images(7, 6), &lesson.resolved);
    let labels = Objective::Supervised;
    let error = run.check_same(&other, &labels).unwrap_err();
    assert!(matches!(error, Error::Run(_)));
    assert!(error.to_string().contains("are not what the run began with"), "{error}");
    assert!(run.check_same(&lesson.experiment, &labels).unwrap().is_empty());
    // What is in the folder is not started over, and what is none is not gone on with.
    let again = RunFolder::create(folder.path(), &lesson.resolved, &lesson.experiment, &labels).unwrap_err();
    assert!(again.to_string().contains("already there and not empty"), "{again}");
    let empty = tempfile::tempdir().unwrap();
    let none = RunFolder::open(empty.path()).unwrap_err();
    assert!(none.to_string().contains("not the folder of a run"), "{none}");
    assert!(!RunFolder::exists(empty.path()));
}

#[test]
fn a_finished_run_gives_its_result_again_without_training() {
    for lesson in [Lesson::distilled(0), Lesson::from_labels(2)] {
        let folder = tempfile::tempdir().unwrap();
        let (fitted, _) = lesson.finish(folder.path());
        let before = files(folder.path());
        let (again, watch) = lesson.finish(folder.path());
        assert_eq!((watch.events, watch.epochs), (1, 0));
        let first = watch.first.unwrap();
        assert_eq!((first.done, first.total, first.epoch), (10, 10, 2));
        assert_eq!(bits_of(&again.network), bits_of(&fitted.network));
        assert_eq!((again.history, again.head_parameters), (fitted.history, fitted.head_parameters));
        assert!(files(folder.path()) == before);
    }
}
