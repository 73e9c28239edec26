//! Initial values of parameters, drawn in order of construction from one stream.
//!
//! Kaiming normal, fan-out (He et al. 2015): σ = sqrt(2 / (k²·c_out / groups)).
//! Kaiming uniform with a = √5, PyTorch's default of a convolution: U(±1/√fan_in).
//! Truncated normal, timm's: N(0, σ²), redrawn outside ±2 (absolute, as timm's `trunc_normal_` does).
//! LeCun normal, timm's: N(0, 1/fan_in) cut at two deviations, and widened to keep its variance.
//! Xavier uniform (Glorot & Bengio 2010): U(±sqrt(6 / (fan_in + fan_out))).

use crate::rng::Stream;
use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rand_distr::{Distribution, Normal, StandardNormal};
use std::cell::Cell;

/// Draws initial values and places them on a device.
#[derive(Debug)]
pub struct Init<'a> {
    /// None where every value is 0.
    stream: Option<Stream>,
    device: &'a Device,
    /// How many more numbers there may be.
    left: Cell<usize>,
}

impl<'a> Init<'a> {
    /// Parameters on `device`; on an autodiff device they require gradients.
    pub fn new(stream: Stream, device: &'a Device) -> Self {
        Self { stream: Some(stream), device, left: Cell::new(usize::MAX) }
    }

    /// Zeros on `device` for all that would be drawn.
    pub fn blank(device: &'a Device) -> Self {
        Self { stream: None, device, left: Cell::new(usize::MAX) }
    }

    /// At most so many numbers in all; a tensor that would exceed them has a single one instead. For networks that a
    /// file describes, so that it cannot ask for more than it holds itself.
    pub fn within(self, numbers: usize) -> Self {
        self.left.set(numbers);
        self
    }

    /// The shape, or that of a single number.
    fn granted<const D: usize>(&self, shape: [usize; D]) -> [usize; D] {
        let count = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
        match count.and_then(|count| self.left.get().checked_sub(count)) {
            Some(left) => {
                self.left.set(left);
                shape
            }
            None => {
                self.left.set(0);
                [1; D]
            }
        }
    }

    /// The device that parameters go to.
    pub fn device(&self) -> &'a Device {
        self.device
    }

    /// A parameter with the value everywhere.
    pub fn constant<const D: usize>(&self, value: f32, shape: [usize; D]) -> Param<Tensor<D>> {
        param(self.full(value, shape))
    }

    /// A tensor with the value everywhere that is no parameter.
    pub fn full<const D: usize>(&self, value: f32, shape: [usize; D]) -> Tensor<D> {
        Tensor::full(self.granted(shape), value, self.device)
    }

    /// Kaiming normal over the fan-out of a convolution weight (c_out, c_in/groups, kh, kw).
    pub fn kaiming_normal_fan_out(&mut self, shape: [usize; 4], groups: usize) -> Param<Tensor<4>> {
        let fan_out = shape[0] * shape[2] * shape[3] / groups;
        self.normal(shape, (2.0 / fan_out as f64).sqrt() as f32)
    }

    /// Kaiming uniform with a = √5 over `fan_in`.
    pub fn uniform_fan_in<const D: usize>(&mut self, shape: [usize; D], fan_in: usize) -> Param<Tensor<D>> {
        self.uniform(shape, 1.0 / (fan_in as f32).sqrt())
    }

    /// Uniform between ±`bound`.
    pub fn uniform<const D: usize>(&mut self, shape: [usize; D], bound: f32) -> Param<Tensor<D>> {
        self.fill(shape, |stream| stream.random_range(-bound..=bound))
    }

    /// Xavier uniform of a linear weight (out, in).
    pub fn xavier_uniform(&mut self, shape: [usize; 2]) -> Param<Tensor<2>> {
        self.uniform(shape, (6.0 / (shape[0] + shape[1]) as f32).sqrt())
    }

    /// Normal of deviation `std`.
    pub fn normal<const D: usize>(&mut self, shape: [usize; D], std: f32) -> Param<Tensor<D>> {
        self.fill(shape, |stream| {
            let z: f32 = StandardNormal.sample(stream);
            z * std
        })
    }

    /// LeCun normal of a convolution weight (c_out, c_in/groups, kh, kw).
    pub fn lecun_normal(&mut self, shape: [usize; 4]) -> Param<Tensor<4>> {
        /// Deviation of a unit normal that is cut at ±2.
        const CUT: f32 = 0.879_625_7;
        let fan_in = shape[1..].iter().product::<usize>() as f32;
        let std = 1.0 / (fan_in.sqrt() * CUT);
        self.fill(shape, |stream| {
            loop {
                let z: f32 = StandardNormal.sample(stream);
                if z.abs() <= 2.0 {
                    return z * std;
                }
            }
        })
    }

    /// Truncated normal of deviation `std`.
    pub fn trunc_normal<const D: usize>(&mut self, shape: [usize; D], std: f32) -> Param<Tensor<D>> {
        let normal = Normal::new(0.0f32, std).unwrap_or(Normal::new(0.0, 1.0).expect("unit normal"));
        self.fill(shape, |stream| {
            loop {
                let value = normal.sample(stream);
                if value.abs() <= 2.0 {
                    return value;
                }
            }
        })
    }

    fn fill<const D: usize>(
        &mut self,
        shape: [usize; D],
        mut draw: impl FnMut(&mut Stream) -> f32,
    ) -> Param<Tensor<D>> {
        let shape = self.granted(shape);
        let Some(stream) = &mut self.stream else {
            return param(Tensor::zeros(shape, self.device));
        };
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| draw(stream)).collect();
        param(Tensor::from_data(TensorData::new(values, shape), self.device))
    }
}

fn param<const D: usize>(tensor: Tensor<D>) -> Param<Tensor<D>> {
    let learned = tensor.device().is_autodiff();
    Param::initialized(ParamId::new(), tensor.set_require_grad(learned))
}
