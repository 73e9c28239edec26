//! `[compare]`: methods by pairs by seeds.

use super::{Recipe, Resolved, from_text};
use crate::error::{Error, Result};
use crate::eval::Split;
use crate::methods::MethodConfig;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// Sections that a pair may name, and whether it then gives the whole section or only some keys of it.
const SECTIONS: [(&str, bool); 7] = [
    ("student", true),
    ("teacher", true),
    ("optimizer", true),
    ("schedule", true),
    ("train", false),
    ("finetune", false),
    ("data", false),
];

/// Files in the folder of a comparison: no method or pair can be called so.
const RESERVED: [&str; 5] = ["recipe.toml", "report.html", "results.csv", "results.md", "teacher.json"];
/// Most letters of a label, which is the name of a folder.
const MOST_LETTERS: usize = 100;

/// What is compared: every method with every pair of teacher and student and every seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareConfig {
    /// Methods by name, each with options that differ from its defaults.
    pub methods: Vec<Lesson>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Pairs of teacher and student in place of the recipe's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<Pairing>,
    /// Which images the table's figures are on: `test`, or `validation` to choose settings by.
    #[serde(default)]
    pub on: Split,
}

/// A row of a comparison: labels alone, or a method that has a teacher; its name, perhaps a label to tell
/// two settings of one method apart, and options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "toml::Table", into = "toml::Table")]
pub struct Lesson {
    /// What it is called in tables and folders.
    pub label: String,
    /// The method; none for labels alone.
    pub method: Option<MethodConfig>,
}

impl Lesson {
    /// The method called `name` with its defaults, or labels alone for "scratch".
    pub fn named(name: &str) -> Self {
        Self { label: name.to_owned(), method: MethodConfig::of_name(name) }
    }
}

impl TryFrom<Table> for Lesson {
    type Error = String;

    fn try_from(mut table: Table) -> Result<Self, String> {
        let name = match table.get("name") {
            Some(Value::String(name)) => name.clone(),
            _ => return Err("a method needs a `name`, as `hcd methods` lists them".to_owned()),
        };
        let label = folder_name(&mut table, "label")?.unwrap_or_else(|| name.clone());
        if name == "scratch" {
            return match table.keys().find(|key| *key != "name") {
                Some(key) => Err(format!("unknown field `{key}`: scratch has no options")),
                None => Ok(Self { label, method: None }),
            };
        }
        MethodConfig::unfold(&mut table);
        let method = table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
        Ok(Self { label, method: Some(method) })
    }
}

impl From<Lesson> for Table {
    fn from(lesson: Lesson) -> Self {
        let method = lesson.method.as_ref().and_then(|method| Table::try_from(method).ok());
        let mut table = method.unwrap_or_default();
        let name = lesson.method.as_ref().map_or("scratch", MethodConfig::name);
        table.insert("name".to_owned(), name.into());
        if lesson.label != name {
            table.insert("label".to_owned(), lesson.label.into());
        }
        table
    }
}

/// A pair of teacher and student: its name, and sections of the recipe as it has them.
///
/// `student`, `teacher`, `optimizer` and `schedule` are whole sections in place of the recipe's; of `train`, `finetune` and
/// `data`, single keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "toml::Table", into = "toml::Table")]
pub struct Pairing {
    /// What it is called in tables and folders.
    pub name: String,
    /// The sections.
    changes: Table,
}

impl TryFrom<Table> for Pairing {
    type Error = String;

    fn try_from(mut table: Table) -> std::result::Result<Self, String> {
        let name = folder_name(&mut table, "name")?.ok_or_else(|| "a pair needs a `name`".to_owned())?;
        let known = |key: &str| SECTIONS.iter().any(|(section, _)| *section == key);
        match table.iter().find(|(key, value)| !known(key) || !value.is_table()) {
            Some((key, _)) => {
                let sections = SECTIONS.map(|(section, _)| section).join(", ");
                Err(format!("unknown section `{key}` of pair {name}, expected tables called {sections}"))
            }
            None => Ok(Self { name, changes: table }),
        }
    }
}

impl From<Pairing> for Table {
    fn from(pair: Pairing) -> Self {
        let mut table = pair.changes;
        table.insert("name".to_owned(), pair.name.into());
        table
    }
}

impl Pairing {
    /// The recipe as this pair has it, without `compare`.
    ///
    /// # Errors
    /// Where that is no recipe.
    pub fn of(&self, recipe: &Recipe) -> Result<Resolved> {
        let base = Recipe { compare: None, ..recipe.clone() };
        let failed = |what: &dyn std::fmt::Display| Error::Recipe(format!("pair {}: {what}", self.name));
        let mut table = Table::try_from(&base).map_err(|error| failed(&error))?;
        for (section, value) in &self.changes {
            let whole = SECTIONS.iter().any(|(name, whole)| name == section && *whole);
            match (table.get_mut(section), value) {
                (Some(Value::Table(there)), Value::Table(change)) if !whole => merge(there, change),
                _ => drop(table.insert(section.clone(), value.clone())),
            }
        }
        let text = toml::to_string(&table).map_err(|error| failed(&error))?;
        from_text(&text, &format!("pair {}", self.name), &[])
    }
}

/// Sets the keys of `change`, tables within tables key by key.
fn merge(there: &mut Table, change: &Table) {
    for (key, value) in change {
        match (there.get_mut(key), value) {
            (Some(Value::Table(inner)), Value::Table(change)) => merge(inner, change),
            _ => drop(there.insert(key.clone(), value.clone())),
        }
    }
}

/// Takes `key` out of a table: a text that can be the name of a folder anywhere.
fn folder_name(table: &mut Table, key: &str) -> std::result::Result<Option<String>, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match table.remove(key) {
        None => Ok(None),
        Some(Value::String(name)) if RESERVED.contains(&name.as_str()) => {
            Err(format!("{key} = \"{name}\": a comparison has a file of that name, take another"))
        }
        Some(Value::String(name)) if name.len() > MOST_LETTERS => {
            Err(format!("{key} has {} letters, must have at most {MOST_LETTERS}", name.len()))
        }
        Some(Value::String(name))
            if !name.is_empty() && !name.starts_with('.') && name.chars().all(plain) =>
        {
            Ok(Some(name))
        }
        Some(other) => Err(format!("{key} = {other}, must be letters, digits, `-`, `_` or `.`")),
    }
}

impl CompareConfig {
    /// What is wrong with the values, one line each, the key in front, in the recipe that they are part of.
    pub(super) fn check(&self, recipe: &Recipe) -> Vec<String> {
        let mut problems = Vec::new();
        let twice = |place: String, name: &str, key: &str| {
            format!("compare.{place} is called `{name}` as another is; give it a {key}")
        };
        for (index, lesson) in self.methods.iter().enumerate() {
            let found = lesson.method.as_ref().map(MethodConfig::check).unwrap_or_default();
            problems.extend(found.into_iter().map(|what| format!("compare.methods[{index}].{what}")));
            if self.methods[..index].iter().any(|other| other.label == lesson.label) {
                problems.push(twice(format!("methods[{index}]"), &lesson.label, "label"));
            }
        }
        for (index, pair) in self.pairs.iter().enumerate() {
            if self.pairs[..index].iter().any(|other| other.name == pair.name) {
                problems.push(twice(format!("pairs[{index}]"), &pair.name, "name"));
            }
            match pair.of(recipe) {
                Ok(_) => {}
                Err(Error::Recipe(what)) => problems.push(format!("compare.pairs[{index}]: {what}")),
                Err(other) => problems.push(format!("compare.pairs[{index}]: {other}")),
            }
        }
        for (index, seed) in self.seeds.iter().enumerate() {
            if self.seeds[..index].contains(seed) {
                problems.push(format!("compare.seeds has {seed} more than once"));
            }
        }
        if self.on == Split::Validation && recipe.data.validation == 0.0 {
            problems.push(
                "compare.on = \"validation\" needs held-out images, but data.validation = 0".to_owned(),
            );
        }
        if self.methods.is_empty() || self.seeds.is_empty() {
            problems.push("compare.methods and seeds must each have at least one entry".to_owned());
        }
        problems
    }
}
