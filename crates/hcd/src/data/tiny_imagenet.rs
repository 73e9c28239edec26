//! Tiny ImageNet: 200 of ImageNet's classes at 64 x 64.
//!
//! ```text
//! wnids.txt                     SYNSET
//! words.txt                     SYNSET⇥WORDS
//! train/SYNSET/images/*.JPEG    (and SYNSET_boxes.txt, which is not read)
//! val/val_annotations.txt       IMAGE⇥SYNSET⇥ a box
//! val/images/IMAGE
//! ```
//! The validation images may as well lie in a folder for each class. `test/` has no labels and is not read. Classes are
//! WordNet ids, sorted, by the first of their words where `words.txt` has some. A sample's id is its place in the order
//! of class and path, or in `val_annotations.txt`. Some images are grey: they are seen in colour all the same.
//!
//! Source: <http://cs231n.stanford.edu/tiny-imagenet-200.zip>.

use super::folder::Labelled;
use super::imagenet::{classes_below, readable};
use super::layouts::{List, coloured, halves};
use super::{Request, Splits};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The folder that the archive unpacks to.
const FOLDER: &str = "tiny-imagenet-200";
const TRAIN: &str = "train";
const VALIDATION: &str = "val";
/// The list of classes.
const CLASSES: &str = "wnids.txt";
/// The list of validation images.
const ANNOTATIONS: &str = "val_annotations.txt";

/// Whether a folder, or the archive's folder in it, holds such a set.
pub fn recognises(path: &Path) -> bool {
    root_of(path).is_some()
}

fn root_of(path: &Path) -> Option<PathBuf> {
    let marked =
        |root: &PathBuf| root.join(CLASSES).is_file() || root.join(VALIDATION).join(ANNOTATIONS).is_file();
    [path.to_owned(), path.join(FOLDER)].into_iter().find(|root| root.join(TRAIN).is_dir() && marked(root))
}

/// Opens the set.
///
/// # Errors
/// Where a half or an image is missing, a list is damaged, or the classes do not agree.
pub fn open(path: &Path, request: &Request) -> Result<Splits> {
    let root = root_of(path).unwrap_or_else(|| path.to_owned());
    let (ids, train) = classes_below(&root.join(TRAIN))?;
    if root.join(CLASSES).is_file() {
        check_classes(&List::read(&root.join(CLASSES))?, &ids, &root)?;
    }
    let validation = root.join(VALIDATION);
    let annotations = validation.join(ANNOTATIONS);
    // Who sorts the images into folders may leave the list and an empty folder behind.
    let sorted = ids.iter().any(|id| validation.join(id).is_dir());
    let test = match annotations.is_file() && !sorted {
        true => annotated(&List::read(&annotations)?, &validation.join("images"), &ids)?,
        false => sorted_into_folders(&validation, &ids)?,
    };
    let names = readable(&ids, std::slice::from_ref(&root))?;
    halves(&root, &names, train, test, &coloured(request))
}

/// Holds the folders to train on to the list of classes.
fn check_classes(list: &List, ids: &[String], root: &Path) -> Result<()> {
    let listed = list.names()?;
    let train = root.join(TRAIN);
    for (line, id) in list.lines() {
        if ids.binary_search_by(|known| known.as_str().cmp(id)).is_err() {
            let (id, folder) = (super::layouts::brief(id), train.display());
            return Err(list.bad(line, format_args!("class `{id}` has no folder in {folder}")));
        }
    }
    let listed: std::collections::BTreeSet<String> = listed.into_iter().collect();
    match ids.iter().find(|id| !listed.contains(*id)) {
        None => Ok(()),
        Some(id) => {
            let (folder, list) = (train.display(), list.path().display());
            Err(Error::Data(format!("{folder}: has class `{id}`, {list} has not; classes must agree")))
        }
    }
}

/// The validation images in the order of their list.
fn annotated(list: &List, folder: &Path, ids: &[String]) -> Result<Labelled> {
    let (mut samples, mut seen) = (Vec::new(), BTreeMap::new());
    for (line, text) in list.lines() {
        let (image, rest) = list.pair(line, text, "an image, its WordNet id and a box")?;
        let id = rest.split_whitespace().next().unwrap_or_default();
        let Ok(label) = ids.binary_search_by(|known| known.as_str().cmp(id)) else {
            let id = super::layouts::brief(id);
            return Err(list.bad(line, format_args!("`{id}` is no class of the training images")));
        };
        if let Some(first) = seen.insert(image, line) {
            return Err(list.bad(line, format_args!("{image} again, first in line {first}")));
        }
        samples.push((list.file(line, folder, image)?, label));
    }
    match samples.is_empty() {
        true => Err(list.empty("an image, its WordNet id and a box")),
        false => Ok(samples),
    }
}

/// The validation images where each class has a folder.
fn sorted_into_folders(validation: &Path, ids: &[String]) -> Result<Labelled> {
    let shown = validation.display();
    if !validation.is_dir() {
        return Err(Error::Data(format!("{shown}: no such folder, expected the validation images in it")));
    }
    // `images/` may be left over from before they were sorted.
    let leftover = validation.join("images");
    if !ids.iter().any(|id| validation.join(id).is_dir()) {
        return Err(Error::Data(format!(
            "{shown}: has neither {ANNOTATIONS} with images/ nor a folder for each class"
        )));
    }
    let (mut found, mut samples) = (Vec::new(), Vec::new());
    for entry in crate::files::list(validation)? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if entry.is_dir() && entry != leftover && !name.starts_with('.') {
            found.push((name, entry));
        }
    }
    found.sort();
    if let Some((name, _)) = found.iter().find(|(name, _)| ids.binary_search(name).is_err()) {
        return Err(Error::Data(format!("{shown}: has class `{name}`, train has not; classes must agree")));
    }
    if let Some(id) = ids.iter().find(|id| !found.iter().any(|(name, _)| name == *id)) {
        return Err(Error::Data(format!("{shown}: has no class `{id}`, train has; classes must agree")));
    }
    for (label, (_, folder)) in found.into_iter().enumerate() {
        let images = super::folder::images_below(&folder)?;
        if images.is_empty() {
            return Err(Error::Data(format!("{}: class without images", folder.display())));
        }
        samples.extend(images.into_iter().map(|path| (path, label)));
    }
    Ok(samples)
}
