//! Recipes: every shipped one resolves; what is wrong with one is told at once, in one line, key by key.
#![allow(clippy::unwrap_used, missing_docs)]

use hcd::Error;
use hcd::config::{self, Origin, Override, Recipe, Resolved, from_text, parse_override};
use hcd::methods::{METHODS, MethodConfig};
use hcd::models::PRESETS;
use hcd::train::{OptimizerConfig, Per, ScheduleConfig};
use std::path::{Path, PathBuf};
use toml::Value;

/// What every recipe must say.
const BASE: &str = "data.path = 'somewhere'\nstudent.name = 'resnet18'\n";

fn resolve(text: &str) -> Resolved {
    from_text(&format!("{BASE}{text}"), "x.toml", &[]).unwrap()
}

fn overrides(sets: &[&str]) -> Vec<Override> {
    sets.iter().map(|text| parse_override(text).unwrap()).collect()
}

/// The error of a recipe, one line that names the file.
fn error(text: &str, sets: &[&str]) -> String {
    let error = from_text(text, "x.toml", &overrides(sets)).unwrap_err();
    assert!(matches!(error, Error::Recipe(_)), "{error:?}");
    let message = error.to_string();
    assert!(!message.contains('\n'), "one line: {message}");
    assert!(message.starts_with("x.toml: ") || message.starts_with("--set "), "{message}");
    message
}

/// Asserts that the error of a recipe has all of these parts.
fn check_error(text: &str, parts: &[&str]) {
    let message = error(&format!("{BASE}{text}"), &[]);
    for part in parts {
        assert!(message.contains(part), "{text}\n  {message}\n  does not say: {part}");
    }
    // Nothing else is wrong: problems stand between semicolons, some parts have their own.
    let within: usize = parts.iter().map(|part| part.matches("; ").count()).sum();
    assert_eq!(message.matches("; ").count(), parts.len() - 1 + within, "{text}\n  {message}");
}

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let in_folder = |folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let folders = [folder.clone(), folder.join("ablations"), folder.join("cifar-10")];
    let files = folders.into_iter().flat_map(in_folder);
    let mut recipes: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    recipes.sort();
    recipes
}

#[test]
fn every_shipped_recipe_resolves_and_its_network_can_be_built() {
    assert!(shipped().iter().any(|path| path.ends_with("demo.toml")));
    for path in shipped() {
        let resolved = config::load(Some(&path), &[]).unwrap();
        let recipe = &resolved.recipe;
        recipe.student.resolve(1, 28, 10).unwrap();
        assert!(recipe.data.path.is_relative(), "{}", path.display());
        let weights = recipe.teacher.as_ref().and_then(|teacher| teacher.weights.as_ref());
        assert!(weights.is_none_or(|path| path.is_relative()));
        assert_eq!(recipe.teacher.is_some(), recipe.method.is_some(), "{}", path.display());
    }
}

#[test]
fn a_resolved_recipe_written_out_is_the_same_recipe() {
    let mut all: Vec<Resolved> =
        shipped().iter().map(|path| config::load(Some(path), &[]).unwrap()).collect();
    all.push(resolve(""));
    all.push(resolve("schedule = { name = 'step', milestones = [1, 2.5] }\ntrain.clip_norm = 0.1"));
    all.push(resolve("optimizer = { name = 'adamw', betas = [0.1, 0.3] }\nseed = 9007199254740993"));
    all.push(resolve("student.widths = [1, 2, 3, 4]\ntrain.ema_decay = 0.9999"));
    for method in &METHODS[1..] {
        all.push(resolve(&format!("teacher.weights = 'a b/ü.safetensors'\nmethod.name = '{}'", method.name)));
    }
    all.push(resolve(
        "teacher.weights = 't'\n[compare]\nseeds = [0, 1]\nmethods = [{ name = 'scratch' }, { name = 'hcd', \
         label = 'hcd-1', sub_kl_weight = 1 }, { name = 'hcd' }]",
    ));
    for resolved in all {
        let text = resolved.to_toml().unwrap();
        let again = from_text(&text, "again", &[]).unwrap();
        assert_eq!(again.recipe, resolved.recipe, "{text}");
        assert_eq!(again.to_toml().unwrap(), text);
        // Nothing is left open: all that the recipe holds, it says.
        assert!(again.origins.values().all(|origin| *origin == Origin::Recipe), "{:?}", again.origins);
        let values = resolved.values().unwrap();
        assert!(values.iter().map(|(key, _)| key).all(|key| again.origins.contains_key(key)));
        assert_eq!(values.len(), resolved.origins.len());
    }
}

#[test]
fn each_value_knows_where_it_came_from() {
    let text = format!("{BASE}[train]\nepochs = 5\n[optimizer]\nname = 'sgd'\nlr = 0.1\n");
    let sets =
        overrides(&["train.epochs=6", "model.widths=[1, 2, 3, 4]", "schedule={name='step', milestones=[3]}"]);
    let resolved = from_text(&text, "x.toml", &sets).unwrap();
    for (key, origin) in [
        ("data.path", Origin::Recipe),
        ("student.name", Origin::Recipe),
        ("student.widths", Origin::Flag),
        ("train.epochs", Origin::Flag),
        ("train.batch_size", Origin::Default),
        ("optimizer.lr", Origin::Recipe),
        ("optimizer.momentum", Origin::Default),
        ("schedule.name", Origin::Flag),
        ("schedule.milestones", Origin::Flag),
        ("seed", Origin::Default),
    ] {
        assert_eq!(resolved.origins.get(key), Some(&origin), "{key}");
    }
    assert_eq!(resolved.recipe.train.epochs, 6);
}

#[test]
fn values_given_by_set_are_toml_or_else_text() {
    let check = |text: &str, key: &str, value: Value| {
        let found = parse_override(text).unwrap();
        assert_eq!((found.key.as_str(), found.value), (key, value), "{text}");
    };
    check("train.epochs=3", "train.epochs", Value::Integer(3));
    check("optimizer.lr=1e-3", "optimizer.lr", Value::Float(1e-3));
    check(" optimizer.lr = 0.5", "optimizer.lr", Value::Float(0.5));
    check("method.standardise=true", "method.standardise", Value::Boolean(true));
    check("method.stages=[1, 2]", "method.stages", Value::Array(vec![Value::Integer(1), Value::Integer(2)]));
    check("student.name=resnet18", "student.name", Value::String("resnet18".to_owned()));
    check("student.name='resnet18'", "student.name", Value::String("resnet18".to_owned()));
    check("data.path=/tmp/a=b", "data.path", Value::String("/tmp/a=b".to_owned()));
    check("data.path=", "data.path", Value::String(String::new()));
    check("method.stages=[1,", "method.stages", Value::String("[1,".to_owned()));
    for bad in ["", "train.epochs", "=3", " =3"] {
        let error = parse_override(bad).unwrap_err();
        assert!(matches!(error, Error::Recipe(_)));
        assert!(error.to_string().contains("expected path.to.key=value"), "{bad}: {error}");
    }
}

#[test]
fn set_reaches_any_depth_and_the_last_one_wins() {
    let sets = ["train.epochs=3", "data.views.crop_padding=2", "train.epochs=4", "teacher.weights=t"];
    let recipe = from_text(BASE, "x.toml", &overrides(&sets)).unwrap().recipe;
    assert_eq!((recipe.train.epochs, recipe.data.views.crop_padding), (4, 2));
    // A teacher teaches by hcd where nothing else is said.
    assert_eq!(recipe.method, MethodConfig::of_name("hcd"));
    let sets = ["optimizer.lr=0.3", "schedule.warmup_epochs=1", "teacher.weights=t", "method.sub_logits=8"];
    let recipe = from_text(BASE, "x.toml", &overrides(&sets)).unwrap().recipe;
    assert_eq!(recipe.optimizer.lr(), 0.3);
    assert!(
        matches!(recipe.optimizer, OptimizerConfig::Sgd { .. }),
        "the usual kind: {:?}",
        recipe.optimizer
    );
    assert!(matches!(&recipe.method, Some(MethodConfig::Hcd(hcd)) if hcd.sub_logits == 8));
    let through = error(&format!("{BASE}seed = 1"), &["seed.low=1"]);
    assert!(through.contains("seed.low") && through.contains("is a value, not a table"), "{through}");
    for (set, key) in [("train.epoch=3", "epoch"), ("trian.epochs=3", "trian"), ("train..epochs=3", "train")]
    {
        let message = error(BASE, &[set]);
        assert!(message.contains("unknown field") && message.contains(key), "{message}");
    }
}

#[test]
fn model_is_another_name_for_student() {
    let model = |name: &str| format!("data.path = 'd'\n[model]\nname = '{name}'\n");
    let plain = from_text(&model("resnet18"), "x.toml", &[]).unwrap();
    assert_eq!(plain.recipe.student.name, "resnet18");
    assert_eq!(plain.origins["student.name"], Origin::Recipe);
    for set in ["model.name=resnet34", "student.name=resnet34", "model={name='resnet34'}"] {
        let resolved = from_text(&model("resnet18"), "x.toml", &overrides(&[set])).unwrap();
        assert_eq!(resolved.recipe.student.name, "resnet34", "{set}");
        assert_eq!(resolved.origins["student.name"], Origin::Flag, "{set}");
    }
    let both = error(&format!("{}[student]\nname = 'resnet18'\n", model("resnet18")), &[]);
    assert!(both.contains("[model] and [student] name the same thing"), "{both}");
}

#[test]
fn every_preset_can_be_named_and_only_these() {
    for preset in PRESETS {
        let text = format!("data.path = 'd'\nstudent.name = '{}'", preset.name);
        let recipe = from_text(&text, "x.toml", &[]).unwrap().recipe;
        recipe.student.resolve(3, preset.image_size, 10).unwrap();
    }
    let message = error("data.path = 'd'\nstudent.name = 'resnet19'", &[]);
    assert!(message.contains("resnet19") && message.contains("resnet18"), "{message}");
}

#[test]
fn toml_that_is_none_is_shown_by_its_line() {
    let message = error("seed = 1\ntrain = {\nepochs == 2\n", &[]);
    assert!(message.contains("line "), "{message}");
    let message = error("seed = 1\nseed = 2\n", &[]);
    assert!(message.contains("line 2"), "{message}");
}

#[test]
fn what_is_unknown_or_of_another_kind_is_told_with_its_key() {
    let check = |text: &str, key: &str, what: &str| {
        let message = error(&format!("{BASE}{text}"), &[]);
        assert!(message.contains(key) && message.contains(what), "{text}\n  {message}");
        assert!(!message.contains("; "), "one problem: {message}");
    };
    check("sead = 1", "sead", "unknown field");
    check("train.epoch = 1", "train", "unknown field `epoch`");
    check("data.views.flip = 1", "data.views", "unknown field `flip`");
    check("optimizer = { name = 'sgd', learning_rate = 1 }", "optimizer", "unknown field `learning_rate`");
    check("schedule = { name = 'cosine', gamma = 1 }", "schedule", "unknown field `gamma`");
    check("teacher = { weights = 't', name = 'x' }", "teacher", "unknown field `name`");
    check("train.epochs = 'many'", "train.epochs", "invalid type");
    check("train.epochs = -1", "train.epochs", "invalid value");
    check("train.epochs = 1.5", "train.epochs", "invalid type");
    check("data.views.horizontal_flip = 'often'", "data.views.horizontal_flip", "invalid type");
    check("optimizer = { name = 'sgd', lr = 'fast' }", "optimizer.lr", "invalid type");
    check("optimizer.name = 'adam'", "optimizer", "unknown variant `adam`");
    check("schedule = { name = 'cosine', per = 'day' }", "schedule", "unknown variant `day`");
    check("train = 3", "train", "invalid type");
}

#[test]
fn several_problems_are_told_at_once() {
    check_error(
        "sead = 1\ntrain = { epoch = 2, batch_size = 0, label_smoothing = 'a' }\n\
         optimizer = { name = 'sgd', momentum = 1.0, speed = 1 }\ndata.validation = 1.0",
        &[
            "unknown field `sead`",
            "unknown field `epoch`",
            "train.label_smoothing: invalid type",
            "unknown field `speed`",
            "train.batch_size = 0, must be at least 1",
            "optimizer.momentum = 1, must be in [0, 1)",
            "data.validation = 1, must be in [0, 1)",
        ],
    );
    let bare = error("sead = 1", &[]);
    for part in ["data", "student", "sead"] {
        assert!(bare.contains(part), "{bare}");
    }
}

#[test]
fn every_number_is_checked() {
    let teacher = "teacher.weights = 't'\n";
    for (text, expected) in [
        ("train.epochs = 0", "train.epochs = 0, must be at least 1"),
        ("train.batch_size = 0", "train.batch_size = 0"),
        ("train.accumulate = 0", "train.accumulate = 0"),
        ("train.label_smoothing = 1", "train.label_smoothing = 1, must be in [0, 1)"),
        ("train.label_smoothing = -0.1", "train.label_smoothing = -0.1"),
        ("train.label_smoothing = nan", "train.label_smoothing = NaN"),
        ("train.clip_norm = 0", "train.clip_norm = 0, must be above 0"),
        ("train.clip_norm = -1", "train.clip_norm = -1"),
        ("train.clip_norm = inf", "train.clip_norm = inf"),
        ("train.clip_norm = nan", "train.clip_norm = NaN"),
        ("train.ema_decay = 1", "train.ema_decay = 1, must be in [0, 1)"),
        ("train.ema_decay = nan", "train.ema_decay = NaN"),
        ("data.validation = 1", "data.validation = 1, must be in [0, 1)"),
        ("data.validation = -0.1", "data.validation = -0.1"),
        ("data.validation = nan", "data.validation = NaN"),
        ("data.image_size = 0", "data.image_size = 0, must be from 1 to 4096"),
        ("data.image_size = 5000", "data.image_size = 5000"),
        ("data.channels = 2", "data.channels = 2, must be 1 (grey) or 3 (red, green, blue)"),
        ("data.image_size = 8\ndata.crop = 0", "data.crop = 0, must be above 0 and at most 1"),
        ("data.image_size = 8\ndata.crop = nan", "data.crop = NaN"),
        (
            "data.crop = 0.9",
            "data.crop and interpolation say how images come to image_size, which is missing",
        ),
        ("data.views.horizontal_flip = 1.5", "data.views.horizontal_flip = 1.5"),
        ("data.views.horizontal_flip = nan", "data.views.horizontal_flip = NaN"),
        ("optimizer = { name = 'sgd', lr = 0 }", "optimizer.lr = 0, must be above 0"),
        ("optimizer = { name = 'sgd', lr = -0.1 }", "optimizer.lr = -0.1"),
        ("optimizer = { name = 'sgd', lr = nan }", "optimizer.lr = NaN"),
        ("optimizer = { name = 'adamw', lr = inf }", "optimizer.lr = inf"),
        ("optimizer = { name = 'sgd', momentum = 1 }", "optimizer.momentum = 1"),
        ("optimizer = { name = 'sgd', momentum = nan, nesterov = false }", "optimizer.momentum = NaN"),
        ("optimizer = { name = 'sgd', momentum = 0 }", "optimizer.nesterov needs momentum above 0"),
        ("optimizer = { name = 'sgd', weight_decay = -1 }", "optimizer.weight_decay = -1"),
        ("optimizer = { name = 'sgd', weight_decay = inf }", "optimizer.weight_decay = inf"),
        ("optimizer = { name = 'adamw', weight_decay = nan }", "optimizer.weight_decay = NaN"),
        ("optimizer = { name = 'adamw', betas = [1, 2] }", "optimizer.betas = [1.0, 2.0]"),
        ("optimizer = { name = 'adamw', betas = [0.9, nan] }", "optimizer.betas = [0.9, NaN]"),
        ("optimizer = { name = 'adamw', epsilon = 0 }", "optimizer.epsilon = 0"),
        ("optimizer = { name = 'adamw', epsilon = inf }", "optimizer.epsilon = inf"),
        ("schedule = { name = 'cosine', min_lr = 0.06 }", "schedule.min_lr = 0.06, must be between 0 and"),
        ("schedule = { name = 'cosine', min_lr = -1 }", "schedule.min_lr = -1"),
        ("schedule = { name = 'cosine', min_lr = nan }", "schedule.min_lr = NaN"),
        ("schedule = { name = 'cosine', warmup_lr = -1 }", "schedule.warmup_lr = -1"),
        ("schedule = { name = 'cosine', warmup_lr = inf }", "schedule.warmup_lr = inf"),
        ("schedule = { name = 'cosine', warmup_epochs = 300 }", "schedule.warmup_epochs = 300"),
        ("schedule = { name = 'cosine', warmup_epochs = -1 }", "schedule.warmup_epochs = -1"),
        (
            "schedule = { name = 'step', milestones = [], warmup_epochs = nan }",
            "schedule.warmup_epochs = NaN",
        ),
        ("schedule = { name = 'step', milestones = [], gamma = 0 }", "schedule.gamma = 0, must be in (0, 1]"),
        ("schedule = { name = 'step', milestones = [], gamma = nan }", "schedule.gamma = NaN"),
        ("schedule = { name = 'step', milestones = [1, nan] }", "schedule.milestones = [1.0, NaN]"),
        ("schedule = { name = 'step', milestones = [-1] }", "schedule.milestones = [-1.0]"),
        ("method = { name = 'kd', temperature = 0 }", "method.temperature = 0"),
        ("method = { name = 'kd', kd_weight = nan }", "method.kd_weight = NaN"),
        ("method = { name = 'hcd', sub_logits = 0 }", "method.sub_logits = 0, must be at least 1"),
        ("method = { name = 'hcd', cosine_threshold = 2 }", "method.cosine_threshold = 2"),
        ("compare = { methods = [], seeds = [0] }", "compare.methods and seeds must each have"),
        ("compare = { methods = [{ name = 'kd' }], seeds = [] }", "compare.methods and seeds must each have"),
        ("compare = { methods = [{ name = 'kd' }], seeds = [1, 1] }", "compare.seeds has 1 more than once"),
        (
            "compare = { methods = [{ name = 'kd' }, { name = 'kd', temperature = 4 }], seeds = [0] }",
            "compare.methods[1] is called `kd` as another is; give it a label",
        ),
        (
            "compare = { methods = [{ name = 'kd', temperature = -1 }], seeds = [0] }",
            "compare.methods[0].temperature = -1",
        ),
    ] {
        check_error(&format!("{teacher}{text}"), &[expected]);
    }
}

#[test]
fn a_comparisons_rows_are_read_or_refused() {
    let compare = |row: &str| {
        let text = format!("{BASE}teacher.weights = 't'\ncompare = {{ seeds = [0], methods = [{row}] }}");
        from_text(&text, "x.toml", &[]).map(|resolved| resolved.recipe.compare.unwrap().methods)
    };
    let rows = compare("{ name = 'scratch' }, { name = 'kd', label = 'kd-4', temperature = 4 }").unwrap();
    assert_eq!((rows[0].label.as_str(), &rows[0].method), ("scratch", &None));
    assert_eq!(rows[1].label, "kd-4");
    assert!(matches!(&rows[1].method, Some(MethodConfig::Kd(kd)) if kd.temperature == 4.0));
    for (row, what) in [
        ("{ label = 'x' }", "needs a `name`"),
        ("{ name = 'dreaming' }", "dreaming"),
        ("{ name = 'scratch', temperature = 4 }", "scratch has no options"),
        ("{ name = 'kd', sub_logits = 4 }", "sub_logits"),
        ("{ name = 'kd', label = '../x' }", "label"),
        ("{ name = 'kd', label = '' }", "label"),
    ] {
        let message = compare(row).unwrap_err().to_string();
        assert!(message.contains(what) && message.contains("compare.methods"), "{row}: {message}");
        assert!(!message.contains('\n'));
    }
}

#[test]
fn warm_up_settles_by_the_length_of_the_run() {
    let warmup = |epochs: u64, schedule: &str| -> f64 {
        let recipe = resolve(&format!("train.epochs = {epochs}\n{schedule}")).recipe;
        match recipe.schedule {
            ScheduleConfig::Cosine { warmup_epochs, .. } | ScheduleConfig::Step { warmup_epochs, .. } => {
                warmup_epochs.unwrap()
            }
        }
    };
    for (epochs, expected) in [(1, 0.0), (9, 0.0), (10, 1.0), (29, 2.0), (30, 3.0), (300, 3.0)] {
        assert_eq!(warmup(epochs, ""), expected, "{epochs} epochs");
    }
    for (epochs, expected) in [(1, 0.1), (8, 0.8), (40, 3.0)] {
        assert_eq!(
            warmup(epochs, "schedule = { name = 'cosine', per = 'step' }"),
            expected,
            "{epochs} epochs"
        );
    }
    assert_eq!(warmup(300, "schedule = { name = 'step', milestones = [10] }"), 0.0);
    assert_eq!(warmup(300, "schedule = { name = 'cosine', warmup_epochs = 20 }"), 20.0);
}

#[test]
fn the_rate_ends_at_a_fiftieth_of_its_peak_as_in_the_published_tables() {
    let end = |text: &str| {
        let recipe: Recipe = resolve(text).recipe;
        match recipe.schedule {
            ScheduleConfig::Cosine { min_lr, per, .. } => (recipe.optimizer.lr(), min_lr.unwrap(), per),
            ScheduleConfig::Step { .. } => panic!("another schedule"),
        }
    };
    assert_eq!(end(""), (0.05, 1e-3, Per::Epoch));
    assert_eq!(end("optimizer.name = 'adamw'"), (5e-4, 1e-5, Per::Epoch));
    assert_eq!(end("optimizer = { name = 'sgd', lr = 5e-4 }").1, 1e-5);
    assert_eq!(end("schedule = { name = 'cosine', min_lr = 0 }").1, 0.0);
}
