//! `hcd report`: runs of any age as one table and one page.

use crate::args::ReportArgs;
use crate::cell::{self, Ended};
use crate::grouping::{Found, tell_apart};
use crate::{output, publish};
use hcd::config;
use hcd::report::{self, Diverged, Entry, Page, Part, TeacherLine};
use hcd::train::{RunFolder, inspect_folder};
use hcd::{Error, files};
use std::path::{Path, PathBuf};

/// How deep runs may lie below a folder: comparison, pair, method, seed.
const DEEPEST: usize = 4;

pub fn run(args: ReportArgs) -> anyhow::Result<()> {
    if let Some(folder) = &args.out {
        inspect_folder(folder)?;
    }
    let found = sorted(finished(&args.runs)?)?;
    check_split(&found)?;
    let runs: Vec<PathBuf> = found.iter().map(|run| run.folder.clone()).collect();
    let gathered = gather(found)?;
    let parts: Vec<Part> = gathered.iter().map(Gathered::part).collect();
    let entries = report::entries_of(&parts);
    if let Some(folder) = &args.out {
        let recipe = files::read_text(&recipe(&args.runs[0], &runs[0]))?;
        let notes: Vec<String> = runs.iter().map(|run| run.display().to_string()).collect();
        let intro = format!("{} runs, which the end of this page names.", runs.len());
        files::create_folder(folder)?;
        let page = Page { title: "hcd report", intro, parts: &parts, recipe: &recipe, notes: &notes };
        publish::write_report(&page, folder)?;
    }
    if args.json {
        let outcomes: Vec<_> = entries.iter().map(|entry| &entry.outcome).collect();
        let diverged: Vec<_> = gathered.iter().flat_map(|part| &part.diverged).collect();
        let (lead, ranking) = (report::lead(&entries), report::ranking(&entries));
        let value = serde_json::json!({
            "methods": outcomes, "diverged": diverged, "lead": lead, "ranking": ranking, "report": args.out,
        });
        return output::json(&value);
    }
    publish::print_parts(&parts);
    if let Some(folder) = &args.out {
        publish::tell_where(folder);
    }
    Ok(())
}

/// The runs of one table.
struct Gathered {
    name: Option<String>,
    teacher: Option<TeacherLine>,
    classes: Vec<String>,
    entries: Vec<Entry>,
    diverged: Vec<Diverged>,
}

impl Gathered {
    fn part(&self) -> Part<'_> {
        Part {
            name: self.name.clone(),
            teacher: self.teacher.clone(),
            entries: &self.entries,
            diverged: &self.diverged,
            classes: &self.classes,
        }
    }
}

/// The runs by pair, in the order in which pairs first appear.
fn gather(found: Vec<Found>) -> anyhow::Result<Vec<Gathered>> {
    let mut gathered: Vec<Gathered> = Vec::new();
    for mut run in found {
        let name = run.pair().clone();
        let index = match gathered.iter().position(|part| part.name == name) {
            Some(index) => index,
            None => {
                let (teacher, classes) = (None, std::mem::take(&mut run.classes));
                gathered.push(Gathered { name, teacher, classes, entries: vec![], diverged: vec![] });
                gathered.len() - 1
            }
        };
        let part = &mut gathered[index];
        part.teacher = part.teacher.take().or_else(|| teacher(&run.folder));
        match run.ended {
            Ended::Whole(entry) => part.entries.push(*entry),
            Ended::Diverged(diverged) => part.diverged.push(diverged),
        }
    }
    Ok(gathered)
}

/// Figures on different images are not for one table.
fn check_split(found: &[Found]) -> hcd::Result<()> {
    let mut splits = found.iter().filter_map(|run| match &run.ended {
        Ended::Whole(entry) => Some(entry.outcome.split),
        Ended::Diverged(_) => None,
    });
    let Some(split) = splits.next() else { return Ok(()) };
    match splits.find(|other| *other != split) {
        None => Ok(()),
        Some(other) => Err(Error::Run(format!(
            "results on {split} and on {other} images are not for one table; name runs of one kind"
        ))),
    }
}

/// The runs and what they came to: pairs as they come, the methods of each as in its comparison.
fn sorted(folders: Vec<PathBuf>) -> anyhow::Result<Vec<Found>> {
    let mut places = Vec::new();
    let mut found = Vec::new();
    for run in folders {
        let mut run = Found::read(run)?;
        let name = run.name().clone();
        places.push(place(&run.folder, &name));
        found.push(run);
    }
    tell_apart(&mut found)?;
    let mut pairs = Vec::new();
    let mut keyed = Vec::new();
    for (mut run, place) in found.into_iter().zip(places) {
        let pair = run.pair().clone();
        if !pairs.contains(&pair) {
            pairs.push(pair.clone());
        }
        keyed.push(((pairs.iter().position(|known| *known == pair), place), run));
    }
    keyed.sort_by_key(|(at, _)| *at);
    Ok(keyed.into_iter().map(|(_, run)| run).collect())
}

/// The folders of finished runs in and below those given; at least one.
fn finished(folders: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let (mut runs, mut unfinished) = (Vec::new(), 0);
    let again = |(index, folder): &(usize, &PathBuf)| folders[..*index].contains(folder);
    for (_, folder) in folders.iter().enumerate().filter(|place| !again(place)) {
        let (before, shown) = (runs.len(), folder.display());
        let refuse = |what: &str| Err(Error::Run(format!("{shown}: {what}")).into());
        if !folder.is_dir() {
            return refuse("no such folder; name one that was some --out");
        }
        collect(folder, DEEPEST, &mut runs, &mut unfinished)?;
        if runs.len() == before {
            return refuse("holds no finished run; name a folder that was some --out");
        }
    }
    if unfinished > 0 {
        output::note(&format!("note: left out are {unfinished} runs that are not finished"));
    }
    Ok(runs)
}

fn collect(folder: &Path, depth: usize, runs: &mut Vec<PathBuf>, unfinished: &mut usize) -> hcd::Result<()> {
    // A result without its recipe is told as what it is when it is read.
    if RunFolder::exists(folder) || cell::is_finished(folder) {
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
