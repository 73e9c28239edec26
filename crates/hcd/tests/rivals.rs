//! What must hold of every method under mixed labels, and of each weight; CRD and FitNet computed once more, in plain loops.
#![allow(clippy::unwrap_used, missing_docs)]

use burn::tensor::{Device, Tensor, TensorData};
use hcd::data::HostBatch;
use hcd::hcd::{HcdConfig, HeadShape};
use hcd::methods::{
    CrdConfig, DistConfig, Distiller, DkdConfig, KdConfig, LogitTerm, METHODS, MethodConfig, Pair, Sample,
    Seen, Targets, Term, total,
};
use hcd::models::{Features, Parameters, Pass, StageFeature, StageShape};
use hcd::rng;
use hcd::teacher::TeacherOutput;
use rand_distr::{Distribution, StandardNormal};
use serde_json::Value;
use std::collections::BTreeMap;

/// We compare f32 with f64. A rounding is 6e-8; values pass a few dozen of them one after the other, and those of CRD's
/// cosines are divided by τ = 0.2 before they reach an exponential.
const TOLERANCE: f64 = 1e-5;

const BATCH: usize = 4;
const CLASSES: usize = 6;
/// Samples that are learned from, row r of class r mod K; a batch of them, and what it is mixed with, once its own class.
const SAMPLES: usize = 30;
const ROWS: [usize; BATCH] = [0, 5, 2, 7];
const LABELS: [usize; BATCH] = [0, 5, 2, 1];
const OTHERS: [usize; BATCH] = [3, 1, 2, 4];
/// A tie, mostly the other class, the same class twice, hardly mixed.
const SHARES: [f32; BATCH] = [0.5, 0.2, 0.7, 0.99];
/// Of the student's penultimate feature and of the teacher's.
const WIDTHS: [usize; 2] = [10, 12];
/// The student has a stage more; of one pair its map is higher and the teacher's wider.
const STUDENT_MAPS: [[usize; 4]; 3] = [[BATCH, 6, 8, 8], [BATCH, 8, 5, 4], [BATCH, 10, 3, 3]];
const TEACHER_MAPS: [[usize; 4]; 2] = [[BATCH, 7, 3, 6], [BATCH, 9, 3, 3]];

/// Numbers that samples keep: in another order than their rows.
fn id(row: usize) -> u64 {
    1000 - 7 * row as u64
}

fn device() -> Device {
    Device::flex().autodiff()
}

fn drawn<const D: usize>(purpose: &str, shape: [usize; D]) -> Tensor<D> {
    let mut stream = rng::stream(3, purpose, &[]);
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|_| StandardNormal.sample(&mut stream)).collect();
    Tensor::from_data(TensorData::new(values, shape), &device())
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

fn assert_close(what: &str, got: f64, expected: f64) {
    assert!((got - expected).abs() <= TOLERANCE * (1.0 + expected.abs()), "{what}: {got}, not {expected}");
}

fn labelled(labels: &[usize]) -> Targets {
    Targets::from_labels(labels, CLASSES, 0.1, &device()).unwrap()
}

/// Labels mixed with [`OTHERS`], as a training step does it.
fn mixed(labels: [usize; BATCH], shares: [f32; BATCH]) -> Targets {
    let (labels, ids) = (labels.to_vec(), ROWS.map(id).to_vec());
    let mixed = OTHERS.into_iter().zip(shares).collect();
    let batch = HostBatch { pixels: Vec::new(), shape: [BATCH, 0, 0, 0], labels, ids, mixed };
    let rows = TensorData::new(batch.soft_labels(CLASSES).unwrap(), [BATCH, CLASSES]);
    Targets::from_soft(Tensor::from_data(rows, &device()), 0.1)
}

/// What both networks say about a batch, by chance.
struct Scene {
    student: Features,
    teacher: TeacherOutput,
}

impl Scene {
    fn new(name: &str) -> Self {
        let stages = |who: &str, shapes: &[[usize; 4]]| -> Vec<StageFeature> {
            let map = |at: usize| StageFeature::Map(drawn(&format!("{name} {who} {at}"), shapes[at]));
            (0..shapes.len()).map(map).collect()
        };
        let wide = |what: &str, width: usize| drawn::<2>(&format!("{name} {what}"), [BATCH, width]);
        let student = Features {
            stages: stages("student", &STUDENT_MAPS),
            penultimate: wide("student penultimate", WIDTHS[0]),
            logits: wide("student logits", CLASSES).require_grad(),
        };
        let teacher = TeacherOutput {
            penultimate: wide("teacher penultimate", WIDTHS[1]),
            logits: wide("teacher logits", CLASSES),
            stages: stages("teacher", &TEACHER_MAPS),
        };
        Self { student, teacher }
    }

    /// What a method makes of it, chance drawn anew from the same stream.
    fn under(&self, method: &Distiller, targets: &Targets, rows: &[usize]) -> Vec<Term> {
        let ids: Vec<u64> = rows.iter().map(|&row| id(row)).collect();
        let mut stream = rng::stream(0, "forward", &[]);
        let seen = Seen { student: &self.student, teacher: &self.teacher, targets, ids: &ids };
        method.terms(seen, &mut Pass::Train(&mut stream))
    }
}

fn built(config: &MethodConfig) -> hcd::Result<Distiller> {
    let student = STUDENT_MAPS.map(|[_, channels, ..]| StageShape::Map { channels });
    let teacher = TEACHER_MAPS.map(|[_, channels, ..]| StageShape::Map { channels });
    let samples: Vec<Sample> = (0..SAMPLES).map(|row| Sample { id: id(row), class: row % CLASSES }).collect();
    let [student_width, teacher_width] = WIDTHS;
    let shape = HeadShape { student_stages: &student, student_width, teacher_width, classes: CLASSES };
    Distiller::new(config, &Pair { shape, teacher_stages: Some(&teacher), samples: &samples }, 1, &device())
}

/// Every method, hcd with each loss that may take the place of its kd, and with a weight that it has only where it is set.
fn methods() -> Vec<MethodConfig> {
    let of = |name: &str| if name == "crd" { Some(crd(NEGATIVES)) } else { MethodConfig::of_name(name) };
    let standardised = || KdConfig { standardise: true, ..KdConfig::default() };
    let by = |term| MethodConfig::Hcd(HcdConfig { logit_term: Some(term), ..HcdConfig::default() });
    let others = [
        MethodConfig::Kd(standardised()),
        by(LogitTerm::Kd(standardised())),
        by(LogitTerm::Dkd(DkdConfig::default())),
        by(LogitTerm::Dist(DistConfig::default())),
        MethodConfig::Hcd(HcdConfig { sub_ce_weight: Some(0.5), ..HcdConfig::default() }),
    ];
    METHODS.iter().filter_map(|method| of(method.name)).chain(others).collect()
}

fn values(terms: &[Term]) -> BTreeMap<&'static str, f64> {
    terms.iter().map(|term| (term.name, numbers(term.raw.clone())[0])).collect()
}

/// The tensors of a method by name: parameters, and what it remembers.
fn held(method: &Distiller) -> BTreeMap<String, Vec<f64>> {
    method.named().into_iter().map(|tensor| (tensor.name, numbers(tensor.value))).collect()
}

#[test]
fn mixed_labels_have_finite_terms_and_move_the_student() {
    let targets = mixed(LABELS, SHARES);
    assert_eq!(numbers(targets.hard.clone()), numbers(labelled(&[0, 1, 2, 1]).hard));
    for config in methods() {
        let scene = Scene::new("first");
        let terms = scene.under(&built(&config).unwrap(), &targets, &ROWS);
        assert!(values(&terms).values().all(|value| value.is_finite()), "{config:?}: {terms:?}");
        let sum = total(&terms).unwrap();
        let gradients = sum.backward();
        assert!(numbers(sum)[0].is_finite(), "{config:?}");
        let gradient = numbers(scene.student.logits.grad(&gradients).unwrap());
        assert!(gradient.iter().all(|value| value.is_finite()), "{config:?}: {gradient:?}");
        let moved = |row: &[f64]| row.iter().any(|value| *value != 0.0);
        assert!(gradient.chunks(CLASSES).all(moved), "{config:?}: {gradient:?}");
    }
}

/// What is mixed with nothing keeps its bits, as products with 1 and 0 are exact.
#[test]
fn cross_entropies_are_linear_in_the_labels() {
    let (scene, share) = (Scene::new("first"), 0.3f32);
    for config in methods() {
        let of = |targets: Targets| values(&scene.under(&built(&config).unwrap(), &targets, &ROWS));
        let (own, others) = (of(labelled(&LABELS)), of(labelled(&OTHERS)));
        assert_eq!(of(mixed(LABELS, [1.0; BATCH])), own, "{config:?}");
        assert!(own.contains_key("ce"), "{config:?}");
        let both = of(mixed(LABELS, [share; BATCH]));
        for name in ["ce", "sub_ce"].into_iter().filter(|name| own.contains_key(name)) {
            let expected = f64::from(share) * own[name] + f64::from(1.0 - share) * others[name];
            assert_close(&format!("{config:?}: {name}"), both[name], expected);
        }
    }
}

/// Where weights stand in a configuration, as JSON pointers.
fn weights(config: &Value, under: &str) -> Vec<String> {
    let Value::Object(fields) = config else { return Vec::new() };
    let of_field = |(name, value): (&String, &Value)| match name.ends_with("_weight") {
        true => vec![format!("{under}/{name}")],
        false => weights(value, &format!("{under}/{name}")),
    };
    fields.iter().flat_map(of_field).collect()
}

/// The configuration with the number at `at` doubled, read as a recipe's is.
fn doubled(config: &Value, at: &str) -> MethodConfig {
    let mut config = config.clone();
    let weight = config.pointer_mut(at).unwrap();
    let before = weight.as_f64().unwrap();
    assert!(before > 0.0, "{at} is {before}: doubling it shows nothing");
    *weight = Value::from(2.0 * before);
    serde_json::from_value(config).unwrap()
}

/// The terms that the weight at `at` is meant for.
fn meant<'a>(config: &MethodConfig, at: &'a str) -> Vec<&'a str> {
    match (config, at) {
        (_, "/branch_weight") => vec!["branches"],
        (_, "/orthogonality_weight") => vec!["orth"],
        (MethodConfig::Hcd(hcd), "/ce_weight") if hcd.sub_ce_weight.is_none() => vec!["ce", "sub_ce"],
        (MethodConfig::Hcd(hcd), "/kd_weight") => match hcd.logit_term {
            Some(LogitTerm::Dkd(_)) => vec!["tckd", "nckd"],
            Some(LogitTerm::Dist(_)) => vec!["inter", "intra"],
            _ => vec!["kd"],
        },
        _ => vec![at.rsplit('/').next().unwrap().trim_end_matches("_weight")],
    }
}

#[test]
fn each_weight_counts_for_its_own_terms_alone() {
    let (scene, targets) = (Scene::new("first"), mixed(LABELS, SHARES));
    for config in methods() {
        let before = scene.under(&built(&config).unwrap(), &targets, &ROWS);
        let written = serde_json::to_value(&config).unwrap();
        for at in weights(&written, "") {
            let changed = doubled(&written, &at);
            if at == "/logit_term/ce_weight" {
                // It would count for nothing, so it is refused.
                assert!(built(&changed).unwrap_err().to_string().contains("logit_term.ce_weight = 2"));
                continue;
            }
            let after = scene.under(&built(&changed).unwrap(), &targets, &ROWS);
            assert_eq!(values(&after), values(&before), "{config:?}: {at}");
            let factors = before.iter().zip(&after).map(|(old, new)| (old.name, new.weight / old.weight));
            let (other, own): (Vec<_>, Vec<_>) = factors.partition(|(_, factor)| *factor == 1.0);
            let expected: Vec<_> = meant(&config, &at).into_iter().map(|name| (name, 2.0)).collect();
            assert_eq!(own, expected, "{config:?}: {at}, which leaves {other:?}");
        }
    }
}

/// As many as there are samples of other classes: all of them are drawn, whatever the order.
const NEGATIVES: usize = SAMPLES - SAMPLES / CLASSES;
const EMBEDDING: usize = 8;
const TEMPERATURE: f64 = 0.2;
/// Not ½, so that what stays and what comes are told apart.
const MOMENTUM: f64 = 0.3;

fn crd(negatives: usize) -> MethodConfig {
    let (temperature, momentum, embedding) = (TEMPERATURE, MOMENTUM, EMBEDDING);
    MethodConfig::Crd(CrdConfig { negatives, temperature, momentum, embedding, ..CrdConfig::default() })
}

type Rows = Vec<Vec<f64>>;

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(l, r)| l * r).sum()
}

fn unit(row: Vec<f64>) -> Vec<f64> {
    let norm = dot(&row, &row).sqrt();
    row.iter().map(|value| value / norm).collect()
}

/// W f + b of each feature, of length 1.
fn embedded(features: &[f64], weight: &[f64], bias: &[f64]) -> Rows {
    let width = weight.len() / bias.len();
    let mapped = |f: &[f64]| weight.chunks(width).zip(bias).map(|(row, b)| dot(row, f) + b).collect();
    features.chunks(width).map(|feature| unit(mapped(feature))).collect()
}

/// exp(cosine / τ) with a bank's rows: of each sample itself, then of all samples of other classes.
fn similarities(embedded: &[Vec<f64>], bank: &[Vec<f64>], rows: &[usize]) -> Rows {
    let similar = |(&own, embedded): (&usize, &Vec<f64>)| {
        let others = (0..SAMPLES).filter(|row| row % CLASSES != own % CLASSES);
        let with = |row: usize| (dot(embedded, &bank[row]) / TEMPERATURE).exp();
        std::iter::once(own).chain(others).map(with).collect()
    };
    rows.iter().zip(embedded).map(similar).collect()
}

/// −(1/B) Σ [ln(p / (p + m/n + ε)) of the sample itself, ln((m/n) / (p + m/n + ε)) of the others], p the similarities over
/// their constant, ε = 1e-7.
fn contrasted(similar: &[Vec<f64>], constant: f64) -> f64 {
    let noise = NEGATIVES as f64 / SAMPLES as f64;
    let mut sum = 0.0;
    for row in similar {
        for (index, p) in row.iter().map(|similar| similar / constant).enumerate() {
            let share = if index == 0 { p } else { noise };
            sum -= (share / (p + noise + 1e-7)).ln();
        }
    }
    sum / BATCH as f64
}

#[test]
fn crd_is_what_plain_loops_give_over_two_batches() {
    const SIDES: [&str; 2] = ["student", "teacher"];
    let method = built(&crd(NEGATIVES)).unwrap();
    let begun = held(&method);
    let mut banks = SIDES.map(|side| {
        begun[&format!("running_{side}")].chunks(EMBEDDING).map(<[f64]>::to_vec).collect::<Rows>()
    });
    let mut constants = None;
    // Two samples come again, and one with another of its class.
    for (batch, rows) in [("first", ROWS), ("second", [5, 7, 11, 4])] {
        let scene = Scene::new(batch);
        let terms = scene.under(&method, &labelled(&rows.map(|row| row % CLASSES)), &rows);
        let features = [scene.student.penultimate, scene.teacher.penultimate].map(numbers);
        let embedded = [0, 1].map(|side| {
            let [weight, bias] = ["weight", "bias"].map(|part| &begun[&format!("{}.{part}", SIDES[side])]);
            embedded(&features[side], weight, bias)
        });
        let similar = [0, 1].map(|side| similarities(&embedded[side], &banks[1 - side], &rows));
        // n times the mean of the first batch.
        let scale = SAMPLES as f64 / (BATCH * (1 + NEGATIVES)) as f64;
        let first = [0, 1].map(|side| scale * similar[side].concat().iter().sum::<f64>());
        let constants: [f64; 2] = *constants.get_or_insert(first);
        let expected = contrasted(&similar[0], constants[0]) + contrasted(&similar[1], constants[1]);
        assert_close(batch, values(&terms)["crd"], expected);
        for (bank, embedded) in banks.iter_mut().zip(&embedded) {
            for (&row, seen) in rows.iter().zip(embedded) {
                let mix = |(held, seen): (&f64, &f64)| MOMENTUM * held + (1.0 - MOMENTUM) * seen;
                bank[row] = unit(bank[row].iter().zip(seen).map(mix).collect());
            }
        }
        let now = held(&method);
        let got = ["student", "teacher", "constants"].map(|of| now[&format!("running_{of}")].clone());
        let expected = [banks[0].concat(), banks[1].concat(), constants.to_vec()].concat();
        assert_eq!(got.concat().len(), expected.len());
        for (got, expected) in got.concat().into_iter().zip(expected) {
            assert_close(&format!("what is kept of the {batch} batch"), got, expected);
        }
    }
}

/// The term of a batch that holds all samples of class 0 but that in row 24; `changed` rows of both banks hold other values.
fn crd_of_one_class(negatives: usize, targets: &Targets, changed: &dyn Fn(usize) -> bool) -> f64 {
    let method = built(&crd(negatives)).unwrap().map_named(&mut |tensor| {
        if !["running_student", "running_teacher"].contains(&tensor.name.as_str()) {
            return tensor.value;
        }
        let mut values = tensor.to_vec();
        let rows = values.chunks_mut(EMBEDDING).enumerate();
        rows.filter(|(row, _)| changed(*row)).for_each(|(_, held)| held.fill(1.0));
        Tensor::from_data(TensorData::new(values, [SAMPLES * EMBEDDING]), &Device::flex())
    });
    values(&Scene::new("first").under(&method, targets, &[0, 6, 12, 18]))["crd"]
}

/// Few, all and more than there are: the same bits, as each product is one of a row with a row.
#[test]
fn crd_tells_no_sample_from_its_own_class_whatever_the_targets_say() {
    for negatives in [3, NEGATIVES, 3 * NEGATIVES] {
        let expected = crd_of_one_class(negatives, &labelled(&[0; BATCH]), &|_| false);
        for targets in [labelled(&[0; BATCH]), labelled(&OTHERS), mixed([0; BATCH], SHARES)] {
            let of = |changed: &dyn Fn(usize) -> bool| crd_of_one_class(negatives, &targets, changed);
            assert_eq!(of(&|_| false), expected, "{negatives} negatives");
            assert_eq!(of(&|row| row == 24), expected, "{negatives} negatives");
            assert_ne!(of(&|row| row % CLASSES != 0), expected, "{negatives} negatives");
        }
    }
}

/// Each channel's mean over what a pixel of a map of `sides` covers: from ⌊i·H/H'⌋ to ⌈(i + 1)·H/H'⌉, and so across.
fn means(stage: &StageFeature, sample: usize, pixel: [usize; 2], sides: [usize; 2]) -> Vec<f64> {
    let StageFeature::Map(map) = stage else { panic!("tokens") };
    let ([_, channels, height, width], values) = (map.dims(), numbers(map.clone()));
    let covers = |axis: usize, side: usize, at: usize| {
        let [at_most, from] = [pixel[axis] + 1, pixel[axis]].map(|pixel| pixel * side);
        (from / sides[axis]..at_most.div_ceil(sides[axis])).contains(&at)
    };
    let mean = |map: &[f64]| {
        let pixels = map.iter().enumerate();
        let seen = pixels.filter(|(at, _)| covers(0, height, at / width) && covers(1, width, at % width));
        let seen: Vec<f64> = seen.map(|(_, value)| *value).collect();
        seen.iter().sum::<f64>() / seen.len() as f64
    };
    values.chunks(height * width).skip(sample * channels).take(channels).map(mean).collect()
}

#[test]
fn fitnet_is_what_plain_loops_give() {
    let method = built(&MethodConfig::of_name("fitnet").unwrap()).unwrap();
    // Biases are 0 at first, and would go unseen.
    let method = method.map_named(&mut |tensor| match tensor.name.as_str() {
        name if name.ends_with("bias") => drawn::<1>(name, [tensor.shape[0]]).without_autodiff(),
        _ => tensor.value,
    });
    let (scene, held) = (Scene::new("first"), held(&method));
    let mut expected = 0.0;
    let pairs = scene.student.stages.iter().rev().zip(scene.teacher.stages.iter().rev());
    for (index, ((student, teacher), sides)) in pairs.zip([[3usize, 3], [3, 4]]).enumerate() {
        let [weight, bias] = ["weight", "bias"].map(|part| &held[&format!("regressors.{index}.{part}")]);
        let mut squares: Vec<f64> = Vec::new();
        for at in 0..BATCH * sides[0] * sides[1] {
            let (sample, pixel) = (at / (sides[0] * sides[1]), [at / sides[1] % sides[0], at % sides[1]]);
            let [seen, wanted] = [student, teacher].map(|stage| means(stage, sample, pixel, sides));
            let mapped = weight.chunks(seen.len()).zip(bias).map(|(row, bias)| dot(row, &seen) + bias);
            squares.extend(mapped.zip(wanted).map(|(mapped, wanted)| (mapped - wanted).powi(2)));
        }
        expected += squares.iter().sum::<f64>() / squares.len() as f64;
    }
    assert_eq!(held.len(), 2 * TEACHER_MAPS.len(), "a weight and a bias for each pair");
    assert_close("hint", values(&scene.under(&method, &labelled(&LABELS), &ROWS))["hint"], expected);
}
