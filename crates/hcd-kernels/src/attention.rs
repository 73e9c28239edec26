//! Attention within windows of tokens: O = P·V, P = softmax(Q·Kᵀ/√d + bias + mask), each window and head alone.
//!
//! Liu et al. 2021, <https://arxiv.org/abs/2103.14030>, section 3.2. A table says which tokens of an image make
//! up each window, so that neither partition nor roll moves memory; one window of all tokens is plain attention.
//! Backward computes P again; then dV = Pᵀ·dO, dP = dO·Vᵀ, dS = P ∘ (dP − rowsum(P ∘ dP)), dbias = Σ dS,
//! dQ = dS·K/√d, dK = dSᵀ·Q/√d.

use crate::lanes::{LANES, Lanes, Strided, Vector, product};
use crate::math::exp;
use crate::split::{rows_per_part, sum_parts};
use rayon::prelude::*;

/// Which tokens attend to one another.
#[derive(Debug, Clone, PartialEq)]
pub struct Windows {
    tokens: usize,
    area: usize,
    table: Vec<usize>,
    mask: Option<Vec<f32>>,
}

impl Windows {
    /// Windows of `area` tokens: `table` lists their tokens, window after window, each of an image's tokens
    /// exactly once. `mask` (windows, area, area) is added to the scores.
    ///
    /// # Panics
    /// If the table is not a permutation of 0, 1, … or not whole windows, or the mask has another shape.
    pub fn new(area: usize, table: Vec<usize>, mask: Option<Vec<f32>>) -> Self {
        let tokens = table.len();
        let mut seen = vec![false; tokens];
        for &token in &table {
            assert!(token < tokens && !seen[token], "Windows: token {token} is not listed exactly once");
            seen[token] = true;
        }
        assert!(
            area > 0 && tokens.is_multiple_of(area),
            "Windows: {tokens} tokens are not whole windows of {area}"
        );
        assert!(
            mask.as_ref().is_none_or(|mask| mask.len() == tokens * area),
            "Windows: the mask is not (windows, area, area)"
        );
        Self { tokens, area, table, mask }
    }

    /// Tokens of an image.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Tokens of a window.
    pub fn area(&self) -> usize {
        self.area
    }

    /// Windows of an image.
    pub fn count(&self) -> usize {
        self.tokens / self.area
    }

    /// The tokens, window after window.
    pub fn table(&self) -> &[usize] {
        &self.table
    }

    /// What is added to the scores: (windows, area, area).
    pub fn mask(&self) -> Option<&[f32]> {
        self.mask.as_deref()
    }
}

/// The queries, keys and values of a batch, and what is added to the scores.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// (images, tokens, 3, heads, d)
    pub qkv: &'a [f32],
    /// (heads, area, area)
    pub bias: &'a [f32],
    /// Which tokens attend to one another.
    pub windows: &'a Windows,
    /// Number of heads.
    pub heads: usize,
    /// heads · d
    pub width: usize,
}

/// # Shapes
/// `out` (images, tokens, heads · d)
pub fn forward(input: &Input, out: &mut [f32]) {
    check(input, out.len());
    let image = input.windows.tokens * input.width;
    if image == 0 {
        return;
    }
    out.par_chunks_mut(image)
        .zip(input.qkv.par_chunks(3 * image))
        .for_each_init(|| Scratch::new(input), |scratch, (out, qkv)| forward_image(input, qkv, scratch, out));
}

/// Gradients of `qkv` and `bias`.
///
/// # Shapes
/// `grad` (images, tokens, heads · d); `qkv_grad` as `qkv`; `bias_grad` as `bias`
pub fn backward(input: &Input, grad: &[f32], qkv_grad: &mut [f32], bias_grad: &mut [f32]) {
    check(input, grad.len());
    assert_eq!(qkv_grad.len(), input.qkv.len(), "attention::backward: qkv and its gradient differ in length");
    assert_eq!(
        bias_grad.len(),
        input.bias.len(),
        "attention::backward: bias and its gradient differ in length"
    );
    let image = input.windows.tokens * input.width;
    if image == 0 {
        return bias_grad.fill(0.0);
    }
    let part = rows_per_part(grad.len() / image);
    let parts = (grad.len() / image).div_ceil(part);
    let mut bias_sums = vec![0.0; parts * input.bias.len()];
    qkv_grad
        .par_chunks_mut(part * 3 * image)
        .zip(input.qkv.par_chunks(part * 3 * image).zip(grad.par_chunks(part * image)))
        .zip(bias_sums.par_chunks_mut(input.bias.len()))
        .for_each(|((qkv_grad, (qkv, grad)), bias_sum)| {
            let mut scratch = Scratch::new(input);
            let images = qkv_grad.chunks_exact_mut(3 * image);
            for ((qkv_grad, qkv), grad) in
                images.zip(qkv.chunks_exact(3 * image)).zip(grad.chunks_exact(image))
            {
                backward_image(input, qkv, grad, &mut scratch, qkv_grad, bias_sum);
            }
        });
    sum_parts(&bias_sums, bias_grad);
}

fn check(input: &Input, out: usize) {
    let Windows { tokens, area, .. } = *input.windows;
    let width = input.width;
    assert!(
        input.heads > 0 && width.is_multiple_of(input.heads),
        "attention: width {width}, {} heads",
        input.heads
    );
    assert_eq!(out % (tokens * width).max(1), 0, "attention: the output is not (images, {tokens}, {width})");
    assert_eq!(input.qkv.len(), 3 * out, "attention: qkv is not three times the output");
    assert_eq!(input.bias.len(), input.heads * area * area, "attention: bias is not (heads, area, area)");
}

/// Room for one window and head, rows padded with zeros to whole lanes.
struct Scratch {
    /// (area, d) of queries, keys, values and of the output's gradient.
    q: Vec<Lanes>,
    k: Vec<Lanes>,
    v: Vec<Lanes>,
    grad: Vec<Lanes>,
    /// (d, area), transposed.
    turned: Vec<Lanes>,
    /// (area, area)
    scores: Vec<Lanes>,
    score_grads: Vec<Lanes>,
    /// (area, d)
    result: Vec<Lanes>,
}

impl Scratch {
    fn new(input: &Input) -> Self {
        let area = input.windows.area;
        let head = input.width / input.heads;
        let zeros = |rows: usize, columns: usize| vec![[0.0; LANES]; rows * columns.div_ceil(LANES)];
        Self {
            q: zeros(area, head),
            k: zeros(area, head),
            v: zeros(area, head),
            grad: zeros(area, head),
            turned: zeros(head, area),
            scores: zeros(area, area),
            score_grads: zeros(area, area),
            result: zeros(area, head),
        }
    }
}

for_each_level! {
    fn forward_image(
        input: &Input, qkv: &[f32], scratch: &mut Scratch, out: &mut [f32],
    ) = forward_body
}
for_each_level! {
    fn backward_image(
        input: &Input, qkv: &[f32], grad: &[f32],
        scratch: &mut Scratch, qkv_grad: &mut [f32], bias_sum: &mut [f32],
    ) = backward_body
}

/// Copies the `head` numbers at `offset` of each token's `stride` into padded rows.
#[inline(always)]
fn gather<V: Vector>(
    from: &[f32],
    tokens: &[usize],
    (stride, offset): (usize, usize),
    head: usize,
    to: &mut [Lanes],
) {
    let groups = head.div_ceil(LANES);
    for (i, &token) in tokens.iter().enumerate() {
        let from = &from[token * stride + offset..][..head];
        // Places, not iterators over both, which are not always compiled into this loop.
        for group in 0..groups {
            let end = head.min((group + 1) * LANES);
            V::load_up_to(&from[group * LANES..end]).store(&mut to[i * groups + group]);
        }
    }
}

/// [`gather`], transposed: one row for each of the `head` numbers.
#[inline(always)]
fn gather_turned<V: Vector>(
    from: &[f32],
    tokens: &[usize],
    (stride, offset): (usize, usize),
    head: usize,
    to: &mut [Lanes],
) {
    let groups = tokens.len().div_ceil(LANES);
    for (group, tokens) in tokens.chunks(LANES).enumerate() {
        for first in (0..head).step_by(LANES) {
            let count = LANES.min(head - first);
            let mut block = [V::splat(0.0); LANES];
            // Of known length, so that the block stays in registers.
            for (i, line) in block.iter_mut().enumerate() {
                if let Some(&token) = tokens.get(i) {
                    *line = V::load_up_to(&from[token * stride + offset + first..][..count]);
                }
            }
            for (i, line) in V::transpose(block).into_iter().enumerate() {
                if i < count {
                    line.store(&mut to[(first + i) * groups + group]);
                }
            }
        }
    }
}

/// Writes `factor` times the padded rows back to where [`gather`] would read them.
#[inline(always)]
fn scatter<V: Vector>(
    from: &[Lanes],
    factor: f32,
    tokens: &[usize],
    (stride, offset): (usize, usize),
    head: usize,
    to: &mut [f32],
) {
    let factor = V::splat(factor);
    let groups = head.div_ceil(LANES);
    for (i, &token) in tokens.iter().enumerate() {
        let to = &mut to[token * stride + offset..][..head];
        for group in 0..groups {
            let end = head.min((group + 1) * LANES);
            V::load(&from[i * groups + group]).mul(factor).store_up_to(&mut to[group * LANES..end]);
        }
    }
}

/// Softmax of each row of scale · scores + bias + mask, in place; the padding becomes 0.
#[inline(always)]
fn softmax_rows<V: Vector>(
    scores: &mut [Lanes],
    scale: f32,
    bias: &[f32],
    mask: Option<&[f32]>,
    area: usize,
) {
    let groups = area.div_ceil(LANES);
    let scale = V::splat(scale);
    for (i, scores) in scores.chunks_exact_mut(groups).enumerate() {
        let row = i * area..(i + 1) * area;
        let (bias, mask) = (&bias[row.clone()], mask.map(|mask| &mask[row]));
        let mut highest = V::splat(f32::NEG_INFINITY);
        for (group, score) in scores.iter_mut().enumerate() {
            let own = group * LANES..area.min((group + 1) * LANES);
            let mut sum = V::load(score).mul_add(scale, V::load_up_to(&bias[own.clone()]));
            if let Some(mask) = mask {
                sum = sum.add(V::load_up_to(&mask[own.clone()]));
            }
            sum.store(score);
            score[own.len()..].fill(f32::NEG_INFINITY);
            highest = V::load(score).at_least(highest);
        }
        let mut lanes = [0.0; LANES];
        highest.store(&mut lanes);
        let highest = V::splat(lanes.iter().fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a }));
        let mut total = V::splat(0.0);
        for score in scores.iter_mut() {
            let value = exp(V::load(score).sub(highest));
            value.store(score);
            total = total.add(value);
        }
        // Of a row that is hidden altogether the padding is no number, either.
        scores[groups - 1][area - (groups - 1) * LANES..].fill(0.0);
        let factor = V::splat(1.0 / total.sum());
        for score in scores.iter_mut() {
            V::load(score).mul(factor).store(score);
        }
    }
}

#[inline(always)]
fn forward_body<V: Vector>(input: &Input, qkv: &[f32], scratch: &mut Scratch, out: &mut [f32]) {
    let (area, width) = (input.windows.area, input.width);
    let head = width / input.heads;
    let (area_groups, head_groups) = (area.div_ceil(LANES), head.div_ceil(LANES));
    for (window, tokens) in input.windows.table.chunks_exact(area).enumerate() {
        let mask = input.windows.mask().map(|mask| &mask[window * area * area..(window + 1) * area * area]);
        for h in 0..input.heads {
            let bias = &input.bias[h * area * area..(h + 1) * area * area];
            let part = |i: usize| (3 * width, i * width + h * head);
            gather::<V>(qkv, tokens, part(0), head, &mut scratch.q);
            gather_turned::<V>(qkv, tokens, part(1), head, &mut scratch.turned);
            gather::<V>(qkv, tokens, part(2), head, &mut scratch.v);
            let q = Strided { values: scratch.q.as_flattened(), row: head_groups * LANES, column: 1 };
            product::<V>(q, &scratch.turned, &mut scratch.scores, area_groups);
            softmax_rows::<V>(&mut scratch.scores, (head as f32).powf(-0.5), bias, mask, area);
            let p = Strided { values: scratch.scores.as_flattened(), row: area_groups * LANES, column: 1 };
            product::<V>(p, &scratch.v, &mut scratch.result, head_groups);
            scatter::<V>(&scratch.result, 1.0, tokens, (width, h * head), head, out);
        }
    }
}

#[inline(always)]
fn backward_body<V: Vector>(
    input: &Input,
    qkv: &[f32],
    grad: &[f32],
    scratch: &mut Scratch,
    qkv_grad: &mut [f32],
    bias_sum: &mut [f32],
) {
    let (area, width) = (input.windows.area, input.width);
    let head = width / input.heads;
    let scale = (head as f32).powf(-0.5);
    let (area_groups, head_groups) = (area.div_ceil(LANES), head.div_ceil(LANES));
    let (area_row, head_row) = (area_groups * LANES, head_groups * LANES);
    for (window, tokens) in input.windows.table.chunks_exact(area).enumerate() {
        let mask = input.windows.mask().map(|mask| &mask[window * area * area..(window + 1) * area * area]);
        for h in 0..input.heads {
            let bias = &input.bias[h * area * area..(h + 1) * area * area];
            let part = |i: usize| (3 * width, i * width + h * head);
            gather::<V>(qkv, tokens, part(0), head, &mut scratch.q);
            gather::<V>(qkv, tokens, part(1), head, &mut scratch.k);
            gather::<V>(grad, tokens, (width, h * head), head, &mut scratch.grad);

            gather_turned::<V>(qkv, tokens, part(1), head, &mut scratch.turned);
            let q = Strided { values: scratch.q.as_flattened(), row: head_row, column: 1 };
            product::<V>(q, &scratch.turned, &mut scratch.scores, area_groups);
            softmax_rows::<V>(&mut scratch.scores, scale, bias, mask, area);

            let p_turned = Strided { values: scratch.scores.as_flattened(), row: 1, column: area_row };
            product::<V>(p_turned, &scratch.grad, &mut scratch.result, head_groups);
            scatter::<V>(&scratch.result, 1.0, tokens, part(2), head, qkv_grad);

            gather_turned::<V>(qkv, tokens, part(2), head, &mut scratch.turned);
            let grad = Strided { values: scratch.grad.as_flattened(), row: head_row, column: 1 };
            product::<V>(grad, &scratch.turned, &mut scratch.score_grads, area_groups);
            let bias = &mut bias_sum[h * area * area..(h + 1) * area * area];
            for i in 0..area {
                let row = i * area_groups..(i + 1) * area_groups;
                let (p, s) = (&scratch.scores[row.clone()], &mut scratch.score_grads[row]);
                score_grads::<V>(p, s, &mut bias[i * area..(i + 1) * area]);
            }

            let s = Strided { values: scratch.score_grads.as_flattened(), row: area_row, column: 1 };
            product::<V>(s, &scratch.k, &mut scratch.result, head_groups);
            scatter::<V>(&scratch.result, scale, tokens, part(0), head, qkv_grad);
            let s_turned = Strided { row: 1, column: area_row, ..s };
            product::<V>(s_turned, &scratch.q, &mut scratch.result, head_groups);
            scatter::<V>(&scratch.result, scale, tokens, part(1), head, qkv_grad);
        }
    }
}

/// dS = P ∘ (dP − rowsum(P ∘ dP)) of one row, in place of dP; added to `bias`.
#[inline(always)]
fn score_grads<V: Vector>(p: &[Lanes], s: &mut [Lanes], bias: &mut [f32]) {
    let (p, area) = (&p[..s.len()], bias.len());
    let mut sum = V::splat(0.0);
    for group in 0..s.len() {
        sum = V::load(&p[group]).mul_add(V::load(&s[group]), sum);
    }
    let mean = V::splat(sum.sum());
    for group in 0..s.len() {
        let grad = V::load(&p[group]).mul(V::load(&s[group]).sub(mean));
        grad.store(&mut s[group]);
        let bias = &mut bias[group * LANES..area.min((group + 1) * LANES)];
        V::load_up_to(bias).add(grad).store_up_to(bias);
    }
}

#[cfg(test)]
mod tests;
