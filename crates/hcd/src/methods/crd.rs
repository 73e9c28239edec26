//! Contrastive representation distillation: total = ω CE(z_s, q) + β [NCE(e_s) + NCE(e_t)].
//!
//! e are linear maps of the penultimate features, of length 1. Each is told apart from the other network's embeddings of
//! samples of other classes than its own (of a mixed sample, the one whose id it keeps), kept in two memory banks that follow
//! with momentum. Banks and the two constants that similarities are divided by belong to a checkpoint, and which negatives are
//! drawn follows from seed, epoch and batch: a run that goes on ends as one that was never stopped.
//!
//! Source: Tian et al., ICLR 2020, arXiv 1910.10699.

use super::{Method, Pair, Sample, Seen, Term, ce_term};
use crate::error::{Error, Result};
use crate::hcd::ranges::{not_negative, positive};
use crate::losses::contrast;
use crate::models::layers::Linear;
use crate::models::{Init, Pass, remember};
use crate::rng::Stream;
use burn::module::{Module, RunningState};
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};
use rand::RngExt;
use rand::seq::index;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most samples that one is told apart from: as many numbers a sample of the batch.
const MOST_NEGATIVES: usize = 1 << 20;
/// Least norm that an embedding is divided by.
const LEAST_NORM_SQUARE: f64 = 1e-24;

/// Contrastive representation distillation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CrdConfig {
    /// ω, weight of ce.
    pub ce_weight: f64,
    /// β, weight of crd.
    pub crd_weight: f64,
    /// Samples of other classes that each one is told apart from; drawn more than once where there are fewer.
    pub negatives: usize,
    /// τ, what cosines are divided by.
    pub temperature: f64,
    /// The share of what a bank holds that stays when a sample is seen again.
    pub momentum: f64,
    /// Width of the embeddings.
    pub embedding: usize,
}

impl Default for CrdConfig {
    fn default() -> Self {
        Self {
            ce_weight: 1.0,
            crd_weight: 1.0,
            negatives: 16384,
            temperature: 0.07,
            momentum: 0.5,
            embedding: 128,
        }
    }
}

impl CrdConfig {
    /// Everything that cannot be meant: one line each, `field = value, must be …`.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        not_negative(&mut problems, "ce_weight", self.ce_weight);
        not_negative(&mut problems, "crd_weight", self.crd_weight);
        positive(&mut problems, "temperature", self.temperature);
        if !(1..=MOST_NEGATIVES).contains(&self.negatives) {
            problems.push(format!("negatives = {}, must be from 1 to {MOST_NEGATIVES}", self.negatives));
        }
        if !(0.0..1.0).contains(&self.momentum) {
            problems.push(format!("momentum = {}, must be in [0, 1)", self.momentum));
        }
        super::check_embedding(&mut problems, self.embedding);
        problems
    }
}

/// [`CrdConfig`] as a [`Method`], with its maps and banks.
#[derive(Module, Debug)]
pub struct Crd {
    student: Linear,
    teacher: Linear,
    /// (n, E) each: what was last seen of every sample.
    running_student: RunningState<Tensor<2>>,
    running_teacher: RunningState<Tensor<2>>,
    /// (2): what similarities of e_s and of e_t are divided by; 0 before the first batch, which sets them.
    running_constants: RunningState<Tensor<1>>,
    #[module(skip)]
    samples: Samples,
    #[module(skip)]
    config: CrdConfig,
}

/// Where each sample is in the banks, and which are of other classes.
#[derive(Debug, Clone)]
struct Samples {
    rows: BTreeMap<u64, usize>,
    /// Of each row.
    classes: Vec<usize>,
    /// Rows by class.
    sorted: Vec<usize>,
    /// Where each class begins in `sorted`, and where the last one ends.
    starts: Vec<usize>,
}

impl Samples {
    fn new(samples: &[Sample], classes: usize) -> Self {
        let rows = samples.iter().enumerate().map(|(row, sample)| (sample.id, row)).collect();
        let class_of: Vec<usize> = samples.iter().map(|sample| sample.class).collect();
        let mut sorted: Vec<usize> = (0..samples.len()).collect();
        sorted.sort_by_key(|&row| (class_of[row], row));
        let starts =
            (0..=classes).map(|class| sorted.partition_point(|&row| class_of[row] < class)).collect();
        Self { rows, classes: class_of, sorted, starts }
    }

    /// Draws `count` rows of other classes than that of `row`, none twice where there are as many.
    fn others(&self, row: usize, count: usize, stream: &mut Stream) -> Vec<usize> {
        let class = self.classes[row];
        let (start, end) = (self.starts[class], self.starts[class + 1]);
        let there = self.sorted.len() - (end - start);
        let skip = |index: usize| self.sorted[if index < start { index } else { index + end - start }];
        match count <= there {
            true => index::sample(stream, there, count).into_iter().map(skip).collect(),
            false => (0..count).map(|_| skip(stream.random_range(0..there))).collect(),
        }
    }
}

impl Crd {
    /// Banks for the samples that are learned from, filled with random directions.
    ///
    /// # Errors
    /// [`Error::Recipe`] where all samples are of one class.
    pub fn new(config: &CrdConfig, pair: &Pair, init: &mut Init) -> Result<Self> {
        let (shape, width, count) = (pair.shape, config.embedding, pair.samples.len());
        let samples = Samples::new(pair.samples, shape.classes);
        if samples.starts.windows(2).any(|class| class[1] - class[0] == count) {
            return Err(Error::Recipe(
                "crd tells samples apart from those of other classes, and all training images are of one"
                    .to_owned(),
            ));
        }
        // As the authors': uniform on ±1/√(E/3), of length 1 about.
        let bound = (3.0 / width as f32).sqrt();
        let student = Linear::torch_default(shape.student_width, width, init);
        let teacher = Linear::torch_default(shape.teacher_width, width, init);
        let mut bank = || RunningState::new(init.uniform([count, width], bound).val().detach());
        Ok(Self {
            student,
            teacher,
            running_student: bank(),
            running_teacher: bank(),
            running_constants: RunningState::new(init.full(0.0, [2])),
            samples,
            config: config.clone(),
        })
    }

    /// For each sample of the batch its own row, and those of its negatives: (B, 1 + m) flat.
    fn contrasted(&self, rows: &[usize], stream: &mut Stream) -> Vec<i64> {
        let mut all = Vec::with_capacity(rows.len() * (1 + self.config.negatives));
        for &row in rows {
            all.push(row as i64);
            let others = self.samples.others(row, self.config.negatives, stream);
            all.extend(others.into_iter().map(|row| row as i64));
        }
        all
    }

    /// exp(cosine / τ) of embeddings with chosen rows of a bank.
    ///
    /// # Shapes
    /// `embedded` (B, E), `bank` (n, E), `chosen` (B, 1 + m) → (B, 1 + m)
    fn similarities(&self, embedded: Tensor<2>, bank: Tensor<2>, chosen: Tensor<2, Int>) -> Tensor<2> {
        // All products at once are cheaper than gathering (B, 1 + m, E) first.
        let cosines = embedded.matmul(bank.transpose()).gather(1, chosen);
        (cosines / self.config.temperature).exp()
    }

    /// What similarities are divided by: n times their mean in the first batch.
    fn constants(&self, student: &Tensor<2>, teacher: &Tensor<2>) -> [f64; 2] {
        let known: Vec<f64> = self.running_constants.value_sync().into_data().iter::<f64>().collect();
        if known.iter().all(|&constant| constant > 0.0) {
            return [known[0], known[1]];
        }
        let count = self.samples.sorted.len() as f64;
        let found =
            [student, teacher].map(|similar| f64::from(similar.clone().mean().into_scalar::<f32>()) * count);
        let device = self.running_constants.value_sync().device();
        let values = found.map(|constant| constant as f32).to_vec();
        remember(&self.running_constants, Tensor::from_data(TensorData::new(values, [2]), &device));
        // As they will be read.
        found.map(|constant| f64::from(constant as f32))
    }

    /// Has a bank follow what was seen of samples, each once.
    fn follow(&self, bank: &RunningState<Tensor<2>>, rows: &[usize], embedded: Tensor<2>) {
        let last: BTreeMap<usize, usize> =
            rows.iter().enumerate().map(|(index, &row)| (row, index)).collect();
        let held = bank.value_sync();
        let indices = |of: Vec<i64>| {
            let count = of.len();
            Tensor::<1, Int>::from_data(TensorData::new(of, [count]), &held.device())
        };
        let seen = indices(last.values().map(|&index| index as i64).collect());
        let places = indices(last.keys().map(|&row| row as i64).collect());
        let before = held.clone().select(0, places.clone()); // (B', E)
        let momentum = self.config.momentum;
        let mixed = before.clone() * momentum + embedded.detach().select(0, seen) * (1.0 - momentum);
        let change = unit(mixed) - before;
        remember(bank, held.clone().select_assign(0, places, change, IndexingUpdateOp::Add));
    }
}

/// Rows of length 1.
fn unit(rows: Tensor<2>) -> Tensor<2> {
    let squares = rows.clone().square().sum_dim(1); // (B, 1)
    rows / squares.clamp_min(LEAST_NORM_SQUARE).sqrt()
}

impl Method for Crd {
    fn terms(&self, seen: Seen, pass: &mut Pass) -> Vec<Term> {
        let rows: Vec<usize> = seen.ids.iter().map(|id| self.samples.rows[id]).collect();
        let (Pass::Train(stream) | Pass::TrainFrozenNorm(stream)) = pass else {
            panic!("crd: negatives are drawn in training alone")
        };
        let chosen = self.contrasted(&rows, stream);
        let shape = [rows.len(), 1 + self.config.negatives];
        let device = seen.student.penultimate.device();
        let chosen = Tensor::<2, Int>::from_data(TensorData::new(chosen, shape), &device); // (B, 1 + m)
        let student = unit(self.student.forward(seen.student.penultimate.clone())); // (B, E)
        let teacher = unit(self.teacher.forward(seen.teacher.penultimate.clone()));
        let (held_student, held_teacher) =
            (self.running_student.value_sync(), self.running_teacher.value_sync());
        let of_student = self.similarities(student.clone(), held_teacher, chosen.clone());
        let of_teacher = self.similarities(teacher.clone(), held_student, chosen);
        let [for_student, for_teacher] = self.constants(&of_student, &of_teacher);
        let samples = self.samples.sorted.len();
        let raw = contrast(of_student / for_student, samples) + contrast(of_teacher / for_teacher, samples);
        self.follow(&self.running_student, &rows, student);
        self.follow(&self.running_teacher, &rows, teacher);
        vec![ce_term(&seen, self.config.ce_weight), Term { name: "crd", raw, weight: self.config.crd_weight }]
    }
}
