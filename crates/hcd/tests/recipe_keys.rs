//! docs/recipes.md has every key of a recipe, and no other.
#![allow(clippy::unwrap_used, missing_docs)]

use hcd::config::from_text;
use std::collections::BTreeSet;

const DOCS: &str = include_str!("../../../docs/recipes.md");

/// Sections whose keys are fixed, and the kinds that one comes in.
const SECTIONS: [(&str, &[&str]); 8] = [
    ("data", &[""]),
    ("data.views", &[""]),
    ("teacher", &[""]),
    ("train", &[""]),
    ("finetune", &[""]),
    ("optimizer", &["sgd", "adamw"]),
    ("schedule", &["cosine", "step"]),
    ("compare", &[""]),
];

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The keys of a section, as the refusal of an unknown one lists them.
fn keys(section: &str, kind: &str) -> BTreeSet<String> {
    let name = if kind.is_empty() { String::new() } else { format!("{section}.name = '{kind}'\n") };
    let milestones = if kind == "step" { "schedule.milestones = [1]\n" } else { "" };
    let text = format!("data.path = 'x'\nstudent.name = 'resnet18'\n{name}{milestones}{section}.zzz = 1\n");
    let error = from_text(&text, "recipe", &[]).unwrap_err().to_string();
    let (_, listed) = error.split_once("unknown field `zzz`, expected ").unwrap_or_else(|| panic!("{error}"));
    quoted(listed.split(';').next().unwrap()).map(str::to_owned).collect()
}

/// The text of a section of the page.
fn page_of(section: &str) -> &'static str {
    let heading = format!("## `[{section}]`");
    let (_, rest) = DOCS.split_once(&heading).unwrap_or_else(|| panic!("no heading {heading}"));
    rest.split("\n## ").next().unwrap()
}

#[test]
fn the_page_has_every_key_and_no_other() {
    for (section, kinds) in SECTIONS {
        let mut known: BTreeSet<String> = kinds.iter().flat_map(|kind| keys(section, kind)).collect();
        known.remove("name");
        // A section of its own.
        known.remove("views");
        let page = page_of(section);
        let told: BTreeSet<String> = page
            .lines()
            .filter(|line| line.starts_with("| `"))
            .flat_map(|line| quoted(line.split('|').nth(1).unwrap()))
            .map(str::to_owned)
            .collect();
        assert_eq!(told, known, "[{section}]");
    }
}
