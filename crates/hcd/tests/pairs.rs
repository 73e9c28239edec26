//! Every kind of student under every kind of teacher, by every method: they fit, they learn, and the heads are as large as
//! the paper's formulas say.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use hcd::burn::tensor::Device;
use hcd::export::Loaded;
use hcd::hcd::{HcdConfig, HeadShape};
use hcd::methods::{CrdConfig, Distiller, METHODS, MethodConfig, Pair};
use hcd::models::{Backbone, ModelSpec, Network, PRESETS, Parameters, StageShape};
use hcd::teacher::{Live, Teacher};
use hcd::train::{Experiment, Learner, Objective};
use support::{SMALL, batches, experiment};

const RECIPE: &str = "train = { batch_size = 12 }\ndata = { path = 'in memory' }\n\
                      optimizer = { name = 'adamw', lr = 5e-3 }";

fn student(text: &str) -> Experiment {
    experiment(&format!("student = {{ {text} }}\n"), RECIPE)
}

/// A network of the same kind that knows nothing: enough for shapes, and for a loss that falls.
fn teacher(text: &str, of: &Experiment) -> Live {
    let experiment = student(text);
    let network = Network::new(experiment.model.as_ref().unwrap(), 5, &Device::flex());
    let card = experiment.card("untrained".to_owned()).unwrap();
    Live::new(Loaded { network, card, notes: Vec::new() }, &of.normalization, &of.device)
}

/// Each method at its defaults, its memory small enough for 48 samples.
fn methods() -> Vec<MethodConfig> {
    let of = |name: &str| match name {
        "crd" => Some(MethodConfig::Crd(CrdConfig { negatives: 20, embedding: 8, ..CrdConfig::default() })),
        _ => MethodConfig::of_name(name),
    };
    METHODS.iter().filter_map(|method| of(method.name)).collect()
}

fn gives_maps(experiment: &Experiment) -> bool {
    let stages = Network::blank(experiment.model.as_ref().unwrap(), &Device::flex()).stages();
    stages.iter().all(|stage| matches!(stage, StageShape::Map { .. }))
}

#[test]
fn every_pair_takes_a_step_by_every_method() {
    for pupil in SMALL {
        let experiment = student(pupil);
        let batch = &batches(&experiment, 0)[0];
        for expert in SMALL {
            let mut teacher = teacher(expert, &experiment);
            let maps = gives_maps(&experiment)
                && teacher.stages().unwrap().iter().all(|stage| matches!(stage, StageShape::Map { .. }));
            for method in methods() {
                let what = format!("{} under {expert} by {}", pupil, method.name());
                let mut objective = Objective::Distilled { teacher: &mut teacher, method: &method };
                let learner = Learner::new(&experiment, &objective);
                if method.name() == "fitnet" && !maps {
                    let error = learner.err().unwrap_or_else(|| panic!("{what}: was built")).to_string();
                    assert!(error.contains("two CNNs") && error.contains("tokens"), "{what}: {error}");
                    continue;
                }
                let mut learner = learner.unwrap_or_else(|error| panic!("{what}: {error}"));
                let report = learner.learn(batch, &mut objective, (0, 0), 1).unwrap();
                assert!(report.loss.is_finite() && report.terms.len() >= 2, "{what}: {report:?}");
                let (learner, norm) = learner.update(1e-3, Some(1e9));
                assert!(norm.is_some_and(|norm| norm > 0.0), "{what}: {norm:?}");
                drop(learner);
            }
        }
    }
}

#[test]
fn every_student_learns_a_batch_by_every_method() {
    for pupil in SMALL {
        let experiment = student(pupil);
        let batch = &batches(&experiment, 0)[0];
        // A CNN, so that every student that can learns by hints.
        let expert = "name = 'resnet10_small', widths = [4, 4, 8, 12]";
        for method in methods() {
            let mut teacher = teacher(expert, &experiment);
            let mut objective = Objective::Distilled { teacher: &mut teacher, method: &method };
            let Ok(mut learner) = Learner::new(&experiment, &objective) else {
                assert_eq!(method.name(), "fitnet", "{pupil}");
                continue;
            };
            let mut losses = Vec::new();
            for step in 0..40 {
                losses.push(learner.learn(batch, &mut objective, (0, step), 1).unwrap().loss);
                learner = learner.update(5e-3, None).0;
            }
            let last = losses[35..].iter().copied().fold(f64::INFINITY, f64::min);
            assert!(last < 0.95 * losses[0], "{pupil} by {}: {} to {last}", method.name(), losses[0]);
        }
    }
}

/// Numbers of a head's projector, by the formulas of docs/method.md.
fn projector_numbers(stages: &[StageShape], stage: usize, student: usize, teacher: usize) -> usize {
    let left = stages.len() - stage;
    match stages[stage - 1] {
        StageShape::Map { channels } => {
            let wide = student.max(teacher);
            let block = |from: usize, to: usize| 18 * from + from * from + 2 * from + from * to + 2 * to;
            let ends = |index: usize| if index + 1 == left { wide } else { channels << (index + 1) };
            match left {
                0 => channels * wide + wide,
                _ => (0..left).map(|index| block(channels << index, ends(index))).sum(),
            }
        }
        StageShape::Tokens { width, prefix, grid: [side, _] } => {
            let merges = (side as f64 / 7.0).log2().floor().max(0.0) as usize;
            let merge = |from: usize| 8 * from + 4 * from * student;
            let merged: usize =
                (0..merges).map(|index| merge(if index == 0 { width } else { student })).sum();
            let widens = width != student && (merges == 0 || prefix > 0);
            let widen = if widens { width * student + student } else { 0 };
            merged + widen + left.max(1) * (12 * student * student + 10 * student)
        }
    }
}

#[test]
fn heads_are_as_large_as_the_formulas_say() {
    let (classes, sub_logits, device) = (100, 4, Device::flex());
    for preset in PRESETS.iter().filter(|preset| preset.image_size == 224 || preset.image_size == 32) {
        let model = ModelSpec::named(preset.name).resolve(3, preset.image_size, classes).unwrap();
        let network = Network::blank(&model, &device);
        let (stages, student) = (network.stages(), network.penultimate_width());
        for teacher in [192, 768] {
            let shape = HeadShape {
                student_stages: &stages,
                student_width: student,
                teacher_width: teacher,
                classes,
            };
            let pair = Pair { shape, teacher_stages: None, samples: &[] };
            let config = MethodConfig::Hcd(HcdConfig { sub_logits, ..HcdConfig::default() });
            let heads = Distiller::new(&config, &pair, 0, &device.clone().autodiff()).unwrap();
            let expected: usize = (1..=stages.len())
                .map(|stage| {
                    let projected = match stages[stage - 1] {
                        StageShape::Map { .. } => student.max(teacher),
                        StageShape::Tokens { .. } => student,
                    };
                    let outputs = sub_logits * classes;
                    let mapper = (projected + teacher) * teacher + teacher + teacher * outputs + outputs;
                    mapper + projector_numbers(&stages, stage, student, teacher)
                })
                .sum();
            assert_eq!(heads.learned_count(), expected, "{} under a teacher {teacher} wide", preset.name);
        }
    }
}
