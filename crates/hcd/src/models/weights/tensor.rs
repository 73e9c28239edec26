//! Tensors on the host, as files hold them: what every reader gives and every writer takes.

use half::{bf16, f16};
use safetensors::Dtype;
use std::collections::BTreeMap;

/// A tensor on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, row by row.
    pub values: Vec<f32>,
}

/// Tensors by name.
pub type TensorMap = BTreeMap<String, HostTensor>;

/// The first number that is none, or infinite, and the tensor that holds it.
pub fn first_odd(tensors: &TensorMap) -> Option<(&str, f32)> {
    let odd = |tensor: &HostTensor| tensor.values.iter().copied().find(|value| !value.is_finite());
    tensors.iter().find_map(|(name, tensor)| Some((name.as_str(), odd(tensor)?)))
}

/// How a file stores the numbers that a network is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Float {
    /// 16-bit, IEEE half.
    F16,
    /// 16-bit, the upper half of a 32-bit number.
    Bf16,
    /// 32-bit.
    F32,
    /// 64-bit.
    F64,
}

impl Float {
    /// As safetensors calls it; none for what is no such number.
    pub fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F16 => Some(Float::F16),
            Dtype::BF16 => Some(Float::Bf16),
            Dtype::F32 => Some(Float::F32),
            Dtype::F64 => Some(Float::F64),
            _ => None,
        }
    }

    /// Bytes a number.
    pub fn size(self) -> usize {
        match self {
            Float::F16 | Float::Bf16 => 2,
            Float::F32 => 4,
            Float::F64 => 8,
        }
    }

    /// The numbers that little-endian `bytes` spell; what is left over at the end is no number.
    pub fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Float::F16 => bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            Float::Bf16 => {
                bytes.as_chunks::<2>().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect()
            }
            Float::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Float::F64 => bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        }
    }
}

/// Whether a tensor of another type than [`Float`] may be left out: batch counters of PyTorch's BatchNorm,
/// and index tables that a network makes for itself.
pub fn carries_nothing(name: &str) -> bool {
    ["num_batches_tracked", "relative_position_index", "attn_mask", "position_ids"]
        .iter()
        .any(|buffer| name.rsplit('.').next() == Some(buffer))
}
