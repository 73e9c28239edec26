//! Comparisons: methods by seeds, and the demo, which is one.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;
use support::{RUN, World, idx, write_data};

/// When each file of a comparison's cells was last written.
fn written(world: &World, folder: &str) -> BTreeMap<String, SystemTime> {
    let cells = world.tree(folder).into_keys().filter(|name| name.matches('/').count() == 2);
    let time = |name: &String| Path::new(folder).join(name).display().to_string();
    let files: Vec<String> = cells.filter(|name| !name.ends_with('/')).collect();
    files
        .into_iter()
        .map(|name| {
            let path = world.path(&time(&name));
            (name, path.metadata().unwrap().modified().unwrap())
        })
        .collect()
}

#[test]
fn a_finished_comparison_is_read_and_not_run_again() {
    let world = World::new();
    let line = "compare student.toml --methods scratch,hcd --seeds 0,1 --out all --json";
    let first = world.hcd(line).succeeded();
    assert_eq!(first.epochs_told(), 2 * 2 * 2);
    let result = first.json();
    let cells: Vec<_> = result["methods"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cell| (cell["name"].as_str().unwrap().to_owned(), cell["seed"].as_u64().unwrap()))
        .collect();
    let expected = [("scratch", 0), ("scratch", 1), ("hcd", 0), ("hcd", 1)];
    assert_eq!(cells, expected.map(|(name, seed)| (name.to_owned(), seed)));
    assert_eq!(result["teacher"]["name"], "swin_small_patch2");
    for (name, seed) in expected {
        let files: Vec<_> = RUN.into_iter().filter(|name| *name != "report.html").collect();
        assert_eq!(world.list(&format!("all/{name}/seed-{seed}")), files);
    }
    assert_eq!(
        world.list("all"),
        ["hcd", "recipe.toml", "report.html", "results.csv", "results.md", "scratch", "teacher.json"]
    );
    assert_eq!(world.text("all/results.csv").lines().count(), 1 + 4);

    let before = written(&world, "all");
    let again = world.hcd(line).succeeded();
    assert_eq!(again.epochs_told(), 0, "{again}");
    assert_eq!(again.json()["methods"], result["methods"]);
    assert_eq!(written(&world, "all"), before);

    // One more seed: that alone is run.
    let more = world.hcd("compare student.toml --methods scratch,hcd --seeds 0,1,2 --out all").succeeded();
    assert_eq!(more.epochs_told(), 2 * 2);
    let after = written(&world, "all");
    assert!(before.iter().all(|(name, time)| after[name] == *time));

    // Another recipe is not mixed in.
    world
        .hcd("compare student.toml --methods scratch,hcd --seeds 0 --out all --lr 0.01")
        .refused(&["all: holds a comparison by another recipe (optimizer.lr = 0.05, now 0.01)", "--out"]);
}

#[test]
fn what_lies_behind_the_figures_is_told() {
    let world = World::new();
    let line =
        "compare student.toml --methods scratch,kd,hcd --seeds 0 --set train.gradient_norms=true --out all";
    world.hcd(line).succeeded();
    for method in ["scratch", "kd", "hcd"] {
        let insight = world.json(&format!("all/{method}/seed-0/insight.json"));
        let result = world.json(&format!("all/{method}/seed-0/result.json"));
        let bins = insight["calibration"].as_array().unwrap();
        let images: u64 = bins.iter().map(|bin| bin["images"].as_u64().unwrap()).sum();
        let right = |bin: &serde_json::Value| {
            bin["images"].as_f64().unwrap() * bin["accuracy"].as_f64().unwrap() / images as f64
        };
        let accuracy: f64 = bins.iter().map(right).sum();
        assert!((accuracy - result["top1"].as_f64().unwrap()).abs() < 1e-9, "{method}");
        let beside = &insight["beside_teacher"];
        assert_eq!(beside["stages"].as_array().unwrap().len(), 4, "{method}");
        assert!((0.0..=100.0).contains(&beside["agreement"].as_f64().unwrap()));
        assert!((0.0..=1.0 + 1e-6).contains(&beside["penultimate"].as_f64().unwrap()));
    }
    let page = world.text("all/report.html");
    for heading in ["Beside the teacher", "Gain by class", "Sub-logits", "Gradients by term"] {
        assert!(page.contains(&format!("<h2>{heading}</h2>")), "{heading}");
    }
    // Of bins of so few images, none is drawn.
    assert!(!page.contains("<h2>Calibration</h2>"));
    // The same page from what the folders hold, weights not among it.
    for method in ["scratch", "kd", "hcd"] {
        for weights in ["student", "student-best"] {
            std::fs::remove_file(world.path(&format!("all/{method}/seed-0/{weights}.safetensors"))).unwrap();
        }
    }
    world.hcd("report all --out later").succeeded();
    let body = |page: String| {
        page.split("<h2>Beside").nth(1).unwrap().split("<h2>Recipe").next().unwrap().to_owned()
    };
    assert_eq!(body(world.text("later/report.html")), body(page));
    // A network from labels alone stands beside nobody.
    world.hcd("train student.toml --out alone").succeeded();
    assert!(world.json("alone/insight.json")["beside_teacher"].is_null());
    assert!(!world.text("alone/report.html").contains("Beside the teacher"));
}

/// To choose by: figures of the held-out images, which the labels of the test images have no part in.
#[test]
fn a_comparison_on_validation_data_leaves_the_test_images_alone() {
    let world = World::new();
    let line = "compare student.toml --methods scratch,kd --seeds 0 --on validation --out choose --json";
    let result = world.hcd(line).succeeded().json();
    for cell in result["methods"].as_array().unwrap() {
        let name = cell["name"].as_str().unwrap();
        let epochs = world.text(&format!("choose/{name}/seed-0/metrics.jsonl"));
        let last: serde_json::Value = serde_json::from_str(epochs.lines().last().unwrap()).unwrap();
        assert_eq!(
            (&cell["split"], &cell["top1"]),
            (&"validation".into(), &last["validation"]["top1"]),
            "{name}"
        );
        assert_eq!(cell["chosen"]["top1"], cell["chosen"]["validation_top1"], "{name}");
    }
    assert!(world.text("choose/results.md").contains("Top-1 on validation images"));
    assert!(world.text("choose/report.html").contains("Test data was not read"));
    assert!(world.text("choose/recipe.toml").contains("on = \"validation\""));

    // Other labels of the test images change nothing.
    let labels = "data/t10k-labels-idx1-ubyte";
    let mut bytes = world.read(labels);
    bytes[8..].rotate_left(1);
    world.write(labels, bytes);
    let other = world.hcd(&line.replace("choose", "other")).succeeded().json();
    assert_eq!(other["teacher"]["top1"], result["teacher"]["top1"]);
    for (one, two) in other["methods"].as_array().unwrap().iter().zip(result["methods"].as_array().unwrap()) {
        assert_eq!((&one["top1"], &one["loss"]), (&two["top1"], &two["loss"]));
    }

    // A comparison is on one split.
    world.hcd("compare student.toml --methods scratch --seeds 0 --out choose").refused(&[
        "choose: holds a comparison by another recipe (compare.on = validation, now test)",
        "--out",
    ]);
    world
        .hcd("compare student.toml --methods scratch --on validation --out no --set data.validation=0")
        .refused(&["compare.on = \"validation\" needs held-out images", "data.validation = 0"]);
}

/// The demo's own recipe, on files of its names where it is run: small ones.
#[test]
fn the_demo_compares_three_ways_to_train() {
    let world = World::new();
    write_data(&world.path("data/fashion-mnist"), 3);
    // The demo's batches are of 64 images: twice the 60.
    let twice = |name: &str, dims: &[usize], header: usize| {
        let name = format!("data/fashion-mnist/{name}");
        world.write(&name, idx(dims, &world.read(&name)[header..].repeat(2)));
    };
    twice("train-images-idx3-ubyte", &[120, 12, 12], 16);
    twice("train-labels-idx1-ubyte", &[120], 8);
    std::fs::create_dir(world.path("teachers")).unwrap();
    world.write("teachers/swin_small_patch2-fashion-mnist.safetensors", world.read("teacher.safetensors"));

    let ran = world.hcd("demo --epochs 2 --seed 4 --out demo --json").succeeded();
    assert_eq!(ran.epochs_told(), 3 * 2);
    let result = ran.json();
    let rows = result["methods"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| &row["name"]).collect::<Vec<_>>(), ["scratch", "kd", "hcd"]);
    assert!(rows.iter().all(|row| row["seed"] == 4 && row["epochs"] == 2), "{result}");
    assert_eq!(result["teacher"]["name"], "swin_small_patch2");
    let report =
        ["hcd", "kd", "recipe.toml", "report.html", "results.csv", "results.md", "scratch", "teacher.json"];
    assert_eq!(world.list("demo"), report);
}

#[test]
fn a_killed_comparison_goes_on() {
    let world = World::new();
    let line = |out: &str| {
        format!(
            "compare student.toml --epochs 6 --set train.checkpoint_steps=1 --methods scratch,kd --seeds 3 --out {out}"
        )
    };
    world.hcd(&line("whole")).succeeded();
    // Killed in each cell: at its first checkpoint, and at one in its second epoch.
    let mut killed = 0;
    for cell in ["scratch", "kd"] {
        for at in ["checkpoints", "student-best.safetensors"] {
            let path = world.path(&format!("cut/{cell}/seed-3/{at}"));
            killed += usize::from(world.kill_when(&line("cut"), || path.exists()));
        }
    }
    assert!(killed >= 2, "the runs were over before they could be killed");
    world.hcd(&line("cut")).succeeded();
    for cell in ["scratch", "kd"] {
        for file in ["student.safetensors", "metrics.jsonl", "recipe.toml"] {
            let of = |out: &str| world.read(&format!("{out}/{cell}/seed-3/{file}"));
            assert!(of("whole") == of("cut"), "{cell}: {file} differs");
        }
    }
}
