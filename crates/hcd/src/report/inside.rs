//! The part of a page that tells what happened inside trainings: how alike HCD's sub-logits were, and how large each term's
//! gradient was.

use super::curves::{Chart, Line, curve};
use super::insight::shaded;
use super::progress::{Named, figure};
use super::summary::Method;
use crate::error::Result;
use crate::train::{EpochRecord, StageCosines, TermGradient};
use maud::{Markup, html};

/// The cosines of sub-logits over training.
pub(super) fn cosines(methods: &[Method<'_>]) -> Result<Markup> {
    let mut parts = Vec::new();
    for method in methods {
        let stages = stages(method);
        if !stages.is_empty() {
            parts.push(cosines_of(method, &stages)?);
        }
    }
    Ok(html! {
        @if !parts.is_empty() { section {
            h2 { "Sub-logits" }
            p.note {
                "Cosines of a stage's sub-logits with one another, the true class's entry taken as 0, as the orthogonality \
                 loss sees them: on the last batch of an epoch, in evaluation mode; mean over images and runs. The curves are \
                 the mean over pairs."
            }
            div.charts { @for part in parts { (part) } }
        } }
    })
}

/// The stages that have sub-logits.
fn stages(method: &Method<'_>) -> Vec<usize> {
    let mut stages: Vec<usize> = method
        .runs
        .iter()
        .flat_map(|run| &run.epochs)
        .flat_map(|epoch| &epoch.probe.cosines)
        .map(|cosines| cosines.stage)
        .collect();
    stages.sort_unstable();
    stages.dedup();
    stages
}

fn of_stage(epoch: &EpochRecord, stage: usize) -> Option<&StageCosines> {
    epoch.probe.cosines.iter().find(|cosines| cosines.stage == stage)
}

/// The mean cosine of two different sub-logits; none where there is one alone.
fn off_diagonal(cosines: &StageCosines) -> Option<f64> {
    let count = cosines.matrix.len();
    let rows = cosines.matrix.iter().enumerate();
    let sum: f64 = rows.map(|(index, row)| row.iter().sum::<f64>() - row[index]).sum();
    (count > 1).then(|| sum / (count * (count - 1)) as f64)
}

fn cosines_of(method: &Method<'_>, stages: &[usize]) -> Result<Markup> {
    let lines: Vec<Line> = stages
        .iter()
        .enumerate()
        .map(|(colour, &stage)| Line {
            name: format!("stage {stage}"),
            colour,
            points: curve(method, |epoch| off_diagonal(of_stage(epoch, stage)?)),
        })
        .filter(|line| !line.points.is_empty())
        .collect();
    let chart = (!lines.is_empty()).then(|| Chart {
        title: format!("mean cosine of the sub-logits of {}", method.name),
        unit: "mean cosine",
        lines,
        across: None,
    });
    let chart = chart.map(|chart| figure(method.name, chart)).transpose()?;
    let epochs =
        method.runs.iter().filter_map(|run| run.epochs.last()).map(|epoch| epoch.epoch).max().unwrap_or(1);
    let shown = if epochs > 1 { vec![1, epochs] } else { vec![1] };
    Ok(html! {
        div {
            @if let Some(chart) = chart { (chart) }
            @for &stage in stages {
                div.matrices { @for &epoch in &shown {
                    @if let Some(matrix) = mean_matrix(method, stage, epoch) { (matrix_of(stage, epoch, &matrix)) }
                } }
            }
        }
    })
}

/// The matrix of a stage after an epoch, mean over runs.
fn mean_matrix(method: &Method<'_>, stage: usize, epoch: u64) -> Option<Vec<Vec<f64>>> {
    let records = method.runs.iter().flat_map(|run| &run.epochs).filter(|record| record.epoch == epoch);
    let found: Vec<_> = records.filter_map(|record| of_stage(record, stage)).collect();
    let size = found.iter().map(|cosines| cosines.matrix.len()).min()?;
    let cell = |row: usize, column: usize| {
        found.iter().map(|cosines| cosines.matrix[row][column]).sum::<f64>() / found.len() as f64
    };
    Some((0..size).map(|row| (0..size).map(|column| cell(row, column)).collect()).collect())
}

fn matrix_of(stage: usize, epoch: u64, matrix: &[Vec<f64>]) -> Markup {
    html! {
        table.heat.dense {
            caption { "stage " (stage) ", epoch " (epoch) }
            tbody { @for row in matrix {
                tr { @for &cosine in row { (shaded(format!("{cosine:.2}"), cosine)) } }
            } }
        }
    }
}

/// The size of each term's gradient over training.
pub(super) fn gradients(methods: &[Method<'_>]) -> Result<Markup> {
    let norms = Named {
        what: "gradient norms of the terms",
        unit: "norm of the student's gradient",
        of: |epoch| &epoch.probe.gradients,
        name: |found: &TermGradient| &found.name,
        drawn: |found| found.student,
        columns: [("Student", |found| found.student), ("Heads", |found| found.heads)],
        fewest: 1,
    };
    let parts = norms.of_all(methods)?;
    Ok(html! {
        @if !parts.is_empty() { section {
            h2 { "Gradients by term" }
            p.note {
                "Euclidean norm of each weighted term's gradient over all that the student learns, on the last batch of an \
                 epoch, before clipping; mean over runs. The table has the heads', too, where a term reaches them."
            }
            div.charts { @for part in parts { (part) } }
        } }
    })
}
