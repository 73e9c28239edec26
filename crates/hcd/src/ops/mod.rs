//! The kernels of `hcd-kernels` as Burn operations with hand-written gradients.
//!
//! Each public function takes tensors on any device and of any float type: f32 on Flex runs the kernel,
//! anything else the same equation composed of Burn's operations, which Burn then differentiates. The tests in
//! `tests/ops.rs` hold the two together. [`Kernels`] is what Burn dispatches on; `flex.rs` calls the kernels,
//! `autodiff.rs` records the backward steps.

mod attention;
mod autodiff;
mod flex;
mod gelu;
mod layer_norm;

pub use attention::window_attention;
pub use gelu::gelu;
pub use hcd_kernels::attention::Windows;
pub use layer_norm::layer_norm;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, DispatchDevice, backend_extension};
use burn::tensor::{DType, Tensor};
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

    /// See [`window_attention`].
    fn window_attention(
        qkv: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        windows: Arc<Windows>,
    ) -> FloatTensor<Self>;
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

    /// Gradients of qkv and bias.
    fn window_attention_backward(
        qkv: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        windows: Arc<Windows>,
    ) -> [FloatTensor<Self>; 2];
}

/// Whether the kernels take this tensor: f32 on Flex, with or without autodiff.
fn has_kernels<const D: usize>(x: &Tensor<D>) -> bool {
    let device = x.device();
    let on_flex = match device.as_dispatch() {
        DispatchDevice::Autodiff(inner) => matches!(**inner, DispatchDevice::Flex(_)),
        device => matches!(device, DispatchDevice::Flex(_)),
    };
    on_flex && x.dtype() == DType::F32
}
