//! CIFAR-10 and CIFAR-100 in the files that they are published as: 32 by 32 pixels of red, green and blue.
//!
//! ```text
//! cifar-10-batches-bin/   data_batch_1.bin … data_batch_5.bin   test_batch.bin   batches.meta.txt
//! cifar-10-batches-py/    data_batch_1 … data_batch_5           test_batch       batches.meta
//! cifar-100-binary/       train.bin   test.bin   coarse_label_names.txt   fine_label_names.txt
//! cifar-100-python/       train       test       meta
//! ```
//! The first and third hold records (`records.rs`), the others are Python's pickles (`pickled.rs`). They may lie in
//! a folder or still be in their archive, which is then read as it is. A sample's id is its place in the published
//! order, batch after batch.
//!
//! Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
//! <https://www.cs.toronto.edu/~kriz/cifar.html>.

mod archive;
mod pickled;
mod records;
mod source;

use super::{Dataset, ImageShape, Memory, Splits};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use source::{MOST_BYTES, Source};
use std::path::Path;
use std::sync::Arc;

/// Pixels a side.
const SIDE: usize = 32;
/// Samples of one colour in an image.
const PLANE: usize = SIDE * SIDE;
/// Samples of an image.
const SAMPLES: usize = 3 * PLANE;
/// How many times as many images are to train with as to test with.
const TRAINING: usize = 5;

/// Which labels of CIFAR-100; CIFAR-10 has fine ones alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Labels {
    /// The 10 or 100 classes.
    #[default]
    Fine,
    /// The 20 groups of five classes of CIFAR-100.
    Coarse,
}

/// Labels as a file holds them, one an image.
#[derive(Debug)]
struct Column {
    labels: Labels,
    /// What one of them is called in errors.
    word: &'static str,
    classes: usize,
    /// Under what a pickle keeps them, and the classes' names.
    key: &'static str,
    names_key: &'static str,
}

/// How a file says what it says.
#[derive(Debug)]
enum Coding {
    Binary,
    Python,
}

/// A form in which a set is published.
#[derive(Debug)]
struct Form {
    set: &'static str,
    coding: Coding,
    /// The folder that its files are in, and the archive that this folder is in, without its ending.
    folder: &'static str,
    archive: &'static str,
    train: &'static [&'static str],
    test: &'static str,
    /// Where the classes are named: one file a column, or one for all.
    names: &'static [&'static str],
    /// In the order of a record.
    columns: &'static [Column],
}

impl Form {
    fn files(&self) -> impl Iterator<Item = &'static str> {
        let (train, names) = (self.train.iter(), self.names.iter());
        train.chain([&self.test]).chain(names).copied()
    }
}

const CIFAR_10: &[Column] =
    &[Column { labels: Labels::Fine, word: "label", classes: 10, key: "labels", names_key: "label_names" }];

const CIFAR_100: &[Column] = &[
    Column {
        labels: Labels::Coarse,
        word: "coarse label",
        classes: 20,
        key: "coarse_labels",
        names_key: "coarse_label_names",
    },
    Column {
        labels: Labels::Fine,
        word: "fine label",
        classes: 100,
        key: "fine_labels",
        names_key: "fine_label_names",
    },
];

/// The forms, the quicker to read of a set first.
static FORMS: [Form; 4] = [
    Form {
        set: "CIFAR-10",
        coding: Coding::Binary,
        folder: "cifar-10-batches-bin",
        archive: "cifar-10-binary",
        train: &[
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
        ],
        test: "test_batch.bin",
        names: &["batches.meta.txt"],
        columns: CIFAR_10,
    },
    Form {
        set: "CIFAR-10",
        coding: Coding::Python,
        folder: "cifar-10-batches-py",
        archive: "cifar-10-python",
        train: &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
        test: "test_batch",
        names: &["batches.meta"],
        columns: CIFAR_10,
    },
    Form {
        set: "CIFAR-100",
        coding: Coding::Binary,
        folder: "cifar-100-binary",
        archive: "cifar-100-binary",
        train: &["train.bin"],
        test: "test.bin",
        names: &["coarse_label_names.txt", "fine_label_names.txt"],
        columns: CIFAR_100,
    },
    Form {
        set: "CIFAR-100",
        coding: Coding::Python,
        folder: "cifar-100-python",
        archive: "cifar-100-python",
        train: &["train"],
        test: "test",
        names: &["meta"],
        columns: CIFAR_100,
    },
];

/// Whether a path leads to one of the sets: an archive, the folder with the files, or a folder with either in it.
/// Goes by names, in an archive by those of its first members.
pub fn recognises(path: &Path) -> bool {
    source::is_near(path)
}

/// Opens the set that a path leads to, with the labels that are wanted.
///
/// # Errors
/// Where there is none or more than one, it has no such labels, or a file is missing or damaged.
pub fn open(path: &Path, labels: Labels) -> Result<Splits> {
    let mut source = Source::find(path)?;
    let form = source.form();
    let shown = path.display();
    let Some(column) = form.columns.iter().position(|column| column.labels == labels) else {
        let set = form.set;
        return Err(Error::Data(format!(
            "{shown}: is {set}, which has no coarse labels, expected CIFAR-100"
        )));
    };
    let classes = class_names(&mut source, column)?;
    let test = samples(&mut source, form.test)?;
    let count = test.count();
    // A file that ends between two records, or another's file, shows in nothing but its count.
    let each = count * TRAINING / form.train.len();
    let room = (each * form.train.len()).min(MOST_BYTES as usize / SAMPLES);
    let mut train = Samples::new(form.columns.len(), room);
    for name in form.train {
        let more = samples(&mut source, name)?;
        if more.count() != each {
            let (came, beside) = (more.count(), source.shown(form.test));
            let what = format!("{came} images, expected {each} beside the {count} in {beside}");
            return Err(source.bad(name, &what));
        }
        train.append(more);
    }
    let shape = ImageShape { channels: 3, height: SIDE, width: SIDE };
    let set = |half: &str, mut samples: Samples| -> Result<Arc<dyn Dataset>> {
        let labels = samples.labels.swap_remove(column);
        let name = format!("{shown} ({half})");
        Ok(Arc::new(Memory::new(name, classes.clone(), shape, samples.pixels, labels)?))
    };
    Ok(Splits { train: set("train", train)?, test: set("test", test)?, validation: None })
}

/// What the files of one half hold.
#[derive(Debug)]
struct Samples {
    /// Image after image, the channels of a pixel together.
    pixels: Vec<u8>,
    /// Those of each column.
    labels: Vec<Vec<usize>>,
}

impl Samples {
    /// None yet, and room for `count`.
    fn new(columns: usize, count: usize) -> Self {
        let labels = (0..columns).map(|_| Vec::with_capacity(count)).collect();
        Self { pixels: Vec::with_capacity(count * SAMPLES), labels }
    }

    fn count(&self) -> usize {
        self.pixels.len() / SAMPLES
    }

    /// Adds an image that lies in planes: all of red, then green, then blue.
    fn push(&mut self, planes: &[u8]) {
        let start = self.pixels.len();
        self.pixels.resize(start + SAMPLES, 0);
        let (red, rest) = planes.split_at(PLANE);
        let (green, blue) = rest.split_at(PLANE);
        let pixels = self.pixels[start..].as_chunks_mut::<3>().0.iter_mut();
        for (pixel, ((&red, &green), &blue)) in pixels.zip(red.iter().zip(green).zip(blue)) {
            *pixel = [red, green, blue];
        }
    }

    fn append(&mut self, mut more: Self) {
        self.pixels.append(&mut more.pixels);
        for (labels, more) in self.labels.iter_mut().zip(&mut more.labels) {
            labels.append(more);
        }
    }
}

/// The images and labels of a file, every label with a class.
fn samples(source: &mut Source, name: &str) -> Result<Samples> {
    let form = source.form();
    let bytes = source.take(name)?;
    let read = match form.coding {
        Coding::Binary => records::samples(&bytes, form.columns),
        Coding::Python => pickled::samples(&bytes, form.columns),
    };
    let samples = read.map_err(|what| source.bad(name, &what))?;
    for (Column { word, classes, .. }, labels) in form.columns.iter().zip(&samples.labels) {
        if let Some(index) = labels.iter().position(|label| label >= classes) {
            let label = labels[index];
            return Err(
                source.bad(name, &format!("{word} {label} at index {index}, expected below {classes}"))
            );
        }
    }
    Ok(samples)
}

/// The names of a column's classes: as many as there must be, and each its own.
fn class_names(source: &mut Source, column: usize) -> Result<Vec<String>> {
    let form = source.form();
    let Column { classes, names_key, .. } = form.columns[column];
    let (name, names) = match form.coding {
        Coding::Binary => {
            let name = form.names[column];
            (name, records::names(&source.take(name)?))
        }
        Coding::Python => {
            let name = form.names[0];
            (name, pickled::names(&source.take(name)?, names_key))
        }
    };
    let names = names.map_err(|what| source.bad(name, &what))?;
    if names.len() != classes {
        let what = format!("names {} classes, expected {classes}", names.len());
        return Err(source.bad(name, &what));
    }
    for (class, this) in names.iter().enumerate() {
        if this.is_empty() {
            return Err(source.bad(name, &format!("class {class} has no name, expected one each")));
        }
        if let Some(first) = names[..class].iter().position(|earlier| earlier == this) {
            let what = format!("class {class} is called {this:?}, expected another name than class {first}");
            return Err(source.bad(name, &what));
        }
    }
    Ok(names)
}
