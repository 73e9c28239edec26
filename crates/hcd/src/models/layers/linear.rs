//! Affine map y = x Wᵀ + b: PyTorch's `Linear`.

use super::Init;
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::module::linear;

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
        let mut shape = x.dims();
        let [output, input] = self.weight.dims();
        let rows = shape[..D - 1].iter().product::<usize>();
        // As one matrix: Burn would multiply each of the leading axes' slices alone.
        let x = x.reshape([rows, input]);
        shape[D - 1] = output;
        linear(x, self.weight.val().transpose(), self.bias.as_ref().map(Param::val)).reshape(shape)
    }
}
