//! Every operation with a kernel against the same equation composed of Burn's operations: values and gradients,
//! contiguous and strided inputs, odd shapes; f64 falls back to Burn; the same input twice gives the same bits.

use burn::tensor::activation::relu;
use burn::tensor::module;
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{DType, Device, Distribution, Tensor, TensorData};
use hcd::ops::update::{AdamW, Sgd, adamw, average, sgd};
use hcd::ops::{
    Affine, Rectifier, Windows, add_relu, attention, batch_norm_given, batch_norm_train, conv2d, gelu,
    global_average, layer_norm, linear, linear_gelu, max_pool2d, mix, window_attention,
};
use std::sync::Arc;

/// Numbers that look random, the same for the same seed.
fn noise<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 22) as f32 - 2.0
        })
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// A tensor of this shape whose storage has its first and last axes swapped and lies inside a larger one.
fn strided<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    let mut stored = shape;
    stored.swap(0, D - 1);
    stored[0] += 2;
    noise(stored, seed, device).narrow(0, 1, shape[D - 1]).swap_dims(0, D - 1)
}

/// Output and gradients as vectors, from f applied to leaves that want gradients.
fn run<const D: usize>(
    leaves: &[Tensor<D>],
    f: &dyn Fn(&[Tensor<D>]) -> Tensor<D>,
) -> (Vec<f64>, Vec<Vec<f64>>) {
    let leaves: Vec<Tensor<D>> = leaves.iter().map(|leaf| leaf.clone().require_grad()).collect();
    let y = f(&leaves);
    let weights = noise(y.dims(), 77, &y.device()).cast(y.dtype());
    let grads = (y.clone() * weights).sum().backward();
    let values = |x: Tensor<D>| x.into_data().convert::<f64>().try_into_vec::<f64>().expect("f64");
    let gradients = leaves.iter().map(|leaf| values(leaf.grad(&grads).expect("a gradient"))).collect();
    (values(y.inner()), gradients)
}

fn assert_close(name: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{name}: lengths");
    let size = expected.iter().fold(1.0f64, |size, v| size.max(v.abs()));
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() <= tolerance * size, "{name}[{i}] = {got}, expected {expected}");
    }
}

/// Holds `ours` in f32 to `burns` in f64, on contiguous and strided leaves; and itself in f64 to the same.
///
/// The tolerance covers f32 rounding in both summation orders; f64 is Burn's own code; some of its scalars pass through f32.
fn check<const D: usize>(
    name: &str,
    shapes: &[[usize; D]],
    tolerance: f64,
    ours: &dyn Fn(&[Tensor<D>]) -> Tensor<D>,
    burns: &dyn Fn(&[Tensor<D>]) -> Tensor<D>,
) {
    let device = Device::flex().autodiff();
    for make in [noise::<D>, strided::<D>] {
        let leaves: Vec<Tensor<D>> =
            shapes.iter().enumerate().map(|(i, &shape)| make(shape, i as u64 + 1, &device)).collect();
        let wide: Vec<Tensor<D>> = leaves.iter().map(|leaf| leaf.clone().cast(DType::F64)).collect();
        let (y, grads) = run(&leaves, ours);
        let (again, grads_again) = run(&leaves, ours);
        assert_eq!((&y, &grads), (&again, &grads_again), "{name} {shapes:?}: not reproducible");
        let (expected, expected_grads) = run(&wide, burns);
        let (y64, grads64) = run(&wide, ours);
        assert_close(&format!("{name} {shapes:?}"), &y, &expected, tolerance);
        assert_close(&format!("{name} {shapes:?} f64"), &y64, &expected, 1e-7);
        for i in 0..shapes.len() {
            let label = format!("{name} {shapes:?}: gradient {i}");
            assert_close(&label, &grads[i], &expected_grads[i], tolerance);
            assert_close(&format!("{label} f64"), &grads64[i], &expected_grads[i], 1e-7);
        }
    }
}

fn vector<const D: usize>(x: &Tensor<D>) -> Tensor<1> {
    x.clone().flatten(0, D - 1)
}

#[test]
fn gelu_is_burns() {
    for shape in [[1, 1, 1], [2, 3, 5], [4, 17, 33]] {
        check("gelu", &[shape], 1e-6, &|x| gelu(x[0].clone()), &|x| {
            burn::tensor::activation::gelu(x[0].clone())
        });
    }
}

#[test]
fn layer_norm_is_burns() {
    for (rows, width) in [([1, 1], 2), ([2, 3], 7), ([3, 11], 48), ([5, 13], 65)] {
        check(
            "layer_norm",
            &[[rows[0], rows[1], width], [1, 1, width], [1, 1, width]],
            1e-5,
            &|x| layer_norm(x[0].clone(), vector(&x[1]), vector(&x[2]), 1e-5),
            &|x| {
                let mean = x[0].clone().mean_dim(2);
                let centred = x[0].clone() - mean;
                let variance = centred.clone().powi_scalar(2).mean_dim(2);
                centred / (variance + 1e-5).sqrt() * x[1].clone() + x[2].clone()
            },
        );
    }
}

#[test]
fn window_attention_is_burns() {
    for (b, count, area, heads, head, masked) in
        [(1, 1, 1, 1, 2, false), (2, 2, 4, 2, 3, true), (3, 1, 17, 1, 8, false), (2, 3, 16, 2, 24, true)]
    {
        let tokens = count * area;
        let mask = (0..tokens * area).map(|i| if i % 5 == 1 { -100.0 } else { 0.0 }).collect();
        let table: Vec<usize> = (0..tokens).map(|i| (i * 11 + 3) % tokens).collect();
        let windows = Arc::new(Windows::new(area, table.clone(), masked.then_some(mask)));
        let attend = |x: &[Tensor<3>]| window_attention(x[0].clone(), x[1].clone(), &windows);
        // Burn's composition is checked here by hand, one window and head at a time.
        let by_hand = |x: &[Tensor<3>]| {
            let out = (0..b * count * heads).map(|job| {
                let (image, window, h) = (job / (count * heads), job / heads % count, job % heads);
                let rows = |part: usize| {
                    let column = (part * heads + h) * head;
                    let rows = table[window * area..][..area].iter().map(|&token| {
                        x[0].clone().slice([image..image + 1, token..token + 1, column..column + head])
                    });
                    Tensor::cat(rows.collect(), 1).reshape([area, head])
                };
                let bias = x[1].clone().narrow(0, h, 1).reshape([area, area]);
                let scores = rows(0).matmul(rows(1).transpose()) / (head as f64).sqrt() + bias;
                let scores = match windows.mask() {
                    Some(mask) => {
                        let mask = mask[window * area * area..][..area * area].to_vec();
                        let mask = TensorData::new(mask, [area, area]);
                        scores.clone() + Tensor::from_data(mask, (&scores.device(), scores.dtype()))
                    }
                    None => scores,
                };
                let scores = scores.exp();
                let p = scores.clone() / scores.sum_dim(1);
                (image, window, h, p.matmul(rows(2)))
            });
            let mut pieces: Vec<Vec<Vec<Option<Tensor<2>>>>> = vec![vec![vec![None; heads]; tokens]; b];
            for (image, window, h, values) in out {
                for i in 0..area {
                    pieces[image][table[window * area + i]][h] = Some(values.clone().narrow(0, i, 1));
                }
            }
            let rows = pieces.into_iter().flatten().flatten().flatten().collect::<Vec<_>>();
            Tensor::cat(rows, 0).reshape([b, tokens, heads * head])
        };
        let shapes = [[b, tokens, 3 * heads * head], [heads, area, area]];
        check("window_attention", &shapes, 1e-5, &attend, &by_hand);
    }
}

#[test]
fn affine_maps_are_burns() {
    for [rows, depth, out] in [[1, 1, 1], [3, 17, 5], [29, 33, 31], [7, 300, 40]] {
        let shapes = [[rows, depth], [out, depth], [1, out]];
        let burns = |x: &[Tensor<2>]| x[0].clone().matmul(x[1].clone().transpose()) + x[2].clone();
        check("linear", &shapes, 1e-5, &|x| linear(x[0].clone(), x[1].clone(), Some(vector(&x[2]))), &burns);
        check(
            "linear without bias",
            &shapes[..2],
            1e-5,
            &|x| linear(x[0].clone(), x[1].clone(), None),
            &|x| x[0].clone().matmul(x[1].clone().transpose()),
        );
        check(
            "linear_gelu",
            &shapes,
            1e-5,
            &|x| linear_gelu(x[0].clone(), x[1].clone(), Some(vector(&x[2]))),
            &|x| burn::tensor::activation::gelu(burns(x)),
        );
    }
}

#[test]
fn maps_over_tokens_are_burns() {
    for [images, tokens, out, width] in [[1, 1, 1, 1], [2, 9, 5, 7], [3, 16, 33, 40]] {
        for activated in [false, true] {
            check(
                "mix",
                &[[images, tokens, width], [1, out, tokens], [1, 1, out]],
                1e-5,
                &|x| mix(x[0].clone(), x[1].clone().squeeze_dim(0), vector(&x[2]), activated),
                &|x| {
                    let y = x[1].clone().matmul(x[0].clone()) + x[2].clone().swap_dims(1, 2);
                    if activated { burn::tensor::activation::gelu(y) } else { y }
                },
            );
        }
    }
}

#[test]
fn attention_is_one_window_of_all_tokens() {
    let device = Device::flex().autodiff();
    let qkv = noise([2, 5, 3 * 2 * 4], 1, &device);
    let windows = Arc::new(Windows::new(5, (0..5).collect(), None));
    let expected = window_attention(qkv.clone(), Tensor::zeros([2, 5, 5], &device), &windows);
    let difference = attention(qkv, 2) - expected;
    assert_eq!(difference.abs().max().into_scalar::<f32>(), 0.0);
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

#[test]
fn plain_device_needs_no_graph() {
    let device = Device::flex();
    let x = Tensor::<2>::random([3, 8], Distribution::Default, &device);
    assert_eq!(gelu(x.clone()).dims(), [3, 8]);
    let ones = Tensor::ones([8], &device);
    assert_eq!(layer_norm(x, ones.clone(), ones, 1e-5).dims(), [3, 8]);
}

#[test]
fn conv2d_is_burns() {
    for (x, weight, stride, padding, groups) in [
        ([1, 1, 3, 3], [1, 1, 1, 1], 1, 0, 1),
        ([2, 3, 9, 7], [5, 3, 3, 3], 1, 1, 1),
        ([3, 4, 8, 11], [9, 4, 3, 3], 2, 1, 1),
        ([2, 3, 15, 14], [4, 3, 7, 7], 2, 3, 1),
        ([2, 6, 5, 6], [3, 6, 1, 1], 2, 0, 1),
        ([2, 3, 8, 8], [6, 3, 4, 4], 4, 0, 1),
        ([2, 6, 7, 6], [6, 1, 3, 3], 1, 1, 6),
        ([2, 6, 7, 6], [4, 3, 3, 3], 2, 1, 2),
    ] {
        check(
            "conv2d",
            &[x, weight, [1, 1, 1, weight[0]]],
            1e-5,
            &|t| conv2d(t[0].clone(), t[1].clone(), Some(vector(&t[2])), stride, padding, groups),
            &|t| {
                let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], groups);
                module::conv2d(t[0].clone(), t[1].clone(), Some(vector(&t[2])), options)
            },
        );
        check(
            "conv2d without bias",
            &[x, weight],
            1e-5,
            &|t| conv2d(t[0].clone(), t[1].clone(), None, stride, padding, groups),
            &|t| {
                let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], groups);
                module::conv2d(t[0].clone(), t[1].clone(), None, options)
            },
        );
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

#[test]
fn batch_norm_is_burns() {
    for (shape, rectifier) in [
        ([2, 1, 1, 1], Rectifier::None),
        ([3, 5, 3, 7], Rectifier::None),
        ([3, 5, 3, 7], Rectifier::Relu),
        ([3, 5, 3, 7], Rectifier::Relu6),
        ([4, 17, 1, 9], Rectifier::Relu),
    ] {
        let vectors = [1, 1, 1, shape[1]];
        let ours = |t: &[Tensor<4>]| {
            batch_norm_train(t[0].clone(), affine(&t[1], &t[2], rectifier), t.get(3).cloned())
        };
        let burns = |t: &[Tensor<4>]| {
            let Affine { weight, bias, epsilon, .. } = affine(&t[1], &t[2], rectifier);
            module::batch_norm_train(t[0].clone(), weight, bias, epsilon)
        };
        check("batch_norm_train", &[shape, vectors, vectors], 1e-5, &|t| ours(t).output, &|t| {
            clipped(burns(t).output, rectifier)
        });
        let shapes = [shape, vectors, vectors, shape];
        check("batch_norm_train with a shortcut", &shapes, 1e-5, &|t| ours(t).output, &|t| {
            clipped(burns(t).output + t[3].clone(), rectifier)
        });
        let device = Device::flex().autodiff();
        let leaves = [noise(shape, 1, &device), noise(vectors, 2, &device), noise(vectors, 3, &device)];
        let (got, burns) = (ours(&leaves), burns(&leaves));
        let values = |x: Tensor<1>| x.into_data().convert::<f64>().try_into_vec::<f64>().expect("f64");
        assert_close("mean", &values(got.mean), &values(burns.mean), 1e-6);
        assert_close("variance", &values(got.variance), &values(burns.variance), 1e-6);
    }
}

/// A mean and a variance that are nobody's, for any type of numbers.
fn statistics(like: &Tensor<4>) -> [Tensor<1>; 2] {
    let channels = like.dims()[1];
    [noise([channels], 8, &like.device()), noise([channels], 9, &like.device()) + 2.5]
        .map(|x| x.cast(like.dtype()))
}

#[test]
fn batch_norm_by_given_statistics_is_burns() {
    for (shape, rectifier) in [
        ([2, 1, 1, 1], Rectifier::None),
        ([3, 5, 3, 7], Rectifier::None),
        ([3, 5, 3, 7], Rectifier::Relu),
        ([4, 17, 1, 9], Rectifier::Relu6),
    ] {
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
        let name = "batch_norm_given";
        check(name, &[shape, vectors, vectors], 1e-5, &ours, &|t| clipped(burns(t), rectifier));
        check(name, &[shape, vectors, vectors, shape], 1e-5, &ours, &|t| {
            clipped(burns(t) + t[3].clone(), rectifier)
        });
        // Weight and bias frozen: x is not kept.
        let frozen = |t: &[Tensor<4>]| {
            let of = |seed| noise(vectors, seed, &t[0].device()).cast(t[0].dtype());
            [t[0].clone(), of(11), of(12), t[1].clone()]
        };
        check("batch_norm_given, frozen", &[shape, shape], 1e-5, &|t| ours(&frozen(t)), &|t| {
            clipped(burns(&frozen(t)) + t[1].clone(), rectifier)
        });
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

#[test]
fn max_pool_is_burns() {
    for (shape, kernel, stride, padding) in [
        ([1, 1, 1, 1], 3, 2, 1),
        ([2, 3, 7, 15], 3, 2, 1),
        ([2, 2, 16, 35], 3, 2, 1),
        ([2, 3, 9, 8], 2, 2, 0),
        ([1, 2, 9, 11], 5, 3, 2),
    ] {
        check("max_pool2d", &[shape], 1e-7, &|t| max_pool2d(t[0].clone(), kernel, stride, padding), &|t| {
            let options =
                MaxPoolOptions::new([kernel; 2]).with_stride([stride; 2]).with_padding([padding; 2]);
            module::max_pool2d(t[0].clone(), options)
        });
    }
}

#[test]
fn global_average_is_burns() {
    for shape in [[1, 1, 1, 1], [2, 3, 7, 7], [3, 33, 5, 1]] {
        let wide = |x: Tensor<2>| x.unsqueeze_dims::<4>(&[2, 3]);
        check("global_average", &[shape], 1e-6, &|t| wide(global_average(t[0].clone())), &|t| {
            t[0].clone().mean_dim(3).mean_dim(2)
        });
    }
}

#[test]
fn updates_are_what_they_are_composed_of() {
    let device = Device::flex();
    let of = |seed: u64| noise([1001], seed, &device);
    let wide = |x: Tensor<1>| x.cast(DType::F64);
    let values = |x: Tensor<1>| x.into_data().convert::<f64>().try_into_vec::<f64>().expect("f64");
    let same = |got: Vec<Tensor<1>>, expected: Vec<Tensor<1>>| {
        for (got, expected) in got.into_iter().zip(expected) {
            assert_close("update", &values(got), &values(expected), 1e-6);
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
fn add_relu_is_burns() {
    for shape in [[1, 1, 1], [3, 7, 11], [5, 33, 129]] {
        check("add_relu", &[shape, shape], 1e-6, &|t| add_relu(t[0].clone(), t[1].clone()), &|t| {
            relu(t[0].clone() + t[1].clone())
        });
    }
}
