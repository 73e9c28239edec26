//! The pixels that a row of tiles reads, with zero margins and the channels side by side: (row, column, channel).

use super::{Layer, SIDE};
use crate::gemm::WIDTH;
use crate::lanes::Vector;
use crate::transpose::transpose;

#[derive(Default)]
pub(super) struct Stage {
    values: Vec<f32>,
    columns: usize,
    lanes: usize,
}

impl Stage {
    /// Copies what row `row` of the tiles of an image reads from `x` (channels, H, W).
    pub(super) fn fill(&mut self, x: &[f32], layer: &Layer, row: usize) {
        let [height, width] = layer.in_size;
        let [above, left] = layer.padding;
        let lanes = layer.inputs.next_multiple_of(WIDTH);
        let columns = layer.tiles()[1] * SIDE + 2;
        (self.columns, self.lanes) = (columns, lanes);
        self.values.resize((SIDE + 2) * columns * lanes, 0.0);
        let length = width.min(columns - left);
        for (i, to) in self.values.chunks_exact_mut(columns * lanes).enumerate() {
            let Some(line) = (row * SIDE + i).checked_sub(above).filter(|&line| line < height) else {
                to.fill(0.0);
                continue;
            };
            to[..left * lanes].fill(0.0);
            to[(left + length) * lanes..].fill(0.0);
            // What is in lanes beyond the channels is nobody's: no lane is mixed with another.
            transpose(
                &x[line * width..],
                height * width,
                layer.inputs,
                length,
                &mut to[left * lanes..],
                lanes,
            );
        }
    }

    /// Channels, filled up to whole panels.
    pub(super) fn lanes(&self) -> usize {
        self.lanes
    }

    /// N by N pixels from `column` on, sixteen channels of each from `channel` on.
    #[inline(always)]
    pub(super) fn block<V: Vector, const N: usize>(&self, column: usize, channel: usize) -> [[V; N]; N] {
        let mut block = [[V::splat(0.0); N]; N];
        for (i, row) in block.iter_mut().enumerate() {
            let start = (i * self.columns + column) * self.lanes + channel;
            for (j, value) in row.iter_mut().enumerate() {
                *value = V::load(&self.values[start + j * self.lanes..].as_chunks().0[0]);
            }
        }
        block
    }
}
