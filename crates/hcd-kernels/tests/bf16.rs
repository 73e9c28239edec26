//! Products of 16 bits against f64 sums of rounded operands.

use hcd_kernels::Precision::Bf16;
use hcd_kernels::conv::{self, ConvShape};
use hcd_kernels::gemm::Activation;
use hcd_kernels::linear::{self, Mix};
use hcd_kernels::reference::{self, assert_close, noise, rounded};

#[test]
fn linear_layers() {
    for rows in [1, 15, 33, 300] {
        for depth in [1, 2, 31, 64, 1030] {
            for out in [1, 16, 47] {
                let (x, weight, bias) = (noise(rows * depth, 1), noise(out * depth, 2), noise(out, 3));
                let grad = noise(rows * out, 4);
                let [mut y, mut dx, mut dweight] =
                    [&grad, &x, &weight].map(|like| vec![f32::NAN; like.len()]);
                linear::forward(&x, &weight, &bias, depth, Bf16, Activation::None, &mut y);
                linear::input_grad(&grad, &weight, depth, Bf16, &mut dx);
                linear::weight_grad(&x, &grad, depth, Bf16, &mut dweight);
                let [x, weight, grad] = [x, weight, grad].map(|values| rounded(&values));
                let expected = reference::linear(&x, &weight, &bias, &grad);
                let what = format!("{rows} {depth} {out}");
                assert_close(&format!("y {what}"), &y, &expected.y, 1e-5);
                assert_close(&format!("dx {what}"), &dx, &expected.dx, 1e-5);
                assert_close(&format!("dweight {what}"), &dweight, &expected.dweight, 1e-5);
            }
        }
    }
}

#[test]
fn mixing_over_tokens() {
    let mix = Mix { tokens: 49, out: 70, width: 40, precision: Bf16 };
    let (images, size) = (3, mix.tokens * mix.width);
    let (x, grad) = (noise(images * size, 1), noise(images * mix.out * mix.width, 2));
    let (weight, bias) = (noise(mix.out * mix.tokens, 3), noise(mix.out, 4));
    let [mut y, mut dx, mut dweight] = [&grad, &x, &weight].map(|like| vec![f32::NAN; like.len()]);
    let mut dbias = bias.clone();
    linear::mix_forward(&mix, &weight, &x, &bias, Activation::None, &mut y);
    linear::mix_input_grad(&mix, &weight, &grad, &mut dx);
    linear::mix_weight_grad(&mix, &x, &grad, &mut dweight, &mut dbias);
    let [x, weight, grad] = [x, weight, grad].map(|values| rounded(&values));
    let expected = reference::mix(mix.width, &weight, &x, &bias, &grad);
    assert_close("y", &y, &expected.y, 1e-5);
    assert_close("dx", &dx, &expected.dx, 1e-5);
    assert_close("dweight", &dweight, &expected.dweight, 1e-5);
}

#[test]
fn convolutions() {
    let shape =
        |images, groups, [in_channels, out_channels]: [usize; 2], size, kernel, stride, padding, dilation| {
            ConvShape {
                images,
                groups,
                in_channels,
                out_channels,
                size,
                kernel,
                stride,
                padding,
                dilation,
                precision: Bf16,
            }
        };
    for shape in [
        shape(1, 1, [1, 1], [1, 1], [1, 1], [1, 1], [0, 0], [1, 1]),
        shape(2, 1, [1, 8], [28, 28], [3, 3], [1, 1], [1, 1], [1, 1]),
        shape(3, 1, [3, 5], [7, 9], [3, 3], [1, 1], [1, 1], [1, 1]),
        shape(2, 1, [3, 70], [30, 31], [7, 7], [2, 2], [3, 3], [1, 1]),
        shape(5, 1, [33, 17], [8, 6], [1, 1], [2, 2], [0, 0], [1, 1]),
        shape(5, 1, [16, 35], [5, 6], [1, 1], [1, 1], [0, 0], [1, 1]),
        shape(3, 1, [40, 33], [12, 9], [3, 3], [1, 1], [1, 1], [1, 1]),
        shape(2, 1, [64, 80], [31, 13], [3, 3], [2, 2], [1, 1], [1, 1]),
        shape(36, 1, [130, 48], [4, 4], [3, 3], [1, 1], [1, 1], [1, 1]),
        shape(9, 1, [33, 40], [14, 14], [3, 3], [2, 1], [1, 1], [1, 1]),
        shape(70, 1, [20, 64], [7, 7], [3, 3], [2, 2], [1, 1], [1, 1]),
        shape(2, 1, [3, 9], [12, 8], [4, 4], [4, 4], [0, 0], [1, 1]),
        shape(2, 1, [18, 23], [9, 11], [2, 3], [3, 2], [1, 0], [1, 1]),
        shape(2, 1, [17, 3], [5, 5], [3, 3], [1, 1], [2, 2], [1, 1]),
        shape(2, 1, [32, 32], [13, 15], [3, 3], [1, 1], [2, 2], [2, 2]),
        shape(2, 1, [34, 31], [13, 15], [3, 5], [2, 3], [3, 2], [2, 3]),
        shape(2, 2, [6, 10], [6, 6], [5, 5], [1, 1], [2, 2], [1, 1]),
        shape(2, 3, [60, 99], [6, 7], [3, 3], [1, 2], [1, 1], [1, 1]),
        shape(2, 1, [1, 2], [2, 2], [5, 5], [1, 1], [1, 1], [1, 1]),
        shape(40, 1, [48, 8], [1, 1], [3, 3], [1, 1], [1, 1], [1, 1]),
        shape(3, 6, [6, 6], [9, 9], [3, 3], [1, 1], [1, 1], [1, 1]),
    ] {
        let (x, weight) = (noise(shape.input_len(), 1), noise(shape.weight_len(), 2));
        let (bias, grad) = (noise(shape.out_channels, 3), noise(shape.output_len(), 4));
        let [mut y, mut dx, mut dweight] = [&grad, &x, &weight].map(|like| vec![f32::NAN; like.len()]);
        conv::forward(&shape, &x, &weight, Some(&bias), &mut y);
        conv::input_grad(&shape, &grad, &weight, &mut dx);
        conv::weight_grad(&shape, &x, &grad, &mut dweight, None);
        let [x, weight, grad] = [x, weight, grad].map(|of| if shape.rounds() { rounded(&of) } else { of });
        let expected = reference::conv(&shape, &x, &weight, &bias, &grad);
        assert_close(&format!("y {shape:?}"), &y, &expected.y, 1e-5);
        assert_close(&format!("dx {shape:?}"), &dx, &expected.dx, 1e-5);
        assert_close(&format!("dweight {shape:?}"), &dweight, &expected.dweight, 1e-5);
    }
}
