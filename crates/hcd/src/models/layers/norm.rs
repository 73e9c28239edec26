//! Normalisation: y = (x − E[x]) / sqrt(Var[x] + ε) · weight + bias.
//!
//! Batch normalisation (Ioffe & Szegedy 2015) over batch and space, with PyTorch's running statistics:
//! momentum 0.1 and the *unbiased* variance (Burn keeps the biased one). Layer normalisation (Ba et al. 2016)
//! over the last axis.

use super::{Init, Pass, remember};
use crate::ops::{Affine, Rectifier, add_relu, batch_norm_given, batch_norm_train, layer_norm, tally};
use burn::module::{Module, Param, RunningState};
use burn::tensor::Tensor;

/// PyTorch's ε.
const BATCH_NORM_EPSILON: f64 = 1e-5;
const BATCH_NORM_MOMENTUM: f64 = 0.1;

/// Batch normalisation of (B, C, H, W) over B, H and W.
#[derive(Module, Debug)]
pub struct BatchNorm2d {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    running_mean: RunningState<Tensor<1>>,
    running_var: RunningState<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

impl BatchNorm2d {
    /// Weight 1, bias 0, running mean 0 and variance 1.
    pub fn new(channels: usize, init: &Init) -> Self {
        Self {
            weight: init.constant(1.0, [channels]),
            bias: init.constant(0.0, [channels]),
            running_mean: RunningState::new(init.full(0.0, [channels])),
            running_var: RunningState::new(init.full(1.0, [channels])),
            epsilon: BATCH_NORM_EPSILON,
        }
    }

    /// As [`BatchNorm2d::new`], but of weight 0: a residual branch that ends so starts as nothing
    /// (Goyal et al. 2017, section 5.1).
    pub fn zeroed(channels: usize, init: &Init) -> Self {
        Self { weight: init.constant(0.0, [channels]), ..Self::new(channels, init) }
    }

    /// As [`BatchNorm2d::new`], with another ε.
    pub fn with_epsilon(channels: usize, epsilon: f64, init: &Init) -> Self {
        Self { epsilon, ..Self::new(channels, init) }
    }

    /// # Shapes
    /// `x` (B, C, H, W) → (B, C, H, W)
    pub fn forward(&self, x: Tensor<4>, pass: &Pass) -> Tensor<4> {
        self.normalise(x, None, Rectifier::None, pass)
    }

    /// max(y, 0) of what [`BatchNorm2d::forward`] gives.
    ///
    /// # Shapes
    /// `x` (B, C, H, W) → (B, C, H, W)
    pub fn forward_relu(&self, x: Tensor<4>, pass: &Pass) -> Tensor<4> {
        self.normalise(x, None, Rectifier::Relu, pass)
    }

    /// min(max(y, 0), 6) of what [`BatchNorm2d::forward`] gives.
    ///
    /// # Shapes
    /// `x` (B, C, H, W) → (B, C, H, W)
    pub fn forward_relu6(&self, x: Tensor<4>, pass: &Pass) -> Tensor<4> {
        self.normalise(x, None, Rectifier::Relu6, pass)
    }

    /// The end of a residual branch of that stochastic depth: the sum of shortcut and what [`BatchNorm2d::forward`]
    /// gives.
    ///
    /// # Shapes
    /// `x`, `shortcut` (B, C, H, W) → (B, C, H, W)
    pub fn forward_add(
        &self,
        x: Tensor<4>,
        shortcut: Tensor<4>,
        drop_path: f64,
        pass: &mut Pass,
    ) -> Tensor<4> {
        match pass.drops(drop_path) {
            true => self.dropped(x, drop_path, pass) + shortcut,
            false => self.normalise(x, Some(shortcut), Rectifier::None, pass),
        }
    }

    /// max(y, 0) of what [`BatchNorm2d::forward_add`] gives.
    ///
    /// # Shapes
    /// `x`, `shortcut` (B, C, H, W) → (B, C, H, W)
    pub fn forward_add_relu(
        &self,
        x: Tensor<4>,
        shortcut: Tensor<4>,
        drop_path: f64,
        pass: &mut Pass,
    ) -> Tensor<4> {
        match pass.drops(drop_path) {
            true => add_relu(self.dropped(x, drop_path, pass), shortcut),
            false => self.normalise(x, Some(shortcut), Rectifier::Relu, pass),
        }
    }

    /// What [`BatchNorm2d::forward`] gives, of the samples that stochastic depth leaves.
    fn dropped(&self, x: Tensor<4>, drop_path: f64, pass: &mut Pass) -> Tensor<4> {
        let branch = self.forward(x, pass);
        pass.drop_path(branch, drop_path)
    }

    fn normalise(
        &self,
        x: Tensor<4>,
        shortcut: Option<Tensor<4>>,
        rectifier: Rectifier,
        pass: &Pass,
    ) -> Tensor<4> {
        let (shape, id) = (x.dims(), self.weight.id);
        if let Some(y) = tally::stand_in("BatchNorm2d", Some(id), shape, shape.iter().product(), &x.device())
        {
            return y;
        }
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let (mean, var) = (self.running_mean.value_sync(), self.running_var.value_sync());
        // A frozen layer keeps its statistics, too: where nothing is learned, nothing is remembered.
        let frozen = weight.device().is_autodiff() && !weight.is_require_grad();
        let affine = Affine { weight, bias, epsilon: self.epsilon, rectifier };
        if frozen || !pass.uses_batch_statistics() {
            return batch_norm_given(x, affine, [mean, var], shortcut);
        }
        let [batch, _, height, width] = x.dims();
        let count = (batch * height * width) as f64;
        let unbiased = if count > 1.0 { count / (count - 1.0) } else { 1.0 };
        let result = batch_norm_train(x, affine, shortcut);
        let follow = |running: Tensor<1>, seen: Tensor<1>, scale: f64| {
            running * (1.0 - BATCH_NORM_MOMENTUM) + seen * (BATCH_NORM_MOMENTUM * scale)
        };
        remember(&self.running_mean, follow(mean, result.mean, 1.0));
        remember(&self.running_var, follow(var, result.variance, unbiased));
        result.output
    }
}

/// Layer normalisation over the last axis.
#[derive(Module, Debug)]
pub struct LayerNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

impl LayerNorm {
    /// Weight 1, bias 0.
    pub fn new(width: usize, epsilon: f64, init: &Init) -> Self {
        Self { weight: init.constant(1.0, [width]), bias: init.constant(0.0, [width]), epsilon }
    }

    /// # Shapes
    /// `x` (…, width) → (…, width)
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (shape, id) = (x.dims(), self.weight.id);
        if let Some(y) = tally::stand_in("LayerNorm", Some(id), shape, shape.iter().product(), &x.device()) {
            return y;
        }
        layer_norm(x, self.weight.val(), self.bias.val(), self.epsilon)
    }

    /// Over the channels of a map: timm's `LayerNorm2d`.
    ///
    /// # Shapes
    /// `x` (B, width, H, W) → (B, width, H, W)
    pub fn forward_map(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward(x.permute([0, 2, 3, 1])).permute([0, 3, 1, 2])
    }
}
