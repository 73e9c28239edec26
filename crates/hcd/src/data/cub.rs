//! CUB-200-2011: photos of 200 species of birds, listed in four text files beside a folder of images.
//!
//! ```text
//! images.txt              IMAGE PATH         (path below images/)
//! image_class_labels.txt  IMAGE CLASS
//! train_test_split.txt    IMAGE 1 to train on, 0 to test on
//! classes.txt             CLASS NAME
//! ```
//! IMAGE and CLASS are numbers. Samples are in the order of `images.txt`, classes in that of `classes.txt`; a sample's
//! id is its place within its half.
//!
//! Source: <https://www.vision.caltech.edu/datasets/cub_200_2011/>, the README within the archive.

use super::layouts::{List, coloured, halves};
use super::{Request, Splits};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The folder that the archive unpacks to.
const FOLDER: &str = "CUB_200_2011";
/// The lists: images, their classes, their halves, the classes' names.
const LISTS: [&str; 4] = ["images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt"];
/// The folder that the paths are below.
const IMAGES: &str = "images";

/// Whether a folder, or the archive's folder in it, holds the lists of such a set.
pub fn recognises(path: &Path) -> bool {
    root_of(path).is_some()
}

/// The folder with the lists: that of the images and either of the two that no other layout has.
fn root_of(path: &Path) -> Option<PathBuf> {
    let [images, labels, split, _] = LISTS;
    let has = |root: &Path, name: &str| root.join(name).is_file();
    [path.to_owned(), path.join(FOLDER)]
        .into_iter()
        .find(|root| has(root, images) && (has(root, labels) || has(root, split)))
}

/// Opens the set.
///
/// # Errors
/// Where a list or an image is missing, a list is damaged, or the lists do not fit together.
pub fn open(path: &Path, request: &Request) -> Result<Splits> {
    let root = root_of(path).unwrap_or_else(|| path.to_owned());
    let shown = root.display();
    let missing: Vec<&str> = LISTS.into_iter().filter(|name| !root.join(name).is_file()).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(Error::Data(format!("{shown}: {missing} missing, expected beside {}", LISTS[0])));
    }
    let [images, labels, split, classes] = LISTS.map(|name| List::read(&root.join(name)));
    let (images, classes) = (images?, classes?);
    let (numbers, names) = classes_in(&classes)?;
    let mut labels = Column::of(labels?, "a class")?;
    let mut split = Column::of(split?, "0 or 1")?;
    let (mut train, mut test) = (Vec::new(), Vec::new());
    let (mut seen, folder) = (BTreeMap::new(), root.join(IMAGES));
    for (line, text) in images.lines() {
        let (image, name) = images.pair(line, text, "an image's number and its path")?;
        let image = images.number(line, image)?;
        if let Some(first) = seen.insert(image, line) {
            return Err(images.bad(line, format_args!("image {image} again, first in line {first}")));
        }
        let file = images.file(line, &folder, name)?;
        let (line, class) = labels.take(image, &images)?;
        let Some(&label) = numbers.get(&class) else {
            let (shown, count) = (classes.path().display(), names.len());
            return Err(labels.list.bad(
                line,
                format_args!("class {class} of image {image} is none of the {count} in {shown}"),
            ));
        };
        match split.take(image, &images)? {
            (_, 1) => train.push((file, label)),
            (_, 0) => test.push((file, label)),
            (line, other) => {
                let what = format_args!("image {image} is marked {other}, expected 1 (train) or 0 (test)");
                return Err(split.list.bad(line, what));
            }
        }
    }
    labels.all_taken(&images)?;
    split.all_taken(&images)?;
    halves(&root, &names, train, test, &coloured(request))
}

/// The place of each class by its number, and the names.
fn classes_in(list: &List) -> Result<(BTreeMap<u64, usize>, Vec<String>)> {
    let (mut numbers, mut known, mut names) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    for (line, text) in list.lines() {
        let (number, name) = list.pair(line, text, "a class's number and its name")?;
        let number = list.number(line, number)?;
        if numbers.insert(number, names.len()).is_some() || !known.insert(name) {
            return Err(list.bad(line, format_args!("class {number} ({name}) again")));
        }
        names.push(name.to_owned());
    }
    match names.is_empty() {
        true => Err(list.empty("a class's number and its name")),
        false => Ok((numbers, names)),
    }
}

/// What a list says of each image.
struct Column {
    list: List,
    /// Line and value by image.
    values: BTreeMap<u64, (usize, u64)>,
}

impl Column {
    fn of(list: List, what: &str) -> Result<Self> {
        let mut values = BTreeMap::new();
        for (line, text) in list.lines() {
            let (image, value) = list.pair(line, text, &format!("an image's number and {what}"))?;
            let (image, value) = (list.number(line, image)?, list.number(line, value)?);
            if let Some((first, _)) = values.insert(image, (line, value)) {
                return Err(list.bad(line, format_args!("image {image} again, first in line {first}")));
            }
        }
        Ok(Self { list, values })
    }

    /// Line and value of an image of the list `images`.
    fn take(&mut self, image: u64, images: &List) -> Result<(usize, u64)> {
        self.values.remove(&image).ok_or_else(|| {
            let (shown, images) = (self.list.path().display(), images.path().display());
            Error::Data(format!("{shown}: has no line for image {image} of {images}"))
        })
    }

    /// Makes sure that it speaks of no image but those of the list `images`.
    fn all_taken(&self, images: &List) -> Result<()> {
        match self.values.iter().next() {
            None => Ok(()),
            Some((image, (line, _))) => {
                let images = images.path().display();
                Err(self.list.bad(*line, format_args!("image {image} is not in {images}")))
            }
        }
    }
}
