//! What a report does with runs that do not belong together, and a comparison with runs that come to no end.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use serde_json::Value;
use support::World;

/// Pair, method and seed of every run.
fn cells(result: &Value) -> Vec<(String, String, u64)> {
    let text = |cell: &Value, key: &str| cell[key].as_str().unwrap_or_default().to_owned();
    let cell = |cell: &Value| (text(cell, "pair"), text(cell, "name"), cell["seed"].as_u64().unwrap());
    result["methods"].as_array().unwrap().iter().map(cell).collect()
}

fn cell(pair: &str, name: &str, seed: u64) -> (String, String, u64) {
    (pair.to_owned(), name.to_owned(), seed)
}

#[test]
fn runs_of_one_setting_make_one_row_and_others_do_not() {
    let world = World::new();
    world.hcd("distill student.toml --method kd --epochs 1 --out a").succeeded();
    world.hcd("distill student.toml --method kd --epochs 1 --seed 1 --out b").succeeded();
    world.hcd("train student.toml --epochs 1 --out alone").succeeded();
    // Kept elsewhere, looked at more closely: the same runs for all that.
    world.hcd("distill student.toml --method kd --epochs 1 --seed 2 --cache kept --out c").succeeded();
    let told = world.hcd("report a b c alone --json").succeeded().json();
    let one = [cell("", "kd", 0), cell("", "kd", 1), cell("", "kd", 2), cell("", "scratch", 0)];
    assert_eq!(cells(&told), one);
    let table = world.hcd("report a b c alone").succeeded().stdout;
    assert!(table.contains(" ± ") && !table.contains("mean rank"), "{table}");

    // Another rate is another pair, and another temperature another method.
    world.hcd("distill student.toml --method kd --epochs 1 --lr 0.02 --out other").succeeded();
    world
        .hcd("distill student.toml --method kd --epochs 1 --set method.temperature=4 --out warm")
        .succeeded();
    let told = world.hcd("report a b alone other warm --json").succeeded().json();
    let (usual, slow) = ("optimizer.lr = 0.05, schedule.min_lr", "optimizer.lr = 0.02, schedule.min_lr");
    let found = cells(&told);
    let names: Vec<(&str, u64)> = found.iter().map(|(_, name, seed)| (name.as_str(), *seed)).collect();
    let (cold, warm) = ("kd (temperature = 1.0)", "kd (temperature = 4.0)");
    assert_eq!(names, [(cold, 0), (cold, 1), ("scratch", 0), (warm, 0), ("kd", 0)], "{told}");
    let starts = |text: &str| found.iter().map(|(pair, ..)| pair.starts_with(text)).collect::<Vec<_>>();
    assert_eq!(starts(usual), [true, true, true, true, false], "{told}");
    assert_eq!(starts(slow), [false, false, false, false, true], "{told}");

    // One seed twice would look like less spread than there is.
    world.hcd("distill student.toml --method kd --epochs 1 --out copy").succeeded();
    world.hcd("report a copy").refused(&["copy: is `kd` under seed 0", "very recipe of a", "name one"]);
}

#[test]
fn a_run_that_diverges_does_not_stop_the_others() {
    let world = World::new();
    let methods = "\n[compare]\nseeds = [0, 1]\nmethods = [{ name = 'kd', label = 'wild', kd_weight = 1e300 }, \
                   { name = 'kd' }, { name = 'scratch' }]\n";
    world.write("wild.toml", format!("{}{methods}", world.text("student.toml")));
    let ran = world.hcd("compare wild.toml --epochs 1 --out all --json").succeeded();
    let result = ran.json();
    let whole = [cell("", "kd", 0), cell("", "kd", 1), cell("", "scratch", 0), cell("", "scratch", 1)];
    assert_eq!(cells(&result), whole);
    let diverged = result["diverged"].as_array().unwrap();
    assert_eq!(diverged.iter().map(|run| run["seed"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1]);
    assert!(
        ran.stderr.contains("warning: wild diverged under seed 0, and is without that run: the loss is"),
        "{ran}"
    );
    for place in ["all/results.md", "all/report.html"] {
        assert!(world.text(place).contains("wild diverged under seed 1"), "{place}");
    }
    // It is not tried again, and a report knows of it.
    let again = world.hcd("compare wild.toml --epochs 1 --out all --json").succeeded();
    assert_eq!((again.epochs_told(), &again.json()["diverged"]), (0, &result["diverged"]));
    let told = world.hcd("report all --json").succeeded().json();
    assert_eq!((cells(&told), &told["diverged"]), (cells(&result), &result["diverged"]));
    // Alone, it is an error.
    let line = "distill student.toml --method kd --set method.kd_weight=1e300 --epochs 1 --out alone";
    world.hcd(line).refused(&["the loss is", "epoch 1", "optimizer.lr"]);
}

#[test]
fn a_finished_cell_is_of_its_teacher_and_its_recipe() {
    let world = World::new();
    let line = "compare student.toml --methods kd --seeds 0 --epochs 1 --out all";
    world.hcd(line).succeeded();
    let other = "\n[compare]\nseeds = [0]\nmethods = [{ name = 'kd', temperature = 2 }]\n";
    world.write("other.toml", format!("{}{other}", world.text("student.toml")));
    world.hcd(&line.replace("student.toml --methods kd", "other.toml")).refused(&[
        "all/kd/seed-0: was run with another recipe",
        "method.temperature = 1.0, now 2.0",
        "--out",
    ]);
    world.hcd("train teacher.toml --seed 5 --out elsewhere").succeeded();
    world.write("teacher.safetensors", world.read("elsewhere/student.safetensors"));
    world
        .hcd(line)
        .refused(&["all/kd/seed-0: what the teacher knows is not what the run began with", "--out"]);
}

#[test]
fn methods_are_taken_as_the_recipe_has_them() {
    let world = World::new();
    let methods = "\n[compare]\nseeds = [0]\nmethods = [{ name = 'kd', temperature = 4 }, \
                   { name = 'kd', label = 'soft', kd_weight = 0.5 }]\n";
    world.write("tuned.toml", format!("{}{methods}", world.text("student.toml")));
    world.hcd("compare tuned.toml --epochs 1 --methods kd,soft,kd-standardised --out all").succeeded();
    let recipe = |name: &str| world.text(&format!("all/{name}/seed-0/recipe.toml"));
    assert!(recipe("kd").contains("temperature = 4.0"), "{}", recipe("kd"));
    assert!(recipe("soft").contains("kd_weight = 0.5"), "{}", recipe("soft"));
    let standardised = recipe("kd-standardised");
    assert!(
        standardised.contains("standardise = true") && standardised.contains("temperature = 2.0"),
        "{standardised}"
    );
    // The same under its own name in a recipe, and a temperature that is named stays.
    let line =
        "distill student.toml --method kd-standardised --set method.temperature=3 --epochs 1 --out alone";
    world.hcd(line).succeeded();
    assert_eq!(world.json("alone/result.json")["name"], "kd-standardised");
    assert!(world.text("alone/recipe.toml").contains("temperature = 3.0"));
    world
        .hcd("compare tuned.toml --methods abc --out no")
        .refused(&["--methods abc: unknown", "kd, soft, scratch"]);
}

#[test]
fn a_folder_holds_one_comparison() {
    let world = World::new();
    let line = "compare student.toml --methods scratch,kd --seeds 0 --epochs 1 --out all";
    world.hcd(line).succeeded();
    let before = world.tree("all");
    for (line, words) in [
        (
            line.replace("epochs 1", "epochs 2"),
            &["all: holds a comparison by another recipe (train.epochs = 1, now 2)", "--out"][..],
        ),
        (format!("{line} --on validation"), &["(compare.on = test, now validation)", "--out"]),
        (format!("{line} --seed 5"), &["seed: a comparison has several", "--seeds"]),
        (format!("{line} --method kd"), &["method.name: a comparison has several", "--methods"]),
    ] {
        world.hcd(&line).refused(words);
    }
    assert!(world.tree("all") == before, "the comparison was changed");
    // Other methods and seeds are more of the same.
    let more = world.hcd(&line.replace("kd", "kd,dkd").replace("seeds 0", "seeds 0,1")).succeeded();
    assert_eq!(more.epochs_told(), 4);
    // What a killed process left of the metrics is made good by the checkpoint.
    std::fs::remove_file(world.path("all/kd/seed-0/result.json")).unwrap();
    let metrics = world.read("all/kd/seed-0/metrics.jsonl");
    world.write("all/kd/seed-0/metrics.jsonl", &metrics[..metrics.len() / 2]);
    world.hcd(line).succeeded();
    assert!(world.read("all/kd/seed-0/metrics.jsonl") == metrics);
    // A result without its run, or a damaged one, is not left out in silence.
    world.hcd("report nowhere").refused(&["nowhere: no such folder"]);
    world.hcd("report all all").succeeded();
    world.write("all/kd/seed-0/result.json", "{");
    world.hcd("report all").refused(&["all/kd/seed-0/result.json: not as written", "remove all/kd/seed-0"]);
    std::fs::remove_file(world.path("all/kd/seed-0/run.json")).unwrap();
    world.hcd("report all").refused(&["all/kd/seed-0: not the folder of a run", "run.json is missing"]);
}

#[test]
fn what_no_comparison_can_mean_is_refused_before_it_begins() {
    let world = World::new();
    let long = "x".repeat(101);
    for (methods, words) in [
        (
            "{ name = 'kd', label = 'results.md' }",
            &["label = \"results.md\"", "a comparison has a file of that name"][..],
        ),
        (&format!("{{ name = 'kd', label = '{long}' }}"), &["label has 101 letters", "at most 100"]),
        (
            "{ name = 'crd', negatives = 99999999999999 }",
            &["negatives = 99999999999999", "from 1 to 1048576"],
        ),
    ] {
        let text = world.text("student.toml");
        world.write("wrong.toml", format!("{text}\n[compare]\nseeds = [0]\nmethods = [{methods}]\n"));
        world.hcd("compare wrong.toml --out no").refused(words);
    }
    let line = "distill student.toml --method rkd --set train.batch_size=2 --out no";
    world.hcd(line).refused(&["train.batch_size = 2: rkd compares samples of a batch", "at least 3"]);
    // Weights that are no numbers teach nobody.
    let mut bytes = world.read("teacher.safetensors");
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    world.write("odd.safetensors", bytes);
    for line in [
        "evaluate --weights odd.safetensors --data data",
        "distill student.toml --teacher odd.safetensors --out no",
    ] {
        world.hcd(line).refused(&["odd.safetensors: `", "holds NaN", "diverged"]);
    }
    world
        .hcd("export --weights teacher.safetensors --out nowhere/x.safetensors")
        .refused(&["there is no folder nowhere", "make it first"]);
    assert!(!world.path("no").exists());
}
