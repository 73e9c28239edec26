//! `cargo xtask fashion-mnist`: draws the small Fashion-MNIST that the repository carries.
//!
//! 600 training and 200 test images of each class, from the official training and test file
//! respectively: the first after a shuffle of the class's images by the stream
//! (seed, "fashion-mnist train" or "fashion-mnist test", class), kept in the order of the file.
//! The files are gzipped IDX with no time in them, so the same seed makes the same bytes again.
//!
//! `hcd` has a reader of such files and such streams too; here are the few lines of either that the drawing
//! needs, because a chore does without Burn. The test of the drawn files is in `crates/hcd/tests`.
//!
//! Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
//! Algorithms", <https://arxiv.org/abs/1708.07747>; <https://github.com/zalandoresearch/fashion-mnist>.

use anyhow::{Context, Result, bail, ensure};
use flate2::read::MultiGzDecoder;
use flate2::{Compression, GzBuilder};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The classes, in the order of their labels.
const CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// The two halves: purpose of the random stream, names of images and labels, images of each class.
const SPLITS: [(&str, [&str; 2], usize); 2] = [
    ("fashion-mnist train", ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"], 600),
    ("fashion-mnist test", ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"], 200),
];

/// Draw the small Fashion-MNIST that the repository carries from the official files.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the four official files (Debian: package dataset-fashion-mnist).
    #[arg(long, default_value = "/usr/share/datasets/fashion-mnist")]
    from: PathBuf,
    /// Folder to write to.
    #[arg(long, default_value = "data/fashion-mnist")]
    out: PathBuf,
    /// Seed of the draw.
    #[arg(long, default_value_t = 2026)]
    seed: u64,
}

/// Reads the official files, draws, and writes.
pub fn run(args: &Args) -> Result<()> {
    fs::create_dir_all(&args.out).with_context(|| format!("{}: cannot create", args.out.display()))?;
    write(&args.out.join("classes.txt"), format!("{}\n", CLASSES.join("\n")).as_bytes())?;
    for (purpose, [images_name, labels_name], a_class) in SPLITS {
        let images = read_idx(&args.from.join(images_name), 3)?;
        let labels = read_idx(&args.from.join(labels_name), 1)?;
        ensure!(
            images.dims[0] == labels.dims[0],
            "{}: {} images in {images_name}, but {} labels in {labels_name}",
            args.from.display(),
            images.dims[0],
            labels.dims[0]
        );
        let drawn = draw(&labels.bytes, purpose, a_class, args.seed)?;
        write_idx(&args.out.join(images_name), &images.only(&drawn))?;
        write_idx(&args.out.join(labels_name), &labels.only(&drawn))?;
    }
    Ok(())
}

/// The indices of `a_class` samples of each class, ascending.
fn draw(labels: &[u8], purpose: &str, a_class: usize, seed: u64) -> Result<Vec<usize>> {
    let mut drawn = Vec::new();
    for (class, name) in CLASSES.iter().enumerate() {
        let mut members: Vec<usize> =
            (0..labels.len()).filter(|&index| usize::from(labels[index]) == class).collect();
        if members.len() < a_class {
            let count = members.len();
            bail!("{purpose}: {count} images of class {class} ({name}), expected at least {a_class}");
        }
        members.shuffle(&mut stream(seed, purpose, class as u64));
        drawn.extend_from_slice(&members[..a_class]);
    }
    drawn.sort_unstable();
    Ok(drawn)
}

/// The random stream of a purpose and an index, as in `hcd::rng`.
fn stream(seed: u64, purpose: &str, index: u64) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(purpose.as_bytes()).update(&[0]);
    hasher.update(&seed.to_le_bytes()).update(&index.to_le_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

/// The contents of one IDX file of unsigned bytes; `hcd::data::idx` describes the layout.
#[derive(Debug, PartialEq)]
struct Array {
    dims: Vec<usize>,
    bytes: Vec<u8>,
}

impl Array {
    /// The entries of the first dimension at `indices`.
    fn only(&self, indices: &[usize]) -> Self {
        let size: usize = self.dims[1..].iter().product();
        let mut dims = self.dims.clone();
        dims[0] = indices.len();
        let bytes = indices.iter().flat_map(|&index| &self.bytes[index * size..][..size]).copied().collect();
        Self { dims, bytes }
    }
}

/// Reads one gzipped IDX file of unsigned bytes of the given rank.
fn read_idx(path: &Path, rank: u8) -> Result<Array> {
    let shown = path.display();
    let zipped = fs::read(path).with_context(|| format!("{shown}: cannot read"))?;
    let mut content = Vec::new();
    MultiGzDecoder::new(zipped.as_slice())
        .read_to_end(&mut content)
        .with_context(|| format!("{shown}: cannot unzip"))?;
    let header = 4 + 4 * usize::from(rank);
    ensure!(
        content.starts_with(&[0, 0, 8, rank]) && content.len() >= header,
        "{shown}: no IDX file of unsigned bytes of rank {rank}"
    );
    let bytes = content.split_off(header);
    let sizes = content[4..].chunks_exact(4);
    let dims: Vec<usize> = sizes.map(|d| u32::from_be_bytes([d[0], d[1], d[2], d[3]]) as usize).collect();
    let expected: usize = dims.iter().product();
    ensure!(bytes.len() == expected, "{shown}: {} bytes after the header, expected {expected}", bytes.len());
    Ok(Array { dims, bytes })
}

/// Writes one gzipped IDX file.
fn write_idx(path: &Path, array: &Array) -> Result<()> {
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(&[0, 0, 8, u8::try_from(array.dims.len())?])?;
    for &dim in &array.dims {
        gzip.write_all(&u32::try_from(dim)?.to_be_bytes())?;
    }
    gzip.write_all(&array.bytes)?;
    write(path, &gzip.finish().context("cannot compress")?)
}

/// Writes a file beside its name, renames it when whole, and says so.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_added_extension("tmp");
    fs::write(&part, bytes)
        .and_then(|()| fs::rename(&part, path))
        .with_context(|| format!("{}: cannot write", path.display()))?;
    println!("{}: {} bytes", path.display(), bytes.len());
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn draws_as_many_of_each_class_in_order_and_by_seed() {
        let labels: Vec<u8> = (0..500u16).map(|index| (index * 7 % 10) as u8).collect();
        let drawn = draw(&labels, "test", 20, 2026).unwrap();
        assert!(drawn.is_sorted());
        for class in 0..10 {
            assert_eq!(drawn.iter().filter(|&&index| labels[index] == class).count(), 20);
        }
        assert_eq!(drawn, draw(&labels, "test", 20, 2026).unwrap());
        assert_ne!(drawn, draw(&labels, "test", 20, 2027).unwrap());
        let error = draw(&labels, "test", 51, 2026).unwrap_err().to_string();
        assert_eq!(error, "test: 50 images of class 0 (T-shirt/top), expected at least 51");
    }

    #[test]
    fn what_it_writes_reads_back_and_is_the_same_bytes_again() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a.gz"), folder.path().join("b.gz"));
        let array = Array { dims: vec![4, 3, 2], bytes: (0..24).collect() };
        for path in [&first, &second] {
            write_idx(path, &array).unwrap();
        }
        assert_eq!(read_idx(&first, 3).unwrap(), array);
        assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());
        assert!(read_idx(&first, 1).is_err());
        let some = Array { dims: vec![2, 3, 2], bytes: vec![6, 7, 8, 9, 10, 11, 18, 19, 20, 21, 22, 23] };
        assert_eq!(array.only(&[1, 3]), some);
    }

    #[test]
    fn the_seed_of_the_repository_draws_what_it_drew() {
        let first = stream(2026, "fashion-mnist train", 0).next_u64();
        assert_eq!(first, 4_219_032_837_978_270_487);
        let labels: Vec<u8> = (0..100).map(|index| index % 10).collect();
        let expected = [0, 21, 25, 44, 56, 77, 79, 82, 83, 98];
        assert_eq!(draw(&labels, "fashion-mnist train", 1, 2026).unwrap(), expected);
    }
}
