//! The gradient of the weight, summed over pixels.

use super::super::ConvShape;
use super::super::grads::{by_output, parts_of};
use super::super::planes::Planes;
use super::{is_narrow, spread};
use crate::bf16::{Block, DEEP, Operands, Session, Steps, TILE, WIDE, round_line, round_lines, turn_pairs};
use crate::copy::Lines;
use crate::memory;
use crate::split::sum_parts;
use rayon::prelude::*;

/// Positions over which a block is summed before it is added to what there is.
const POSITIONS: usize = 2048;

/// See [`super::super::weight_grad`].
pub(in super::super) fn weight_grad(shape: &ConvShape, x: &[f32], grad: &[f32], dweight: &mut [f32]) {
    let (inputs, outputs) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let kernel = shape.kernel[0] * shape.kernel[1];
    let area = shape.out_size()[0] * shape.out_size()[1];
    let (x_image, y_image) = (shape.in_channels * shape.size[0] * shape.size[1], shape.out_channels * area);
    let part = parts_of(shape, dweight.len());
    let images = POSITIONS.div_ceil(area.max(1)).clamp(1, part);
    let sums = memory::written(shape.images.div_ceil(part) * dweight.len(), |sums| {
        sums.par_chunks_mut(dweight.len())
            .zip(x.par_chunks(part * x_image).zip(grad.par_chunks(part * y_image)))
            .for_each_init(
                || Summation::new(shape, images),
                |summation, (sums, (x, grad))| {
                    let blocks = x.chunks(images * x_image).zip(grad.chunks(images * y_image));
                    for (index, (x, grad)) in blocks.enumerate() {
                        for (group, sums) in sums.chunks_exact_mut(outputs * shape.taps()).enumerate() {
                            summation.fill(shape, group, x, grad);
                            summation.put(sums, index > 0);
                        }
                    }
                },
            );
    });
    let total = memory::written(dweight.len(), |total| sum_parts(&sums, total));
    let sizes = if is_narrow(shape) { [inputs * kernel, 1] } else { [inputs, kernel] };
    by_output(&total, outputs, sizes, dweight);
}

/// Some images' pixels, of x as rows and of dy as columns of a product.
struct Summation {
    images: usize,
    positions: usize,
    /// From one row of x's planes to the next.
    step: usize,
    outputs: usize,
    planes: Planes,
    x: Source,
    /// (channel, positions)
    rounded: Vec<u32>,
    /// (32 channels, pair of positions, 32)
    grads: Vec<u32>,
}

/// What the rows of the product are.
enum Source {
    /// Planes of 16 bits (channel, place within the stride, image, plane), a channel `row` after the one before; taps
    /// are offsets.
    Planes { values: Vec<u16>, row: usize, channels: usize, offsets: Vec<usize> },
    /// Runs of the planes, a (channel, tap) each.
    Taps { values: Vec<u16>, row: usize, offsets: Vec<usize> },
}

impl Summation {
    fn new(shape: &ConvShape, images: usize) -> Self {
        let [rows, columns] = [shape.axis(0), shape.axis(1)];
        let (inputs, outputs) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
        let layout = Planes::new(rows, columns, 0, images);
        let positions = (images * layout.plane()).next_multiple_of(DEEP);
        let (planes, x) = if is_narrow(shape) {
            let planes = Planes::new(rows, columns, inputs, images);
            let offsets = planes.tap_offsets(inputs);
            let row = 2 * spread(positions / 2);
            (
                planes,
                Source::Taps { values: vec![0; offsets.len().next_multiple_of(TILE) * row], row, offsets },
            )
        } else {
            let beyond = layout.values().len();
            let length = rows.places() * columns.places() * images * layout.plane() + beyond;
            let row = 2 * spread(length.div_ceil(2));
            let values = vec![0; inputs.next_multiple_of(TILE) * row + beyond];
            let offsets = layout.tap_offsets(1);
            (Planes::new(rows, columns, 1, 1), Source::Planes { values, row, channels: inputs, offsets })
        };
        let padded = outputs.next_multiple_of(WIDE);
        Self {
            images,
            positions,
            step: columns.step(),
            outputs,
            planes,
            x,
            rounded: vec![0; outputs * positions / 2],
            grads: vec![0; padded * positions / 2],
        }
    }

    /// Copies the channels of a group of some images; what is left of images before them counts as zero.
    fn fill(&mut self, shape: &ConvShape, group: usize, x: &[f32], grad: &[f32]) {
        let area = shape.size[0] * shape.size[1];
        let images = x.len() / (shape.in_channels * area);
        let inputs = shape.in_channels / shape.groups;
        match &mut self.x {
            Source::Taps { values, row, offsets } => {
                self.planes.fill(x, shape, images, group * inputs);
                let planes = self.planes.values();
                for (values, &offset) in values.chunks_exact_mut(*row).zip(&*offsets) {
                    // The last vectors may reach beyond the planes.
                    let run = &planes[offset..planes.len().min(offset + self.positions)];
                    round_line(run, &mut values[..run.len()]);
                }
            }
            Source::Planes { values, row, channels, .. } => {
                let plane = self.planes.plane();
                let places = shape.axis(0).places() * shape.axis(1).places();
                for image in 0..images {
                    let x = &x[(image * shape.in_channels + group * inputs) * area..][..*channels * area];
                    for (x, values) in x.chunks_exact(area).zip(values.chunks_exact_mut(*row)) {
                        self.planes.fill_one(x);
                        for place in 0..places {
                            let from = &self.planes.values()[place * plane..][..plane];
                            round_line(from, &mut values[(place * self.images + image) * plane..][..plane]);
                        }
                    }
                }
            }
        }
        self.fill_grads(shape, group, grad);
    }

    fn fill_grads(&mut self, shape: &ConvShape, group: usize, grad: &[f32]) {
        let [height, width] = shape.out_size();
        let (area, y_image) = (height * width, shape.out_channels * height * width);
        let plane = self.planes.plane();
        let used = grad.len() / y_image * plane;
        // SAFETY: two numbers of 16 bits are a word, whatever their bits.
        let rounded = unsafe { self.rounded.align_to_mut::<u16>().1 };
        for (o, rounded) in rounded.chunks_exact_mut(self.positions).enumerate() {
            for (image, grad) in grad.chunks_exact(y_image).enumerate() {
                let grad = &grad[(group * self.outputs + o) * area..][..area];
                let lines =
                    Lines { count: height, length: width, from_step: width, to_step: self.step, stride: 1 };
                round_lines(lines, grad, &mut rounded[image * plane..]);
            }
            rounded[used..].fill(0);
        }
        let panel = self.positions / 2 * WIDE;
        for (index, panel) in self.grads.chunks_exact_mut(panel).enumerate() {
            let first = index * WIDE;
            let count = WIDE.min(self.outputs - first);
            turn_pairs(
                &rounded[first * self.positions..],
                self.positions,
                [count, self.positions / 2],
                panel,
                WIDE,
            );
        }
    }

    /// Writes the products, or adds them to what is there: (tap, channel, output), or (channel, tap, output) where taps
    /// are collected.
    fn put(&self, sums: &mut [f32], add: bool) {
        let session = Session::begin();
        let panel = self.positions / 2 * WIDE;
        let steps: Steps =
            (0..self.positions / DEEP).map(|step| [step * DEEP, step * DEEP / 2 * WIDE]).collect();
        let (values, row, rows, offsets) = match &self.x {
            Source::Taps { values, row, offsets } => (values, *row, offsets.len(), &[0][..]),
            Source::Planes { values, row, channels, offsets } => (values, *row, *channels, &offsets[..]),
        };
        let operands = Operands { a: values, a_row: row, a_next: TILE * row, b: &self.grads, b_row: WIDE };
        let mut block: Block = [[0.0; WIDE]; WIDE];
        for o in (0..self.outputs).step_by(WIDE) {
            for first in (0..rows).step_by(WIDE) {
                let (count, width) = (WIDE.min(rows - first), WIDE.min(self.outputs - o));
                for (tap, &offset) in offsets.iter().enumerate() {
                    let at = [first * row + offset, o / WIDE * panel];
                    session.product(&operands, at, &steps, count, &mut block);
                    for (r, block) in block.iter().enumerate().take(count) {
                        let at = (tap * rows + first + r) * self.outputs + o;
                        let sums = &mut sums[at..at + width];
                        match add {
                            true => sums.iter_mut().zip(block).for_each(|(sum, &value)| *sum += value),
                            false => sums.copy_from_slice(&block[..width]),
                        }
                    }
                }
            }
        }
    }
}
