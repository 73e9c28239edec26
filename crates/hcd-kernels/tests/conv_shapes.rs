//! Convolutions of many shapes, listed and drawn by chance, against the scalar version: values and gradients.

use hcd_kernels::Precision;
use hcd_kernels::conv::{self, ConvShape};
use hcd_kernels::reference::{self, assert_close, noise, rounded};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// In both precisions, with a bias or without.
fn agrees(shape: &ConvShape, has_bias: bool) {
    for precision in [Precision::F32, Precision::Bf16] {
        agrees_at(&ConvShape { precision, ..*shape }, has_bias);
    }
}

fn agrees_at(shape: &ConvShape, has_bias: bool) {
    let (x, weight) = (noise(shape.input_len(), 1), noise(shape.weight_len(), 2));
    let grad = noise(shape.output_len(), 3);
    let bias = if has_bias { noise(shape.out_channels, 4) } else { vec![0.0; shape.out_channels] };
    let (mut y, mut dx) = (vec![f32::NAN; grad.len()], vec![f32::NAN; x.len()]);
    let (mut dweight, mut dbias) = (vec![f32::NAN; weight.len()], vec![f32::NAN; bias.len()]);
    conv::forward(shape, &x, &weight, has_bias.then_some(&bias), &mut y);
    conv::input_grad(shape, &grad, &weight, &mut dx);
    conv::weight_grad(shape, &x, &grad, &mut dweight, Some(&mut dbias));
    let plain = reference::conv(shape, &x, &weight, &bias, &grad);
    // The bias's gradient is no product, and rounds nothing.
    assert_close(&format!("dbias {shape:?}"), &dbias, &plain.dbias, 5e-6);
    let expected = match shape.rounds() {
        true => reference::conv(shape, &rounded(&x), &rounded(&weight), &bias, &rounded(&grad)),
        false => plain,
    };
    // Winograd's transforms, where there are channels enough for them, are sums of their own; so are pairs of products.
    let scale = if shape.rounds() || shape.in_channels.min(shape.out_channels) >= 32 { 3.0 } else { 1.0 };
    assert_close(&format!("y {shape:?}"), &y, &expected.y, 2e-6 * scale);
    assert_close(&format!("dx {shape:?}"), &dx, &expected.dx, 2e-6 * scale);
    assert_close(&format!("dweight {shape:?}"), &dweight, &expected.dweight, 5e-6 * scale);
}

#[test]
fn dilated() {
    for [groups, in_channels, out_channels] in [[1, 3, 5], [2, 4, 6], [3, 3, 3], [2, 2, 6]] {
        for kernel in [[1, 1], [2, 3], [3, 3], [5, 4]] {
            for stride in [[1, 1], [2, 2], [3, 2], [2, 4]] {
                for dilation in [[1, 2], [2, 1], [2, 2], [3, 3], [4, 2], [2, 5]] {
                    for padding in [[0, 0], [1, 2], [4, 3], [7, 9]] {
                        let size = [13, 18];
                        let images = 2;
                        agrees(
                            &ConvShape {
                                images,
                                groups,
                                in_channels,
                                out_channels,
                                size,
                                kernel,
                                stride,
                                padding,
                                dilation,
                                precision: Precision::F32,
                            },
                            true,
                        );
                    }
                }
            }
        }
    }
}

/// The layers of a dilated ResNet: channels enough for every way but Winograd's.
#[test]
fn dilated_layers() {
    for (groups, stride) in [(1, 1), (1, 2), (64, 1), (64, 2)] {
        for dilation in [2, 4] {
            agrees(
                &ConvShape {
                    images: 3,
                    groups,
                    in_channels: 64,
                    out_channels: 64,
                    size: [14, 14],
                    kernel: [3, 3],
                    stride: [stride; 2],
                    padding: [dilation; 2],
                    dilation: [dilation; 2],
                    precision: Precision::F32,
                },
                false,
            );
        }
    }
}

/// Anything, also where nothing comes out.
fn any_shape() -> impl Strategy<Value = ConvShape> {
    let channels = prop_oneof![
        (Just(1usize), 1..=9usize, 1..=20usize),
        (2..=4usize, 1..=4usize, 1..=5usize),
        (2..=9usize, Just(1usize), 1..=3usize),
    ];
    let two = |range: std::ops::RangeInclusive<usize>| [range.clone(), range];
    let window = (two(1..=7), two(1..=4), two(0..=5), two(1..=3));
    (0..=4usize, channels, two(1..=23), window).prop_map(
        |(images, (groups, inputs, outputs), size, (kernel, stride, padding, dilation))| ConvShape {
            images,
            groups,
            in_channels: groups * inputs,
            out_channels: groups * outputs,
            size,
            kernel,
            stride,
            padding,
            dilation,
            precision: Precision::F32,
        },
    )
}

/// What networks are made of, with channels enough for Winograd's transforms and small matrix products.
fn layer() -> impl Strategy<Value = ConvShape> {
    let window =
        prop_oneof![(Just(3usize), Just(1usize), 0..=2usize), (Just(1usize), 1..=2usize, Just(0usize))];
    (1..=9usize, [32..=70usize, 32..=70usize], [3..=15usize, 3..=15usize], window).prop_map(
        |(images, [in_channels, out_channels], size, (kernel, stride, padding))| ConvShape {
            images,
            groups: 1,
            in_channels,
            out_channels,
            size,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
            dilation: [1, 1],
            precision: Precision::F32,
        },
    )
}

/// As many cases, the same ones each time.
fn fixed(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(fixed(2000))]

    #[test]
    fn of_any_shape(shape in any_shape(), has_bias: bool) {
        agrees(&shape, has_bias);
    }
}

proptest! {
    #![proptest_config(fixed(100))]

    #[test]
    fn of_layers(shape in layer(), has_bias: bool) {
        agrees(&shape, has_bias);
    }
}
