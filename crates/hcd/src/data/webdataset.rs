//! WebDataset: tar archives of images, each with its label beside it under the same key.
//!
//! ```text
//! train-000000.tar …      test-000000.tar …      val-000000.tar … (or valid, validation)
//! KEY.jpg                 any name of an image that `decode` knows
//! KEY.cls                 the class, a number; or KEY.json with such a number under `label`
//! ```
//! What a shard belongs to is a word of its name; without `test`, the other part is tested on, with both it is what epochs
//! are chosen by. KEY is a member's path up to the first dot of its name; the members
//! of a sample follow one another. A `classes.txt` beside the shards names the classes, one a line; without it they are
//! numbers. A sample's id is its place, over the shards sorted by name. Opening reads the headers and the labels;
//! images are read by their place in the archive when they are asked for.
//!
//! Source: <https://github.com/webdataset/webdataset>, "the WebDataset format".

use super::encoded::{Encoded, Source};
use super::layouts::{List, alike, brief, numbered};
use super::{Dataset, Request, Splits, decode};
use crate::error::{Error, Result};
use crate::files;
use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Words of the names of shards: of the training part, and of the others, what is rather tested on first.
const TRAIN: [&str; 2] = ["train", "training"];
const OTHERS: [&str; 4] = ["test", "val", "validation", "valid"];
/// The file beside the shards that names the classes.
const CLASSES: &str = "classes.txt";
/// Most bytes of a label, of an image, and most samples and classes.
const MOST_LABEL: u64 = 1 << 20;
const MOST_IMAGE: u64 = 1 << 28;
const MOST_SAMPLES: usize = 1 << 26;
const MOST_CLASSES: u32 = 1 << 20;

/// Whether a folder holds training shards.
pub fn recognises(path: &Path) -> bool {
    shards_of(path, &TRAIN).is_ok_and(|shards| !shards.is_empty())
}

/// The shards whose names hold one of the words, sorted by name.
fn shards_of(folder: &Path, words: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = files::list(folder)?;
    found.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut parts = name.strip_suffix(".tar").unwrap_or_default().split(|c: char| !c.is_alphabetic());
        !name.starts_with('.') && parts.any(|part| words.contains(&part))
    });
    found.sort();
    Ok(found)
}

/// Opens the set.
///
/// # Errors
/// Where a half is missing, a shard is damaged, or an image has no label.
pub fn open(path: &Path, request: &Request) -> Result<Splits> {
    let shown = path.display();
    let train = Index::of(shards_of(path, &TRAIN)?)?;
    let mut others = Vec::new();
    for word in OTHERS {
        let shards = shards_of(path, &[word])?;
        if !shards.is_empty() {
            others.push(Index::of(shards)?);
        }
    }
    let mut others = others.into_iter();
    let Some(test) = others.next() else {
        let words = OTHERS.map(|word| format!("{word}-*.tar")).join(", ");
        return Err(Error::Data(format!("{shown}: has train-*.tar, but none of {words} beside it")));
    };
    let validation = others.next();
    let classes = match path.join(CLASSES) {
        list if list.is_file() => List::read(&list)?.names()?,
        _ => {
            let most = [&train, &test]
                .into_iter()
                .chain(&validation)
                .flat_map(|part| &part.labels)
                .copied()
                .max()
                .unwrap_or(0);
            numbered(most as usize + 1)
        }
    };
    let open = |index: Index, name: &str| -> Result<Arc<dyn Dataset>> {
        let (name, labels) = (format!("{shown} ({name})"), index.labels.clone());
        let memory = request.memory;
        Ok(Arc::new(Encoded::new(name, classes.clone(), labels, Box::new(index), request, memory)?))
    };
    let (train, test) = (open(train, "train")?, open(test, "test")?);
    alike(train, test, validation.map(|index| open(index, "validation")).transpose()?)
}

/// Where an image is: its shard, its name there, its first byte and its length.
struct Member {
    shard: u32,
    name: Box<str>,
    place: u64,
    length: u64,
}

/// The samples of a half.
struct Index {
    shards: Vec<PathBuf>,
    members: Vec<Member>,
    labels: Vec<u32>,
}

/// What is known of a sample while its members are read.
#[derive(Default)]
struct Sample {
    key: String,
    image: Option<Member>,
    label: Option<u32>,
}

impl Index {
    fn of(shards: Vec<PathBuf>) -> Result<Self> {
        let mut index = Self { shards: Vec::new(), members: Vec::new(), labels: Vec::new() };
        for path in shards {
            index.read(&path)?;
            index.shards.push(path);
        }
        Ok(index)
    }

    /// Appends the samples of a shard.
    fn read(&mut self, path: &Path) -> Result<()> {
        let fail = |source| Error::Io { path: path.to_owned(), action: "read", source };
        let damaged = |error: std::io::Error| {
            let what = brief(&error.to_string().replace(['\n', '\r'], " "));
            Error::Data(format!("{}: damaged tar archive ({what}); fetch the file again", path.display()))
        };
        let file = File::open(path).map_err(fail)?;
        let size = file.metadata().map_err(fail)?.len();
        let mut archive = tar::Archive::new(file);
        let mut sample = Sample::default();
        for entry in archive.entries_with_seek().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let (place, length) = (entry.raw_file_position(), entry.size());
            let bad = |what: String| Error::Data(format!("{}: {}: {what}", path.display(), brief(&name)));
            if place.checked_add(length).is_none_or(|end| end > size) {
                return Err(bad("is cut short; fetch the archive again".to_owned()));
            }
            let (key, extension) = key_of(&name);
            if key != sample.key {
                self.take(path, std::mem::take(&mut sample))?;
                sample.key = key.to_owned();
            }
            let extension = extension.to_lowercase();
            if extension == "cls" || extension == "json" {
                if length > MOST_LABEL {
                    return Err(bad(format!("has {length} bytes, too many for a label")));
                }
                let mut text = Vec::new();
                (&mut entry).take(MOST_LABEL).read_to_end(&mut text).map_err(damaged)?;
                if let Some(label) = label_in(&extension, &text).map_err(bad)? {
                    // Where there are both, `.cls` is the label, whichever comes first.
                    if extension == "cls" || sample.label.is_none() {
                        sample.label = Some(label);
                    }
                }
            } else if decode::EXTENSIONS.contains(&extension.as_str()) {
                if sample.image.is_some() {
                    return Err(bad("a second image under one key".to_owned()));
                }
                let shard = self.shards.len() as u32;
                sample.image = Some(Member { shard, name: name.into(), place, length });
            }
        }
        self.take(path, sample)
    }

    /// Appends a sample, now that it is whole.
    fn take(&mut self, path: &Path, sample: Sample) -> Result<()> {
        let key = brief(&sample.key);
        let bad = |what: &str| Err(Error::Data(format!("{}: {key}: {what}", path.display())));
        match (sample.image, sample.label) {
            (Some(image), Some(label)) => {
                if self.members.len() == MOST_SAMPLES {
                    return bad("too many samples for a set of images");
                }
                self.members.push(image);
                self.labels.push(label);
                Ok(())
            }
            (Some(_), None) => bad("image without label; expected .cls or .json with `label` beside it"),
            (None, Some(_)) => bad("label without image; members of a sample must follow one another"),
            (None, None) => Ok(()),
        }
    }
}

/// Key and extension of a member: what is before and behind the first dot of its name. A leading `./` is none.
fn key_of(name: &str) -> (&str, &str) {
    let begin = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[begin..].find('.') {
        Some(dot) => (&name[..begin + dot], &name[begin + dot + 1..]),
        None => (name, ""),
    }
}

/// The label in a member; none in JSON that does not speak of it.
fn label_in(extension: &str, text: &[u8]) -> Result<Option<u32>, String> {
    let number = |number: Option<u64>, came: String| {
        let label =
            number.and_then(|number| u32::try_from(number).ok()).filter(|&number| number < MOST_CLASSES);
        let wrong = || format!("label {}, expected a number from 0 to {}", brief(&came), MOST_CLASSES - 1);
        label.map(Some).ok_or_else(wrong)
    };
    if extension == "cls" {
        let text = String::from_utf8_lossy(text);
        let text = text.trim();
        return number(text.parse().ok(), format!("{text:?}"));
    }
    let value: serde_json::Value =
        serde_json::from_slice(text).map_err(|error| format!("is no JSON ({error})"))?;
    match value.get("label") {
        Some(label) => number(label.as_u64(), label.to_string()),
        None => Ok(None),
    }
}

impl Source for Index {
    fn bytes(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        let Member { shard, place, length, .. } = &self.members[index];
        let path = &self.shards[*shard as usize];
        if *length > MOST_IMAGE {
            let shown = self.shown(index);
            return Err(Error::Data(format!("{shown}: over {MOST_IMAGE} bytes, too large for an image")));
        }
        let fail = |source| Error::Io { path: path.to_owned(), action: "read", source };
        let mut file = File::open(path).map_err(fail)?;
        file.seek(SeekFrom::Start(*place)).map_err(fail)?;
        let mut bytes = Vec::new();
        file.take(*length).read_to_end(&mut bytes).map_err(fail)?;
        Ok(Cow::Owned(bytes))
    }

    fn shown(&self, index: usize) -> String {
        let Member { shard, name, .. } = &self.members[index];
        format!("{}: {name}", self.shards[*shard as usize].display())
    }
}
