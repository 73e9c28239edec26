//! Layer and batch normalisation.

use super::support::{assert_close, cases, check, check_differences, noise, numbers, vector};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, module};
use hcd::ops::{Affine, Rectifier, batch_norm_given, batch_norm_train, layer_norm};
use proptest::prelude::*;

fn check_layer_norm(rows: [usize; 2], width: usize, epsilon: f64) {
    check(
        "layer_norm",
        &[[rows[0], rows[1], width], [1, 1, width], [1, 1, width]],
        1e-5,
        &|x| layer_norm(x[0].clone(), vector(&x[1]), vector(&x[2]), epsilon),
        &|x| {
            let mean = x[0].clone().mean_dim(2);
            let centred = x[0].clone() - mean;
            let variance = centred.clone().powi_scalar(2).mean_dim(2);
            centred / (variance + epsilon).sqrt() * x[1].clone() + x[2].clone()
        },
    );
}

#[test]
fn layer_norm_is_burns() {
    for (rows, width) in [([1, 1], 2), ([2, 3], 7), ([3, 11], 48), ([5, 13], 65)] {
        check_layer_norm(rows, width, 1e-5);
    }
}

/// Clipped as `rectifier` says, composed of Burn's operations.
fn clipped(y: Tensor<4>, rectifier: Rectifier) -> Tensor<4> {
    match rectifier {
        Rectifier::None => y,
        Rectifier::Relu => relu(y),
        Rectifier::Relu6 => y.clamp(0.0, 6.0),
    }
}

/// Scaled and shifted so far that ReLU6 clips at both ends.
fn affine(weight: &Tensor<4>, bias: &Tensor<4>, rectifier: Rectifier) -> Affine {
    let (weight, bias) = (vector(weight) * 3.0, vector(bias) * 2.0 + 3.0);
    Affine { weight, bias, epsilon: 1e-2, rectifier }
}

fn check_train(shape: [usize; 4], rectifier: Rectifier) {
    let vectors = [1, 1, 1, shape[1]];
    let ours =
        |t: &[Tensor<4>]| batch_norm_train(t[0].clone(), affine(&t[1], &t[2], rectifier), t.get(3).cloned());
    let burns = |t: &[Tensor<4>]| {
        let Affine { weight, bias, epsilon, .. } = affine(&t[1], &t[2], rectifier);
        module::batch_norm_train(t[0].clone(), weight, bias, epsilon)
    };
    let name = format!("batch_norm_train {rectifier:?}");
    check(&name, &[shape, vectors, vectors], 1e-5, &|t| ours(t).output, &|t| {
        clipped(burns(t).output, rectifier)
    });
    let shapes = [shape, vectors, vectors, shape];
    check(&format!("{name} with a shortcut"), &shapes, 1e-5, &|t| ours(t).output, &|t| {
        clipped(burns(t).output + t[3].clone(), rectifier)
    });
    let device = Device::flex().autodiff();
    let leaves = [noise(shape, 1, &device), noise(vectors, 2, &device), noise(vectors, 3, &device)];
    let (got, burns) = (ours(&leaves), burns(&leaves));
    assert_close("mean", &numbers(got.mean), &numbers(burns.mean), 1e-6);
    assert_close("variance", &numbers(got.variance), &numbers(burns.variance), 1e-6);
}

#[test]
fn batch_norm_is_burns() {
    for (shape, rectifier) in [
        ([2, 1, 1, 1], Rectifier::None),
        ([3, 5, 3, 7], Rectifier::None),
        ([3, 5, 3, 7], Rectifier::Relu),
        ([3, 5, 3, 7], Rectifier::Relu6),
        ([4, 17, 1, 9], Rectifier::Relu),
    ] {
        check_train(shape, rectifier);
    }
}

/// A mean and a variance that are nobody's, for any type of numbers.
fn statistics(like: &Tensor<4>) -> [Tensor<1>; 2] {
    let channels = like.dims()[1];
    [noise([channels], 8, &like.device()), noise([channels], 9, &like.device()) + 2.5]
        .map(|x| x.cast(like.dtype()))
}

fn check_given(shape: [usize; 4], rectifier: Rectifier) {
    let vectors = [1, 1, 1, shape[1]];
    let ours = |t: &[Tensor<4>]| {
        let (affine, shortcut) = (affine(&t[1], &t[2], rectifier), t.get(3).cloned());
        batch_norm_given(t[0].clone(), affine, statistics(&t[0]), shortcut)
    };
    let burns = |t: &[Tensor<4>]| {
        let Affine { weight, bias, epsilon, .. } = affine(&t[1], &t[2], rectifier);
        let [mean, variance] = statistics(&t[0]);
        module::batch_norm(t[0].clone(), weight, bias, mean, variance, epsilon)
    };
    let name = format!("batch_norm_given {rectifier:?}");
    check(&name, &[shape, vectors, vectors], 1e-5, &ours, &|t| clipped(burns(t), rectifier));
    check(&format!("{name} with a shortcut"), &[shape, vectors, vectors, shape], 1e-5, &ours, &|t| {
        clipped(burns(t) + t[3].clone(), rectifier)
    });
    // Weight and bias frozen: x is not kept.
    let frozen = |t: &[Tensor<4>]| {
        let of = |seed| noise(vectors, seed, &t[0].device()).cast(t[0].dtype());
        [t[0].clone(), of(11), of(12), t[1].clone()]
    };
    check(&format!("{name}, frozen"), &[shape, shape], 1e-5, &|t| ours(&frozen(t)), &|t| {
        clipped(burns(&frozen(t)) + t[1].clone(), rectifier)
    });
}

#[test]
fn batch_norm_by_given_statistics_is_burns() {
    for (shape, rectifier) in [
        ([2, 1, 1, 1], Rectifier::None),
        ([3, 5, 3, 7], Rectifier::None),
        ([3, 5, 3, 7], Rectifier::Relu),
        ([4, 17, 1, 9], Rectifier::Relu6),
    ] {
        check_given(shape, rectifier);
    }
}

#[test]
fn normalising_in_place_changes_nothing_that_is_held() {
    let device = Device::flex();
    let (shape, vectors) = ([2, 3, 4, 5], [1, 1, 1, 3]);
    let (x, weight, bias) =
        (noise(shape, 1, &device), noise(vectors, 2, &device), noise(vectors, 3, &device));
    let kept = x.clone().into_data();
    let run = |x: Tensor<4>| {
        let given = statistics(&x);
        batch_norm_given(x, affine(&weight, &bias, Rectifier::Relu), given, None).into_data()
    };
    let held = run(x.clone());
    assert_eq!(x.clone().into_data(), kept);
    assert_eq!(run(x), held);
}

/// At least two numbers a channel: the variance of one is 0, and nothing comes of it but its shift.
fn any_map() -> impl Strategy<Value = [usize; 4]> {
    (2..=5usize, 1..=19usize, 1..=8usize, 1..=19usize).prop_map(|(n, c, h, w)| [n, c, h, w])
}

fn any_rectifier() -> impl Strategy<Value = Rectifier> {
    prop_oneof![Just(Rectifier::None), Just(Rectifier::Relu), Just(Rectifier::Relu6)]
}

proptest! {
    #![proptest_config(cases(64))]

    /// With an ε at which a row of equal numbers does not magnify their rounding.
    #[test]
    fn any_layer_norm_is_burns(rows in [1..=5usize, 1..=9usize], width in 1..=100usize) {
        check_layer_norm(rows, width, 1e-2);
    }

    #[test]
    fn any_batch_norm_is_burns(shape in any_map(), rectifier in any_rectifier()) {
        check_train(shape, rectifier);
        check_given(shape, rectifier);
    }
}

#[test]
fn gradients_are_differences() {
    let width = 9;
    check_differences("layer_norm", &[[2, 3, width], [1, 1, width], [1, 1, width]], &|x| {
        layer_norm(x[0].clone(), vector(&x[1]), vector(&x[2]), 1e-5)
    });
    // Few numbers a channel: each moves over a kink in some step of weight or bias.
    let (shape, vectors) = ([4, 6, 2, 2], [1, 1, 1, 6]);
    for rectifier in [Rectifier::None, Rectifier::Relu, Rectifier::Relu6] {
        for shapes in [&[shape, vectors, vectors][..], &[shape, vectors, vectors, shape]] {
            let shortcut = shapes.len() > 3;
            let name = format!("batch_norm_train {rectifier:?}, shortcut {shortcut}");
            check_differences(&name, shapes, &|t| {
                batch_norm_train(t[0].clone(), affine(&t[1], &t[2], rectifier), t.get(3).cloned()).output
            });
            let name = format!("batch_norm_given {rectifier:?}, shortcut {shortcut}");
            check_differences(&name, shapes, &|t| {
                let affine = affine(&t[1], &t[2], rectifier);
                batch_norm_given(t[0].clone(), affine, statistics(&t[0]), t.get(3).cloned())
            });
        }
    }
}
