//! Two-dimensional convolution, NCHW: PyTorch's `Conv2d`.

use super::Init;
use crate::ops::{conv2d, tally};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;

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
    /// Zero padding.
    pub padding: Padding,
    /// Groups of channels that do not mix.
    pub groups: usize,
}

/// Zeros around a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// So many on every side.
    Even(usize),
    /// As TensorFlow's "SAME": as few as make the output ⌈size/stride⌉ long, an odd one at the end.
    Same,
}

impl Padding {
    /// Zeros before and after an axis of `size`.
    fn around(self, size: usize, kernel: usize, stride: usize) -> (usize, usize) {
        match self {
            Padding::Even(padding) => (padding, padding),
            Padding::Same => {
                let total = ((size.div_ceil(stride) - 1) * stride + kernel).saturating_sub(size);
                (total / 2, total - total / 2)
            }
        }
    }
}

impl ConvSpec {
    /// Kernel k, stride s, padding (k−1)/2, no groups.
    pub fn new(input: usize, output: usize, kernel: usize, stride: usize) -> Self {
        Self { input, output, kernel, stride, padding: Padding::Even((kernel - 1) / 2), groups: 1 }
    }

    /// One filter for each channel.
    pub fn depthwise(channels: usize, kernel: usize, stride: usize) -> Self {
        Self { groups: channels, ..Self::new(channels, channels, kernel, stride) }
    }

    /// The kernel as a patch that does not overlap its neighbours.
    pub fn patch(input: usize, output: usize, size: usize) -> Self {
        Self { padding: Padding::Even(0), ..Self::new(input, output, size, size) }
    }

    /// (c_out, c_in/groups, k, k)
    pub fn weight_shape(&self) -> [usize; 4] {
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
    padding: Padding,
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

    /// With bias; truncated normal weight (σ = 0.02), zero bias.
    pub fn trunc_normal(spec: ConvSpec, init: &mut Init) -> Self {
        let weight = init.trunc_normal(spec.weight_shape(), 0.02);
        Self::from_parts(spec, weight, Some(init.constant(0.0, [spec.output])))
    }

    /// With bias; LeCun normal weight, zero bias.
    pub fn lecun(spec: ConvSpec, init: &mut Init) -> Self {
        let weight = init.lecun_normal(spec.weight_shape());
        Self::from_parts(spec, weight, Some(init.constant(0.0, [spec.output])))
    }

    fn from_parts(spec: ConvSpec, weight: Param<Tensor<4>>, bias: Option<Param<Tensor<1>>>) -> Self {
        Self { weight, bias, stride: spec.stride, padding: spec.padding, groups: spec.groups }
    }

    /// # Shapes
    /// `x` (B, c_in, H, W) → (B, c_out, (H + 2p − k)/s + 1, (W + 2p − k)/s + 1), ⌈H/s⌉ and ⌈W/s⌉ where the padding
    /// is [`Padding::Same`]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let ([_, _, height, width], [_, _, kernel, _]) = (x.dims(), self.weight.dims());
        let rows = self.padding.around(height, kernel, self.stride);
        let columns = self.padding.around(width, kernel, self.stride);
        let (x, padding) = match rows == columns && rows.0 == rows.1 {
            true => (x, rows.0),
            false => (x.pad([(0, 0), (0, 0), rows, columns], PadMode::Constant(0.0)), 0),
        };
        if tally::is_recording() {
            return self.stand_in(x, padding);
        }
        let bias = self.bias.as_ref().map(Param::val);
        conv2d(x, self.weight.val(), bias, self.stride, padding, self.groups)
    }

    /// Zeros in place of the result, reported.
    fn stand_in(&self, x: Tensor<4>, padding: usize) -> Tensor<4> {
        let ([batch, _, height, width], [output, input, kernel, _]) = (x.dims(), self.weight.dims());
        let along = |side: usize| (side + 2 * padding).saturating_sub(kernel) / self.stride + 1;
        let shape = [batch, output, along(height), along(width)];
        let products = shape.iter().product::<usize>() * input * kernel * kernel;
        tally::stand_in("Conv2d", Some(self.weight.id), shape, products, &x.device()).unwrap_or(x)
    }
}
