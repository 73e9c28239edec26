//! The kernels of `hcd-kernels` as Burn operations with hand-written gradients.
//!
//! Each public function takes tensors on any device and of any float type: f32 on Flex runs the kernel,
//! anything else the same equation composed of Burn's operations, which Burn then differentiates. The tests in
//! `tests/ops/` hold the two together. [`Kernels`] is what Burn dispatches on; `flex.rs` calls the kernels,
//! `autodiff.rs` records the backward steps, [`profile`] tells what each took.

mod attention;
mod autodiff;
mod average;
mod batch_norm;
mod conv;
mod flex;
mod gelu;
mod layer_norm;
mod linear;
mod max_pool;
mod precision;
pub mod profile;
mod relu;
pub mod tally;
pub mod update;

pub use attention::{attention, window_attention};
pub use average::global_average;
pub use batch_norm::{Affine, Normalised, batch_norm_given, batch_norm_train};
pub use conv::conv2d;
pub use gelu::gelu;
pub use hcd_kernels::attention::Windows;
pub use hcd_kernels::relu::Rectifier;
pub use layer_norm::layer_norm;
pub use linear::{linear, linear_gelu, mix};
pub use max_pool::max_pool2d;
pub use precision::{Precision, Unit, with_precision};
pub use relu::{add, add_relu};

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, DispatchDevice, backend_extension};
use burn::tensor::{DType, Device, Tensor};
use hcd_kernels::batch_norm::BatchNorm;
use hcd_kernels::conv::ConvShape;
use hcd_kernels::max_pool::PoolShape;
use std::sync::Arc;

/// Operations with a kernel, f32 only.
#[backend_extension(Flex, Autodiff)]
pub trait Kernels: Backend {
    /// See [`layer_norm()`].
    fn layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;

    /// See [`gelu()`].
    fn gelu(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`linear()`]; a bias of no numbers stands for none.
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;

    /// See [`linear_gelu`]; a bias of no numbers stands for none.
    fn linear_gelu(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;

    /// See [`mix`].
    fn mix(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;

    /// See [`mix`], with GELU.
    fn mix_gelu(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;

    /// See [`window_attention`].
    fn window_attention(
        qkv: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        windows: Arc<Windows>,
    ) -> FloatTensor<Self>;

    /// See [`conv2d`].
    fn conv2d(x: FloatTensor<Self>, weight: FloatTensor<Self>, shape: ConvShape) -> FloatTensor<Self>;

    /// See [`conv2d`].
    fn conv2d_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        shape: ConvShape,
    ) -> FloatTensor<Self>;

    /// Output, mean and variance: see [`batch_norm_train`], and [`batch_norm_given`] where the two are given. What has no
    /// numbers stands for none.
    fn batch_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        norm: BatchNorm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// See [`max_pool2d`].
    fn max_pool2d(x: FloatTensor<Self>, shape: PoolShape) -> FloatTensor<Self>;

    /// See [`global_average`].
    fn global_average(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`add`] and [`add_relu`].
    fn sum(a: FloatTensor<Self>, b: FloatTensor<Self>, rectifier: Rectifier) -> FloatTensor<Self>;
}

/// The gradients of [`Kernels`], of first order.
pub trait KernelGradients: Backend {
    /// Gradients of x, weight and bias.
    fn layer_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> [FloatTensor<Self>; 3];

    /// Gradient of x.
    fn gelu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Gradients of x, weight and bias, those that are needed.
    fn linear_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        precision: Precision,
        needed: [bool; 3],
    ) -> [Option<FloatTensor<Self>>; 3];

    /// Gradients of x, weight and bias, those that are needed.
    fn mix_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        precision: Precision,
        needed: [bool; 3],
    ) -> [Option<FloatTensor<Self>>; 3];

    /// Gradients of qkv and bias.
    fn window_attention_backward(
        qkv: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        windows: Arc<Windows>,
    ) -> [FloatTensor<Self>; 2];

    /// Gradient of x.
    fn conv2d_input_grad(
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        shape: ConvShape,
    ) -> FloatTensor<Self>;

    /// Gradients of weight and bias.
    fn conv2d_weight_grad(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        shape: ConvShape,
    ) -> [FloatTensor<Self>; 2];

    /// Gradients of x, weight, bias and shortcut, those that are needed.
    fn batch_norm_backward(
        inputs: BatchNormInputs<Self>,
        grad: FloatTensor<Self>,
        needed: [bool; 4],
    ) -> [Option<FloatTensor<Self>>; 4];

    /// The maxima, and each one's place in its window.
    fn max_pool2d_with_places(x: FloatTensor<Self>, shape: PoolShape) -> (FloatTensor<Self>, Arc<[u8]>);

    /// Gradient of x.
    fn max_pool2d_backward(places: Arc<[u8]>, grad: FloatTensor<Self>, shape: PoolShape)
    -> FloatTensor<Self>;

    /// Gradient of x, of this height and width.
    fn global_average_backward(grad: FloatTensor<Self>, size: [usize; 2]) -> FloatTensor<Self>;

    /// Gradient of a, and of b, from the output `y` of [`add_relu`].
    fn add_relu_backward(y: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// What the backward pass of batch normalisation reads.
#[derive(Debug, Clone)]
pub struct BatchNormInputs<B: Backend> {
    /// (B, C, H, W); none where only the gradients of x and shortcut are wanted, and the statistics were given.
    pub x: Option<FloatTensor<B>>,
    /// (C)
    pub weight: FloatTensor<B>,
    /// (C)
    pub bias: FloatTensor<B>,
    /// (C)
    pub mean: FloatTensor<B>,
    /// (C)
    pub variance: FloatTensor<B>,
    /// The output (B, C, H, W), where it tells what was clipped, and not x.
    pub y: Option<FloatTensor<B>>,
    /// Whether mean and variance were given, and not those of the batch.
    pub given: bool,
    /// Sizes, ε, clipping.
    pub norm: BatchNorm,
}

/// Whether tensors of a device are Flex's, with or without autodiff: those that the kernels take, where they are f32.
pub fn is_flex(device: &Device) -> bool {
    match device.as_dispatch() {
        DispatchDevice::Autodiff(inner) => matches!(**inner, DispatchDevice::Flex(_)),
        device => matches!(device, DispatchDevice::Flex(_)),
    }
}

/// Whether the kernels take this tensor: f32 on Flex, with or without autodiff.
fn has_kernels<const D: usize>(x: &Tensor<D>) -> bool {
    is_flex(&x.device()) && x.dtype() == DType::F32
}

/// Whether the kernels take this tensor, and no graph follows it.
fn has_plain_kernels<const D: usize>(x: &Tensor<D>) -> bool {
    has_kernels(x) && !x.device().is_autodiff()
}
