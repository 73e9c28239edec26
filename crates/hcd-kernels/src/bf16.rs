//! Products of numbers of 16 bits (bfloat16: eight bits of mantissa, f32's exponent), added up in f32.
//!
//! Operands are rounded to nearest, ties to even, where they are packed; what comes in and goes out is f32. A block of
//! 32 by 32 sums is computed at a time, by the matrix unit of the processor (AMX), by its vector instructions
//! (AVX512_BF16), or in f32 with rounded operands, which is no faster than f32 but shows the same training.

mod gemm;
mod pack;
mod unit;

pub(crate) use gemm::{Columns, Rows, multiply, multiply_here};
pub(crate) use pack::{pair_lines, round, round_line, round_lines, rounded, turn_pairs};
pub use unit::Unit;
pub(crate) use unit::{Block, DEEP, Operands, Session, Steps, TILE, WIDE};

/// What convolutions and matrix products multiply; they add up in f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, rounded from 32.
    Bf16,
}
