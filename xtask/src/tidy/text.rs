//! Rules on text of any kind.

use super::{File, Project, Violation};

/// No line ends in spaces, tabs or a carriage return.
pub fn has_no_trailing_whitespace(file: &File, _: &Project) -> Vec<Violation> {
    let lines = file.whole().split('\n').enumerate();
    lines
        .filter(|(_, line)| line.ends_with([' ', '\t', '\r']))
        .map(|(index, _)| Violation::new(index + 1, "trailing whitespace"))
        .collect()
}

/// A text ends with a newline, and no empty lines before it.
pub fn ends_with_one_newline(file: &File, _: &Project) -> Vec<Violation> {
    // Golden values stay byte for byte as they came from outside.
    let is_golden = file.is_under(&["golden/"]) && !file.path.ends_with(".md");
    let text = file.whole();
    let last = file.lines().len();
    match () {
        () if text.is_empty() || is_golden => Vec::new(),
        () if !text.ends_with('\n') => vec![Violation::new(last, "no newline at the end")],
        () if text.ends_with("\n\n") => vec![Violation::new(last, "empty line at the end")],
        () => Vec::new(),
    }
}

/// A recipe is TOML; what its keys mean is for the tests of `hcd` to check.
pub fn recipe_is_toml(file: &File, _: &Project) -> Vec<Violation> {
    if !file.is_under(&["recipes/"]) || !file.path.ends_with(".toml") {
        return Vec::new();
    }
    match file.whole().parse::<toml::Table>() {
        Ok(_) => Vec::new(),
        Err(error) => {
            let start = error.span().map_or(0, |span| span.start.min(file.whole().len()));
            let line = 1 + file.whole().as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count();
            vec![Violation::new(line, format!("no TOML: {}", error.message().replace('\n', " ")))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn lines_end_in_something() {
        check(
            has_no_trailing_whitespace,
            &[
                ("a.md", "a\n\n  b\n", &[]),
                (
                    "a.md",
                    "a \nb\nc\t\nd ",
                    &["1: trailing whitespace", "3: trailing whitespace", "4: trailing whitespace"],
                ),
                ("a.md", "a\r\n", &["1: trailing whitespace"]),
            ],
        );
    }

    #[test]
    fn a_text_ends_with_one_newline() {
        check(
            ends_with_one_newline,
            &[
                ("a.md", "", &[]),
                ("a.md", "a\n", &[]),
                ("a.md", "a\nb", &["2: no newline at the end"]),
                ("a.md", "a\n\n", &["2: empty line at the end"]),
                ("golden/zoo/a.keys.json", "[]", &[]),
                ("golden/README.md", "a", &["1: no newline at the end"]),
            ],
        );
    }

    #[test]
    fn recipes_are_toml() {
        check(
            recipe_is_toml,
            &[
                ("recipes/a.toml", "seed = 1\n[data]\npath = \"a\"\n", &[]),
                ("recipes/a.toml", "seed = 1\nseed = 2\n", &["2: no TOML: duplicate key"]),
                ("Cargo.toml", "seed = \n", &[]),
            ],
        );
    }
}
