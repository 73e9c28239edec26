//! NaN and ±∞ come out where the scalar version has them: a training that has gone wrong must show.
//!
//! Everywhere but in Winograd's transforms, which spread them over their tiles: see there.

mod convolutions;

use hcd_kernels::Precision::F32;
use hcd_kernels::attention::{self, Input, Windows};
use hcd_kernels::batch_norm::{self, BatchNorm, Channels};
use hcd_kernels::gemm::Activation;
use hcd_kernels::linear::{self, Mix};
use hcd_kernels::reference::{self, noise};
use hcd_kernels::relu::{self, Rectifier};
use hcd_kernels::update::{self, AdamW, Sgd};
use hcd_kernels::{average, gelu, layer_norm};

const ODD: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

fn empty(length: usize) -> Vec<f32> {
    vec![7.0; length]
}

/// Each of [`ODD`] alone, and all of them, at places that `seed` chooses.
fn spoilt(length: usize, seed: u64) -> Vec<Vec<f32>> {
    let places: Vec<usize> =
        noise(3, seed).iter().map(|v| ((v + 1.0) / 2.0 * length as f32) as usize % length).collect();
    let with = |odd: &[f32]| {
        let mut values = noise(length, seed);
        odd.iter().zip(&places).for_each(|(&odd, &place)| values[place] = odd);
        values
    };
    ODD.iter().map(|&odd| with(&[odd])).chain([with(&ODD)]).collect()
}

/// NaN, ∞ and −∞ at the same places, and about the same numbers between.
fn assert_same(name: &str, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{name}: lengths differ");
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let found = f64::from(found);
        let same = match expected.is_finite() {
            true => (found - expected).abs() <= 2e-5 * (1.0 + expected.abs()),
            false => found == expected || found.is_nan() && expected.is_nan(),
        };
        assert!(same, "{name}[{i}] = {found}, expected {expected}");
    }
}

fn assert_odd_where(name: &str, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{name}: lengths differ");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(expected.is_finite() || !found.is_finite(), "{name}[{i}] = {found}, expected {expected}");
    }
}

#[test]
fn affine_maps() {
    let (rows, depth, out, images, tokens) = (5, 18, 35, 3, 7);
    let check = |x: &[f32], weight: &[f32], bias: &[f32], grad: &[f32]| {
        let (mut y, mut dx) = (empty(grad.len()), empty(x.len()));
        let (mut dweight, mut dbias) = (empty(weight.len()), empty(out));
        linear::forward(x, weight, bias, depth, F32, Activation::None, &mut y);
        linear::input_grad(grad, weight, depth, F32, &mut dx);
        linear::weight_grad(x, grad, depth, F32, &mut dweight);
        linear::bias_grad(grad, &mut dbias);
        let expected = reference::linear(x, weight, bias, grad);
        assert_same("y", &y, &expected.y);
        assert_same("dx", &dx, &expected.dx);
        assert_same("dweight", &dweight, &expected.dweight);
        assert_same("dbias", &dbias, &expected.dbias);
        linear::forward(x, weight, bias, depth, F32, Activation::Gelu, &mut y);
        let activated: Vec<f64> = expected.y.iter().map(|&y| reference::gelu(y).0).collect();
        assert_same("gelu of y", &y, &activated);
    };
    let mixed = |x: &[f32], weight: &[f32], bias: &[f32], grad: &[f32]| {
        let mix = Mix { tokens, out: depth, width: rows, precision: F32 };
        let (mut y, mut dx) = (empty(grad.len()), empty(x.len()));
        let (mut dweight, mut dbias) = (empty(weight.len()), empty(depth));
        linear::mix_forward(&mix, weight, x, bias, Activation::None, &mut y);
        linear::mix_input_grad(&mix, weight, grad, &mut dx);
        linear::mix_weight_grad(&mix, x, grad, &mut dweight, &mut dbias);
        let expected = reference::mix(rows, weight, x, bias, grad);
        assert_same("mixed y", &y, &expected.y);
        assert_same("mixed dx", &dx, &expected.dx);
        assert_same("mixed dweight", &dweight, &expected.dweight);
        assert_same("mixed dbias", &dbias, &expected.dbias);
    };
    type Check<'a> = &'a dyn Fn(&[f32], &[f32], &[f32], &[f32]);
    let linear_lengths = [rows * depth, out * depth, out, rows * out];
    let mix_lengths = [images * tokens * rows, depth * tokens, depth, images * depth * rows];
    for (check, lengths) in [(&check as Check, linear_lengths), (&mixed, mix_lengths)] {
        let [x, weight, bias, grad] = [0, 1, 2, 3].map(|i| noise(lengths[i], i as u64 + 1));
        for seed in 5..10 {
            spoilt(lengths[0], seed).iter().for_each(|x| check(x, &weight, &bias, &grad));
            spoilt(lengths[1], seed).iter().for_each(|weight| check(&x, weight, &bias, &grad));
            spoilt(lengths[2], seed).iter().for_each(|bias| check(&x, &weight, bias, &grad));
            spoilt(lengths[3], seed).iter().for_each(|grad| check(&x, &weight, &bias, grad));
        }
    }
}

#[test]
fn attention_within_windows() {
    let (images, area, heads, head) = (2, 5, 2, 3);
    let (tokens, width) = (2 * area, heads * head);
    let layout = Windows::new(area, (0..tokens).rev().collect(), None);
    let check = |qkv: &[f32], bias: &[f32], grad: &[f32]| {
        let input = Input { qkv, bias, windows: &layout, heads, width };
        let (mut out, mut dqkv, mut dbias) = (empty(grad.len()), empty(qkv.len()), empty(bias.len()));
        attention::forward(&input, &mut out);
        attention::backward(&input, grad, &mut dqkv, &mut dbias);
        let expected = reference::attention(&input, grad);
        assert_same("out", &out, &expected.out);
        assert_same("dqkv", &dqkv, &expected.qkv_grad);
        assert_same("dbias", &dbias, &expected.bias_grad);
    };
    let lengths = [images * tokens * 3 * width, heads * area * area, images * tokens * width];
    let [qkv, bias, grad] = [0, 1, 2].map(|i| noise(lengths[i], i as u64 + 1));
    for seed in 5..25 {
        spoilt(lengths[0], seed).iter().for_each(|qkv| check(qkv, &bias, &grad));
        spoilt(lengths[1], seed).iter().for_each(|bias| check(&qkv, bias, &grad));
        spoilt(lengths[2], seed).iter().for_each(|grad| check(&qkv, &bias, grad));
    }
}

/// A mask of −∞ hides tokens, as in PyTorch; a token that sees none becomes NaN.
#[test]
fn attention_hides_what_a_mask_says() {
    let (area, width) = (4, 3);
    let mut mask = vec![0.0; area * area];
    mask[1] = f32::NEG_INFINITY;
    mask[4..8].fill(f32::NEG_INFINITY);
    let layout = Windows::new(area, (0..area).collect(), Some(mask));
    let (qkv, bias) = (noise(area * 3 * width, 1), noise(area * area, 2));
    let input = Input { qkv: &qkv, bias: &bias, windows: &layout, heads: 1, width };
    let mut out = empty(area * width);
    attention::forward(&input, &mut out);
    let expected = reference::attention(&input, &noise(area * width, 3));
    assert!(expected.out[3..6].iter().all(|v| v.is_nan()) && expected.out[..3].iter().all(|v| v.is_finite()));
    assert_same("out", &out, &expected.out);
}

#[test]
fn batch_normalisation() {
    let (images, channels, area) = (2, 3, 17);
    let length = images * channels * area;
    let check = |x: &[f32], weight: &[f32], bias: &[f32], grad: &[f32], rectifier: Rectifier, given: bool| {
        let norm = BatchNorm { channels, area, epsilon: 1e-5, rectifier };
        let (mut mean, mut variance) = (vec![0.25; channels], vec![0.5; channels]);
        let statistics = given.then(|| [mean.clone(), variance.clone()]);
        if !given {
            batch_norm::moments(&norm, x, &mut mean, &mut variance);
        }
        let known = Channels { weight, bias, mean: &mean, variance: &variance };
        let (mut y, mut dx) = (empty(length), empty(length));
        let (mut dweight, mut dbias) = (empty(channels), empty(channels));
        batch_norm::forward(&norm, Some(x), &known, None, &mut y);
        if given {
            let plain = BatchNorm { rectifier: Rectifier::None, ..norm };
            let mut masked = grad.to_vec();
            relu::backward(rectifier, &y, &mut masked);
            batch_norm::parameter_grads(&plain, x, &known, &masked, &mut dweight, &mut dbias);
            batch_norm::backward_given(&plain, &known, Some(&masked), &mut dx);
        } else {
            batch_norm::backward(&norm, x, &known, Some(grad), &mut dx, &mut dweight, &mut dbias);
        }
        let statistics = statistics.as_ref().map(|[mean, variance]| [&mean[..], variance]);
        let expected =
            reference::batch_norm(x, [weight, bias], statistics, None, 1e-5, rectifier, grad, area);
        let name = |what: &str| format!("{what} {rectifier:?} given {given}");
        if weight.iter().any(|weight| weight.is_infinite()) {
            // y = x · factor + shift, both infinite, may be NaN and not infinite; then so may all else.
            assert_odd_where(&name("y"), &y, &expected.y);
            return assert_odd_where(&name("dx"), &dx, &expected.dx);
        }
        assert_same(&name("y"), &y, &expected.y);
        // With infinite numbers the mean, too, may be NaN and not infinite: planes' means are put together.
        assert_odd_where(&name("mean"), &mean, &expected.mean);
        assert_same(&name("variance"), &variance, &expected.variance);
        assert_same(&name("dx"), &dx, &expected.dx);
        assert_same(&name("dweight"), &dweight, &expected.dweight);
        assert_same(&name("dbias"), &dbias, &expected.dbias);
    };
    let (x, grad) = (noise(length, 1), noise(length, 2));
    let (weight, bias) = (noise(channels, 3), noise(channels, 4));
    for rectifier in [Rectifier::None, Rectifier::Relu, Rectifier::Relu6] {
        for given in [false, true] {
            for seed in 5..15 {
                let check = |x: &[f32], weight: &[f32], bias: &[f32], grad: &[f32]| {
                    check(x, weight, bias, grad, rectifier, given);
                };
                spoilt(length, seed).iter().for_each(|x| check(x, &weight, &bias, &grad));
                spoilt(length, seed).iter().for_each(|grad| check(&x, &weight, &bias, grad));
                spoilt(channels, seed).iter().for_each(|weight| check(&x, weight, &bias, &grad));
                spoilt(channels, seed).iter().for_each(|bias| check(&x, &weight, bias, &grad));
            }
        }
    }
}

/// As in PyTorch: what is not clipped passes its gradient, however great it is, and so does NaN.
#[test]
fn gradients_pass_at_infinity() {
    let y = [f32::NEG_INFINITY, f32::INFINITY, f32::NAN];
    for (rectifier, passed) in [
        (Rectifier::None, [1.0, 1.0, 1.0]),
        (Rectifier::Relu, [0.0, 1.0, 1.0]),
        (Rectifier::Relu6, [0.0, 0.0, 1.0]),
    ] {
        let mut grad = [1.0; 3];
        relu::backward(rectifier, &y, &mut grad);
        assert_eq!(grad, passed, "{rectifier:?}");
    }
}

#[test]
fn layer_normalisation() {
    let (rows, width) = (4, 19);
    let check = |x: &[f32], weight: &[f32], bias: &[f32], grad: &[f32]| {
        let (mut y, mut dx) = (empty(x.len()), grad.to_vec());
        let (mut dweight, mut dbias) = (empty(width), empty(width));
        layer_norm::forward(x, weight, bias, 1e-5, &mut y);
        layer_norm::backward(x, weight, 1e-5, &mut dx, &mut dweight, &mut dbias);
        let expected = reference::layer_norm(x, weight, bias, 1e-5, grad);
        assert_same("y", &y, &expected.y);
        assert_same("dx", &dx, &expected.dx);
        assert_same("dweight", &dweight, &expected.dweight);
        assert_same("dbias", &dbias, &expected.dbias);
    };
    let (x, grad) = (noise(rows * width, 1), noise(rows * width, 2));
    let (weight, bias) = (noise(width, 3), noise(width, 4));
    for seed in 5..15 {
        spoilt(x.len(), seed).iter().for_each(|x| check(x, &weight, &bias, &grad));
        spoilt(x.len(), seed).iter().for_each(|grad| check(&x, &weight, &bias, grad));
        spoilt(width, seed).iter().for_each(|weight| check(&x, weight, &bias, &grad));
        spoilt(width, seed).iter().for_each(|bias| check(&x, &weight, bias, &grad));
    }
}

#[test]
fn elementwise() {
    // Also great numbers, whose squares are infinite.
    let x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e38, -1e38, 1e20, -1e20, 15.0, -15.0, 0.0, 1.0];
    let (mut y, mut slope, mut positive) = (empty(x.len()), vec![1.0; x.len()], empty(x.len()));
    gelu::forward(&x, &mut y);
    gelu::backward(&x, &mut slope);
    relu::forward(&x, &mut positive);
    let expected = x.map(|x| reference::gelu(x.into()));
    assert_same("gelu", &y, &expected.map(|of| of.0));
    assert_same("gelu'", &slope, &expected.map(|of| of.1));
    assert_same("relu", &positive, &x.map(|x| if x < 0.0 { 0.0 } else { x.into() }));
    let mut sum = empty(3);
    relu::add_forward(
        Rectifier::Relu,
        &[f32::NAN, f32::INFINITY, f32::INFINITY],
        Some(&[0.0, f32::NEG_INFINITY, 1.0]),
        &mut sum,
    );
    assert_same("sum", &sum, &[f64::NAN, f64::NAN, f64::INFINITY]);
}

#[test]
fn averages_and_updates() {
    let rule = Sgd { rate: 0.5, momentum: 0.9, nesterov: true, decay: 0.1 };
    let adamw =
        AdamW { rate: 0.5, shrink: 0.9, betas: [0.9, 0.99], news: [0.1, 0.01], scale: 2.0, epsilon: 1e-3 };
    let length = 34;
    let [old, start] = [1, 2].map(|seed| noise(length, seed));
    let squares: Vec<f32> = old.iter().map(|v| v * v).collect();
    for spoilt in (5..15).flat_map(|seed| spoilt(length, seed)) {
        let (mut mean, mut dx) = (empty(2), empty(2 * length));
        average::forward(length / 2, &spoilt, &mut mean);
        assert_same("mean", &mean, &reference::average(length / 2, &spoilt, &[0.0; 2])[0]);
        average::backward(2, &spoilt, &mut dx);
        assert_same("dx", &dx, &reference::average(2, &dx.clone(), &spoilt)[1]);
        for (grad, start) in [(&spoilt, &start), (&old, &spoilt)] {
            let (mut velocity, mut value) = (old.clone(), start.clone());
            update::sgd(&rule, grad, &mut velocity, &mut value);
            let expected = reference::sgd(&rule, grad, &old, start);
            assert_same("velocity", &velocity, &expected[0]);
            assert_same("value", &value, &expected[1]);
            let (mut mean, mut square, mut value) = (old.clone(), squares.clone(), start.clone());
            update::adamw(&adamw, grad, &mut mean, &mut square, &mut value);
            let expected = reference::adamw(&adamw, grad, &old, &squares, start);
            assert_same("mean", &mean, &expected[0]);
            assert_same("square", &square, &expected[1]);
            assert_same("value", &value, &expected[2]);
            let mut mean = old.clone();
            update::average(0.75, 0.25, start, &mut mean);
            assert_same("average", &mean, &reference::faded(0.75, 0.25, start, &old));
        }
    }
}
