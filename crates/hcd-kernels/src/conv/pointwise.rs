//! Convolutions of 1x1 kernels without padding: Y = W·X over channels, pixels side by side.
//!
//! A large image is multiplied as it lies. Small ones are joined, so that a task multiplies (channels, image, pixel) and
//! its weight is worth packing; where the stride leaves pixels out, what is left of them is joined. Images of one pixel
//! are the rows of a linear layer.

use super::ConvShape;
use super::grads::parts_of;
use crate::bf16::Precision;
use crate::copy::{Lines, copy_lines, spread_lines};
use crate::gemm::{Activation, Bias, Left, Panels, WIDTH, multiply, multiply_here, multiply_rows};
use crate::split::sum_parts;
use crate::transpose::transpose;
use crate::{linear, memory};
use rayon::prelude::*;

/// Pixels that a task multiplies at least, where there are as many.
const PIXELS: usize = 196;

/// Rows of a product that are put into several images at once: few enough to stay in the cache.
const ROWS: usize = 112;

/// Pixels of an image from which on the weight's gradient is summed image by image.
const LARGE: usize = 196;

/// Whether a convolution is computed so.
pub(super) fn suits(shape: &ConvShape) -> bool {
    (shape.kernel, shape.padding, shape.groups) == ([1, 1], [0, 0], 1)
}

/// Whether images have one pixel, each a row.
fn is_linear(shape: &ConvShape) -> bool {
    shape.size == [1, 1]
}

/// See [`super::forward`].
pub(super) fn forward(shape: &ConvShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let depth = shape.in_channels;
    if is_linear(shape) {
        let bias = bias.unwrap_or(&[]);
        return linear::forward(x, weight, bias, depth, Precision::F32, Activation::None, y);
    }
    let bias = bias.map_or(Bias::None, Bias::Row);
    product([&Maps::read(shape), &Maps::written(shape)], x, Left::straight(weight, depth), bias, y);
}

/// See [`super::input_grad`].
pub(super) fn input_grad(shape: &ConvShape, grad: &[f32], weight: &[f32], dx: &mut [f32]) {
    let rows = shape.in_channels;
    if is_linear(shape) {
        return linear::input_grad(grad, weight, rows, Precision::F32, dx);
    }
    let weight = Left::transposed(weight, rows);
    product([&Maps::written(shape), &Maps::read(shape)], grad, weight, Bias::None, dx);
}

/// See [`super::weight_grad`]: dW = Σ dY·Xᵀ over images, of which X alone is turned.
pub(super) fn weight_grad(shape: &ConvShape, x: &[f32], grad: &[f32], dweight: &mut [f32]) {
    if is_linear(shape) {
        return linear::weight_grad(x, grad, shape.in_channels, Precision::F32, dweight);
    }
    let maps = Maps::read(shape);
    if maps.pixels >= LARGE {
        return by_image(shape, &maps, x, grad, dweight);
    }
    let kept = (!maps.is_whole()).then(|| {
        memory::written(shape.images * maps.channels * maps.pixels, |kept| {
            let images = kept.par_chunks_mut(maps.channels * maps.pixels);
            images.zip(x.par_chunks(maps.channels * maps.plane)).for_each(|(kept, x)| maps.join(x, kept));
        })
    });
    let x = kept.as_deref().unwrap_or(x);
    let turned = Panels::built(shape.images * maps.pixels, maps.channels, |first, width, panel| {
        let images = x.chunks_exact(maps.channels * maps.pixels);
        for (x, panel) in images.zip(panel.chunks_exact_mut(maps.pixels * WIDTH)) {
            transpose(&x[first * maps.pixels..], maps.pixels, width, maps.pixels, panel, WIDTH);
        }
    });
    let grads = Left::joined(grad, shape.out_channels, maps.pixels);
    multiply(grads, &turned, Bias::None, Activation::None, dweight);
}

/// [`weight_grad`] with the sums of some images after the other, which are read and written once an image.
fn by_image(shape: &ConvShape, maps: &Maps, x: &[f32], grad: &[f32], dweight: &mut [f32]) {
    let (x_image, y_image) = (maps.channels * maps.plane, shape.out_channels * maps.pixels);
    let part = parts_of(shape, dweight.len());
    let sums = memory::written(shape.images.div_ceil(part) * dweight.len(), |sums| {
        let parts = x.par_chunks(part * x_image).zip(grad.par_chunks(part * y_image));
        sums.par_chunks_mut(dweight.len()).zip(parts).for_each_init(
            Room::default,
            |room, (sums, (x, grad))| {
                let images = x.chunks_exact(x_image).zip(grad.chunks_exact(y_image));
                for (index, (x, grad)) in images.enumerate() {
                    let x = maps.joined(x, &mut room.joined);
                    room.panels.resize(maps.pixels, maps.channels);
                    room.panels.turn_in(0, maps.pixels, x, maps.pixels);
                    let before = if index == 0 { Bias::None } else { Bias::There };
                    let grad = Left::straight(grad, maps.pixels);
                    multiply_here(grad, &room.panels, before, Activation::None, &mut room.tiles, sums);
                }
            },
        );
    });
    sum_parts(&sums, dweight);
}

/// Room that one task after the other uses.
#[derive(Default)]
struct Room {
    joined: Vec<f32>,
    panels: Panels,
    tiles: Vec<f32>,
    product: Vec<f32>,
}

/// y = W·x + bias in each image, x and y as the two maps say.
fn product([from, to]: [&Maps; 2], x: &[f32], weight: Left, bias: Bias, y: &mut [f32]) {
    let (x_image, y_image) = (from.channels * from.plane, to.channels * to.plane);
    let most = (y.len() / y_image).div_ceil(2 * rayon::current_num_threads());
    let images = PIXELS.div_ceil(to.pixels).min(most);
    y.par_chunks_mut(images * y_image).zip(x.par_chunks(images * x_image)).for_each_init(
        Room::default,
        |Room { joined, panels, tiles, product }, (y, x)| {
            let columns = y.len() / y_image * to.pixels;
            panels.refill(from.joined(x, joined), columns);
            if y.len() == y_image && to.is_whole() {
                return multiply_here(weight, panels, bias, Activation::None, tiles, y);
            }
            for first in (0..to.channels).step_by(ROWS) {
                product.resize(ROWS.min(to.channels - first) * columns, 0.0);
                multiply_rows(weight, first, panels, bias, Activation::None, tiles, product);
                to.put(product, first, y);
            }
        },
    );
}

/// Images (image, channel, H, W) of whose pixels every row and column of a stride counts.
struct Maps {
    channels: usize,
    /// Pixels of a channel.
    plane: usize,
    /// Those that count.
    pixels: usize,
    /// Where each run of them begins.
    starts: Vec<usize>,
    /// From one to the next in a run.
    stride: usize,
}

impl Maps {
    /// The input.
    fn read(shape: &ConvShape) -> Self {
        let [[height, width], [down, across]] = [shape.out_size(), shape.stride];
        let starts = match [down, across] {
            [1, 1] => vec![0],
            _ => (0..height).map(|row| row * down * shape.size[1]).collect(),
        };
        let [plane, pixels] = [shape.size[0] * shape.size[1], height * width];
        Self { channels: shape.in_channels, plane, pixels, starts, stride: across }
    }

    /// The output.
    fn written(shape: &ConvShape) -> Self {
        let pixels = shape.out_size().iter().product();
        Self { channels: shape.out_channels, plane: pixels, pixels, starts: vec![0], stride: 1 }
    }

    /// Whether every pixel counts.
    fn is_whole(&self) -> bool {
        self.pixels == self.plane
    }

    /// `x` (image, channel, H, W) as (channel, image, pixel), in `room` where it does not lie so.
    fn joined<'a>(&self, x: &'a [f32], room: &'a mut Vec<f32>) -> &'a [f32] {
        if x.len() == self.channels * self.plane && self.is_whole() {
            return x;
        }
        room.resize(x.len() / self.plane * self.pixels, 0.0);
        self.join(x, room);
        room
    }

    fn join(&self, x: &[f32], joined: &mut [f32]) {
        let to_step = joined.len() / self.channels;
        let length = self.pixels / self.starts.len();
        for (image, x) in x.chunks_exact(self.channels * self.plane).enumerate() {
            for (run, &start) in self.starts.iter().enumerate() {
                let (from_step, stride) = (self.plane, self.stride);
                let lines = Lines { count: self.channels, length, from_step, to_step, stride };
                copy_lines(lines, &x[start..], &mut joined[image * self.pixels + run * length..]);
            }
        }
    }

    /// Puts (channel, image, pixel), the channels from `first` on, into `images`, with zeros for pixels that do not count.
    fn put(&self, product: &[f32], first: usize, images: &mut [f32]) {
        let image_length = self.channels * self.plane;
        let from_step = images.len() / image_length * self.pixels;
        let (count, length) = (product.len() / from_step, self.pixels / self.starts.len());
        for (image, to) in images.chunks_exact_mut(image_length).enumerate() {
            let (from, to) = (&product[image * self.pixels..], &mut to[first * self.plane..]);
            if self.is_whole() {
                let lines = Lines { count, length, from_step, to_step: self.plane, stride: 1 };
                copy_lines(lines, from, to);
                continue;
            }
            to[..count * self.plane].fill(0.0);
            for (run, &start) in self.starts.iter().enumerate() {
                let lines = Lines { count, length, from_step, to_step: self.plane, stride: self.stride };
                spread_lines(lines, &from[run * length..], &mut to[start..]);
            }
        }
    }
}
