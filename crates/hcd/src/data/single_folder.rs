//! Folders of image files without halves: one folder a class, a part of each drawn to test on.
//!
//! ```text
//! ROOT/CLASS/….jpg
//! ```
//! As Caltech-101 and EuroSAT come. Of each class, [`SHARE`] of the images are drawn by [`stratified_split`] from the
//! seed [`SEED`]; figures on a part that was drawn compare with those of others only where they drew the same, so
//! [`notice`] says it. Classes are sorted by name, and files within them by path; a sample's id is its place in that
//! order, over both parts.

use super::{Dataset, Request, Splits, decode, folder, stratified_split};
use crate::error::{Error, Result};
use crate::files;
use std::path::Path;
use std::sync::Arc;

/// Share of each class that is tested on.
pub const SHARE: f64 = 0.2;
/// What the draw goes by.
pub const SEED: u64 = 0;
/// Folders that are a half of a set, so that the folder around them is another layout, or a damaged one.
const HALVES: [&str; 5] = ["train", "test", "val", "valid", "validation"];
/// How far below a class the first image is looked for.
const DEEPEST: usize = 4;

/// Whether two folders or more in a folder hold images, and none is called as a half of a set.
pub fn recognises(path: &Path) -> bool {
    let mut folders = files::list(path).unwrap_or_default();
    folders.retain(|path| path.is_dir());
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if folders.iter().any(|path| HALVES.contains(&name(path).as_str())) {
        return false;
    }
    folders.iter().filter(|path| !name(path).starts_with('.') && holds_image(path, DEEPEST)).nth(1).is_some()
}

fn holds_image(folder: &Path, depth: usize) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    let mut folders = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            folders.push(path);
        } else if decode::is_image_name(&path) {
            return true;
        }
    }
    depth > 0 && folders.iter().any(|folder| holds_image(folder, depth - 1))
}

/// Opens the folder, [`SHARE`] of it drawn by [`SEED`] to test on.
///
/// # Errors
/// As [`draw`].
pub fn open(path: &Path, request: &Request) -> Result<Splits> {
    draw(path, SHARE, SEED, request)
}

/// Opens the folder, `share` of each class drawn by `seed` to test on.
///
/// # Errors
/// Where a class has no image, or none has two, or `share` is not in (0, 1).
pub fn draw(path: &Path, share: f64, seed: u64, request: &Request) -> Result<Splits> {
    let shown = path.display();
    if !(share > 0.0 && share < 1.0) {
        return Err(Error::Data(format!("{shown}: share to test on is {share}, expected in (0, 1)")));
    }
    let whole: Arc<dyn Dataset> = Arc::new(folder::classes_of(path, request)?);
    let (train, test) = stratified_split(&whole, share, seed)?;
    if test.is_empty() {
        return Err(Error::Data(format!(
            "{shown}: each class has one image; expected two or more, one of them to test on"
        )));
    }
    Ok(Splits { train: Arc::new(train), test: Arc::new(test), validation: None })
}

/// That the test part of the set in this folder was drawn, and how.
pub fn notice(path: &Path) -> String {
    let (shown, percent) = (path.display(), 100.0 * SHARE);
    format!("{shown}: comes without a test part; {percent} % of each class were drawn as one (seed {SEED})")
}
