//! Rules on `unsafe`: in the kernels alone, and explained wherever it stands.

use super::source::has_word;
use super::{File, Project, Violation};

/// The only crate with `unsafe`.
const KERNELS: &str = "crates/hcd-kernels/";

/// How far above an `unsafe` its reason may begin.
const LINES_ABOVE: usize = 3;

/// `unsafe` stands in the kernels and nowhere else.
pub fn unsafe_is_in_the_kernels(file: &File, _: &Project) -> Vec<Violation> {
    let Some(source) = file.rust().filter(|_| !file.is_under(&[KERNELS])) else { return Vec::new() };
    let found = source.numbered().filter(|(_, code)| has_word(code, "unsafe"));
    found.map(|(line, _)| Violation::new(line, "`unsafe` outside of hcd-kernels")).collect()
}

/// An `unsafe` block or impl has a `// SAFETY:` above it, an `unsafe` function or trait `# Safety` in its docs.
pub fn unsafe_is_explained(file: &File, _: &Project) -> Vec<Violation> {
    let Some(source) = file.rust() else { return Vec::new() };
    let lines = file.lines();
    let mut found = Vec::new();
    for (line, code) in source.numbered().filter(|(_, code)| has_word(code, "unsafe")) {
        let index = line - 1;
        match Kind::of(code) {
            Kind::Type => {}
            Kind::Contract if !docs_above(&lines, index).any(|doc| doc.contains("# Safety")) => {
                let what = "`unsafe` without `# Safety` in its docs, expected what the caller must see to";
                found.push(Violation::new(line, what));
            }
            Kind::Use
                if !lines[index.saturating_sub(LINES_ABOVE)..=index]
                    .iter()
                    .any(|text| text.contains("// SAFETY:")) =>
            {
                let what = format!("`unsafe` without `// SAFETY:` in the {LINES_ABOVE} lines above");
                found.push(Violation::new(line, what));
            }
            Kind::Contract | Kind::Use => {}
        }
    }
    found
}

/// What an `unsafe` does.
enum Kind {
    /// Asks something of the caller or implementer: `unsafe fn`, `unsafe trait`.
    Contract,
    /// Vouches for something: a block, an impl, an attribute, an extern block.
    Use,
    /// Only names a type: `unsafe fn(f32)`.
    Type,
}

impl Kind {
    fn of(code: &str) -> Self {
        let behind = code.split("unsafe").nth(1).unwrap_or_default().trim_start();
        // `unsafe extern "C" fn`: the name of the ABI is blank by now.
        let item = behind.strip_prefix("extern").map_or(behind, str::trim_start);
        match item.strip_prefix("fn") {
            Some(rest) if rest.trim_start().starts_with('(') => Kind::Type,
            Some(_) => Kind::Contract,
            None if item.starts_with("trait ") => Kind::Contract,
            None => Kind::Use,
        }
    }
}

/// The doc comments and attributes right above a line, upwards.
fn docs_above<'a>(lines: &'a [&'a str], index: usize) -> impl Iterator<Item = &'a str> {
    let above = lines[..index].iter().rev().map(|line| line.trim_start());
    above.take_while(|line| line.starts_with("///") || line.starts_with("#["))
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn only_kernels_hold_unsafe() {
        check(
            unsafe_is_in_the_kernels,
            &[
                ("crates/hcd/src/lib.rs", "#![forbid(unsafe_code)]\n// unsafe\n", &[]),
                (
                    "crates/hcd/src/a.rs",
                    "\nlet a = unsafe { b() };\n",
                    &["2: `unsafe` outside of hcd-kernels"],
                ),
                ("crates/hcd-kernels/src/a.rs", "unsafe { b() }\n", &[]),
            ],
        );
    }

    #[test]
    fn every_unsafe_is_explained() {
        const NO_REASON: &str = "`unsafe` without `// SAFETY:` in the 3 lines above";
        const NO_DOCS: &str = "`unsafe` without `# Safety` in its docs, expected what the caller must see to";
        let path = "crates/hcd-kernels/src/a.rs";
        check(
            unsafe_is_explained,
            &[
                (path, "// SAFETY: checked.\nunsafe { a() }\n", &[]),
                (path, "unsafe { a() } // SAFETY: checked.\n", &[]),
                (path, "// SAFETY: checked.\n\n\nunsafe impl Send for A {}\n", &[]),
                (path, "// SAFETY: far.\n\n\n\nunsafe { a() }\n", &[&format!("5: {NO_REASON}")]),
                (path, "\"// unsafe\";\nunsafe impl Send for A {}\n", &[&format!("2: {NO_REASON}")]),
                (path, "/// A.\n///\n/// # Safety\n/// See to it.\n#[inline]\npub unsafe fn a() {}\n", &[]),
                (path, "/// A.\nunsafe fn a() {}\n", &[&format!("2: {NO_DOCS}")]),
                (path, "unsafe extern \"C\" fn a() {}\n", &[&format!("1: {NO_DOCS}")]),
                (path, "unsafe trait A {}\n", &[&format!("1: {NO_DOCS}")]),
                (path, "type A = unsafe fn(f32);\n", &[]),
            ],
        );
    }
}
