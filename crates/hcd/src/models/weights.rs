//! Weights in and out of safetensors, under timm's names and layouts.
//!
//! One metadata entry, `hcd`, holds a JSON object that says what the tensors are. Files are written beside
//! their name and renamed when whole; reading lists what is missing, unexpected or misshapen and then
//! changes nothing.

use super::params::Parameters;
use crate::error::{Error, Result};
use crate::files;
use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

const METADATA_KEY: &str = "hcd";

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit.
    F32,
    /// 16-bit, IEEE half.
    F16,
}

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

/// Copies a module's tensors to the host.
pub fn snapshot<M: Module>(module: &M) -> TensorMap {
    let host = |tensor: super::NamedTensor| {
        let values = tensor.to_vec();
        (tensor.name, HostTensor { shape: tensor.shape, values })
    };
    module.named().into_iter().map(host).collect()
}

/// Gives a module the tensors of `map`.
///
/// # Errors
/// Where names or shapes differ, naming the first of them; `source` says where the tensors came from.
pub fn restore<M: Module>(module: M, map: &TensorMap, source: &str) -> Result<M> {
    let wanted = module.named();
    let mut problems = Vec::new();
    for tensor in &wanted {
        match map.get(&tensor.name) {
            None => problems.push(format!("{} is missing", tensor.name)),
            Some(found) if found.shape != tensor.shape => {
                problems.push(format!(
                    "{} has shape {:?}, expected {:?}",
                    tensor.name, found.shape, tensor.shape
                ));
            }
            Some(_) => {}
        }
    }
    let known: std::collections::BTreeSet<&str> = wanted.iter().map(|tensor| tensor.name.as_str()).collect();
    problems.extend(
        map.keys().filter(|name| !known.contains(name.as_str())).map(|name| format!("{name} is unexpected")),
    );
    if !problems.is_empty() {
        let shown = problems.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
        let rest = problems.len().saturating_sub(4);
        let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        return Err(Error::Weights(format!("{source}: weights do not fit the model: {shown}{rest}")));
    }
    Ok(module.map_named(&mut |tensor| {
        let values = map[&tensor.name].values.clone();
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [count]), &tensor.value.device())
    }))
}

/// Writes tensors, with `metadata` under the key `hcd`, and returns once the file has its name.
///
/// # Errors
/// Where the file cannot be written.
pub fn write(
    path: &Path,
    tensors: &TensorMap,
    precision: Precision,
    metadata: &impl Serialize,
) -> Result<()> {
    let dtype = match precision {
        Precision::F32 => Dtype::F32,
        Precision::F16 => Dtype::F16,
    };
    let encode = |tensor: &HostTensor| -> Vec<u8> {
        match precision {
            Precision::F32 => tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Precision::F16 => {
                tensor.values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect()
            }
        }
    };
    let encoded: Vec<_> =
        tensors.iter().map(|(name, tensor)| (name, &tensor.shape, encode(tensor))).collect();
    let refuse = |error: &dyn std::fmt::Display| Error::Weights(format!("{}: {error}", path.display()));
    let views = encoded
        .iter()
        .map(|(name, shape, bytes)| {
            Ok((name.as_str(), TensorView::new(dtype, shape.to_vec(), bytes).map_err(|e| refuse(&e))?))
        })
        .collect::<Result<Vec<_>>>()?;
    let text = serde_json::to_string(metadata).map_err(|e| refuse(&e))?;
    let info = HashMap::from([(METADATA_KEY.to_owned(), text)]);
    let bytes = safetensors::serialize(views, Some(info)).map_err(|e| refuse(&e))?;
    files::write(path, &bytes)
}

/// Reads every tensor of a safetensors file as f32, and its `hcd` metadata where there is some.
///
/// # Errors
/// Where the file cannot be read, is no safetensors file, or holds other than f32, f16 or bf16.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<(TensorMap, Option<T>)> {
    decode(&files::read(path)?, &path.display().to_string())
}

/// As [`read`], from bytes; `source` names them in errors.
///
/// # Errors
/// As [`read`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8], source: &str) -> Result<(TensorMap, Option<T>)> {
    let refuse = |what: String| Error::Weights(format!("{source}: {what}"));
    let (_, header) = SafeTensors::read_metadata(bytes)
        .map_err(|e| refuse(format!("not a whole safetensors file ({e})")))?;
    let file =
        SafeTensors::deserialize(bytes).map_err(|e| refuse(format!("not a whole safetensors file ({e})")))?;
    let mut tensors = TensorMap::new();
    for (name, view) in file.iter() {
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F32 => data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::F16 => data.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            Dtype::BF16 => data.as_chunks::<2>().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
            // Batch counters of PyTorch's BatchNorm carry nothing that inference needs.
            _ if name.ends_with("num_batches_tracked") => continue,
            other => return Err(refuse(format!("{name} has type {other:?}, expected F32, F16 or BF16"))),
        };
        tensors.insert(name.to_owned(), HostTensor { shape: view.shape().to_vec(), values });
    }
    let metadata = match header.metadata().as_ref().and_then(|map| map.get(METADATA_KEY)) {
        None => None,
        Some(text) => Some(serde_json::from_str(text).map_err(|e| {
            refuse(format!("metadata `{METADATA_KEY}` is not as written by this program ({e})"))
        })?),
    };
    Ok((tensors, metadata))
}
