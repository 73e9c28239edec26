//! Weights files of any origin: the format is told by the content, and what training scripts wrap around the
//! tensors is taken off.
//!
//! Of several sets of weights the averaged ones are taken, as timm does; a note says which.

use super::pickle::{Id, Pickle, Value};
use super::pytorch::{self, Checkpoint};
use super::safetensors;
use super::tensor::{TensorMap, carries_nothing};
use std::collections::BTreeMap;

/// Keys under which checkpoints keep their weights, the preferred first.
const WRAPPERS: &[&str] = &[
    "state_dict_ema",
    "model_ema",
    "state_dict",
    "model",
    "model_state_dict",
    "model_state",
    "net",
    "network",
];

/// What wrappers of modules put before every name.
const PREFIXES: &[&str] = &["module.", "_orig_mod.", "model."];

/// The longest name of a tensor, in bytes.
const LONGEST_NAME: usize = 512;

/// The longest error or note, in characters.
const LONGEST_LINE: usize = 1000;

/// The most notes on entries that are no tensors.
const MOST_NOTES: usize = 8;

/// What a weights file holds.
#[derive(Debug, Default)]
pub struct Contents {
    /// The tensors, under their names in the file without common prefixes.
    pub tensors: TensorMap,
    /// Metadata of a safetensors file.
    pub metadata: BTreeMap<String, String>,
    /// What was chosen, taken off or passed over: one line each.
    pub notes: Vec<String>,
}

/// Reads weights from the bytes of a file.
///
/// # Errors
/// Where the format is none of those that are read, or the file is damaged; one line.
pub fn decode(bytes: &[u8]) -> Result<Contents, String> {
    let mut contents = read(bytes).map_err(|what| legible(&what))?;
    contents.notes.iter_mut().for_each(|note| *note = legible(note));
    Ok(contents)
}

/// One line of bounded length without control characters: files put their text into errors and notes.
pub fn legible(text: &str) -> String {
    let shown =
        text.chars().take(LONGEST_LINE).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
    let rest = text.chars().nth(LONGEST_LINE).map(|_| '…');
    shown.chain(rest).collect()
}

fn read(bytes: &[u8]) -> Result<Contents, String> {
    let mut contents = if pytorch::recognises(bytes) {
        from_pytorch(bytes)?
    } else if is_safetensors(bytes) {
        let (tensors, metadata) = safetensors::decode(bytes)?;
        Contents { tensors, metadata, notes: Vec::new() }
    } else {
        return Err(foreign(bytes).to_owned());
    };
    let is_name = |name: &String| name.len() <= LONGEST_NAME && !name.chars().any(char::is_control);
    if let Some(name) = contents.tensors.keys().find(|name| !is_name(name)) {
        return Err(format!("a tensor is called {name:.40}…, which is no name"));
    }
    while let Some(prefix) = common_prefix(&contents.tensors) {
        let tensors = std::mem::take(&mut contents.tensors).into_iter();
        contents.tensors = tensors.map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect();
    }
    Ok(contents)
}

fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

/// What a file that is not read looks like.
fn foreign(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "empty file, expected safetensors or PyTorch weights",
        [0x80, ..] => "a Python pickle without PyTorch's tensors, expected a file that torch.save wrote",
        [b'v' | b'{' | b'<', ..] if bytes.starts_with(b"version https://git-lfs") => {
            "a pointer to a file in Git LFS, not the file; fetch it with `git lfs pull`"
        }
        [b'<', ..] => "a web page, not weights; fetch the file itself",
        [0x89, b'H', b'D', b'F', ..] => "an HDF5 file (Keras), expected safetensors or PyTorch weights",
        _ if bytes.get(257..262) == Some(b"ustar") => {
            "a tar archive, as PyTorch wrote before 0.1.10 or to be unpacked; expected safetensors or PyTorch weights"
        }
        _ => "not a whole safetensors file, nor one of PyTorch's",
    }
}

/// A prefix that every name begins with, and that none consists of.
fn common_prefix(tensors: &TensorMap) -> Option<&'static str> {
    let all =
        |prefix: &&&str| tensors.keys().all(|name| name.len() > prefix.len() && name.starts_with(**prefix));
    PREFIXES.iter().find(all).copied().filter(|_| !tensors.is_empty())
}

fn from_pytorch(bytes: &[u8]) -> Result<Contents, String> {
    let mut checkpoint = Checkpoint::open(bytes)?;
    let mut notes = Vec::new();
    let entries = unwrap(&checkpoint, &mut notes)?;
    let (mut tensors, mut others) = (TensorMap::new(), 0usize);
    for (name, id) in entries {
        if !checkpoint.is_tensor(id) {
            others += 1;
            if others <= MOST_NOTES {
                notes.push(format!(
                    "`{name}` is {}, not a tensor: passed over",
                    checkpoint.pickle.describe(id)
                ));
            }
            continue;
        }
        match checkpoint.tensor(id) {
            Ok(Some(tensor)) => {
                tensors.insert(name.to_owned(), tensor);
            }
            Ok(None) => {}
            Err(_) if carries_nothing(name) => {}
            Err(what) => return Err(format!("{name} {what}")),
        }
    }
    if tensors.is_empty() {
        return Err("holds no tensors by name, expected a state dictionary".to_owned());
    }
    if others > MOST_NOTES {
        notes.push(format!("{} more entries are no tensors: passed over", others - MOST_NOTES));
    }
    Ok(Contents { tensors, metadata: BTreeMap::new(), notes })
}

/// The entries of the dictionary that holds the weights.
fn unwrap<'a>(checkpoint: &Checkpoint<'a>, notes: &mut Vec<String>) -> Result<Vec<(&'a str, Id)>, String> {
    let pickle = &checkpoint.pickle;
    let mut at = pickle.root;
    // Wrappers within wrappers are rare, and never deeper.
    for _ in 0..3 {
        let entries = named(pickle, at)?;
        let is_filled = |id: &Id| matches!(pickle.get(*id), Value::Dict(entries) if !entries.is_empty());
        let find =
            |key: &&str| entries.iter().rev().find(|(name, id)| name == key && is_filled(id)).map(|e| e.1);
        let found: Vec<(&str, Id)> = WRAPPERS.iter().filter_map(|key| Some((*key, find(key)?))).collect();
        let Some((key, inner)) = found.first() else { break };
        if found.len() > 1 {
            let others: Vec<&str> = found[1..].iter().map(|(key, _)| *key).collect();
            notes.push(format!("took the weights under `{key}`, not those under `{}`", others.join("`, `")));
        }
        at = *inner;
    }
    named(pickle, at)
}

/// The entries of a dictionary whose keys are text.
fn named<'a>(pickle: &Pickle<'a>, id: Id) -> Result<Vec<(&'a str, Id)>, String> {
    match pickle.get(id) {
        Value::Dict(entries) => {
            Ok(entries.iter().filter_map(|(key, value)| Some((pickle.text(*key)?, *value))).collect())
        }
        Value::Object(_) => Err(format!(
            "holds {}, a whole Python object, expected its tensors by name: save `model.state_dict()` instead",
            pickle.describe(id)
        )),
        _ => Err(format!("holds {}, expected tensors by name", pickle.describe(id))),
    }
}
