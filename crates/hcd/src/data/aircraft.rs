//! FGVC-Aircraft: photos of 100 variants of aircraft, listed by half.
//!
//! ```text
//! data/variants.txt                                     VARIANT
//! data/images_variant_{train,val,trainval,test}.txt     IMAGE VARIANT
//! data/images/IMAGE.jpg
//! ```
//! Trained on is `trainval` where it is there, else `train` and then `val`. Samples are in the order of the lists,
//! classes in that of `variants.txt`; a sample's id is its place within its half.
//!
//! Source: <https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/>, the README within the archive.

use super::folder::Labelled;
use super::layouts::{List, coloured, halves};
use super::{Request, Splits};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The folder that the archive unpacks to, and the one within it.
const FOLDER: &str = "fgvc-aircraft-2013b";
const DATA: &str = "data";
/// The names of the classes, one a line.
const CLASSES: &str = "variants.txt";

/// The list of a half.
fn list_of(half: &str) -> String {
    format!("images_variant_{half}.txt")
}

/// Whether a folder, or a folder of the archive in it, holds the lists of such a set.
pub fn recognises(path: &Path) -> bool {
    root_of(path).is_some()
}

fn root_of(path: &Path) -> Option<PathBuf> {
    let whole = path.join(FOLDER);
    [path.to_owned(), path.join(DATA), whole.join(DATA), whole]
        .into_iter()
        .find(|root| ["trainval", "train", "test"].iter().any(|half| root.join(list_of(half)).is_file()))
}

/// Opens the set.
///
/// # Errors
/// Where a list or an image is missing, a list is damaged, or an image is listed twice.
pub fn open(path: &Path, request: &Request) -> Result<Splits> {
    let root = root_of(path).unwrap_or_else(|| path.to_owned());
    let halves_to_train_on: &[&str] = match root.join(list_of("trainval")).is_file() {
        true => &["trainval"],
        false => &["train", "val"],
    };
    let missing: Vec<String> = (halves_to_train_on.iter().chain(&["test"]).map(|half| list_of(half)))
        .chain([CLASSES.to_owned()])
        .filter(|name| !root.join(name).is_file())
        .collect();
    if !missing.is_empty() {
        let (shown, missing) = (root.display(), missing.join(", "));
        return Err(Error::Data(format!("{shown}: {missing} missing beside the other lists")));
    }
    let classes = List::read(&root.join(CLASSES))?;
    let names = classes.names()?;
    let labels = names.iter().enumerate().map(|(label, name)| (name.as_str(), label)).collect();
    let mut reader = Reader { folder: root.join("images"), classes: &classes, labels, seen: BTreeMap::new() };
    let mut train = Vec::new();
    for half in halves_to_train_on {
        reader.read(&List::read(&root.join(list_of(half)))?, &mut train)?;
    }
    let mut test = Vec::new();
    reader.read(&List::read(&root.join(list_of("test")))?, &mut test)?;
    halves(&root, &names, train, test, &coloured(request))
}

/// Reads lists of images, each of which may be in one of them alone.
struct Reader<'a> {
    folder: PathBuf,
    classes: &'a List,
    labels: BTreeMap<&'a str, usize>,
    /// The list and line of each image so far.
    seen: BTreeMap<String, (PathBuf, usize)>,
}

impl Reader<'_> {
    fn read(&mut self, list: &List, samples: &mut Labelled) -> Result<()> {
        for (line, text) in list.lines() {
            let (image, variant) = list.pair(line, text, "an image's name and its variant")?;
            let Some(&label) = self.labels.get(variant) else {
                let classes = self.classes.path().display();
                return Err(list.bad(line, format_args!("variant `{variant}` is not in {classes}")));
            };
            if let Some((first, at)) = self.seen.insert(image.to_owned(), (list.path().to_owned(), line)) {
                let first = first.display();
                return Err(list.bad(line, format_args!("image {image} again, first in {first}, line {at}")));
            }
            samples.push((list.file(line, &self.folder, &format!("{image}.jpg"))?, label));
        }
        Ok(())
    }
}
