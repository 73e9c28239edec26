//! One batch: forward, loss, backward; and one optimiser step over the batches accumulated.

use super::ask::ask;
use super::history::{History, TermRecord};
use super::{Ema, Experiment, FinetuneConfig, GradientMap, Objective, Optimizer, clip_global_norm};
use crate::data::{HostBatch, ViewPolicy};
use crate::error::{Error, Result};
use crate::eval::count_correct;
use crate::hcd::HeadShape;
use crate::methods::{Distiller, Pair, Sample, Seen, Targets, Term, supervised_terms, total};
use crate::models::weights::{self, TensorMap};
use crate::models::{Backbone, ModelSpec, Network, Parameters, Pass};
use crate::ops::{Precision, with_precision};
use crate::rng::{self, Stream};
use crate::teacher::TeacherOutput;
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;

/// What a batch gave.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Images looked at.
    pub images: usize,
    /// Of these, classified rightly.
    pub correct: usize,
    /// The loss.
    pub loss: f64,
    /// The loss by term.
    pub terms: Vec<TermRecord>,
}

/// Everything that changes while learning: a network of the zoo, or one of a program's own.
pub struct Learner<N = Network> {
    pub(super) network: N,
    pub(super) distiller: Option<Distiller>,
    /// What the teacher said about the last batch, on a plain device.
    pub(super) answer: Option<TeacherOutput>,
    optimizer: Optimizer,
    ema: Option<Ema>,
    gradients: GradientMap,
    pub(super) seed: u64,
    classes: usize,
    smoothing: f64,
    pub(super) precision: Precision,
    views: ViewPolicy,
    finetune: FinetuneConfig,
    /// What the student's learning rates are multiplied by, where not by 1.
    rates: BTreeMap<String, f64>,
    device: Device,
}

impl Learner {
    /// The network and the method's heads with their initial weights.
    ///
    /// # Errors
    /// Where the method does not suit the student, or the recipe names none of the zoo's.
    pub fn new(experiment: &Experiment, objective: &Objective) -> Result<Self> {
        let Some(model) = &experiment.model else {
            let own = ModelSpec::OWN;
            return Err(Error::Recipe(format!(
                "student `{own}` is brought by a program, with train::fit_own"
            )));
        };
        let drawn = Network::new(model, experiment.recipe.seed, &experiment.device.clone().autodiff());
        let begun = match &experiment.initial {
            Some(initial) => weights::restore(drawn, &initial.tensors, "student.weights")?,
            None => drawn,
        };
        Self::of(begun, experiment, objective)
    }
}

impl<N: Backbone> Learner<N> {
    /// A network, which is on the experiment's device with autodiff, and the method's heads with their initial weights.
    ///
    /// # Errors
    /// Where the method does not suit the student.
    pub fn of(network: N, experiment: &Experiment, objective: &Objective) -> Result<Self> {
        let recipe = &experiment.recipe;
        let device = experiment.device.clone().autodiff();
        let network = recipe.finetune.freeze(network)?;
        let classes = experiment.classes().len();
        let distiller = match objective {
            Objective::Supervised => None,
            Objective::Distilled { teacher, method } => {
                let (stages, train) = (network.stages(), &experiment.train);
                let shape = HeadShape {
                    student_stages: &stages,
                    student_width: network.penultimate_width(),
                    teacher_width: teacher.width(),
                    classes,
                };
                let sample = |index| Sample { id: train.id(index), class: train.label(index) };
                let samples: Vec<Sample> = (0..train.len()).map(sample).collect();
                let teacher_stages = teacher.stages();
                let pair = Pair { shape, teacher_stages: teacher_stages.as_deref(), samples: &samples };
                Some(Distiller::new(*method, &pair, recipe.seed, &device)?)
            }
        };
        Ok(Self {
            optimizer: Optimizer::new(recipe.optimizer.clone()),
            ema: recipe.train.ema_decay.map(|decay| Ema::new(decay, &network)),
            gradients: GradientMap::new(),
            seed: recipe.seed,
            classes,
            smoothing: recipe.train.label_smoothing,
            precision: recipe.train.precision,
            views: recipe.data.views.clone(),
            finetune: recipe.finetune,
            rates: recipe.finetune.rates(&network),
            network,
            distiller,
            answer: None,
            device,
        })
    }

    /// Forward and backward over one batch, student and teacher at the recipe's precision; the gradients, divided by
    /// `share`, are added to those that wait.
    ///
    /// `at` = (epoch, batch in the epoch) names the stream of chance of the forward pass.
    ///
    /// # Errors
    /// Where the teacher cannot answer, or the loss is no number.
    pub fn learn(
        &mut self,
        batch: &HostBatch,
        objective: &mut Objective,
        at: (u64, usize),
        share: usize,
    ) -> Result<StepReport> {
        with_precision(self.precision, || self.learn_at_precision(batch, objective, at, share))
    }

    fn learn_at_precision(
        &mut self,
        batch: &HostBatch,
        objective: &mut Objective,
        at: (u64, usize),
        share: usize,
    ) -> Result<StepReport> {
        let (epoch, index) = at;
        let mut stream = rng::stream(self.seed, "forward", &[epoch, index as u64]);
        self.answer = self.asked(batch, objective, at)?;
        let (logits, terms) = self.forward(batch, &mut stream)?;
        let records: Vec<TermRecord> = terms
            .iter()
            .map(|term| {
                let raw = f64::from(term.raw.clone().into_scalar::<f32>());
                TermRecord { name: term.name.to_owned(), raw, weighted: raw * term.weight }
            })
            .collect();
        let loss = records.iter().map(|term| term.weighted).sum::<f64>();
        if !loss.is_finite() {
            return Err(Error::Diverged(format!(
                "the loss is {loss} in epoch {}, batch {}: lower optimizer.lr, or set train.clip_norm",
                epoch + 1,
                index + 1
            )));
        }
        let correct = count_correct(logits, &batch.labels);
        if let Some(total) = total(&terms) {
            self.take_gradients(total, share);
        }
        Ok(StepReport { images: batch.labels.len(), correct, loss, terms: records })
    }

    /// What the teacher says about batch `at`, where there is one.
    ///
    /// # Errors
    /// Where it cannot answer.
    fn asked(
        &self,
        batch: &HostBatch,
        objective: &mut Objective,
        at: (u64, usize),
    ) -> Result<Option<TeacherOutput>> {
        match (objective, &self.distiller) {
            (Objective::Distilled { teacher, .. }, Some(distiller)) => {
                ask(*teacher, batch, &self.views, self.seed, at, distiller.needs_stages()).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Forward over a batch that the teacher has answered about, all chance drawn from `stream`: the student's logits (B, K)
    /// and the loss by term.
    ///
    /// # Errors
    /// Where the labels are not for these classes.
    pub(super) fn forward(&self, batch: &HostBatch, stream: &mut Stream) -> Result<(Tensor<2>, Vec<Term>)> {
        let targets = self.targets(batch, &self.device)?;
        let images = images_of(batch, &self.device);
        let features = match self.finetune.freeze_norm {
            true => self.network.forward(images, &mut Pass::TrainFrozenNorm(stream)),
            false => self.network.forward(images, &mut Pass::Train(stream)),
        };
        let terms = match (&self.answer, &self.distiller) {
            (Some(answer), Some(distiller)) => {
                let (teacher, ids) = (&answer.clone().on_autodiff(), &batch.ids);
                let seen = Seen { student: &features, teacher, targets: &targets, ids };
                distiller.terms(seen, &mut Pass::Train(stream))
            }
            _ => supervised_terms(features.logits.clone(), &targets),
        };
        Ok((features.logits, terms))
    }

    /// What the labels of a batch say, on `device`.
    pub(super) fn targets(&self, batch: &HostBatch, device: &Device) -> Result<Targets> {
        match batch.soft_labels(self.classes) {
            None => Targets::from_labels(&batch.labels, self.classes, self.smoothing, device),
            Some(rows) => {
                let rows = TensorData::new(rows, [batch.labels.len(), self.classes]);
                Ok(Targets::from_soft(Tensor::from_data(rows, device), self.smoothing)) // (B, K)
            }
        }
    }

    fn take_gradients(&mut self, total: Tensor<1>, share: usize) {
        let mut found = total.backward();
        let mut add = |prefix: &str, gradients: GradientMap| {
            for (name, gradient) in gradients {
                let gradient = if share == 1 { gradient } else { gradient / share as f64 };
                let name = format!("{prefix}{name}");
                let sum = match self.gradients.remove(&name) {
                    None => gradient,
                    Some(sum) => sum + gradient,
                };
                self.gradients.insert(name, sum);
            }
        };
        add("student.", self.network.take_gradients(&mut found));
        if let Some(distiller) = &self.distiller {
            add("heads.", distiller.take_gradients(&mut found));
        }
    }

    /// One optimiser step over the gradients that wait. Gives their norm where `clip` is set.
    pub fn update(mut self, lr: f64, clip: Option<f64>) -> (Self, Option<f64>) {
        let mut gradients = std::mem::take(&mut self.gradients);
        let norm = clip.map(|limit| clip_global_norm(&mut gradients, limit));
        self.optimizer.begin_step();
        self.network = self.optimizer.apply("student.", self.network, &gradients, lr, &self.rates);
        let alike = BTreeMap::new();
        self.distiller =
            self.distiller.map(|heads| self.optimizer.apply("heads.", heads, &gradients, lr, &alike));
        if let Some(ema) = &mut self.ema {
            ema.follow(&self.network);
        }
        (self, norm)
    }

    /// The network as it is evaluated and exported: on a plain device, averaged where averaging is on.
    pub fn exported(&self) -> N {
        let network = self.network.valid();
        match &self.ema {
            Some(ema) => ema.applied(network),
            None => network,
        }
    }

    /// How many numbers the heads learn.
    pub fn head_count(&self) -> usize {
        self.distiller.as_ref().map_or(0, Parameters::learned_count)
    }

    /// All tensors, for a checkpoint.
    pub fn snapshot(&self) -> TensorMap {
        let mut map = TensorMap::new();
        let mut put = |prefix: &str, tensors: TensorMap| {
            map.extend(tensors.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
        };
        put("student.", weights::snapshot(&self.network));
        if let Some(distiller) = &self.distiller {
            put("heads.", weights::snapshot(distiller));
        }
        put("optimizer.", self.optimizer.snapshot());
        if let Some(ema) = &self.ema {
            put("ema.", weights::snapshot(&ema.applied(self.network.valid())));
        }
        map
    }

    /// Goes on from a checkpoint's tensors, taken after `steps` optimiser steps.
    ///
    /// # Errors
    /// Where the tensors do not fit.
    pub fn restore(mut self, map: &TensorMap, steps: u64, experiment: &Experiment) -> Result<Self> {
        let part = |prefix: &str| -> TensorMap {
            map.iter()
                .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor.clone())))
                .collect()
        };
        self.network = weights::restore(self.network, &part("student."), "checkpoint, student")?;
        if let Some(distiller) = self.distiller {
            self.distiller = Some(weights::restore(distiller, &part("heads."), "checkpoint, heads")?);
        }
        let config = experiment.recipe.optimizer.clone();
        self.optimizer = Optimizer::restore(config, steps, &part("optimizer."), &experiment.device);
        if let Some(decay) = experiment.recipe.train.ema_decay {
            self.ema = Some(Ema::restore(decay, &part("ema."), &experiment.device));
        }
        Ok(self)
    }
}

/// The images of a batch on `device`: (B, C, H, W).
pub(super) fn images_of(batch: &HostBatch, device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(batch.pixels.clone(), batch.shape), device)
}

/// Gradient accumulation: how many batches share an optimiser step, the last of an epoch sharing what is left.
pub(super) fn share(history: &History, accumulate: usize, batches: usize) -> usize {
    let first = history.batches - history.batches % accumulate;
    accumulate.min(batches - first)
}
