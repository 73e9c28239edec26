//! What each command does, prints and leaves, as a user and a script see it.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Stdio;
use support::{RUN, World};

const COMMANDS: [&str; 11] = [
    "demo", "train", "distill", "compare", "evaluate", "predict", "features", "export", "models", "methods",
    "recipe",
];

#[test]
fn every_command_explains_itself_with_examples() {
    let world = World::new();
    let overview = world.hcd("--help").succeeded().stdout;
    for command in COMMANDS {
        assert!(overview.contains(&format!("\n  {command} ")), "{command} is not in: {overview}");
        let help = world.hcd(&format!("{command} --help")).succeeded();
        assert!(help.stdout.contains(&format!("Examples:\n  hcd {command}")), "{help}");
        assert_eq!(help.stderr, "");
    }
    assert!(world.hcd("--version").succeeded().stdout.starts_with("hcd "));
}

#[test]
fn training_leaves_a_whole_run() {
    let world = World::new();
    let ran = world.hcd("train teacher.toml --out run").succeeded();
    assert_eq!(ran.epochs_told(), 3);
    assert!(ran.stdout.contains("scratch") && !ran.stdout.contains("epoch 1:"), "{ran}");
    assert!(ran.stderr.ends_with("report: run/report.html\n"), "{ran}");
    assert_eq!(world.list("run"), RUN);
    let checkpoints = world.list("run/checkpoints");
    assert_eq!(checkpoints.len(), 4, "two and their sums: {checkpoints:?}");

    let metrics: Vec<Value> =
        world.text("run/metrics.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(metrics.iter().map(|line| line["epoch"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(metrics[0]["validation"]["images"], 6);

    // The recipe in the folder is complete and reads back: nothing of it is left to defaults.
    let values = world.hcd("recipe run/recipe.toml --json").json();
    let left: Vec<_> =
        values.as_array().unwrap().iter().filter(|value| value["source"] != "recipe").collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(world.text("run/report.html").contains("</html>"));
}

#[test]
fn a_recipe_for_distillation_trains_from_labels_as_well() {
    let world = World::new();
    let result = world.hcd("train student.toml --out run --json").succeeded().json();
    assert_eq!((&result["name"], &result["head_parameters"]), (&json!("scratch"), &json!(0)));
    let recipe = world.text("run/recipe.toml");
    assert!(!recipe.contains("[teacher]") && !recipe.contains("[method]"), "{recipe}");
}

#[test]
fn flags_alone_make_a_recipe() {
    let world = World::new();
    let line = "distill --data data --student resnet10_small --set student.widths=[4,4,8,8] \
                --teacher teacher.safetensors --epochs 1 --batch-size 10 --lr 0.1 --set method.sub_logits=2";
    world.hcd(&format!("{line} --out run")).succeeded();
    let recipe: toml::Table = world.text("run/recipe.toml").parse().unwrap();
    assert_eq!(recipe["method"]["name"].as_str(), Some("hcd"));
    assert_eq!(recipe["method"]["sub_logits"].as_integer(), Some(2));
    assert_eq!(recipe["optimizer"]["lr"].as_float(), Some(0.1));
}

#[test]
fn results_are_one_json_object_and_progress_is_elsewhere() {
    let world = World::new();
    let distilled = |method: &str| {
        let line = format!("distill student.toml --method {method} --out {method} --json");
        let ran = world.hcd(&line).succeeded();
        assert_eq!(ran.epochs_told(), 2, "{ran}");
        let result = ran.json();
        assert_eq!((&result["name"], &result["run"]), (&json!(method), &json!(method)));
        assert_eq!((&result["epochs"], &result["seed"]), (&json!(2), &json!(0)));
        for key in ["top1", "top5", "loss", "calibration_error", "seconds", "chosen", "parameters", "recipe"]
        {
            assert!(!result[key].is_null(), "no {key} in {result}");
        }
        // The object is that of the run's folder, and the folder's name.
        let mut saved = world.json(&format!("{method}/result.json"));
        saved["run"] = json!(method);
        assert_eq!(result, saved);
        result
    };
    let (kd, hcd) = (distilled("kd"), distilled("hcd"));
    assert_eq!(kd["parameters"], hcd["parameters"]);
    assert_eq!(kd["head_parameters"], 0);
    assert!(hcd["head_parameters"].as_u64().unwrap() > 0);
    // Heads are trained and not exported: both files hold the same tensors.
    assert_eq!(
        tensors(&world.read("kd/student.safetensors")),
        tensors(&world.read("hcd/student.safetensors"))
    );
}

/// Names and shapes of the tensors in a safetensors file.
fn tensors(file: &[u8]) -> BTreeMap<String, Value> {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: BTreeMap<String, Value> = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let tensors = header.into_iter().filter(|(name, _)| name != "__metadata__");
    tensors.map(|(name, tensor)| (name, tensor["shape"].clone())).collect()
}

#[test]
fn the_seed_decides_every_bit() {
    let world = World::new();
    let run = |name: &str, flags: &str| {
        world.hcd(&format!("distill student.toml --out {name} {flags}")).succeeded();
        let read = |file: &str| world.read(&format!("{name}/{file}"));
        (read("student.safetensors"), read("metrics.jsonl"))
    };
    let first = run("first", "--seed 1");
    let again = run("again", "--set seed=1");
    assert!(first.0 == again.0, "the weights differ");
    assert_eq!(first.1, again.1);
    let other = run("other", "--seed 2");
    assert!(first.0 != other.0 && first.1 != other.1, "another seed gave the same");
    // Under two threads too, though not the same bits as under one.
    let two = run("two", "--seed 1 --threads 2");
    let two_again = run("two-again", "--seed 1 --threads 2");
    assert!(two == two_again, "two threads gave two results");
}

#[test]
fn a_key_can_be_set_by_flag_or_by_name() {
    let world = World::new();
    world.hcd("train student.toml --out flag --epochs 1 --lr 0.01").succeeded();
    world.hcd("train student.toml --out set --set train.epochs=1 --set optimizer.lr=0.01").succeeded();
    assert_eq!(world.text("flag/recipe.toml"), world.text("set/recipe.toml"));
    assert!(world.read("flag/student.safetensors") == world.read("set/student.safetensors"));
    assert_eq!(world.text("set/metrics.jsonl").lines().count(), 1);
    // The last one counts, and --set more than a flag.
    let values = world.hcd("recipe student.toml --epochs 3 --set train.epochs=4 --set train.epochs=5 --json");
    assert_eq!(value_of(&values.json(), "train.epochs"), (json!(5), json!("flag")));
}

fn value_of(values: &Value, key: &str) -> (Value, Value) {
    let found = values.as_array().unwrap().iter().find(|value| value["key"] == key);
    let found = found.unwrap_or_else(|| panic!("no {key} in {values}"));
    (found["value"].clone(), found["source"].clone())
}

#[test]
fn a_resolved_recipe_names_the_source_of_each_value() {
    let world = World::new();
    let line = "recipe student.toml --set method.temperature=4 --batch-size 5";
    let values = world.hcd(&format!("{line} --json")).succeeded().json();
    let check = |key: &str, value: Value, source: &str| {
        assert_eq!(value_of(&values, key), (value, json!(source)), "{key}");
    };
    check("train.epochs", json!(2), "recipe");
    check("train.batch_size", json!(5), "flag");
    check("train.accumulate", json!(1), "default");
    check("student.widths", json!([4, 4, 8, 8]), "recipe");
    check("method.name", json!("hcd"), "default");
    check("method.temperature", json!(4.0), "flag");
    check("optimizer.name", json!("sgd"), "default");
    // As text it is a recipe again, of the same values.
    let text = world.hcd(line).succeeded().stdout;
    assert!(text.lines().any(|line| line.starts_with("train.batch_size = 5") && line.ends_with("# flag")));
    world.write("again.toml", &text);
    let keys = |values: &Value| -> BTreeMap<String, String> {
        let pair = |value: &Value| (value["key"].to_string(), value["value"].to_string());
        values.as_array().unwrap().iter().map(pair).collect()
    };
    assert_eq!(keys(&world.hcd("recipe again.toml --json").succeeded().json()), keys(&values));
}

#[test]
fn lists_name_what_recipes_can_name() {
    let world = World::new();
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    let methods = world.hcd("methods --json").succeeded().json();
    let expected = [
        "scratch",
        "kd",
        "kd-standardised",
        "dkd",
        "dist",
        "ofa",
        "fitnet",
        "cc",
        "rkd",
        "crd",
        "rsd",
        "hcd",
    ];
    assert_eq!(names(&methods), expected);
    assert_eq!(methods[11]["defaults"]["sub_logits"], 4);
    let models = world.hcd("models --json").succeeded().json();
    let (methods_text, models_text) = (world.hcd("methods").succeeded(), world.hcd("models").succeeded());
    for name in names(&methods) {
        assert!(methods_text.stdout.lines().any(|line| line.starts_with(&format!("{name}: "))));
    }
    for name in names(&models) {
        assert!(models_text.stdout.lines().any(|line| line.starts_with(&format!("{name} "))));
        world
            .hcd(&format!("recipe student.toml --student {name} --set student={{name=\"{name}\"}}"))
            .succeeded();
    }
    for row in models.as_array().unwrap() {
        assert!(
            row["parameters"].as_u64().unwrap() > 100_000 && !row["stages"].as_array().unwrap().is_empty()
        );
    }
}

#[test]
fn evaluation_finds_what_the_training_reported() {
    let world = World::new();
    let trained = world.hcd("train student.toml --out run --json").succeeded().json();
    let line = "evaluate --weights run/student.safetensors --data data";
    let found = world.hcd(&format!("{line} --json")).succeeded().json();
    for key in ["top1", "top5", "loss", "calibration_error", "parameters"] {
        assert_eq!(found[key], trained[key], "{key}");
    }
    assert_eq!((&found["model"], &found["images"]), (&json!("resnet10_small"), &json!(30)));
    assert!(found["images_per_second"].as_f64().unwrap() > 0.0);
    let classes = found["per_class"].as_array().unwrap();
    let mean = classes.iter().map(|class| class["top1"].as_f64().unwrap()).sum::<f64>() / 3.0;
    assert_eq!(classes.iter().map(|class| &class["class"]).collect::<Vec<_>>(), ["left", "middle", "right"]);
    // Each class has ten images, so the mean over classes is that over images, but for rounding.
    assert!((mean - found["top1"].as_f64().unwrap()).abs() < 1e-9, "{found}");

    let train = world.hcd(&format!("{line} --split train --json")).succeeded().json();
    assert_eq!(train["images"], 60);
    let text = world.hcd(line).succeeded();
    assert!(text.stdout.contains("calibration error") && text.stdout.contains("middle"), "{text}");
    assert_eq!(text.stderr, "");

    // The chosen epoch's weights do as the report says of them.
    let best =
        world.hcd("evaluate --weights run/student-best.safetensors --data data --json").succeeded().json();
    assert_eq!(best["top1"], trained["chosen"]["top1"]);
}

#[test]
fn a_finished_run_is_told_again_by_resume() {
    let world = World::new();
    let first = world.hcd("distill student.toml --out run --json").succeeded().json();
    let weights = world.read("run/student.safetensors");
    let again = world.hcd("distill --resume run --json").succeeded();
    assert_eq!((again.epochs_told(), again.json()), (0, first));
    assert!(world.read("run/student.safetensors") == weights);
}

#[test]
fn a_reader_that_goes_away_is_no_reason_to_panic() {
    let world = World::new();
    for line in
        ["models", "methods --json", "recipe student.toml", "train --help", "train student.toml --out run"]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = world.command(line).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.success() && !told.contains("panicked"),
            "hcd {line}: {}\n{told}",
            output.status
        );
    }
    // Nor where nobody reads progress.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = world.command("train student.toml --out quiet --json").stderr(writer).output().unwrap();
    assert!(output.status.success() && output.stdout.ends_with(b"}\n"), "{}", output.status);
}
