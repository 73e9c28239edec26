//! The two-layer perceptron of transformers and mixers: fc2(GELU(fc1(x))), with dropout after each.

use super::{Init, Linear, Pass};
use burn::module::Module;
use burn::tensor::Tensor;

/// Linear (D → H) → GELU → Linear (H → D).
#[derive(Module, Debug)]
pub struct Mlp {
    fc1: Linear,
    fc2: Linear,
    #[module(skip)]
    dropout: f64,
}

impl Mlp {
    /// Truncated normal weights, zero biases; `dropout` after the activation and after the second layer.
    pub fn new(width: usize, hidden: usize, dropout: f64, init: &mut Init) -> Self {
        Self { fc1: Linear::new(width, hidden, init), fc2: Linear::new(hidden, width, init), dropout }
    }

    /// Xavier uniform weights, biases of deviation 1e-6, as timm's MLP-Mixer.
    pub fn xavier(width: usize, hidden: usize, dropout: f64, init: &mut Init) -> Self {
        let mut layer = |input: usize, output: usize| {
            let weight = init.xavier_uniform([output, input]);
            Linear::from_parts(weight, Some(init.normal([output], 1e-6)))
        };
        Self { fc1: layer(width, hidden), fc2: layer(hidden, width), dropout }
    }

    /// # Shapes
    /// `x` (…, D) → (…, D)
    pub fn forward<const D: usize>(&self, x: Tensor<D>, pass: &mut Pass) -> Tensor<D> {
        let hidden = pass.dropout(self.fc1.forward_gelu(x), self.dropout); // (…, H)
        pass.dropout(self.fc2.forward(hidden), self.dropout)
    }

    /// The same, each number times its own of `scale` (layer scale; Touvron et al. 2021): the second layer's weight and
    /// bias are multiplied in place of its output, which has many times their numbers.
    ///
    /// # Shapes
    /// `x` (…, D); `scale` (D) → (…, D)
    pub fn forward_scaled<const D: usize>(
        &self,
        x: Tensor<D>,
        scale: Tensor<1>,
        pass: &mut Pass,
    ) -> Tensor<D> {
        let hidden = pass.dropout(self.fc1.forward_gelu(x), self.dropout); // (…, H)
        pass.dropout(self.fc2.forward_scaled(hidden, scale), self.dropout)
    }

    /// Over the tokens of each image in place of their numbers.
    ///
    /// # Shapes
    /// `x` (B, tokens, D) → (B, tokens, D)
    pub fn mix(&self, x: Tensor<3>, pass: &mut Pass) -> Tensor<3> {
        let hidden = pass.dropout(self.fc1.mix(x, true), self.dropout); // (B, H, D)
        pass.dropout(self.fc2.mix(hidden, false), self.dropout)
    }
}
