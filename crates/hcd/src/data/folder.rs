//! Folders of image files: one folder a class, as torchvision's `ImageFolder` reads them.
//!
//! ```text
//! ROOT/train/CLASS/….png      ROOT/test/CLASS/….png (or ROOT/val, ROOT/validation)
//! ```
//! Classes are sorted by name, and files within them by path, any depth; a sample's id is its place in that order.
//! Opening only lists: an image is decoded when it is asked for, and then kept where the whole set fits into
//! [`Request::memory`].

use super::{Dataset, Image, ImageShape, Preprocess, Splits, decode};
use crate::error::{Error, Result};
use crate::files;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Folders of the training half, and of the other half, in order of preference.
const TRAIN: &str = "train";
const TEST: [&str; 3] = ["test", "val", "validation"];
/// Deepest nesting within a class: a link that leads back up ends here.
const DEEPEST: usize = 32;

/// How images are to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Request {
    /// 1 for grey, 3 for red, green and blue; as in the files where not said.
    pub channels: Option<usize>,
    /// How images become one size; where not said, they must have one already.
    pub preprocess: Option<Preprocess>,
    /// Most bytes of decoded pixels that a set may keep.
    pub memory: usize,
}

impl Request {
    /// Every problem with it, each as `key = value, what was expected`.
    pub fn check(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.preprocess.iter().flat_map(Preprocess::check).collect();
        if let Some(channels) = self.channels.filter(|channels| ![1, 3].contains(channels)) {
            problems.push(format!("channels = {channels}, must be 1 (grey) or 3 (red, green, blue)"));
        }
        problems
    }
}

/// Image files with their labels.
pub struct Folder {
    name: String,
    classes: Vec<String>,
    files: Vec<(PathBuf, usize)>,
    shape: ImageShape,
    preprocess: Option<Preprocess>,
    /// One place a sample, or none at all.
    kept: Vec<OnceLock<Box<[u8]>>>,
}

impl Folder {
    /// The images `files`, each with its class.
    ///
    /// # Errors
    /// Where there are none, a label has no class, the request cannot be meant, or the first image is damaged.
    pub fn new(
        name: String,
        classes: Vec<String>,
        files: Vec<(PathBuf, usize)>,
        request: &Request,
    ) -> Result<Self> {
        let bad = |what: String| Err(Error::Data(format!("{name}: {what}")));
        if let Some(problem) = request.check().into_iter().next() {
            return bad(problem);
        }
        let Some((first, _)) = files.first() else {
            return bad(format!("holds no images; expected files named .{}", decode::EXTENSIONS.join(", .")));
        };
        if let Some((path, label)) = files.iter().find(|(_, label)| *label >= classes.len()) {
            let (shown, count) = (path.display(), classes.len());
            return bad(format!("{shown} has label {label}, expected below {count}"));
        }
        let shape = match (request.channels, request.preprocess) {
            (Some(channels), Some(Preprocess { size, .. })) => {
                ImageShape { channels, height: size, width: size }
            }
            (channels, preprocess) => {
                let found = decode::probe(first)?;
                let channels = channels.unwrap_or(found.channels);
                let (height, width) = preprocess.map_or((found.height, found.width), |p| (p.size, p.size));
                ImageShape { channels, height, width }
            }
        };
        let fits = shape.numel().checked_mul(files.len()).is_some_and(|bytes| bytes <= request.memory);
        let kept = if fits { (0..files.len()).map(|_| OnceLock::new()).collect() } else { Vec::new() };
        Ok(Self { name, classes, files, shape, preprocess: request.preprocess, kept })
    }

    /// The file of a sample.
    pub fn path(&self, index: usize) -> &Path {
        &self.files[index].0
    }

    fn decode(&self, path: &Path) -> Result<Image> {
        let image = decode::decode(path, self.shape.channels)?;
        if let Some(preprocess) = self.preprocess {
            return preprocess.apply(image);
        }
        if image.shape() == self.shape {
            return Ok(image);
        }
        Err(Error::Data(format!(
            "{}: is {}, the first image of {} is {}; images of several sizes need data.image_size",
            path.display(),
            image.shape(),
            self.name,
            self.shape
        )))
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder")
            .field("name", &self.name)
            .field("len", &self.files.len())
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

impl Dataset for Folder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> usize {
        self.files[index].1
    }

    fn image(&self, index: usize) -> Result<Image> {
        let ImageShape { channels, height, width } = self.shape;
        let place = self.kept.get(index);
        if let Some(pixels) = place.and_then(OnceLock::get) {
            return Ok(Image { height, width, channels, pixels: pixels.to_vec() });
        }
        let image = self.decode(&self.files[index].0)?;
        if let Some(place) = place {
            // Another thread may have been faster; its pixels are the same.
            let _ = place.set(image.pixels.clone().into_boxed_slice());
        }
        Ok(image)
    }

    fn image_shape(&self) -> ImageShape {
        self.shape
    }

    fn id(&self, index: usize) -> u64 {
        assert!(index < self.len(), "sample {index} of {}", self.len());
        index as u64
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn decodes(&self) -> bool {
        true
    }
}

/// Whether a folder holds the two halves of a set.
pub fn recognises(folder: &Path) -> bool {
    folder.join(TRAIN).is_dir()
}

/// Opens `folder/train` and its other half.
///
/// # Errors
/// Where a half or its classes are missing, a class is empty, or the halves' classes differ.
pub fn open(folder: &Path, request: &Request) -> Result<Splits> {
    let shown = folder.display();
    let Some(other) = TEST.iter().map(|name| folder.join(name)).find(|path| path.is_dir()) else {
        return Err(Error::Data(format!("{shown}: has {TRAIN}, but none of {} beside it", TEST.join(", "))));
    };
    let (train, test) = (classes_of(&folder.join(TRAIN), request)?, classes_of(&other, request)?);
    let strange = |these: &Folder, those: &Folder| {
        these.classes.iter().find(|class| !those.classes.contains(class)).cloned()
    };
    for (these, those) in [(&train, &test), (&test, &train)] {
        if let Some(class) = strange(these, those) {
            let (has, lacks) = (&these.name, &those.name);
            return Err(Error::Data(format!(
                "{has}: has class `{class}`, {lacks} has not; classes must agree"
            )));
        }
    }
    if train.shape != test.shape {
        return Err(Error::Data(format!(
            "{}: the first image is {}, that of {} is {}; set data.image_size and data.channels",
            test.name, test.shape, train.name, train.shape
        )));
    }
    Ok(Splits { train: Arc::new(train), test: Arc::new(test) })
}

/// One half: a folder with a folder for each class.
///
/// # Errors
/// Where there are none, or one holds no image.
pub fn classes_of(folder: &Path, request: &Request) -> Result<Folder> {
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
    Folder::new(shown.to_string(), classes, samples, request)
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
