//! `hcd report`: runs of any age as one table and one page.

use crate::args::ReportArgs;
use crate::{cell, output, publish};
use hcd::config;
use hcd::report::{self, Entry, Page, Part, TeacherLine};
use hcd::train::{RunFolder, inspect_folder};
use hcd::{Error, files};
use std::path::{Path, PathBuf};

/// How deep runs may lie below a folder: comparison, pair, method, seed.
const DEEPEST: usize = 4;

pub fn run(args: ReportArgs) -> anyhow::Result<()> {
    if let Some(folder) = &args.out {
        inspect_folder(folder)?;
    }
    let (runs, entries) = sorted(finished(&args.runs)?)?;
    let split = entries[0].outcome.split;
    if let Some(odd) = entries.iter().find(|entry| entry.outcome.split != split) {
        let other = odd.outcome.split;
        let what =
            format!("results on {split} and on {other} images are not for one table; name runs of one kind");
        return Err(Error::Run(what).into());
    }
    let (pairs, classes) = (report::by_pair(&entries), classes(&runs[0])?);
    let first_of = |name: &Option<String>| {
        entries.iter().position(|entry| entry.outcome.pair == *name).map(|index| runs[index].as_path())
    };
    let part = |(name, entries)| Part {
        name: Option::clone(name),
        teacher: first_of(name).and_then(teacher),
        entries,
        classes: &classes,
    };
    let parts: Vec<Part> = pairs.iter().map(|(name, entries)| part((name, entries.as_slice()))).collect();
    if let Some(folder) = &args.out {
        let recipe = files::read_text(&recipe(&args.runs[0], &runs[0]))?;
        let notes: Vec<String> = runs.iter().map(|run| run.display().to_string()).collect();
        let intro = format!("{} runs, which the end of this page names.", entries.len());
        files::create_folder(folder)?;
        let page = Page { title: "hcd report", intro, parts: &parts, recipe: &recipe, notes: &notes };
        publish::write_report(&page, folder)?;
    }
    if args.json {
        let outcomes: Vec<_> = entries.iter().map(|entry| &entry.outcome).collect();
        let (lead, ranking) = (report::lead(&entries), report::ranking(&entries));
        let value =
            serde_json::json!({ "methods": outcomes, "lead": lead, "ranking": ranking, "report": args.out });
        return output::json(&value);
    }
    publish::print_parts(&parts);
    if let Some(folder) = &args.out {
        publish::tell_where(folder);
    }
    Ok(())
}

/// The runs and what they came to: pairs as they come, the methods of each as in its comparison.
fn sorted(folders: Vec<PathBuf>) -> anyhow::Result<(Vec<PathBuf>, Vec<Entry>)> {
    let (mut found, mut pairs) = (Vec::new(), Vec::new());
    for run in folders {
        let entry = cell::read(&run)?;
        let known = pairs.iter().position(|pair| *pair == entry.outcome.pair);
        let pair = known.unwrap_or_else(|| {
            pairs.push(entry.outcome.pair.clone());
            pairs.len() - 1
        });
        found.push(((pair, place(&run, &entry.outcome.name)), run, entry));
    }
    found.sort_by_key(|(at, ..)| *at);
    Ok(found.into_iter().map(|(_, run, entry)| (run, entry)).unzip())
}

/// The folders of finished runs in and below those given; at least one.
fn finished(folders: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let (mut runs, mut unfinished) = (Vec::new(), 0);
    for folder in folders {
        let before = runs.len();
        collect(folder, DEEPEST, &mut runs, &mut unfinished)?;
        if runs.len() == before {
            let shown = folder.display();
            let what = format!("{shown}: holds no finished run; name a folder that was some --out");
            return Err(Error::Run(what).into());
        }
    }
    if unfinished > 0 {
        output::note(&format!("note: left out are {unfinished} runs that are not finished"));
    }
    Ok(runs)
}

fn collect(folder: &Path, depth: usize, runs: &mut Vec<PathBuf>, unfinished: &mut usize) -> hcd::Result<()> {
    if RunFolder::exists(folder) {
        match cell::is_finished(folder) {
            true if !runs.contains(&folder.to_owned()) => runs.push(folder.to_owned()),
            true => {}
            false => *unfinished += 1,
        }
        return Ok(());
    }
    let mut inner = files::list(folder)?;
    inner.retain(|path| path.is_dir());
    inner.sort();
    if depth > 0 {
        for folder in inner {
            collect(&folder, depth - 1, runs, unfinished)?;
        }
    }
    Ok(())
}

/// The names of the classes. Runs of earlier versions have none, and are read all the same.
fn classes(run: &Path) -> hcd::Result<Vec<String>> {
    Ok(RunFolder::open(run)?.0.about()?.classes)
}

/// What a comparison told of its teacher, above the folder of one of its runs.
fn teacher(run: &Path) -> Option<TeacherLine> {
    run.ancestors().skip(1).take(2).find_map(publish::teacher)
}

/// Where a method stands in the comparison that a run is part of.
fn place(run: &Path, label: &str) -> usize {
    let recipes = run.ancestors().skip(2).take(2).map(|folder| folder.join("recipe.toml"));
    let mut read =
        recipes.filter(|path| path.is_file()).filter_map(|path| config::load(Some(&path), &[]).ok());
    let methods = read.find_map(|resolved| resolved.recipe.compare).map(|compare| compare.methods);
    let methods = methods.unwrap_or_default();
    methods.iter().position(|lesson| lesson.label == label).unwrap_or(methods.len())
}

/// The recipe to show: the comparison's, or the first run's.
fn recipe(folder: &Path, run: &Path) -> PathBuf {
    let of = |folder: &Path| folder.join("recipe.toml");
    Some(of(folder)).filter(|path| path.is_file()).unwrap_or_else(|| of(run))
}
