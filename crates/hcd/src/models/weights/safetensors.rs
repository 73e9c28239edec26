//! Safetensors files: a JSON header that names tensors, and their bytes.
//!
//! Format: <https://github.com/huggingface/safetensors#format>. The crate of that name checks what a header
//! claims against the file's length, overlaps and overflow included.

use super::tensor::{Float, HostTensor, TensorMap, carries_nothing};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;

/// Numbers of a tensor in a file: `size` bytes each.
#[derive(Debug)]
pub struct Stored<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its bytes, little-endian.
    pub bytes: Vec<u8>,
}

/// Reads every tensor as f32, and the metadata.
///
/// # Errors
/// Where `bytes` are no whole safetensors file, or a tensor has a type that is not read.
pub fn decode(bytes: &[u8]) -> Result<(TensorMap, BTreeMap<String, String>), String> {
    let damaged = |e| format!("not a whole safetensors file ({e})");
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut tensors = TensorMap::new();
    for (name, view) in file.iter() {
        let float = match Float::of(view.dtype()) {
            Some(float) => float,
            None if carries_nothing(name) => continue,
            None => {
                let found = view.dtype();
                return Err(format!("{name} has type {found:?}, expected F32, F16, BF16 or F64"));
            }
        };
        let tensor = HostTensor { shape: view.shape().to_vec(), values: float.decode(view.data()) };
        tensors.insert(name.to_owned(), tensor);
    }
    Ok((tensors, header.metadata().clone().unwrap_or_default().into_iter().collect()))
}

/// The bytes of a file with these tensors and metadata; the same whenever they are the same.
///
/// # Errors
/// Where a tensor has not as many bytes as its shape and type ask for.
pub fn encode(tensors: &[Stored], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, String> {
    use safetensors::tensor::TensorView;
    let views = tensors.iter().map(|tensor| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
        Ok((tensor.name, view.map_err(|e| e.to_string())?))
    });
    let plain = safetensors::serialize(views.collect::<Result<Vec<_>, String>>()?, None);
    insert_metadata(plain.map_err(|e| e.to_string())?, metadata)
}

/// Puts the metadata in front of the header's tensors in alphabetical order: the crate writes them in the
/// order of a hash map, which is another one each time.
fn insert_metadata(file: Vec<u8>, metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, String> {
    let (length, rest) = file.split_first_chunk::<8>().ok_or("no header")?;
    let (header, data) = rest.split_at_checked(u64::from_le_bytes(*length) as usize).ok_or("no header")?;
    let tensors = header.trim_ascii_end().strip_prefix(b"{").ok_or("no header")?;
    let comma = if tensors == b"}" { "" } else { "," };
    let entries = serde_json::to_string(metadata).map_err(|e| e.to_string())?;
    let mut header = format!("{{\"__metadata__\":{entries}{comma}").into_bytes();
    header.extend_from_slice(tensors);
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.reserve_exact(header.len() + data.len());
    file.extend_from_slice(&header);
    file.extend_from_slice(data);
    Ok(file)
}
