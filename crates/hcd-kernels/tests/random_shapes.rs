//! Every kernel but the convolutions at shapes drawn by chance, against the scalar version: values and gradients.

use hcd_kernels::Precision::F32;
use hcd_kernels::attention::{self, Input, Windows};
use hcd_kernels::batch_norm::{self, BatchNorm, Channels};
use hcd_kernels::gemm::{Activation, Bias, Left, Panels, multiply, multiply_here};
use hcd_kernels::linear::{self, Mix};
use hcd_kernels::max_pool::{self, PoolShape};
use hcd_kernels::reference::{self, assert_close, noise};
use hcd_kernels::relu::{self, Rectifier};
use hcd_kernels::update::{self, AdamW, Sgd};
use hcd_kernels::{average, gelu, layer_norm};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// As many cases, the same ones each time.
fn fixed(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(2),
        max_global_rejects: 100_000,
        ..ProptestConfig::default()
    }
}

fn empty(length: usize) -> Vec<f32> {
    vec![f32::NAN; length]
}

/// Rows become columns.
fn turned(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    (0..values.len()).map(|at| values[at % rows * columns + at / rows]).collect()
}

fn rectifiers() -> impl Strategy<Value = Rectifier> {
    prop_oneof![Just(Rectifier::None), Just(Rectifier::Relu), Just(Rectifier::Relu6)]
}

proptest! {
    #![proptest_config(fixed(1000))]

    #[test]
    fn products(rows in 1..90usize, depth in 1..300usize, columns in 1..80usize, added in 0..4usize, has_gelu: bool) {
        let (a, b) = (noise(rows * depth, 1), noise(columns * depth, 2));
        let (a_turned, b_turned) = (turned(&a, depth), turned(&b, depth));
        let (by_column, by_row, there) = (noise(columns, 3), noise(rows, 4), noise(rows * columns, 5));
        let bias = [Bias::None, Bias::Column(&by_column), Bias::Row(&by_row), Bias::There][added];
        let activation = if has_gelu { Activation::Gelu } else { Activation::None };
        let lefts = [Left::straight(&a, depth), Left::transposed(&a_turned, rows)];
        let rights = [Panels::transposed(&b, depth), Panels::straight(&b_turned, columns)];
        let mut found = Vec::new();
        for left in lefts {
            for right in &rights {
                let start = if added == 3 { there.clone() } else { empty(rows * columns) };
                let (mut shared, mut here) = (start.clone(), start);
                multiply(left, right, bias, activation, &mut shared);
                multiply_here(left, right, bias, activation, &mut Vec::new(), &mut here);
                found.extend([shared, here]);
            }
        }
        let plus = |at: usize| match bias {
            Bias::None => 0.0,
            Bias::Column(bias) => bias[at % columns],
            Bias::Row(bias) => bias[at / columns],
            Bias::There => there[at],
        };
        let mut expected = reference::product(&a, &b, [rows, depth, columns]);
        for (at, value) in expected.iter_mut().enumerate() {
            *value += f64::from(plus(at));
            if has_gelu {
                *value = reference::gelu(*value).0;
            }
        }
        for found in found {
            // f32 sums of up to 300 terms below 1.
            assert_close("c", &found, &expected, 5e-6);
        }
    }

    #[test]
    fn linear_maps(rows in 1..70usize, depth in 1..70usize, out in 1..70usize) {
        let (x, weight) = (noise(rows * depth, 1), noise(out * depth, 2));
        let (bias, grad) = (noise(out, 3), noise(rows * out, 4));
        let (mut y, mut dx) = (empty(grad.len()), empty(x.len()));
        let (mut dweight, mut dbias) = (empty(weight.len()), empty(out));
        linear::forward(&x, &weight, &bias, depth, F32, Activation::None, &mut y);
        linear::input_grad(&grad, &weight, depth, F32, &mut dx);
        linear::weight_grad(&x, &grad, depth, F32, &mut dweight);
        linear::bias_grad(&grad, &mut dbias);
        let expected = reference::linear(&x, &weight, &bias, &grad);
        assert_close("y", &y, &expected.y, 2e-6);
        assert_close("dx", &dx, &expected.dx, 2e-6);
        assert_close("dweight", &dweight, &expected.dweight, 2e-6);
        assert_close("dbias", &dbias, &expected.dbias, 2e-6);
    }

    #[test]
    fn mixes(images in 0..5usize, tokens in 1..40usize, out in 1..40usize, width in 1..40usize) {
        let mix = Mix { tokens, out, width, precision: F32 };
        let (x, weight) = (noise(images * tokens * width, 1), noise(out * tokens, 2));
        let (bias, grad) = (noise(out, 3), noise(images * out * width, 4));
        let (mut y, mut dx) = (empty(grad.len()), empty(x.len()));
        let (mut dweight, mut dbias) = (empty(weight.len()), empty(out));
        linear::mix_forward(&mix, &weight, &x, &bias, Activation::None, &mut y);
        linear::mix_input_grad(&mix, &weight, &grad, &mut dx);
        linear::mix_weight_grad(&mix, &x, &grad, &mut dweight, &mut dbias);
        let expected = reference::mix(width, &weight, &x, &bias, &grad);
        assert_close("y", &y, &expected.y, 2e-6);
        assert_close("dx", &dx, &expected.dx, 2e-6);
        assert_close("dweight", &dweight, &expected.dweight, 2e-6);
        assert_close("dbias", &dbias, &expected.dbias, 2e-6);
    }

    #[test]
    fn attention_within_windows(
        images in 0..4usize, windows in 1..4usize, area in 1..40usize, heads in 1..4usize, head in 1..40usize,
        shift in 0..100usize, has_mask: bool,
    ) {
        let (tokens, width) = (windows * area, heads * head);
        let mask: Vec<f32> =
            noise(tokens * area, 3).iter().map(|&v| if v > 0.5 { -100.0 } else { 0.0 }).collect();
        let table = (0..tokens).map(|token| (token + shift) % tokens).rev().collect();
        let layout = Windows::new(area, table, has_mask.then_some(mask));
        let (qkv, bias) = (noise(images * tokens * 3 * width, 1), noise(heads * area * area, 2));
        let grad = noise(images * tokens * width, 4);
        let input = Input { qkv: &qkv, bias: &bias, windows: &layout, heads, width };
        let (mut out, mut dqkv, mut dbias) = (empty(grad.len()), empty(qkv.len()), empty(bias.len()));
        attention::forward(&input, &mut out);
        attention::backward(&input, &grad, &mut dqkv, &mut dbias);
        let expected = reference::attention(&input, &grad);
        assert_close("out", &out, &expected.out, 3e-6);
        assert_close("qkv", &dqkv, &expected.qkv_grad, 1e-5);
        assert_close("bias", &dbias, &expected.bias_grad, 1e-5);
    }

    #[test]
    fn batch_normalisation(
        images in 1..6usize, channels in 1..20usize, area in 2..120usize, rectifier in rectifiers(), given: bool,
    ) {
        let norm = BatchNorm { channels, area, epsilon: 1e-5, rectifier };
        let (x, mut grad) = (noise(images * channels * area, 1), noise(images * channels * area, 2));
        let weight: Vec<f32> = noise(channels, 3).iter().map(|v| 3.0 * v).collect();
        let bias: Vec<f32> = noise(channels, 4).iter().map(|v| 3.0 * v + 3.0).collect();
        let mut mean = noise(channels, 5);
        let mut variance: Vec<f32> = noise(channels, 6).iter().map(|v| v + 1.5).collect();
        if !given {
            batch_norm::moments(&norm, &x, &mut mean, &mut variance);
        }
        let statistics = given.then_some([&mean[..], &variance]);
        let reference = |rectifier: Rectifier, grad: &[f32]| {
            reference::batch_norm(&x, [&weight, &bias], statistics, None, 1e-5, rectifier, grad, area)
        };
        // So near to a bound, rounding decides whether a gradient passes.
        for (grad, before) in grad.iter_mut().zip(reference(Rectifier::None, &x).y) {
            if before.abs() < 1e-5 || (before - 6.0).abs() < 1e-5 {
                *grad = 0.0;
            }
        }
        let known = Channels { weight: &weight, bias: &bias, mean: &mean, variance: &variance };
        let mut y = empty(x.len());
        batch_norm::forward(&norm, Some(&x), &known, None, &mut y);
        let (mut dx, mut dweight, mut dbias) = (empty(x.len()), empty(channels), empty(channels));
        if given {
            let plain = BatchNorm { rectifier: Rectifier::None, ..norm };
            let mut masked = grad.clone();
            relu::backward(rectifier, &y, &mut masked);
            batch_norm::parameter_grads(&plain, &x, &known, &masked, &mut dweight, &mut dbias);
            batch_norm::backward_given(&plain, &known, Some(&masked), &mut dx);
        } else {
            batch_norm::backward(&norm, &x, &known, Some(&grad), &mut dx, &mut dweight, &mut dbias);
        }
        let expected = reference(rectifier, &grad);
        assert_close("y", &y, &expected.y, 3e-6);
        assert_close("mean", &mean, &expected.mean, 1e-6);
        assert_close("variance", &variance, &expected.variance, 1e-6);
        assert_close("dx", &dx, &expected.dx, 2e-5);
        assert_close("dweight", &dweight, &expected.dweight, 1e-5);
        assert_close("dbias", &dbias, &expected.dbias, 1e-5);
    }

    #[test]
    fn layer_normalisation(rows in 1..150usize, width in 2..150usize) {
        let (x, grad) = (noise(rows * width, 1), noise(rows * width, 2));
        let (weight, bias) = (noise(width, 3), noise(width, 4));
        let (mut y, mut dx) = (empty(x.len()), grad.clone());
        let (mut dweight, mut dbias) = (empty(width), empty(width));
        layer_norm::forward(&x, &weight, &bias, 1e-2, &mut y);
        layer_norm::backward(&x, &weight, 1e-2, &mut dx, &mut dweight, &mut dbias);
        let expected = reference::layer_norm(&x, &weight, &bias, 1e-2, &grad);
        assert_close("y", &y, &expected.y, 2e-6);
        assert_close("dx", &dx, &expected.dx, 1e-5);
        assert_close("dweight", &dweight, &expected.dweight, 1e-5);
        assert_close("dbias", &dbias, &expected.dbias, 1e-5);
    }

    #[test]
    fn pooling(
        planes in 0..5usize, size in [1..30usize, 1..50usize], kernel in [1..8usize, 1..8usize],
        stride in [1..5usize, 1..5usize], padding in [0..4usize, 0..4usize],
    ) {
        let padding = [0, 1].map(|axis| padding[axis].min(kernel[axis] / 2));
        let size = [0, 1].map(|axis| size[axis].max(kernel[axis] - 2 * padding[axis]));
        let shape = PoolShape { planes, size, kernel, stride, padding };
        // Few values, so that many are equal.
        let x: Vec<f32> = noise(planes * size[0] * size[1], 1).iter().map(|v| (v * 8.0).round()).collect();
        let grad = noise(planes * shape.out_size()[0] * shape.out_size()[1], 2);
        let (mut y, mut again) = (empty(grad.len()), empty(grad.len()));
        let (mut places, mut dx) = (vec![0; grad.len()], empty(x.len()));
        max_pool::forward(&shape, &x, &mut y);
        max_pool::forward_with_places(&shape, &x, &mut again, &mut places);
        max_pool::backward(&shape, &places, &grad, &mut dx);
        let expected = reference::max_pool(&shape, &x, &grad);
        assert_eq!([&y, &again], [&expected.y; 2]);
        assert_close("dx", &dx, &expected.dx, 2e-6);
    }

    #[test]
    fn averages(planes in 0..80usize, area in 1..400usize) {
        let (x, grad) = (noise(planes * area, 1), noise(planes, 2));
        let (mut y, mut dx) = (empty(planes), empty(x.len()));
        average::forward(area, &x, &mut y);
        average::backward(area, &grad, &mut dx);
        let [expected, expected_dx] = reference::average(area, &x, &grad);
        assert_close("y", &y, &expected, 1e-6);
        assert_close("dx", &dx, &expected_dx, 1e-6);
    }

    #[test]
    fn gelus_and_rectifiers(length in 0..400usize, seed: u64, rectifier in rectifiers()) {
        let x: Vec<f32> = noise(length, seed).iter().map(|v| v * 9.0).collect();
        let grad = noise(length, 1);
        let (mut y, mut dx) = (empty(length), grad.clone());
        gelu::forward(&x, &mut y);
        gelu::backward(&x, &mut dx);
        let expected: Vec<(f64, f64)> = x.iter().map(|&x| reference::gelu(x.into())).collect();
        assert_close("gelu", &y, &expected.iter().map(|of| of.0).collect::<Vec<_>>(), 1e-6);
        let slopes: Vec<f64> = expected.iter().zip(&grad).map(|(of, &grad)| of.1 * f64::from(grad)).collect();
        assert_close("gelu'", &dx, &slopes, 1e-6);
        let (mut sum, mut passed) = (empty(length), grad.clone());
        relu::forward(&x, &mut y);
        relu::add_forward(Rectifier::Relu, &x, Some(&grad), &mut sum);
        relu::backward(rectifier, &x, &mut passed);
        for i in 0..length {
            assert_eq!([y[i], sum[i]], [x[i].max(0.0), (x[i] + grad[i]).max(0.0)]);
            let passes = match rectifier {
                Rectifier::None => true,
                Rectifier::Relu => x[i] > 0.0,
                Rectifier::Relu6 => x[i] > 0.0 && x[i] < 6.0,
            };
            assert_eq!(passed[i], if passes { grad[i] } else { 0.0 });
        }
    }

    #[test]
    fn updates(length in 0..400usize, seed: u64, nesterov: bool, rate in 1e-4..1f32, decay in 0.0..0.1f32) {
        let (grad, old, start) = (noise(length, seed), noise(length, 1), noise(length, 2));
        let rule = Sgd { rate, momentum: 0.9, nesterov, decay };
        let (mut velocity, mut value) = (old.clone(), start.clone());
        update::sgd(&rule, &grad, &mut velocity, &mut value);
        let expected = reference::sgd(&rule, &grad, &old, &start);
        assert_close("velocity", &velocity, &expected[0], 1e-6);
        assert_close("value", &value, &expected[1], 2e-6);
        let rule =
            AdamW { rate, shrink: 1.0 - rate * decay, betas: [0.9, 0.999], news: [0.1, 0.001], scale: 3.0, epsilon: 1e-3 };
        let squares: Vec<f32> = noise(length, 3).iter().map(|v| v * v).collect();
        let (mut mean, mut square, mut value) = (old.clone(), squares.clone(), start.clone());
        update::adamw(&rule, &grad, &mut mean, &mut square, &mut value);
        let expected = reference::adamw(&rule, &grad, &old, &squares, &start);
        assert_close("mean", &mean, &expected[0], 1e-6);
        assert_close("square", &square, &expected[1], 1e-6);
        assert_close("value", &value, &expected[2], 2e-6);
        let mut mean = old.clone();
        update::average(1.0 - rate, rate, &start, &mut mean);
        assert_close("average", &mean, &reference::faded(1.0 - rate, rate, &start, &old), 1e-6);
    }
}
