//! How a feature is stored: f16, f32, or int8 with a scale of its own.

use half::f16;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display};

/// Numbers of a stored feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stored {
    /// 16 bits, 11 of them significant.
    #[default]
    F16,
    /// As computed.
    F32,
    /// Whole numbers from −127 to 127, times the largest absolute value of the row / 127.
    Int8,
}

impl Stored {
    /// Bytes of one feature of `width` numbers.
    pub fn bytes(self, width: usize) -> usize {
        width * self.size()
    }

    /// How far a stored number is from what it was, at most, as a share of the row's largest.
    pub(super) fn rounding(self) -> f32 {
        match self {
            Stored::F16 => 1.0 / 2048.0,
            Stored::F32 => 0.0,
            Stored::Int8 => 0.5 / 127.0,
        }
    }

    /// Bytes of a number.
    fn size(self) -> usize {
        match self {
            Stored::F16 => 2,
            Stored::F32 => 4,
            Stored::Int8 => 1,
        }
    }

    /// What safetensors calls it.
    pub(super) fn dtype(self) -> &'static str {
        match self {
            Stored::F16 => "F16",
            Stored::F32 => "F32",
            Stored::Int8 => "I8",
        }
    }

    /// The bytes of a feature, and what each of its numbers is multiplied by when it is read.
    ///
    /// None where a number is none, or beyond what can be stored.
    pub(super) fn encode(self, row: &[f32]) -> Option<(Vec<u8>, f32)> {
        let largest = row.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        if row.iter().any(|value| !value.is_finite()) || (self == Stored::F16 && largest > f16::MAX.to_f32())
        {
            return None;
        }
        Some(match self {
            Stored::F16 => (row.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(), 1.0),
            Stored::F32 => (row.iter().flat_map(|value| value.to_le_bytes()).collect(), 1.0),
            Stored::Int8 => {
                let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
                (row.iter().map(|value| (value / scale).round() as i8 as u8).collect(), scale)
            }
        })
    }

    /// Appends the numbers of a stored feature.
    pub(super) fn decode(self, bytes: &[u8], scale: f32, row: &mut Vec<f32>) {
        match self {
            Stored::F16 => {
                row.extend(bytes.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()));
            }
            Stored::F32 => row.extend(bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes))),
            Stored::Int8 => row.extend(bytes.iter().map(|&byte| f32::from(byte as i8) * scale)),
        }
    }
}

impl Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stored::F16 => "f16",
            Stored::F32 => "f32",
            Stored::Int8 => "int8",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_was_stored_within_rounding() {
        let row = [0.0, -0.0, 1.0, -3.75, 0.1, 1e-3, 100.0];
        for stored in [Stored::F32, Stored::F16, Stored::Int8] {
            let tolerance = 100.0 * stored.rounding();
            let (bytes, scale) = stored.encode(&row).unwrap();
            assert_eq!(bytes.len(), stored.bytes(row.len()));
            let mut found = Vec::new();
            stored.decode(&bytes, scale, &mut found);
            // Half a unit in the last place of the largest number, or half a step of the scale.
            for (found, row) in found.iter().zip(row) {
                assert!((found - row).abs() <= tolerance, "{stored}: {found} for {row}");
            }
            // Rounded once, it stays as it is.
            assert_eq!(stored.encode(&found).unwrap().0, bytes, "{stored}");
        }
    }

    #[test]
    fn what_cannot_be_stored_is_refused() {
        assert!(Stored::F16.encode(&[7e4]).is_none());
        assert!(Stored::F32.encode(&[7e4]).is_some());
        for stored in [Stored::F16, Stored::F32, Stored::Int8] {
            assert!(stored.encode(&[1.0, f32::NAN]).is_none() && stored.encode(&[f32::INFINITY]).is_none());
            assert!(stored.encode(&[0.0, 0.0]).is_some());
        }
    }
}
