//! Convolutions that mix channels, of numbers rounded to 16 bits.
//!
//! Here channels of the result are a block's rows, and pixels its columns. Planes with margins hold two channels to a
//! word, so that the words of sixteen such planes at one offset are what a step multiplies: nothing is collected
//! (`correlation.rs`), unless the channels are too few to fill a step. The weight's gradient is summed over pixels,
//! which lie side by side in planes of 16 bits (`weight.rs`).

mod correlation;
mod grid;
mod weight;

pub(super) use correlation::{forward, input_grad};
pub(super) use weight::weight_grad;

use super::ConvShape;

/// Whether pixels have places of their own in planes: where margins are wider than images, rows overlap.
pub(super) fn suits(shape: &ConvShape) -> bool {
    [0, 1].map(|axis| shape.axis(axis)).iter().all(|axis| axis.step() >= axis.output)
}

/// Channels below which taps are collected, and not whole steps of channels read.
const FEW: usize = 16;

/// Whether a convolution reads so few channels that its taps are collected.
fn is_narrow(shape: &ConvShape) -> bool {
    shape.in_channels / shape.groups < FEW
}

/// A distance between rows of `length` words that puts sixteen of them into different sets of a cache.
fn spread(length: usize) -> usize {
    const LINE: usize = 16;
    let lines = length.div_ceil(LINE);
    (lines + (lines + 1) % 2) * LINE
}
