//! Attention within windows of tokens: softmax(Q·Kᵀ/√d + bias + mask)·V, each window and head alone.

use super::{Kernels, Windows, has_kernels, tally};
use burn::backend::Dispatch;
use burn::tensor::activation::softmax;
use burn::tensor::{Int, Tensor, TensorData};
use std::sync::Arc;

/// Attention among the tokens of each window; the number of heads is that of `bias`.
///
/// # Shapes
/// `qkv` (B, tokens, 3 · heads · d); `bias` (heads, area, area) → (B, tokens, heads · d)
///
/// # Panics
/// If a shape is not as above.
pub fn window_attention(qkv: Tensor<3>, bias: Tensor<3>, windows: &Arc<Windows>) -> Tensor<3> {
    let ([_, tokens, width], [heads, area, columns]) = (qkv.dims(), bias.dims());
    assert!(
        tokens == windows.tokens()
            && width % (3 * heads) == 0
            && (area, columns) == (windows.area(), windows.area()),
        "window_attention: qkv {:?}, bias {:?}, {} windows of {}",
        qkv.dims(),
        bias.dims(),
        windows.count(),
        windows.area()
    );
    let products = 2 * qkv.dims()[0] * tokens * area * width / 3;
    if let Some(out) =
        tally::stand_in("Attention", None, [qkv.dims()[0], tokens, width / 3], products, &qkv.device())
    {
        return out;
    }
    if !has_kernels(&qkv) {
        return composed(qkv, bias, windows);
    }
    Tensor::from_dispatch(<Dispatch as Kernels>::window_attention(
        qkv.into_dispatch(),
        bias.into_dispatch(),
        windows.clone(),
    ))
}

/// Attention of every token to every token.
///
/// # Shapes
/// `qkv` (B, tokens, 3 · heads · d) → (B, tokens, heads · d)
///
/// # Panics
/// If the width is no multiple of 3 · `heads`.
pub fn attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    let [_, tokens, _] = qkv.dims();
    let bias = Tensor::zeros([heads, tokens, tokens], (&qkv.device().without_autodiff(), qkv.dtype()));
    let windows = Arc::new(Windows::new(tokens, (0..tokens).collect(), None));
    window_attention(qkv, bias, &windows)
}

fn composed(qkv: Tensor<3>, bias: Tensor<3>, windows: &Windows) -> Tensor<3> {
    let ([b, tokens, width], [heads, area, _]) = (qkv.dims(), bias.dims());
    let (count, head) = (windows.count(), width / (3 * heads));
    let device = qkv.device();
    let indices = |of: Vec<i64>| Tensor::<1, Int>::from_data(TensorData::new(of, [tokens]), &device);
    let table: Vec<i64> = windows.table().iter().map(|&token| token as i64).collect();
    let mut back = vec![0; tokens];
    for (place, &token) in windows.table().iter().enumerate() {
        back[token] = place as i64;
    }
    let qkv =
        qkv.select(1, indices(table)).reshape([b * count, area, 3, heads, head]).permute([2, 0, 3, 1, 4]);
    let part = |i: usize| qkv.clone().narrow(0, i, 1).squeeze_dim::<4>(0); // (B·windows, heads, area, d)
    let scores = (part(0) * (head as f64).powf(-0.5)).matmul(part(1).transpose()) + bias.unsqueeze::<4>();
    let scores = match windows.mask() {
        Some(mask) => {
            let mask = TensorData::new(mask.to_vec(), [1, count, 1, area, area]);
            let mask = Tensor::<5>::from_data(mask, (&device, scores.dtype()));
            (scores.reshape([b, count, heads, area, area]) + mask).reshape([b * count, heads, area, area])
        }
        None => scores,
    };
    let out = softmax(scores, 3).matmul(part(2)).permute([0, 2, 1, 3]); // (B·windows, area, heads, d)
    out.reshape([b, tokens, heads * head]).select(1, indices(back))
}
