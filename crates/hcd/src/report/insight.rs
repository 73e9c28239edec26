//! The part of a page that tells what lies behind the figures: gains by class, agreement with the teacher, calibration, how alike
//! features and sub-logits are, and the size of each term's gradient.

use super::Entry;
use super::curves::{Chart, Line, Point};
use super::inside::{cosines, gradients};
use super::progress::{UNFOLDED, class_name, figure};
use super::summary::{Method, NONE};
use crate::error::Result;
use crate::eval::{BesideTeacher, Insight};
use maud::{Markup, html};
use std::collections::BTreeMap;

/// The method without a teacher.
const SCRATCH: &str = "scratch";

/// All that is known; nothing where nothing is.
pub(super) fn insight(methods: &[Method<'_>], classes: &[String]) -> Result<Markup> {
    let parts = [
        beside_teacher(methods),
        calibration(methods)?,
        gains(methods, classes),
        cosines(methods)?,
        gradients(methods)?,
    ];
    Ok(html! { @for part in parts { (part) } })
}

/// The mean over the runs of `method` of what `figure` gives; none where no run has it.
fn mean(method: &Method<'_>, figure: impl Fn(&Insight) -> Option<f64>) -> Option<f64> {
    let known = method.runs.iter().filter_map(|run| figure(run.insight.as_ref()?));
    let values: Vec<f64> = known.filter(|value| value.is_finite()).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// A cell whose shade tells its `share` of the darkest, from −1 to 1.
pub(super) fn shaded(text: String, share: f64) -> Markup {
    let side = if share < 0.0 { "down" } else { "up" };
    let depth = format!("--depth: {:.0}%", 45.0 * share.abs().min(1.0));
    html! { td.(side) style=(depth) { (text) } }
}

fn beside_teacher(methods: &[Method<'_>]) -> Markup {
    let of = |method: &Method<'_>, part: &dyn Fn(&BesideTeacher) -> Option<f64>| {
        mean(method, |insight| part(insight.beside_teacher.as_ref()?))
    };
    let known: Vec<&Method<'_>> =
        methods.iter().filter(|method| of(method, &|beside| Some(beside.agreement)).is_some()).collect();
    let stages = known
        .iter()
        .flat_map(|method| &method.runs)
        .filter_map(|run| Some(run.insight.as_ref()?.beside_teacher.as_ref()?.stages.len()))
        .max()
        .unwrap_or(0);
    let alike = |value: Option<f64>| match value {
        Some(value) => shaded(format!("{value:.3}"), value),
        None => html! { td { (NONE) } },
    };
    let plain = |value: Option<f64>, decimals: usize| {
        html! { td { (value.map_or(NONE.into(), |value| format!("{value:.decimals$}"))) } }
    };
    html! {
        @if !known.is_empty() { section {
            h2 { "Beside the teacher" }
            p.note {
                "Agreement: share of the images of which student and teacher say the same class. Divergence: of the student's \
                 probabilities from the teacher's. CKA: how alike the student's features (means over space or tokens) are to \
                 the teacher's penultimate feature, from 0 to 1. After the last epoch, on the images of the results; mean over runs."
            }
            div.wide { table.heat {
                thead { tr {
                    th scope="col" { "Method" }
                    th scope="col" { "Agreement" small { "%" } }
                    th scope="col" { "Divergence" small { "nats" } }
                    @for stage in 1..=stages { th scope="col" { "CKA" small { "stage " (stage) } } }
                    th scope="col" { "CKA" small { "penultimate" } }
                } }
                tbody { @for method in known { tr {
                    th scope="row" { (method.name) }
                    (plain(of(method, &|beside| Some(beside.agreement)), 2))
                    (plain(of(method, &|beside| Some(beside.divergence)), 3))
                    @for stage in 0..stages { (alike(of(method, &|beside| beside.stages.get(stage).copied()))) }
                    (alike(of(method, &|beside| Some(beside.penultimate))))
                } } }
            } }
        } }
    }
}

/// Accuracy by confidence.
fn calibration(methods: &[Method<'_>]) -> Result<Markup> {
    let lines: Vec<Line> = methods
        .iter()
        .enumerate()
        .map(|(colour, method)| Line { name: method.name.into(), colour, points: reliability(method) })
        .filter(|line| !line.points.is_empty())
        .collect();
    if lines.is_empty() {
        return Ok(html! {});
    }
    let chart =
        Chart { title: "accuracy".into(), unit: "accuracy (%)", lines, across: Some("confidence (%)") };
    Ok(html! {
        section {
            h2 { "Calibration" }
            p.note {
                "Images by the probability of the most probable class, in 15 bins: its mean across, the share that is right \
                 up, runs taken together; bins of fewer than " (FEWEST) " images are left out. On the thin line, probabilities are what they say; below \
                 it, the network is too sure of itself."
            }
            div.charts { (figure("Reliability", chart)?) }
        }
    })
}

/// Bins of fewer images than these are noise.
const FEWEST: usize = 20;

/// Confidence and accuracy of each bin over all runs of `method`.
fn reliability(method: &Method<'_>) -> Vec<Point> {
    let mut bins: BTreeMap<usize, (usize, f64, f64)> = BTreeMap::new();
    for insight in method.runs.iter().filter_map(|run| run.insight.as_ref()) {
        for (index, bin) in insight.calibration.iter().enumerate() {
            let (images, confidence, right) = bins.entry(index).or_default();
            *images += bin.images;
            *confidence += bin.images as f64 * bin.confidence;
            *right += bin.images as f64 * bin.accuracy;
        }
    }
    bins.into_values()
        .filter(|(images, ..)| *images >= FEWEST)
        .map(|(images, confidence, right)| {
            let mean = right / images as f64;
            Point { at: (confidence / images as f64).round() as u64, mean, low: mean, high: mean }
        })
        .collect()
}

/// What a method gains in a class over another, run by run; none where they share no seed.
fn gain(method: &Method<'_>, other: &Method<'_>, class: usize) -> Option<f64> {
    let accuracy = |run: &Entry| run.insight.as_ref()?.per_class.get(class).copied().flatten();
    let gains: Vec<f64> = method
        .runs
        .iter()
        .filter_map(|run| {
            let other = other.runs.iter().find(|other| other.outcome.seed == run.outcome.seed)?;
            Some(accuracy(run)? - accuracy(other)?)
        })
        .collect();
    (!gains.is_empty()).then(|| gains.iter().sum::<f64>() / gains.len() as f64)
}

/// What each method gains in each class over labels alone.
fn gains(methods: &[Method<'_>], classes: &[String]) -> Markup {
    let of = |method: &Method<'_>, class: usize| {
        mean(method, |insight| insight.per_class.get(class).copied().flatten())
    };
    let scratch = methods.iter().find(|method| method.name == SCRATCH);
    let count = methods
        .iter()
        .flat_map(|method| &method.runs)
        .filter_map(|run| Some(run.insight.as_ref()?.per_class.len()))
        .max()
        .unwrap_or(0);
    let Some(scratch) = scratch.filter(|scratch| (0..count).any(|class| of(scratch, class).is_some())) else {
        return html! {};
    };
    let taught: Vec<&Method<'_>> = methods.iter().filter(|method| method.name != SCRATCH).collect();
    let gain = |method: &Method<'_>, class| gain(method, scratch, class);
    let all = taught.iter().flat_map(|method| (0..count).filter_map(|class| gain(method, class)));
    let most = all.map(f64::abs).fold(f64::MIN_POSITIVE, f64::max);
    let cell = |gain: Option<f64>| match gain {
        Some(gain) => shaded(format!("{gain:+.1}"), gain / most),
        None => html! { td { (NONE) } },
    };
    html! {
        @if !taught.is_empty() { section {
            h2 { "Gain by class" }
            p.note {
                "Points of top-1 accuracy over " (SCRATCH) " in each class, after the last epoch, on the images of the results; \
                 mean over the seeds that both have."
            }
            details open[count <= UNFOLDED] {
                summary { (count) " classes" }
                div.wide { table.heat {
                    thead { tr {
                        th scope="col" { "Class" }
                        th scope="col" { (SCRATCH) small { "%" } }
                        @for method in &taught { th scope="col" { (method.name) } }
                    } }
                    tbody { @for class in 0..count { tr {
                        th scope="row" { (class_name(classes, class)) }
                        td { (of(scratch, class).map_or(NONE.into(), |value| format!("{value:.1}"))) }
                        @for method in &taught { (cell(gain(method, class))) }
                    } } }
                } }
            }
        } }
    }
}
