//! What happens inside a training, looked at on the last batch of each epoch: how large each term's gradient is, and how alike
//! HCD's sub-logits are. Learning goes on as if nobody had looked.

use super::step::{Learner, images_of};
use crate::data::HostBatch;
use crate::error::Result;
use crate::losses::masked_cosines;
use crate::methods::{Seen, Term};
use crate::models::{Backbone, Parameters, Pass, weights};
use crate::ops::with_precision;
use crate::rng;
use burn::tensor::Gradients;
use serde::{Deserialize, Serialize};

/// What was found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Probe {
    /// The gradient of each term of the loss, where it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gradients: Vec<TermGradient>,
    /// How alike the sub-logits of each stage are, where the method has some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cosines: Vec<StageCosines>,
}

/// The gradient of one term, as it is weighted in the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TermGradient {
    /// The term.
    pub name: String,
    /// Euclidean norm over everything that the student learns.
    pub student: f64,
    /// The same over what the method's heads learn.
    pub heads: f64,
}

/// How alike the sub-logits of one stage are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageCosines {
    /// The student's stage, from 1.
    pub stage: usize,
    /// Mean over the batch of cos(m_ij, m_ik), the vectors that the orthogonality loss compares: N rows of N.
    pub matrix: Vec<Vec<f64>>,
}

impl Probe {
    /// Whether there was nothing to find.
    pub fn is_empty(&self) -> bool {
        self.gradients.is_empty() && self.cosines.is_empty()
    }
}

impl<N: Backbone> Learner<N> {
    /// Looks at `batch` of `epoch`, which was just learned from. With `gradients`, each term takes a forward and a backward pass
    /// of its own.
    ///
    /// # Errors
    /// As [`Learner::learn`].
    pub(super) fn probe(mut self, batch: &HostBatch, epoch: u64, gradients: bool) -> Result<(Self, Probe)> {
        with_precision(self.precision, move || {
            let cosines = self.cosines(batch)?;
            let mut found = Vec::new();
            if gradients {
                (self, found) = self.term_gradients(batch, epoch)?;
            }
            Ok((self, Probe { gradients: found, cosines }))
        })
    }

    /// How alike the method's sub-logits are, as the networks in evaluation mode give them.
    fn cosines(&self, batch: &HostBatch) -> Result<Vec<StageCosines>> {
        let (Some(answer), Some(distiller)) = (&self.answer, &self.distiller) else {
            return Ok(Vec::new());
        };
        if !distiller.has_sub_logits() {
            return Ok(Vec::new());
        }
        let device = answer.logits.device();
        let student = self.network.valid().forward(images_of(batch, &device), &mut Pass::Eval);
        let targets = self.targets(batch, &device)?;
        let seen = Seen { student: &student, teacher: answer, targets: &targets, ids: &batch.ids };
        let stages = distiller.valid().sub_logits(seen, &mut Pass::Eval).into_iter();
        Ok(stages
            .map(|(stage, compared)| {
                let cosines = masked_cosines(compared, targets.hard.clone()); // (B, N, N)
                let [_, count, _] = cosines.dims();
                let mean: Vec<f64> = cosines.mean_dim(0).into_data().iter::<f64>().collect();
                StageCosines { stage, matrix: mean.chunks(count).map(<[f64]>::to_vec).collect() }
            })
            .collect())
    }

    /// Each term's gradient, from a forward pass of its own. What such a pass moves, running statistics and memory banks, is
    /// put back.
    fn term_gradients(mut self, batch: &HostBatch, epoch: u64) -> Result<(Self, Vec<TermGradient>)> {
        let student = weights::snapshot(&self.network);
        let heads = self.distiller.as_ref().map(weights::snapshot);
        let (mut found, mut count) = (Vec::new(), 1);
        while found.len() < count {
            let mut stream = rng::stream(self.seed, "probe", &[epoch]);
            let (_, mut terms) = self.forward(batch, &mut stream)?;
            count = terms.len();
            found.push(self.gradient_of(terms.swap_remove(found.len())));
        }
        self.network = weights::restore(self.network, &student, "student")?;
        if let (Some(distiller), Some(heads)) = (self.distiller.take(), heads) {
            self.distiller = Some(weights::restore(distiller, &heads, "heads")?);
        }
        Ok((self, found))
    }

    fn gradient_of(&self, term: Term) -> TermGradient {
        let mut gradients = (term.raw * term.weight).backward();
        let student = norm(&self.network, &mut gradients);
        let heads = self.distiller.as_ref().map_or(0.0, |heads| norm(heads, &mut gradients));
        TermGradient { name: term.name.to_owned(), student, heads }
    }
}

/// Euclidean norm of what `module` finds of itself in `gradients`.
fn norm(module: &impl Parameters, gradients: &mut Gradients) -> f64 {
    let found = module.take_gradients(gradients).into_values();
    let squares = found.map(|gradient| f64::from(gradient.square().sum().into_scalar::<f32>()));
    // The sum of no floats is −0.
    (0.0 + squares.sum::<f64>()).sqrt()
}
