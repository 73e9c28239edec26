//! Affine map y = x Wᵀ + b: PyTorch's `Linear`.

use super::Init;
use crate::ops::{linear, linear_gelu, mix, tally};
use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// Weight (out, in) and perhaps a bias (out).
#[derive(Module, Debug)]
pub struct Linear {
    weight: Param<Tensor<2>>,
    bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// Truncated normal weight (σ = 0.02), zero bias.
    pub fn new(input: usize, output: usize, init: &mut Init) -> Self {
        let weight = init.trunc_normal([output, input], 0.02);
        Self { weight, bias: Some(init.constant(0.0, [output])) }
    }

    /// Truncated normal weight (σ = 0.02), no bias.
    pub fn without_bias(input: usize, output: usize, init: &mut Init) -> Self {
        Self { weight: init.trunc_normal([output, input], 0.02), bias: None }
    }

    /// Weight and bias as PyTorch initialises them by default: U(±1/√in).
    pub fn torch_default(input: usize, output: usize, init: &mut Init) -> Self {
        let weight = init.uniform_fan_in([output, input], input);
        Self { weight, bias: Some(init.uniform_fan_in([output], input)) }
    }

    /// Zeros.
    pub fn zeros(input: usize, output: usize, init: &mut Init) -> Self {
        Self { weight: init.constant(0.0, [output, input]), bias: Some(init.constant(0.0, [output])) }
    }

    /// The weight given, and perhaps a bias.
    pub fn from_parts(weight: Param<Tensor<2>>, bias: Option<Param<Tensor<1>>>) -> Self {
        Self { weight, bias }
    }

    /// # Shapes
    /// `x` (…, in) → (…, out)
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if let Some(y) = self.tallied(x.dims(), &x) {
            return y;
        }
        linear(x, self.weight.val(), self.bias.as_ref().map(Param::val))
    }

    /// What [`Linear::forward`] gives, each number times its own of `scale`.
    ///
    /// # Shapes
    /// `x` (…, in); `scale` (out) → (…, out)
    pub fn forward_scaled<const D: usize>(&self, x: Tensor<D>, scale: Tensor<1>) -> Tensor<D> {
        if let Some(y) = self.tallied(x.dims(), &x) {
            return y;
        }
        let weight = self.weight.val() * scale.clone().unsqueeze_dim::<2>(1); // (out, in)
        linear(x, weight, self.bias.as_ref().map(|bias| bias.val() * scale))
    }

    /// GELU of what [`Linear::forward`] gives.
    ///
    /// # Shapes
    /// `x` (…, in) → (…, out)
    pub fn forward_gelu<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if let Some(y) = self.tallied(x.dims(), &x) {
            return y;
        }
        linear_gelu(x, self.weight.val(), self.bias.as_ref().map(Param::val))
    }

    /// Over the tokens of each image, with GELU behind it where `activated`.
    ///
    /// # Shapes
    /// `x` (B, in, D) → (B, out, D)
    ///
    /// # Panics
    /// Where the layer has no bias.
    pub fn mix(&self, x: Tensor<3>, activated: bool) -> Tensor<3> {
        let ([batch, tokens, width], [out, _]) = (x.dims(), self.weight.dims());
        let (shape, products) = ([batch, out, width], batch * tokens * out * width);
        let id = Some(self.weight.id);
        if let Some(y) = tally::stand_in("Linear", id, shape, products, &x.device()) {
            return y;
        }
        let bias = self.bias.as_ref().expect("layers over tokens have a bias");
        mix(x, self.weight.val(), bias.val(), activated)
    }

    /// Where layers are counted and not run, what stands for the output.
    fn tallied<const D: usize>(&self, mut shape: [usize; D], x: &Tensor<D>) -> Option<Tensor<D>> {
        let [output, input] = self.weight.dims();
        let rows = shape[..D - 1].iter().product::<usize>();
        shape[D - 1] = output;
        tally::stand_in("Linear", Some(self.weight.id), shape, rows * input * output, &x.device())
    }
}
