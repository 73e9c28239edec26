//! NaN and ±∞ come out where the scalar version has them: a training that has gone wrong must show.
//!
//! Everywhere but in Winograd's transforms, which spread them over their tiles: see there.

use hcd_kernels::Precision::F32;
use hcd_kernels::attention::{self, Input, Windows};
use hcd_kernels::batch_norm::{self, BatchNorm, Channels};
use hcd_kernels::conv::{self, ConvShape};
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

/// One shape for each way of a convolution but Winograd's.
fn shapes() -> Vec<ConvShape> {
    let shape = |groups, channels: [usize; 2], size, kernel, stride, padding, dilation| ConvShape {
        images: 2,
        groups,
        in_channels: channels[0],
        out_channels: channels[1],
        size,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 2],
        dilation: [dilation; 2],
        precision: F32,
    };
    vec![
        shape(1, [3, 5], [7, 9], 3, 1, 1, 1),
        shape(1, [2, 17], [8, 19], 3, 2, 1, 1),
        shape(2, [4, 6], [9, 8], 3, 2, 2, 2),
        shape(1, [4, 5], [8, 8], 1, 1, 0, 1),
        shape(1, [4, 5], [16, 15], 1, 2, 0, 1),
        shape(3, [3, 3], [7, 18], 3, 1, 1, 1),
        shape(3, [3, 6], [9, 10], 3, 2, 1, 2),
    ]
}

/// The same convolution of images with their zeros around them: what is outside counts as 0, and 0 · ∞ is NaN.
fn with_margins(shape: &ConvShape, x: &[f32]) -> (ConvShape, Vec<f32>) {
    let ([height, width], [down, across]) = (shape.size, shape.padding);
    let size = [height + 2 * down, width + 2 * across];
    let mut wide = vec![0.0; shape.images * shape.in_channels * size[0] * size[1]];
    for (row, line) in x.chunks_exact(width).enumerate() {
        let start = (row / height * size[0] + row % height + down) * size[1] + across;
        wide[start..start + width].copy_from_slice(line);
    }
    (ConvShape { size, padding: [0, 0], ..*shape }, wide)
}

#[test]
fn convolutions() {
    for shape in shapes() {
        let (x, weight) = (noise(shape.input_len(), 1), noise(shape.weight_len(), 2));
        let (bias, grad) = (noise(shape.out_channels, 3), noise(shape.output_len(), 4));
        let check = |x: &[f32], weight: &[f32], bias: &[f32], grad: &[f32], weight_is_odd: bool| {
            let (mut y, mut dx) = (empty(grad.len()), empty(x.len()));
            let (mut dweight, mut dbias) = (empty(weight.len()), empty(bias.len()));
            conv::forward(&shape, x, weight, Some(bias), &mut y);
            conv::input_grad(&shape, grad, weight, &mut dx);
            conv::weight_grad(&shape, x, grad, &mut dweight, Some(&mut dbias));
            let (wide, wide_x) = with_margins(&shape, x);
            let expected = reference::conv(&wide, &wide_x, weight, bias, grad);
            assert_same(&format!("y {shape:?}"), &y, &expected.y);
            assert_same(&format!("dweight {shape:?}"), &dweight, &expected.dweight);
            assert_same(&format!("dbias {shape:?}"), &dbias, &expected.dbias);
            let expected = reference::conv(&shape, x, weight, bias, grad);
            match weight_is_odd {
                // Here the output's gradient counts as 0 outside, and so more may be NaN.
                true => assert_odd_where(&format!("dx {shape:?}"), &dx, &expected.dx),
                false => assert_same(&format!("dx {shape:?}"), &dx, &expected.dx),
            }
        };
        for seed in 5..15 {
            spoilt(x.len(), seed).iter().for_each(|x| check(x, &weight, &bias, &grad, false));
            spoilt(grad.len(), seed).iter().for_each(|grad| check(&x, &weight, &bias, grad, false));
            spoilt(weight.len(), seed).iter().for_each(|weight| check(&x, weight, &bias, &grad, true));
            spoilt(bias.len(), seed).iter().for_each(|bias| check(&x, &weight, bias, &grad, false));
        }
    }
}

/// Winograd's transforms put together the 6x6 pixels that a tile of 4x4 reads: what is not finite among them may spoil the
/// whole tile, in all channels. What the scalar version has not finite is not finite, and other tiles keep their bits.
#[test]
fn winograd_spoils_no_more_than_tiles() {
    let shape = ConvShape {
        images: 3,
        groups: 1,
        in_channels: 33,
        out_channels: 40,
        size: [14, 17],
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1, 1],
        dilation: [1, 1],
        precision: F32,
    };
    let [height, width] = shape.size;
    let (x, weight) = (noise(shape.input_len(), 1), noise(shape.weight_len(), 2));
    let (bias, grad) = (vec![0.0; shape.out_channels], noise(shape.output_len(), 4));
    let run = |x: &[f32], grad: &[f32]| {
        let (mut y, mut dx, mut dweight) = (empty(grad.len()), empty(x.len()), empty(weight.len()));
        conv::forward(&shape, x, &weight, Some(&bias), &mut y);
        conv::input_grad(&shape, grad, &weight, &mut dx);
        conv::weight_grad(&shape, x, grad, &mut dweight, None);
        [y, dx, dweight]
    };
    let clean = run(&x, &grad);
    // Where in an image: a row of tiles reads one row more on either side.
    let near = |from: usize, to: usize| from + 1 >= to / 4 * 4 && from <= to / 4 * 4 + 4;
    for odd in ODD {
        for place in [[0, 0, 0, 0], [1, 32, 13, 16], [2, 5, 4, 7], [0, 31, 7, 8]] {
            let [image, channel, row, column] = place;
            let at = |channels: usize| ((image * channels + channel) * height + row) * width + column;
            let mut spoilt = x.clone();
            spoilt[at(33)] = odd;
            let found = run(&spoilt, &grad);
            let expected = reference::conv(&shape, &spoilt, &weight, &bias, &grad);
            assert_odd_where("y", &found[0], &expected.y);
            assert_odd_where("dweight", &found[2], &expected.dweight);
            for (i, (found, clean)) in found[0].iter().zip(&clean[0]).enumerate() {
                let (other, i, j) = (i / (40 * height * width), i / width % height, i % width);
                let reads = other == image && near(row, i) && near(column, j);
                assert!(reads || found.to_bits() == clean.to_bits(), "y of {place:?} at {other}, {i}, {j}");
            }
            for (i, (found, clean)) in found[2].iter().zip(&clean[2]).enumerate() {
                let reads = i / 9 % 33 == channel;
                assert!(reads || found.to_bits() == clean.to_bits(), "dweight of {place:?} at {i}");
            }
            let mut spoilt = grad.clone();
            spoilt[at(40)] = odd;
            let found = run(&x, &spoilt);
            let expected = reference::conv(&shape, &x, &weight, &bias, &spoilt);
            assert_odd_where("dx", &found[1], &expected.dx);
            assert_odd_where("dweight", &found[2], &expected.dweight);
            for (i, (found, clean)) in found[1].iter().zip(&clean[1]).enumerate() {
                let (other, i, j) = (i / (33 * height * width), i / width % height, i % width);
                let reads = other == image && near(row, i) && near(column, j);
                assert!(reads || found.to_bits() == clean.to_bits(), "dx of {place:?} at {other}, {i}, {j}");
            }
            for (i, (found, clean)) in found[2].iter().zip(&clean[2]).enumerate() {
                let reads = i / (33 * 9) == channel;
                assert!(reads || found.to_bits() == clean.to_bits(), "dweight of {place:?} at {i}");
            }
        }
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
