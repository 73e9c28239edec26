//! Convolutions with 3x3 kernels and stride 1 in a quarter of the multiplications: Winograd's F(4x4, 3x3).
//!
//! Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A for every tile of 4x4 pixels, d the 6x6 pixels that it reads. Summed over channels, the
//! product at each of the 36 points is a matrix product over channels; for the weight's gradient,
//! Gᵀ[Σ (Bᵀ d B) ⊙ (A dY Aᵀ)]G, one over tiles. Sixteen channels are transformed side by side, as many tiles at a time
//! as stay in the cache with what they become. Rounding errors are about twice those of direct sums.
//!
//! Lavin & Gray 2016, Fast algorithms for convolutional neural networks, <https://arxiv.org/abs/1509.09308>.

mod multiply;
mod points;
mod stage;
mod transforms;

use super::ConvShape;
use crate::gemm::WIDTH;
use crate::lanes::LANES;
use crate::memory;
use multiply::{over_channels, over_tiles};
use points::{Products, transform_grad, transform_input, transform_output, transform_sums, transform_weight};
use rayon::prelude::*;
use stage::Stage;
use std::sync::LazyLock;

/// Pixels of a tile, down and across.
const SIDE: usize = 4;
/// Points of both directions.
const POINTS: usize = 36;
/// Channels of a tile that lie together.
const BLOCK: usize = 64;
/// The fewest and the most tiles that are transformed and multiplied at a time.
const TILES: [usize; 2] = [64, 256];

/// `HCD_WINOGRAD=0` computes all convolutions directly.
static ENABLED: LazyLock<bool> = LazyLock::new(|| std::env::var("HCD_WINOGRAD").as_deref() != Ok("0"));

/// Whether a convolution is computed so: the transforms cost as much as some dozens of channels, and tiles that reach
/// over the edge are computed whole.
pub(super) fn suits(shape: &ConvShape) -> bool {
    let [height, width] = shape.out_size();
    let tiles = height.div_ceil(SIDE) * width.div_ceil(SIDE);
    *ENABLED
        && (shape.kernel, shape.stride, shape.dilation) == ([3, 3], [1, 1], [1, 1])
        && shape.groups == 1
        && shape.padding.iter().all(|&padding| padding <= 2)
        && shape.in_channels.min(shape.out_channels) >= 32
        && tiles * POINTS <= height * width * 9 / 2
        // The weight is transformed, too.
        && shape.images * tiles >= TILES[0] / 2
}

/// One direction through the layer: from images of `inputs` channels to such of `outputs`.
struct Layer {
    inputs: usize,
    outputs: usize,
    in_size: [usize; 2],
    out_size: [usize; 2],
    padding: [usize; 2],
}

impl Layer {
    /// From the input to the output.
    fn of(shape: &ConvShape) -> Self {
        Self {
            inputs: shape.in_channels,
            outputs: shape.out_channels,
            in_size: shape.size,
            out_size: shape.out_size(),
            padding: shape.padding,
        }
    }

    /// From the output's gradient to the input's.
    fn back(shape: &ConvShape) -> Self {
        Self {
            inputs: shape.out_channels,
            outputs: shape.in_channels,
            in_size: shape.out_size(),
            out_size: shape.size,
            padding: shape.padding.map(|padding| 2 - padding),
        }
    }

    /// Tiles, down and across.
    fn tiles(&self) -> [usize; 2] {
        self.out_size.map(|size| size.div_ceil(SIDE))
    }

    /// Tiles that are worked on at a time: so many that they are about as large as the weight, which passes by.
    fn band(&self) -> usize {
        (self.inputs * self.outputs / (self.inputs + self.outputs)).clamp(TILES[0], TILES[1])
    }

    /// Images that share a task, where no thread is to be without work.
    fn images_per_task(&self, images: usize) -> usize {
        let [down, across] = self.tiles();
        self.band().div_ceil(down * across).min(images.div_ceil(rayon::current_num_threads())).max(1)
    }

    fn in_image(&self) -> usize {
        self.inputs * self.in_size[0] * self.in_size[1]
    }

    fn out_image(&self) -> usize {
        self.outputs * self.out_size[0] * self.out_size[1]
    }
}

/// See [`super::forward`].
pub(super) fn forward(shape: &ConvShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let (inputs, outputs) = (shape.in_channels, shape.out_channels);
    let weights = Weights::new(inputs, outputs, |channel| (channel * 9, inputs * 9), false, weight);
    run(&Layer::of(shape), x, &weights, bias, y);
}

/// See [`super::input_grad`]: the same with the kernel turned round, from the output's channels to the input's.
pub(super) fn input_grad(shape: &ConvShape, grad: &[f32], weight: &[f32], dx: &mut [f32]) {
    let (inputs, outputs) = (shape.in_channels, shape.out_channels);
    let weights = Weights::new(outputs, inputs, |channel| (channel * inputs * 9, 9), true, weight);
    run(&Layer::back(shape), grad, &weights, None, dx);
}

/// The transformed weight: (panel, point, depth, 32).
struct Weights {
    depth: usize,
    values: Vec<f32>,
}

impl Weights {
    /// `place` says for a channel of the shared axis where its first kernel lies, and how far the next one.
    fn new(
        depth: usize,
        columns: usize,
        place: impl Fn(usize) -> (usize, usize) + Sync,
        turned: bool,
        weight: &[f32],
    ) -> Self {
        let panel = POINTS * depth * WIDTH;
        let values = memory::written(columns.div_ceil(WIDTH) * panel, |values| {
            values.par_chunks_mut(panel).enumerate().for_each(|(panel, to)| {
                let to = to.as_chunks_mut::<LANES>().0.as_chunks_mut::<2>().0;
                for half in 0..2 {
                    let first = panel * WIDTH + half * LANES;
                    let count = LANES.min(columns.saturating_sub(first));
                    for channel in 0..depth {
                        let (start, step) = place(channel);
                        let from = if count > 0 { &weight[start + first * step..] } else { &[] };
                        transform_weight(from, step, count, turned, to, half, channel);
                    }
                }
            });
        });
        Self { depth, values }
    }

    fn panels(&self, point: usize) -> impl Iterator<Item = &multiply::Panel> {
        let values = self.values.as_chunks::<LANES>().0.as_chunks::<2>().0;
        values.chunks_exact(POINTS * self.depth).map(move |panel| &panel[point * self.depth..][..self.depth])
    }
}

/// What a thread needs, one task after the other.
#[derive(Default)]
struct Room {
    stage: Stage,
    inputs: Vec<f32>,
    products: Vec<f32>,
}

impl Room {
    /// Room for the tiles of both sides of a band.
    fn resize(&mut self, layer: &Layer, tiles: usize, panels: usize) {
        self.inputs.resize(POINTS * layer.inputs.div_ceil(BLOCK) * tiles * BLOCK, 0.0);
        self.products.resize(POINTS * panels * tiles * WIDTH, 0.0);
    }
}

/// Image and row of tiles, for every one of some images, in bands.
fn bands(layer: &Layer, images: usize) -> Vec<Vec<(usize, usize)>> {
    let [down, across] = layer.tiles();
    let rows: Vec<(usize, usize)> =
        (0..images).flat_map(|image| (0..down).map(move |row| (image, row))).collect();
    rows.chunks((layer.band() / across).max(1)).map(<[_]>::to_vec).collect()
}

fn run(layer: &Layer, x: &[f32], weights: &Weights, bias: Option<&[f32]>, y: &mut [f32]) {
    let across = layer.tiles()[1];
    let panels = layer.outputs.div_ceil(WIDTH);
    let task = layer.images_per_task(y.len() / layer.out_image());
    y.par_chunks_mut(task * layer.out_image()).zip(x.par_chunks(task * layer.in_image())).for_each_init(
        Room::default,
        |room, (y, x)| {
            for band in bands(layer, y.len() / layer.out_image()) {
                let tiles = band.len() * across;
                room.resize(layer, tiles, panels);
                for (index, &(image, row)) in band.iter().enumerate() {
                    room.stage.fill(&x[image * layer.in_image()..], layer, row);
                    transform_input(&room.stage, across, &mut room.inputs, tiles, index * across);
                }
                let points = room.inputs.chunks_exact(room.inputs.len() / POINTS);
                let products = room.products.chunks_exact_mut(panels * tiles * WIDTH);
                for (point, (inputs, products)) in points.zip(products).enumerate() {
                    for (weights, products) in
                        weights.panels(point).zip(products.chunks_exact_mut(tiles * WIDTH))
                    {
                        over_channels(inputs, weights, products);
                    }
                }
                for (index, &(image, row)) in band.iter().enumerate() {
                    let y = &mut y[image * layer.out_image()..][..layer.out_image()];
                    let from = Products { values: &room.products, tiles, first: index * across };
                    transform_output(from, layer, row, bias, y);
                }
            }
        },
    );
}

/// The largest sum of the weight's gradient over points and panels, in numbers, of which there is more than one.
const SUM: usize = 2_500_000;

/// See [`super::weight_grad`].
pub(super) fn weight_grad(shape: &ConvShape, x: &[f32], grad: &[f32], dweight: &mut [f32]) {
    let layer = Layer::of(shape);
    let panels = layer.outputs.div_ceil(WIDTH);
    let panel = POINTS * layer.inputs * WIDTH;
    // Each part of the images has a sum of its own: fewer where it is large. Panels, which don't depend on each
    // other, are shared out besides where there are more threads.
    let part = shape.images.div_ceil((SUM / (panels * panel)).clamp(1, 16));
    let parts = shape.images.div_ceil(part);
    let share = panels.div_ceil(rayon::current_num_threads().div_ceil(parts));
    let sums = memory::written(parts * panels * panel, |sums| {
        let images = x.par_chunks(part * layer.in_image()).zip(grad.par_chunks(part * layer.out_image()));
        sums.par_chunks_mut(panels * panel).zip(images).for_each(|(sums, (x, grad))| {
            sums.par_chunks_mut(share * panel).enumerate().for_each(|(index, sums)| {
                sum_part(&layer, x, grad, index * share * WIDTH, sums);
            });
        });
    });
    dweight.par_chunks_mut(WIDTH * layer.inputs * 9).enumerate().for_each(|(index, dweight)| {
        let parts: Vec<&[f32]> =
            sums.chunks_exact(panels * panel).map(|sums| &sums[index * panel..][..panel]).collect();
        transform_sums(&parts, layer.inputs, dweight);
    });
}

/// The sums (panel, point, input, 32) over some images, of the panels from the output `first` on.
fn sum_part(layer: &Layer, x: &[f32], grad: &[f32], first: usize, sums: &mut [f32]) {
    let across = layer.tiles()[1];
    let panel = POINTS * layer.inputs * WIDTH;
    let panels = sums.len() / panel;
    let grads = Layer {
        inputs: (panels * WIDTH).min(layer.outputs - first),
        in_size: layer.out_size,
        padding: [0, 0],
        ..*layer
    };
    let mut room = Room::default();
    for (index, band) in bands(layer, x.len() / layer.in_image()).into_iter().enumerate() {
        let tiles = band.len() * across;
        room.resize(layer, tiles, panels);
        for (index, &(image, row)) in band.iter().enumerate() {
            room.stage.fill(&x[image * layer.in_image()..], layer, row);
            transform_input(&room.stage, across, &mut room.inputs, tiles, index * across);
            let area = layer.out_size[0] * layer.out_size[1];
            room.stage.fill(&grad[image * layer.out_image() + first * area..], &grads, row);
            transform_grad(&room.stage, across, &mut room.products, tiles, index * across);
        }
        let points = room.inputs.chunks_exact(room.inputs.len() / POINTS);
        let grads = room.products.chunks_exact(panels * tiles * WIDTH);
        for (point, (inputs, grads)) in points.zip(grads).enumerate() {
            for (sums, grads) in sums.chunks_exact_mut(panel).zip(grads.chunks_exact(tiles * WIDTH)) {
                let sums = &mut sums[point * layer.inputs * WIDTH..][..layer.inputs * WIDTH];
                over_tiles(inputs, grads.as_chunks::<LANES>().0.as_chunks::<2>().0, sums, index > 0);
            }
        }
    }
}
