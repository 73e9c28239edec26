//! Weights in and out: safetensors and PyTorch's files, under timm's names and layouts.
//!
//! What this program writes is safetensors; one metadata entry, `hcd`, holds a JSON object that says what the
//! tensors are. [`read`] and [`restore`] take such files back and ask for every name and shape. Files of
//! others come in through [`read_any`], which recognises the format and unwraps, and [`import()`], which
//! translates names and adapts what another resolution or class count makes necessary.

mod archive;
mod calls;
mod import;
mod machine;
mod naming;
mod open;
pub(crate) mod pickle;
mod pytorch;
mod resample;
mod safetensors;
mod tensor;

pub use import::{Allowed, Imported, channel_count, class_count, import};
pub use open::Contents;
pub(crate) use open::legible;
pub(crate) use tensor::Float;
pub use tensor::{HostTensor, TensorMap, first_odd};

use super::params::Parameters;
use crate::error::{Error, Result};
use crate::files;
use ::safetensors::Dtype;
use burn::tensor::{Tensor, TensorData};
use half::f16;
use safetensors::Stored;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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

/// Copies a module's tensors to the host.
pub fn snapshot<M: Parameters>(module: &M) -> TensorMap {
    let host = |tensor: super::NamedTensor| {
        let values = tensor.to_vec();
        (tensor.name, HostTensor { shape: tensor.shape, values })
    };
    module.named().into_iter().map(host).collect()
}

/// A hash of names, shapes and values.
pub fn fingerprint(tensors: &TensorMap) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, tensor) in tensors {
        hasher.update(format!("{name} {:?}\n", tensor.shape).as_bytes());
        tensor.values.iter().for_each(|value| {
            hasher.update(&value.to_le_bytes());
        });
    }
    hasher.finalize().to_hex().to_string()
}

/// Gives a module the tensors of `map`.
///
/// # Errors
/// Where names or shapes differ, naming the first of them; `source` says where the tensors came from.
pub fn restore<M: Parameters>(module: M, map: &TensorMap, source: &str) -> Result<M> {
    let problems = import::differences(&module.named(), map);
    match problems.is_empty() {
        true => Ok(assign(module, map)),
        false => Err(Error::Weights(format!(
            "{source}: weights do not fit the model: {}",
            import::listed(&problems, 4)
        ))),
    }
}

/// Gives a module those tensors of `map` that it has; the others keep their values.
fn assign<M: Parameters>(module: M, map: &TensorMap) -> M {
    module.map_named(&mut |tensor| {
        let Some(found) = map.get(&tensor.name) else { return tensor.value };
        let values = found.values.clone();
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [count]), &tensor.value.device())
    })
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
    let refuse = |error: &dyn std::fmt::Display| Error::Weights(format!("{}: {error}", path.display()));
    let stored: Vec<Stored> = tensors.iter().map(|(name, tensor)| store(name, tensor, precision)).collect();
    let text = serde_json::to_string(metadata).map_err(|e| refuse(&e))?;
    // "pt" is what Python's side looks for: tensors laid out as PyTorch's.
    let info = BTreeMap::from([(METADATA_KEY.to_owned(), text), ("format".to_owned(), "pt".to_owned())]);
    files::write(path, &safetensors::encode(&stored, &info).map_err(|e| refuse(&e))?)
}

fn store<'a>(name: &'a str, tensor: &HostTensor, precision: Precision) -> Stored<'a> {
    let (dtype, bytes) = match precision {
        Precision::F32 => (Dtype::F32, tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Precision::F16 => {
            (Dtype::F16, tensor.values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect())
        }
    };
    Stored { name, dtype, shape: tensor.shape.clone(), bytes }
}

/// Reads the weights of any file: safetensors or PyTorch's, told by its content.
///
/// # Errors
/// Where the file cannot be read, is damaged, or of another format.
pub fn read_any(path: &Path) -> Result<Contents> {
    decode_any(&files::read(path)?, &path.display().to_string())
}

/// As [`read_any`], from bytes; `source` names them in errors.
///
/// # Errors
/// As [`read_any`].
pub fn decode_any(bytes: &[u8], source: &str) -> Result<Contents> {
    open::decode(bytes).map_err(|what| Error::Weights(format!("{source}: {what}")))
}

/// Reads every tensor of a safetensors file as f32, and its `hcd` metadata where there is some.
///
/// # Errors
/// Where the file cannot be read, is no safetensors file, or holds other than fractions.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<(TensorMap, Option<T>)> {
    decode(&files::read(path)?, &path.display().to_string())
}

/// As [`read`], from bytes; `source` names them in errors.
///
/// # Errors
/// As [`read`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8], source: &str) -> Result<(TensorMap, Option<T>)> {
    let (tensors, metadata) =
        safetensors::decode(bytes).map_err(|what| Error::Weights(format!("{source}: {}", legible(&what))))?;
    Ok((tensors, card(&metadata, source)?))
}

/// What the metadata say under the key `hcd`.
///
/// # Errors
/// Where that is not what this program writes there.
pub fn card<T: DeserializeOwned>(metadata: &BTreeMap<String, String>, source: &str) -> Result<Option<T>> {
    let refuse = |e: serde_json::Error| {
        Error::Weights(format!("{source}: metadata `{METADATA_KEY}` is not as written by this program ({e})"))
    };
    metadata.get(METADATA_KEY).map(|text| serde_json::from_str(text).map_err(refuse)).transpose()
}
