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
        let table = table_of(&self.recipe)?;
        let mut values = Vec::new();
        flatten("", &table, &mut values);
        Ok(values)
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
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        Error::Recipe(format!("{name}: line {line}: {}", one_line(error.message())))
    })?;
    rename_model(&mut table).map_err(|what| Error::Recipe(format!("{name}: {what}")))?;
    let in_file = keys_of(&table);
    for change in overrides {
        set(&mut table, change).map_err(|what| Error::Recipe(format!("--set {}: {what}", change.key)))?;
    }
    let (mut recipe, mut problems) = deserialize(table.clone());
    if let Some(recipe) = &mut recipe {
        recipe.schedule.settle(recipe.train.epochs);
        if recipe.teacher.is_some() && recipe.method.is_none() {
            recipe.method = MethodConfig::of_name("hcd");
        }
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

/// Reads the recipe; at each problem notes it, drops its key and tries again, so that all are found.
fn deserialize(mut table: Table) -> (Option<Recipe>, Vec<String>) {
    let mut problems = Vec::new();
    while problems.len() < MOST_PROBLEMS {
        let result: std::result::Result<Recipe, _> =
            serde_path_to_error::deserialize(Value::Table(table.clone()));
        let error = match result {
            Ok(recipe) => return (Some(recipe), problems),
            Err(error) => error,
        };
        let path = error.path().to_string();
        let message = one_line(error.inner().message());
        // serde names an unknown field's parent or the field itself; drop what can be dropped.
        let key = match message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) {
            Some(field) if path == "." => field.to_owned(),
            Some(field) if !path.ends_with(field) => format!("{path}.{field}"),
            _ => path.clone(),
        };
        problems.push(if path == "." { message } else { format!("{path}: {message}") });
        if !remove(&mut table, &key) && !remove(&mut table, &path) {
            return (None, problems);
        }
    }
    (None, problems)
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn set(table: &mut Table, change: &Override) -> std::result::Result<(), String> {
    let key = match change.key.strip_prefix("model.") {
        Some(rest) => format!("student.{rest}"),
        None => change.key.clone(),
    };
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
    let flags: BTreeSet<String> =
        overrides.iter().map(|change| change.key.replace("model.", "student.")).collect();
    let origin = |key: String| {
        let origin = match () {
            () if flags.contains(&key) => Origin::Flag,
            () if in_file.contains(&key) => Origin::Recipe,
            () => Origin::Default,
        };
        (key, origin)
    };
    Ok(keys_of(&table_of(recipe)?).into_iter().map(origin).collect())
}
