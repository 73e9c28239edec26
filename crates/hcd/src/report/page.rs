//! A report as one self-contained HTML file: style and charts inside, no script, nothing fetched.

use super::insight::insight;
use super::progress::{classes, curves, terms};
use super::summary::{NONE, Summary, TeacherLine, columns, methods, split_of, summarise};
use super::{Diverged, Entry, Outcome, RANK_COLUMNS, lead, ranking};
use crate::error::Result;
use crate::eval::Split;
use maud::{DOCTYPE, Markup, PreEscaped, html};

pub(super) const STYLE: &str = include_str!("page.css");

/// What a page tells of. Any text may hold any characters; the page escapes them.
#[derive(Debug, Clone)]
pub struct Page<'a> {
    /// Heading and name of the page.
    pub title: &'a str,
    /// One sentence: what was compared.
    pub intro: String,
    /// One for each pair of teacher and student.
    pub parts: &'a [Part<'a>],
    /// The resolved recipe, as TOML.
    pub recipe: &'a str,
    /// What else the reader should know; a sentence each.
    pub notes: &'a [String],
}

/// What came of one pair of teacher and student.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    /// What the pair is called, where there are several.
    pub name: Option<String>,
    /// The teacher, where there was one.
    pub teacher: Option<TeacherLine>,
    /// Every training that came to its end.
    pub entries: &'a [Entry],
    /// Those that did not.
    pub diverged: &'a [Diverged],
    /// Names of the classes.
    pub classes: &'a [String],
}

/// The trainings of all parts.
pub fn entries_of(parts: &[Part]) -> Vec<Entry> {
    parts.iter().flat_map(|part| part.entries).cloned().collect()
}

/// Writes `report` as HTML. The same report gives the same bytes.
///
/// # Errors
/// Where a chart cannot be drawn.
pub fn page(report: &Page<'_>) -> Result<String> {
    let parts = report.parts.iter().map(part).collect::<Result<Vec<_>>>()?;
    let body = html! {
        header {
            h1 { (report.title) }
            p.intro { (report.intro) }
        }
        main {
            @if report.parts.len() > 1 { (ranks(report.parts)) }
            @for part in parts { (part) }
            section {
                h2 { "Recipe" }
                details {
                    summary { "What was resolved from the recipe, defaults included" }
                    pre { (report.recipe) }
                }
            }
        }
        footer {
            @if !report.notes.is_empty() { ul { @for note in report.notes { li { (note) } } } }
            p { "Written by hcd " (env!("CARGO_PKG_VERSION")) "." }
        }
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (report.title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    Ok(page.into_string())
}

fn part(part: &Part<'_>) -> Result<Markup> {
    let methods = methods(part.entries);
    Ok(html! {
        @if let Some(name) = &part.name { h2.pair { (name) } }
        (results(part))
        (curves(&methods)?)
        (terms(&methods)?)
        (classes(&methods, part.classes))
        (insight(&methods, part.classes)?)
    })
}

/// All pairs in one table.
fn ranks(parts: &[Part<'_>]) -> Markup {
    let entries = entries_of(parts);
    html! {
        section {
            h2 { "All pairs" }
            div.wide { table {
                thead { tr {
                    @for column in RANK_COLUMNS { th scope="col" { (column) } }
                } }
                tbody { @for rank in ranking(&entries) { tr {
                    th scope="row" { (rank.name) }
                    @for cell in rank.cells() { td { (cell) } }
                } } }
            } }
            @if let Some(lead) = lead(&entries) { p.note { (lead) "." } }
        }
    }
}

fn results(part: &Part<'_>) -> Markup {
    let rows = summarise(part.entries);
    let split = split_of(&rows);
    html! {
        section {
            h2 { "Results" }
            div.wide { table {
                thead { tr { @for column in columns(split) { th scope="col" { (column) } } } }
                tbody {
                    @if let Some(teacher) = &part.teacher { tr.teacher {
                        th scope="row" { span.tag { "teacher" } (teacher.name) }
                        @for cell in teacher.cells() { td { (cell) } }
                    } }
                    @for row in &rows { tr {
                        th scope="row" { (row.name) }
                        @for cell in row.cells() { td { (cell) } }
                    } }
                }
            } }
            (reading(&rows, split, part.teacher.as_ref()))
            @if let Some(lead) = lead(part.entries) { p.note { (lead) "." } }
            @for run in part.diverged { p.note { (run) "." } }
            (runs(part.entries, split))
        }
    }
}

/// How to read the table.
fn reading(rows: &[Summary], split: Split, teacher: Option<&TeacherLine>) -> Markup {
    html! {
        p.note {
            @match split {
                Split::Test => "Test data was read only after training. ",
                Split::Validation => "Test data was not read: the figures are on held-out validation data, to choose by. ",
            }
            b { "Last epoch" } ": the weights with which training ended. "
            @if rows.iter().any(|row| row.chosen_top1.is_some()) {
                b { "Chosen epoch" } ": the weights of the epoch that did best on held-out validation data"
                @if split == Split::Test { "; test data had no part in the choice" }
                ". "
            } @else {
                "No epoch was chosen, for no validation data was held out. "
            }
            @if rows.iter().any(|row| row.runs > 1) {
                "Several runs differ by seed: mean ± sample standard deviation. "
            }
            "Time is wall clock of training, validation included"
            @if teacher.is_some_and(|teacher| teacher.seconds.is_some()) {
                "; of the teacher, what recording its answers took"
            }
            ". Heads are trained along with a student and dropped afterwards."
        }
    }
}

fn runs(entries: &[Entry], split: Split) -> Markup {
    html! {
        details {
            summary { "Every run" }
            div.wide { table.dense {
                thead { tr {
                    th scope="col" { "Method" }
                    th scope="col" { "Seed" }
                    th scope="col" { "Epochs" }
                    th scope="col" { "Top-1" small { "last epoch, %" } }
                    th scope="col" { "Top-5" small { "last epoch, %" } }
                    th scope="col" { "Loss" small { "last epoch, nats" } }
                    th scope="col" { "Calibration error" small { "last epoch" } }
                    th scope="col" { "Chosen epoch" }
                    th scope="col" { "Validation top-1" small { "chosen epoch, %" } }
                    th scope="col" { "Top-1" small { "chosen epoch, %" } }
                    th scope="col" { "Time" small { "seconds" } }
                    th scope="col" { "Recipe" small { "BLAKE3" } }
                } }
                tbody { @for entry in entries { (run(&entry.outcome)) } }
            } }
            p.note { "All figures but validation top-1 are on " (split) " images." }
        }
    }
}

fn run(outcome: &Outcome) -> Markup {
    let chosen = outcome.chosen.map(|chosen| {
        [chosen.epoch.to_string(), format!("{:.2}", chosen.validation_top1), format!("{:.2}", chosen.top1)]
    });
    html! {
        tr {
            th scope="row" { (outcome.name) }
            td { (outcome.seed) }
            td { (outcome.epochs) }
            td { (format!("{:.2}", outcome.top1)) }
            td { (format!("{:.2}", outcome.top5)) }
            td { (format!("{:.4}", outcome.loss)) }
            td { (format!("{:.4}", outcome.calibration_error)) }
            @for cell in chosen.unwrap_or([NONE; 3].map(String::from)) { td { (cell) } }
            td { (format!("{:.1}", outcome.seconds)) }
            td { code { (outcome.recipe.chars().take(10).collect::<String>()) } }
        }
    }
}
