//! A flat folder of photos to evaluate on: the labels are in a file, or in the photos' names.
//!
//! A labels file is a table of two columns, photo and class (`.csv`, `.tsv`), or a JSON object from photo to class
//! (`.json`). A photo is named by its path below the folder, a class by its name or its number in the network.
//!
//! Without a labels file, photos may be named after WordNet, as `n01440764_tench.JPEG`: the sorted distinct
//! `n` + 8 digits are the classes, in ImageNet's order; so there must be as many as the network has.

use super::{Encoded, Request, folder};
use crate::error::{Error, Result};
use crate::files;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Opens the photos of a folder with labels from a file, in terms of a network's `classes`.
///
/// # Errors
/// Where a photo has no label, a label no photo or no class, or a file is damaged.
pub fn with_labels(folder: &Path, labels: &Path, classes: &[String], request: &Request) -> Result<Encoded> {
    let bad = |what: String| Error::Data(format!("{}: {what}", labels.display()));
    let mut table = read_table(labels)?;
    let mut samples = Vec::new();
    for path in folder::images_below(folder)? {
        let name = name_below(folder, &path);
        let Some(class) = table.remove(&name) else {
            return Err(bad(format!("has no label for {name} of {}", folder.display())));
        };
        samples.push((path, class_of(&class, classes).map_err(|what| bad(format!("{name}: {what}")))?));
    }
    if let Some(name) = table.into_keys().find(|name| !HEADERS.contains(&name.to_lowercase().as_str())) {
        return Err(bad(format!("labels {name}, which is not in {}", folder.display())));
    }
    folder::of_files(folder.display().to_string(), classes.to_vec(), samples, request)
}

/// Opens the photos of a folder by their WordNet names; none where a photo is named otherwise.
///
/// # Errors
/// Where there are not as many distinct names as `classes`, or a file is damaged.
pub fn by_name(folder: &Path, classes: &[String], request: &Request) -> Result<Option<Encoded>> {
    let images = folder::images_below(folder)?;
    let ids: Option<Vec<String>> = images.iter().map(|path| wordnet_id(path)).collect();
    let Some(ids) = ids.filter(|ids| !ids.is_empty()) else { return Ok(None) };
    let known: Vec<&String> = ids.iter().collect::<BTreeSet<_>>().into_iter().collect();
    if known.len() != classes.len() {
        return Err(Error::Data(format!(
            "{}: photos are of {} WordNet classes, the network knows {}; say which is which with --labels FILE",
            folder.display(),
            known.len(),
            classes.len()
        )));
    }
    let label = |id: &String| known.binary_search(&id).unwrap_or_default();
    let samples = images.into_iter().zip(ids.iter().map(label)).collect();
    folder::of_files(folder.display().to_string(), classes.to_vec(), samples, request).map(Some)
}

/// Photos without labels, as a set of one class.
///
/// # Errors
/// Where there are none, or the first is damaged.
pub fn unlabelled(name: String, photos: Vec<PathBuf>, request: &Request) -> Result<Encoded> {
    folder::of_files(name, vec![String::new()], photos.into_iter().map(|path| (path, 0)).collect(), request)
}

/// A photo's path below a folder, with `/` between.
pub fn name_below(folder: &Path, path: &Path) -> String {
    let below = path.strip_prefix(folder).unwrap_or(path);
    below.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// What the first line of a table may call its first column.
const HEADERS: [&str; 6] = ["file", "filename", "image", "name", "path", "photo"];

/// Photo → class, as written.
fn read_table(path: &Path) -> Result<BTreeMap<String, String>> {
    let bad = |what: String| Error::Data(format!("{}: {what}", path.display()));
    let text = files::read_text(path)?;
    let separator = match path.extension().map(|extension| extension.to_string_lossy().to_lowercase()) {
        Some(extension) if extension == "json" => return read_json(&text).map_err(bad),
        Some(extension) if extension == "csv" => b',',
        Some(extension) if extension == "tsv" => b'\t',
        _ => return Err(bad("labels must be in a file named .csv, .tsv or .json".to_owned())),
    };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator)
        .from_reader(text.as_bytes());
    let mut table = BTreeMap::new();
    for row in reader.records() {
        let row = row.map_err(|error| bad(format!("not a table ({error})")))?;
        let line = row.position().map_or(0, csv::Position::line);
        let (Some(photo), Some(class), 2) = (row.get(0), row.get(1), row.len()) else {
            return Err(bad(format!("line {line} has {} columns, expected 2: photo and class", row.len())));
        };
        if table.insert(photo.trim().to_owned(), class.trim().to_owned()).is_some() {
            return Err(bad(format!("line {line} labels {photo} again")));
        }
    }
    Ok(table)
}

fn read_json(text: &str) -> Result<BTreeMap<String, String>, String> {
    let table: BTreeMap<String, serde_json::Value> = serde_json::from_str(text)
        .map_err(|error| format!("not a JSON object from photo to class ({error})"))?;
    let class = |(photo, value): (String, serde_json::Value)| match value {
        serde_json::Value::String(class) => Ok((photo, class)),
        serde_json::Value::Number(class) => Ok((photo, class.to_string())),
        other => Err(format!("{photo}: {other}, expected a class's name or number")),
    };
    table.into_iter().map(class).collect()
}

/// The number of a class: by its name, else as a number.
fn class_of(class: &str, classes: &[String]) -> Result<usize, String> {
    let number = || class.parse().ok().filter(|&number: &usize| number < classes.len());
    let mut places = classes.iter().enumerate().filter(|(_, name)| *name == class).map(|(place, _)| place);
    match (places.next(), places.next()) {
        (Some(_), Some(_)) => {
            Err(format!("`{class}` is the name of several classes; give the number instead"))
        }
        (place, _) => place.or_else(number).ok_or_else(|| {
            format!("`{class}` is neither a class of the network nor a number below {}", classes.len())
        }),
    }
}

/// `n01440764` of `n01440764_tench.JPEG`.
fn wordnet_id(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    let id = name.get(..9)?;
    let digits = id.strip_prefix('n')?.bytes().all(|byte| byte.is_ascii_digit());
    (digits && matches!(name.as_bytes().get(9), Some(b'_' | b'.'))).then(|| id.to_owned())
}
