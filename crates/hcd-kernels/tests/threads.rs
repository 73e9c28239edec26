//! Every kernel gives the same bits on one thread and on three.

use hcd_kernels::attention::{self, Windows};
use hcd_kernels::batch_norm::{self, BatchNorm, Channels};
use hcd_kernels::conv::{self, ConvShape};
use hcd_kernels::max_pool::{self, PoolShape};
use hcd_kernels::reference::noise;
use hcd_kernels::relu::Rectifier;
use hcd_kernels::update::{self, Sgd};
use hcd_kernels::{average, gelu, layer_norm};

fn same_on_any_number_of_threads(job: impl Fn() -> Vec<Vec<f32>> + Sync) {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let results = pool.install(&job);
        results.into_iter().flatten().map(f32::to_bits).collect::<Vec<_>>()
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn layer_norm_and_gelu() {
    let (rows, width) = (301, 48);
    let (x, weight, grad) = (noise(rows * width, 1), noise(width, 2), noise(rows * width, 3));
    same_on_any_number_of_threads(|| {
        let (mut dx, mut dweight, mut dbias) = (grad.clone(), vec![0.0; width], vec![0.0; width]);
        layer_norm::backward(&x, &weight, 1e-5, &mut dx, &mut dweight, &mut dbias);
        let mut y = vec![0.0; x.len()];
        gelu::forward(&x, &mut y);
        vec![dx, dweight, dbias, y]
    });
}

#[test]
fn attention() {
    let (images, tokens, heads, width) = (37, 32, 2, 48);
    let windows = Windows::new(16, (0..tokens).rev().collect(), None);
    let (qkv, bias) = (noise(images * tokens * 3 * width, 1), noise(heads * 16 * 16, 2));
    let grad = noise(images * tokens * width, 3);
    let input = attention::Input { qkv: &qkv, bias: &bias, windows: &windows, heads, width };
    same_on_any_number_of_threads(|| {
        let (mut dqkv, mut dbias) = (vec![0.0; qkv.len()], vec![0.0; bias.len()]);
        attention::backward(&input, &grad, &mut dqkv, &mut dbias);
        vec![dqkv, dbias]
    });
}

#[test]
fn conv_and_batch_norm() {
    let shape = ConvShape {
        images: 37,
        groups: 1,
        in_channels: 5,
        out_channels: 9,
        size: [14, 14],
        kernel: [3, 3],
        stride: [2, 2],
        padding: [1, 1],
        dilation: [1, 1],
            precision: hcd_kernels::Precision::F32,
    };
    let (x, weight) = (noise(shape.input_len(), 1), noise(shape.weight_len(), 2));
    let grad = noise(shape.output_len(), 3);
    let norm = BatchNorm { channels: 5, area: 14 * 14, epsilon: 1e-5, rectifier: Rectifier::Relu };
    let parameter = noise(5, 4);
    same_on_any_number_of_threads(|| {
        let mut dx = vec![0.0; x.len()];
        conv::input_grad(&shape, &grad, &weight, &mut dx);
        let (mut dweight, mut dbias) = (vec![0.0; weight.len()], vec![0.0; 9]);
        conv::weight_grad(&shape, &x, &grad, &mut dweight, Some(&mut dbias));
        let (mut y, mut mean, mut variance) = (vec![0.0; x.len()], vec![0.0; 5], vec![0.0; 5]);
        batch_norm::moments(&norm, &x, &mut mean, &mut variance);
        let channels = Channels { weight: &parameter, bias: &parameter, mean: &mean, variance: &variance };
        batch_norm::forward(&norm, Some(&x), &channels, None, &mut y);
        let (mut dnorm, mut dscale, mut dshift) = (y.clone(), vec![0.0; 5], vec![0.0; 5]);
        batch_norm::backward(&norm, &x, &channels, None, &mut dnorm, &mut dscale, &mut dshift);
        vec![dx, dweight, dbias, y, dnorm, dscale, dshift, mean, variance]
    });
}

/// One shape for each way that convolutions are computed.
#[test]
fn every_convolution() {
    let shape = |groups, channels: [usize; 2], side, kernel, stride, padding| ConvShape {
        images: 37,
        groups,
        in_channels: channels[0],
        out_channels: channels[1],
        size: [side; 2],
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 2],
        dilation: [1, 1],
            precision: hcd_kernels::Precision::F32,
    };
    for shape in [
        shape(1, [33, 70], 8, 3, 1, 1),
        shape(1, [20, 40], 12, 1, 1, 0),
        shape(1, [6, 40], 10, 3, 2, 1),
        shape(9, [9, 9], 10, 3, 2, 1),
    ] {
        let (x, weight) = (noise(shape.input_len(), 1), noise(shape.weight_len(), 2));
        let grad = noise(shape.output_len(), 3);
        same_on_any_number_of_threads(|| {
            let (mut y, mut dx, mut dweight) = (grad.clone(), x.clone(), weight.clone());
            conv::forward(&shape, &x, &weight, None, &mut y);
            conv::input_grad(&shape, &grad, &weight, &mut dx);
            conv::weight_grad(&shape, &x, &grad, &mut dweight, None);
            vec![y, dx, dweight]
        });
    }
}

#[test]
fn pooling_and_updates() {
    let shape = PoolShape { planes: 70, size: [14, 15], kernel: [3; 2], stride: [2; 2], padding: [1; 2] };
    let x = noise(70 * 14 * 15, 1);
    let grad = noise(70 * 7 * 8, 2);
    let rule = Sgd { rate: 0.1, momentum: 0.9, nesterov: true, decay: 1e-3 };
    same_on_any_number_of_threads(|| {
        let (mut y, mut places, mut dx) = (grad.clone(), vec![0; grad.len()], x.clone());
        max_pool::forward_with_places(&shape, &x, &mut y, &mut places);
        max_pool::backward(&shape, &places, &grad, &mut dx);
        let mut mean = vec![0.0; 70];
        average::forward(14 * 15, &x, &mut mean);
        let (mut velocity, mut value) = (x.repeat(3), dx.repeat(3));
        update::sgd(&rule, &x.repeat(3), &mut velocity, &mut value);
        vec![y, dx, mean, velocity, value]
    });
}
