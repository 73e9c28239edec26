//! Positions of pixels in planes with margins, cut into blocks' columns.

use super::super::ConvShape;
use crate::bf16::{Block, WIDE};
use crate::lanes::{LANES, Vector};
use std::ops::Range;

/// Pixels of images whose rows lie a step apart in planes.
pub(super) struct Grid {
    pub(super) tiles: Vec<Tile>,
    runs: Vec<Run>,
}

/// 32 positions side by side.
#[derive(Debug, Clone)]
pub(super) struct Tile {
    /// The first.
    pub(super) at: usize,
    /// The image of the first.
    pub(super) image: usize,
    runs: Range<usize>,
}

/// Positions of a tile that are pixels of one row.
#[derive(Debug, Clone, Copy)]
struct Run {
    column: usize,
    length: usize,
    image: usize,
    pixel: usize,
}

/// Where pixels of a result lie: row i, column j at `start` + i·`row` + j·`column`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pixels {
    pub(super) start: usize,
    pub(super) row: usize,
    pub(super) column: usize,
}

/// A result (image, channel, pixel).
#[derive(Debug, Clone, Copy)]
pub(super) struct Result {
    /// From one image to the next.
    pub(super) image: usize,
    /// From one channel to the next.
    pub(super) channel: usize,
    /// From one pixel of a row to the next.
    pub(super) column: usize,
}

impl Grid {
    /// Of `images` planes of so many numbers, whose rows lie `step` apart.
    pub(super) fn new(
        images: usize,
        plane: usize,
        step: usize,
        [height, width]: [usize; 2],
        pixels: Pixels,
    ) -> Self {
        let mut grid = Self { tiles: Vec::new(), runs: Vec::new() };
        for image in 0..images {
            for i in 0..height {
                let row = image * plane + i * step;
                let mut j = 0;
                while j < width {
                    let place = row + j;
                    let tile = match grid.tiles.last_mut() {
                        Some(tile) if place < tile.at + WIDE => tile,
                        _ => {
                            let first = grid.runs.len();
                            grid.tiles.push(Tile { at: place, image, runs: first..first });
                            grid.tiles.last_mut().expect("pushed")
                        }
                    };
                    let column = place - tile.at;
                    let length = (width - j).min(WIDE - column);
                    let pixel = pixels.start + i * pixels.row + j * pixels.column;
                    grid.runs.push(Run { column, length, image, pixel });
                    tile.runs.end += 1;
                    j += length;
                }
            }
        }
        grid
    }

    /// Writes the first `count` rows of a block to the channels from `first` on, those pixels that `to` has.
    pub(super) fn write(
        &self,
        tile: &Tile,
        block: &Block,
        [first, count]: [usize; 2],
        bias: Option<&[f32]>,
        result: Result,
        to: &mut [f32],
    ) {
        write(&self.runs[tile.runs.clone()], block, [first, count], bias, result, to);
    }
}

impl Result {
    pub(super) fn of(channels: usize, area: usize, column: usize) -> Self {
        Self { image: channels * area, channel: area, column }
    }
}

impl Pixels {
    /// Row by row.
    pub(super) fn whole(shape: &ConvShape) -> Self {
        Self { start: 0, row: shape.out_size()[1], column: 1 }
    }
}

for_each_level! {
    fn write(
        runs: &[Run], block: &Block, channels: [usize; 2], bias: Option<&[f32]>, result: Result, to: &mut [f32],
    ) = write_body
}

#[inline(always)]
fn write_body<V: Vector>(
    runs: &[Run],
    block: &Block,
    [first, count]: [usize; 2],
    bias: Option<&[f32]>,
    result: Result,
    to: &mut [f32],
) {
    for run in runs {
        // The last task may have fewer images.
        if run.image * result.image >= to.len() {
            return;
        }
        let start = run.image * result.image + first * result.channel + run.pixel;
        for (r, sums) in block[..count].iter().enumerate() {
            let sums = &sums[run.column..run.column + run.length];
            let to = &mut to[start + r * result.channel..];
            let bias = bias.map_or(0.0, |bias| bias[first + r]);
            if result.column == 1 {
                for (to, sums) in to[..run.length].chunks_mut(LANES).zip(sums.chunks(LANES)) {
                    V::load_some(sums).add(V::splat(bias)).store_some(to);
                }
            } else {
                for (to, &sum) in to.iter_mut().step_by(result.column).zip(sums) {
                    *to = sum + bias;
                }
            }
        }
    }
}
