//! What must hold of the losses for any logits, and of the heads for any batch.
#![allow(clippy::unwrap_used, missing_docs)]

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use hcd::hcd::{HcdConfig, HeadShape};
use hcd::losses::{cross_entropy, kd, orthogonality, standardise, sub_ce, sub_kl};
use hcd::methods::{
    Distiller, METHODS, MethodConfig, Pair, Sample, Seen, Targets, Term, sub_logit_terms, total,
};
use hcd::models::{Features, Parameters, Pass, Role, StageFeature, StageShape};
use hcd::rng;
use hcd::teacher::TeacherOutput;
use proptest::prelude::*;
use rand_distr::{Distribution, StandardNormal};

const BATCH: usize = 4;
const CLASSES: usize = 6;
const SUB_LOGITS: usize = 3;
/// f32 values up to a few hundred, where a rounding is 2e-5; sums of 72 of them.
const TOLERANCE: f32 = 1e-3;

fn device() -> Device {
    Device::flex().autodiff()
}

fn rows(values: &[f32]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [BATCH, CLASSES]), &device())
}

fn subs(values: &[f32]) -> Tensor<3> {
    let count = values.len() / (BATCH * CLASSES);
    Tensor::from_data(TensorData::new(values.to_vec(), [BATCH, count, CLASSES]), &device())
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn number(tensor: Tensor<1>) -> f32 {
    read(tensor)[0]
}

fn close(left: f32, right: f32) -> bool {
    (left - right).abs() <= TOLERANCE * (1.0 + left.abs())
}

fn targets(labels: &[usize]) -> Targets {
    Targets::from_labels(labels, CLASSES, 0.1, &Device::flex()).unwrap()
}

fn logits(count: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-30.0f32..30.0, count)
}

fn labels() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..CLASSES, BATCH)
}

/// All raw terms of HCD on one stage.
fn hcd_terms(student: &[f32], teacher: &[f32], sub: &[f32], labels: &[usize]) -> Vec<Term> {
    let config = HcdConfig { cosine_threshold: 0.1, ..HcdConfig::default() };
    sub_logit_terms(&config, rows(student), rows(teacher), vec![subs(sub)], &targets(labels))
}

/// Moves sample b of `values` to place `order[b]`.
fn permuted<T: Clone>(values: &[T], order: &[usize]) -> Vec<T> {
    let width = values.len() / BATCH;
    order.iter().flat_map(|&from| values[from * width..(from + 1) * width].to_vec()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn divergences_are_not_negative(
        student in logits(BATCH * CLASSES),
        teacher in logits(BATCH * CLASSES),
        sub in logits(BATCH * SUB_LOGITS * CLASSES),
        temperature in 0.5f64..8.0,
    ) {
        prop_assert!(number(kd(rows(&student), rows(&teacher), temperature)) >= -TOLERANCE);
        prop_assert!(number(sub_kl(rows(&student), subs(&sub), temperature)) >= -TOLERANCE);
        prop_assert!(number(orthogonality(subs(&sub), targets(&[0; BATCH]).hard, 0.5)) >= 0.0);
    }

    #[test]
    fn equal_logits_do_not_diverge(same in logits(BATCH * CLASSES), temperature in 0.5f64..8.0) {
        prop_assert_eq!(number(kd(rows(&same), rows(&same), temperature)), 0.0);
        let repeated = rows(&same).unsqueeze_dim::<3>(1).repeat_dim(1, SUB_LOGITS);
        prop_assert_eq!(number(sub_kl(rows(&same), repeated, temperature)), 0.0);
    }

    #[test]
    fn a_constant_added_to_logits_changes_nothing(
        student in logits(BATCH * CLASSES),
        teacher in logits(BATCH * CLASSES),
        sub in logits(BATCH * SUB_LOGITS * CLASSES),
        labels in labels(),
        constant in -50.0f64..50.0,
    ) {
        let q = || targets(&labels).soft;
        let both = |loss: &dyn Fn(f64) -> Tensor<1>| (number(loss(0.0)), number(loss(constant)));
        for (before, after) in [
            both(&|c| cross_entropy(rows(&student) + c, q())),
            both(&|c| kd(rows(&student) + c, rows(&teacher), 2.0)),
            both(&|c| kd(rows(&student), rows(&teacher) + c, 2.0)),
            both(&|c| kd(standardise(rows(&student) + c), standardise(rows(&teacher)), 2.0)),
            both(&|c| sub_ce(subs(&sub) + c, q())),
            both(&|c| sub_kl(rows(&student) + c, subs(&sub) + -c, 2.0)),
        ] {
            prop_assert!(close(before, after), "{} became {}", before, after);
        }
    }

    #[test]
    fn the_order_of_a_batch_changes_nothing(
        student in logits(BATCH * CLASSES),
        teacher in logits(BATCH * CLASSES),
        sub in logits(BATCH * SUB_LOGITS * CLASSES),
        labels in labels(),
        order in Just((0..BATCH).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let before = hcd_terms(&student, &teacher, &sub, &labels);
        let moved = (permuted(&student, &order), permuted(&teacher, &order), permuted(&sub, &order));
        let after = hcd_terms(&moved.0, &moved.1, &moved.2, &permuted(&labels, &order));
        for (before, after) in before.into_iter().zip(after) {
            let values = (number(before.raw), number(after.raw));
            prop_assert!(close(values.0, values.1), "{}: {:?}", before.name, values);
        }
    }

    #[test]
    fn far_logits_give_finite_values_and_gradients(
        student in prop::collection::vec(prop::sample::select(vec![-1e4f32, -80.0, 0.0, 80.0, 1e4]), BATCH * CLASSES),
        teacher in prop::collection::vec(prop::sample::select(vec![-1e4f32, -80.0, 0.0, 80.0, 1e4]), BATCH * CLASSES),
        sub in prop::collection::vec(prop::sample::select(vec![-80.0f32, 0.0, 80.0]), BATCH * SUB_LOGITS * CLASSES),
        labels in labels(),
    ) {
        let (student, sub) = (rows(&student).require_grad(), subs(&sub).require_grad());
        let config = HcdConfig { cosine_threshold: 0.0, ..HcdConfig::default() };
        let terms = sub_logit_terms(&config, student.clone(), rows(&teacher), vec![sub.clone()], &targets(&labels));
        let sum = total(&terms).unwrap();
        let gradients = sum.backward();
        prop_assert!(number(sum).is_finite());
        for values in [read(student.grad(&gradients).unwrap()), read(sub.grad(&gradients).unwrap())] {
            prop_assert!(values.iter().all(|value| value.is_finite()), "{:?}", values);
        }
    }
}

fn normal(purpose: &str, count: usize) -> Vec<f32> {
    let mut stream = rng::stream(3, purpose, &[]);
    (0..count).map(|_| StandardNormal.sample(&mut stream)).collect()
}

#[test]
fn one_sub_logit_is_orthogonal_to_no_other() {
    let sub = subs(&normal("sub", BATCH * CLASSES));
    assert_eq!(number(orthogonality(sub, targets(&[0, 1, 2, 3]).hard, 0.0)), 0.0);
}

#[test]
fn equal_and_opposite_sub_logits_have_cosines_one_and_minus_one() {
    let row = [9.0, 1.0, -2.0, 3.0, 0.5, -1.0];
    let opposite: Vec<f32> = row.iter().map(|value| -value).collect();
    let hard = || targets(&[0; BATCH]).hard;
    let pair = |second: &[f32]| subs(&[row.as_slice(), second].concat().repeat(BATCH));
    assert!(close(number(orthogonality(pair(&row), hard(), 0.5)), 0.25));
    assert_eq!(number(orthogonality(pair(&opposite), hard(), 0.0)), 0.0);
}

#[test]
fn the_true_class_does_not_count_in_orthogonality() {
    let sub = normal("sub", BATCH * SUB_LOGITS * CLASSES);
    let hard = || targets(&[2; BATCH]).hard;
    let mut shifted = sub.clone();
    shifted.iter_mut().skip(2).step_by(CLASSES).for_each(|value| *value += 100.0);
    let before = number(orthogonality(subs(&sub), hard(), 0.0));
    assert!(before > 0.01);
    assert_eq!(before, number(orthogonality(subs(&shifted), hard(), 0.0)));
}

#[test]
fn all_zero_rows_have_finite_gradients() {
    let zeros = subs(&[0.0; BATCH * SUB_LOGITS * CLASSES]).require_grad();
    let gradients = orthogonality(zeros.clone(), targets(&[0; BATCH]).hard, 0.0).backward();
    assert!(read(zeros.grad(&gradients).unwrap()).iter().all(|value| value.is_finite()));
    let flat = rows(&[2.0; BATCH * CLASSES]).require_grad();
    let teacher = standardise(rows(&normal("teacher", BATCH * CLASSES)));
    let gradients = kd(standardise(flat.clone()), teacher, 2.0).backward();
    assert!(read(flat.grad(&gradients).unwrap()).iter().all(|value| value.is_finite()));
}

#[test]
#[should_panic(expected = "kd: student logits [4, 6] and teacher logits [4, 5] differ in shape")]
fn unlike_shapes_are_named() {
    let teacher = Tensor::<2>::zeros([BATCH, CLASSES - 1], &device());
    kd(rows(&[0.0; BATCH * CLASSES]), teacher, 1.0);
}

const CHANNELS: [usize; 4] = [4, 6, 8, 10];
const TEACHER_WIDTH: usize = 12;

struct Scene {
    method: Distiller,
    student: Features,
    teacher: TeacherOutput,
}

impl Scene {
    /// A method between random features; the teacher's are leaves of the tape, though none should be used.
    fn new(config: MethodConfig) -> Self {
        let shapes = CHANNELS.map(|channels| StageShape::Map { channels });
        let shape = HeadShape {
            student_stages: &shapes,
            student_width: CHANNELS[3],
            teacher_width: TEACHER_WIDTH,
            classes: CLASSES,
        };
        let samples: Vec<Sample> = (0..20).map(|id| Sample { id, class: id as usize % CLASSES }).collect();
        let pair = Pair { shape, teacher_stages: Some(&shapes), samples: &samples };
        let method = Distiller::new(&config, &pair, 1, &device()).unwrap();
        let stage = |index: usize| {
            let side = 8 >> index;
            let shape = [BATCH, CHANNELS[index], side, side];
            let values = normal(&format!("stage {index}"), shape.iter().product());
            StageFeature::Map(Tensor::from_data(TensorData::new(values, shape), &device()))
        };
        let wide = |purpose: &str, width: usize| {
            Tensor::<2>::from_data(TensorData::new(normal(purpose, BATCH * width), [BATCH, width]), &device())
        };
        let student = Features {
            stages: (0..4).map(stage).collect(),
            penultimate: wide("student penultimate", CHANNELS[3]),
            logits: rows(&normal("student", BATCH * CLASSES)).require_grad(),
        };
        let teacher = TeacherOutput {
            penultimate: wide("teacher penultimate", TEACHER_WIDTH),
            logits: rows(&normal("teacher", BATCH * CLASSES)).require_grad(),
            stages: (0..4).map(stage).collect(),
        };
        Self { method, student, teacher }
    }

    fn hcd(config: HcdConfig) -> Self {
        Self::new(MethodConfig::Hcd(config))
    }

    fn terms(&self) -> Vec<Term> {
        let mut stream = rng::stream(0, "train", &[]);
        let (student, teacher, targets) = (&self.student, &self.teacher, &targets(&[0, 5, 2, 1]));
        let seen = Seen { student, teacher, targets, ids: &[3, 1, 4, 15] };
        self.method.terms(seen, &mut Pass::Train(&mut stream))
    }

    fn term(&self, name: &str) -> Tensor<1> {
        self.terms().into_iter().find(|term| term.name == name).unwrap().raw
    }

    /// The learned parameters by name, and whether a gradient other than 0 reaches them.
    fn reached(&self, mut gradients: Gradients) -> Vec<(String, bool)> {
        let reached = self.method.take_gradients(&mut gradients);
        let moved = |name: &str| reached.get(name).is_some_and(|g| read(g.clone()).iter().any(|v| *v != 0.0));
        let learned = self.method.named().into_iter().filter(|tensor| tensor.role == Role::Learned);
        learned.map(|tensor| (tensor.name.clone(), moved(&tensor.name))).collect()
    }
}

#[test]
fn every_head_parameter_is_reached() {
    let scene = Scene::hcd(HcdConfig::default());
    let reached = scene.reached(total(&scene.terms()).unwrap().backward());
    // Three SepConvs of 8 tensors, two, one, then a 1x1 convolution; a mapper of 4 tensors a stage.
    assert_eq!(reached.len(), (3 + 2 + 1) * 8 + 2 + 4 * 4);
    for (name, moved) in reached {
        assert!(moved, "{name} gets no gradient");
    }
}

#[test]
fn detached_sub_logits_leave_the_heads_to_the_other_terms() {
    let detached = Scene::hcd(HcdConfig { detach_sub_logits: true, ..HcdConfig::default() });
    let gradients = detached.term("sub_kl").backward();
    assert!(read(detached.student.logits.grad(&gradients).unwrap()).iter().any(|value| *value != 0.0));
    assert!(detached.reached(gradients).iter().all(|(_, moved)| !moved));
    assert!(detached.reached(detached.term("sub_ce").backward()).iter().all(|(_, moved)| *moved));
    let attached = Scene::hcd(HcdConfig::default());
    assert!(attached.reached(attached.term("sub_kl").backward()).iter().all(|(_, moved)| *moved));
}

#[test]
fn the_teacher_gets_no_gradient() {
    for config in METHODS.iter().filter_map(|method| MethodConfig::of_name(method.name)) {
        let scene = Scene::new(config.clone());
        let gradients = total(&scene.terms()).unwrap().backward();
        assert!(scene.teacher.logits.grad(&gradients).is_none(), "{config:?}");
        assert!(scene.student.logits.grad(&gradients).is_some(), "{config:?}");
    }
}

#[test]
fn a_teacher_on_the_plain_device_serves_as_well() {
    let mut scene = Scene::hcd(HcdConfig::default());
    let on_tape = number(total(&scene.terms()).unwrap());
    scene.teacher.logits = scene.teacher.logits.without_autodiff();
    scene.teacher.penultimate = scene.teacher.penultimate.without_autodiff();
    assert_eq!(number(total(&scene.terms()).unwrap()), on_tape);
}

/// Whatever a method learns itself, its own loss moves.
#[test]
fn every_head_is_moved() {
    for config in METHODS.iter().filter_map(|method| MethodConfig::of_name(method.name)) {
        let scene = Scene::new(config);
        for (name, moved) in scene.reached(total(&scene.terms()).unwrap().backward()) {
            // The bias of a convolution whose input is all positive, or behind a norm, may stand still; a weight may not.
            assert!(moved || name.ends_with("bias"), "{name}");
        }
    }
}

/// Logits as far apart as those of a sure network: no loss takes the logarithm of a softmax.
#[test]
fn sure_networks_have_finite_losses_and_gradients() {
    for config in METHODS.iter().filter_map(|method| MethodConfig::of_name(method.name)) {
        let mut scene = Scene::new(config.clone());
        let spread: Vec<f32> =
            (0..BATCH * CLASSES).map(|at| if at % 2 == 0 { 80.0 } else { -80.0 }).collect();
        scene.student.logits = rows(&spread).require_grad();
        scene.teacher.logits = rows(&spread.iter().map(|value| -value).collect::<Vec<_>>());
        let sum = total(&scene.terms()).unwrap();
        let gradients = sum.backward();
        assert!(number(sum).is_finite(), "{config:?}");
        let gradient = read(scene.student.logits.grad(&gradients).unwrap());
        assert!(gradient.iter().all(|value| value.is_finite()), "{config:?}: {gradient:?}");
    }
}
