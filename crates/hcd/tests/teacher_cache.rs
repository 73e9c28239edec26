//! The files of a teacher's cache: whose answers they hold, and what becomes of them when something goes wrong.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use hcd::burn::tensor::Device;
use hcd::data::HostBatch;
use hcd::export::Loaded;
use hcd::models::Network;
use hcd::ops::Precision;
use hcd::teacher::{Cached, Filled, Stored, Teacher, TeacherOutput, ViewKey};
use hcd::train::Experiment;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use support::{RESNET, experiment, experiment_on, images, live, resolve};

fn open_as(experiment: &Experiment, expert: &Loaded, stored: Stored, folder: &Path) -> hcd::Result<Cached> {
    Cached::open(live(expert, experiment), &experiment.loader()?, Precision::F32, stored, folder)
}

fn open(experiment: &Experiment, folder: &Path) -> hcd::Result<Cached> {
    open_as(experiment, &support::expert(), Stored::F16, folder)
}

fn lesson(rest: &str) -> Experiment {
    experiment(RESNET, &format!("train = {{ epochs = 2, batch_size = 10 }}\n{rest}"))
}

/// The experiment with other views.
fn seen(views: &str) -> Experiment {
    lesson(&format!("data = {{ path = 'in memory', views = {{ {views} }} }}"))
}

fn fill(cached: &mut Cached, experiment: &Experiment, number: u64) {
    assert_eq!(cached.fill(&experiment.loader().unwrap(), number, &mut |_| {}).unwrap(), Filled::Whole);
}

fn features(output: &TeacherOutput) -> Vec<f32> {
    output.penultimate.clone().into_data().iter::<f32>().collect()
}

fn key(number: u64) -> ViewKey {
    ViewKey { seed: 0, number }
}

/// Another teacher of the same shape.
fn ignorant() -> Loaded {
    let Loaded { card, .. } = support::expert();
    let network = Network::new(&card.config, 3, &Device::flex());
    Loaded { network, card, notes: Vec::new() }
}

/// The files of the views, whole or not.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder.join("seed-0")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn all(experiment: &Experiment, number: u64) -> HostBatch {
    let indices: Vec<usize> = (0..experiment.train.len()).collect();
    experiment.loader().unwrap().view_batch(number, &indices).unwrap()
}

/// Paths of all single values in a JSON value, each with another value in its place.
fn changed(value: &Value) -> Vec<(String, Value)> {
    match value {
        Value::Object(map) => {
            let inner = map.iter().flat_map(|(name, inner)| {
                changed(inner).into_iter().map(move |(path, other)| {
                    let mut all = map.clone();
                    all.insert(name.clone(), other);
                    (format!("{name}.{path}").trim_end_matches('.').to_owned(), Value::Object(all))
                })
            });
            inner.collect()
        }
        Value::String(text) => vec![(String::new(), format!("{text}x").into())],
        Value::Number(number) => vec![(String::new(), (number.as_f64().unwrap() + 1.0).into())],
        Value::Bool(yes) => vec![(String::new(), (!yes).into())],
        Value::Array(_) | Value::Null => vec![(String::new(), 7.into())],
    }
}

#[test]
fn every_field_that_differs_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // With views on which the student's normalisation has a say.
    let experiment = seen("erasing = 0.5, resized_crop = {}, color_jitter = { hue = 0.1 }");
    let mut cached = open(&experiment, folder.path()).unwrap();
    fill(&mut cached, &experiment, 0);
    drop(cached);
    let path = folder.path().join("cache.json");
    let own: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let fields = changed(&own);
    for section in [
        "format",
        "teacher_weights",
        "teacher_model",
        "normalization",
        "image",
        "student_image",
        "student_normalization",
        "views",
        "views_version",
        "data",
        "samples",
        "width",
        "stored",
        "computed",
    ] {
        assert!(fields.iter().any(|(field, _)| field.starts_with(section)), "{section} is not in the key");
    }
    for (field, other) in &fields {
        fs::write(&path, other.to_string()).unwrap();
        let error = open(&experiment, folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("was filled with {field} = ")), "{field}: {error}");
        assert!(error.contains("--cache") && !error.contains('\n'), "{error}");
    }
    fs::write(&path, own.to_string()).unwrap();

    // The same in the header of a file that came from elsewhere.
    let view = &files(folder.path())[0];
    let bytes = fs::read(view).unwrap();
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    for (field, other) in fields {
        let mut header = header.clone();
        header["__metadata__"]["hcd.key"] = other.to_string().into();
        let text = header.to_string();
        let start = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
        fs::write(view, [&start, &bytes[8 + length..]].concat()).unwrap();
        let mut cached = open(&experiment, folder.path()).unwrap();
        let error = cached.answer(&all(&experiment, 0), key(0)).unwrap_err().to_string();
        assert!(error.contains(&format!("view-00000.safetensors: was filled with {field} = ")), "{error}");
    }
    fs::write(view, &bytes).unwrap();
    fs::copy(view, view.with_file_name("view-00001.safetensors")).unwrap();
    fs::create_dir(folder.path().join("seed-5")).unwrap();
    fs::copy(view, folder.path().join("seed-5/view-00000.safetensors")).unwrap();
    let mut cached = open(&experiment, folder.path()).unwrap();
    let mut refused = |views: ViewKey, words: &str| {
        let error = cached.answer(&all(&experiment, 0), views).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    refused(key(1), "was filled with view = \"0\", this run has \"1\"");
    refused(ViewKey { seed: 5, number: 0 }, "was filled with seed = \"0\", this run has \"5\"");
}

#[test]
fn what_a_run_changes_is_in_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let first = lesson("");
    let mut cached = open(&first, folder.path()).unwrap();
    assert!(!Cached::is_in(folder.path()), "opening writes nothing");
    fill(&mut cached, &first, 0);
    let expert = support::expert();
    let refused = |found: hcd::Result<Cached>, field: &str| {
        let error = found.unwrap_err().to_string();
        assert!(error.contains(&format!("was filled with {field}")), "{error}");
    };
    refused(open_as(&first, &expert, Stored::Int8, folder.path()), "stored = \"f16\", this run has \"int8\"");
    refused(open(&seen("horizontal_flip = 0.25"), folder.path()), "views.");
    refused(
        open(&seen("crop_padding = 1, horizontal_flip = 0.5, mixup = 1.0"), folder.path()),
        "views.mixup",
    );
    let more = experiment_on(images(17, 0), &resolve(RESNET, "train = { batch_size = 10 }"));
    refused(open(&more, folder.path()), "data = ");
    refused(open_as(&first, &ignorant(), Stored::F16, folder.path()), "teacher_weights = ");
    let mut brighter = support::expert();
    brighter.card.normalization.mean[0] += 0.1;
    refused(open_as(&first, &brighter, Stored::F16, folder.path()), "normalization.mean = ");
    let loader = first.loader().unwrap();
    let halves = live(&support::expert(), &first);
    refused(Cached::open(halves, &loader, Precision::Bf16, Stored::F16, folder.path()), "computed = ");
    // The seed is in the files' place, and a bank draws no view otherwise.
    open(&lesson("seed = 5"), folder.path()).unwrap();
    open(&seen("crop_padding = 1, horizontal_flip = 0.5, bank = 3"), folder.path()).unwrap();
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let error = open(&lesson(""), folder.path()).unwrap_err().to_string();
    assert!(error.contains("holds something else") && error.contains("--cache"), "{error}");
    let error = open(&lesson(""), &folder.path().join("notes.txt")).unwrap_err().to_string();
    assert!(error.contains("notes.txt: is a file, expected a folder"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn interrupted_filling_goes_on() {
    let experiment = lesson("");
    let folder = tempfile::tempdir().unwrap();
    let loader = experiment.loader().unwrap();
    let some = loader.view_batch(0, &[3, 1, 40]).unwrap();
    let mut cached = open(&experiment, folder.path()).unwrap();
    let row = 2 * 16 + 8 + 4 + 4;
    assert_eq!(cached.missing_bytes(0, &[0, 1]), 2 * 48 * row);
    let answered = features(&cached.answer(&some, key(0)).unwrap());
    drop(cached);
    assert!(files(folder.path())[0].to_string_lossy().ends_with("view-00000.safetensors.partial"));

    let mut going_on = open(&experiment, folder.path()).unwrap();
    fill(&mut going_on, &experiment, 0);
    assert_eq!(going_on.counts()[0], 45, "three were there");
    assert_eq!(going_on.missing_bytes(0, &[0, 1]), 48 * row);
    assert_eq!(features(&going_on.answer(&some, key(0)).unwrap()), answered);
    assert_eq!(files(folder.path()).len(), 1);
    let bytes = fs::read(&files(folder.path())[0]).unwrap();
    let found = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(found.tensor("features").unwrap().shape(), [48, 16]);
    assert_eq!(found.tensor("ids").unwrap().shape(), [48]);
}

#[test]
fn torn_files_are_made_again() {
    let experiment = lesson("");
    let folder = tempfile::tempdir().unwrap();
    let loader = experiment.loader().unwrap();
    let mut cached = open(&experiment, folder.path()).unwrap();
    fill(&mut cached, &experiment, 0);
    let batch = all(&experiment, 0);
    let expected = features(&cached.answer(&batch, key(0)).unwrap());
    drop(cached);
    let whole = &files(folder.path())[0];
    let bytes = fs::read(whole).unwrap();

    let torn = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        bytes
    };
    let last = bytes.len() - 1;
    for (what, damaged, again) in [
        ("a flipped byte", torn(&|bytes| bytes[last] ^= 1), 1),
        ("half a file", torn(&|bytes| bytes.truncate(bytes.len() / 2)), 48),
        ("a byte too many", torn(&|bytes| bytes.push(0)), 48),
        ("a header of which a name is another", torn(&|bytes| bytes[12] ^= 1), 48),
        ("a header longer than any file", torn(&|bytes| bytes[..8].fill(255)), 48),
        ("another sample", torn(&|bytes| bytes[last - 48 * (2 * 16 + 8) - 8] ^= 1), 48),
        ("something else", vec![7; 100], 48),
        ("nothing", Vec::new(), 48),
    ] {
        fs::write(whole, &damaged).unwrap();
        let mut reading = open(&experiment, folder.path()).unwrap();
        for index in 0..48 {
            reading.answer(&loader.view_batch(0, &[index]).unwrap(), key(0)).unwrap();
        }
        assert_eq!(reading.counts(), [again, 48 - again], "{what}");
        fs::write(whole, damaged).unwrap();
        let mut filling = open(&experiment, folder.path()).unwrap();
        fill(&mut filling, &experiment, 0);
        assert_eq!(filling.counts()[0], again, "{what}");
        assert_eq!(files(folder.path()), std::slice::from_ref(whole), "{what}");
        // A batch of one or of many: sums in another order, rounded to f16 either way.
        for (found, expected) in features(&filling.answer(&batch, key(0)).unwrap()).iter().zip(&expected) {
            assert!((found - expected).abs() <= expected.abs() / 1024.0 + 1e-6, "{what}");
        }
    }
}

/// Reading on in the map of a file that has lost its end would end the process.
#[test]
fn a_file_that_is_cut_while_it_is_read_is_made_again() {
    let experiment = lesson("");
    let folder = tempfile::tempdir().unwrap();
    let mut cached = open(&experiment, folder.path()).unwrap();
    fill(&mut cached, &experiment, 0);
    let batch = all(&experiment, 0);
    let expected = features(&cached.answer(&batch, key(0)).unwrap());
    assert_eq!(cached.counts(), [48, 48]);
    let file = fs::OpenOptions::new().write(true).open(&files(folder.path())[0]).unwrap();
    file.set_len(300).unwrap();
    assert_eq!(features(&cached.answer(&batch, key(0)).unwrap()), expected);
    assert_eq!(cached.counts(), [96, 48]);
    assert_eq!(features(&cached.answer(&batch, key(0)).unwrap()), expected);
    assert_eq!(cached.counts(), [96, 96]);
}

#[test]
fn two_fill_different_views_at_once_and_one_view_once() {
    let experiment = lesson("");
    let folder = tempfile::tempdir().unwrap();
    let loader = experiment.loader().unwrap();
    let [mut one, mut two] = [0, 1].map(|_| open(&experiment, folder.path()).unwrap());
    let (first, second) = (loader.view_batch(0, &[0, 1]).unwrap(), loader.view_batch(1, &[0, 1]).unwrap());
    one.answer(&first, key(0)).unwrap();
    two.answer(&second, key(1)).unwrap();
    // The view that the other one fills: what is there is read; about the rest it asks the teacher, and stores nothing.
    assert_eq!(two.fill(&loader, 0, &mut |_| {}).unwrap(), Filled::Elsewhere);
    let theirs = features(&two.answer(&first, key(0)).unwrap());
    assert_eq!(theirs, features(&one.answer(&first, key(0)).unwrap()));
    two.answer(&loader.view_batch(0, &[2, 3]).unwrap(), key(0)).unwrap();
    assert_eq!(two.counts(), [4, 2]);
    assert_eq!(files(folder.path()).len(), 2);
    fill(&mut one, &experiment, 0);
    // It is finished meanwhile: what was opened before is opened again.
    assert_eq!(two.fill(&loader, 0, &mut |_| {}).unwrap(), Filled::Whole);
    assert_eq!((two.counts()[0], one.counts()[0]), (4, 48), "and asks about none");
    // Who fills and goes away leaves the rest to others.
    let third = loader.view_batch(1, &[5]).unwrap();
    one.answer(&third, key(1)).unwrap();
    drop(one);
    fill(&mut two, &experiment, 1);
    assert_eq!(files(folder.path()).len(), 2);
}

#[test]
fn what_cannot_be_stored_is_told() {
    let experiment = lesson("");
    let folder = tempfile::tempdir().unwrap();
    let mut expert = support::expert();
    // Pixels divided by next to nothing are beyond f16 in no network with a norm; not a number is so anywhere.
    expert.card.normalization.mean[0] = f32::NAN;
    let mut cached = open_as(&experiment, &expert, Stored::F16, folder.path()).unwrap();
    let error = cached.answer(&all(&experiment, 0), key(0)).unwrap_err().to_string();
    assert!(
        error.contains("sample 0 cannot be stored as f16") && error.contains("teacher.stored"),
        "{error}"
    );
}

#[test]
fn answers_that_are_not_the_teachers_are_found_out() {
    let experiment = lesson("");
    let folder = tempfile::tempdir().unwrap();
    let loader = experiment.loader().unwrap();
    let mut cached = open(&experiment, folder.path()).unwrap();
    let nothing = cached.verify(&loader, &[0, 1], 20).unwrap();
    assert_eq!((nothing.entries, nothing.missing), (0, 20));
    assert!(!folder.path().join("seed-0").exists(), "verifying begins no file");
    fill(&mut cached, &experiment, 1);
    let sound = cached.verify(&loader, &[0, 1], 200).unwrap();
    assert_eq!((sound.entries, sound.missing), (48, 48), "each once, though more were asked for");
    assert!(sound.difference <= sound.allowed && sound.allowed < 0.01 * sound.largest, "{sound:?}");
    drop(cached);

    // Another teacher's answers, checksums and all, under this one's header.
    let elsewhere = tempfile::tempdir().unwrap();
    let mut cached = open_as(&experiment, &ignorant(), Stored::F16, elsewhere.path()).unwrap();
    fill(&mut cached, &experiment, 1);
    drop(cached);
    let [own, theirs] = [folder.path(), elsewhere.path()].map(|folder| fs::read(&files(folder)[0]).unwrap());
    let header = 8 + u64::from_le_bytes(*own.first_chunk().unwrap()) as usize;
    assert_eq!(own.len(), theirs.len());
    fs::write(&files(folder.path())[0], [&own[..header], &theirs[header..]].concat()).unwrap();
    let mut cached = open(&experiment, folder.path()).unwrap();
    let found = cached.verify(&loader, &[1], 20).unwrap();
    assert!(found.difference > found.allowed, "{found:?}");
}
