//! The kernels on Flex tensors: contiguous f32 in, new f32 out; a gradient that nobody else holds is overwritten.

use super::{KernelGradients, Kernels, Windows};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Bytes, DType, Shape};
use hcd_kernels::{attention, gelu, layer_norm};
use std::sync::Arc;

impl Kernels for Flex {
    fn layer_norm(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, epsilon: f64) -> FlexTensor {
        let (x, weight, bias) = (contiguous(x), contiguous(weight), contiguous(bias));
        filled(x.shape(), |y| {
            layer_norm::forward(values(&x), values(&weight), values(&bias), epsilon as f32, y)
        })
    }

    fn gelu(x: FlexTensor) -> FlexTensor {
        let x = contiguous(x);
        filled(x.shape(), |y| gelu::forward(values(&x), y))
    }

    fn window_attention(qkv: FlexTensor, bias: FlexTensor, windows: Arc<Windows>) -> FlexTensor {
        let (qkv, bias) = (contiguous(qkv), contiguous(bias));
        let input = attention_input(&qkv, &bias, &windows);
        let shape = [qkv.shape()[0], qkv.shape()[1], input.width];
        filled(Shape::from(shape), |out| attention::forward(&input, out))
    }
}

impl KernelGradients for Flex {
    fn layer_norm_backward(
        x: FlexTensor,
        weight: FlexTensor,
        grad: FlexTensor,
        epsilon: f64,
    ) -> [FlexTensor; 3] {
        let (x, weight, mut grad) = (contiguous(x), contiguous(weight), contiguous(grad));
        let mut bias_grad = vec![0.0; values(&weight).len()];
        let weight_grad = filled(weight.shape(), |weight_grad| {
            layer_norm::backward(
                values(&x),
                values(&weight),
                epsilon as f32,
                grad.storage_mut(),
                weight_grad,
                &mut bias_grad,
            )
        });
        let bias_grad = tensor(bias_grad, weight.shape());
        [grad, weight_grad, bias_grad]
    }

    fn gelu_backward(x: FlexTensor, grad: FlexTensor) -> FlexTensor {
        let (x, mut grad) = (contiguous(x), contiguous(grad));
        gelu::backward(values(&x), grad.storage_mut());
        grad
    }

    fn window_attention_backward(
        qkv: FlexTensor,
        bias: FlexTensor,
        grad: FlexTensor,
        windows: Arc<Windows>,
    ) -> [FlexTensor; 2] {
        let (qkv, bias, grad) = (contiguous(qkv), contiguous(bias), contiguous(grad));
        let input = attention_input(&qkv, &bias, &windows);
        let mut bias_grad = vec![0.0; input.bias.len()];
        let qkv_grad = filled(qkv.shape(), |qkv_grad| {
            attention::backward(&input, values(&grad), qkv_grad, &mut bias_grad)
        });
        [qkv_grad, tensor(bias_grad, bias.shape())]
    }
}

fn attention_input<'a>(
    qkv: &'a FlexTensor,
    bias: &'a FlexTensor,
    windows: &'a Windows,
) -> attention::Input<'a> {
    attention::Input {
        qkv: values(qkv),
        bias: values(bias),
        windows,
        heads: bias.shape()[0],
        width: qkv.shape()[2] / 3,
    }
}

/// Row-major from the start of its storage; without a copy where it is so already.
fn contiguous(x: FlexTensor) -> FlexTensor {
    x.to_contiguous()
}

/// The numbers of a [`contiguous`] tensor.
fn values(x: &FlexTensor) -> &[f32] {
    x.storage()
}

fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
}

/// A new tensor that `fill` writes.
fn filled(shape: Shape, fill: impl FnOnce(&mut [f32])) -> FlexTensor {
    let mut values = vec![0.0; shape.num_elements()];
    fill(&mut values);
    tensor(values, shape)
}
