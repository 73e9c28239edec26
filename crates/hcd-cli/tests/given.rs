//! Teachers of other frameworks: the views that are written for them, and the answers that they write.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use std::collections::{BTreeMap, HashMap};
use support::World;

/// Tensors of a file: type, shape and bytes.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn read(world: &World, name: &str) -> Tensors {
    let bytes = world.read(name);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |(name, view): (String, TensorView)| {
        (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
    };
    file.tensors().into_iter().map(tensor).collect()
}

fn write(world: &World, name: &str, tensors: &Tensors) {
    write_of(world, name, tensors, None);
}

fn write_of(world: &World, name: &str, tensors: &Tensors, about: Option<HashMap<String, String>>) {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    world.write(name, serialize(views, about).unwrap());
}

fn longs(values: impl Iterator<Item = i64>) -> (Dtype, Vec<usize>, Vec<u8>) {
    let bytes: Vec<u8> = values.flat_map(i64::to_le_bytes).collect();
    (Dtype::I64, vec![bytes.len() / 8], bytes)
}

/// What files of views say of them, whatever their size.
fn about(world: &World) -> Option<HashMap<String, String>> {
    world.hcd("views student.toml --image-size 24 --numbers 0 --out views").succeeded();
    SafeTensors::read_metadata(&world.read("views/view-00000.safetensors")).unwrap().1.metadata().clone()
}

/// What the teacher of this program says of both views, as another one would write it.
fn answers(world: &World) -> Tensors {
    world.hcd("cache-teacher student.toml --cache kept --set teacher.stored=f32").succeeded();
    let (mut features, mut ids, mut views) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..2i64 {
        let mut view = read(world, &format!("kept/seed-0/view-{number:05}.safetensors"));
        features.extend(view.remove("features").unwrap().2);
        let of = view.remove("ids").unwrap().2;
        views.extend(std::iter::repeat_n(number, of.len() / 8));
        ids.extend(of.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)));
    }
    let mut teacher = read(world, "teacher.safetensors");
    let (rows, bytes) = (ids.len(), features.len());
    let seeds = std::iter::repeat_n(0, rows);
    Tensors::from([
        ("features".to_owned(), (Dtype::F32, vec![rows, bytes / rows / 4], features)),
        ("ids".to_owned(), longs(ids.into_iter())),
        ("views".to_owned(), longs(views.into_iter())),
        ("seeds".to_owned(), longs(seeds)),
        ("classifier.weight".to_owned(), teacher.remove("head.fc.weight").unwrap()),
        ("classifier.bias".to_owned(), teacher.remove("head.fc.bias").unwrap()),
    ])
}

#[test]
fn answers_that_were_given_teach_as_the_teacher_itself() {
    let world = World::new();
    let answers = answers(&world);
    write(&world, "answers.safetensors", &answers);
    world.hcd("distill student.toml --cache kept --set teacher.stored=f32 --out cached").succeeded();
    world.hcd("distill student.toml --teacher-features answers.safetensors --out given").succeeded();
    assert!(world.read("cached/student.safetensors") == world.read("given/student.safetensors"));

    // Beside others, and by a method's budget; no network is there to be measured, so the table has no teacher.
    let line =
        "compare student.toml --methods kd,hcd --seeds 0 --teacher-features answers.safetensors --json";
    let result = world.hcd(&format!("{line} --out both")).succeeded().json();
    assert!(result["teacher"].is_null() && result["methods"].as_array().unwrap().len() == 2, "{result}");
    assert_eq!(world.hcd(&format!("{line} --budget")).succeeded().json()["teacher_seconds"], 0.0);

    // Answers about whole images stand for every view.
    let mut whole = answers;
    whole.remove("views");
    whole.remove("seeds");
    let half = |(dtype, mut shape, mut bytes): (Dtype, Vec<usize>, Vec<u8>)| {
        shape[0] /= 2;
        bytes.truncate(bytes.len() / 2);
        (dtype, shape, bytes)
    };
    for name in ["features", "ids"] {
        let tensor = whole.remove(name).unwrap();
        whole.insert(name.to_owned(), half(tensor));
    }
    write(&world, "whole.safetensors", &whole);
    let told = world.hcd("distill student.toml --teacher-features whole.safetensors --out whole").succeeded();
    assert!(told.stderr.contains("each answer stands for every view"), "{}", told.stderr);
}

#[test]
fn views_are_written_as_they_are_shown() {
    let world = World::new();
    let told = world.hcd("views student.toml --out views --json").succeeded().json();
    assert_eq!((&told["views"], &told["samples"]), (&serde_json::json!([0, 1]), &54.into()));
    assert_eq!(world.list("views"), ["view-00000.safetensors", "view-00001.safetensors"]);
    let [first, second] = [0, 1].map(|number| read(&world, &format!("views/view-{number:05}.safetensors")));
    assert_eq!((first["images"].0, first["images"].1.as_slice()), (Dtype::F32, &[54, 1, 12, 12][..]));
    assert_eq!(
        (first["ids"].0, &first["ids"].1, first["labels"].1.as_slice()),
        (Dtype::I64, &second["ids"].1, &[54][..])
    );
    assert!(first["ids"].2 == second["ids"].2 && first["images"].2 != second["images"].2);
    let pixels = first["images"].2.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    assert!(pixels.clone().all(|value| (-1e-5..=1.00001).contains(&value)));
    // Levels of 8 bits, as the files have them.
    assert!(pixels.clone().all(|value| ((value * 255.0).round() / 255.0 - value).abs() < 1e-5));
    world.hcd("views student.toml --numbers 1 --out one").succeeded();
    assert!(world.read("one/view-00001.safetensors") == world.read("views/view-00001.safetensors"));
    world.hcd("views student.toml --out views").refused(&["views", "not empty"]);
    // As a teacher of larger images looks at them.
    world.hcd("views student.toml --numbers 1 --image-size 24 --out large").succeeded();
    assert_eq!(read(&world, "large/view-00001.safetensors")["images"].1, [54, 1, 24, 24]);
    world.hcd("views student.toml --image-size 0 --out no").refused(&["--image-size: ", "= 0"]);
}

#[test]
fn answers_about_other_views_or_data_are_refused() {
    let world = World::new();
    write_of(&world, "answers.safetensors", &answers(&world), about(&world));
    let line = "distill student.toml --method kd --teacher-features answers.safetensors --out";
    let sound = world.hcd(&format!("{line} run")).succeeded();
    assert!(!sound.stderr.contains("taken at its word"), "{sound}");
    // Other crops have the same ids and numbers; so has another part of the images.
    world
        .hcd(&format!("{line} no --set data.views.crop_padding=2"))
        .refused(&["about other views (data.views)", "hcd views"]);
    world.hcd(&format!("{line} no --set data.validation=0")).refused(&["about other data than", "hcd views"]);
    write(&world, "plain.safetensors", &answers(&world));
    let plain = world.hcd(&line.replace("answers", "plain").replace("--out", "--out plain")).succeeded();
    assert!(
        plain.stderr.contains("note: plain.safetensors: does not say of which data and views"),
        "{plain}"
    );
}

#[test]
fn answers_that_cannot_be_meant_are_refused() {
    let world = World::new();
    let sound = answers(&world);
    let spoilt = |change: &dyn Fn(&mut Tensors)| {
        let mut tensors = sound.clone();
        change(&mut tensors);
        write(&world, "wrong.safetensors", &tensors);
        world.hcd("distill student.toml --teacher-features wrong.safetensors --out wrong")
    };
    spoilt(&|t| drop(t.remove("ids")))
        .refused(&["wrong.safetensors: has no tensor `ids`, but classifier.bias"]);
    spoilt(&|t| drop(t.remove("classifier.bias"))).refused(&["no tensor `classifier.bias`"]);
    spoilt(&|t| drop(t.remove("classifier.weight")))
        .refused(&["has neither `logits` nor `classifier.weight`"]);
    spoilt(&|t| t.get_mut("classifier.bias").unwrap().1 = vec![1, 3])
        .refused(&["tells 1 classes apart, the data have 3"]);
    spoilt(&|t| t.get_mut("ids").unwrap().2[0] ^= 64).refused(&["answers are missing", "view", "hcd views"]);
    spoilt(&|t| t.get_mut("ids").unwrap().2[7] = 255).refused(&["`ids` holds -", "below 0"]);
    spoilt(&|t| t.get_mut("ids").unwrap().2.copy_within(0..8, 8)).refused(&["answers twice about sample"]);
    spoilt(&|t| t.get_mut("features").unwrap().2[..4].copy_from_slice(&f32::NAN.to_le_bytes()))
        .refused(&["the answer about sample", "holds NaN"]);
    spoilt(&|t| drop(t.remove("views"))).refused(&["has no tensor `views`"]);
    spoilt(&|t| drop(t.remove("seeds"))).refused(&["has no tensor `seeds`"]);
    let neither = |t: &mut Tensors| t.retain(|name, _| name != "views" && name != "seeds");
    spoilt(&neither).refused(&["answers twice about sample"]);
    write_of(&world, "sound.safetensors", &sound, about(&world));
    for (line, names) in [
        ("--epochs 3", &["answers are missing", "view 2"][..]),
        // The same numbers under another seed are other views.
        ("--seed 1", &["108 answers are missing", "view 0 of seed 1"]),
        ("--method fitnet", &["fitnet", "its last feature and logits alone"]),
        ("--cache kept", &["teacher.cache is for a teacher that looks at images"]),
        ("--teacher teacher.safetensors", &["--teacher"]),
    ] {
        let line = format!("distill student.toml --teacher-features sound.safetensors --out wrong {line}");
        world.hcd(&line).refused(names);
    }
    let line = "cache-teacher student.toml --teacher-features sound.safetensors --cache more";
    world.hcd(line).refused(&["teacher.cache is for a teacher that looks at images"]);
    assert!(!world.path("wrong").exists());
}
