//! Several processes at one folder: each cell of a comparison is trained by one of them, and a run by one alone.
#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs::File;
use std::time::{Duration, Instant};
use support::{Ran, World};

const METHODS: [&str; 3] = ["scratch", "kd", "hcd"];

#[test]
fn two_processes_share_a_comparison() {
    let world = World::new();
    let line = |out: &str| {
        format!("compare student.toml --epochs 6 --methods {} --seeds 0,1 --out {out}", METHODS.join(","))
    };
    world.hcd(&line("alone")).succeeded();
    let both = [0, 1].map(|_| world.start(&line("shared"))).map(|started| started.ended().succeeded());
    assert_eq!(
        both.iter().map(Ran::epochs_told).sum::<usize>(),
        METHODS.len() * 2 * 6,
        "{}{}",
        both[0],
        both[1]
    );
    for cell in METHODS.iter().flat_map(|method| [0, 1].map(|seed| format!("{method}/seed-{seed}"))) {
        for file in ["student.safetensors", "student-best.safetensors", "metrics.jsonl", "recipe.toml"] {
            let read = |out: &str| world.read(&format!("{out}/{cell}/{file}"));
            assert!(read("alone") == read("shared"), "{cell}: {file} differs");
        }
    }
    assert_eq!(world.text("shared/results.csv").lines().count(), 1 + METHODS.len() * 2);
}

#[test]
fn a_cell_that_another_process_is_at_is_waited_for_and_taken_over() {
    let world = World::new();
    world.hcd("compare student.toml --methods scratch --seeds 1 --out all").succeeded();
    std::fs::create_dir(world.path("all/scratch/seed-0")).unwrap();
    let held = File::open(world.path("all/scratch/seed-0")).unwrap();
    held.lock().unwrap();
    let mut other = world.start("compare student.toml --methods scratch,kd --seeds 0 --out all");
    let began = Instant::now();
    while !world.path("all/kd/seed-0/result.json").exists() {
        assert!(!other.is_over() && began.elapsed() < Duration::from_secs(120));
        std::thread::sleep(Duration::from_millis(5));
    }
    // Long enough for it to have looked again.
    std::thread::sleep(Duration::from_secs(1));
    assert!(!other.is_over(), "it did not wait");
    assert!(world.list("all/scratch/seed-0").is_empty(), "two would be at one cell");
    held.unlock().unwrap();
    let other = other.ended().succeeded();
    assert_eq!(other.stderr.matches("waiting for them").count(), 1, "{other}");
    assert!(world.path("all/scratch/seed-0/result.json").exists());
    assert_eq!(world.text("all/results.csv").lines().count(), 1 + 2);
}

#[test]
fn a_run_that_another_process_is_at_is_left_alone() {
    let world = World::new();
    let line = "train student.toml --epochs 6 --set train.checkpoint_steps=1 --out run";
    let checkpoints = world.path("run/checkpoints");
    assert!(world.kill_when(line, || checkpoints.exists()), "over before it could be killed");
    let held = File::open(world.path("run")).unwrap();
    held.lock().unwrap();
    let before = world.tree("run");
    world.hcd("train --resume run").refused(&[
        "run: another process is at this run",
        "wait for its end",
        "--out",
    ]);
    assert!(world.tree("run") == before, "the run was changed");
    held.unlock().unwrap();
    world.hcd("train --resume run").succeeded();
}
