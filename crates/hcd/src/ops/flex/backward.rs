//! The gradients of the kernels on Flex tensors.

use super::{
    attention_input, attention_products, channels, contiguous, conv_products, filled, map_shape, mix_of,
    over, tensor, values,
};
use crate::ops::profile::{Convolution, timed};
use crate::ops::{BatchNormInputs, KernelGradients, Precision, Windows};
use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Shape;
use hcd_kernels::conv::{self, ConvShape};
use hcd_kernels::max_pool::{self, PoolShape};
use hcd_kernels::relu::{self, Rectifier};
use hcd_kernels::{attention, average, batch_norm, gelu, layer_norm, linear};
use std::sync::Arc;

impl KernelGradients for Flex {
    fn layer_norm_backward(
        x: FlexTensor,
        weight: FlexTensor,
        grad: FlexTensor,
        epsilon: f64,
    ) -> [FlexTensor; 3] {
        let (x, weight, mut grad) = (contiguous(x), contiguous(weight), contiguous(grad));
        let mut bias_grad = vec![0.0; values(&weight).len()];
        let weight_grad = filled("layer_norm backward", 0, weight.shape(), |weight_grad| {
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
        timed("gelu backward", 0, || gelu::backward(values(&x), grad.storage_mut()));
        grad
    }

    fn linear_backward(
        x: FlexTensor,
        weight: FlexTensor,
        grad: FlexTensor,
        precision: Precision,
        needed: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let (x, weight, grad) = (contiguous(x), contiguous(weight), contiguous(grad));
        let (depth, out) = (x.shape()[1], weight.shape()[0]);
        let products = x.shape()[0] * depth * out;
        let dx = || {
            filled("linear input gradient", products, x.shape(), |dx| {
                linear::input_grad(values(&grad), values(&weight), depth, precision, dx);
            })
        };
        let dweight = || {
            filled("linear weight gradient", products, weight.shape(), |dweight| {
                linear::weight_grad(values(&x), values(&grad), depth, precision, dweight);
            })
        };
        let dbias = || {
            filled("linear bias gradient", 0, Shape::from([out]), |dbias| {
                linear::bias_grad(values(&grad), dbias);
            })
        };
        [needed[0].then(dx), needed[1].then(dweight), needed[2].then(dbias)]
    }

    fn mix_backward(
        x: FlexTensor,
        weight: FlexTensor,
        grad: FlexTensor,
        precision: Precision,
        needed: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let (x, weight, grad) = (contiguous(x), contiguous(weight), contiguous(grad));
        let mix = mix_of(&x, &weight, precision);
        let products = x.shape().num_elements() * mix.out;
        let dx = needed[0].then(|| {
            filled("mix input gradient", products, x.shape(), |dx| {
                linear::mix_input_grad(&mix, values(&weight), values(&grad), dx);
            })
        });
        if !(needed[1] || needed[2]) {
            return [dx, None, None];
        }
        let mut dbias = vec![0.0; mix.out];
        let dweight = filled("mix weight gradient", products, weight.shape(), |dweight| {
            linear::mix_weight_grad(&mix, values(&x), values(&grad), dweight, &mut dbias);
        });
        [dx, Some(dweight), Some(tensor(dbias, Shape::from([mix.out])))]
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
        let qkv_grad = filled(
            "window_attention backward",
            2 * attention_products(&qkv, &windows),
            qkv.shape(),
            |qkv_grad| attention::backward(&input, values(&grad), qkv_grad, &mut bias_grad),
        );
        [qkv_grad, tensor(bias_grad, bias.shape())]
    }

    fn conv2d_input_grad(weight: FlexTensor, grad: FlexTensor, shape: ConvShape) -> FlexTensor {
        let (weight, grad) = (contiguous(weight), contiguous(grad));
        let dims = [shape.images, shape.in_channels, shape.size[0], shape.size[1]];
        filled(Convolution(&shape, "input gradient"), conv_products(&shape), Shape::from(dims), |dx| {
            conv::input_grad(&shape, values(&grad), values(&weight), dx)
        })
    }

    fn conv2d_weight_grad(x: FlexTensor, grad: FlexTensor, shape: ConvShape) -> [FlexTensor; 2] {
        let (x, grad) = (contiguous(x), contiguous(grad));
        let mut dbias = vec![0.0; shape.out_channels];
        let [rows, columns] = shape.kernel;
        let dims = [shape.out_channels, shape.in_channels / shape.groups, rows, columns];
        let dweight = filled(
            Convolution(&shape, "weight gradient"),
            conv_products(&shape),
            Shape::from(dims),
            |dweight| {
                conv::weight_grad(&shape, values(&x), values(&grad), dweight, Some(&mut dbias));
            },
        );
        [dweight, tensor(dbias, Shape::from([shape.out_channels]))]
    }

    fn batch_norm_backward(
        inputs: BatchNormInputs<Flex>,
        grad: FlexTensor,
        needed: [bool; 4],
    ) -> [Option<FlexTensor>; 4] {
        let name = if inputs.given { "batch_norm_given backward" } else { "batch_norm backward" };
        timed(name, 0, || normalised_backward(inputs, grad, needed))
    }

    fn max_pool2d_with_places(x: FlexTensor, shape: PoolShape) -> (FlexTensor, Arc<[u8]>) {
        let x = contiguous(x);
        let out = map_shape(&x, shape.out_size());
        let mut places = vec![0; out.num_elements()];
        let y = filled("max_pool2d forward", 0, out, |y| {
            max_pool::forward_with_places(&shape, values(&x), y, &mut places)
        });
        (y, places.into())
    }

    fn max_pool2d_backward(places: Arc<[u8]>, grad: FlexTensor, shape: PoolShape) -> FlexTensor {
        let grad = contiguous(grad);
        filled("max_pool2d backward", 0, map_shape(&grad, shape.size), |dx| {
            max_pool::backward(&shape, &places, values(&grad), dx)
        })
    }

    fn global_average_backward(grad: FlexTensor, size: [usize; 2]) -> FlexTensor {
        let grad = contiguous(grad);
        filled("global_average backward", 0, map_shape(&grad, size), |dx| {
            average::backward(size[0] * size[1], values(&grad), dx)
        })
    }

    fn add_relu_backward(y: FlexTensor, grad: FlexTensor) -> FlexTensor {
        let (y, mut grad) = (contiguous(y), contiguous(grad));
        timed("add_relu backward", 0, || relu::backward(Rectifier::Relu, values(&y), grad.storage_mut()));
        grad
    }
}

/// Gradients of x, weight, bias and shortcut.
fn normalised_backward(
    inputs: BatchNormInputs<Flex>,
    grad: FlexTensor,
    needed: [bool; 4],
) -> [Option<FlexTensor>; 4] {
    let BatchNormInputs { x, weight, bias, mean, variance, y, given, mut norm } = inputs;
    let [weight, bias, mean, variance] = [weight, bias, mean, variance].map(contiguous);
    let channels = channels(&weight, &bias, &mean, &variance);
    let (x, mut grad) = (x.map(contiguous), contiguous(grad));
    if let Some(y) = y.map(contiguous) {
        relu::backward(norm.rectifier, values(&y), grad.storage_mut());
        norm.rectifier = Rectifier::None;
    }
    // Held twice from here on, the gradient is not overwritten.
    let shortcut = needed[3].then(|| grad.clone());
    let (mut dweight, mut dbias) = (vec![0.0; norm.channels], vec![0.0; norm.channels]);
    let dx = match (&x, given) {
        (Some(x), false) => Some(over(grad, |grad, dx| {
            batch_norm::backward(&norm, values(x), &channels, grad, dx, &mut dweight, &mut dbias);
        })),
        _ => {
            if let (Some(x), [_, true, _, _] | [_, _, true, _]) = (&x, needed) {
                let grad = values(&grad);
                batch_norm::parameter_grads(&norm, values(x), &channels, grad, &mut dweight, &mut dbias);
            }
            needed[0].then(|| over(grad, |grad, dx| batch_norm::backward_given(&norm, &channels, grad, dx)))
        }
    };
    [dx, Some(tensor(dweight, weight.shape())), Some(tensor(dbias, weight.shape())), shortcut]
}
