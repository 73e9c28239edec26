//! Convolutions in each of their ways.

use crate::{ODD, assert_odd_where, assert_same, empty, spoilt};
use hcd_kernels::Precision::F32;
use hcd_kernels::conv::{self, ConvShape};
use hcd_kernels::reference::{self, noise};

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
            let kept = |what: &str, found: &[f32], clean: &[f32], reads: &dyn Fn(usize) -> bool| {
                for (i, (found, clean)) in found.iter().zip(clean).enumerate() {
                    assert!(reads(i) || found.to_bits() == clean.to_bits(), "{what} of {place:?} at {i}");
                }
            };
            // Of images with so many channels.
            let tiles = |channels: usize| {
                move |i: usize| {
                    let (other, i, j) = (i / (channels * height * width), i / width % height, i % width);
                    other == image && near(row, i) && near(column, j)
                }
            };
            let mut spoilt = x.clone();
            spoilt[at(33)] = odd;
            let found = run(&spoilt, &grad);
            let expected = reference::conv(&shape, &spoilt, &weight, &bias, &grad);
            assert_odd_where("y", &found[0], &expected.y);
            assert_odd_where("dweight", &found[2], &expected.dweight);
            kept("y", &found[0], &clean[0], &tiles(40));
            kept("dweight", &found[2], &clean[2], &|i| i / 9 % 33 == channel);
            let mut spoilt = grad.clone();
            spoilt[at(40)] = odd;
            let found = run(&x, &spoilt);
            let expected = reference::conv(&shape, &x, &weight, &bias, &spoilt);
            assert_odd_where("dx", &found[1], &expected.dx);
            assert_odd_where("dweight", &found[2], &expected.dweight);
            kept("dx", &found[1], &clean[1], &tiles(33));
            kept("dweight", &found[2], &clean[2], &|i| i / (33 * 9) == channel);
        }
    }
}
