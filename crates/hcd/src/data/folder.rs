//! Folders of image files: one folder a class, as torchvision's `ImageFolder` reads them.
//!
//! ```text
//! ROOT/train/CLASS/….png      ROOT/test/CLASS/….png      ROOT/val/CLASS/….png (or valid, validation)
//! ```
//! Where there is no `test`, the other one is tested on; where there are both, it is what epochs are chosen by.
//! Classes are sorted by name, and files within them by path, any depth; a sample's id is its place in that order.
//! Opening only lists: images are decoded when they are asked for ([`Encoded`]).

use super::encoded::{Encoded, Source};
use super::layouts::alike;
use super::{Dataset, Request, Splits, decode};
use crate::error::{Error, Result};
use crate::files;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of the training part, those of the part to test on, in order of preference, and of the part to choose by.
const TRAIN: &str = "train";
const TEST: [&str; 4] = ["test", "val", "valid", "validation"];
const VALIDATION: [&str; 3] = ["val", "valid", "validation"];
/// Deepest nesting within a class: a link that leads back up ends here.
const DEEPEST: usize = 32;

/// Image files, each with the number of its class.
pub(super) type Labelled = Vec<(PathBuf, usize)>;

/// Image files.
struct Files(Vec<PathBuf>);

impl Source for Files {
    fn bytes(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        decode::read(&self.0[index]).map(Cow::Owned)
    }

    fn shown(&self, index: usize) -> String {
        self.0[index].display().to_string()
    }
}

/// The images `files`, each with its class, as a set.
///
/// # Errors
/// Where there are none, a label has no class, the request cannot be meant, or the first image is damaged.
pub fn of_files(name: String, classes: Vec<String>, files: Labelled, request: &Request) -> Result<Encoded> {
    if files.is_empty() && request.check().is_empty() {
        let expected = decode::EXTENSIONS.join(", .");
        return Err(Error::Data(format!("{name}: holds no images; expected files named .{expected}")));
    }
    let (files, labels) = files.into_iter().map(|(path, label)| (path, label as u32)).unzip();
    Encoded::new(name, classes, labels, Box::new(Files(files)), request, request.memory)
}

/// Whether a folder holds the two halves of a set.
pub fn recognises(folder: &Path) -> bool {
    folder.join(TRAIN).is_dir()
}

/// Opens `folder/train` and its other parts: what is tested on, and where there are three parts what is chosen by.
///
/// # Errors
/// Where a part or its classes are missing, a class is empty, or the parts' classes differ.
pub fn open(folder: &Path, request: &Request) -> Result<Splits> {
    let part = |names: &[&str]| names.iter().map(|name| folder.join(name)).find(|path| path.is_dir());
    let Some(test) = part(&TEST) else {
        let (shown, looked_for) = (folder.display(), TEST.join(", "));
        return Err(Error::Data(format!("{shown}: has {TRAIN}, but none of {looked_for} beside it")));
    };
    let validation = part(&VALIDATION).filter(|validation| *validation != test);
    let train: Arc<dyn Dataset> = Arc::new(classes_of(&folder.join(TRAIN), request)?);
    let beside = |path: PathBuf| -> Result<Arc<dyn Dataset>> {
        let other: Arc<dyn Dataset> = Arc::new(classes_of(&path, request)?);
        check_classes(train.as_ref(), other.as_ref())?;
        Ok(other)
    };
    let (test, validation) = (beside(test)?, validation.map(beside).transpose()?);
    alike(train, test, validation)
}

/// Whether two parts have the same classes.
fn check_classes(train: &dyn Dataset, other: &dyn Dataset) -> Result<()> {
    for (these, those) in [(train, other), (other, train)] {
        if let Some(class) = these.classes().iter().find(|class| !those.classes().contains(class)) {
            let (has, lacks) = (these.name(), those.name());
            return Err(Error::Data(format!(
                "{has}: has class `{class}`, {lacks} has not; classes must agree"
            )));
        }
    }
    Ok(())
}

/// One half: a folder with a folder for each class.
///
/// # Errors
/// Where there are none, or one holds no image.
pub fn classes_of(folder: &Path, request: &Request) -> Result<Encoded> {
    let shown = folder.display();
    let mut folders: Vec<PathBuf> = files::list(folder)?;
    folders.retain(|path| path.is_dir() && !hidden(path));
    folders.sort();
    if folders.is_empty() {
        return Err(Error::Data(format!("{shown}: holds no folders, expected one for each class")));
    }
    let (mut classes, mut samples) = (Vec::new(), Vec::new());
    for class in folders {
        let images = images_below(&class)?;
        if images.is_empty() {
            return Err(Error::Data(format!(
                "{}: class without images; expected files named .{}",
                class.display(),
                decode::EXTENSIONS.join(", .")
            )));
        }
        samples.extend(images.into_iter().map(|path| (path, classes.len())));
        classes.push(class.file_name().unwrap_or_default().to_string_lossy().into_owned());
    }
    of_files(shown.to_string(), classes, samples, request)
}

/// Every image file below a folder, sorted by path.
///
/// # Errors
/// Where a folder cannot be read or is too deep.
pub fn images_below(folder: &Path) -> Result<Vec<PathBuf>> {
    fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
        if depth > DEEPEST {
            let shown = folder.display();
            return Err(Error::Data(format!(
                "{shown}: nested over {DEEPEST} folders deep; a link leads back up?"
            )));
        }
        let fail = |source| Error::Io { path: folder.to_owned(), action: "read", source };
        for entry in std::fs::read_dir(folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(fail)?);
            // The kind comes with the listing; only links need a look at what they lead to.
            match kind.is_dir() || (kind.is_symlink() && path.is_dir()) {
                true if hidden(&path) => {}
                true => walk(&path, depth + 1, found)?,
                false if decode::is_image_name(&path) => found.push(path),
                false => {}
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(folder, 0, &mut found)?;
    found.sort();
    Ok(found)
}

fn hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}
