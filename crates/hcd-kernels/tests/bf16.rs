//! Products of 16 bits against f64 sums of rounded operands.

use hcd_kernels::Precision::Bf16;
use hcd_kernels::gemm::Activation;
use hcd_kernels::linear::{self, Mix};
use hcd_kernels::reference::{assert_close, noise, product, rounded};

/// (rows, columns) → (columns, rows)
fn turned(x: &[f32], columns: usize) -> Vec<f32> {
    let rows = x.len().checked_div(columns).unwrap_or(0);
    (0..x.len()).map(|at| x[at % rows * columns + at / rows]).collect()
}

#[test]
fn linear_layers() {
    for rows in [1, 15, 33, 300] {
        for depth in [1, 2, 31, 64, 1030] {
            for out in [1, 16, 47] {
                let (x, weight, bias) = (noise(rows * depth, 1), noise(out * depth, 2), noise(out, 3));
                let grad = noise(rows * out, 4);
                let [mut y, mut dx, mut dweight] = [&grad, &x, &weight].map(|like| vec![f32::NAN; like.len()]);
                linear::forward(&x, &weight, &bias, depth, Bf16, Activation::None, &mut y);
                linear::input_grad(&grad, &weight, depth, Bf16, &mut dx);
                linear::weight_grad(&x, &grad, depth, Bf16, &mut dweight);
                let [x, weight, grad] = [x, weight, grad].map(|values| rounded(&values));
                let mut expected = product(&x, &weight, [rows, depth, out]);
                expected.iter_mut().enumerate().for_each(|(at, y)| *y += f64::from(bias[at % out]));
                let what = format!("{rows} {depth} {out}");
                assert_close(&format!("y {what}"), &y, &expected, 1e-5);
                let expected = product(&grad, &turned(&weight, depth), [rows, out, depth]);
                assert_close(&format!("dx {what}"), &dx, &expected, 1e-5);
                let expected = product(&turned(&grad, out), &turned(&x, depth), [out, rows, depth]);
                assert_close(&format!("dweight {what}"), &dweight, &expected, 1e-5);
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
    let mut expected_dweight = vec![0.0; dweight.len()];
    for image in 0..images {
        let x = &x[image * size..][..size];
        let grad = &grad[image * mix.out * mix.width..][..mix.out * mix.width];
        let mut expected = product(&weight, &turned(x, mix.width), [mix.out, mix.tokens, mix.width]);
        expected.iter_mut().enumerate().for_each(|(at, y)| *y += f64::from(bias[at / mix.width]));
        assert_close("y", &y[image * mix.out * mix.width..][..mix.out * mix.width], &expected, 1e-5);
        let weight = turned(&weight, mix.tokens);
        let expected = product(&weight, &turned(grad, mix.width), [mix.tokens, mix.out, mix.width]);
        assert_close("dx", &dx[image * size..][..size], &expected, 1e-5);
        let part = product(grad, x, [mix.out, mix.width, mix.tokens]);
        expected_dweight.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
    }
    assert_close("dweight", &dweight, &expected_dweight, 1e-5);
}
