//! Parquet shards as Hugging Face's hub has them: encoded images and labels in columns.
//!
//! ```text
//! [data/]train-00000-of-00002.parquet …      [data/]test-….parquet (or validation-…, val-…)
//! image (or img): { bytes, path }            label (or fine_label, coarse_label): a whole number
//! ```
//! The names of the classes are in the file's own metadata, key `huggingface`, at `info.features.label.names`; without
//! them, classes are numbers. A sample's id is its row, over the shards sorted by name. A part whose labels are all −1
//! is one without labels, as ImageNet's test images; the next is tested on instead. With a part more, epochs are chosen
//! by it.
//!
//! Labels are read when the set is opened, images when they are asked for. Where the image column of a half fits into
//! [`Request::memory`], a row group is read as a whole, once, and kept as it is, encoded. Else each image is read from
//! its file: pages before its own are passed over by their headers, so it costs the decompression of one page. Decoded
//! pixels are not kept: of photos they are ten times as many bytes.
//!
//! Source: <https://parquet.apache.org/docs/file-format/>, <https://huggingface.co/docs/datasets/image_dataset>.

use super::encoded::{Encoded, Source};
use super::layouts::{alike, brief, numbered};
use super::{Dataset, Request, Splits};
use crate::error::{Error, Result};
use crate::files;
use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::page_index::RowGroupPageIndex;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::{SerializedFileReader, SerializedRowGroupReader};
use std::borrow::Cow;
use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The folder that the shards are in, where they are not in the set's own.
const WITHIN: [&str; 2] = ["", "data"];
/// How shards' names begin: of the training part, and of the others, what is rather tested on first.
const TRAIN: &str = "train";
const OTHERS: [&str; 4] = ["test", "validation", "valid", "val"];
/// The columns that hold images, and those that hold labels, in order of preference.
const IMAGES: [&str; 4] = ["image.bytes", "img.bytes", "image", "img"];
const LABELS: [&str; 3] = ["label", "fine_label", "coarse_label"];
/// Most rows of a half, and most classes that numbers alone may ask for.
const MOST_ROWS: usize = 1 << 26;
const MOST_CLASSES: i64 = 1 << 20;
/// Rows of labels that are read at once.
const BATCH: usize = 1 << 13;

/// Whether a folder, or `data/` in it, holds training shards.
pub fn recognises(path: &Path) -> bool {
    WITHIN.iter().any(|within| shards_of(&path.join(within), TRAIN).is_ok_and(|shards| !shards.is_empty()))
}

/// The shards of a half, sorted by name.
fn shards_of(folder: &Path, half: &str) -> Result<Vec<PathBuf>> {
    let mut found = files::list(folder)?;
    found.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let rest = name.strip_suffix(".parquet").and_then(|stem| stem.strip_prefix(half));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_', '.']))
    });
    found.sort();
    Ok(found)
}

/// Opens the set.
///
/// # Errors
/// Where a half is missing, a shard is damaged or lacks a column, or a label has no class.
pub fn open(path: &Path, request: &Request) -> Result<Splits> {
    let folder = WITHIN
        .map(|within| path.join(within))
        .into_iter()
        .find(|folder| shards_of(folder, TRAIN).is_ok_and(|shards| !shards.is_empty()));
    let folder = folder.unwrap_or_else(|| path.to_owned());
    let shown = folder.display();
    let train = Half::read(&shards_of(&folder, TRAIN)?)?;
    // Test images without labels are none; of two other parts with labels, the second is to choose by.
    let (mut unlabelled, mut others) = (None, Vec::new());
    for half in OTHERS {
        let shards = shards_of(&folder, half)?;
        if shards.is_empty() {
            continue;
        }
        let read = Half::read(&shards)?;
        match read.is_unlabelled() {
            true => unlabelled = unlabelled.or(Some(read)),
            false => others.push(read),
        }
    }
    let mut others = others.into_iter().chain(unlabelled);
    let (test, validation) = (others.next(), others.next().filter(|half| !half.is_unlabelled()));
    let Some(test) = test else {
        let looked_for = OTHERS.map(|half| format!("{half}-*.parquet")).join(", ");
        return Err(Error::Data(format!("{shown}: has train-*.parquet, but none of {looked_for} beside it")));
    };
    let parts: Vec<&Half> = [&train, &test].into_iter().chain(&validation).collect();
    let classes = classes_of(&parts)?;
    let open = |half: Half, name: &str| -> Result<Arc<dyn Dataset>> {
        Ok(Arc::new(half.open(format!("{shown} ({name})"), &classes, request)?))
    };
    let (train, test) = (open(train, TRAIN)?, open(test, "test")?);
    alike(train, test, validation.map(|half| open(half, "validation")).transpose()?)
}

/// The names of the classes, or numbers up to the largest.
fn classes_of(parts: &[&Half]) -> Result<Vec<String>> {
    let shards = || parts.iter().flat_map(|part| &part.shards);
    if let Some(names) = shards().find_map(|shard| shard.classes.clone()) {
        let strange = |shard: &&Shard| shard.classes.as_ref().is_some_and(|others| *others != names);
        return match shards().find(strange) {
            None => Ok(names),
            Some(shard) => {
                let (shown, first) = (shard.path.display(), parts[0].shards[0].path.display());
                Err(Error::Data(format!("{shown}: names other classes than {first}; classes must agree")))
            }
        };
    }
    let most = parts.iter().flat_map(|part| &part.labels).copied().max().unwrap_or(0);
    match most {
        0..MOST_CLASSES => Ok(numbered(most as usize + 1)),
        _ => {
            let shown = parts[0].shards[0].path.display();
            Err(Error::Data(format!(
                "{shown}: the largest label is {most}, expected 0 to {}",
                MOST_CLASSES - 1
            )))
        }
    }
}

/// The shards of a half, and the labels of all of their rows.
struct Half {
    shards: Vec<Shard>,
    labels: Vec<i64>,
}

impl Half {
    fn read(paths: &[PathBuf]) -> Result<Self> {
        let mut half = Self { shards: Vec::new(), labels: Vec::new() };
        for path in paths {
            let shard = guarded(path, || Shard::open(path))?;
            for group in 0..shard.groups.len() {
                guarded(path, || shard.labels(group, &mut half.labels))?;
            }
            half.shards.push(shard);
        }
        Ok(half)
    }

    /// Whether there are rows, and none has a label.
    fn is_unlabelled(&self) -> bool {
        !self.labels.is_empty() && self.labels.iter().all(|&label| label == -1)
    }

    fn open(self, name: String, classes: &[String], request: &Request) -> Result<Encoded> {
        let rows = Rows::of(self.shards, request.memory);
        if let Some(row) = self.labels.iter().position(|&label| !(0..classes.len() as i64).contains(&label)) {
            let (shown, label, count) = (rows.shown(row), self.labels[row], classes.len());
            return Err(Error::Data(format!("{shown}: label {label}, expected from 0 to below {count}")));
        }
        let labels = self.labels.into_iter().map(|label| label as u32).collect();
        Encoded::new(name, classes.to_vec(), labels, Box::new(rows), request, 0)
    }
}

/// One file.
struct Shard {
    path: PathBuf,
    groups: Vec<RowGroupMetaData>,
    /// The leaf columns.
    image: usize,
    label: usize,
    /// The names of the classes, where it has them.
    classes: Option<Vec<String>>,
}

impl Shard {
    fn open(path: &Path) -> Result<Self> {
        let file = open_file(path)?;
        let reader = SerializedFileReader::new(file).map_err(|error| damaged(path, &error))?;
        let metadata = reader.metadata();
        let schema = metadata.file_metadata().schema_descr();
        let find = |names: &[&'static str]| {
            let leaf =
                |name: &&str| schema.columns().iter().position(|column| column.path().string() == **name);
            names.iter().find_map(|name| Some((leaf(name)?, *name)))
        };
        let lacks = |what: &str, names: &str| {
            let came: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
            let (shown, came) = (path.display(), brief(&came.join(", ")));
            Error::Data(format!("{shown}: has no column of {what}, expected {names}; its columns are {came}"))
        };
        let (image, _) =
            find(&IMAGES).ok_or_else(|| lacks("images", "image or img, each with bytes within"))?;
        let (label, column) = find(&LABELS).ok_or_else(|| lacks("labels", &LABELS.join(", ")))?;
        let classes = names_in(path, metadata, column)?;
        Ok(Self { path: path.to_owned(), groups: metadata.row_groups().to_vec(), image, label, classes })
    }

    /// A reader of a column of a row group, through a file handle of its own: threads share no position.
    fn column(&self, group: usize, column: usize) -> Result<ColumnReader> {
        let file = Arc::new(open_file(&self.path)?);
        let properties = Arc::new(ReaderProperties::builder().build());
        let metadata = &self.groups[group];
        SerializedRowGroupReader::new(file, metadata, RowGroupPageIndex::new(group, None), properties)
            .and_then(|group| group.get_column_reader(column))
            .map_err(|error| damaged(&self.path, &error))
    }

    fn rows(&self, group: usize) -> usize {
        usize::try_from(self.groups[group].num_rows()).unwrap_or(0)
    }

    /// Appends the labels of a row group.
    fn labels(&self, group: usize, labels: &mut Vec<i64>) -> Result<()> {
        let bad =
            |what: String| Err(Error::Data(format!("{}: row group {group}: {what}", self.path.display())));
        let mut reader = self.column(group, self.label)?;
        let full = self.groups[group].column(self.label).column_descr().max_def_level();
        let begin = labels.len();
        loop {
            let (mut levels, mut longs, mut ints) = (Vec::new(), Vec::new(), Vec::new());
            let read = match &mut reader {
                ColumnReader::Int64ColumnReader(reader) => {
                    reader.read_records(BATCH, Some(&mut levels), None, &mut longs)
                }
                ColumnReader::Int32ColumnReader(reader) => {
                    reader.read_records(BATCH, Some(&mut levels), None, &mut ints)
                }
                _ => return bad("labels are no whole numbers".to_owned()),
            };
            let (records, _, _) = read.map_err(|error| damaged(&self.path, &error))?;
            if let Some(row) = levels.iter().position(|&level| level < full) {
                return bad(format!("row {} has no label", labels.len() - begin + row));
            }
            labels.extend(longs.into_iter().chain(ints.into_iter().map(i64::from)));
            if labels.len() > MOST_ROWS {
                return bad(format!("over {MOST_ROWS} rows, too many for a set of images"));
            }
            if records == 0 {
                break;
            }
        }
        match (labels.len() - begin, self.rows(group)) {
            (came, expected) if came == expected => Ok(()),
            (came, expected) => bad(format!("{came} labels, expected {expected} as rows")),
        }
    }

    /// `count` images of a row group from the row `first` on.
    fn images(&self, group: usize, first: usize, count: usize) -> Result<Vec<ByteArray>> {
        let fail = |error: ParquetError| damaged(&self.path, &error);
        let bad =
            |what: &str| Err(Error::Data(format!("{}: row group {group}: {what}", self.path.display())));
        let ColumnReader::ByteArrayColumnReader(mut reader) = self.column(group, self.image)? else {
            return bad("images are no bytes");
        };
        if reader.skip_records(first).map_err(fail)? != first {
            return bad("ends before its last row; fetch the file again");
        }
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        while values.len() < count {
            let wanted = count - values.len();
            let (records, came, _) =
                reader.read_records(wanted, Some(&mut levels), None, &mut values).map_err(fail)?;
            if came < records {
                return bad("a row has no image bytes; sets of paths alone cannot be read");
            }
            if records == 0 {
                return bad("ends before its last row; fetch the file again");
            }
        }
        Ok(values)
    }
}

fn open_file(path: &Path) -> Result<File> {
    File::open(path).map_err(|source| Error::Io { path: path.to_owned(), action: "open", source })
}

fn damaged(path: &Path, error: &ParquetError) -> Error {
    let what = brief(&error.to_string().replace(['\n', '\r'], " "));
    Error::Data(format!("{}: damaged parquet file ({what}); fetch the file again", path.display()))
}

/// What `read` makes of a file. The parquet crate panics on some damage, which is told as any other.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let shown = path.display();
        Err(Error::Data(format!(
            "{shown}: damaged parquet file (no reader can follow it); fetch the file again"
        )))
    })
}

/// The names of the classes in the metadata that `datasets` writes.
fn names_in(path: &Path, metadata: &ParquetMetaData, column: &str) -> Result<Option<Vec<String>>> {
    let pairs = metadata.file_metadata().key_value_metadata();
    let text = pairs.into_iter().flatten().find(|pair| pair.key == "huggingface");
    let Some(text) = text.and_then(|pair| pair.value.as_ref()) else { return Ok(None) };
    let bad = |what: String| Error::Data(format!("{}: metadata `huggingface`: {what}", path.display()));
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| bad(format!("is no JSON ({error})")))?;
    let Some(names) = value.pointer(&format!("/info/features/{column}/names")) else { return Ok(None) };
    let names: Vec<String> = serde_json::from_value(names.clone())
        .map_err(|_| bad(format!("names of {column} are no list of texts")))?;
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(bad(format!("names class {:?} twice", brief(pair[0])))),
        None if names.is_empty() => Ok(None),
        None => Ok(Some(names)),
    }
}

/// The rows of a half's shards.
struct Rows {
    shards: Vec<Shard>,
    /// First row, shard and row group, by row.
    starts: Vec<(usize, usize, usize)>,
    /// The images of each row group, or no place at all where they are not kept.
    kept: Vec<OnceLock<Vec<ByteArray>>>,
}

impl Rows {
    fn of(shards: Vec<Shard>, memory: usize) -> Self {
        let (mut starts, mut row, mut size) = (Vec::new(), 0, 0usize);
        for (place, shard) in shards.iter().enumerate() {
            for (group, metadata) in shard.groups.iter().enumerate() {
                let bytes = usize::try_from(metadata.column(shard.image).uncompressed_size());
                size = size.saturating_add(bytes.unwrap_or(usize::MAX));
                if shard.rows(group) > 0 {
                    starts.push((row, place, group));
                    row += shard.rows(group);
                }
            }
        }
        let kept = if size <= memory { starts.iter().map(|_| OnceLock::new()).collect() } else { Vec::new() };
        Self { shards, starts, kept }
    }

    /// The place among the starts of the row group that a row is in.
    fn group(&self, row: usize) -> usize {
        self.starts.partition_point(|(first, _, _)| *first <= row) - 1
    }
}

impl Source for Rows {
    fn bytes(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        let place = self.group(index);
        let (first, shard, group) = self.starts[place];
        let shard = &self.shards[shard];
        let Some(kept) = self.kept.get(place) else {
            let image = guarded(&shard.path, || shard.images(group, index - first, 1))?;
            return Ok(Cow::Owned(image[0].data().to_vec()));
        };
        let images = match kept.get() {
            Some(images) => images,
            None => {
                let images = guarded(&shard.path, || shard.images(group, 0, shard.rows(group)))?;
                // Another thread may have been faster; its images are the same.
                kept.get_or_init(|| images)
            }
        };
        Ok(Cow::Borrowed(images[index - first].data()))
    }

    fn shown(&self, index: usize) -> String {
        let (_, shard, _) = self.starts[self.group(index)];
        let begin =
            self.starts.iter().find(|(_, other, _)| *other == shard).map_or(0, |(first, _, _)| *first);
        format!("{}: row {}", self.shards[shard].path.display(), index - begin)
    }
}
