//! Rules on files as such: how they open, how long and how large they are, what they are called.

use super::{File, Project, Violation};

/// Longest file of a program or library.
const MOST_LINES: usize = 400;

/// Largest file, weights included.
const MOST_BYTES: u64 = 8 << 20;

/// A Rust file opens with `//!`: what it is for.
pub fn opens_with_its_purpose(file: &File, _: &Project) -> Vec<Violation> {
    match file.rust().is_some() && !file.whole().starts_with("//!") {
        true => vec![Violation::new(1, "opens without `//!`, expected what the file is for")],
        false => Vec::new(),
    }
}

/// A file under `src/` has at most [`MOST_LINES`] lines; bulky tests go to `tests/`.
pub fn is_not_long(file: &File, _: &Project) -> Vec<Violation> {
    let lines = file.lines().len();
    match file.is_source() && file.rust().is_some() && lines > MOST_LINES {
        true => vec![Violation::new(MOST_LINES + 1, format!("{lines} lines, expected at most {MOST_LINES}"))],
        false => Vec::new(),
    }
}

/// A file is called by what is in it.
pub fn has_a_telling_name(file: &File, _: &Project) -> Vec<Violation> {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    match ["base.rs", "utils.rs", "common.rs"].contains(&name) {
        true => vec![Violation::new(1, format!("`{name}` says nothing, name what the file is for"))],
        false => Vec::new(),
    }
}

/// A file has at most [`MOST_BYTES`]: who clones the repository gets them all.
pub fn is_small(file: &File, _: &Project) -> Vec<Violation> {
    match file.size > MOST_BYTES {
        true => vec![Violation::new(1, format!("{} bytes, expected at most {MOST_BYTES}", file.size))],
        false => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn rust_files_open_with_their_purpose() {
        let wanted = "1: opens without `//!`, expected what the file is for";
        check(
            opens_with_its_purpose,
            &[
                ("crates/hcd/src/a.rs", "//! A.\n", &[]),
                ("crates/hcd/src/a.rs", "use b;\n//! A.\n", &[wanted]),
                ("crates/hcd/examples/a.rs", "", &[wanted]),
                ("README.md", "# A\n", &[]),
            ],
        );
    }

    #[test]
    fn only_sources_must_be_short() {
        let (most, more) = ("//\n".repeat(400), "//\n".repeat(401));
        check(
            is_not_long,
            &[
                ("crates/hcd/src/a/b.rs", &most, &[]),
                ("crates/hcd/src/a/b.rs", &more, &["401: 401 lines, expected at most 400"]),
                ("crates/hcd/tests/a.rs", &more, &[]),
                ("src.md", &more, &[]),
            ],
        );
    }

    #[test]
    fn names_tell() {
        check(
            has_a_telling_name,
            &[
                ("crates/hcd/src/losses/kl.rs", "", &[]),
                ("crates/hcd/src/database.rs", "", &[]),
                ("crates/hcd/src/utils.rs", "", &["1: `utils.rs` says nothing, name what the file is for"]),
                ("base.rs", "", &["1: `base.rs` says nothing, name what the file is for"]),
            ],
        );
    }

    #[test]
    fn eight_mebibytes_are_the_most() {
        let project = Project { paths: Default::default() };
        for (size, expected) in [(8 << 20, 0), ((8 << 20) + 1, 1)] {
            assert_eq!(is_small(&File::new("teachers/a.safetensors", size, None), &project).len(), expected);
        }
    }
}
