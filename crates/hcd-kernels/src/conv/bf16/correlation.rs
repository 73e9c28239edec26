//! Sums over channels and taps: forward, and the gradient of the input.

use super::super::ConvShape;
use super::super::parts::{Part, Parts};
use super::super::planes::Planes;
use super::grid::{Grid, Pixels, Result, Tile};
use super::{is_narrow, spread};
use crate::bf16::{Block, DEEP, Operands, Rows, Session, Steps, WIDE, pair_lines};
use crate::lanes::LANES;
use crate::transpose::transpose;
use rayon::prelude::*;

/// Pixels that a task has at least, where there are as many: it reads the whole weight.
const TASK: usize = 1024;
/// Positions whose taps are collected at once.
const CHUNK: usize = 512;

/// Images of a task: enough to make the weight worth reading, few enough to leave work for others.
fn images_per_task(shape: &ConvShape, area: usize) -> usize {
    TASK.div_ceil(area.max(1)).clamp(1, shape.images.div_ceil(2 * rayon::current_num_threads()).max(1))
}

/// Planes of words, each of two channels.
struct Pairs {
    values: Vec<u32>,
    /// From one pair of channels to the next.
    step: usize,
}

impl Pairs {
    /// Zeros for `channels`, of which whole steps are read; `length` numbers to a channel, `beyond` of the next one.
    fn new(channels: usize, length: usize, beyond: usize) -> Self {
        let step = Self::step(length, beyond);
        Self { values: vec![0; channels.next_multiple_of(DEEP) / 2 * step + beyond + 2 * WIDE], step }
    }

    /// From one pair of channels to the next, where there are none yet.
    fn step(length: usize, beyond: usize) -> usize {
        spread(length + beyond)
    }
}

/// Where the numbers of step `index` over channels begin, whose pairs lie `pair_step` apart.
fn place(pair_step: usize, index: usize) -> usize {
    index * DEEP / 2 * pair_step
}

/// Products of a weight with planes.
struct Correlation {
    grid: Grid,
    /// One for each group; rows are channels of the result.
    weights: Vec<Rows>,
    channels: usize,
}

impl Correlation {
    /// Writes the channels of a group, from planes of pairs that have all of its channels.
    fn run(&self, group: usize, pairs: &Pairs, steps: &Steps, output: Output) {
        let operands = self.weights[group].with(&pairs.values, pairs.step);
        self.run_tiles(group, &operands, steps, &self.grid.tiles, 0, output);
    }

    /// The same from taps that are collected, chunk by chunk, from `planes`.
    fn run_collected(
        &self,
        group: usize,
        planes: &[f32],
        offsets: &[usize],
        taps: &mut Pairs,
        mut output: Output,
    ) {
        let steps: Steps = (0..offsets.len().div_ceil(DEEP))
            .map(|step| [step * Rows::STEP, place(taps.step, step)])
            .collect();
        let mut tiles = &self.grid.tiles[..];
        while let Some(first) = tiles.first().filter(|tile| tile.image < output.images) {
            let count = tiles.iter().take_while(|tile| tile.at + WIDE <= first.at + CHUNK).count();
            let (chunk, rest) = tiles.split_at(count);
            let length = chunk[count - 1].at + WIDE - first.at;
            for (index, offsets) in offsets.chunks(2).enumerate() {
                let [low, high] = [0, 1].map(|half| {
                    offsets.get(half).map_or(&[][..], |offset| &planes[first.at + offset..][..length])
                });
                pair_lines(low, high, &mut taps.values[index * taps.step..][..length]);
            }
            let operands = self.weights[group].with(&taps.values, taps.step);
            self.run_tiles(group, &operands, &steps, chunk, first.at, output.again());
            tiles = rest;
        }
    }

    /// Some tiles, whose positions in the right-hand operand count from `origin`.
    fn run_tiles(
        &self,
        group: usize,
        operands: &Operands,
        steps: &Steps,
        tiles: &[Tile],
        origin: usize,
        output: Output,
    ) {
        let session = Session::begin();
        let mut block: Block = [[0.0; WIDE]; WIDE];
        for row in (0..self.channels).step_by(WIDE) {
            let count = WIDE.min(self.channels - row);
            for tile in tiles.iter().take_while(|tile| tile.image < output.images) {
                let at = [self.weights[group].place(row), tile.at - origin];
                session.product(operands, at, steps, count, &mut block);
                self.grid.write(tile, &block, [row, count], output.bias, output.result, output.to);
            }
        }
    }
}

/// What is written.
struct Output<'a> {
    /// Tiles of those behind are left out.
    images: usize,
    bias: Option<&'a [f32]>,
    result: Result,
    to: &'a mut [f32],
}

impl Output<'_> {
    fn again(&mut self) -> Output<'_> {
        Output { images: self.images, bias: self.bias, result: self.result, to: self.to }
    }
}

/// See [`super::super::forward`].
pub(in super::super) fn forward(
    shape: &ConvShape,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    let [rows, columns] = [shape.axis(0), shape.axis(1)];
    let (inputs, outputs) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let area = rows.output * columns.output;
    let images = images_per_task(shape, area);
    let layout = Planes::new(rows, columns, 0, images);
    let narrow = is_narrow(shape);
    let pack = |weight: &[f32]| {
        if narrow { pack_rows(weight, outputs) } else { pack_by_tap(weight, outputs, inputs) }
    };
    let correlation = Correlation {
        grid: Grid::new(images, layout.plane(), columns.step(), shape.out_size(), Pixels::whole(shape)),
        weights: weight.par_chunks_exact(outputs * shape.taps()).map(pack).collect(),
        channels: outputs,
    };
    let (x_image, y_image) = (shape.in_channels * shape.size[0] * shape.size[1], shape.out_channels * area);
    let result = Result::of(shape.out_channels, area, 1);
    let tasks = y.par_chunks_mut(images * y_image).zip(x.par_chunks(images * x_image));
    let bias_of = |group: usize| bias.map(|bias| &bias[group * outputs..][..outputs]);
    if narrow {
        let offsets = Planes::new(rows, columns, inputs, images).tap_offsets(inputs);
        return tasks.for_each_init(
            || (Planes::new(rows, columns, inputs, images), Pairs::new(offsets.len(), CHUNK, 0)),
            |(planes, taps), (y, x)| {
                let count = y.len() / y_image;
                for group in 0..shape.groups {
                    planes.fill(x, shape, count, group * inputs);
                    let y = &mut y[group * outputs * area..];
                    let (planes, bias) = (planes.values(), bias_of(group));
                    correlation.run_collected(
                        group,
                        planes,
                        &offsets,
                        taps,
                        Output { images: count, bias, result, to: y },
                    );
                }
            },
        );
    }
    let [length, beyond] = Words::lengths(shape, images, &layout);
    let steps = by_tap(inputs, &layout.tap_offsets(1), Pairs::step(length, beyond));
    tasks.for_each_init(
        || Words::new(shape, images, &layout),
        |words, (y, x)| {
            let count = y.len() / y_image;
            for group in 0..shape.groups {
                words.fill(shape, x, count, group * inputs);
                let y = &mut y[group * outputs * area..];
                let output = Output { images: count, bias: bias_of(group), result, to: y };
                correlation.run(group, &words.pairs, &steps, output);
            }
        },
    );
}

/// Images with margins as [`Pairs`]: (pair, place within the stride, image, plane).
struct Words {
    pairs: Pairs,
    images: usize,
    low: Planes,
    high: Planes,
}

impl Words {
    fn new(shape: &ConvShape, images: usize, layout: &Planes) -> Self {
        let [rows, columns] = [shape.axis(0), shape.axis(1)];
        let [length, beyond] = Self::lengths(shape, images, layout);
        let one = || Planes::new(rows, columns, 1, 1);
        let pairs = Pairs::new(shape.in_channels / shape.groups, length, beyond);
        Self { pairs, images, low: one(), high: one() }
    }

    /// Numbers of a channel, and how far taps reach beyond them.
    fn lengths(shape: &ConvShape, images: usize, layout: &Planes) -> [usize; 2] {
        let places = shape.axis(0).places() * shape.axis(1).places();
        [places * images * layout.plane(), layout.values().len()]
    }

    /// Copies the first `images` images' channels from `first` on. Margins are zero from the start.
    fn fill(&mut self, shape: &ConvShape, x: &[f32], images: usize, first: usize) {
        let (channels, area) = (shape.in_channels / shape.groups, shape.size[0] * shape.size[1]);
        let plane = self.low.plane();
        let places = shape.axis(0).places() * shape.axis(1).places();
        for image in 0..images {
            let x = &x[(image * shape.in_channels + first) * area..][..channels * area];
            for (pair, x) in x.chunks(2 * area).enumerate() {
                self.low.fill_one(&x[..area]);
                let both = x.len() > area;
                if both {
                    self.high.fill_one(&x[area..]);
                }
                for place in 0..places {
                    let from = place * plane..(place + 1) * plane;
                    let high = if both { &self.high.values()[from.clone()] } else { &[] };
                    let at = pair * self.pairs.step + (place * self.images + image) * plane;
                    pair_lines(&self.low.values()[from], high, &mut self.pairs.values[at..at + plane]);
                }
            }
        }
    }
}

/// Steps over taps, and for each over channels, whose pairs lie `pair_step` apart: the order of [`pack_by_tap`].
fn by_tap(channels: usize, offsets: &[usize], pair_step: usize) -> Steps {
    let across = channels.div_ceil(DEEP);
    let tap = |(tap, &offset): (usize, &usize)| {
        (0..across).map(move |step| [(tap * across + step) * Rows::STEP, offset + place(pair_step, step)])
    };
    offsets.iter().enumerate().flat_map(tap).collect()
}

/// `weight` (rows, taps) as it lies.
fn pack_rows(weight: &[f32], rows: usize) -> Rows {
    let taps = weight.len() / rows;
    let mut packed = Rows::empty(rows, taps);
    weight.chunks_exact(taps).enumerate().for_each(|(row, line)| packed.set(row, 0, line));
    packed
}

/// `weight` (rows, channels, kernel) as (rows, kernel, channels), each tap's channels from a whole step on.
fn pack_by_tap(weight: &[f32], rows: usize, channels: usize) -> Rows {
    let kernel = weight.len() / (rows * channels);
    let across = channels.div_ceil(DEEP);
    let mut packed = Rows::empty(rows, kernel * across * DEEP);
    let mut turned = vec![0.0; kernel * channels];
    for (row, weight) in weight.chunks_exact(channels * kernel).enumerate() {
        transpose(weight, kernel, channels, kernel, &mut turned, channels);
        for (tap, line) in turned.chunks_exact(channels).enumerate() {
            packed.set(row, tap * across, line);
        }
    }
    packed
}

/// `weight` (channels, rows, kernel) as (rows, taps, channels), each tap's channels from a whole step on.
fn pack_turned(weight: &[f32], rows: usize, channels: usize, taps: &[usize]) -> Rows {
    let per_channel = weight.len() / channels;
    let kernel = per_channel / rows;
    let across = channels.div_ceil(DEEP);
    let mut packed = Rows::empty(rows, taps.len() * across * DEEP);
    let mut turned = vec![0.0; LANES * kernel * channels];
    for first in (0..rows).step_by(LANES) {
        let count = LANES.min(rows - first);
        transpose(&weight[first * kernel..], per_channel, channels, count * kernel, &mut turned, channels);
        for (row, lines) in turned.chunks_exact(kernel * channels).take(count).enumerate() {
            for (tap, &place) in taps.iter().enumerate() {
                packed.set(first + row, tap * across, &lines[place * channels..][..channels]);
            }
        }
    }
    packed
}

/// See [`super::super::input_grad`].
pub(in super::super) fn input_grad(shape: &ConvShape, grad: &[f32], weight: &[f32], dx: &mut [f32]) {
    let (inputs, outputs) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let area = shape.out_size()[0] * shape.out_size()[1];
    let in_area = shape.size[0] * shape.size[1];
    let images = images_per_task(shape, in_area);
    let parts = Parts::new(shape);
    let beyond = parts.planes(1).len() - parts.plane();
    let length = images * parts.plane();
    let pair_step = Pairs::step(length, beyond);
    let jobs: Vec<Job> =
        parts.parts.par_iter().map(|part| Job::new(shape, weight, &parts, part, images, pair_step)).collect();
    let (x_image, y_image) = (shape.in_channels * in_area, shape.out_channels * area);
    dx.par_chunks_mut(images * x_image).zip(grad.par_chunks(images * y_image)).for_each_init(
        || (Pairs::new(outputs, length, beyond), parts.planes(1), parts.planes(1)),
        |(pairs, low, high), (dx, grad)| {
            for group in 0..shape.groups {
                for (image, grad) in grad.chunks_exact(y_image).enumerate() {
                    let grad = &grad[group * outputs * area..(group + 1) * outputs * area];
                    fill(&parts, grad, area, [low, high], image, pairs);
                }
                let dx = &mut dx[group * inputs * in_area..];
                for job in &jobs {
                    let (images, result) = (grad.len() / y_image, job.result);
                    let output = Output { images, bias: None, result, to: dx };
                    job.correlation.run(group, pairs, &job.steps, output);
                }
            }
        },
    );
}

/// Copies dy's channels (channel, area) of one image into planes of words.
fn fill(
    parts: &Parts,
    grad: &[f32],
    area: usize,
    [low, high]: [&mut Vec<f32>; 2],
    image: usize,
    pairs: &mut Pairs,
) {
    let plane = parts.plane();
    for (pair, grad) in grad.chunks(2 * area).enumerate() {
        parts.fill(&grad[..area], low);
        let both = grad.len() > area;
        if both {
            parts.fill(&grad[area..], high);
        }
        let at = pair * pairs.step + image * plane;
        let high = if both { &high[..plane] } else { &[] };
        pair_lines(&low[..plane], high, &mut pairs.values[at..at + plane]);
    }
}

/// One part of the input's gradient.
struct Job {
    correlation: Correlation,
    steps: Steps,
    result: Result,
}

impl Job {
    fn new(
        shape: &ConvShape,
        weight: &[f32],
        parts: &Parts,
        part: &Part,
        images: usize,
        pair_step: usize,
    ) -> Self {
        let (inputs, outputs) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
        let [down, across] = shape.stride;
        let pixels = Pixels { start: part.start, row: down * shape.size[1], column: across };
        let weights = weight
            .par_chunks_exact(outputs * shape.taps())
            .map(|weight| pack_turned(weight, inputs, outputs, &part.taps))
            .collect();
        let grid = Grid::new(images, parts.plane(), parts.step(), part.size, pixels);
        Self {
            correlation: Correlation { grid, weights, channels: inputs },
            steps: by_tap(outputs, &part.offsets, pair_step),
            result: Result::of(shape.in_channels, shape.size[0] * shape.size[1], across),
        }
    }
}
