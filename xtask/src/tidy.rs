//! The house rules that no compiler knows, over every file that git tracks or would track.
//!
//! A rule is a function from a [`File`] to what is wrong with it, listed in [`RULES`]. Each violation is one
//! line, `path:line: what`.

mod layout;
mod links;
mod purity;
mod safety;
mod source;
mod text;

use anyhow::{Context, Result, bail, ensure};
use source::Source;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// One file of the project.
struct File {
    /// Its path from the root, with `/` between.
    path: String,
    /// Its size in bytes.
    size: u64,
    /// Its lines, where it is text; without their ends.
    text: Option<Text>,
}

/// A text file.
struct Text {
    whole: String,
    /// What of it is Rust code, where it is Rust.
    rust: Option<Source>,
}

/// What is wrong, and in which line, counted from 1.
#[derive(Debug, PartialEq)]
struct Violation {
    line: usize,
    what: String,
}

/// What a rule may know beyond the file.
struct Project {
    /// The paths of all files.
    paths: BTreeSet<String>,
}

type Rule = fn(&File, &Project) -> Vec<Violation>;

/// Every rule.
const RULES: &[Rule] = &[
    layout::opens_with_its_purpose,
    layout::is_not_long,
    layout::has_a_telling_name,
    layout::is_small,
    text::has_no_trailing_whitespace,
    text::ends_with_one_newline,
    text::recipe_is_toml,
    links::point_to_files,
    purity::nothing_is_left_open,
    purity::only_programs_use_anyhow,
    purity::library_is_silent,
    purity::step_has_no_hash_order,
    safety::unsafe_is_in_the_kernels,
    safety::unsafe_is_explained,
];

/// Applies every rule to every file.
pub fn run() -> Result<()> {
    let files = files(&crate::root())?;
    let found = violations(&files);
    for line in &found {
        println!("{line}");
    }
    match found.len() {
        0 => println!("{} files, {} rules, nothing to mend", files.len(), RULES.len()),
        count => bail!("{count} violations of the house rules"),
    }
    Ok(())
}

/// One line each.
fn violations(files: &[File]) -> Vec<String> {
    let project = Project { paths: files.iter().map(|file| file.path.clone()).collect() };
    let mut found = Vec::new();
    for file in files {
        for rule in RULES {
            let violations = rule(file, &project).into_iter();
            found.extend(violations.map(|found| format!("{}:{}: {}", file.path, found.line, found.what)));
        }
    }
    found
}

/// What git tracks, and what it would track: neither deleted nor ignored.
fn files(root: &Path) -> Result<Vec<File>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(arguments).current_dir(root).output().context("cannot run git")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
    let listed = String::from_utf8(output.stdout).context("git ls-files: a name is not UTF-8")?;
    let paths: BTreeSet<&str> = listed.split_terminator('\0').collect();
    let present = paths.into_iter().filter(|path| root.join(path).is_file());
    present.map(|path| read(root, path)).collect()
}

fn read(root: &Path, path: &str) -> Result<File> {
    let bytes = std::fs::read(root.join(path)).with_context(|| format!("{path}: cannot read"))?;
    let size = bytes.len() as u64;
    // As git tells: what holds a zero byte, or is not UTF-8, is no text.
    let text = (!bytes.contains(&0)).then(|| String::from_utf8(bytes).ok()).flatten();
    Ok(File::new(path, size, text))
}

impl File {
    fn new(path: &str, size: u64, text: Option<String>) -> Self {
        let rust = |whole: &str| path.ends_with(".rs").then(|| Source::of(whole));
        let text = text.map(|whole| Text { rust: rust(&whole), whole });
        Self { path: path.to_owned(), size, text }
    }

    /// Its text; nothing for a binary file.
    fn whole(&self) -> &str {
        self.text.as_ref().map_or("", |text| &text.whole)
    }

    /// Its lines as they stand.
    fn lines(&self) -> Vec<&str> {
        self.whole().lines().collect()
    }

    /// Its Rust code, where it is Rust.
    fn rust(&self) -> Option<&Source> {
        self.text.as_ref().and_then(|text| text.rust.as_ref())
    }

    /// Whether it is under a folder, given with a `/` behind it.
    fn is_under(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }

    /// Whether it is a part of a program or library, not a test, bench or example of one.
    fn is_source(&self) -> bool {
        self.path.split('/').rev().skip(1).any(|folder| folder == "src")
    }
}

impl Violation {
    fn new(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }
}

/// Holds a rule to a table: path, content, and the expected violations as `line: what`.
#[cfg(test)]
fn check(rule: Rule, cases: &[(&str, &str, &[&str])]) {
    for (path, content, expected) in cases {
        let file = File::new(path, content.len() as u64, Some((*content).to_owned()));
        let others = ["README.md", "docs/method.md", "docs/figures/a.svg"];
        let project = Project { paths: others.map(str::to_owned).into() };
        let found: Vec<String> =
            rule(&file, &project).iter().map(|found| format!("{}: {}", found.line, found.what)).collect();
        assert_eq!(found, *expected, "{path}: {content}");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_is_one_line_with_path_and_place() {
        let file = File::new("crates/hcd/src/a.rs", 26, Some("//! A.\nfn a() { todo!() }\n".to_owned()));
        assert_eq!(violations(&[file]), ["crates/hcd/src/a.rs:2: `todo!` is left open"]);
    }

    #[test]
    fn git_names_tracked_and_new_files_but_no_ignored_or_deleted_ones() {
        let folder = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let status = Command::new("git").args(arguments).current_dir(folder.path()).status().unwrap();
            assert!(status.success(), "git {arguments:?}");
        };
        for (name, content) in
            [("kept.md", "a\n"), ("gone.md", "b\n"), (".gitignore", "*.tmp\n"), ("x.tmp", "c\n")]
        {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        git(&["init", "--quiet"]);
        git(&["add", "kept.md", "gone.md", ".gitignore"]);
        std::fs::remove_file(folder.path().join("gone.md")).unwrap();
        std::fs::write(folder.path().join("binary"), [0, 159, 146, 150]).unwrap();
        let found = files(folder.path()).unwrap();
        let names: Vec<&str> = found.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(names, [".gitignore", "binary", "kept.md"]);
        assert_eq!((found[1].size, found[1].whole(), found[2].whole()), (4, "", "a\n"));
    }
}
