//! Two-dimensional convolution, NCHW: PyTorch's `Conv2d`.

use super::Init;
use crate::ops::conv2d;
use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// What a convolution is, before it has weights.
#[derive(Debug, Clone, Copy)]
pub struct ConvSpec {
    /// Input channels.
    pub input: usize,
    /// Output channels.
    pub output: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Stride, both ways.
    pub stride: usize,
    /// Zero padding on every side.
    pub padding: usize,
    /// Groups of channels that do not mix.
    pub groups: usize,
}

impl ConvSpec {
    /// Kernel k, stride s, padding (k−1)/2, no groups.
    pub fn new(input: usize, output: usize, kernel: usize, stride: usize) -> Self {
        Self { input, output, kernel, stride, padding: (kernel - 1) / 2, groups: 1 }
    }

    /// One filter for each channel.
    pub fn depthwise(channels: usize, kernel: usize, stride: usize) -> Self {
        Self { groups: channels, ..Self::new(channels, channels, kernel, stride) }
    }

    /// The kernel as a patch that does not overlap its neighbours.
    pub fn patch(input: usize, output: usize, size: usize) -> Self {
        Self { padding: 0, ..Self::new(input, output, size, size) }
    }

    fn weight_shape(&self) -> [usize; 4] {
        [self.output, self.input / self.groups, self.kernel, self.kernel]
    }
}

/// Convolution with weight (c_out, c_in/groups, k, k) and perhaps a bias (c_out).
#[derive(Module, Debug)]
pub struct Conv2d {
    weight: Param<Tensor<4>>,
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    stride: usize,
    #[module(skip)]
    padding: usize,
    #[module(skip)]
    groups: usize,
}

impl Conv2d {
    /// Without bias; weights Kaiming normal, fan-out.
    pub fn kaiming(spec: ConvSpec, init: &mut Init) -> Self {
        let weight = init.kaiming_normal_fan_out(spec.weight_shape(), spec.groups);
        Self::from_parts(spec, weight, None)
    }

    /// With a zero bias; weights Kaiming normal, fan-out.
    pub fn kaiming_with_bias(spec: ConvSpec, init: &mut Init) -> Self {
        let weight = init.kaiming_normal_fan_out(spec.weight_shape(), spec.groups);
        Self::from_parts(spec, weight, Some(init.constant(0.0, [spec.output])))
    }

    /// With bias; both as PyTorch initialises a convolution by default.
    pub fn torch_default(spec: ConvSpec, init: &mut Init) -> Self {
        let fan_in = spec.weight_shape()[1..].iter().product();
        let weight = init.uniform_fan_in(spec.weight_shape(), fan_in);
        let bias = init.uniform_fan_in([spec.output], fan_in);
        Self::from_parts(spec, weight, Some(bias))
    }

    fn from_parts(spec: ConvSpec, weight: Param<Tensor<4>>, bias: Option<Param<Tensor<1>>>) -> Self {
        Self { weight, bias, stride: spec.stride, padding: spec.padding, groups: spec.groups }
    }

    /// # Shapes
    /// `x` (B, c_in, H, W) → (B, c_out, (H + 2p − k)/s + 1, (W + 2p − k)/s + 1)
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let bias = self.bias.as_ref().map(Param::val);
        conv2d(x, self.weight.val(), bias, self.stride, self.padding, self.groups)
    }
}
