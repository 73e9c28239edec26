//! IDX files, as MNIST and Fashion-MNIST come in: unsigned bytes behind a big-endian header.
//!
//! ```text
//! 00 00 08 rank   dimension 0 (u32) … dimension rank−1 (u32)   product-of-dimensions bytes
//! ```
//! 08 stands for unsigned bytes. Images have rank 3 (count, height, width), labels rank 1 (count).
//! Either may be gzipped, its name then ending in `.gz`. A `classes.txt` beside them names the
//! classes, one a line; without it they are the ten digits.
//!
//! Source: <http://yann.lecun.com/exdb/mnist/>, "the IDX file format".

use super::{Dataset, ImageShape, Memory, Splits};
use crate::error::{Error, Result};
use crate::files;
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The four files of a set, each plain or with `.gz` behind its name: the training images and labels,
/// then the test images and labels.
pub const NAMES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// The file beside them that names the classes.
pub const CLASSES: &str = "classes.txt";

/// No set of this layout is near it; a header that asks for more is damaged or an attack.
const MOST_BYTES: u64 = 1 << 32;

/// The contents of one IDX file of unsigned bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    /// Its dimensions, as many as its rank; their product is the number of bytes.
    pub dims: Vec<usize>,
    /// The bytes, the last dimension running fastest.
    pub bytes: Vec<u8>,
}

/// Whether a folder holds any of the [`NAMES`].
pub fn recognises(folder: &Path) -> bool {
    NAMES.iter().any(|name| locate(folder, name).is_some())
}

/// Opens the set in a folder that holds all four files.
///
/// # Errors
/// Where a file is missing or damaged, or they do not fit together.
pub fn open(folder: &Path) -> Result<Splits> {
    let found = NAMES.map(|name| locate(folder, name));
    let [Some(train_images), Some(train_labels), Some(test_images), Some(test_labels)] = &found else {
        let missing: Vec<&str> =
            NAMES.iter().zip(&found).filter(|(_, path)| path.is_none()).map(|(name, _)| *name).collect();
        let (shown, missing) = (folder.display(), missing.join(", "));
        return Err(Error::Data(format!("{shown}: {missing} (plain or .gz) missing beside the other files")));
    };
    let classes = Classes::of(folder)?;
    let train = split(format!("{} (train)", folder.display()), train_images, train_labels, &classes)?;
    let test = split(format!("{} (test)", folder.display()), test_images, test_labels, &classes)?;
    if train.image_shape() != test.image_shape() {
        let (shown, expected, came) = (test_images.display(), train.image_shape(), test.image_shape());
        return Err(Error::Data(format!("{shown}: images are {came}, expected {expected} as in training")));
    }
    Ok(Splits { train: Arc::new(train), test: Arc::new(test), validation: None })
}

/// Reads one IDX file of unsigned bytes of the given rank; gzipped where its name ends in `.gz`.
///
/// # Errors
/// Where it cannot be read, is not such a file, or is shorter or longer than its header says.
pub fn read(path: &Path, rank: usize) -> Result<Array> {
    let fail = |source| Error::Io { path: path.to_owned(), action: "read", source };
    let mut file = BufReader::new(File::open(path).map_err(fail)?);
    if path.extension().is_none_or(|extension| extension != "gz") {
        return parse(path, rank, &mut file, &fail);
    }
    let start = file.fill_buf().map_err(fail)?;
    if !start.starts_with(&[0x1f, 0x8b]) {
        let came = hex(&start[..start.len().min(2)]);
        let shown = path.display();
        return Err(Error::Data(format!(
            "{shown}: begins with {came}, expected 1f 8b (gzip data); if it is plain, drop .gz from its name"
        )));
    }
    let damaged = |error| {
        Error::Data(format!("{}: damaged or cut gzip data ({error}); fetch the file again", path.display()))
    };
    parse(path, rank, &mut MultiGzDecoder::new(file), &damaged)
}

/// Reads header and body from `input` and makes sure that nothing follows.
fn parse(
    path: &Path,
    rank: usize,
    input: &mut impl Read,
    on_failure: &dyn Fn(std::io::Error) -> Error,
) -> Result<Array> {
    let bad = |what: String| Error::Data(format!("{}: {what}", path.display()));
    let mut read_up_to = |limit: u64| {
        // The buffer grows with what arrives, so a header cannot make it large by itself.
        let mut bytes = Vec::new();
        input.take(limit).read_to_end(&mut bytes).map(|_| bytes).map_err(on_failure)
    };
    let header = read_up_to(4 + 4 * rank as u64)?;
    let dims = dimensions(&header, rank).map_err(bad)?;
    let expected = body_size(&dims).map_err(bad)?;
    let bytes = read_up_to(expected + 1)?;
    let came = bytes.len() as u64;
    if came < expected {
        return Err(bad(format!("{came} bytes after the header, expected {expected} ({})", times(&dims))));
    }
    if came > expected {
        return Err(bad(format!(
            "bytes trail after the {expected} that the header asks for ({})",
            times(&dims)
        )));
    }
    Ok(Array { dims, bytes })
}

/// The dimensions in a header, or what is wrong with it.
fn dimensions(header: &[u8], rank: usize) -> Result<Vec<usize>, String> {
    let magic = [0, 0, 8, rank as u8];
    let expected = || format!("expected {} (IDX, unsigned bytes, rank {rank})", hex(&magic));
    if header.len() < 4 {
        return Err(format!("{} bytes long, {}", header.len(), expected()));
    }
    if header[..4] != magic {
        let hint =
            if header.starts_with(&[0x1f, 0x8b]) { "; it is gzip data: add .gz to its name" } else { "" };
        return Err(format!("begins with {}, {}{hint}", hex(&header[..4]), expected()));
    }
    if header.len() < 4 + 4 * rank {
        return Err(format!("header ends after {} bytes, expected {}", header.len(), 4 + 4 * rank));
    }
    let dims = header[4..].chunks_exact(4).map(|d| u32::from_be_bytes([d[0], d[1], d[2], d[3]]) as usize);
    Ok(dims.collect())
}

/// How many bytes dimensions ask for, or why that cannot be.
fn body_size(dims: &[usize]) -> Result<u64, String> {
    if dims.contains(&0) {
        return Err(format!("holds no samples (dimensions {})", times(dims)));
    }
    let size = dims.iter().try_fold(1u64, |size, &dim| size.checked_mul(dim as u64));
    size.filter(|&size| size <= MOST_BYTES)
        .ok_or_else(|| format!("dimensions {} ask for more than 4 GiB; the header is damaged", times(dims)))
}

/// One split: images and labels, and the classes that the labels mean.
fn split(name: String, images: &Path, labels: &Path, classes: &Classes) -> Result<Memory> {
    let pixels = read(images, 3)?;
    let marks = read(labels, 1)?;
    if pixels.dims[0] != marks.dims[0] {
        let (shown, came, expected) = (labels.display(), marks.dims[0], pixels.dims[0]);
        let beside = images.display();
        return Err(Error::Data(format!(
            "{shown}: {came} labels, expected {expected} as images in {beside}"
        )));
    }
    let count = classes.names.len();
    if let Some(index) = marks.bytes.iter().position(|&label| usize::from(label) >= count) {
        let (shown, label, source) = (labels.display(), marks.bytes[index], classes.source);
        return Err(Error::Data(format!(
            "{shown}: label {label} at index {index}, expected below {count} ({source})"
        )));
    }
    let shape = ImageShape { channels: 1, height: pixels.dims[1], width: pixels.dims[2] };
    let labels = marks.bytes.into_iter().map(usize::from).collect();
    Memory::new(name, classes.names.clone(), shape, pixels.bytes, labels)
}

/// The names of the classes, and where they came from (for errors).
struct Classes {
    names: Vec<String>,
    source: &'static str,
}

impl Classes {
    /// From `classes.txt` where there is one; else the ten digits.
    fn of(folder: &Path) -> Result<Self> {
        let path = folder.join(CLASSES);
        if !path.exists() {
            let names = (0..10).map(|digit: usize| digit.to_string()).collect();
            return Ok(Self {
                names,
                source: "the ten digits; name other classes in classes.txt, one a line",
            });
        }
        let bad = |what: String| Err(Error::Data(format!("{}: {what}", path.display())));
        let text = files::read_text(&path)?;
        let names: Vec<String> = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
        if names.is_empty() {
            return bad("names no classes, expected one a line".to_owned());
        }
        for (line, name) in names.iter().enumerate() {
            if name.is_empty() {
                return bad(format!("line {} is empty, expected the name of class {line}", line + 1));
            }
            if let Some(first) = names[..line].iter().position(|earlier| earlier == name) {
                return bad(format!("line {} repeats {name:?} from line {}", line + 1, first + 1));
            }
        }
        Ok(Self { names, source: "the classes in classes.txt" })
    }
}

/// Where a file of that name is in the folder, plain before gzipped.
fn locate(folder: &Path, name: &str) -> Option<PathBuf> {
    [folder.join(name), folder.join(format!("{name}.gz"))].into_iter().find(|path| path.is_file())
}

/// `1f 8b`.
fn hex(bytes: &[u8]) -> String {
    match bytes {
        [] => "nothing".to_owned(),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "),
    }
}

/// `60000x28x28`.
fn times(dims: &[usize]) -> String {
    dims.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}
