//! Comparisons of several pairs of teacher and student, what one will take, and reports of what there is.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::World;

/// Two students under one teacher.
const PAIRS: &str = "
[compare]
methods = [{ name = 'scratch' }, { name = 'kd' }, { name = 'fitnet' }]
seeds = [0, 1]
pairs = [
    { name = 'cnn', teacher = { weights = 'cnn.safetensors' } },
    { name = 'transformer', student = { name = 'vit_mini', patch_size = 4, width = 16, depth = 2, heads = 2 }, \
      optimizer = { name = 'adamw', lr = 1e-3 }, schedule = { name = 'cosine', min_lr = 0 } },
]
";

fn world() -> World {
    let world = World::new();
    // A teacher whose feature maps a student can be given hints of.
    world.hcd("train student.toml --epochs 1 --seed 9 --out cnn").succeeded();
    world.write("cnn.safetensors", world.read("cnn/student.safetensors"));
    world.write("pairs.toml", format!("{}{PAIRS}", world.text("student.toml")));
    world
}

#[test]
fn pairs_are_compared_and_ranked() {
    let world = world();
    let ran = world.hcd("compare pairs.toml --out all --json").succeeded();
    // Three methods of two CNNs, and two of a CNN's stages and a transformer's, which are told.
    assert_eq!(ran.epochs_told(), (3 + 2) * 2 * 2);
    assert!(ran.stderr.contains("note: transformer: fitnet is left out: "), "{}", ran.stderr);
    let result = ran.json();
    let cells: Vec<(&str, &str)> = result["methods"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cell| (cell["pair"].as_str().unwrap(), cell["name"].as_str().unwrap()))
        .collect();
    let of = |pair, names: &[&'static str]| {
        names.iter().flat_map(move |&name| [(pair, name); 2]).collect::<Vec<_>>()
    };
    let expected = [of("cnn", &["scratch", "kd", "fitnet"]), of("transformer", &["scratch", "kd"])].concat();
    assert_eq!(cells, expected);
    let ranks = result["ranking"].as_array().unwrap();
    assert_eq!(ranks.iter().map(|rank| rank["pairs"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(result["teachers"]["cnn"]["name"], "resnet10_small");
    assert_eq!(result["teachers"]["transformer"]["name"], "swin_small_patch2");
    // FitNet, which one pair cannot be taught by, is no candidate, however easy the other is.
    let lead = &result["lead"];
    assert_eq!((&lead["count"], &lead["unit"]), (&2.into(), &"pairs".into()), "{lead}");
    let mut both = [lead["best"].as_str().unwrap(), lead["next"].as_str().unwrap()];
    both.sort_unstable();
    assert_eq!(both, ["kd", "scratch"]);
    assert_eq!(
        world.list("all"),
        ["cnn", "recipe.toml", "report.html", "results.csv", "results.md", "transformer"]
    );
    let table = world.text("all/results.md");
    for text in ["## cnn", "## transformer", "## All pairs", "Mean rank", " leads "] {
        assert!(table.contains(text), "{text}: {table}");
    }
    assert_eq!(world.text("all/results.csv").lines().count(), 1 + 10);
    // The optimiser is the pair's own; what else the recipe says holds for all.
    let recipe = |pair: &str| world.text(&format!("all/{pair}/kd/seed-1/recipe.toml"));
    assert!(recipe("transformer").contains("name = \"adamw\"") && recipe("cnn").contains("name = \"sgd\""));

    let again = world.hcd("compare pairs.toml --out all --json").succeeded();
    assert_eq!(again.epochs_told(), 0);
    assert_eq!(again.json()["methods"], result["methods"]);

    // A report of what there is, whole and of a part, says the same.
    let report = world.hcd("report all --out told --json").succeeded().json();
    assert_eq!(report["ranking"], result["ranking"]);
    assert_eq!(report["lead"], result["lead"]);
    assert_eq!(world.list("told"), ["report.html", "results.csv", "results.md"]);
    assert!(world.text("told/report.html").contains("All pairs"));
    assert_eq!(world.text("told/results.md"), table);
    let part = world.hcd("report all/cnn/kd all/cnn/scratch").succeeded();
    assert!(part.stdout.contains("scratch") && part.stdout.contains("kd"), "{}", part.stdout);
    assert!(!part.stdout.contains("fitnet") && !part.stdout.contains("transformer"), "{}", part.stdout);
}

#[test]
fn a_budget_is_told_and_nothing_is_left() {
    let world = world();
    let before = world.tree(".");
    let told = world.hcd("compare pairs.toml --budget --json").succeeded();
    let result = told.json();
    let cells = result["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 5, "{result}");
    let sum: f64 =
        cells.iter().map(|cell| cell["run_seconds"].as_f64().unwrap() * cell["runs"].as_f64().unwrap()).sum();
    let total = result["seconds"].as_f64().unwrap();
    assert!((total - sum - result["teacher_seconds"].as_f64().unwrap()).abs() < 1e-6 * total, "{result}");
    let shown = world.hcd("compare student.toml --budget --seeds 0,1,2").succeeded();
    for text in ["hcd", "crd", "ms a step", "all runs", " in all, of which"] {
        assert!(shown.stdout.contains(text), "{text}: {}", shown.stdout);
    }
    assert_eq!(world.tree("."), before);
}

#[test]
fn pairs_and_reports_that_cannot_be_meant_are_refused() {
    let world = world();
    for (from, to, names) in [
        ("name = 'cnn',", "name = 'transformer',", &["compare.pairs[1] is called `transformer`"][..]),
        ("name = 'cnn',", "", &["pair", "needs a `name`"]),
        ("name = 'cnn',", "name = 'a/b',", &["a/b", "letters, digits"]),
        ("name = 'cnn',", "name = 'cnn', seed = { x = 1 },", &["unknown section `seed`", "student, teacher"]),
        ("patch_size = 4", "patch_size = 'x'", &["pair transformer", "patch_size"]),
        ("lr = 1e-3", "lr = -1", &["pair transformer", "optimizer.lr = -1"]),
    ] {
        world.write("wrong.toml", world.text("pairs.toml").replacen(from, to, 1));
        world.hcd("compare wrong.toml --out wrong").refused(names);
    }
    // Named on the command line, a method must suit the only pair there is.
    world.hcd("compare student.toml --methods fitnet --seeds 0 --out no").refused(&["fitnet", "tokens"]);
    world.hcd("report data").refused(&["data: holds no finished run", "--out"]);
    world.hcd("report nowhere").refused(&["nowhere"]);
    world.hcd("report cnn --out data").refused(&["data", "not empty"]);
}
