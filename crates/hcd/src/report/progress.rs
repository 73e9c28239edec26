//! The part of a page that tells how training went: curves, loss terms, accuracy by class.

use super::Entry;
use super::curves::{Chart, Line, PALETTE, Point, curve, dashed, draw};
use super::summary::{Method, NONE};
use crate::error::Result;
use crate::eval::Evaluation;
use crate::train::{EpochRecord, TermRecord};
use maud::{Markup, PreEscaped, html};

/// More classes than this start folded.
pub(super) const UNFOLDED: usize = 20;

/// `figure` by epoch, a line for each method that has it.
fn lines(methods: &[Method<'_>], figure: impl Fn(&EpochRecord) -> Option<f64>) -> Vec<Line> {
    let line = |(colour, method): (usize, &Method<'_>)| {
        let points = curve(method, &figure);
        (!points.is_empty()).then(|| Line { name: method.name.into(), colour, points })
    };
    methods.iter().enumerate().filter_map(line).collect()
}

/// Lines that are the same as one, for all but the last would be hidden.
fn merge(lines: Vec<Line>) -> Vec<Line> {
    let all = lines.len();
    let mut merged: Vec<(Line, usize)> = Vec::new();
    for line in lines {
        match merged.iter_mut().find(|(other, _)| other.points == line.points) {
            Some((other, count)) => {
                other.name = format!("{}, {}", other.name, line.name);
                *count += 1;
            }
            None => merged.push((line, 1)),
        }
    }
    let name = |(line, count): (Line, usize)| match count {
        _ if count == all && all > 1 => {
            Line { name: "all methods".into(), colour: PALETTE.len() - 1, ..line }
        }
        _ => line,
    };
    merged.into_iter().map(name).collect()
}

/// Accuracy, loss and learning rate by epoch.
pub(super) fn curves(methods: &[Method<'_>]) -> Result<Markup> {
    let validation = lines(methods, |epoch| epoch.validation.as_ref().map(|found| found.top1));
    let without: Vec<_> = methods
        .iter()
        .map(|method| method.name)
        .filter(|name| validation.iter().all(|line| line.name != *name))
        .collect();
    let charts = [
        ("Validation accuracy", "top-1 (%)", validation),
        ("Training loss", "mean loss (nats)", lines(methods, |epoch| Some(epoch.loss))),
        ("Learning rate", "learning rate", merge(lines(methods, |epoch| Some(epoch.lr)))),
    ];
    let mut figures = Vec::new();
    for (title, unit, lines) in charts {
        if !lines.is_empty() {
            figures.push(figure(title, Chart { title: title.to_lowercase(), unit, lines, across: None })?);
        }
    }
    Ok(html! {
        section {
            h2 { "Curves" }
            @if methods.iter().any(|method| method.runs.len() > 1) {
                p.note { "Line: mean over runs. Band: from the lowest run to the highest." }
            }
            @if !without.is_empty() {
                p.note { "Held no validation data out, and so have no validation curve: " (without.join(", ")) "." }
            }
            div.charts { @for figure in figures { (figure) } }
        }
    })
}

pub(super) fn figure(title: &str, chart: Chart) -> Result<Markup> {
    let svg = draw(&chart)?;
    Ok(html! {
        figure {
            figcaption { (title) }
            div role="img" aria-label={ (chart.title) " by " (chart.across.unwrap_or("epoch")) } { (PreEscaped(svg)) }
            ul.legend { @for line in &chart.lines {
                li { span class=(key(line)) {} (line.name) }
            } }
        }
    })
}

/// Style of a line's key in the legend.
fn key(line: &Line) -> String {
    let dashed = if dashed(line.colour) { " dashed" } else { "" };
    format!("key k{}{dashed}", line.colour % PALETTE.len())
}

/// What each loss term came to, for methods that have several.
pub(super) fn terms(methods: &[Method<'_>]) -> Result<Markup> {
    let weighted = Named {
        what: "weighted loss terms",
        unit: "weighted value (nats)",
        of: |epoch| &epoch.terms,
        name: |term: &TermRecord| &term.name,
        drawn: |term| term.weighted,
        columns: [("Raw", |term| term.raw), ("Weighted", |term| term.weighted)],
        fewest: 2,
    };
    let parts = weighted.of_all(methods)?;
    Ok(html! {
        @if !parts.is_empty() {
            section {
                h2 { "Loss terms" }
                p.note { "A term's weighted value is what it adds to the training loss." }
                div.charts { @for part in parts { (part) } }
            }
        }
    })
}

/// A heading, and the figure below it.
type Column<T> = (&'static str, fn(&T) -> f64);

/// Figures that every epoch has under several names, one a loss term.
pub(super) struct Named<T> {
    /// What they are, for those who cannot see the chart.
    pub what: &'static str,
    /// Unit of what is drawn.
    pub unit: &'static str,
    /// Those of an epoch.
    pub of: fn(&EpochRecord) -> &[T],
    /// The name of one.
    pub name: fn(&T) -> &str,
    /// What of it is drawn by epoch.
    pub drawn: fn(&T) -> f64,
    /// What of it is told of the last epoch, under headings.
    pub columns: [Column<T>; 2],
    /// Methods with fewer names are left out.
    pub fewest: usize,
}

impl<T: 'static> Named<T> {
    /// A chart and a table for each method that has enough of them.
    pub fn of_all(&self, methods: &[Method<'_>]) -> Result<Vec<Markup>> {
        let mut parts = Vec::new();
        for method in methods {
            let names = self.names(method);
            if names.len() >= self.fewest {
                parts.push(self.part(method, &names)?);
            }
        }
        Ok(parts)
    }

    /// Their names, in the order in which they appear.
    fn names<'a>(&self, method: &Method<'a>) -> Vec<&'a str> {
        let mut names = Vec::new();
        for found in method.runs.iter().flat_map(|run| &run.epochs).flat_map(self.of) {
            let name = (self.name)(found);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn points(&self, method: &Method<'_>, name: &str, figure: fn(&T) -> f64) -> Vec<Point> {
        curve(method, |epoch| (self.of)(epoch).iter().find(|found| (self.name)(found) == name).map(figure))
    }

    fn part(&self, method: &Method<'_>, names: &[&str]) -> Result<Markup> {
        let last = |name: &str, figure| {
            let points = self.points(method, name, figure);
            points.last().map_or(NONE.into(), |point| format!("{:.4}", point.mean + 0.0))
        };
        let line = |(colour, name): (usize, &&str)| Line {
            name: (*name).into(),
            colour,
            points: self.points(method, name, self.drawn),
        };
        let lines: Vec<_> =
            names.iter().enumerate().map(line).filter(|line| !line.points.is_empty()).collect();
        if lines.is_empty() {
            return Ok(html! {});
        }
        let title = format!("{} of {}", self.what, method.name);
        Ok(html! {
            div {
                (figure(method.name, Chart { title, unit: self.unit, lines, across: None })?)
                div.wide { table {
                    thead { tr {
                        th scope="col" { "Term at the last epoch" }
                        @for (heading, _) in &self.columns { th scope="col" { (heading) } }
                    } }
                    tbody { @for name in names { tr {
                        th scope="row" { (name) }
                        @for &(_, figure) in &self.columns { td { (last(name, figure)) } }
                    } } }
                } }
            }
        })
    }
}

/// Mean accuracy over runs in each class at the last epoch; none where there is no validation data.
fn accuracies(method: &Method<'_>) -> Option<Vec<Option<f64>>> {
    let last = |run: &&Entry| run.epochs.last().and_then(|epoch| epoch.validation.clone());
    let found: Vec<Evaluation> = method.runs.iter().filter_map(last).collect();
    let classes = found.iter().map(|evaluation| evaluation.per_class.len()).max()?;
    let mean = |class: usize| {
        let values: Vec<f64> = found
            .iter()
            .filter_map(|evaluation| evaluation.per_class.get(class).copied().flatten())
            .collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    Some((0..classes).map(mean).collect())
}

/// What a class is called.
pub(super) fn class_name(names: &[String], class: usize) -> String {
    names.get(class).map_or_else(|| format!("class {class}"), String::clone)
}

/// Accuracy in each class, methods side by side.
pub(super) fn classes(methods: &[Method<'_>], names: &[String]) -> Markup {
    let columns: Vec<_> =
        methods.iter().filter_map(|method| Some((method.name, accuracies(method)?))).collect();
    let classes = columns.iter().map(|(_, column)| column.len()).max().unwrap_or(0);
    let cell = |figure: Option<f64>| figure.map_or(NONE.into(), |figure| format!("{figure:.1}"));
    html! {
        section {
            h2 { "Accuracy by class" }
            @if classes == 0 {
                p { "There is no such table, for no validation data was held out." }
            } @else {
                p.note { "Top-1 on validation data after the last epoch, in percent; mean over runs." }
                details open[classes <= UNFOLDED] {
                    summary { (classes) " classes" }
                    div.wide { table {
                        thead { tr {
                            th scope="col" { "Class" }
                            @for (method, _) in &columns { th scope="col" { (method) } }
                        } }
                        tbody { @for class in 0..classes { tr {
                            th scope="row" { (class_name(names, class)) }
                            @for (_, column) in &columns { td { (cell(column.get(class).copied().flatten())) } }
                        } } }
                    } }
                }
            }
        }
    }
}
