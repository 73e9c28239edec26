//! Matrix products in either precision.

use crate::bf16::{self, Columns, Precision};
use crate::gemm::{self, Activation, Bias, Left, Panels};

/// A right-hand matrix (depth, columns), packed.
pub(crate) enum Right {
    F32(Panels),
    Bf16(Columns),
}

impl Right {
    /// Of `x` (depth, columns) as it is.
    pub(crate) fn straight(precision: Precision, x: &[f32], columns: usize) -> Self {
        match precision {
            Precision::F32 => Self::F32(Panels::straight(x, columns)),
            Precision::Bf16 => Self::Bf16(Columns::straight(x, columns)),
        }
    }

    /// Of the transpose of `weight` (columns, depth).
    pub(crate) fn transposed(precision: Precision, weight: &[f32], depth: usize) -> Self {
        match precision {
            Precision::F32 => Self::F32(Panels::transposed(weight, depth)),
            Precision::Bf16 => Self::Bf16(Columns::transposed(weight, depth)),
        }
    }

    /// See [`gemm::multiply`].
    pub(crate) fn multiply(&self, left: Left, bias: Bias, activation: Activation, c: &mut [f32]) {
        match self {
            Self::F32(right) => gemm::multiply(left, right, bias, activation, c),
            Self::Bf16(right) => bf16::multiply(left, right, bias, activation, c),
        }
    }

    /// See [`gemm::multiply_here`].
    pub(crate) fn multiply_here(
        &self,
        left: Left,
        bias: Bias,
        activation: Activation,
        scratch: &mut Vec<f32>,
        c: &mut [f32],
    ) {
        match self {
            Self::F32(right) => gemm::multiply_here(left, right, bias, activation, scratch, c),
            Self::Bf16(right) => bf16::multiply_here(left, right, bias, activation, c),
        }
    }
}
