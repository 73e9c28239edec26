//! Gradients against central differences, (f(x + h) − f(x − h)) / 2h, in f64: every loss, and HCD whole, from
//! stage features through projectors and mappers to the total, with respect to all that learns.
#![allow(clippy::unwrap_used, missing_docs)]

use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};
use hcd::hcd::{HcdConfig, HeadShape, MapperKind, OrthogonalityOn, Projector, Stages};
use hcd::losses::{
    contrast, correlation_congruence, cross_entropy, inter_class, intra_class, kd, kl, nckd, ofa,
    orthogonality, redundancy_suppression, relative_angles, relative_distances, standardise, sub_ce, sub_kl,
    tckd,
};
use hcd::methods::{Distiller, MethodConfig, Pair, Seen, Targets, total};
use hcd::models::{Features, Init, Parameters, Pass, Role, StageFeature, StageShape};
use hcd::rng;
use hcd::teacher::TeacherOutput;
use rand_distr::{Distribution, StandardNormal};

/// h. The error of a central difference is about h²/6 · f''' + 2e-16 · f/h: 1e-11 and 1e-11 for values near 1.
const STEP: f64 = 1e-5;
/// A hundred times that error: third derivatives of products of cosines and softmaxes reach the hundreds.
const ABSOLUTE: f64 = 1e-9;
/// The same for gradients above 1e-3.
const RELATIVE: f64 = 1e-6;

const BATCH: usize = 3;
const CLASSES: usize = 5;
const SUB_LOGITS: usize = 4;

/// f64 values of one input, flat.
type Flat = Vec<f64>;

fn normal(purpose: &str, count: usize) -> Flat {
    let mut stream = rng::stream(11, purpose, &[]);
    (0..count).map(|_| StandardNormal.sample(&mut stream)).collect()
}

fn tensor<const D: usize>(values: &[f64], shape: [usize; D]) -> Tensor<D> {
    let device = Device::flex().autodiff();
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (&device, DType::F64))
}

fn read<const D: usize>(tensor: Tensor<D>) -> Flat {
    assert_eq!(tensor.dtype(), DType::F64, "a value lost its precision on the way");
    tensor.into_data().iter::<f64>().collect()
}

fn targets() -> Targets {
    let Targets { soft, hard } = Targets::from_labels(&[2, 0, 4], CLASSES, 0.1, &Device::flex()).unwrap();
    Targets { soft: soft.cast(DType::F64), hard: hard.cast(DType::F64) }
}

fn assert_close(what: &str, index: usize, gradient: f64, difference: f64) {
    let bound = ABSOLUTE + RELATIVE * difference.abs();
    assert!(
        (gradient - difference).abs() <= bound,
        "{what}[{index}]: gradient {gradient}, central difference {difference}"
    );
}

/// Holds d loss / d x against differences, for every entry of `x`.
fn check<const D: usize>(what: &str, x: &[f64], shape: [usize; D], loss: impl Fn(Tensor<D>) -> Tensor<1>) {
    let leaf = tensor(x, shape).require_grad();
    let gradients = loss(leaf.clone()).backward();
    let gradient = read(leaf.grad(&gradients).unwrap());
    assert!(gradient.iter().any(|value| value.abs() > 1e-4), "{what}: no gradient to speak of");
    for index in 0..x.len() {
        let at = |step: f64| {
            let mut moved = x.to_vec();
            moved[index] += step;
            read(loss(tensor(&moved, shape)))[0]
        };
        assert_close(what, index, gradient[index], (at(STEP) - at(-STEP)) / (2.0 * STEP));
    }
}

const ROWS: [usize; 2] = [BATCH, CLASSES];
const SUBS: [usize; 3] = [BATCH, SUB_LOGITS, CLASSES];

fn rows(purpose: &str) -> Flat {
    normal(purpose, BATCH * CLASSES)
}

fn subs(purpose: &str) -> Flat {
    normal(purpose, BATCH * SUB_LOGITS * CLASSES)
}

#[test]
fn losses_of_logits() {
    let student = rows("student");
    let other = || tensor(&rows("teacher"), ROWS);
    check("cross_entropy", &student, ROWS, |x| cross_entropy(x, targets().soft));
    check("kd", &student, ROWS, |x| kd(x, other(), 3.0));
    check("kl, first", &student, ROWS, |x| kl(x, other(), 2.0));
    check("kl, second", &student, ROWS, |x| kl(other(), x, 2.0));
    check("standardised kd", &student, ROWS, |x| kd(standardise(x), standardise(other()), 2.0));
}

#[test]
fn losses_of_the_rivals() {
    let student = rows("student");
    let (other, hard) = (|| tensor(&rows("teacher"), ROWS), || targets().hard);
    check("tckd", &student, ROWS, |x| tckd(x, other(), hard(), 2.0));
    check("nckd", &student, ROWS, |x| nckd(x, other(), hard(), 2.0));
    check("inter_class", &student, ROWS, |x| inter_class(x, other(), 2.0));
    check("intra_class", &student, ROWS, |x| intra_class(x, other(), 2.0));
    check("ofa", &student, ROWS, |x| ofa(x, other(), hard(), 1.5, 2.0));
    check("correlation_congruence", &student, ROWS, |x| correlation_congruence(x, other()));
    check("relative_distances", &student, ROWS, |x| relative_distances(x, other()));
    check("relative_angles", &student, ROWS, |x| relative_angles(x, other()));
    check("redundancy_suppression", &student, ROWS, |x| redundancy_suppression(x, other(), 0.1));
    check("contrast", &student, ROWS, |x| contrast(x.exp(), 7));
}

/// Of a stage whose tokens are merged, with and without a class token, and of one whose are only widened.
#[test]
fn projected_tokens() {
    for (width, prefix, side) in [(3, 0, 15), (3, 1, 15), (4, 2, 2)] {
        let stages = [StageShape::Tokens { width, prefix, grid: [side; 2] }; 2];
        let shape =
            HeadShape { student_stages: &stages, student_width: 8, teacher_width: 5, classes: CLASSES };
        let device = Device::flex().autodiff();
        let projector =
            Projector::new(1, shape, &mut Init::new(rng::stream(2, "heads", &[]), &device)).unwrap();
        // Weights of deviation 0.02 would leave nothing of attention.
        let projector = projector.map_named(&mut |tensor| tensor.value.cast(DType::F64) * 10.0);
        let count = prefix + side * side;
        let values = normal("tokens", count * width);
        let weights = normal("weights", 8);
        let loss = |tokens: Tensor<3>| {
            let feature = StageFeature::Tokens { tokens, prefix, grid: [side; 2] };
            let projected = projector.forward(feature, &mut Pass::Eval);
            (projected * tensor(&weights, [1, 8])).sum()
        };
        check(&format!("{prefix} + {side}x{side} tokens"), &values, [1, count, width], loss);
        let mut gradients = loss(tensor(&values, [1, count, width])).backward();
        let reached = projector.take_gradients(&mut gradients);
        for tensor in projector.named() {
            let gradient =
                reached.get(&tensor.name).unwrap_or_else(|| panic!("{} is not reached", tensor.name));
            assert!(read(gradient.clone()).iter().any(|value| *value != 0.0), "{} is not moved", tensor.name);
        }
    }
}

#[test]
fn losses_of_sub_logits() {
    let (student, sub) = (rows("student"), subs("sub"));
    check("sub_ce", &sub, SUBS, |x| sub_ce(x, targets().soft));
    check("sub_kl, sub-logits", &sub, SUBS, |x| sub_kl(tensor(&student, ROWS), x, 2.0));
    check("sub_kl, student", &student, ROWS, |x| sub_kl(x, tensor(&sub, SUBS), 2.0));
    check("orthogonality", &sub, SUBS, |x| orthogonality(x, targets().hard, 0.1));
}

const CHANNELS: [usize; 3] = [3, 4, 6];
const SIDES: [usize; 3] = [6, 3, 2];
const TEACHER_WIDTH: usize = 7;

/// A batch for the whole method, as plain numbers.
struct Batch {
    stages: [Flat; 3],
    student_logits: Flat,
}

impl Batch {
    fn new() -> Self {
        let stage = |index: usize| {
            normal(&format!("stage {index}"), BATCH * CHANNELS[index] * SIDES[index] * SIDES[index])
        };
        Self { stages: [stage(0), stage(1), stage(2)], student_logits: rows("student") }
    }

    fn stage_shape(index: usize) -> [usize; 4] {
        [BATCH, CHANNELS[index], SIDES[index], SIDES[index]]
    }
}

struct Leaves {
    stages: Vec<Tensor<4>>,
    student_logits: Tensor<2>,
}

/// A method in f64 whose mappers are not near zero: with σ = 0.02 differences would drown.
fn distiller(config: HcdConfig) -> Distiller {
    let shapes = CHANNELS.map(|channels| StageShape::Map { channels });
    let device = Device::flex().autodiff();
    let config = MethodConfig::Hcd(config);
    let shape = HeadShape {
        student_stages: &shapes,
        student_width: CHANNELS[2],
        teacher_width: TEACHER_WIDTH,
        classes: CLASSES,
    };
    let pair = Pair { shape, teacher_stages: None, samples: &[] };
    let built = Distiller::new(&config, &pair, 5, &device).unwrap();
    built.map_named(&mut |tensor| {
        let scale = if tensor.name.contains("feature_mapper") { 20.0 } else { 1.0 };
        tensor.value.cast(DType::F64) * scale
    })
}

fn loss(method: &Distiller, batch: &Batch) -> (Tensor<1>, Leaves) {
    let stages: Vec<Tensor<4>> =
        (0..3).map(|index| tensor(&batch.stages[index], Batch::stage_shape(index)).require_grad()).collect();
    let student_logits = tensor(&batch.student_logits, ROWS).require_grad();
    let penultimate = tensor(&normal("student penultimate", BATCH * CHANNELS[2]), [BATCH, CHANNELS[2]]);
    let student = Features {
        stages: stages.iter().cloned().map(StageFeature::Map).collect(),
        penultimate,
        logits: student_logits.clone(),
    };
    let teacher = TeacherOutput {
        penultimate: tensor(&normal("teacher penultimate", BATCH * TEACHER_WIDTH), [BATCH, TEACHER_WIDTH])
            .without_autodiff(),
        logits: tensor(&rows("teacher"), ROWS).without_autodiff(),
        stages: Vec::new(),
    };
    let mut stream = rng::stream(0, "train", &[]);
    let seen = Seen { student: &student, teacher: &teacher, targets: &targets(), ids: &[] };
    let terms = method.terms(seen, &mut Pass::Train(&mut stream));
    (total(&terms).unwrap(), Leaves { stages, student_logits })
}

fn value(method: &Distiller, batch: &Batch) -> f64 {
    read(loss(method, batch).0)[0]
}

fn central(mut at: impl FnMut(f64) -> f64) -> f64 {
    (at(STEP) - at(-STEP)) / (2.0 * STEP)
}

/// Every parameter tensor: its first, middle and last entry and those between by thirds.
fn check_parameters(method: &Distiller, batch: &Batch, gradients: &mut Gradients) {
    let reached = method.take_gradients(gradients);
    for tensor in method.named().iter().filter(|tensor| tensor.role == Role::Learned) {
        let gradient =
            reached.get(&tensor.name).unwrap_or_else(|| panic!("{} gets no gradient", tensor.name));
        let gradient = read(gradient.clone());
        let count = gradient.len();
        for index in [0, count / 3, count / 2, 2 * count / 3, count - 1] {
            let difference = central(|step| {
                let moved = method.clone().map_named(&mut |other| {
                    if other.name != tensor.name {
                        return other.value;
                    }
                    let mut values = read(other.value);
                    values[index] += step;
                    Tensor::from_data(TensorData::new(values, [count]), (&Device::flex(), DType::F64))
                });
                value(&moved, batch)
            });
            assert_close(&tensor.name, index, gradient[index], difference);
        }
    }
}

fn check_features(method: &Distiller, gradients: &Gradients, leaves: &Leaves) {
    let student = read(leaves.student_logits.grad(gradients).unwrap());
    for (index, gradient) in student.into_iter().enumerate() {
        let difference = central(|step| {
            let mut moved = Batch::new();
            moved.student_logits[index] += step;
            value(method, &moved)
        });
        assert_close("student logits", index, gradient, difference);
    }
    for (stage, leaf) in leaves.stages.iter().enumerate() {
        for (index, gradient) in read(leaf.grad(gradients).unwrap()).into_iter().enumerate().step_by(7) {
            let difference = central(|step| {
                let mut moved = Batch::new();
                moved.stages[stage][index] += step;
                value(method, &moved)
            });
            assert_close(&format!("stage {}", stage + 1), index, gradient, difference);
        }
    }
}

fn check_whole(config: HcdConfig) {
    let method = distiller(HcdConfig { stages: Stages::These(vec![1, 2, 3]), ..config });
    let batch = Batch::new();
    let (sum, leaves) = loss(&method, &batch);
    let mut gradients = sum.backward();
    check_features(&method, &gradients, &leaves);
    check_parameters(&method, &batch, &mut gradients);
}

#[test]
fn hcd_whole_with_batch_statistics() {
    check_whole(HcdConfig { temperature: 2.0, cosine_threshold: 0.25, ..HcdConfig::default() });
}

#[test]
fn hcd_whole_with_a_linear_mapper_and_orthogonal_sub_logits() {
    check_whole(HcdConfig {
        sub_logits: 3,
        mapper: MapperKind::Linear,
        orthogonality_on: OrthogonalityOn::Sub,
        cosine_threshold: 0.0,
        orthogonality_weight: 5.0,
        ..HcdConfig::default()
    });
}
