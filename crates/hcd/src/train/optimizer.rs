//! The optimisers, with PyTorch's rules.
//!
//! SGD (dampening 0): d = g + wd·p; m ← μ·m + d (m = d at first); p ← p − lr·(d + μ·m with Nesterov, else m).
//! AdamW (Loshchilov & Hutter 2019): p ← p − lr·wd·p; m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²;
//! p ← p − lr·(m/(1−β₁ᵗ)) / (sqrt(v/(1−β₂ᵗ)) + ε).
//!
//! Burn's own differ: dampening 0.1, ε = 1e-5, clipping per tensor, accumulation that sums.

use crate::models::Parameters;
use crate::models::weights::{HostTensor, TensorMap};
use crate::ops::update::{self, AdamW, Sgd};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Gradients by name.
pub type GradientMap = BTreeMap<String, Tensor<1>>;

/// Which optimiser, and how it moves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// Peak learning rate.
        #[serde(default = "defaults::sgd_lr")]
        lr: f64,
        /// μ.
        #[serde(default = "defaults::momentum")]
        momentum: f64,
        /// Look ahead along the momentum.
        #[serde(default = "defaults::yes")]
        nesterov: bool,
        /// Weight decay, added to the gradient.
        #[serde(default = "defaults::sgd_weight_decay")]
        weight_decay: f64,
        /// Whether norms, biases and position tables decay too, as in plain PyTorch.
        #[serde(default = "defaults::yes")]
        decay_norms_and_biases: bool,
    },
    /// Adam with decoupled weight decay.
    AdamW {
        /// Peak learning rate.
        #[serde(default = "defaults::adamw_lr")]
        lr: f64,
        /// β₁ and β₂.
        #[serde(default = "defaults::betas")]
        betas: [f64; 2],
        /// ε.
        #[serde(default = "defaults::epsilon")]
        epsilon: f64,
        /// Decoupled weight decay.
        #[serde(default = "defaults::adamw_weight_decay")]
        weight_decay: f64,
        /// Whether norms, biases and position tables decay too.
        #[serde(default)]
        decay_norms_and_biases: bool,
    },
}

mod defaults {
    pub fn sgd_lr() -> f64 {
        0.05
    }
    pub fn momentum() -> f64 {
        0.9
    }
    pub fn yes() -> bool {
        true
    }
    pub fn sgd_weight_decay() -> f64 {
        2e-3
    }
    pub fn adamw_lr() -> f64 {
        5e-4
    }
    pub fn betas() -> [f64; 2] {
        [0.9, 0.999]
    }
    pub fn epsilon() -> f64 {
        1e-8
    }
    pub fn adamw_weight_decay() -> f64 {
        0.05
    }
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        OptimizerConfig::Sgd {
            lr: defaults::sgd_lr(),
            momentum: defaults::momentum(),
            nesterov: true,
            weight_decay: defaults::sgd_weight_decay(),
            decay_norms_and_biases: true,
        }
    }
}

impl OptimizerConfig {
    /// The peak learning rate.
    pub fn lr(&self) -> f64 {
        match self {
            OptimizerConfig::Sgd { lr, .. } | OptimizerConfig::AdamW { lr, .. } => *lr,
        }
    }

    /// What is wrong with the values, one line each.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut need = |good: bool, what: String| {
            if !good {
                problems.push(what);
            }
        };
        let sound = |decay: f64| decay >= 0.0 && decay.is_finite();
        need(self.lr() > 0.0 && self.lr().is_finite(), format!("lr = {}, must be above 0", self.lr()));
        match self {
            OptimizerConfig::Sgd { momentum, nesterov, weight_decay, .. } => {
                need((0.0..1.0).contains(momentum), format!("momentum = {momentum}, must be in [0, 1)"));
                need(!nesterov || *momentum > 0.0, "nesterov needs momentum above 0".to_owned());
                need(
                    sound(*weight_decay),
                    format!("weight_decay = {weight_decay}, must be finite and not negative"),
                );
            }
            OptimizerConfig::AdamW { betas, epsilon, weight_decay, .. } => {
                let good = betas.iter().all(|beta| (0.0..1.0).contains(beta));
                need(good, format!("betas = {betas:?}, must be in [0, 1)"));
                need(*epsilon > 0.0 && epsilon.is_finite(), format!("epsilon = {epsilon}, must be above 0"));
                need(
                    sound(*weight_decay),
                    format!("weight_decay = {weight_decay}, must be finite and not negative"),
                );
            }
        }
        problems
    }
}

/// The optimiser and what it remembers of each parameter.
#[derive(Debug, Clone)]
pub struct Optimizer {
    config: OptimizerConfig,
    steps: u64,
    first: BTreeMap<String, Tensor<1>>,
    second: BTreeMap<String, Tensor<1>>,
}

impl Optimizer {
    /// Remembers nothing yet.
    pub fn new(config: OptimizerConfig) -> Self {
        Self { config, steps: 0, first: BTreeMap::new(), second: BTreeMap::new() }
    }

    /// Begins a step: what follows, until the next call, shares one step count.
    pub fn begin_step(&mut self) {
        self.steps += 1;
    }

    /// Moves the parameters of `module` along `gradients`, both named with `prefix` before, each at its own rate:
    /// that of its name in `rates`, or 1, times `lr`.
    pub fn apply<M: Parameters>(
        &mut self,
        prefix: &str,
        module: M,
        gradients: &GradientMap,
        lr: f64,
        rates: &BTreeMap<String, f64>,
    ) -> M {
        module.map_named(&mut |tensor| {
            let name = format!("{prefix}{}", tensor.name);
            match gradients.get(&name) {
                None => tensor.value,
                Some(gradient) => {
                    let decays = decays(&tensor.name, &tensor.shape);
                    let lr = lr * rates.get(&tensor.name).copied().unwrap_or(1.0);
                    self.update(name, tensor.value, gradient.clone(), lr, decays)
                }
            }
        })
    }

    fn update(
        &mut self,
        name: String,
        value: Tensor<1>,
        gradient: Tensor<1>,
        lr: f64,
        decays: bool,
    ) -> Tensor<1> {
        match self.config {
            OptimizerConfig::Sgd { momentum, nesterov, weight_decay, decay_norms_and_biases, .. } => {
                let decay = if decays || decay_norms_and_biases { weight_decay } else { 0.0 };
                if momentum == 0.0 {
                    let direction = if decay == 0.0 { gradient } else { gradient + value.clone() * decay };
                    return value - direction * lr;
                }
                let [rate, momentum, decay] = [lr, momentum, decay].map(|number| number as f32);
                let rule = Sgd { rate, momentum, nesterov, decay };
                let [value, velocity] = update::sgd(value, gradient, self.first.remove(&name), rule);
                self.first.insert(name, velocity);
                value
            }
            OptimizerConfig::AdamW {
                betas: [b1, b2], epsilon, weight_decay, decay_norms_and_biases, ..
            } => {
                let decay = if decays || decay_norms_and_biases { weight_decay } else { 0.0 };
                let [bias1, bias2] = [b1, b2].map(|beta| 1.0 - beta.powf(self.steps as f64));
                let rule = AdamW {
                    rate: (lr / bias1) as f32,
                    shrink: (1.0 - lr * decay) as f32,
                    betas: [b1 as f32, b2 as f32],
                    news: [(1.0 - b1) as f32, (1.0 - b2) as f32],
                    scale: (1.0 / bias2.sqrt()) as f32,
                    epsilon: epsilon as f32,
                };
                let means = self.first.remove(&name).zip(self.second.remove(&name)).map(Into::into);
                let [value, mean, square] = update::adamw(value, gradient, means, rule);
                self.first.insert(name.clone(), mean);
                self.second.insert(name, square);
                value
            }
        }
    }

    /// Everything remembered, for a checkpoint, but the count of steps.
    pub fn snapshot(&self) -> TensorMap {
        let mut map = TensorMap::new();
        for (slot, tensors) in [("first", &self.first), ("second", &self.second)] {
            for (name, tensor) in tensors {
                let values: Vec<f32> = tensor.clone().into_data().iter::<f32>().collect();
                map.insert(format!("{slot}.{name}"), HostTensor { shape: vec![values.len()], values });
            }
        }
        map
    }

    /// The optimiser of [`Optimizer::snapshot`].
    pub fn restore(config: OptimizerConfig, steps: u64, map: &TensorMap, device: &Device) -> Self {
        let slot = |prefix: &str| {
            map.iter()
                .filter_map(|(name, tensor)| {
                    let name = name.strip_prefix(prefix)?;
                    let data = TensorData::new(tensor.values.clone(), [tensor.values.len()]);
                    Some((name.to_owned(), Tensor::from_data(data, device)))
                })
                .collect()
        };
        Self { config, steps, first: slot("first."), second: slot("second.") }
    }
}

/// Norms, biases and position tables usually do not decay.
fn decays(name: &str, shape: &[usize]) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    shape.len() > 1 && !matches!(last, "relative_position_bias_table" | "pos_embed" | "cls_token")
}

/// Scales all gradients so that their common Euclidean norm is at most `limit`; gives the norm before.
pub fn clip_global_norm(gradients: &mut GradientMap, limit: f64) -> f64 {
    let squares = gradients.values().map(|gradient| gradient.clone().square().sum().into_scalar::<f32>());
    let norm = squares.map(f64::from).sum::<f64>().sqrt();
    let scale = limit / (norm + 1e-6);
    if scale < 1.0 {
        for gradient in gradients.values_mut() {
            *gradient = gradient.clone() * scale;
        }
    }
    norm
}
