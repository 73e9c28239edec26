//! `hcd demo`: a real student, three ways, in some minutes.

use crate::args::DemoArgs;
use crate::publish::{self, Compared};
use crate::round::{self, Round};
use crate::session;
use hcd::config::{self, Override, Resolved};
use hcd::train::inspect_folder;
use std::path::{Path, PathBuf};

/// The demo's recipe, as in the repository.
const RECIPE: &str = include_str!("../../../../recipes/demo.toml");

pub fn run(args: DemoArgs) -> anyhow::Result<()> {
    let resolved = resolve(&args)?;
    let folder = session::run_folder(args.place.out, "demo");
    inspect_folder(&folder)?;
    let experiment = session::prepare(&resolved.recipe)?;
    let methods = resolved.recipe.compare.as_ref().map(|compare| compare.methods.clone()).unwrap_or_default();
    let mut rounds = [Round::new(&resolved, &experiment, &methods, &folder, None, false)?];
    let (entries, diverged) =
        publish::divided(round::run_all(&mut rounds, &[resolved.recipe.seed])?.concat());
    let teacher = rounds[0].teacher_line()?;
    let compared = [Compared { name: None, experiment: &experiment, teacher, entries, diverged }];
    publish::comparison("demo", &resolved, &compared, &folder, args.place.json)
}

fn resolve(args: &DemoArgs) -> anyhow::Result<Resolved> {
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut overrides = Vec::new();
    overrides.extend(args.seed.map(|seed| Override::new("seed", whole(seed))));
    overrides.extend(args.epochs.map(|epochs| Override::new("train.epochs", whole(epochs))));
    let mut resolved = config::from_text(RECIPE, "recipes/demo.toml", &overrides)?;
    let recipe = &mut resolved.recipe;
    recipe.data.path = of_repository(&recipe.data.path);
    if let Some(teacher) = &mut recipe.teacher {
        teacher.weights = teacher.weights.as_deref().map(of_repository);
    }
    Ok(resolved)
}

/// A path of the repository, from wherever the command is run.
fn of_repository(path: &Path) -> PathBuf {
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    match path.exists() || !built_in.exists() {
        true => path.to_owned(),
        false => built_in.canonicalize().unwrap_or(built_in),
    }
}
