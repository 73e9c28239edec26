//! Convolutions that mix channels, as matrix products: rows are pixels, the shared axis is (channel, tap), columns are
//! channels of the result. Tiles of pixels are collected from planes with margins, so nothing is unrolled; what a tile
//! gives has channels side by side and is turned when it is written.

use super::ConvShape;
use super::planes::Planes;
use crate::gemm::{Activation, Bias, Left, Panels, multiply_here};
use crate::transpose::transpose;
use rayon::prelude::*;

/// Pixels that are multiplied at once: small enough that what they give stays in the cache.
const CHUNK: usize = 112;

/// Pixels that a task has at least, where there are as many: it reads the whole weight.
const TASK: usize = 196;

/// Room that one task after the other uses.
#[derive(Default)]
pub(super) struct Room {
    tiles: Vec<f32>,
    product: Vec<f32>,
}

/// For every pixel the sum over (channel, tap), written where `put` says.
///
/// `values[starts[pixel] + offsets[tap]]` are the factors; `put` is given the first pixel of a chunk, how many there
/// are and (pixels, channels).
pub(super) fn multiply(
    values: &[f32],
    starts: &[usize],
    offsets: &[usize],
    weights: &Panels,
    bias: Bias,
    room: &mut Room,
    mut put: impl FnMut(usize, usize, &[f32]),
) {
    let channels = weights.columns();
    room.product.resize(CHUNK * channels, 0.0);
    for (index, starts) in starts.chunks(CHUNK).enumerate() {
        let product = &mut room.product[..starts.len() * channels];
        let pixels = Left::runs(values, starts, offsets);
        multiply_here(pixels, weights, bias, Activation::None, &mut room.tiles, product);
        put(index * CHUNK, starts.len(), product);
    }
}

/// Writes `count` pixels from `first` on, (count, channels), into images (image, channels, area) that lie `step` apart.
pub(super) fn put(
    product: &[f32],
    [first, count]: [usize; 2],
    [channels, area]: [usize; 2],
    images: &mut [f32],
    step: usize,
) {
    let mut done = 0;
    while done < count {
        let (image, pixel) = ((first + done) / area, (first + done) % area);
        let length = (area - pixel).min(count - done);
        let to = &mut images[image * step + pixel..];
        transpose(&product[done * channels..], channels, length, channels, to, area);
        done += length;
    }
}

/// Images that one task works on: enough to make the weight worth reading, few enough to leave work for others.
pub(super) fn images_per_task(shape: &ConvShape, area: usize) -> usize {
    TASK.div_ceil(area.max(1)).clamp(1, shape.images.div_ceil(16).max(1))
}

/// See [`super::forward`].
pub(super) fn forward(shape: &ConvShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let [rows, columns] = [shape.axis(0), shape.axis(1)];
    let (inputs, outputs) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let area = rows.output * columns.output;
    let images = images_per_task(shape, area);
    let weights: Vec<Panels> = weight
        .chunks_exact(outputs * shape.taps())
        .map(|weight| Panels::transposed(weight, shape.taps()))
        .collect();
    let layout = Planes::new(rows, columns, inputs, images);
    let (offsets, starts) = (layout.tap_offsets(inputs), layout.pixel_starts());
    let (x_image, y_image) = (shape.in_channels * shape.size[0] * shape.size[1], shape.out_channels * area);
    y.par_chunks_mut(images * y_image).zip(x.par_chunks(images * x_image)).for_each_init(
        || (Planes::new(rows, columns, inputs, images), Room::default()),
        |(planes, room), (y, x)| {
            let count = y.len() / y_image;
            for (group, weights) in weights.iter().enumerate() {
                planes.fill(x, shape, count, group * inputs);
                let bias = match bias {
                    Some(bias) => Bias::Column(&bias[group * outputs..][..outputs]),
                    None => Bias::None,
                };
                let y = &mut y[group * outputs * area..];
                multiply(
                    planes.values(),
                    &starts[..count * area],
                    &offsets,
                    weights,
                    bias,
                    room,
                    |first, count, product| put(product, [first, count], [outputs, area], y, y_image),
                );
            }
        },
    );
}
