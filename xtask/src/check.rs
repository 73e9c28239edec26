//! `cargo xtask check`: everything that a change must pass, cheapest first, up to the first step that fails.
//!
//! Burn builds for minutes, and cargo builds it anew for every set of features that its dependencies come out
//! with. That set follows from which packages are selected (`-p hcd` and `--workspace` differ) and from whether
//! dev-dependencies count (they do for tests and examples). So every step here is `--release --workspace` and
//! includes tests or examples: clippy and doc then share one set of artefacts, and test has one more.

use crate::levels;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Check everything: fmt, tidy, clippy, doc, test, levels, deny.
#[derive(clap::Args)]
pub struct Args {
    /// Run this step alone; may be given more than once.
    #[arg(long, value_enum, value_name = "STEP")]
    only: Vec<Step>,
}

/// The steps, cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Formatting.
    Fmt,
    /// The house rules, in this process.
    Tidy,
    /// Lints; a warning fails.
    Clippy,
    /// Documentation; a warning fails.
    Doc,
    /// Unit, integration and documentation tests.
    Test,
    /// The kernels' tests with lesser instructions than the processor's best.
    Levels,
    /// Licences, banned and doubled packages, sources; where cargo-deny is installed.
    Deny,
}

/// How a step ended, where it did not fail.
enum Passed {
    Done,
    LeftOut(&'static str),
}

/// Runs the steps and says of each how long it took.
pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let mut summary = Vec::new();
    let mut totals = None;
    for step in Step::value_variants() {
        if !args.only.is_empty() && !args.only.contains(step) {
            continue;
        }
        let name = step.name();
        println!("== {name}");
        let started = Instant::now();
        let outcome = step.run(&mut totals);
        let took = seconds(started.elapsed());
        summary.push(match outcome {
            Ok(Passed::Done) => format!("{name} {took}"),
            Ok(Passed::LeftOut(why)) => format!("{name} left out ({why})"),
            Err(error) => return Err(error.context(format!("{name} failed after {took}"))),
        });
        println!("== {}\n", summary[summary.len() - 1]);
    }
    println!("check passed in {}: {}", seconds(start.elapsed()), summary.join(", "));
    if let Some(totals) = totals {
        println!("{totals}");
    }
    Ok(())
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Fmt => "fmt",
            Step::Tidy => "tidy",
            Step::Clippy => "clippy",
            Step::Doc => "doc",
            Step::Test => "test",
            Step::Levels => "levels",
            Step::Deny => "deny",
        }
    }

    fn run(self, totals: &mut Option<Totals>) -> Result<Passed> {
        match self {
            Step::Fmt => cargo(&["fmt", "--all", "--check"], &[]),
            Step::Tidy => crate::tidy::run().map(|()| Passed::Done),
            Step::Clippy => {
                cargo(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])
            }
            // The examples are there for the features of the dev-dependencies: see the top of this file.
            Step::Doc => cargo(
                &["doc", "--release", "--workspace", "--no-deps", "--lib", "--examples"],
                &[("RUSTDOCFLAGS", "-D warnings")],
            ),
            Step::Test => {
                *totals = Some(test()?);
                Ok(Passed::Done)
            }
            Step::Levels => lesser_levels(),
            Step::Deny => deny(),
        }
    }
}

/// A cargo command in the root of the workspace, shown as it could be typed.
pub fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let settings = variables.iter().map(|(name, value)| format!("{name}=\"{value}\" ")).collect::<String>();
    println!("{settings}cargo {}", arguments.join(" "));
    // The very cargo that runs us, where it says which one it is.
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).envs(variables.iter().copied()).current_dir(crate::root());
    command
}

fn cargo(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Passed> {
    let status = command(arguments, variables).status().context("cannot start cargo")?;
    match status.success() {
        true => Ok(Passed::Done),
        false => bail!("cargo {}: {status}", arguments[0]),
    }
}

/// Runs the test programs that [`test`] has built, once more for each set of instructions but the best.
fn lesser_levels() -> Result<Passed> {
    let chosen = levels::TESTS.iter().flat_map(|test| ["--test", test]);
    let arguments: Vec<&str> =
        ["test", "--release", "--workspace", "--quiet"].into_iter().chain(chosen).collect();
    for level in levels::present().into_iter().skip(1) {
        cargo(&arguments, &[("HCD_KERNELS", level)])?;
    }
    Ok(Passed::Done)
}

fn deny() -> Result<Passed> {
    let mut version = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let found = version.args(["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match found.is_ok_and(|status| status.success()) {
        // Not its advisories: they are a download of their own, and change without a change of ours.
        true => cargo(&["deny", "check", "licenses", "bans", "sources"], &[]),
        false => Ok(Passed::LeftOut("cargo-deny is not installed")),
    }
}

/// Runs the tests, passing their output on, and adds up cargo's result lines.
fn test() -> Result<Totals> {
    let arguments = ["test", "--release", "--workspace", "--no-fail-fast"];
    let mut child = command(&arguments, &[]).stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("cargo test has no output")?;
    let mut totals = Totals::default();
    for line in BufReader::new(output).split(b'\n') {
        // A test may print any bytes.
        let line = String::from_utf8_lossy(&line?).into_owned();
        totals.add(&line);
        writeln!(std::io::stdout(), "{line}")?;
    }
    let status = child.wait()?;
    match status.success() {
        true if totals.passed > 0 => Ok(totals),
        true => bail!("cargo test ran no test"),
        false => bail!("cargo test: {status}; {totals}"),
    }
}

/// The sum of cargo's result lines.
#[derive(Debug, Default, PartialEq)]
struct Totals {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Totals {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; …`.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let counts = result.split_once(". ").map_or("", |(_, counts)| counts);
        for count in counts.split("; ") {
            match count.split_once(' ').map(|(number, what)| (number.parse().unwrap_or(0), what)) {
                Some((number, "passed")) => self.passed += number,
                Some((number, "failed")) => self.failed += number,
                Some((number, "ignored")) => self.ignored += number,
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "tests: {} passed, {} failed", self.passed, self.failed)?;
        match self.ignored {
            0 => Ok(()),
            ignored => write!(f, ", {ignored} skipped"),
        }
    }
}

/// `4.2 s`, or `3 min 5 s`.
fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        whole => format!("{} min {} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_added_up() {
        let mut totals = Totals::default();
        for line in [
            "running 3 tests",
            "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.00s",
            "test result: garbled",
        ] {
            totals.add(line);
        }
        assert_eq!(totals, Totals { passed: 6, failed: 2, ignored: 1 });
        assert_eq!(totals.to_string(), "tests: 6 passed, 2 failed, 1 skipped");
        totals.ignored = 0;
        assert_eq!(totals.to_string(), "tests: 6 passed, 2 failed");
    }

    #[test]
    fn durations_are_short() {
        for (millis, expected) in [(0, "0.0 s"), (4_210, "4.2 s"), (59_900, "59.9 s"), (185_000, "3 min 5 s")]
        {
            assert_eq!(seconds(Duration::from_millis(millis)), expected);
        }
    }
}
