//! Every kernel gives the same bits on one thread and on three.

use hcd_kernels::Precision::{Bf16, F32};
use hcd_kernels::attention::{self, Windows};
use hcd_kernels::batch_norm::{self, BatchNorm, Channels};
use hcd_kernels::conv::{self, ConvShape};
use hcd_kernels::max_pool::{self, PoolShape};
use hcd_kernels::reference::noise;
use hcd_kernels::relu::{self, Rectifier};
use hcd_kernels::update::{self, AdamW, Sgd};
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
        precision: F32,
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
        precision: F32,
    };
    for shape in [
        shape(1, [33, 70], 8, 3, 1, 1),
        shape(1, [20, 40], 12, 1, 1, 0),
        shape(1, [6, 40], 10, 3, 2, 1),
        shape(9, [9, 9], 10, 3, 2, 1),
    ] {
        for precision in [F32, Bf16] {
            let shape = ConvShape { precision, ..shape };
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
}

/// In a residual block the clipping is told by the output, so that backward is a pass of its own.
#[test]
fn batch_norm_with_a_shortcut_or_given_statistics() {
    let norm = BatchNorm { channels: 5, area: 14 * 14, epsilon: 1e-5, rectifier: Rectifier::Relu6 };
    let length = 37 * norm.channels * norm.area;
    let (x, shortcut, grad) = (noise(length, 1), noise(length, 2), noise(length, 3));
    let (weight, bias, mean) = (noise(5, 4), noise(5, 5), noise(5, 6));
    let variance: Vec<f32> = noise(5, 7).iter().map(|v| v * v + 0.5).collect();
    let given = Channels { weight: &weight, bias: &bias, mean: &mean, variance: &variance };
    for shortcut in [None, Some(shortcut.as_slice())] {
        same_on_any_number_of_threads(|| {
            let (mut y, mut clipped) = (vec![0.0; length], grad.clone());
            batch_norm::forward(&norm, Some(&x), &given, shortcut, &mut y);
            // In place, as where nobody else holds the map.
            let mut over = x.clone();
            batch_norm::forward(&norm, None, &given, shortcut, &mut over);
            relu::backward(norm.rectifier, &y, &mut clipped);
            let norm = BatchNorm { rectifier: Rectifier::None, ..norm };
            let [mut dx, mut dx_by_batch] = [(); 2].map(|()| vec![0.0; length]);
            let [mut dweight, mut dbias, mut mean, mut variance] = [(); 4].map(|()| vec![0.0; 5]);
            batch_norm::parameter_grads(&norm, &x, &given, &clipped, &mut dweight, &mut dbias);
            batch_norm::backward_given(&norm, &given, Some(&clipped), &mut dx);
            batch_norm::moments(&norm, &x, &mut mean, &mut variance);
            let batch = Channels { mean: &mean, variance: &variance, ..given };
            let [mut dscale, mut dshift] = [(); 2].map(|()| vec![0.0; 5]);
            let gradient = Some(clipped.as_slice());
            batch_norm::backward(&norm, &x, &batch, gradient, &mut dx_by_batch, &mut dscale, &mut dshift);
            vec![y, over, clipped, dweight, dbias, dx, dx_by_batch, dscale, dshift]
        });
    }
}

#[test]
fn adamw_and_averages() {
    // Several chunks, the last one short.
    let length = 50_001;
    let rule =
        AdamW { rate: 0.1, shrink: 0.99, betas: [0.9, 0.999], news: [0.1, 0.001], scale: 2.0, epsilon: 1e-8 };
    let (grad, mean, value) = (noise(length, 1), noise(length, 2), noise(length, 3));
    let square: Vec<f32> = noise(length, 4).iter().map(|v| v * v).collect();
    same_on_any_number_of_threads(|| {
        let (mut mean, mut square, mut moved) = (mean.clone(), square.clone(), value.clone());
        update::adamw(&rule, &grad, &mut mean, &mut square, &mut moved);
        let mut average = value.clone();
        update::average(0.999, 0.001, &moved, &mut average);
        vec![mean, square, moved, average]
    });
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
