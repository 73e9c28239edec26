//! `hcd train`: a network from labels.

use crate::args::{RecipeSource, RunPlace, TrainArgs};
use crate::cell::{Cell, Ended, Standing};
use crate::publish;
use crate::session;
use hcd::config::{self, Origin, Resolved};
use hcd::eval::Split;
use hcd::export::Card;
use hcd::models::Network;
use hcd::train::{Experiment, Objective, RunFolder, inspect_folder};
use std::path::{Path, PathBuf};

pub fn run(args: TrainArgs) -> anyhow::Result<()> {
    let (mut resolved, folder) =
        start(&args.source, args.place.out.clone(), args.resume.as_deref(), "train")?;
    if args.resume.is_some() && resolved.recipe.method.is_some() {
        let shown = folder.display();
        let message = format!("{shown}: is a distillation; go on with hcd distill --resume {shown}");
        return Err(hcd::Error::Run(message).into());
    }
    let taught = |(key, origin): (&String, &Origin)| {
        *origin == Origin::Flag && (key.starts_with("teacher.") || key.starts_with("method."))
    };
    if let Some((key, _)) = resolved.origins.iter().find(|entry| taught(*entry)) {
        let message = format!("{key}: train learns from labels alone; use hcd distill");
        return Err(hcd::Error::Recipe(message).into());
    }
    // What a recipe says for distillation is not part of this run.
    (resolved.recipe.teacher, resolved.recipe.method) = (None, None);
    let experiment = session::prepare(&resolved.recipe)?;
    let mut objective = Objective::Supervised;
    finish(&resolved, &experiment, &mut objective, &folder, &args.place, None)
}

/// The recipe and the folder of a run: new, or the one to go on with.
pub fn start(
    source: &RecipeSource,
    out: Option<PathBuf>,
    resume: Option<&Path>,
    command: &str,
) -> anyhow::Result<(Resolved, PathBuf)> {
    if let Some(folder) = resume {
        let (_, recipe) = RunFolder::open(folder)?;
        let origins = Default::default();
        return Ok((Resolved { recipe, origins }, folder.to_owned()));
    }
    let resolved = config::load(source.recipe.as_deref(), &source.overrides()?)?;
    let folder = session::run_folder(out, command);
    inspect_folder(&folder)?;
    Ok((resolved, folder))
}

/// Trains, and tells what came of it, beside `teacher` where it can be asked.
pub fn finish(
    resolved: &Resolved,
    experiment: &Experiment,
    objective: &mut Objective,
    folder: &Path,
    place: &RunPlace,
    teacher: Option<&(Network, Card)>,
) -> anyhow::Result<()> {
    let cell = Cell { label: objective.name(), resolved, experiment, folder, split: Split::Test, pair: None };
    let entry = match cell.standing(objective)? {
        Standing::Finished(Ended::Whole(entry)) => *entry,
        Standing::Finished(Ended::Diverged(run)) => return Err(hcd::Error::Diverged(run.what).into()),
        Standing::Theirs => {
            let shown = folder.display();
            let message = format!(
                "{shown}: another process is at this run; wait for its end, or begin another with --out"
            );
            return Err(hcd::Error::Run(message).into());
        }
        Standing::Ours(hold) => {
            let trained = cell.train(&hold, objective)?;
            let ask =
                |(network, card): &(Network, Card)| session::reference(experiment, cell.split, network, card);
            let reference = teacher.map(ask).transpose()?;
            cell.judge(trained, reference.as_ref())?
        }
    };
    publish::single(resolved, experiment, &entry, folder, place.json)
}

/// Where a key's value came from, for people.
pub fn origin_name(origin: Origin) -> &'static str {
    match origin {
        Origin::Default => "default",
        Origin::Recipe => "recipe",
        Origin::Flag => "flag",
    }
}
