//! The kernels on Flex tensors: contiguous f32 in, new f32 out; a gradient, or a map to be normalised, that nobody else
//! holds is overwritten.

mod backward;

use super::profile::{Convolution, timed};
use super::{Kernels, Precision, Rectifier, Windows};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Bytes, DType, Shape};
use hcd_kernels::batch_norm::{self, BatchNorm, Channels};
use hcd_kernels::conv::{self, ConvShape};
use hcd_kernels::gemm::Activation;
use hcd_kernels::linear::{self, Mix};
use hcd_kernels::max_pool::{self, PoolShape};
use hcd_kernels::relu;
use hcd_kernels::{attention, average, gelu, layer_norm, memory, transpose};
use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;

impl Kernels for Flex {
    fn layer_norm(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, epsilon: f64) -> FlexTensor {
        let (x, weight, bias) = (contiguous(x), contiguous(weight), contiguous(bias));
        filled("layer_norm forward", 0, x.shape(), |y| {
            layer_norm::forward(values(&x), values(&weight), values(&bias), epsilon as f32, y)
        })
    }

    fn gelu(x: FlexTensor) -> FlexTensor {
        let x = contiguous(x);
        filled("gelu forward", 0, x.shape(), |y| gelu::forward(values(&x), y))
    }

    fn linear(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, precision: Precision) -> FlexTensor {
        affine("linear forward", x, weight, bias, precision, Activation::None)
    }

    fn linear_gelu(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, precision: Precision) -> FlexTensor {
        affine("linear_gelu forward", x, weight, bias, precision, Activation::Gelu)
    }

    fn mix(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, precision: Precision) -> FlexTensor {
        mixed("mix forward", x, weight, bias, precision, Activation::None)
    }

    fn mix_gelu(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, precision: Precision) -> FlexTensor {
        mixed("mix_gelu forward", x, weight, bias, precision, Activation::Gelu)
    }

    fn window_attention(qkv: FlexTensor, bias: FlexTensor, windows: Arc<Windows>) -> FlexTensor {
        let (qkv, bias) = (contiguous(qkv), contiguous(bias));
        let input = attention_input(&qkv, &bias, &windows);
        let shape = [qkv.shape()[0], qkv.shape()[1], input.width];
        filled("window_attention forward", attention_products(&qkv, &windows), Shape::from(shape), |out| {
            attention::forward(&input, out)
        })
    }

    fn conv2d(x: FlexTensor, weight: FlexTensor, shape: ConvShape) -> FlexTensor {
        let (x, weight) = (contiguous(x), contiguous(weight));
        filled(Convolution(&shape, "forward"), conv_products(&shape), conv_output(&shape), |y| {
            conv::forward(&shape, values(&x), values(&weight), None, y)
        })
    }

    fn conv2d_with_bias(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, shape: ConvShape) -> FlexTensor {
        let (x, weight, bias) = (contiguous(x), contiguous(weight), contiguous(bias));
        filled(Convolution(&shape, "forward"), conv_products(&shape), conv_output(&shape), |y| {
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
        let name = if is_none(&mean) { "batch_norm forward" } else { "batch_norm_given forward" };
        timed(name, 0, || {
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
        })
    }

    fn max_pool2d(x: FlexTensor, shape: PoolShape) -> FlexTensor {
        let x = contiguous(x);
        filled("max_pool2d forward", 0, map_shape(&x, shape.out_size()), |y| {
            max_pool::forward(&shape, values(&x), y)
        })
    }

    fn global_average(x: FlexTensor) -> FlexTensor {
        let x = contiguous(x);
        let [images, channels, height, width] = [0, 1, 2, 3].map(|axis| x.shape()[axis]);
        filled("global_average forward", 0, Shape::from([images, channels]), |y| {
            average::forward(height * width, values(&x), y)
        })
    }

    fn sum(a: FlexTensor, b: FlexTensor, rectifier: Rectifier) -> FlexTensor {
        let name = if rectifier == Rectifier::None { "add forward" } else { "add_relu forward" };
        let (a, b) = (contiguous(a), contiguous(b));
        timed(name, 0, || over(b, |b, y| relu::add_forward(rectifier, values(&a), b, y)))
    }
}

/// x (rows, in) to (rows, out).
fn affine(
    name: &str,
    x: FlexTensor,
    weight: FlexTensor,
    bias: FlexTensor,
    precision: Precision,
    activation: Activation,
) -> FlexTensor {
    let (x, weight, bias) = (contiguous(x), contiguous(weight), contiguous(bias));
    let depth = x.shape()[1];
    filled(
        name,
        x.shape().num_elements() * weight.shape()[0],
        Shape::from([x.shape()[0], weight.shape()[0]]),
        |y| {
            linear::forward(values(&x), values(&weight), values(&bias), depth, precision, activation, y);
        },
    )
}

/// x (B, tokens, width) to (B, out, width).
fn mixed(
    name: &str,
    x: FlexTensor,
    weight: FlexTensor,
    bias: FlexTensor,
    precision: Precision,
    activation: Activation,
) -> FlexTensor {
    let (x, weight, bias) = (contiguous(x), contiguous(weight), contiguous(bias));
    let mix = mix_of(&x, &weight, precision);
    filled(name, x.shape().num_elements() * mix.out, Shape::from([x.shape()[0], mix.out, mix.width]), |y| {
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

/// Products of any pass of a convolution.
fn conv_products(shape: &ConvShape) -> usize {
    shape.output_len() * (shape.weight_len() / shape.out_channels.max(1))
}

/// Products of queries with keys and of scores with values, once each.
fn attention_products(qkv: &FlexTensor, windows: &Windows) -> usize {
    2 * qkv.shape().num_elements() / 3 * windows.area()
}

/// Row-major from the start of its storage; without a copy where it is so already.
fn contiguous(x: FlexTensor) -> FlexTensor {
    match turned(x.layout()) {
        Some(sizes) if x.dtype() == DType::F32 => timed("turn", 0, || {
            let from = x.layout().start_offset();
            let from = &x.storage()[from..from + x.shape().num_elements()];
            written(x.shape(), |y| transpose::each(from, sizes, y))
        }),
        _ => x.to_contiguous(),
    }
}

/// The rows and columns that lie in memory, where a tensor (B, …, …) is the transpose of a matrix in each of B images:
/// a map whose channels were moved to its end, or back.
fn turned(layout: &Layout) -> Option<[usize; 2]> {
    let (sizes, strides) = (layout.shape(), layout.strides());
    let rank = layout.num_dims();
    // Whether some axes lie row by row, the last one's numbers `step` apart.
    let merge = |axes: Range<usize>, step: usize| {
        let all: usize = axes.clone().map(|axis| sizes[axis]).product();
        let mut left = all * step;
        let fits = axes.into_iter().all(|axis| {
            left = left.checked_div(sizes[axis]).unwrap_or(0);
            strides[axis] == left as isize
        });
        fits.then_some(all)
    };
    if layout.is_contiguous() || rank < 3 || layout.num_elements() == 0 {
        return None;
    }
    (2..rank).find_map(|middle| {
        let columns = merge(1..middle, 1)?;
        let rows = merge(middle..rank, columns)?;
        (sizes[0] == 1 || strides[0] == (rows * columns) as isize).then_some([rows, columns])
    })
}

/// What `fill` writes: over `x`, given as none, where nobody else holds it; else into a new tensor.
fn over(mut x: FlexTensor, fill: impl FnOnce(Option<&[f32]>, &mut [f32])) -> FlexTensor {
    if x.is_unique() {
        fill(None, x.storage_mut());
        return x;
    }
    written(x.shape(), |y| fill(Some(values(&x)), y))
}

/// The numbers of a [`contiguous`] tensor.
fn values(x: &FlexTensor) -> &[f32] {
    x.storage()
}

fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
}

/// A new tensor that a kernel writes, entered as `name` where time is measured, with the products it adds up.
fn filled(
    name: impl Display,
    multiply_adds: usize,
    shape: Shape,
    kernel: impl FnOnce(&mut [f32]),
) -> FlexTensor {
    timed(name, multiply_adds, || written(shape, kernel))
}

/// A new tensor that `fill` writes.
fn written(shape: Shape, fill: impl FnOnce(&mut [f32])) -> FlexTensor {
    tensor(memory::written(shape.num_elements(), fill), shape)
}
