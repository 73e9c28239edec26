//! A run that is killed and goes on ends as if nothing had happened, bit for bit.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::Path;
use support::World;

/// As long a run as kills at many places need: 12 epochs of 5 steps, a checkpoint after each step.
const LONG: &str = "student.toml --epochs 12 --set train.checkpoint_steps=1";

/// What a finished run is judged by: all files but the one that keeps the time, and what quotes it.
fn outcome(world: &World, run: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = world.tree(run);
    assert!(!files.keys().any(|name| name.ends_with(".tmp")), "left over: {:?}", files.keys());
    files.remove("timing.json").unwrap();
    files.remove("report.html").unwrap();
    let mut result: serde_json::Value = serde_json::from_slice(&files["result.json"]).unwrap();
    result["seconds"] = 0.into();
    files.insert("result.json".to_owned(), result.to_string().into_bytes());
    files.into_iter().collect()
}

/// That two runs left the same files with the same bytes.
fn assert_same(world: &World, run: &str, expected: &str) {
    let (run, expected) = (outcome(world, run), outcome(world, expected));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&run), names(&expected));
    let differing: Vec<_> = run.iter().zip(&expected).filter(|(a, b)| a != b).map(|(a, _)| &a.0).collect();
    assert!(differing.is_empty(), "these differ: {differing:?}");
}

/// Names in a folder, none where it is not there.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The step of the newest checkpoint that has its sum.
fn newest_step(run: &Path) -> u64 {
    let step = |name: &String| name.strip_prefix("step-")?.strip_suffix(".safetensors.b3")?.parse().ok();
    names(&run.join("checkpoints")).iter().filter_map(step).max().unwrap_or(0)
}

/// Runs `command LONG flags` whole and, beside it, killed at many places; both must come to the same.
fn check(command: &str, flags: &str) {
    let world = World::new();
    world.hcd(&format!("{command} {LONG} {flags} --out whole")).succeeded();
    let run = world.path("cut");
    let folder = run.clone();
    let checkpoints = run.join("checkpoints");
    // A file without its name, or without its sum: the kill hits while a checkpoint is written. It is a matter of
    // chance to see one, so some steps further counts as well.
    let unfinished = move || {
        let all = names(&checkpoints);
        let sums = all.iter().filter(|name| name.ends_with(".b3")).count();
        all.iter().any(|name| name.ends_with(".tmp")) || all.len() > 2 * sums
    };
    let mut killed = 0;
    // As soon as there is a folder, a recipe, a first checkpoint; then every few steps.
    let start = format!("{command} {LONG} {flags} --out cut");
    killed += usize::from(world.kill_when(&start, || folder.join("run.json").exists()));
    loop {
        // Until the recipe is there nothing was begun, and the same command begins it.
        let begun = folder.join("recipe.toml").exists();
        let line = if begun { format!("{command} --resume cut") } else { start.clone() };
        let before = newest_step(&folder);
        let even = killed % 2 == 0;
        let cut = world.kill_when(&line, || {
            let now = newest_step(&folder);
            if !begun || before == 0 {
                now > 0
            } else {
                now >= before + 9 || (even && now > before && unfinished())
            }
        });
        if !cut {
            break;
        }
        killed += 1;
    }
    assert!(killed >= 3, "the run was over after {killed} kills");
    assert_same(&world, "cut", "whole");
}

#[test]
fn a_distillation_by_hcd() {
    check("distill", "--method hcd");
}

#[test]
fn a_training_from_labels() {
    check("train", "--seed 5");
}

/// All that has a state of its own at once: AdamW, averaged weights, clipping, accumulation over an epoch's end
/// (5 batches by twos), and a student that draws chance in its forward pass.
#[test]
fn everything_that_has_a_state() {
    check(
        "distill",
        "--method kd --set train.accumulate=2 --set train.ema_decay=0.8 --set train.clip_norm=1 \
         --set optimizer={name=\"adamw\",lr=0.005} --set schedule={name=\"cosine\",per=\"step\"} \
         --set student={name=\"swin_small_patch2\",width=8,heads=[1,2,2],depths=[1,1,1],drop_path=0.3}",
    );
}

/// A run in `cut`, killed with at least two checkpoints; and what it comes to in the end, in `whole`.
fn killed_half_way() -> World {
    let world = World::new();
    world.hcd(&format!("distill {LONG} --out whole")).succeeded();
    let run = world.path("cut");
    let line = format!("distill {LONG} --out cut");
    assert!(world.kill_when(&line, || newest_step(&run) >= 12), "over before it could be killed");
    world
}

/// The whole checkpoints of `cut`, oldest first.
fn checkpoints(world: &World) -> Vec<String> {
    let sums = world
        .list("cut/checkpoints")
        .into_iter()
        .filter_map(|name| Some(name.strip_suffix(".b3")?.to_owned()));
    sums.map(|name| format!("cut/checkpoints/{name}")).collect()
}

#[test]
fn a_damaged_checkpoint_is_passed_over_with_a_warning() {
    let damages: [fn(&World, &str); 3] = [
        |world, newest| world.damage(newest),
        |world, newest| world.write(newest, &world.read(newest)[..1000]),
        |world, newest| std::fs::remove_file(world.path(newest)).unwrap(),
    ];
    let world = killed_half_way();
    let before = world.tree("cut");
    for (index, damage) in damages.iter().enumerate() {
        std::fs::remove_dir_all(world.path("cut")).unwrap();
        for (name, bytes) in &before {
            match name.strip_suffix('/') {
                Some(folder) => std::fs::create_dir_all(world.path("cut").join(folder)).unwrap(),
                None => {
                    std::fs::create_dir_all(world.path("cut").join(name).parent().unwrap()).unwrap();
                    world.write(&format!("cut/{name}"), bytes);
                }
            }
        }
        let newest = checkpoints(&world).pop().unwrap();
        damage(&world, &newest);
        let ran = world.hcd("distill --resume cut").succeeded();
        // One that is gone leaves nothing to warn of.
        let expected = if index < 2 { 1 } else { 0 };
        assert_eq!(ran.warnings().len(), expected, "{ran}");
        for warning in ran.warnings() {
            assert!(warning.contains(&newest) && warning.contains("using the one before it"), "{warning}");
        }
        assert_same(&world, "cut", "whole");
    }
}

#[test]
fn with_no_whole_checkpoint_left_it_says_so() {
    let world = killed_half_way();
    let all = checkpoints(&world);
    all.iter().for_each(|name| world.damage(name));
    let names: Vec<&str> = all.iter().map(String::as_str).collect();
    let ran = world.hcd("distill --resume cut");
    ran.refused(&["cut/checkpoints: no whole checkpoint is left", "start the run anew"]);
    ran.refused(&names);
}

#[test]
fn another_number_of_threads_is_warned_of() {
    let world = killed_half_way();
    let ran = world.hcd("distill --resume cut --threads 2").succeeded();
    let [warning] = ran.warnings()[..] else { panic!("{ran}") };
    assert!(warning.contains("began with 1 threads and goes on with 2"), "{warning}");
}

#[test]
fn other_data_are_refused() {
    let world = killed_half_way();
    let before = world.tree("cut");
    let mut images = world.read("data/train-images-idx3-ubyte");
    *images.last_mut().unwrap() ^= 1;
    world.write("data/train-images-idx3-ubyte", images);
    world
        .hcd("distill --resume cut")
        .refused(&["cut: the training data at data are not what the run began with"]);
    assert!(world.tree("cut") == before, "the run was changed");
}

#[test]
fn only_a_run_can_go_on_and_only_by_its_own_command() {
    let world = killed_half_way();
    world.hcd("distill --resume data").refused(&["data: not the folder of a run", "recipe.toml is missing"]);
    world.hcd("train --resume nowhere").refused(&["nowhere: not the folder of a run"]);
    world.hcd("train --resume cut").refused(&["cut: is a distillation", "hcd distill --resume cut"]);
    world.hcd("distill --resume cut --seed 1").refused(&["--resume", "--seed", "cannot be used with"]);
    world.hcd("train teacher.toml --out labels").succeeded();
    world
        .hcd("distill --resume labels")
        .refused(&["labels: learns from labels", "hcd train --resume labels"]);
    world.hcd("compare student.toml --methods scratch --seeds 0 --epochs 1 --out all").succeeded();
    world.hcd("train --resume all").refused(&["all: not the folder of a run", "run.json is missing"]);
}
