//! Exponential moving average of the weights: w̄ ← d·w̄ + (1 − d)·w after each optimiser step.
//!
//! As timm's `ModelEmaV2`: buffers are averaged too.

use crate::models::Parameters;
use crate::models::weights::TensorMap;
use crate::ops::update::average;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;

/// The averaged weights.
#[derive(Debug, Clone)]
pub struct Ema {
    decay: f64,
    mean: BTreeMap<String, Tensor<1>>,
}

impl Ema {
    /// Starts at the module's present weights.
    pub fn new<M: Module>(decay: f64, module: &M) -> Self {
        Self { decay, mean: module.named().into_iter().map(|tensor| (tensor.name, tensor.value)).collect() }
    }

    /// Continues from saved weights.
    pub fn restore(decay: f64, map: &TensorMap, device: &Device) -> Self {
        let tensor =
            |values: &Vec<f32>| Tensor::from_data(TensorData::new(values.clone(), [values.len()]), device);
        Self { decay, mean: map.iter().map(|(name, host)| (name.clone(), tensor(&host.values))).collect() }
    }

    /// Takes in the module's present weights.
    pub fn follow<M: Module>(&mut self, module: &M) {
        for tensor in module.named() {
            if let Some(mean) = self.mean.remove(&tensor.name) {
                self.mean.insert(tensor.name, average(mean, tensor.value, self.decay));
            }
        }
    }

    /// `module` with the averaged weights in place of its own.
    pub fn applied<M: Module>(&self, module: M) -> M {
        module.map_named(&mut |tensor| self.mean.get(&tensor.name).cloned().unwrap_or(tensor.value))
    }
}
