//! The layers that networks and heads are made of, with PyTorch's parameter names, layouts and numerics.
//!
//! Burn's own layers store Linear weights transposed and track the biased running variance; these store what
//! timm stores, so a parameter's path in the module tree *is* its timm name and no adapter stands between.

mod conv;
mod init;
mod linear;
mod mlp;
mod norm;
mod transformer;

pub use conv::{Conv2d, ConvSpec, Padding};
pub use init::Init;
pub use linear::Linear;
pub use mlp::Mlp;
pub use norm::{BatchNorm2d, LayerNorm};
pub use transformer::{TransformerBlock, TransformerShape};

use crate::ops::add;
use crate::rng::Stream;
use burn::module::RunningState;
use burn::tensor::{Tensor, TensorData};
use rand::RngExt;

/// How a forward pass runs: as in evaluation, or as in training with its stream of chance.
#[derive(Debug)]
pub enum Pass<'a> {
    /// Running statistics, no dropout.
    Eval,
    /// Batch statistics (running ones updated); dropout masks drawn from the stream.
    Train(&'a mut Stream),
    /// Running statistics, left as they are; dropout masks drawn from the stream: training with frozen
    /// normalisation statistics.
    TrainFrozenNorm(&'a mut Stream),
}

impl Pass<'_> {
    /// Whether batch normalisation goes by the batch.
    pub fn uses_batch_statistics(&self) -> bool {
        matches!(self, Pass::Train(_))
    }

    /// Whether stochastic depth or dropout of this rate changes anything.
    pub fn drops(&self, rate: f64) -> bool {
        rate != 0.0 && !matches!(self, Pass::Eval)
    }

    /// Stochastic depth (Huang et al. 2016): drops a residual branch per sample with probability `rate`,
    /// and scales the kept ones by 1 / (1 − rate). Identity in evaluation.
    ///
    /// # Shapes
    /// `branch` (B, …) → (B, …)
    pub fn drop_path<const D: usize>(&mut self, branch: Tensor<D>, rate: f64) -> Tensor<D> {
        let mut shape = [1; D];
        shape[0] = branch.dims()[0];
        self.drop(branch, rate, shape)
    }

    /// The sum of `x` and a residual branch of that stochastic depth.
    ///
    /// # Shapes
    /// `x`, `branch` (B, …) → (B, …)
    pub fn residual<const D: usize>(&mut self, x: Tensor<D>, branch: Tensor<D>, rate: f64) -> Tensor<D> {
        add(x, self.drop_path(branch, rate))
    }

    /// Dropout (Srivastava et al. 2014): zeroes each number with probability `rate`, and scales the kept ones
    /// by 1 / (1 − rate). Identity in evaluation.
    pub fn dropout<const D: usize>(&mut self, x: Tensor<D>, rate: f64) -> Tensor<D> {
        let shape = x.dims();
        self.drop(x, rate, shape)
    }

    fn drop<const D: usize>(&mut self, x: Tensor<D>, rate: f64, mask: [usize; D]) -> Tensor<D> {
        let (Pass::Train(stream) | Pass::TrainFrozenNorm(stream)) = self else {
            return x;
        };
        if rate == 0.0 {
            return x;
        }
        let kept = (1.0 / (1.0 - rate)) as f32;
        let count = mask.iter().product::<usize>();
        let values: Vec<f32> =
            (0..count).map(|_| if stream.random_bool(rate) { 0.0 } else { kept }).collect();
        x.clone() * Tensor::<D>::from_data(TensorData::new(values, mask), &x.device())
    }
}

/// Stores a running state at once: Burn alone would fold it in only at the next update.
pub(crate) fn remember<const D: usize>(state: &RunningState<Tensor<D>>, value: Tensor<D>) {
    state.update(value.detach());
    state.value_sync();
}
