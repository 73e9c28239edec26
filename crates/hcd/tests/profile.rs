//! Where the time went: what is entered, and that nothing is unless somebody asked. The table is the process's, so this
//! is one test.
#![allow(clippy::unwrap_used, missing_docs)]

use hcd::burn::tensor::{Device, Tensor};
use hcd::ops::update::{Sgd, sgd};
use hcd::ops::{conv2d, gelu, linear, profile};
use std::time::Duration;

/// 2 images of 4 x 6 x 6, depthwise at stride 2 to 4 x 3 x 3; 18 rows of 4 to 5 numbers.
fn compute() {
    let device = Device::flex().autodiff();
    let x = Tensor::<4>::ones([2, 4, 6, 6], &device).require_grad();
    let weight = Tensor::<4>::ones([4, 1, 3, 3], &device).require_grad();
    let y = gelu(conv2d(x.clone(), weight.clone(), None, 2, 1, 4));
    let rows = linear(y.reshape([18, 4]), Tensor::<2>::ones([5, 4], &device).require_grad(), None);
    rows.sum().backward();
    let plain = Tensor::<1>::ones([7], &Device::flex());
    sgd(plain.clone(), plain, None, Sgd { rate: 0.1, momentum: 0.9, nesterov: false, decay: 0.0 });
}

#[test]
fn only_what_was_asked_for_is_measured() {
    compute();
    assert_eq!(profile::take(), None);

    profile::start();
    compute();
    compute();
    let report = profile::take().unwrap();
    compute();
    assert_eq!(profile::take(), None);

    let mut rows = report.rows.clone();
    assert!(rows.is_sorted_by(|a, b| a.time >= b.time), "{rows:?}");
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    let found: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.calls, row.multiply_adds)).collect();
    let (convolution, product) = (2 * (2 * 4 * 3 * 3 * 9), 2 * (18 * 4 * 5));
    assert_eq!(
        found,
        [
            ("conv2d 3x3 s2 depthwise forward", 2, convolution),
            ("conv2d 3x3 s2 depthwise input gradient", 2, convolution),
            ("conv2d 3x3 s2 depthwise weight gradient", 2, convolution),
            ("gelu backward", 2, 0),
            ("gelu forward", 2, 0),
            ("linear forward", 2, product),
            ("linear input gradient", 2, product),
            ("linear weight gradient", 2, product),
            ("sgd update", 2, 0),
        ]
    );
    assert!(rows.iter().all(|row| row.time > Duration::ZERO), "{rows:?}");
    assert!(rows.iter().all(|row| row.gflops().is_some() == (row.multiply_adds > 0)), "{rows:?}");
    let inside: Duration = rows.iter().map(|row| row.time).sum();
    assert_eq!(report.elsewhere() + inside, report.total);
    assert!((report.share(inside) + report.share(report.elsewhere()) - 100.0).abs() < 1e-9);

    // What comes after a new start does not know what came before.
    profile::start();
    assert_eq!(profile::take().unwrap().rows, []);
}
