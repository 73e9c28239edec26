//! From a recipe file and overrides to a resolved recipe, with the origin of each value.

use super::Recipe;
use crate::error::{Error, Result};
use crate::files;
use crate::methods::MethodConfig;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use toml::{Table, Value};

/// Most problems that one reading reports.
const MOST_PROBLEMS: usize = 16;

/// Keys without which there is no recipe: section, key, the flag that gives it, and what stands in for it
/// while the rest is looked at.
const REQUIRED: [(&str, &str, &str, &str); 2] =
    [("data", "path", "--data PATH", ""), ("student", "name", "--student NAME", "resnet18")];

/// Sections that come in several kinds, told by their `name`, and the kind where none is named.
const KINDS: [(&str, &str); 3] = [("method", "hcd"), ("optimizer", "sgd"), ("schedule", "cosine")];

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The program's own.
    Default,
    /// The recipe file.
    Recipe,
    /// A flag or `--set`.
    Flag,
}

/// One value given on the command line.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// Path of the key, dots between.
    pub key: String,
    /// Its value.
    pub value: Value,
}

impl Override {
    /// `key` set to `value`.
    pub fn new(key: &str, value: impl Into<Value>) -> Self {
        Self { key: key.to_owned(), value: value.into() }
    }
}

/// A recipe in which nothing is left open.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The values.
    pub recipe: Recipe,
    /// Where each came from, by dotted key.
    pub origins: BTreeMap<String, Origin>,
}

impl Resolved {
    /// Every value by dotted key, in the order of the recipe.
    ///
    /// # Errors
    /// Where a value cannot be written as TOML, such as a number beyond its range.
    pub fn values(&self) -> Result<Vec<(String, Value)>> {
        values(&self.recipe)
    }

    /// The whole recipe as TOML.
    ///
    /// # Errors
    /// As [`Resolved::values`].
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(&self.recipe)
            .map_err(|e| Error::Recipe(format!("recipe cannot be written as TOML: {e}")))
    }
}

/// Every value of a recipe by dotted key, in its order.
///
/// # Errors
/// As [`Resolved::values`].
pub fn values(recipe: &Recipe) -> Result<Vec<(String, Value)>> {
    let mut values = Vec::new();
    flatten("", &table_of(recipe)?, &mut values);
    Ok(values)
}

/// The first value that is another in `now` than in `before`, as people read it: `optimizer.lr = 0.1, now 0.05`.
///
/// # Errors
/// As [`Resolved::values`].
pub fn difference(before: &Recipe, now: &Recipe) -> Result<Option<String>> {
    let (before, now) = (values(before)?, values(now)?);
    let of = |values: &[(String, Value)], key: &str| {
        let found = values.iter().find(|(other, _)| other == key);
        found.map_or("nothing".to_owned(), |(_, value)| value.to_string())
    };
    let keys = before.iter().chain(&now).map(|(key, _)| key);
    let told = |key: &String| (key.clone(), of(&before, key), of(&now, key));
    let found = keys.map(told).find(|(_, before, now)| before != now);
    Ok(found.map(|(key, before, now)| format!("{key} = {before}, now {now}")))
}

/// Reads `key=value` as given to `--set`: the value is TOML, or else a string.
///
/// # Errors
/// Where there is no `=` or no key.
pub fn parse_override(text: &str) -> Result<Override> {
    let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.trim().is_empty()) else {
        return Err(Error::Recipe(format!("--set {text}: expected path.to.key=value")));
    };
    let parsed = format!("v = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("v"));
    Ok(Override {
        key: key.trim().to_owned(),
        value: parsed.unwrap_or_else(|| Value::String(value.to_owned())),
    })
}

/// Resolves a recipe from a file (or none) and overrides, later ones winning.
///
/// # Errors
/// With every problem found, in one line: unreadable file, bad TOML, unknown keys, wrong types, values out
/// of range.
pub fn load(file: Option<&Path>, overrides: &[Override]) -> Result<Resolved> {
    let (text, name) = match file {
        Some(path) => (files::read_text(path)?, path.display().to_string()),
        None => (String::new(), "recipe".to_owned()),
    };
    from_text(&text, &name, overrides)
}

/// As [`load`], from text; `name` stands for it in errors.
///
/// # Errors
/// As [`load`].
pub fn from_text(text: &str, name: &str, overrides: &[Override]) -> Result<Resolved> {
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().map_or("", |span| &text[..span.start.min(text.len())]);
        let line = before.matches('\n').count();
        let found: String = text.lines().nth(line).unwrap_or_default().trim().chars().take(60).collect();
        Error::Recipe(format!("{name}: line {}: {} (`{found}`)", line + 1, one_line(error.message())))
    })?;
    rename_model(&mut table).map_err(|what| Error::Recipe(format!("{name}: {what}")))?;
    overrides.iter().for_each(|change| switch_kind(&mut table, change));
    let in_file = keys_of(&table);
    for change in overrides {
        set(&mut table, change).map_err(|what| Error::Recipe(format!("--set {}: {what}", change.key)))?;
    }
    settle_kinds(&mut table);
    let (mut recipe, mut problems) = deserialize(table);
    if let Some(recipe) = &mut recipe {
        recipe.schedule.settle(recipe.optimizer.lr(), recipe.train.epochs);
        problems.extend(recipe.check());
    }
    match recipe {
        Some(recipe) if problems.is_empty() => {
            let origins = origins(&recipe, &in_file, overrides)?;
            Ok(Resolved { recipe, origins })
        }
        _ => Err(Error::Recipe(format!("{name}: {}", problems.join("; ")))),
    }
}

/// `[model]` is another name for `[student]`: what is trained from labels is nobody's student.
fn rename_model(table: &mut Table) -> std::result::Result<(), String> {
    if let Some(model) = table.remove("model") {
        if table.contains_key("student") {
            return Err("[model] and [student] name the same thing, give one".to_owned());
        }
        table.insert("student".to_owned(), model);
    }
    Ok(())
}

/// Names the kind of each section that does not say; where there is a teacher, there is a method.
fn settle_kinds(table: &mut Table) {
    if table.contains_key("teacher") {
        table.entry("method").or_insert_with(|| Value::Table(Table::new()));
    }
    for (section, kind) in KINDS {
        if let Some(Value::Table(inner)) = table.get_mut(section) {
            inner.entry("name").or_insert_with(|| kind.into());
        }
    }
    if let Some(Value::Table(method)) = table.get_mut("method") {
        MethodConfig::unfold(method);
    }
}

/// Another kind of a section begins with its own defaults: what the file says is of the kind that it has.
fn switch_kind(table: &mut Table, change: &Override) {
    let section = KINDS.iter().find(|(section, _)| change.key == format!("{section}.name"));
    let Some((section, usual)) = section else { return };
    let named = table.get(*section).and_then(|inner| inner.get("name")).and_then(Value::as_str);
    if change.value.as_str() != Some(named.unwrap_or(usual)) {
        table.remove(*section);
    }
}

/// Reads the recipe; at each problem notes it, drops its key and tries again, so that all are found.
fn deserialize(mut table: Table) -> (Option<Recipe>, Vec<String>) {
    let mut problems = Vec::new();
    for (section, key, flag, stand_in) in REQUIRED {
        let section_of = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        if section_of.as_table().is_some_and(|inner| !inner.contains_key(key)) {
            problems.push(format!("{section}.{key} is missing: set it, or give {flag}"));
            *section_of = Value::Table(Table::from_iter([(key.to_owned(), stand_in.into())]));
        }
    }
    let mut dropped = BTreeSet::new();
    while problems.len() < MOST_PROBLEMS {
        let (path, message) = match read(&table) {
            Ok(recipe) => return (Some(recipe), problems),
            Err(problem) => problem,
        };
        let quoted = message.split('`').nth(1).unwrap_or_default();
        let inner = if path == "." { quoted.to_owned() } else { format!("{path}.{quoted}") };
        // serde names an unknown field's parent or the field itself; a missing one's parent.
        let key = match () {
            () if message.starts_with("unknown field") && !path.ends_with(quoted) => inner.clone(),
            () if ["invalid", "unknown variant", "expected"].iter().any(|how| message.starts_with(how)) => {
                culprit(&table, &path, &message)
            }
            () => path.clone(),
        };
        if !(message.starts_with("missing field") && dropped.contains(&inner)) {
            problems.push(format!("{key}: {message}"));
        }
        if !drop_key(&mut table, &key) {
            return (None, problems);
        }
        dropped.insert(key);
    }
    (None, problems)
}

/// Reads the recipe; else the path of the first problem, and what it is.
fn read(table: &Table) -> std::result::Result<Recipe, (String, String)> {
    serde_path_to_error::deserialize(Value::Table(table.clone()))
        .map_err(|error| (error.path().to_string(), one_line(error.inner().message())))
}

/// The key to blame: of a section that comes in kinds, serde tells no more than the section.
fn culprit(table: &Table, path: &str, message: &str) -> String {
    let section =
        KINDS.iter().find(|(section, _)| *section == path).and_then(|_| table.get(path)?.as_table());
    let Some(section) = section else { return path.to_owned() };
    for key in section.keys().filter(|key| *key != "name") {
        let mut alone = table.clone();
        let kept = section.clone().into_iter().filter(|(other, _)| other == key || other == "name");
        alone.insert(path.to_owned(), Value::Table(kept.collect()));
        if read(&alone).is_err_and(|found| found.0 == path && found.1 == message) {
            return format!("{path}.{key}");
        }
    }
    path.to_owned()
}

/// Drops what cannot be read; a key that must be there is replaced.
fn drop_key(table: &mut Table, key: &str) -> bool {
    for (section, needed, _, stand_in) in REQUIRED {
        if key == section {
            let inner = Table::from_iter([(needed.to_owned(), stand_in.into())]);
            table.insert(section.to_owned(), Value::Table(inner));
            return true;
        }
        if key.strip_prefix(section) == Some(&format!(".{needed}")) {
            return set(table, &Override::new(key, stand_in)).is_ok();
        }
    }
    let first = key.split('.').next().unwrap_or(key);
    let kind = KINDS.iter().any(|(section, _)| key == format!("{section}.name"));
    match kind {
        true => remove(table, first),
        false => remove(table, key) || remove(table, first),
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The key's own name: `model` is another for `student`.
fn full_name(key: &str) -> String {
    match key.strip_prefix("model") {
        Some(rest) if rest.is_empty() || rest.starts_with('.') => format!("student{rest}"),
        _ => key.to_owned(),
    }
}

fn set(table: &mut Table, change: &Override) -> std::result::Result<(), String> {
    let key = full_name(&change.key);
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().unwrap_or_default();
    let mut here = table;
    for part in parts {
        let entry = here.entry(part.to_owned()).or_insert_with(|| Value::Table(Table::new()));
        here = entry.as_table_mut().ok_or_else(|| format!("`{part}` is a value, not a table"))?;
    }
    here.insert(last.to_owned(), change.value.clone());
    Ok(())
}

fn remove(table: &mut Table, path: &str) -> bool {
    match path.split_once('.') {
        None => table.remove(path).is_some(),
        Some((first, rest)) => {
            table.get_mut(first).and_then(Value::as_table_mut).is_some_and(|inner| remove(inner, rest))
        }
    }
}

fn table_of(recipe: &Recipe) -> Result<Table> {
    Table::try_from(recipe).map_err(|e| Error::Recipe(format!("recipe cannot be written as TOML: {e}")))
}

fn flatten(prefix: &str, table: &Table, found: &mut Vec<(String, Value)>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => flatten(&key, inner, found),
            other => found.push((key, other.clone())),
        }
    }
}

fn keys_of(table: &Table) -> BTreeSet<String> {
    let mut values = Vec::new();
    flatten("", table, &mut values);
    values.into_iter().map(|(key, _)| key).collect()
}

fn origins(
    recipe: &Recipe,
    in_file: &BTreeSet<String>,
    overrides: &[Override],
) -> Result<BTreeMap<String, Origin>> {
    let flags: Vec<String> = overrides.iter().map(|change| full_name(&change.key)).collect();
    // A flag may have given a whole table.
    let within =
        |key: &str, flag: &str| key.strip_prefix(flag).is_some_and(|r| r.is_empty() || r.starts_with('.'));
    let origin = |key: String| {
        let origin = match () {
            () if flags.iter().any(|flag| within(&key, flag)) => Origin::Flag,
            () if in_file.contains(&key) => Origin::Recipe,
            () => Origin::Default,
        };
        (key, origin)
    };
    Ok(keys_of(&table_of(recipe)?).into_iter().map(origin).collect())
}
