//! Safetensors files that are read and written by parts: images in, features out, however many there are.
//!
//! ```text
//! header length (u64, little-endian)   header (JSON: name → type, shape, place)   numbers
//! ```
//! All shapes are known before the first number, so the header is written first and each part at its place.

use crate::error::{Error, Result};
use crate::files::Pending;
use crate::models::weights::Float;
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Longest header that is read; the format's own limit.
const MOST_HEADER: u64 = 100_000_000;
/// The tensor that holds the images.
const IMAGES: &str = "images";

/// Normalised images (N, C, H, W) in a file, read by batches.
#[derive(Debug)]
pub struct ImageTensors {
    path: PathBuf,
    file: File,
    start: u64,
    float: Float,
    shape: [usize; 4],
}

impl ImageTensors {
    /// Finds `images` in a safetensors file.
    ///
    /// # Errors
    /// Where the file cannot be read, is no whole safetensors file, or has no such images.
    pub fn open(path: &Path) -> Result<Self> {
        let bad = |what: String| Error::Data(format!("{}: {what}", path.display()));
        let fail = |source| Error::Io { path: path.to_owned(), action: "read", source };
        let mut file = File::open(path).map_err(fail)?;
        let length = file.metadata().map_err(fail)?.len();
        let header =
            read_header(&mut file, length).map_err(|what| bad(format!("no safetensors file: {what}")))?;
        let info = header.1.info(IMAGES).ok_or_else(|| {
            let mut names: Vec<String> = header.1.tensors().into_keys().collect();
            names.sort();
            names.truncate(8);
            bad(format!("has no tensor `{IMAGES}`, but {}", names.join(", ")))
        })?;
        let Some(float) = Float::of(info.dtype).filter(|float| float.size() <= 4) else {
            return Err(bad(format!("`{IMAGES}` has type {:?}, expected F32, F16 or BF16", info.dtype)));
        };
        let shape: [usize; 4] = info.shape.as_slice().try_into().map_err(|_| {
            bad(format!("`{IMAGES}` has shape {:?}, expected (images, channels, height, width)", info.shape))
        })?;
        if shape.contains(&0) {
            return Err(bad(format!("`{IMAGES}` has shape {shape:?}: no images")));
        }
        let end = header.0 + info.data_offsets.1 as u64;
        if end > length {
            return Err(bad(format!("cut short: {length} bytes, `{IMAGES}` ends at {end}")));
        }
        let start = header.0 + info.data_offsets.0 as u64;
        Ok(Self { path: path.to_owned(), file, start, float, shape })
    }

    /// (N, C, H, W)
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// The numbers of some images.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn read(&mut self, images: Range<usize>) -> Result<Vec<f32>> {
        let image = self.shape[1..].iter().product::<usize>() * self.float.size();
        let mut bytes = vec![0; images.len() * image];
        let place = self.start + images.start as u64 * image as u64;
        let done = self.file.seek(SeekFrom::Start(place)).and_then(|_| self.file.read_exact(&mut bytes));
        done.map_err(|source| Error::Io { path: self.path.clone(), action: "read", source })?;
        Ok(self.float.decode(&bytes))
    }
}

/// Where the numbers begin, and what they are.
fn read_header(file: &mut File, length: u64) -> Result<(u64, Metadata), String> {
    let mut size = [0; 8];
    file.read_exact(&mut size).map_err(|error| error.to_string())?;
    let size = u64::from_le_bytes(size);
    if size > MOST_HEADER || size > length.saturating_sub(8) {
        return Err(format!("its header is to be {size} bytes long, the file is {length}"));
    }
    let mut text = Vec::new();
    file.take(size).read_to_end(&mut text).map_err(|error| error.to_string())?;
    let header: Metadata = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    Ok((8 + size, header))
}

/// A tensor that is written by rows: its name, and the shape of a row.
#[derive(Debug, Clone)]
pub struct RowTensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl RowTensor {
    /// Of f32.
    pub fn floats(name: &str, shape: &[usize]) -> Self {
        Self { name: name.to_owned(), dtype: Dtype::F32, shape: shape.to_vec() }
    }

    /// Of one 64-bit integer a row.
    pub fn integers(name: &str) -> Self {
        Self { name: name.to_owned(), dtype: Dtype::I64, shape: Vec::new() }
    }

    /// Bytes of a row.
    fn bytes(&self) -> usize {
        self.dtype.bitsize() / 8 * self.shape.iter().product::<usize>()
    }
}

/// Tensors that are written by rows.
#[derive(Debug)]
pub struct TensorRows {
    file: Pending,
    /// Where each tensor begins, and bytes of one of its rows.
    places: Vec<(u64, usize)>,
}

impl TensorRows {
    /// Begins a file of tensors of so many rows, with metadata.
    ///
    /// # Errors
    /// Where the file is there already or cannot be written.
    pub fn create(
        path: &Path,
        rows: usize,
        tensors: &[RowTensor],
        metadata: &[(&str, String)],
    ) -> Result<Self> {
        let mut header = serde_json::Map::new();
        let info: serde_json::Map<_, _> =
            metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone().into())).collect();
        header.insert("__metadata__".to_owned(), info.into());
        let (mut end, mut places) = (0u64, Vec::new());
        for tensor in tensors {
            let start = end;
            end += (rows * tensor.bytes()) as u64;
            let (shape, dtype) = ([&[rows], tensor.shape.as_slice()].concat(), tensor.dtype);
            header.insert(
                tensor.name.clone(),
                serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] }),
            );
            places.push((start, tensor.bytes()));
        }
        let mut text = serde_json::Value::Object(header).to_string();
        text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
        if text.len() as u64 > MOST_HEADER {
            return Err(Error::Run(format!(
                "{}: names of so many images fill the header; split the images over several files",
                path.display()
            )));
        }
        let mut file = Pending::create(path)?;
        file.write_at(0, &(text.len() as u64).to_le_bytes())?;
        file.write_at(8, text.as_bytes())?;
        let base = 8 + text.len() as u64;
        places.iter_mut().for_each(|(start, _)| *start += base);
        Ok(Self { file, places })
    }

    /// Writes rows of one tensor of floats, from row `first` on.
    ///
    /// # Errors
    /// Where that fails.
    pub fn put(&mut self, tensor: usize, first: usize, values: &[f32]) -> Result<()> {
        self.put_bytes(tensor, first, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// Writes rows of one tensor of integers, from row `first` on.
    ///
    /// # Errors
    /// Where that fails.
    pub fn put_integers(&mut self, tensor: usize, first: usize, values: &[i64]) -> Result<()> {
        self.put_bytes(tensor, first, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn put_bytes(&mut self, tensor: usize, first: usize, bytes: Vec<u8>) -> Result<()> {
        let (start, row) = self.places[tensor];
        self.file.write_at(start + first as u64 * row as u64, &bytes)
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// Where that fails.
    pub fn finish(self) -> Result<()> {
        self.file.finish()
    }
}
