//! Maxima and means of maps.

use super::support::{cases, check, check_differences, check_differences_at};
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor, TensorData, module};
use hcd::ops::{global_average, max_pool2d};
use proptest::prelude::*;

fn check_max_pool(shape: [usize; 4], kernel: usize, stride: usize, padding: usize, tolerance: f64) {
    let name = format!("max_pool2d {kernel}, stride {stride}, padding {padding}");
    check(&name, &[shape], tolerance, &|t| max_pool2d(t[0].clone(), kernel, stride, padding), &|t| {
        let options = MaxPoolOptions::new([kernel; 2]).with_stride([stride; 2]).with_padding([padding; 2]);
        module::max_pool2d(t[0].clone(), options)
    });
}

#[test]
fn max_pool_is_burns() {
    for (shape, kernel, stride, padding) in [
        ([1, 1, 1, 1], 3, 2, 1),
        ([2, 3, 7, 15], 3, 2, 1),
        ([2, 2, 16, 35], 3, 2, 1),
        ([2, 3, 9, 8], 2, 2, 0),
        ([1, 2, 9, 11], 5, 3, 2),
    ] {
        check_max_pool(shape, kernel, stride, padding, 1e-7);
    }
}

fn check_global_average(shape: [usize; 4]) {
    let wide = |x: Tensor<2>| x.unsqueeze_dims::<4>(&[2, 3]);
    check("global_average", &[shape], 1e-6, &|t| wide(global_average(t[0].clone())), &|t| {
        t[0].clone().mean_dim(3).mean_dim(2)
    });
}

#[test]
fn global_average_is_burns() {
    for shape in [[1, 1, 1, 1], [2, 3, 7, 7], [3, 33, 5, 1]] {
        check_global_average(shape);
    }
}

proptest! {
    #![proptest_config(cases(100))]

    /// Windows that pass over each other, meet, or leave gaps; up to 25 of them add to a gradient.
    #[test]
    fn any_max_pool_is_burns(
        (kernel, padding) in (1..=5usize).prop_flat_map(|kernel| (Just(kernel), 0..=kernel / 2)),
        stride in 1..=4usize,
        [images, channels] in [1..=3usize, 1..=5usize],
        more in [0..=20usize, 0..=20usize],
    ) {
        let [height, width] = more.map(|more| (kernel + more).saturating_sub(2 * padding).max(1));
        check_max_pool([images, channels, height, width], kernel, stride, padding, 1e-6);
    }

    #[test]
    fn any_global_average_is_burns(shape in [1..=4usize, 1..=40usize, 1..=20usize, 1..=20usize]) {
        check_global_average(shape);
    }
}

#[test]
fn gradients_are_differences() {
    check_differences("global_average", &[[2, 3, 4, 3]], &|t| {
        global_average(t[0].clone()).unsqueeze_dims::<4>(&[2, 3])
    });
    // Numbers half a unit apart, in an order that looks random: no step makes another one the greatest.
    let shape = [2, 2, 6, 5];
    let values: Vec<f32> = (0..120).map(|i| (i * 77 % 120) as f32 / 2.0 - 30.25).collect();
    let x = Tensor::from_data(TensorData::new(values, shape), &Device::flex());
    for (kernel, stride, padding) in [(3, 2, 1), (2, 2, 0), (3, 1, 1)] {
        check_differences_at("max_pool2d", std::slice::from_ref(&x), &|t| {
            max_pool2d(t[0].clone(), kernel, stride, padding)
        });
    }
}
