//! Affine maps over the last axis and over tokens, with and without GELU.

use super::support::{cases, check, check_differences, noise, vector};
use burn::tensor::{Device, Tensor, activation};
use hcd::ops::{gelu, linear, linear_gelu, mix};
use proptest::prelude::*;

fn check_linear([rows, depth, out]: [usize; 3]) {
    let shapes = [[rows, depth], [out, depth], [1, out]];
    let plain = |x: &[Tensor<2>]| x[0].clone().matmul(x[1].clone().transpose());
    let burns = |x: &[Tensor<2>]| plain(x) + x[2].clone();
    let bias = |x: &[Tensor<2>]| x.get(2).map(vector);
    let ours = |x: &[Tensor<2>]| linear(x[0].clone(), x[1].clone(), bias(x));
    let fused = |x: &[Tensor<2>]| linear_gelu(x[0].clone(), x[1].clone(), bias(x));
    check("linear", &shapes, 1e-5, &ours, &burns);
    check("linear without bias", &shapes[..2], 1e-5, &ours, &plain);
    check("linear_gelu", &shapes, 1e-5, &fused, &|x| activation::gelu(burns(x)));
    check("linear_gelu without bias", &shapes[..2], 1e-5, &fused, &|x| activation::gelu(plain(x)));
}

#[test]
fn affine_maps_are_burns() {
    for sizes in [[1, 1, 1], [3, 17, 5], [29, 33, 31], [7, 300, 40]] {
        check_linear(sizes);
    }
}

fn check_mix([images, tokens, out, width]: [usize; 4], activated: bool) {
    check(
        &format!("mix, activated {activated}"),
        &[[images, tokens, width], [1, out, tokens], [1, 1, out]],
        1e-5,
        &|x| mix(x[0].clone(), x[1].clone().squeeze_dim(0), vector(&x[2]), activated),
        &|x| {
            let y = x[1].clone().matmul(x[0].clone()) + x[2].clone().swap_dims(1, 2);
            if activated { activation::gelu(y) } else { y }
        },
    );
}

#[test]
fn maps_over_tokens_are_burns() {
    for sizes in [[1, 1, 1, 1], [2, 9, 5, 7], [3, 16, 33, 40]] {
        for activated in [false, true] {
            check_mix(sizes, activated);
        }
    }
}

#[test]
fn what_is_fused_without_a_graph_is_the_same() {
    let device = Device::flex();
    let (x, weight, bias) =
        (noise([3, 5, 24], 1, &device), noise([40, 24], 2, &device), noise([40], 3, &device));
    let parts = (x.clone(), weight.clone(), Some(bias.clone()));
    let plain = gelu(linear(parts.0.clone(), parts.1.clone(), parts.2.clone()));
    let difference = linear_gelu(parts.0, parts.1, parts.2) - plain;
    assert!(difference.abs().max().into_scalar::<f32>() < 1e-5);
    let tokens = noise([2, 24, 6], 4, &device);
    let plain = gelu(mix(tokens.clone(), weight.clone(), bias.clone(), false));
    let difference = mix(tokens, weight, bias, true) - plain;
    assert!(difference.abs().max().into_scalar::<f32>() < 1e-5);
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn any_affine_map_is_burns(sizes in [1..=40usize, 1..=70usize, 1..=70usize]) {
        check_linear(sizes);
    }

    #[test]
    fn any_map_over_tokens_is_burns(
        sizes in [1..=4usize, 1..=40usize, 1..=40usize, 1..=40usize],
        activated in any::<bool>(),
    ) {
        check_mix(sizes, activated);
    }
}

#[test]
fn gradients_are_differences() {
    let shapes = [[4, 7], [5, 7], [1, 5]];
    check_differences("linear", &shapes, &|x| linear(x[0].clone(), x[1].clone(), Some(vector(&x[2]))));
    check_differences("linear without bias", &shapes[..2], &|x| linear(x[0].clone(), x[1].clone(), None));
    check_differences("linear_gelu", &shapes, &|x| {
        linear_gelu(x[0].clone(), x[1].clone(), Some(vector(&x[2])))
    });
    for activated in [false, true] {
        check_differences("mix", &[[2, 5, 3], [1, 4, 5], [1, 1, 4]], &|x| {
            mix(x[0].clone(), x[1].clone().squeeze_dim(0), vector(&x[2]), activated)
        });
    }
}
