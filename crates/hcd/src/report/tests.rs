//! Pages of invented runs. To look at one:
//! `HCD_EXAMPLE_PAGE=page.html cargo test --release -p hcd --lib report`.

#![allow(clippy::unwrap_used)]

use super::curves::PALETTE;
use super::page::STYLE;
use super::{ChosenEpoch, Entry, Outcome, Page, Part, TeacherLine, page, summarise};
use crate::eval::{BesideTeacher, ConfidenceBin, Evaluation, Insight, Split};
use crate::train::{EpochRecord, Probe, StageCosines, TermGradient, TermRecord};

/// A method's name, its seeds, and its loss terms with their weights.
struct Plan {
    name: &'static str,
    seeds: u64,
    terms: &'static [(&'static str, f64)],
}

const PLANS: [Plan; 4] = [
    Plan { name: "Student alone", seeds: 3, terms: &[("cross entropy", 1.0)] },
    Plan { name: "KD", seeds: 3, terms: &[("cross entropy", 1.0), ("KD", 0.9)] },
    Plan {
        name: "HCD <paper> & \"co\"",
        seeds: 3,
        terms: &[
            ("cross entropy", 1.0),
            ("shared logits", 1.0),
            ("sub-logits", 2.0),
            ("orthogonality", 0.25),
        ],
    },
    Plan { name: "HCD, wide heads", seeds: 1, terms: &[("cross entropy", 1.0), ("shared logits", 1.5)] },
];

/// A figure in −1..1 that looks drawn at random, but never changes.
fn wobble(a: u64, b: u64) -> f64 {
    (a as f64 * 12.9898 + b as f64 * 78.233).sin() * (b as f64 * 3.7 + 1.0).cos()
}

fn record(method: u64, seed: u64, epoch: u64, epochs: u64, plan: &Plan, validated: bool) -> EpochRecord {
    let done = epoch as f64 / epochs as f64;
    let slow = (-5.0 * done).exp();
    let noise = (0.5 + wobble(seed + 7 * method, epoch)) * (1.3 - done) * (seed as f64 - 1.2) * 1.5;
    let top1 = 88.0 + 0.8 * method as f64 - (55.0 - 6.0 * method as f64) * slow + noise;
    let term = |(place, (name, weight)): (usize, &(&str, f64))| {
        let raw = (0.4 + 2.0 * slow) / (1.0 + place as f64) + 0.02 * noise.abs();
        TermRecord { name: (*name).into(), raw, weighted: weight * raw }
    };
    let terms: Vec<_> = plan.terms.iter().enumerate().map(term).collect();
    let class = |class: u64| Some((top1 + 4.0 * wobble(class, method)).clamp(0.0, 100.0));
    EpochRecord {
        epoch,
        lr: 5e-4 * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
        loss: terms.iter().map(|term| term.weighted).sum(),
        train_top1: top1 + 2.0,
        terms,
        gradient_norm: None,
        validation: validated.then(|| Evaluation {
            images: 5000,
            top1,
            top5: 99.0,
            loss: 0.4,
            calibration_error: 0.04,
            per_class: (0..10).map(class).collect(),
        }),
        probe: Probe::default(),
    }
}

/// What lies behind an invented run, sub-logits and gradients of its terms among it.
fn with_insight(method: u64, mut entry: Entry) -> Entry {
    let bin = |place: usize| ConfidenceBin {
        images: 40 * place,
        confidence: 100.0 * (place as f64 + 0.5) / 15.0,
        accuracy: 90.0 * (place as f64 + 0.5) / 15.0,
    };
    let class = |class: u64| Some(80.0 + 5.0 * method as f64 * wobble(class, method));
    entry.insight = Some(Insight {
        per_class: (0..9).map(class).chain([None]).collect(),
        calibration: (0..15).map(bin).collect(),
        beside_teacher: Some(BesideTeacher {
            agreement: 87.25,
            divergence: 0.3125,
            stages: vec![0.125, 0.25, 0.5, 0.75],
            penultimate: 0.875,
        }),
    });
    for epoch in &mut entry.epochs {
        let cosine = 1.0 / (1.0 + 0.1 * epoch.epoch as f64);
        let matrix = vec![vec![1.0, cosine], vec![cosine, 1.0]];
        let gradient =
            |term: &TermRecord| TermGradient { name: term.name.clone(), student: term.raw, heads: 0.0 };
        epoch.probe = Probe {
            gradients: epoch.terms.iter().map(gradient).collect(),
            cosines: vec![StageCosines { stage: 2, matrix }],
        };
    }
    entry
}

fn entry(method: u64, seed: u64, epochs: u64, plan: &Plan, validated: bool) -> Entry {
    let records: Vec<_> =
        (1..=epochs).map(|epoch| record(method, seed, epoch, epochs, plan, validated)).collect();
    let top1 = 87.5 + 0.8 * method as f64 + 0.3 * wobble(seed, method + 2);
    let chosen = ChosenEpoch { epoch: epochs, validation_top1: top1 + 0.2, top1: top1 + 0.1 };
    let outcome = Outcome {
        top1,
        chosen: validated.then_some(chosen),
        seconds: 812.4 + 60.0 * method as f64 + seed as f64,
        epochs,
        head_parameters: 412_160 * method as usize,
        ..outcome(plan.name, seed)
    };
    Entry { outcome, epochs: records, insight: None }
}

/// What any run came to.
pub(super) fn outcome(name: &str, seed: u64) -> Outcome {
    Outcome {
        name: name.into(),
        pair: None,
        seed,
        split: Split::Test,
        top1: 88.0,
        top5: 99.4,
        loss: 0.412,
        calibration_error: 0.0345,
        chosen: None,
        seconds: 812.4,
        peak_mib: Some(1_234),
        epochs: 60,
        parameters: 2_236_682,
        head_parameters: 0,
        recipe: "9f86d081884c7d659a2feaa0c55ad015".into(),
        left_out: Vec::new(),
    }
}

fn entries(plans: &[Plan], epochs: u64, validated: bool) -> Vec<Entry> {
    let runs = |(method, plan): (usize, &Plan)| -> Vec<Entry> {
        (0..plan.seeds).map(|seed| entry(method as u64, seed, epochs, plan, validated)).collect()
    };
    plans.iter().enumerate().flat_map(runs).collect()
}

fn render(entries: &[Entry]) -> String {
    let names =
        ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "<boot>"];
    let teacher =
        TeacherLine { name: "resnet18".into(), top1: 93.41, parameters: 11_220_132, seconds: Some(64.2) };
    let page = page(&Page {
        title: "Fashion-MNIST: Swin student, ResNet teacher",
        intro: "Four ways to train a small Swin transformer on Fashion-MNIST, three of them with the help of a ResNet-18."
            .into(),
        parts: &[Part { name: None, teacher: Some(teacher), entries, diverged: &[], classes: &names.map(String::from) }],
        recipe: "[student]\nmodel = \"swin_pico\"\n\n[method]\nname = \"hcd\" # <heads>\nsub_logits = 4\n",
        notes: &["Trained on two cores.".into(), "The teacher's answers were recorded <once>.".into()],
    })
    .unwrap();
    assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">") && page.ends_with("</html>"));
    let fetched = ["src=", "href=", "url(", "@import", "<script", "http"];
    assert_eq!(fetched.map(|mark| page.contains(mark)), [false; 6]);
    assert!(!page.contains("NaN"));
    assert_eq!(page.matches("<svg ").count(), page.matches("</svg>").count());
    assert_eq!(page.matches("<svg ").count(), page.matches("<figcaption>").count());
    page
}

#[test]
fn a_page_of_several_methods() {
    let entries = entries(&PLANS, 60, true);
    let page = render(&entries);
    assert_eq!(page, render(&entries.clone()), "the same entries give the same bytes");
    // Accuracy, loss, learning rate; terms of all methods but the one with a single term.
    assert_eq!(page.matches("<svg ").count(), 6);
    for name in ["Student alone", "KD", "HCD &lt;paper&gt; &amp; &quot;co&quot;", "HCD, wide heads"] {
        assert!(page.contains(&format!("<th scope=\"row\">{name}</th>")), "{name}");
    }
    for text in
        ["&lt;boot&gt;", "# &lt;heads&gt;", "recorded &lt;once&gt;", "all methods", "93.41", "11,220,132"]
    {
        assert!(page.contains(text), "{text}");
    }
    let row = &summarise(&entries)[2];
    assert!(page.contains(&row.top1.to_string()) && page.contains(&row.chosen_top1.unwrap().to_string()));
    assert!(!page.contains("<paper>") && !page.contains("no validation data"));
    if let Some(path) = std::env::var_os("HCD_EXAMPLE_PAGE") {
        std::fs::write(path, page).unwrap();
    }
}

#[test]
fn what_lies_behind_the_figures_is_shown_where_it_is_known() {
    let mut known = entries(&PLANS[1..3], 8, true);
    let mut scratch = entries(&PLANS[..1], 8, true);
    scratch.iter_mut().for_each(|entry| entry.outcome.name = "scratch".into());
    known.splice(0..0, scratch);
    let headings = ["Beside the teacher", "Calibration", "Gain by class", "Sub-logits", "Gradients by term"];
    let heading = |text: &str| format!("<h2>{text}</h2>");
    let page = render(&known);
    assert!(headings.iter().all(|text| !page.contains(&heading(text))));
    let before = page.matches("<svg ").count();
    let methods = ["scratch", "KD"];
    let place = |entry: &Entry| methods.iter().position(|name| *name == entry.outcome.name).unwrap_or(2);
    let known: Vec<Entry> =
        known.into_iter().map(|entry| with_insight(place(&entry) as u64, entry)).collect();
    let page = render(&known);
    assert!(headings.iter().all(|text| page.contains(&heading(text))));
    // Reliability; cosines and gradients of three methods each.
    assert_eq!(page.matches("<svg ").count(), before + 1 + 3 + 3);
    for text in ["87.25", "0.312", "--depth: 34%\">0.750", "stage 2, epoch 1", "stage 2, epoch 8", ">0.91<"] {
        assert!(page.contains(text), "{text}");
    }
    // The class with the largest gain is as blue as can be, and one without images has no figure.
    let most = (0..9).map(|class| 5.0 * wobble(class, 1)).chain((0..9).map(|class| 10.0 * wobble(class, 2)));
    let most = most.fold(0.0, |most: f64, gain| if gain.abs() > most.abs() { gain } else { most });
    let side = if most < 0.0 { "down" } else { "up" };
    assert!(page.contains(&format!("<td class=\"{side}\" style=\"--depth: 45%\">{most:+.1}</td>")), "{most}");
    if let Some(path) = std::env::var_os("HCD_EXAMPLE_INSIGHT") {
        std::fs::write(path, page).unwrap();
    }
}

#[test]
fn one_run_of_one_epoch_without_validation() {
    let page = render(&entries(&PLANS[3..], 1, false));
    assert!(
        !page.contains("Validation accuracy") && page.contains("have no validation curve: HCD, wide heads.")
    );
    assert!(page.contains("no such table, for no validation data was held out"));
    assert!(page.contains("No epoch was chosen") && !page.contains("sample standard deviation"));
    assert_eq!(page.matches("<svg ").count(), 3);
}

#[test]
fn ten_methods_of_300_epochs() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let plans = names.map(|name| Plan { name, seeds: 2, terms: &[("cross entropy", 1.0)] });
    let page = render(&entries(&plans, 300, true));
    assert_eq!(page.matches("<svg ").count(), 3);
    assert_eq!(page.matches("dashed\"></span>").count(), 6, "methods 8 to 10 in two charts");
}

#[test]
fn figures_that_are_not_finite_are_left_out() {
    let mut runs = entries(&PLANS[..1], 3, true);
    for run in &mut runs {
        run.epochs[1].loss = f64::INFINITY;
        for epoch in &mut run.epochs {
            epoch.lr = f64::NAN;
        }
    }
    assert_eq!(render(&runs).matches("<svg ").count(), 2);
}

#[test]
fn no_runs_at_all() {
    assert_eq!(render(&[]).matches("<svg ").count(), 0);
}

#[test]
fn style_knows_every_colour_of_the_charts() {
    for (place, colour) in PALETTE.iter().enumerate() {
        let hex = format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2);
        for rule in ["stroke", "fill"] {
            assert!(
                STYLE.contains(&format!("svg [{rule}=\"{hex}\"] {{ {rule}: var(--c{place}); }}")),
                "{hex}"
            );
        }
    }
}
