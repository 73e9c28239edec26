//! The layers that networks and heads are made of, with PyTorch's parameter names, layouts and numerics.
//!
//! Burn's own layers store Linear weights transposed and track the biased running variance; these store what
//! timm stores, so a parameter's path in the module tree *is* its timm name and no adapter stands between.

mod conv;
mod init;
mod linear;
mod norm;

pub use conv::{Conv2d, ConvSpec};
pub use init::Init;
pub use linear::Linear;
pub use norm::{BatchNorm2d, LayerNorm};

use crate::rng::Stream;
use burn::tensor::{Tensor, TensorData};
use rand::RngExt;

/// How a forward pass runs: as in evaluation, or as in training with its stream of chance.
#[derive(Debug)]
pub enum Pass<'a> {
    /// Running statistics, no dropout.
    Eval,
    /// Batch statistics (running ones updated); dropout masks drawn from the stream.
    Train(&'a mut Stream),
}

impl Pass<'_> {
    /// Whether batch statistics and dropout apply.
    pub fn is_training(&self) -> bool {
        matches!(self, Pass::Train(_))
    }

    /// Stochastic depth (Huang et al. 2016): drops a residual branch per sample with probability `rate`,
    /// and scales the kept ones by 1 / (1 − rate). Identity in evaluation.
    ///
    /// # Shapes
    /// `branch` (B, …) → (B, …)
    pub fn drop_path<const D: usize>(&mut self, branch: Tensor<D>, rate: f64) -> Tensor<D> {
        let Pass::Train(stream) = self else {
            return branch;
        };
        if rate == 0.0 {
            return branch;
        }
        let batch = branch.dims()[0];
        let keep: Vec<f32> = (0..batch)
            .map(|_| if stream.random_bool(rate) { 0.0 } else { (1.0 / (1.0 - rate)) as f32 })
            .collect();
        let mut shape = [1; D];
        shape[0] = batch;
        let mask = Tensor::<D>::from_data(TensorData::new(keep, shape), &branch.device());
        branch * mask
    }
}
