//! `hcd compare`: methods by seeds, into one table.

use crate::args::CompareArgs;
use crate::publish;
use crate::round::Round;
use crate::session;
use hcd::config::{self, CompareConfig, Lesson};
use hcd::eval::Split;
use hcd::methods::METHODS;
use hcd::train::inspect_folder;

pub fn run(args: CompareArgs) -> anyhow::Result<()> {
    let mut resolved = config::load(args.source.recipe.as_deref(), &args.source.overrides()?)?;
    let folder = session::run_folder(args.out, "compare");
    let recipe = &mut resolved.recipe;
    let listed = recipe.compare.take();
    let methods = match (args.methods, &listed) {
        (Some(names), _) => names.iter().map(|name| lesson(name)).collect::<hcd::Result<Vec<_>>>()?,
        (None, Some(compare)) => compare.methods.clone(),
        (None, None) => METHODS.iter().map(|method| Lesson::named(method.name)).collect(),
    };
    let on = args.on.map(Split::from).or(listed.as_ref().map(|compare| compare.on)).unwrap_or_default();
    let seeds = args.seeds.or(listed.map(|compare| compare.seeds)).unwrap_or_else(|| vec![0, 1, 2]);
    recipe.compare = Some(CompareConfig { methods: methods.clone(), seeds: seeds.clone(), on });
    let problems = recipe.check();
    if !problems.is_empty() {
        return Err(hcd::Error::Recipe(problems.join("; ")).into());
    }
    if !Round::begun(&folder) {
        inspect_folder(&folder)?;
    }
    let experiment = session::prepare(recipe)?;
    let mut round = Round::new(&resolved, &experiment, &methods, &folder)?;
    let mut entries = Vec::new();
    for seed in seeds {
        entries.extend(round.run(seed)?);
    }
    entries.sort_by_key(|entry| methods.iter().position(|lesson| lesson.label == entry.outcome.name));
    let teacher = round.teacher_line()?;
    publish::comparison("compare", &resolved, &experiment, teacher, &entries, &folder, args.json)
}

fn lesson(name: &str) -> hcd::Result<Lesson> {
    match METHODS.iter().any(|method| method.name == name) {
        true => Ok(Lesson::named(name)),
        false => {
            let known = METHODS.iter().map(|method| method.name).collect::<Vec<_>>().join(", ");
            Err(hcd::Error::Recipe(format!("--methods {name}: unknown, expected some of {known}")))
        }
    }
}
