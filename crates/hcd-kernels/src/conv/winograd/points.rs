//! From kernels and pixels to points, and back: whole rows of tiles, sixteen channels side by side.

use super::stage::Stage;
use super::transforms::{Input, Output, OutputGrad, Transform, Weight, WeightGrad, both};
use super::{BLOCK, Layer, POINTS, SIDE};
use crate::gemm::WIDTH;
use crate::lanes::{LANES, Lanes, Vector};
use crate::transpose::transpose;

/// The products of all points: (point, panel, tile, 32).
#[derive(Clone, Copy)]
pub(super) struct Products<'a> {
    pub(super) values: &'a [f32],
    pub(super) tiles: usize,
    /// The tile that a row begins with.
    pub(super) first: usize,
}

for_each_level! {
    pub(super) fn transform_weight(
        from: &[f32], step: usize, count: usize, turned: bool, to: &mut [[Lanes; 2]], half: usize, channel: usize,
    ) = transform_weight_body
}
for_each_level! {
    pub(super) fn transform_input(stage: &Stage, across: usize, to: &mut [f32], tiles: usize, first: usize) = transform_input_body
}
for_each_level! {
    pub(super) fn transform_grad(stage: &Stage, across: usize, to: &mut [f32], tiles: usize, first: usize) = transform_grad_body
}
for_each_level! {
    pub(super) fn transform_output(
        from: Products, layer: &Layer, row: usize, bias: Option<&[f32]>, y: &mut [f32],
    ) = transform_output_body
}
for_each_level! {
    pub(super) fn transform_sums(parts: &[&[f32]], inputs: usize, dweight: &mut [f32]) = transform_sums_body
}

/// `count` kernels, `step` apart, become half a row of every point of a panel (point, depth, 32).
#[inline(always)]
fn transform_weight_body<V: Vector>(
    from: &[f32],
    step: usize,
    count: usize,
    turned: bool,
    to: &mut [[Lanes; 2]],
    half: usize,
    channel: usize,
) {
    let mut kernel = [[0.0; LANES]; 9];
    transpose(from, step, count, 9, kernel.as_flattened_mut(), LANES);
    if turned {
        kernel.reverse();
    }
    let mut block = [[V::splat(0.0); 3]; 3];
    for (row, kernel) in block.iter_mut().zip(kernel.as_chunks::<3>().0) {
        for (to, from) in row.iter_mut().zip(kernel) {
            *to = V::load(from);
        }
    }
    let depth = to.len() / POINTS;
    for (i, row) in both::<Weight, V, _, _>(&block).into_iter().enumerate() {
        for (j, value) in row.into_iter().enumerate() {
            value.store(&mut to[(i * 6 + j) * depth + channel][half]);
        }
    }
}

/// A row of tiles becomes tiles `first`… of `to` (point, channel / 64, tile, 64).
#[inline(always)]
fn transform_input_body<V: Vector>(stage: &Stage, across: usize, to: &mut [f32], tiles: usize, first: usize) {
    spread::<Input, V, 6>(stage, across, to, tiles, first, BLOCK);
}

/// A row of the gradient's tiles becomes tiles `first`… of `to` (point, channel / 32, tile, 32).
#[inline(always)]
fn transform_grad_body<V: Vector>(stage: &Stage, across: usize, to: &mut [f32], tiles: usize, first: usize) {
    spread::<OutputGrad, V, 4>(stage, across, to, tiles, first, WIDTH);
}

/// `across` tiles, N by N pixels of which are read, become tiles `first`… of `to` (point, channel / block, tile, block).
#[inline(always)]
fn spread<T: Transform<N, 6>, V: Vector, const N: usize>(
    stage: &Stage,
    across: usize,
    to: &mut [f32],
    tiles: usize,
    first: usize,
    block: usize,
) {
    let point_step = to.len() / POINTS;
    for tile in 0..across {
        for channel in (0..stage.lanes()).step_by(LANES) {
            let pixels = stage.block::<V, N>(tile * SIDE, channel);
            let place = (channel / block * tiles + first + tile) * block + channel % block;
            let to = &mut to[place..];
            for (i, row) in both::<T, V, _, _>(&pixels).into_iter().enumerate() {
                for (j, value) in row.into_iter().enumerate() {
                    value.store(&mut to[(i * 6 + j) * point_step..].as_chunks_mut().0[0]);
                }
            }
        }
    }
}

/// A row of tiles of the products becomes up to four rows of pixels of `y` (channels, H, W).
#[inline(always)]
fn transform_output_body<V: Vector>(
    from: Products,
    layer: &Layer,
    row: usize,
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    let [height, width] = layer.out_size;
    let rows = SIDE.min(height - row * SIDE);
    let across = width.div_ceil(SIDE);
    let panel = from.tiles * WIDTH;
    let point_step = layer.outputs.div_ceil(WIDTH) * panel;
    for first in (0..layer.outputs).step_by(LANES) {
        let count = LANES.min(layer.outputs - first);
        let bias = bias.map_or(V::splat(0.0), |bias| V::load_some(&bias[first..first + count]));
        // Four tiles are sixteen pixels.
        for quad in (0..across).step_by(4) {
            let mut pixels = [[bias; LANES]; SIDE];
            for tile in 0..4.min(across - quad) {
                let start = first / WIDTH * panel + (from.first + quad + tile) * WIDTH + first % WIDTH;
                let mut block = [[bias; 6]; 6];
                for (i, row) in block.iter_mut().enumerate() {
                    for (j, value) in row.iter_mut().enumerate() {
                        *value = V::load(&from.values[start + (i * 6 + j) * point_step..].as_chunks().0[0]);
                    }
                }
                let block = both::<Output, V, _, _>(&block);
                for (pixels, block) in pixels.iter_mut().zip(block) {
                    for (column, value) in block.into_iter().enumerate() {
                        pixels[tile * SIDE + column] = value.add(bias);
                    }
                }
            }
            let column = quad * SIDE;
            let length = LANES.min(width - column);
            for (i, pixels) in pixels.into_iter().enumerate().take(rows) {
                for (channel, line) in V::transpose(pixels).into_iter().enumerate() {
                    if channel < count {
                        let start = ((first + channel) * height + row * SIDE + i) * width + column;
                        line.store_up_to(&mut y[start..start + length]);
                    }
                }
            }
        }
    }
}

/// The parts' sums of a panel (point, input, 32) become the gradient of up to 32 outputs (output, input, 9).
#[inline(always)]
fn transform_sums_body<V: Vector>(parts: &[&[f32]], inputs: usize, dweight: &mut [f32]) {
    for (half, dweight) in dweight.chunks_mut(LANES * inputs * 9).enumerate() {
        for input in 0..inputs {
            let mut block = [[V::splat(0.0); 6]; 6];
            for sums in parts {
                for (i, row) in block.iter_mut().enumerate() {
                    for (j, value) in row.iter_mut().enumerate() {
                        let place = ((i * 6 + j) * inputs + input) * WIDTH + half * LANES;
                        *value = value.add(V::load(&sums[place..].as_chunks().0[0]));
                    }
                }
            }
            let kernel = both::<WeightGrad, V, _, _>(&block);
            let mut lines = [V::splat(0.0); LANES];
            for (i, row) in kernel.into_iter().enumerate() {
                for (j, value) in row.into_iter().enumerate() {
                    lines[i * 3 + j] = value;
                }
            }
            let outputs = dweight.chunks_exact_mut(inputs * 9);
            for (line, dweight) in V::transpose(lines).into_iter().zip(outputs) {
                line.store_some(&mut dweight[input * 9..][..9]);
            }
        }
    }
}
