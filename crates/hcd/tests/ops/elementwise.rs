//! What is done number by number: GELU, the residual sum with its rectifier, and the optimisers' updates.

use super::support::{assert_close, cases, check, check_differences, noise, numbers};
use burn::tensor::{DType, Device, Distribution, Tensor, activation};
use hcd::ops::update::{AdamW, Sgd, adamw, average, sgd};
use hcd::ops::{add, add_relu, gelu, layer_norm};
use proptest::prelude::*;

fn check_gelu(shape: [usize; 3]) {
    check("gelu", &[shape], 1e-6, &|x| gelu(x[0].clone()), &|x| activation::gelu(x[0].clone()));
}

#[test]
fn gelu_is_burns() {
    for shape in [[1, 1, 1], [2, 3, 5], [4, 17, 33]] {
        check_gelu(shape);
    }
}

fn check_add_relu(shape: [usize; 3]) {
    check("add_relu", &[shape, shape], 1e-6, &|t| add_relu(t[0].clone(), t[1].clone()), &|t| {
        activation::relu(t[0].clone() + t[1].clone())
    });
}

/// Both summands as they are, and the second one as the transpose of what lies in memory.
fn check_add(shape: [usize; 3]) {
    let [images, rows, columns] = shape;
    check("add", &[shape, shape], 1e-6, &|t| add(t[0].clone(), t[1].clone()), &|t| {
        t[0].clone() + t[1].clone()
    });
    let turned = |t: &[Tensor<3>]| t[1].clone().swap_dims(1, 2);
    check(
        "add of a transpose",
        &[shape, [images, columns, rows]],
        1e-6,
        &|t| add(t[0].clone(), turned(t)),
        &|t| t[0].clone() + turned(t),
    );
}

#[test]
fn sums_are_burns() {
    for shape in [[1, 1, 1], [3, 7, 11], [5, 33, 129]] {
        check_add_relu(shape);
        check_add(shape);
    }
}

/// Maps whose channels were moved to the end and back, which kernels turn themselves.
#[test]
fn moved_channels_are_found() {
    let device = Device::flex();
    for [images, channels, height, width] in
        [[2, 5, 3, 7], [1, 33, 17, 18], [3, 1, 4, 4], [2, 4, 1, 9], [2, 6, 5, 1]]
    {
        let count = images * channels * height * width;
        let x = noise([count], 1, &device).reshape([images, channels, height, width]);
        let moved =
            add(Tensor::zeros([images, height, width, channels], &device), x.clone().permute([0, 2, 3, 1]));
        let back = add(Tensor::zeros(x.dims(), &device), moved.clone().permute([0, 3, 1, 2]));
        let (x, moved) = (numbers(x), numbers(moved));
        assert_eq!(numbers(back), x);
        let area = height * width;
        for (place, value) in moved.into_iter().enumerate() {
            let (image, pixel, channel) =
                (place / (area * channels), place / channels % area, place % channels);
            assert_eq!(value, x[(image * channels + channel) * area + pixel]);
        }
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn any_gelu_and_sum_is_burns(shape in [1..=5usize, 1..=40usize, 1..=130usize]) {
        check_gelu(shape);
        check_add_relu(shape);
        check_add(shape);
    }
}

#[test]
fn gradients_are_differences() {
    check_differences("gelu", &[[3, 5, 9]], &|x| gelu(x[0].clone()));
    check_differences("add_relu", &[[3, 5, 9], [3, 5, 9]], &|x| add_relu(x[0].clone(), x[1].clone()));
}

#[test]
fn updates_are_what_they_are_composed_of() {
    let device = Device::flex();
    let of = |seed: u64| noise([1001], seed, &device);
    let wide = |x: Tensor<1>| x.cast(DType::F64);
    let same = |got: Vec<Tensor<1>>, expected: Vec<Tensor<1>>| {
        for (got, expected) in got.into_iter().zip(expected) {
            assert_close("update", &numbers(got), &numbers(expected), 1e-6);
        }
    };
    for (nesterov, decay) in [(false, 0.0), (true, 1e-2)] {
        let rule = Sgd { rate: 0.1, momentum: 0.9, nesterov, decay };
        for old in [None, Some(of(3))] {
            let expected = sgd(wide(of(1)), wide(of(2)), old.clone().map(wide), rule);
            same(sgd(of(1), of(2), old, rule).into(), expected.into());
        }
    }
    let rule =
        AdamW { rate: 0.1, shrink: 0.99, betas: [0.9, 0.99], news: [0.1, 0.01], scale: 2.0, epsilon: 1e-3 };
    for old in [None, Some([of(3), of(4).abs()])] {
        let expected = adamw(wide(of(1)), wide(of(2)), old.clone().map(|old| old.map(wide)), rule);
        same(adamw(of(1), of(2), old, rule).into(), expected.into());
    }
    same(vec![average(of(1), of(2), 0.9)], vec![average(wide(of(1)), wide(of(2)), 0.9)]);
}

#[test]
fn plain_device_needs_no_graph() {
    let device = Device::flex();
    let x = Tensor::<2>::random([3, 8], Distribution::Default, &device);
    assert_eq!(gelu(x.clone()).dims(), [3, 8]);
    let ones = Tensor::ones([8], &device);
    assert_eq!(layer_norm(x, ones.clone(), ones, 1e-5).dims(), [3, 8]);
}
