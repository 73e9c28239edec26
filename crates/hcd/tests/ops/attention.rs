//! Attention within windows, and of every token to every token.

use super::support::{cases, check, check_differences, noise};
use burn::tensor::{Device, Tensor, TensorData};
use hcd::ops::{Windows, attention, window_attention};
use proptest::prelude::*;
use std::sync::Arc;

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
fn attention_is_one_window_of_all_tokens() {
    let device = Device::flex().autodiff();
    let qkv = noise([2, 5, 3 * 2 * 4], 1, &device);
    let windows = Arc::new(Windows::new(5, (0..5).collect(), None));
    let expected = window_attention(qkv.clone(), Tensor::zeros([2, 5, 5], &device), &windows);
    let difference = attention(qkv, 2) - expected;
    assert_eq!(difference.abs().max().into_scalar::<f32>(), 0.0);
}

/// Tokens far from their neighbours; in a mask, each row leaves some tokens.
fn windows(count: usize, area: usize, masked: bool) -> Arc<Windows> {
    let tokens = count * area;
    let table = (0..tokens).map(|token| token / 2 + token % 2 * tokens.div_ceil(2)).collect();
    let mask = (0..tokens * area).map(|i| if i / area != i % area && i % 3 == 1 { -100.0 } else { 0.0 });
    Arc::new(Windows::new(area, table, masked.then(|| mask.collect())))
}

proptest! {
    #![proptest_config(cases(64))]

    /// What is composed of Burn's operations is held to sums by hand above.
    #[test]
    fn any_window_attention_is_what_it_is_composed_of(
        images in 1..=3usize,
        count in 1..=4usize,
        area in 1..=50usize,
        heads in 1..=3usize,
        head in 1..=40usize,
        masked in any::<bool>(),
    ) {
        let windows = windows(count, area, masked);
        let attend = |x: &[Tensor<3>]| window_attention(x[0].clone(), x[1].clone(), &windows);
        let shapes = [[images, count * area, 3 * heads * head], [heads, area, area]];
        check(&format!("window_attention, masked {masked}"), &shapes, 1e-5, &attend, &attend);
    }

    #[test]
    fn any_attention_is_what_it_is_composed_of(
        images in 1..=3usize, tokens in 1..=60usize, heads in 1..=3usize, head in 1..=40usize,
    ) {
        let attend = |x: &[Tensor<3>]| attention(x[0].clone(), heads);
        check("attention", &[[images, tokens, 3 * heads * head]], 1e-5, &attend, &attend);
    }
}

#[test]
fn gradients_are_differences() {
    for masked in [false, true] {
        let windows = windows(2, 5, masked);
        check_differences(
            &format!("window_attention, masked {masked}"),
            &[[2, 10, 3 * 2 * 4], [2, 5, 5]],
            &|x| window_attention(x[0].clone(), x[1].clone(), &windows),
        );
    }
    check_differences("attention", &[[2, 6, 3 * 2 * 3]], &|x| attention(x[0].clone(), 2));
}
