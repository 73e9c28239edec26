//! The archives that PyTorch has written since 1.6: zip files whose entries are stored as they are.
//!
//! An entry is a slice of the file, so nothing is unpacked: an entry that is compressed, which PyTorch never
//! writes, is refused, and so are entries that share bytes.

use std::collections::HashMap;
use std::io::Cursor;
use zip::{CompressionMethod, ZipArchive};

/// The entries of an archive, by name without the folder that they are all in.
#[derive(Debug)]
pub struct Entries<'a> {
    entries: HashMap<String, &'a [u8]>,
}

impl<'a> Entries<'a> {
    /// Reads the directory of an archive.
    ///
    /// # Errors
    /// Where it is cut or damaged, or is none of PyTorch's.
    pub fn read(file: &'a [u8]) -> Result<Self, String> {
        let damaged =
            |what: &dyn std::fmt::Display| format!("not a whole zip archive ({what}); fetch it again");
        let mut archive = ZipArchive::new(Cursor::new(file)).map_err(|e| damaged(&e))?;
        if archive.has_overlapping_files().map_err(|e| damaged(&e))? {
            return Err("two entries of the archive share bytes, as none of PyTorch's do".to_owned());
        }
        let mut entries = HashMap::new();
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(|e| damaged(&e))?;
            let name = entry.name().map_err(|e| damaged(&e))?.into_owned();
            if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
                return Err(format!(
                    "archive entry {name} is compressed or encrypted, as none of PyTorch's is"
                ));
            }
            let start = entry.data_start().and_then(|start| usize::try_from(start).ok());
            let length =
                usize::try_from(entry.size()).ok().filter(|_| entry.size() == entry.compressed_size());
            let range = start.zip(length).and_then(|(start, length)| Some(start..start.checked_add(length)?));
            let bytes = range.and_then(|range| file.get(range));
            let bytes = bytes.ok_or_else(|| damaged(&format!("entry {name} reaches beyond the end")))?;
            // PyTorch writes 0 where it was told not to compute checksums.
            if entry.crc32() != 0 && crc32fast::hash(bytes) != entry.crc32() {
                return Err(damaged(&format!("the checksum of entry {name} differs")));
            }
            entries.insert(name, bytes);
        }
        Self { entries }.rooted()
    }

    /// Takes the folder off the names: that of `data.pkl`.
    fn rooted(self) -> Result<Self, String> {
        let folder = |name: &String| name.strip_suffix("data.pkl").map(str::to_owned);
        let folders = self.entries.keys().filter_map(folder).filter(|f| f.is_empty() || f.ends_with('/'));
        let root = folders.min_by_key(String::len).ok_or_else(|| {
            let has = |name: &str| self.entries.keys().any(|key| key.ends_with(name));
            match has("constants.pkl") || has("model.json") {
                true => "is a TorchScript program, expected a state dictionary".to_owned(),
                false => "a zip archive without `data.pkl`, so none of PyTorch's".to_owned(),
            }
        })?;
        if self.entries.contains_key(&format!("{root}constants.pkl")) {
            return Err("is a TorchScript program, expected a state dictionary".to_owned());
        }
        let strip = |(name, entry): (String, &'a [u8])| Some((name.strip_prefix(&root)?.to_owned(), entry));
        Ok(Self { entries: self.entries.into_iter().filter_map(strip).collect() })
    }

    /// The bytes of an entry, where there is one of that name.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.entries.get(name).copied()
    }
}
