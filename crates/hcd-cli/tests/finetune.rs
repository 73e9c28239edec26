//! Fine-tuning by the command: weights of any origin to begin with, and teachers that say nothing of themselves.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use hcd::models::weights::{self, TensorMap};
use support::World;

/// A world with a trained network, once with what it says of itself and once as strangers' files are.
fn trained() -> World {
    let world = World::new();
    world.hcd("train teacher.toml --out first").succeeded();
    let bytes = std::fs::read(world.path("first/student.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensors: Vec<_> = file.tensors();
    world.write("stranger.safetensors", safetensors::serialize(tensors, None).unwrap());
    world
}

fn tensors(world: &World, name: &str) -> TensorMap {
    weights::read::<serde_json::Value>(&world.path(name)).unwrap().0
}

#[test]
fn a_training_begins_with_the_weights_given() {
    let world = trained();
    let line = "train teacher.toml --weights stranger.safetensors --epochs 1 --set finetune.freeze_stages=3 --out next";
    let ran = world.hcd(line).succeeded();
    assert!(!ran.stderr.contains("replaced"), "{ran}");
    let (before, after) =
        (tensors(&world, "stranger.safetensors"), tensors(&world, "next/student.safetensors"));
    let moved: Vec<&String> = before.keys().filter(|name| before[*name] != after[*name]).collect();
    assert!(!moved.is_empty());
    assert!(moved.iter().all(|name| name.starts_with("head.") || name.starts_with("norm.")), "{moved:?}");
    // The run knows which weights it began with.
    let about = world.json("next/run.json");
    assert_eq!(about["initial"].as_str().unwrap().len(), 64, "{about}");
}

#[test]
fn weights_for_other_classes_get_a_new_classifier_and_say_so() {
    let world = trained();
    support::write_data(&world.path("more-classes"), 4);
    let line = "train teacher.toml --weights stranger.safetensors --data more-classes --epochs 1 --out next";
    let ran = world.hcd(line).succeeded();
    assert!(
        ran.stderr.contains("note: classifier `head.fc` of 3 classes replaced by a new one of 4"),
        "{ran}"
    );
}

#[test]
fn a_run_goes_on_only_with_the_weights_that_it_began_with() {
    let world = trained();
    world.hcd("train teacher.toml --weights stranger.safetensors --epochs 1 --out next").succeeded();
    std::fs::remove_file(world.path("next/result.json")).unwrap();
    world.hcd("train teacher.toml --seed 5 --out other").succeeded();
    let bytes = std::fs::read(world.path("other/student.safetensors")).unwrap();
    world.write("stranger.safetensors", bytes);
    world.hcd("train --resume next").refused(&["next", "student.weights", "not what the run began with"]);
}

#[test]
fn a_teacher_that_says_nothing_is_named_in_the_recipe() {
    let world = trained();
    let line = "distill student.toml --teacher stranger.safetensors --epochs 1 --out next";
    world.hcd(line).refused(&["stranger.safetensors", "--model"]);
    let recipe = world.text("teacher.toml");
    let table: toml::Table = recipe.parse().unwrap();
    let model = table["model"].as_table().unwrap();
    let options: String = model
        .iter()
        .map(|(key, value)| format!(" --set teacher.model.{key}={value}").replace(", ", ","))
        .collect();
    let ran = world.hcd(&format!("{line}{options}"));
    ran.succeeded();
    let recipe = world.text("next/recipe.toml");
    assert!(recipe.contains("[teacher.model]"), "{recipe}");
}

#[test]
fn what_cannot_be_begun_with_is_refused() {
    let world = trained();
    world.hcd("train teacher.toml --weights none.safetensors --out next").refused(&["none.safetensors"]);
    let line = "train teacher.toml --weights stranger.safetensors --set model.depths=[1,1,2] --out next";
    world.hcd(line).refused(&["stranger.safetensors", "layers.2.blocks.1.norm1.weight is missing"]);
    world
        .hcd("train teacher.toml --set finetune.layer_decay=2 --out next")
        .refused(&["finetune.layer_decay = 2, must be in (0, 1]"]);
    world
        .hcd("train teacher.toml --set finetune.freeze_stages=9 --out next")
        .refused(&["finetune.freeze_stages = 9", "stages"]);
    assert!(!world.path("next").exists(), "nothing half-written");
}
