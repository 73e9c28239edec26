//! Which runs of a report belong in one table: those of one setting, whatever folder they lie in.
//!
//! A setting is all that a run's recipe says but for seed and method, with data and teacher told by what is in them. Runs of
//! different settings are different pairs, named by what differs; so are methods of one name with different options.

use crate::cell::{Ended, Finished};
use hcd::Error;
use hcd::config::{self, Recipe};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Most differences that a name is made of.
const MOST_TOLD: usize = 3;
/// Keys that change nothing of what a run comes to.
const OF_NO_EFFECT: [&str; 3] = ["train.gradient_norms", "train.checkpoint_steps", "teacher.cache"];

/// Values by dotted key, as a recipe writes them.
type Values = BTreeMap<String, String>;

/// A run that has ended.
pub struct Found {
    /// Where it is.
    pub folder: PathBuf,
    /// What it came to.
    pub ended: Ended,
    /// All but seed, method and teacher.
    setting: Values,
    teacher: Values,
    method: Values,
    /// What tells the data and the teacher, in the place of their paths.
    contents: [Option<String>; 2],
    /// The names of the classes; runs of earlier versions have none.
    pub classes: Vec<String>,
}

impl Found {
    /// Reads a run's recipe beside what it came to.
    pub fn read(folder: PathBuf) -> anyhow::Result<Self> {
        let Finished { run, recipe, ended } = Finished::read(&folder)?;
        let about = run.about()?;
        let values: Values = values_of(&recipe)?;
        let under = |section: &str| -> Values {
            let within = |key: &str| key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
            values
                .iter()
                .filter(|(key, _)| within(key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        };
        let (teacher, method) = (under("teacher"), under("method"));
        let mut setting = values.clone();
        setting.retain(|key, _| key != "seed" && !teacher.contains_key(key) && !method.contains_key(key));
        let (contents, classes) = ([Some(about.data), about.teacher], about.classes);
        Ok(Self { folder, ended, setting, teacher, method, contents, classes })
    }

    /// The pair that the run is part of, by its own word.
    pub fn pair(&mut self) -> &mut Option<String> {
        match &mut self.ended {
            Ended::Whole(entry) => &mut entry.outcome.pair,
            Ended::Diverged(run) => &mut run.pair,
        }
    }

    /// What its row is called.
    pub fn name(&mut self) -> &mut String {
        match &mut self.ended {
            Ended::Whole(entry) => &mut entry.outcome.name,
            Ended::Diverged(run) => &mut run.name,
        }
    }

    fn seed(&self) -> u64 {
        match &self.ended {
            Ended::Whole(entry) => entry.outcome.seed,
            Ended::Diverged(run) => run.seed,
        }
    }

    /// The comparison that it is part of: above the folders of its method and its seed.
    fn comparison(&self) -> Option<&Path> {
        self.folder.ancestors().nth(2)
    }

    /// What two runs of one table share.
    fn identity(&self) -> Values {
        let mut identity = self.setting.clone();
        identity.extend(self.teacher.clone());
        for (key, content) in ["data.path", "teacher.weights"].iter().zip(&self.contents) {
            if let (Some(value), Some(content)) = (identity.get_mut(*key), content) {
                value.clone_from(content);
            }
        }
        identity
    }
}

fn values_of(recipe: &Recipe) -> hcd::Result<Values> {
    let mut values: Values =
        config::values(recipe)?.into_iter().map(|(key, value)| (key, value.to_string())).collect();
    OF_NO_EFFECT.iter().for_each(|key| drop(values.remove(*key)));
    Ok(values)
}

/// Names pairs and methods so that runs of one name, pair and seed are the same run.
///
/// # Errors
/// Where two runs are: a mean over them would count one seed twice.
pub fn tell_apart(found: &mut [Found]) -> anyhow::Result<()> {
    lend_teachers(found);
    let pairs: Vec<_> = found.iter_mut().map(|run| run.pair().clone()).collect();
    let identities: Vec<Values> = found.iter().map(Found::identity).collect();
    let shown: Vec<Values> =
        found.iter().map(|run| run.setting.iter().chain(&run.teacher)).map(cloned).collect();
    for (run, told) in found.iter_mut().zip(differences(&pairs, &identities, &shown)) {
        if let Some(told) = told {
            let pair = run.pair().take();
            *run.pair() = Some(pair.map_or(told.clone(), |pair| format!("{pair}: {told}")));
        }
    }
    let rows: Vec<_> = found.iter_mut().map(|run| (run.pair().clone(), run.name().clone())).collect();
    let methods: Vec<Values> = found.iter().map(|run| run.method.clone()).collect();
    for (run, told) in found.iter_mut().zip(differences(&rows, &methods, &methods)) {
        if let Some(told) = told {
            *run.name() = format!("{} ({})", run.name(), told.replace("method.", ""));
        }
    }
    refuse_copies(found)
}

fn cloned<'a>(values: impl Iterator<Item = (&'a String, &'a String)>) -> Values {
    values.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// A run from labels alone belongs with what its comparison taught, or else with any of its setting.
fn lend_teachers(found: &mut [Found]) {
    for index in 0..found.len() {
        let run = &found[index];
        if !run.teacher.is_empty() {
            continue;
        }
        let mut taught: Vec<&Found> = found
            .iter()
            .filter(|other| !other.teacher.is_empty() && other.setting == run.setting)
            .filter(|other| other.contents[0] == run.contents[0])
            .collect();
        taught.sort_by_key(|other| other.comparison() != run.comparison());
        if let Some((teacher, contents)) =
            taught.first().map(|other| (other.teacher.clone(), other.contents.clone()))
        {
            (found[index].teacher, found[index].contents) = (teacher, contents);
        }
    }
}

/// For each run what it differs by from those in the same place that have another identity; none where there are no such.
fn differences<P: PartialEq>(places: &[P], identities: &[Values], shown: &[Values]) -> Vec<Option<String>> {
    let mut told: Vec<Option<String>> = Vec::new();
    for (place, identity) in places.iter().zip(identities) {
        let mut kinds: Vec<(&Values, &Values)> = Vec::new();
        for ((other, kind), shown) in places.iter().zip(identities).zip(shown) {
            if other == place && kinds.iter().all(|(known, _)| *known != kind) {
                kinds.push((kind, shown));
            }
        }
        let own = kinds.iter().position(|(kind, _)| *kind == identity).unwrap_or_default();
        told.push((kinds.len() > 1).then(|| describe(&kinds, own)));
    }
    told
}

/// The values of one kind that are not those of all, and a number where that is not enough.
fn describe(kinds: &[(&Values, &Values)], own: usize) -> String {
    let keys: Vec<&String> = kinds.iter().flat_map(|(kind, _)| kind.keys()).collect();
    let mut differing: Vec<&String> = Vec::new();
    for key in keys {
        let of = |values: &Values| values.get(key).cloned();
        if !differing.contains(&key) && kinds.iter().any(|(kind, _)| of(kind) != of(kinds[0].0)) {
            differing.push(key);
        }
    }
    let text = |(_, shown): &(&Values, &Values)| {
        let told: Vec<String> = differing
            .iter()
            .take(MOST_TOLD)
            .map(|key| format!("{key} = {}", shown.get(*key).map_or("none", String::as_str)))
            .collect();
        told.join(", ")
    };
    let told = text(&kinds[own]);
    let before = kinds[..own].iter().filter(|kind| text(kind) == told).count();
    match before {
        0 => told,
        _ => format!("{told} [{}]", before + 1),
    }
}

fn refuse_copies(found: &mut [Found]) -> anyhow::Result<()> {
    let mut known: BTreeMap<(Option<String>, String, u64), PathBuf> = BTreeMap::new();
    for run in found {
        let key = (run.pair().clone(), run.name().clone(), run.seed());
        if let Some(other) = known.insert(key, run.folder.clone()) {
            let (name, seed) = (run.name().clone(), run.seed());
            let (shown, other) = (run.folder.display(), other.display());
            return Err(Error::Run(format!(
                "{shown}: is `{name}` under seed {seed} by the very recipe of {other}; name one of the two"
            ))
            .into());
        }
    }
    Ok(())
}
