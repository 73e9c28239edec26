//! Files that `torch.save` wrote (`.pth`, `.pt`, `.th`, `.tar`): a pickle that describes tensors, and the
//! bytes of their storages beside it.
//!
//! Two layouts: since PyTorch 1.6 a zip archive with `data.pkl` and one entry a storage; before that four
//! pickles (magic number, protocol, system, object), a fifth with the keys of the storages, and each
//! storage's length and bytes in that order. Source: `torch/serialization.py`, `torch/_utils.py`.
//!
//! Why not the crate `pytorch-reader` (0.22.1, of Burn): it bounds a tensor by 10 GiB and an archive's pickle
//! by 100 MiB unpacked, whatever the file's size, so that a few hundred bytes take all memory; it passes
//! over calls such as `os.system` in silence; and it reads files alone, not bytes. Here tensors together
//! never have more numbers than the file has bytes, and only those that are asked for are read.

use super::archive::Entries;
use super::calls;
use super::pickle::{Id, Pickle, Value};
use super::tensor::{Float, HostTensor};
use std::collections::HashMap;

/// How PyTorch's older files begin, after the bytes that name the pickle's protocol.
const MAGIC: &[u8] = &[0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The most axes of a tensor.
const MOST_AXES: usize = 16;

/// A file with its object described, no tensor read yet.
#[derive(Debug)]
pub struct Checkpoint<'a> {
    /// The object that was saved.
    pub pickle: Pickle<'a>,
    storages: Storages<'a>,
    /// How many more numbers may be read.
    left: usize,
}

#[derive(Debug)]
enum Storages<'a> {
    Entries(Entries<'a>),
    Slices(HashMap<&'a str, &'a [u8]>),
}

/// A storage as the pickle refers to it.
#[derive(Debug)]
struct Storage<'a> {
    key: &'a str,
    /// Its type where it holds fractions, its name in any case.
    float: Option<Float>,
    kind: &'a str,
}

/// Whether `bytes` begin as one of these files.
pub fn recognises(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
        || bytes.starts_with(b"PK\x05\x06")
        || bytes.starts_with(&[0x80]) && is_older(bytes)
}

fn is_older(bytes: &[u8]) -> bool {
    bytes[..bytes.len().min(32)].windows(MAGIC.len()).any(|window| window == MAGIC)
}

impl<'a> Checkpoint<'a> {
    /// Reads what a file describes.
    ///
    /// # Errors
    /// Where it is cut or damaged, or asks for calls that weights don't need.
    pub fn open(file: &'a [u8]) -> Result<Self, String> {
        let (pickle, storages) =
            if file.starts_with(b"PK") { open_archive(file)? } else { open_older(file)? };
        Ok(Self { pickle, storages, left: file.len() })
    }

    /// The tensor at a place of the pickle, or nothing where something else stands there.
    ///
    /// # Errors
    /// Where its description makes no sense, its type is none of [`Float`], or its bytes are not there.
    pub fn tensor(&mut self, id: Id) -> Result<Option<HostTensor>, String> {
        let Some(Described { storage, offset, shape, strides }) = self.described(id)? else {
            return Ok(None);
        };
        let Some(float) = storage.float else {
            return Err(format!("has type {}, expected float, half or bfloat16", storage.kind));
        };
        let bytes = self.bytes(storage.key)?;
        let available = bytes.len() / float.size();
        let numel = numel(&shape).filter(|numel| *numel <= available);
        let numel =
            numel.ok_or_else(|| format!("has shape {shape:?}, but its storage holds {available} numbers"))?;
        let last = last(&shape, &strides, offset).filter(|last| *last < available);
        if numel > 0 && last.is_none() {
            return Err(format!("reaches beyond the {available} numbers of its storage"));
        }
        self.left = self.left.checked_sub(numel).ok_or("the tensors together are larger than the file")?;
        let size = float.size();
        let values = match is_contiguous(&shape, &strides) {
            true if numel > 0 => float.decode(&bytes[offset * size..][..numel * size]),
            _ => gather(&shape, &strides, offset, numel, |at| float.decode(&bytes[at * size..][..size])[0]),
        };
        Ok(Some(HostTensor { shape, values }))
    }

    /// Whether a tensor is described at a place of the pickle.
    pub fn is_tensor(&self, id: Id) -> bool {
        matches!(self.described(id), Ok(Some(_)) | Err(_))
    }

    /// What the pickle says of the tensor at a place.
    fn described(&self, mut id: Id) -> Result<Option<Described<'a>>, String> {
        let pickle = &self.pickle;
        // A parameter is a tensor within one call; what nests deeper is nobody's.
        for _ in 0..4 {
            let Value::Call(function, arguments) = pickle.get(id) else { return Ok(None) };
            let Value::Global("torch._utils" | "torch._tensor", name) = pickle.get(*function) else {
                return Ok(None);
            };
            let arguments = pickle.sequence(*arguments).unwrap_or_default();
            match (*name, arguments) {
                ("_rebuild_parameter" | "_rebuild_parameter_with_state", [inner, ..]) => id = *inner,
                (
                    "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3",
                    [storage, offset, shape, strides, rest @ ..],
                ) => {
                    let float = match (*name, rest) {
                        ("_rebuild_tensor_v3", [_, _, dtype, ..]) => Some(*dtype),
                        _ => None,
                    };
                    return describe(pickle, [*storage, *offset, *shape, *strides], float).map(Some);
                }
                _ => {
                    return Err(format!("is of a kind that is not read (`{name}`), expected a plain tensor"));
                }
            }
        }
        Ok(None)
    }

    fn bytes(&self, key: &str) -> Result<&'a [u8], String> {
        let found = match &self.storages {
            Storages::Entries(entries) => entries.get(&format!("data/{key}")),
            Storages::Slices(slices) => slices.get(key).copied(),
        };
        found.ok_or_else(|| format!("its storage {key:?} is not in the file"))
    }
}

struct Described<'a> {
    storage: Storage<'a>,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

fn describe<'a>(
    pickle: &Pickle<'a>,
    [storage, offset, shape, strides]: [Id; 4],
    dtype: Option<Id>,
) -> Result<Described<'a>, String> {
    let mut storage = match pickle.get(storage) {
        Value::Persistent(key) => Storage::of(pickle, *key).map(|(storage, _)| storage),
        _ => None,
    }
    .ok_or("refers to no storage that can be read")?;
    if let Some(Value::Global("torch", name)) = dtype.map(|dtype| pickle.get(dtype)) {
        (storage.kind, storage.float) = (name, float(name).0);
    }
    let indices = |id: Id| -> Option<Vec<usize>> {
        // `torch.Size((2, 3))` stands for the sequence within.
        let id = match pickle.get(id) {
            Value::Call(_, arguments) => *pickle.sequence(*arguments)?.first()?,
            _ => id,
        };
        let sizes = pickle.sequence(id).filter(|sizes| sizes.len() <= MOST_AXES)?;
        sizes.iter().map(|id| pickle.index(*id)).collect()
    };
    let shape = indices(shape).ok_or("has a shape that is no list of sizes")?;
    let strides = indices(strides).ok_or("has strides that are no list of sizes")?;
    if shape.len() != strides.len() {
        return Err(format!("has {} sizes and {} strides", shape.len(), strides.len()));
    }
    let offset = pickle.index(offset).ok_or("begins at no place of its storage")?;
    Ok(Described { storage, offset, shape, strides })
}

impl<'a> Storage<'a> {
    /// `('storage', torch.FloatStorage, key, place, length, …)`, and its length in bytes.
    fn of(pickle: &Pickle<'a>, key: Id) -> Option<(Self, usize)> {
        let [tag, class, key, _, length, view @ ..] = pickle.sequence(key)? else { return None };
        let whole = view.first().is_none_or(|view| *pickle.get(*view) == Value::None);
        let (Value::Global(_, kind), Some("storage"), true) = (pickle.get(*class), pickle.text(*tag), whole)
        else {
            return None;
        };
        let (float, size) = float(kind);
        let length = pickle.index(*length)?.checked_mul(size)?;
        Some((Storage { key: pickle.text(*key)?, float, kind }, length))
    }
}

/// The type of a storage's class, or of PyTorch's name for a type, and its size in bytes.
fn float(name: &str) -> (Option<Float>, usize) {
    let float = match name {
        "HalfStorage" | "float16" | "half" => Float::F16,
        "BFloat16Storage" | "bfloat16" => Float::Bf16,
        "FloatStorage" | "float32" | "float" => Float::F32,
        "DoubleStorage" | "float64" | "double" => Float::F64,
        "LongStorage" | "ComplexFloatStorage" => return (None, 8),
        "ComplexDoubleStorage" => return (None, 16),
        "IntStorage" => return (None, 4),
        "ShortStorage" => return (None, 2),
        _ => return (None, 1),
    };
    (Some(float), float.size())
}

fn numel(shape: &[usize]) -> Option<usize> {
    // A size of 0 makes an empty tensor, whatever the others multiply to.
    match shape.contains(&0) {
        true => Some(0),
        false => shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size)),
    }
}

/// The place of the last number.
fn last(shape: &[usize], strides: &[usize], offset: usize) -> Option<usize> {
    shape
        .iter()
        .zip(strides)
        .try_fold(offset, |last, (size, stride)| last.checked_add(size.checked_sub(1)?.checked_mul(*stride)?))
}

fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1usize;
    shape.iter().zip(strides).rev().all(|(size, stride)| {
        let fits = *size == 1 || *stride == expected;
        expected = expected.saturating_mul(*size);
        fits
    })
}

/// Reads number by number, the last axis fastest.
fn gather(
    shape: &[usize],
    strides: &[usize],
    offset: usize,
    numel: usize,
    read: impl Fn(usize) -> f32,
) -> Vec<f32> {
    let mut place = vec![0; shape.len()];
    let mut at = offset;
    let mut values = Vec::with_capacity(numel);
    for _ in 0..numel {
        values.push(read(at));
        for axis in (0..shape.len()).rev() {
            place[axis] += 1;
            // Past the end of an axis of size 1 a stride may lead anywhere; one step later it is undone.
            at = at.wrapping_add(strides[axis]);
            if place[axis] < shape[axis] {
                break;
            }
            at = at.wrapping_sub(strides[axis].wrapping_mul(shape[axis]));
            place[axis] = 0;
        }
    }
    values
}

fn open_archive(file: &[u8]) -> Result<(Pickle<'_>, Storages<'_>), String> {
    let entries = Entries::read(file)?;
    if entries.get("byteorder").is_some_and(|order| order != b"little") {
        return Err("was written on a big-endian machine, which is not read".to_owned());
    }
    let pickle = Pickle::read(entries.get("data.pkl").unwrap_or_default())?;
    calls::check(&pickle)?;
    Ok((pickle, Storages::Entries(entries)))
}

fn open_older(file: &[u8]) -> Result<(Pickle<'_>, Storages<'_>), String> {
    let mut at = 0;
    let mut next = || {
        let pickle = Pickle::read(&file[at..])?;
        at += pickle.length;
        calls::check(&pickle).map(|()| pickle)
    };
    let (_magic, protocol, system) = (next()?, next()?, next()?);
    if *protocol.get(protocol.root) != Value::Int(1001) {
        return Err("a protocol of PyTorch's older files other than 1001".to_owned());
    }
    if let Value::Dict(entries) = system.get(system.root) {
        let little = |(key, value): &(Id, Id)| {
            system.text(*key) == Some("little_endian") && *system.get(*value) == Value::Bool(false)
        };
        if entries.iter().any(little) {
            return Err("was written on a big-endian machine, which is not read".to_owned());
        }
    }
    let (object, keys) = (next()?, next()?);
    let mut lengths = HashMap::new();
    for value in object.values() {
        if let Value::Persistent(key) = value
            && let Some((storage, length)) = Storage::of(&object, *key)
        {
            lengths.insert(storage.key, length);
        }
    }
    let slices = slices(file, at, &keys, &lengths)?;
    Ok((object, Storages::Slices(slices)))
}

/// Each storage after the pickles: how many numbers as 8 bytes, which the object has said as well, and these.
fn slices<'a>(
    file: &'a [u8],
    mut at: usize,
    keys: &Pickle<'a>,
    lengths: &HashMap<&str, usize>,
) -> Result<HashMap<&'a str, &'a [u8]>, String> {
    let mut slices = HashMap::new();
    for key in keys.sequence(keys.root).ok_or("the keys of the storages are no list")? {
        let key = keys.text(*key).ok_or("the key of a storage is no text")?;
        let length = *lengths.get(key).ok_or_else(|| format!("storage {key:?} is described nowhere"))?;
        let start = at.saturating_add(8);
        let end = start.saturating_add(length);
        let bytes = file.get(start..end).ok_or_else(|| {
            format!("cut: storage {key:?} should end at byte {end} of {}; fetch it again", file.len())
        })?;
        at = end;
        slices.insert(key, bytes);
    }
    Ok(slices)
}
