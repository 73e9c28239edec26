//! Convolutions: every way in which they are computed.

use super::support::{cases, check, check_differences, vector};
use burn::tensor::module;
use burn::tensor::ops::ConvOptions;
use hcd::ops::conv2d;
use proptest::prelude::*;

/// Sizes of x and weight, stride, padding, groups.
type Case = ([usize; 4], [usize; 4], usize, usize, usize);

fn check_case(case: Case, tolerance: f64) {
    let (x, weight, stride, padding, groups) = case;
    let options = || ConvOptions::new([stride; 2], [padding; 2], [1; 2], groups);
    check(
        &format!("conv2d {case:?}"),
        &[x, weight, [1, 1, 1, weight[0]]],
        tolerance,
        &|t| conv2d(t[0].clone(), t[1].clone(), Some(vector(&t[2])), stride, padding, groups),
        &|t| module::conv2d(t[0].clone(), t[1].clone(), Some(vector(&t[2])), options()),
    );
    check(
        &format!("conv2d without bias {case:?}"),
        &[x, weight],
        tolerance,
        &|t| conv2d(t[0].clone(), t[1].clone(), None, stride, padding, groups),
        &|t| module::conv2d(t[0].clone(), t[1].clone(), None, options()),
    );
}

#[test]
fn conv2d_is_burns() {
    for case in [
        ([1, 1, 3, 3], [1, 1, 1, 1], 1, 0, 1),
        ([2, 3, 9, 7], [5, 3, 3, 3], 1, 1, 1),
        ([3, 4, 8, 11], [9, 4, 3, 3], 2, 1, 1),
        ([2, 3, 15, 14], [4, 3, 7, 7], 2, 3, 1),
        ([2, 6, 5, 6], [3, 6, 1, 1], 2, 0, 1),
        ([2, 3, 8, 8], [6, 3, 4, 4], 4, 0, 1),
        ([2, 6, 7, 6], [6, 1, 3, 3], 1, 1, 6),
        ([2, 6, 7, 6], [4, 3, 3, 3], 2, 1, 2),
    ] {
        check_case(case, 1e-5);
    }
}

/// Kernels of 1 to 7, whole, in groups, depthwise; maps may be smaller than the kernel, as far as the padding goes.
fn any_case() -> impl Strategy<Value = Case> {
    let channels = prop_oneof![
        (1..=9usize, 1..=9usize).prop_map(|(input, out)| (1, input, out)),
        (2..=3usize, 1..=4usize, 1..=4usize).prop_map(|(groups, input, out)| (
            groups,
            groups * input,
            groups * out
        )),
        (2..=9usize, 1..=2usize).prop_map(|(groups, times)| (groups, groups, groups * times)),
    ];
    let square = (1..=7usize).prop_map(|side| [side; 2]);
    let kernel = prop_oneof![3 => square, 1 => [1..=7usize, 1..=7usize]];
    (1..=3usize, channels, kernel, 1..=4usize, 0..=3usize, [0..=9usize, 0..=9usize]).prop_map(
        |(images, (groups, input, out), kernel, stride, padding, more)| {
            let size = [0, 1].map(|axis| (kernel[axis] + more[axis]).saturating_sub(2 * padding).max(1));
            let weight = [out, input / groups, kernel[0], kernel[1]];
            ([images, input, size[0], size[1]], weight, stride, padding, groups)
        },
    )
}

/// Such as Winograd's method is for.
fn wide_case() -> impl Strategy<Value = Case> {
    ([32..=37usize, 32..=49usize], [8..=13usize, 8..=13usize], 0..=2usize).prop_map(
        |([input, out], [height, width], padding)| {
            ([8, input, height, width], [out, input, 3, 3], 1, padding, 1)
        },
    )
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn any_conv2d_is_burns(case in any_case()) {
        check_case(case, 1e-5);
    }
}

proptest! {
    #![proptest_config(cases(12))]

    /// Winograd's transforms round some twice as often as direct sums.
    #[test]
    fn any_wide_conv2d_is_burns(case in wide_case()) {
        check_case(case, 2e-5);
    }
}

#[test]
fn gradients_are_differences() {
    for (x, weight, stride, padding, groups) in [
        ([2, 2, 5, 4], [3, 2, 3, 3], 1, 1, 1),
        ([2, 3, 6, 5], [2, 3, 3, 3], 2, 1, 1),
        ([1, 2, 9, 8], [3, 2, 7, 7], 2, 3, 1),
        ([2, 3, 4, 4], [4, 3, 1, 1], 1, 0, 1),
        ([2, 3, 5, 5], [4, 3, 1, 1], 2, 0, 1),
        ([2, 3, 6, 5], [3, 1, 3, 3], 1, 1, 3),
        ([2, 3, 6, 5], [6, 1, 5, 5], 2, 2, 3),
        ([2, 4, 5, 5], [6, 2, 3, 3], 1, 1, 2),
        ([8, 32, 8, 8], [32, 32, 3, 3], 1, 1, 1),
    ] {
        check_differences(&format!("conv2d {x:?} {weight:?}"), &[x, weight, [1, 1, 1, weight[0]]], &|t| {
            conv2d(t[0].clone(), t[1].clone(), Some(vector(&t[2])), stride, padding, groups)
        });
    }
}
