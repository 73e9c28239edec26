//! `hcd compare`: methods by pairs by seeds, into one table.

use crate::args::CompareArgs;
use crate::publish::{self, Compared};
use crate::round::{self, Round};
use crate::{budget, session};
use hcd::config::{self, CompareConfig, Lesson, Origin, Resolved};
use hcd::eval::Split;
use hcd::methods::METHODS;
use hcd::train::{Experiment, inspect_folder};

/// What is done with one pair of teacher and student.
pub struct Pair {
    /// Its name, where there are several.
    pub name: Option<String>,
    /// Its recipe.
    pub resolved: Resolved,
    /// Its data and student.
    pub experiment: Experiment,
}

pub fn run(args: CompareArgs) -> anyhow::Result<()> {
    let mut resolved = config::load(args.source.recipe.as_deref(), &args.source.overrides()?)?;
    let folder = session::run_folder(args.out, "compare");
    let listed = resolved.recipe.compare.take();
    // What nobody asked for by name need not suit the networks.
    let anything = args.methods.is_none() && listed.is_none();
    let methods = match (args.methods, &listed) {
        (Some(names), _) => {
            let known = listed.as_ref().map(|compare| compare.methods.as_slice()).unwrap_or_default();
            let names = names.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
            names.map(|name| lesson(name, known)).collect::<hcd::Result<Vec<_>>>()?
        }
        (None, Some(compare)) => compare.methods.clone(),
        (None, None) => METHODS.iter().map(|method| Lesson::named(method.name)).collect(),
    };
    let on = args.on.map(Split::from).or(listed.as_ref().map(|compare| compare.on)).unwrap_or_default();
    let pairs = listed.as_ref().map(|compare| compare.pairs.clone()).unwrap_or_default();
    let seeds = args.seeds.or(listed.map(|compare| compare.seeds)).unwrap_or_else(|| vec![0, 1, 2]);
    resolved.recipe.compare =
        Some(CompareConfig { methods: methods.clone(), seeds: seeds.clone(), pairs, on });
    let problems = resolved.recipe.check();
    if !problems.is_empty() {
        return Err(hcd::Error::Recipe(problems.join("; ")).into());
    }
    refuse_single(&resolved)?;
    if !args.budget && !Round::begun(&folder, &resolved)? {
        inspect_folder(&folder)?;
    }
    let pairs = pairs_of(&resolved)?;
    let leaves_out = anything || pairs.len() > 1;
    if args.budget {
        return budget::tell(&pairs, &methods, &seeds, leaves_out, args.json);
    }
    let mut rounds = Vec::new();
    for pair in &pairs {
        let place = pair.name.as_ref().map_or(folder.clone(), |name| folder.join(name));
        rounds.push(Round::new(
            &pair.resolved,
            &pair.experiment,
            &methods,
            &place,
            pair.name.as_deref(),
            leaves_out,
        )?);
    }
    round::begin(&folder, &resolved)?;
    let ended = round::run_all(&mut rounds, &seeds)?;
    let mut compared = Vec::new();
    for ((round, pair), ended) in rounds.iter_mut().zip(&pairs).zip(ended) {
        let (mut entries, diverged) = publish::divided(ended);
        entries.sort_by_key(|entry| methods.iter().position(|lesson| lesson.label == entry.outcome.name));
        let teacher = round.teacher_line()?;
        let (name, experiment) = (pair.name.clone(), &pair.experiment);
        compared.push(Compared { name, experiment, teacher, entries, diverged });
    }
    publish::comparison("compare", &resolved, &compared, &folder, args.json)
}

/// A comparison has seeds and methods; a flag that names one of them would have no effect.
fn refuse_single(resolved: &Resolved) -> hcd::Result<()> {
    for (key, flag) in [("seed", "--seeds"), ("method.name", "--methods")] {
        if resolved.origins.get(key) == Some(&Origin::Flag) {
            return Err(hcd::Error::Recipe(format!(
                "{key}: a comparison has several; name them with {flag}"
            )));
        }
    }
    Ok(())
}

/// The pairs that a recipe lists, or its own.
fn pairs_of(resolved: &Resolved) -> anyhow::Result<Vec<Pair>> {
    let recipe = &resolved.recipe;
    let Some(compare) = recipe.compare.as_ref().filter(|compare| !compare.pairs.is_empty()) else {
        let experiment = session::prepare(recipe)?;
        return Ok(vec![Pair { name: None, resolved: resolved.clone(), experiment }]);
    };
    let pair = |pair: &config::Pairing| {
        let mut resolved = pair.of(recipe)?;
        resolved.recipe.compare = Some(CompareConfig { pairs: Vec::new(), ..compare.clone() });
        let experiment = session::prepare(&resolved.recipe)?;
        Ok(Pair { name: Some(pair.name.clone()), resolved, experiment })
    };
    compare.pairs.iter().map(pair).collect()
}

/// What the recipe has under that label, or else the method of that name with its defaults.
fn lesson(name: &str, listed: &[Lesson]) -> hcd::Result<Lesson> {
    if let Some(lesson) = listed.iter().find(|lesson| lesson.label == name) {
        return Ok(lesson.clone());
    }
    match METHODS.iter().any(|method| method.name == name) {
        true => Ok(Lesson::named(name)),
        false => {
            let labels = listed.iter().map(|lesson| lesson.label.as_str());
            let names = METHODS.iter().map(|method| method.name);
            let mut known: Vec<&str> = labels.collect();
            names.for_each(|name| {
                if !known.contains(&name) {
                    known.push(name)
                }
            });
            let known = known.join(", ");
            Err(hcd::Error::Recipe(format!("--methods {name}: unknown, expected some of {known}")))
        }
    }
}
