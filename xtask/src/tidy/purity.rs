//! Rules on what code may call, and where.

use super::source::{Source, has_word};
use super::{File, Project, Violation};

/// The library and its kernels: they neither print, nor exit, nor read the clock.
const SILENT: &[&str] = &["crates/hcd/src/", "crates/hcd-kernels/src/"];

/// What would break the silence.
const LOUD: &[&str] = &[
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
    "process::exit",
    "process::abort",
    "Instant::now",
    "SystemTime",
];

/// The one file of the library that may read the clock: it tells users where the time went, and is asleep until a
/// program wakes it; nothing that is computed depends on it.
const CLOCK: &str = "crates/hcd/src/ops/profile.rs";

/// Where an order decides what a training step computes.
const ORDERED: &[&str] =
    &["crates/hcd/src/train/", "crates/hcd/src/methods/", "crates/hcd/src/losses/", "crates/hcd/src/hcd/"];

/// The programs.
const PROGRAMS: &[&str] = &["crates/hcd-cli/", "xtask/"];

/// Nothing is unfinished, left over from a search for a fault, or skipped.
pub fn nothing_is_left_open(file: &File, _: &Project) -> Vec<Violation> {
    let Some(source) = file.rust() else { return Vec::new() };
    let mut found = Vec::new();
    for (line, code) in source.numbered() {
        let open = ["todo!", "unimplemented!", "dbg!"].into_iter().filter(|name| has_word(code, name));
        found.extend(open.map(|name| Violation::new(line, format!("`{name}` is left open"))));
        if code.contains("#[ignore") {
            found.push(Violation::new(line, "a test is ignored: mend it or take it out"));
        }
    }
    found
}

/// `anyhow` is for programs; libraries have typed errors.
pub fn only_programs_use_anyhow(file: &File, _: &Project) -> Vec<Violation> {
    if file.is_under(PROGRAMS) {
        return Vec::new();
    }
    let what = "`anyhow` outside of hcd-cli and xtask, expected the library's Error";
    if let Some(source) = file.rust() {
        return names(source.numbered(), &["anyhow"], |_| what.to_owned());
    }
    if file.path.ends_with("Cargo.toml") {
        let lines = file.lines().into_iter().enumerate();
        let found = lines.filter(|(_, line)| line.starts_with("anyhow"));
        return found.map(|(index, _)| Violation::new(index + 1, what)).collect();
    }
    Vec::new()
}

/// The library never prints, exits or reads the clock; its tests may.
pub fn library_is_silent(file: &File, _: &Project) -> Vec<Violation> {
    let Some(source) = library_code(file, SILENT) else { return Vec::new() };
    let mut found = names(source.numbered_outside_tests(), LOUD, |name| {
        format!("`{name}` in the library, which never prints, exits or reads the clock")
    });
    found.retain(|violation| file.path != CLOCK || !violation.what.starts_with("`Instant::now`"));
    found
}

/// Nothing that a training step goes through is in the order of a hash map.
pub fn step_has_no_hash_order(file: &File, _: &Project) -> Vec<Violation> {
    let Some(source) = library_code(file, ORDERED) else { return Vec::new() };
    names(source.numbered_outside_tests(), &["HashMap", "HashSet"], |name| {
        format!("`{name}` in a step, its order is chance; expected BTreeMap, BTreeSet or Vec")
    })
}

/// The code of a Rust file under `folders` that is not a file of tests.
fn library_code<'a>(file: &'a File, folders: &[&str]) -> Option<&'a Source> {
    let is_test = file.path.ends_with("/tests.rs") || file.path.contains("/tests/");
    file.rust().filter(|_| file.is_under(folders) && !is_test)
}

/// A violation for each line that holds one of the words, and each word of it.
fn names<'a>(
    code: impl Iterator<Item = (usize, &'a str)>,
    words: &[&str],
    what: impl Fn(&str) -> String,
) -> Vec<Violation> {
    let mut found = Vec::new();
    for (line, code) in code {
        let held = words.iter().filter(|word| has_word(code, word));
        found.extend(held.map(|word| Violation::new(line, what(word))));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn nothing_stays_open() {
        check(
            nothing_is_left_open,
            &[
                ("a.rs", "//! No todo!().\nfn a() { \"dbg!()\"; }\n", &[]),
                ("a.rs", "a\nfn a() { todo!(\"b\") }\n", &["2: `todo!` is left open"]),
                (
                    "a.rs",
                    "dbg!(unimplemented!())\n",
                    &["1: `unimplemented!` is left open", "1: `dbg!` is left open"],
                ),
                ("a.rs", "#[ignore = \"slow\"]\n", &["1: a test is ignored: mend it or take it out"]),
                ("a.md", "todo!()\n", &[]),
            ],
        );
    }

    #[test]
    fn anyhow_is_for_programs() {
        let wanted = "1: `anyhow` outside of hcd-cli and xtask, expected the library's Error";
        check(
            only_programs_use_anyhow,
            &[
                ("crates/hcd-cli/src/main.rs", "use anyhow::Result;\n", &[]),
                ("xtask/Cargo.toml", "anyhow = \"1\"\n", &[]),
                ("crates/hcd/src/a.rs", "use anyhow::Result;\n", &[wanted]),
                ("crates/hcd/Cargo.toml", "anyhow = \"1\"\n", &[wanted]),
                ("crates/hcd/src/a.rs", "// anyhow\nfn anyhow_like() {}\n", &[]),
            ],
        );
    }

    #[test]
    fn the_library_is_silent() {
        let loud = |line: usize, name: &str| {
            format!("{line}: `{name}` in the library, which never prints, exits or reads the clock")
        };
        let in_test = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { println!() }\n}\n";
        check(
            library_is_silent,
            &[
                ("crates/hcd/src/a.rs", "fn a() { println!() }\n", &[&loud(1, "println!")]),
                ("crates/hcd/src/a.rs", "\nuse std::time::SystemTime;\n", &[&loud(2, "SystemTime")]),
                ("crates/hcd-kernels/src/a.rs", "Instant::now();\n", &[&loud(1, "Instant::now")]),
                ("crates/hcd/src/a.rs", "std::process::exit(1)\n", &[&loud(1, "process::exit")]),
                ("crates/hcd/src/a.rs", in_test, &[]),
                (CLOCK, "Instant::now();\n", &[]),
                (CLOCK, "SystemTime\nprintln!()\n", &[&loud(1, "SystemTime"), &loud(2, "println!")]),
                ("crates/hcd/src/report/tests.rs", "fn a() { println!() }\n", &[]),
                ("crates/hcd/tests/a.rs", "fn a() { println!() }\n", &[]),
                ("crates/hcd-cli/src/main.rs", "fn a() { println!() }\n", &[]),
            ],
        );
    }

    #[test]
    fn a_step_knows_no_hash_order() {
        let wanted = "1: `HashMap` in a step, its order is chance; expected BTreeMap, BTreeSet or Vec";
        check(
            step_has_no_hash_order,
            &[
                ("crates/hcd/src/train/step.rs", "use std::collections::HashMap;\n", &[wanted]),
                ("crates/hcd/src/train/step.rs", "use std::collections::BTreeMap;\n", &[]),
                ("crates/hcd/src/models/weights.rs", "use std::collections::HashMap;\n", &[]),
            ],
        );
    }
}
