//! The answers to one view of every sample, as a safetensors file: its header, and where its tensors lie.
//!
//! | tensor | what |
//! |---|---|
//! | `ids` (samples) i64 | the samples, ascending |
//! | `crc` (samples) u32 | CRC-32 of each row of `features`; 0 where there is none yet |
//! | `scale` (samples) f32 | what the numbers of a row are multiplied by |
//! | `features` (samples, width) | the teacher's penultimate feature |
//!
//! The metadata hold the cache's key, the seed and the number of the view.

use super::{CacheKey, Stored, key};
use crate::error::{Error, Result};
use crate::teacher::ViewKey;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Longest header that is read; ours have some kilobytes.
const LONGEST: u64 = 1 << 20;

/// Names in the metadata.
const METADATA: &str = "__metadata__";
const KEY: &str = "hcd.key";
const SEED: &str = "hcd.seed";
const VIEW: &str = "hcd.view";

/// What is in the file of a view, and where.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The header, its length in front.
    pub(super) header: Vec<u8>,
    /// The bytes of `ids`.
    pub(super) ids: Vec<u8>,
    samples: usize,
    pub(super) stored: Stored,
    width: usize,
}

impl Layout {
    /// Of the answers to `views` of the samples `ids`.
    pub(super) fn new(key: &CacheKey, ids: &[u64], views: ViewKey) -> Result<Self> {
        Ok(Self {
            header: header(key, ids.len() as u64, views)?,
            ids: ids.iter().flat_map(|&id| (id as i64).to_le_bytes()).collect(),
            samples: ids.len(),
            stored: key.stored,
            width: key.width,
        })
    }

    /// Bytes of a row of `features`.
    pub(super) fn row_bytes(&self) -> usize {
        self.stored.bytes(self.width)
    }

    /// Where a row's checksum is; that of one row too many is where the next tensor begins, here and below.
    pub(super) fn crc(&self, row: usize) -> u64 {
        (self.header.len() + self.ids.len() + 4 * row) as u64
    }

    pub(super) fn scale(&self, row: usize) -> u64 {
        self.crc(self.samples) + 4 * row as u64
    }

    pub(super) fn feature(&self, row: usize) -> u64 {
        self.scale(self.samples) + (row * self.row_bytes()) as u64
    }

    /// The file's length.
    pub(super) fn end(&self) -> u64 {
        self.feature(self.samples)
    }

    /// Checksums and scales of a file, from its start; none where it is damaged.
    ///
    /// # Errors
    /// Where the file cannot be read, or is whole and of another key, seed or view.
    pub(super) fn read(&self, path: &Path, file: &mut File) -> Result<Option<(Vec<u32>, Vec<f32>)>> {
        let fail = |source| Error::Io { path: path.to_owned(), action: "read", source };
        let length = file.metadata().map_err(fail)?.len();
        let mut start = Vec::new();
        file.by_ref().take(self.feature(0)).read_to_end(&mut start).map_err(fail)?;
        if !start.starts_with(&self.header) {
            return self.refuse(path, &start, file);
        }
        if length != self.end() || !start[self.header.len()..].starts_with(&self.ids) {
            return Ok(None);
        }
        let crc = &start[self.crc(0) as usize..self.scale(0) as usize];
        let scale = &start[self.scale(0) as usize..];
        let crc = crc.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
        Ok(Some((crc, scale.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())))
    }

    /// Why a file with another header is none of this cache; none where its header cannot be read.
    fn refuse<T>(&self, path: &Path, start: &[u8], file: &mut File) -> Result<Option<T>> {
        let Some(length) = start.first_chunk().map(|&bytes| u64::from_le_bytes(bytes)) else {
            return Ok(None);
        };
        if length > LONGEST {
            return Ok(None);
        }
        let mut text = start[8..].to_vec();
        let rest = length.saturating_sub(text.len() as u64);
        file.by_ref().take(rest).read_to_end(&mut text).map_err(|source| Error::Io {
            path: path.to_owned(),
            action: "read",
            source,
        })?;
        text.truncate(length as usize);
        let [Some(found), Some(own)] = [&text[..], &self.header[8..]].map(metadata) else { return Ok(None) };
        match key::difference("", &found, &own) {
            None => Ok(None),
            Some(difference) => Err(key::refusal(path, &difference)),
        }
    }
}

/// The key, seed and view that a header tells.
fn metadata(header: &[u8]) -> Option<Value> {
    let header: Value = serde_json::from_slice(header).ok()?;
    let text = |name: &str| header.get(METADATA)?.get(name)?.as_str();
    let mut found: Map<String, Value> = serde_json::from_str(text(KEY)?).ok()?;
    for (name, shown) in [(SEED, "seed"), (VIEW, "view")] {
        found.insert(shown.to_owned(), text(name)?.into());
    }
    Some(found.into())
}

/// The file's start: the header's length, and the header.
fn header(key: &CacheKey, samples: u64, views: ViewKey) -> Result<Vec<u8>> {
    let key_text = serde_json::to_string(key)
        .map_err(|error| Error::Run(format!("the cache's key cannot be written as JSON: {error}")))?;
    let mut text = Map::new();
    text.insert(
        METADATA.to_owned(),
        serde_json::json!({ KEY: key_text, SEED: views.seed.to_string(), VIEW: views.number.to_string() }),
    );
    let mut end = 0;
    let mut tensor = |name: &str, dtype: &str, shape: &[u64], bytes: u64| {
        let start = end;
        end += bytes;
        text.insert(
            name.to_owned(),
            serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] }),
        );
    };
    tensor("ids", "I64", &[samples], 8 * samples);
    tensor("crc", "U32", &[samples], 4 * samples);
    tensor("scale", "F32", &[samples], 4 * samples);
    let bytes = samples * key.stored.bytes(key.width) as u64;
    tensor("features", key.stored.dtype(), &[samples, key.width as u64], bytes);
    let mut text = Value::Object(text).to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    Ok([&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat())
}
