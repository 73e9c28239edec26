//! The kernels on Flex tensors: contiguous f32 in, new f32 out; a gradient, or a map to be normalised, that nobody else
//! holds is overwritten.

use super::{BatchNormInputs, KernelGradients, Kernels, Precision, Windows};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Bytes, DType, Shape};
use hcd_kernels::batch_norm::{self, BatchNorm, Channels};
use hcd_kernels::conv::{self, ConvShape};
use hcd_kernels::gemm::Activation;
use hcd_kernels::linear::{self, Mix};
use hcd_kernels::max_pool::{self, PoolShape};
use hcd_kernels::relu::{self, Rectifier};
use hcd_kernels::{attention, average, gelu, layer_norm, memory};
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

    fn linear(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, precision: Precision) -> FlexTensor {
        affine(x, weight, bias, precision, Activation::None)
    }

    fn linear_gelu(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, precision: Precision) -> FlexTensor {
        affine(x, weight, bias, precision, Activation::Gelu)
    }

    fn mix(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, precision: Precision) -> FlexTensor {
        mixed(x, weight, bias, precision, Activation::None)
    }

    fn mix_gelu(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, precision: Precision) -> FlexTensor {
        mixed(x, weight, bias, precision, Activation::Gelu)
    }

    fn window_attention(qkv: FlexTensor, bias: FlexTensor, windows: Arc<Windows>) -> FlexTensor {
        let (qkv, bias) = (contiguous(qkv), contiguous(bias));
        let input = attention_input(&qkv, &bias, &windows);
        let shape = [qkv.shape()[0], qkv.shape()[1], input.width];
        filled(Shape::from(shape), |out| attention::forward(&input, out))
    }

    fn conv2d(x: FlexTensor, weight: FlexTensor, shape: ConvShape) -> FlexTensor {
        let (x, weight) = (contiguous(x), contiguous(weight));
        filled(conv_output(&shape), |y| conv::forward(&shape, values(&x), values(&weight), None, y))
    }

    fn conv2d_with_bias(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, shape: ConvShape) -> FlexTensor {
        let (x, weight, bias) = (contiguous(x), contiguous(weight), contiguous(bias));
        filled(conv_output(&shape), |y| {
            conv::forward(&shape, values(&x), values(&weight), Some(values(&bias)), y);
        })
    }

    fn batch_norm(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        mean: FlexTensor,
        variance: FlexTensor,
        shortcut: FlexTensor,
        norm: BatchNorm,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let x = contiguous(x);
        let [weight, bias, mean, variance, shortcut] =
            [weight, bias, mean, variance, shortcut].map(contiguous);
        let (mean, variance) = match is_none(&mean) {
            false => (mean, variance),
            true => {
                let (mut mean, mut variance) = (vec![0.0; norm.channels], vec![0.0; norm.channels]);
                batch_norm::moments(&norm, values(&x), &mut mean, &mut variance);
                (tensor(mean, weight.shape()), tensor(variance, weight.shape()))
            }
        };
        let y = over(x, |x, y| {
            let channels = channels(&weight, &bias, &mean, &variance);
            batch_norm::forward(&norm, x, &channels, (!is_none(&shortcut)).then(|| values(&shortcut)), y);
        });
        (y, mean, variance)
    }

    fn max_pool2d(x: FlexTensor, shape: PoolShape) -> FlexTensor {
        let x = contiguous(x);
        filled(map_shape(&x, shape.out_size()), |y| max_pool::forward(&shape, values(&x), y))
    }

    fn global_average(x: FlexTensor) -> FlexTensor {
        let x = contiguous(x);
        let [images, channels, height, width] = [0, 1, 2, 3].map(|axis| x.shape()[axis]);
        filled(Shape::from([images, channels]), |y| average::forward(height * width, values(&x), y))
    }

    fn add_relu(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        let (a, b) = (contiguous(a), contiguous(b));
        filled(a.shape(), |y| relu::add_forward(values(&a), values(&b), y))
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

    fn linear_backward(
        x: FlexTensor,
        weight: FlexTensor,
        grad: FlexTensor,
        precision: Precision,
        needed: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let (x, weight, grad) = (contiguous(x), contiguous(weight), contiguous(grad));
        let (depth, out) = (x.shape()[1], weight.shape()[0]);
        let dx = || {
            filled(x.shape(), |dx| linear::input_grad(values(&grad), values(&weight), depth, precision, dx))
        };
        let dweight = || {
            filled(weight.shape(), |dw| linear::weight_grad(values(&x), values(&grad), depth, precision, dw))
        };
        let dbias = || filled(Shape::from([out]), |dbias| linear::bias_grad(values(&grad), dbias));
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
        let dx = needed[0].then(|| {
            filled(x.shape(), |dx| linear::mix_input_grad(&mix, values(&weight), values(&grad), dx))
        });
        if !(needed[1] || needed[2]) {
            return [dx, None, None];
        }
        let mut dbias = vec![0.0; mix.out];
        let dweight = filled(weight.shape(), |dweight| {
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
        let qkv_grad = filled(qkv.shape(), |qkv_grad| {
            attention::backward(&input, values(&grad), qkv_grad, &mut bias_grad)
        });
        [qkv_grad, tensor(bias_grad, bias.shape())]
    }

    fn conv2d_input_grad(weight: FlexTensor, grad: FlexTensor, shape: ConvShape) -> FlexTensor {
        let (weight, grad) = (contiguous(weight), contiguous(grad));
        let dims = [shape.images, shape.in_channels, shape.size[0], shape.size[1]];
        filled(Shape::from(dims), |dx| conv::input_grad(&shape, values(&grad), values(&weight), dx))
    }

    fn conv2d_weight_grad(x: FlexTensor, grad: FlexTensor, shape: ConvShape) -> [FlexTensor; 2] {
        let (x, grad) = (contiguous(x), contiguous(grad));
        let mut dbias = vec![0.0; shape.out_channels];
        let [rows, columns] = shape.kernel;
        let dims = [shape.out_channels, shape.in_channels / shape.groups, rows, columns];
        let dweight = filled(Shape::from(dims), |dweight| {
            conv::weight_grad(&shape, values(&x), values(&grad), dweight, Some(&mut dbias));
        });
        [dweight, tensor(dbias, Shape::from([shape.out_channels]))]
    }

    fn batch_norm_backward(
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
                needed[0]
                    .then(|| over(grad, |grad, dx| batch_norm::backward_given(&norm, &channels, grad, dx)))
            }
        };
        [dx, Some(tensor(dweight, weight.shape())), Some(tensor(dbias, weight.shape())), shortcut]
    }

    fn max_pool2d_with_places(x: FlexTensor, shape: PoolShape) -> (FlexTensor, Arc<[u8]>) {
        let x = contiguous(x);
        let out = map_shape(&x, shape.out_size());
        let mut places = vec![0; out.num_elements()];
        let y = filled(out, |y| max_pool::forward_with_places(&shape, values(&x), y, &mut places));
        (y, places.into())
    }

    fn max_pool2d_backward(places: Arc<[u8]>, grad: FlexTensor, shape: PoolShape) -> FlexTensor {
        let grad = contiguous(grad);
        filled(map_shape(&grad, shape.size), |dx| max_pool::backward(&shape, &places, values(&grad), dx))
    }

    fn global_average_backward(grad: FlexTensor, size: [usize; 2]) -> FlexTensor {
        let grad = contiguous(grad);
        filled(map_shape(&grad, size), |dx| average::backward(size[0] * size[1], values(&grad), dx))
    }

    fn add_relu_backward(y: FlexTensor, grad: FlexTensor) -> FlexTensor {
        let (y, mut grad) = (contiguous(y), contiguous(grad));
        relu::backward(Rectifier::Relu, values(&y), grad.storage_mut());
        grad
    }
}

/// x (rows, in) to (rows, out).
fn affine(
    x: FlexTensor,
    weight: FlexTensor,
    bias: FlexTensor,
    precision: Precision,
    activation: Activation,
) -> FlexTensor {
    let (x, weight, bias) = (contiguous(x), contiguous(weight), contiguous(bias));
    let depth = x.shape()[1];
    filled(Shape::from([x.shape()[0], weight.shape()[0]]), |y| {
        linear::forward(values(&x), values(&weight), values(&bias), depth, precision, activation, y);
    })
}

/// x (B, tokens, width) to (B, out, width).
fn mixed(
    x: FlexTensor,
    weight: FlexTensor,
    bias: FlexTensor,
    precision: Precision,
    activation: Activation,
) -> FlexTensor {
    let (x, weight, bias) = (contiguous(x), contiguous(weight), contiguous(bias));
    let mix = mix_of(&x, &weight, precision);
    filled(Shape::from([x.shape()[0], mix.out, mix.width]), |y| {
        linear::mix_forward(&mix, values(&weight), values(&x), values(&bias), activation, y);
    })
}

fn mix_of(x: &FlexTensor, weight: &FlexTensor, precision: Precision) -> Mix {
    Mix { tokens: x.shape()[1], out: weight.shape()[0], width: x.shape()[2], precision }
}

fn conv_output(shape: &ConvShape) -> Shape {
    let [height, width] = shape.out_size();
    Shape::from([shape.images, shape.out_channels, height, width])
}

fn channels<'a>(
    weight: &'a FlexTensor,
    bias: &'a FlexTensor,
    mean: &'a FlexTensor,
    variance: &'a FlexTensor,
) -> Channels<'a> {
    let [weight, bias, mean, variance] = [weight, bias, mean, variance].map(values);
    Channels { weight, bias, mean, variance }
}

/// Whether this stands for no tensor.
fn is_none(x: &FlexTensor) -> bool {
    x.shape().num_elements() == 0
}

/// Images and channels of a tensor, with this height and width.
fn map_shape(like: &FlexTensor, [height, width]: [usize; 2]) -> Shape {
    Shape::from([like.shape()[0], like.shape()[1], height, width])
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

/// What `fill` writes: over `x`, given as none, where nobody else holds it; else into a new tensor.
fn over(mut x: FlexTensor, fill: impl FnOnce(Option<&[f32]>, &mut [f32])) -> FlexTensor {
    if x.is_unique() {
        fill(None, x.storage_mut());
        return x;
    }
    filled(x.shape(), |y| fill(Some(values(&x)), y))
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
    tensor(memory::written(shape.num_elements(), fill), shape)
}
