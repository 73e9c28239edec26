//! Batch normalisation in all its forms against the scalar version, at odd sizes.

use hcd_kernels::batch_norm::{self, BatchNorm, Channels};
use hcd_kernels::reference::{self, assert_close, noise};
use hcd_kernels::relu::{self, Rectifier};

const EPSILON: f32 = 1e-5;

/// N, C and area.
const SIZES: [[usize; 3]; 7] =
    [[1, 1, 2], [3, 2, 1], [2, 3, 15], [5, 4, 16], [4, 3, 49], [2, 17, 33], [3, 2, 10_001]];

struct Case {
    norm: BatchNorm,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
    shortcut: Vec<f32>,
    grad: Vec<f32>,
}

impl Case {
    fn channels(&self) -> Channels<'_> {
        let Case { weight, bias, mean, variance, .. } = self;
        Channels { weight, bias, mean, variance }
    }

    fn empty(&self) -> [Vec<f32>; 2] {
        [vec![f32::NAN; self.norm.channels], vec![f32::NAN; self.norm.channels]]
    }
}

/// With the statistics of x where they are not `given`; wide enough for ReLU6 to clip.
fn cases(given: bool) -> impl Iterator<Item = Case> {
    SIZES.into_iter().flat_map(move |[images, channels, area]| {
        [Rectifier::None, Rectifier::Relu, Rectifier::Relu6].map(|rectifier| {
            let norm = BatchNorm { channels, area, epsilon: EPSILON, rectifier };
            let length = images * channels * area;
            let x: Vec<f32> = noise(length, 1).iter().map(|v| v + 2.0).collect();
            let mut mean: Vec<f32> = noise(channels, 5).iter().map(|v| v + 2.0).collect();
            let mut variance: Vec<f32> = noise(channels, 6).iter().map(|v| v + 1.5).collect();
            if !given {
                batch_norm::moments(&norm, &x, &mut mean, &mut variance);
            }
            let weight = noise(channels, 2).iter().map(|v| 3.0 * v).collect();
            let bias = noise(channels, 3).iter().map(|v| 3.0 * v + 3.0).collect();
            Case { norm, x, weight, bias, mean, variance, shortcut: noise(length, 7), grad: noise(length, 4) }
        })
    })
}

fn expected(case: &Case, given: bool, shortcut: Option<&[f32]>) -> reference::BatchNorm {
    let (norm, statistics) = (&case.norm, [case.mean.as_slice(), &case.variance]);
    reference::batch_norm(
        &case.x,
        [&case.weight, &case.bias],
        given.then_some(statistics),
        shortcut,
        EPSILON.into(),
        norm.rectifier,
        &case.grad,
        norm.area,
    )
}

#[test]
fn forward_agrees_with_the_reference() {
    for given in [false, true] {
        for case in cases(given) {
            for shortcut in [None, Some(case.shortcut.as_slice())] {
                let (mut y, mut in_place) = (vec![f32::NAN; case.x.len()], case.x.clone());
                batch_norm::forward(&case.norm, Some(&case.x), &case.channels(), shortcut, &mut y);
                batch_norm::forward(&case.norm, None, &case.channels(), shortcut, &mut in_place);
                assert_eq!(y, in_place);
                let expected = expected(&case, given, shortcut);
                assert_close("y", &y, &expected.y, 3e-6);
                assert_close("mean", &case.mean, &expected.mean, 1e-6);
                assert_close("variance", &case.variance, &expected.variance, 1e-6);
            }
        }
    }
}

#[test]
fn backward_agrees_with_the_reference() {
    for case in cases(false) {
        let [mut dweight, mut dbias] = case.empty();
        let mut dx = case.grad.clone();
        batch_norm::backward(&case.norm, &case.x, &case.channels(), None, &mut dx, &mut dweight, &mut dbias);
        let expected = expected(&case, false, None);
        assert_close("dx", &dx, &expected.dx, 2e-5);
        assert_close("dweight", &dweight, &expected.dweight, 1e-5);
        assert_close("dbias", &dbias, &expected.dbias, 1e-5);
    }
}

#[test]
fn backward_with_a_shortcut_agrees_with_the_reference() {
    for given in [false, true] {
        for case in cases(given) {
            let (mut y, shortcut) = (vec![f32::NAN; case.x.len()], Some(case.shortcut.as_slice()));
            batch_norm::forward(&case.norm, Some(&case.x), &case.channels(), shortcut, &mut y);
            let mut masked = case.grad.clone();
            relu::backward(case.norm.rectifier, &y, &mut masked);
            let plain = BatchNorm { rectifier: Rectifier::None, ..case.norm };
            let [mut dweight, mut dbias] = case.empty();
            let mut dx = vec![f32::NAN; y.len()];
            let (x, channels) = (&case.x, case.channels());
            if given {
                batch_norm::parameter_grads(&plain, x, &channels, &masked, &mut dweight, &mut dbias);
                batch_norm::backward_given(&plain, &channels, Some(&masked), &mut dx);
            } else {
                let grad = Some(masked.as_slice());
                batch_norm::backward(&plain, x, &channels, grad, &mut dx, &mut dweight, &mut dbias);
            }
            let expected = expected(&case, given, shortcut);
            assert_close("dx", &dx, &expected.dx, 2e-5);
            assert_close("dshortcut", &masked, &expected.dshortcut, 1e-6);
            assert_close("dweight", &dweight, &expected.dweight, 1e-5);
            assert_close("dbias", &dbias, &expected.dbias, 1e-5);
        }
    }
}

#[test]
fn nothing_is_normalised_to_nothing() {
    let norm = BatchNorm { channels: 2, area: 0, epsilon: EPSILON, rectifier: Rectifier::Relu };
    let values = [1.0; 2];
    let channels = Channels { weight: &values, bias: &values, mean: &values, variance: &values };
    let [mut a, mut b] = [[f32::NAN; 2]; 2];
    batch_norm::moments(&norm, &[], &mut a, &mut b);
    batch_norm::forward(&norm, Some(&[]), &channels, None, &mut []);
    batch_norm::backward(&norm, &[], &channels, None, &mut [], &mut a, &mut b);
    batch_norm::backward_given(&norm, &channels, None, &mut []);
    assert_eq!([a, b], [[0.0; 2]; 2]);
}
