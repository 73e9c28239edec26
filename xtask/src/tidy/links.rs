//! Rule on links: in Markdown, a relative one points to a file or folder of the project.

use super::{File, Project, Violation};

/// Every `](target)` and `[name]: target` outside of code names something that git keeps.
pub fn point_to_files(file: &File, project: &Project) -> Vec<Violation> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut found = Vec::new();
    let mut in_code = false;
    for (index, line) in file.lines().into_iter().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            let dead = targets(line).into_iter().filter(|target| !resolves(target, folder, project));
            found.extend(dead.map(|target| Violation::new(index + 1, format!("`{target}` is not there"))));
        }
    }
    found
}

/// What a line links to.
fn targets(line: &str) -> Vec<String> {
    let line = without_code(line);
    let mut found = Vec::new();
    for (at, _) in line.match_indices("](") {
        let rest = &line[at + 2..];
        found.push(rest[..rest.find(')').unwrap_or(rest.len())].to_owned());
    }
    if let Some((name, target)) = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]: "))
        && !name.contains(']')
    {
        found.push(target.to_owned());
    }
    // Behind the target may be a title; around it, angle brackets.
    let bare = |target: String| target.split_whitespace().next().unwrap_or_default().to_owned();
    found.into_iter().map(bare).map(|target| target.trim_matches(['<', '>']).to_owned()).collect()
}

/// The line without what stands between backticks.
fn without_code(line: &str) -> String {
    let closed = line.matches('`').count() / 2 * 2;
    let parts = line.splitn(closed + 1, '`').enumerate();
    parts.filter(|(index, _)| index % 2 == 0).map(|(_, part)| part).collect()
}

fn resolves(target: &str, folder: &str, project: &Project) -> bool {
    let path = target.split('#').next().unwrap_or_default();
    if path.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return true;
    }
    // GitHub reads a leading slash as the root of the repository.
    let mut parts: Vec<&str> = match path.starts_with('/') {
        true => Vec::new(),
        false => folder.split('/').filter(|part| !part.is_empty()).collect(),
    };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => return false,
            ".." => {}
            name => parts.push(name),
        }
    }
    let path = parts.join("/");
    let inside = format!("{path}/");
    path.is_empty()
        || project.paths.contains(&path)
        || project.paths.range(inside.clone()..).next().is_some_and(|first| first.starts_with(&inside))
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn relative_links_point_to_files() {
        check(
            point_to_files,
            &[
                ("a.md", "[a](docs/method.md), [b](docs/method.md#2-hcd) and [c](#here)\n", &[]),
                ("a.md", "[a](docs), [b](docs/figures/), [c](<README.md> \"title\")\n", &[]),
                ("a.md", "[a](https://example.org/x), <https://example.org>, [b](mailto:a@b.c)\n", &[]),
                ("docs/a.md", "[a](method.md) [b](../README.md) [c](/README.md) ![d](figures/a.svg)\n", &[]),
                (
                    "docs/a.md",
                    "\n[a](README.md) [b](../x.md)\n",
                    &["2: `README.md` is not there", "2: `../x.md` is not there"],
                ),
                (
                    "a.md",
                    "[a](doc) [b](../main/README.md)\n",
                    &["1: `doc` is not there", "1: `../main/README.md` is not there"],
                ),
                ("a.md", "[a]: docs/method.md\n[b]: x.md\n", &["2: `x.md` is not there"]),
                ("a.md", "`[a](x.md)` and `a\n```\n[a](x.md)\n```\n[b](y.md)\n", &["5: `y.md` is not there"]),
                ("a.rs", "//! [a](x.md)\n", &[]),
            ],
        );
    }
}
