//! ImageNet-1K (ILSVRC 2012) as it is published: a folder for each class to train on, all validation images in one.
//!
//! ```text
//! train/n01440764/*.JPEG          val/ILSVRC2012_val_00000001.JPEG …
//! ```
//! Both below the given folder, or below `ILSVRC/Data/CLS-LOC/` of it, as Kaggle's archive has them. The labels of the
//! validation images are in one of these files, beside the images or their folder:
//!
//! ```text
//! LOC_val_solution.csv                       ImageId,PredictionString   IMAGE,SYNSET … (what follows are boxes)
//! val_map.txt, val.txt                       IMAGE SYNSET, or IMAGE NUMBER with the classes numbered from 0 as here
//! ILSVRC2012_validation_ground_truth.txt     NUMBER, of image 1, 2, …, from 1 on in the order of the devkit
//! ```
//! The devkit's order is its own: it needs a `synsets.txt` with the classes in that order, and a list that is sorted
//! cannot be it. Classes are WordNet ids, sorted; `LOC_synset_mapping.txt` or `words.txt` make readable names of them.
//! A sample's id is its place in the order of class and path (training) or of names (validation).
//!
//! A validation part with a folder for each class is [`folder`]'s.

use super::folder::Labelled;
use super::layouts::{List, coloured, halves};
use super::{Request, Splits, decode, folder};
use crate::error::{Error, Result};
use crate::files;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where the halves are below the folder.
const WITHIN: [&str; 2] = ["", "ILSVRC/Data/CLS-LOC"];
const TRAIN: &str = "train";
const VALIDATION: [&str; 2] = ["val", "validation"];
/// How the validation images' names begin.
const PREFIX: &str = "ILSVRC2012_val_";

/// Labelled with the labels, in order of preference: those by WordNet id first, as no order can be mistaken there.
const SOLUTION: &str = "LOC_val_solution.csv";
const MAPS: [&str; 2] = ["val_map.txt", "val.txt"];
const TRUTH: &str = "ILSVRC2012_validation_ground_truth.txt";
/// Labelled with the classes in the devkit's order.
const ORDERS: [&str; 2] = ["synsets.txt", MAPPING];
/// Labelled with readable names.
const MAPPING: &str = "LOC_synset_mapping.txt";
const WORDS: &str = "words.txt";

/// Whether a folder holds such a set, its validation images in one folder.
pub fn recognises(path: &Path) -> bool {
    halves_of(path).is_some()
}

/// The folders of the two halves.
fn halves_of(path: &Path) -> Option<(PathBuf, PathBuf)> {
    WITHIN.iter().find_map(|within| {
        let root = path.join(within);
        let flat = |folder: &PathBuf| {
            let Ok(entries) = std::fs::read_dir(folder) else { return false };
            entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        };
        let validation = VALIDATION.iter().map(|name| root.join(name)).find(flat)?;
        root.join(TRAIN).is_dir().then(|| (root.join(TRAIN), validation))
    })
}

/// Opens the set.
///
/// # Errors
/// Where the labels are missing, a list is damaged, or images and labels do not fit together.
pub fn open(path: &Path, request: &Request) -> Result<Splits> {
    let Some((train, validation)) = halves_of(path) else {
        let shown = path.display();
        return Err(Error::Data(format!("{shown}: expected train/nXXXXXXXX/ and val/{PREFIX}….JPEG")));
    };
    let (ids, samples) = classes_below(&train)?;
    // Beside the images, beside their folder, and at the top.
    let beside = validation.parent().unwrap_or(path).to_owned();
    let places = [path.to_owned(), beside, validation.clone()];
    let mut labels = Labels::of(&places, &ids)?;
    let mut test = Vec::new();
    for image in folder::images_below(&validation)? {
        let stem = image.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let Some((_, label)) = labels.table.remove(&stem) else {
            let (list, image) = (labels.list.path().display(), image.display());
            return Err(Error::Data(format!("{list}: has no label for {image}")));
        };
        test.push((image, label));
    }
    if let Some((image, (line, _))) = labels.table.iter().next() {
        let folder = validation.display();
        let what = format_args!("labels {image}, which is not in {folder}; unpack the images again");
        return Err(labels.list.bad(*line, what));
    }
    let names = readable(&ids, &places)?;
    let root = train.parent().unwrap_or(path);
    halves(root, &names, samples, test, &coloured(request))
}

/// The WordNet ids that folders are called by, sorted, and the images below each, sorted by path.
pub(super) fn classes_below(train: &Path) -> Result<(Vec<String>, Labelled)> {
    let mut folders = files::list(train)?;
    folders.retain(|path| path.is_dir() && !name_of(path).starts_with('.'));
    folders.sort();
    let (mut ids, mut samples) = (Vec::new(), Vec::new());
    for class in folders {
        let (shown, id) = (class.display(), name_of(&class));
        if !is_id(&id) {
            return Err(Error::Data(format!("{shown}: expected a WordNet id as name, as n01440764")));
        }
        let images = folder::images_below(&class)?;
        if images.is_empty() {
            let expected = decode::EXTENSIONS.join(", .");
            return Err(Error::Data(format!(
                "{shown}: class without images; expected files named .{expected}"
            )));
        }
        samples.extend(images.into_iter().map(|path| (path, ids.len())));
        ids.push(id);
    }
    match ids.is_empty() {
        true => {
            Err(Error::Data(format!("{}: holds no folders, expected one for each class", train.display())))
        }
        false => Ok((ids, samples)),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether a word is a noun's number in WordNet: `n` and 8 digits.
pub(super) fn is_id(word: &str) -> bool {
    let digits = word.strip_prefix('n').filter(|digits| digits.len() == 8);
    digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The first of the `places` that has a file of that name.
fn find(places: &[PathBuf], name: &str) -> Option<PathBuf> {
    places.iter().map(|place| place.join(name)).find(|path| path.is_file())
}

/// What a list says of the validation images.
struct Labels {
    list: List,
    /// Line and label by image, its name without what is behind the dot.
    table: BTreeMap<String, (usize, usize)>,
}

impl Labels {
    fn of(places: &[PathBuf], ids: &[String]) -> Result<Self> {
        let mut found = Vec::new();
        for name in [SOLUTION].into_iter().chain(MAPS).chain([TRUTH]) {
            found.extend(find(places, name).map(|path| (name, path)));
        }
        let Some((name, path)) = found.into_iter().next() else {
            let (shown, maps) = (places[0].display(), MAPS.join(", "));
            return Err(Error::Data(format!(
                "{shown}: has no labels of the validation images; expected {SOLUTION}, {maps} or {TRUTH} in it"
            )));
        };
        let mut labels = Self { list: List::read(&path)?, table: BTreeMap::new() };
        let rows = match name {
            SOLUTION => labels.solution(ids)?,
            TRUTH => labels.truth(places, ids)?,
            _ => labels.map(ids)?,
        };
        for (line, image, label) in rows {
            if labels.table.contains_key(&image) {
                return Err(labels.list.bad(line, format_args!("labels {image} again")));
            }
            labels.table.insert(image, (line, label));
        }
        Ok(labels)
    }

    /// The place of a WordNet id among the classes.
    fn class(&self, line: usize, id: &str, ids: &[String]) -> Result<usize> {
        ids.binary_search_by(|known| known.as_str().cmp(id)).map_err(|_| {
            let what = format!("`{}` is no class of the training images", super::layouts::brief(id));
            self.list.bad(line, what)
        })
    }

    /// Kaggle's table.
    fn solution(&self, ids: &[String]) -> Result<Vec<(usize, String, usize)>> {
        let mut rows = Vec::new();
        for (line, text) in self.list.lines().filter(|(_, text)| !text.starts_with("ImageId,")) {
            let row = text.split_once(',').and_then(|(image, prediction)| {
                Some((image, prediction.split_whitespace().next().filter(|id| is_id(id))?))
            });
            let Some((image, id)) = row else {
                let expected = "expected ImageId,PredictionString, the latter beginning with a WordNet id";
                return Err(self
                    .list
                    .bad(line, format_args!("{:?}, {expected}", super::layouts::brief(text))));
            };
            rows.push((line, stem(image), self.class(line, id, ids)?));
        }
        Ok(rows)
    }

    /// Image and class, by WordNet id or by number.
    fn map(&self, ids: &[String]) -> Result<Vec<(usize, String, usize)>> {
        let mut rows = Vec::new();
        for (line, text) in self.list.lines() {
            let (image, class) = self.list.pair(line, text, "an image and its class")?;
            let label = match is_id(class) {
                true => self.class(line, class, ids)?,
                false => self.list.number(line, class)? as usize,
            };
            if label >= ids.len() {
                let count = ids.len();
                let what = format_args!("class {label}, expected below {count} as folders to train on");
                return Err(self.list.bad(line, what));
            }
            rows.push((line, stem(image), label));
        }
        Ok(rows)
    }

    /// The devkit's numbers.
    fn truth(&self, places: &[PathBuf], ids: &[String]) -> Result<Vec<(usize, String, usize)>> {
        let order = self.order(places, ids)?;
        let mut rows = Vec::new();
        for (index, (line, text)) in self.list.lines().enumerate() {
            let number = self.list.number(line, text)? as usize;
            let Some(&label) = number.checked_sub(1).and_then(|place| order.get(place)) else {
                let count = order.len();
                return Err(self.list.bad(line, format_args!("class {number}, expected 1 to {count}")));
            };
            rows.push((line, format!("{PREFIX}{:08}", index + 1), label));
        }
        Ok(rows)
    }

    /// The label of each of the devkit's numbers.
    fn order(&self, places: &[PathBuf], ids: &[String]) -> Result<Vec<usize>> {
        let Some(path) = ORDERS.iter().find_map(|name| find(places, name)) else {
            let shown = self.list.path().display();
            return Err(Error::Data(format!(
                "{shown}: numbers classes in the devkit's order; expected synsets.txt with the WordNet ids in that \
                 order, or {SOLUTION} instead"
            )));
        };
        let list = List::read(&path)?;
        let mut order = Vec::new();
        let mut taken = vec![0; ids.len()];
        for (line, text) in list.lines() {
            let id = text.split_whitespace().next().unwrap_or_default();
            let label = ids.binary_search_by(|known| known.as_str().cmp(id)).map_err(|_| {
                list.bad(line, format!("`{}` is no class of the training images", super::layouts::brief(id)))
            })?;
            if taken[label] != 0 {
                return Err(list.bad(line, format_args!("{id} again, first in line {}", taken[label])));
            }
            taken[label] = line;
            order.push(label);
        }
        if order.is_sorted() {
            let (shown, truth) = (path.display(), self.list.path().display());
            return Err(Error::Data(format!(
                "{shown}: lists the classes sorted, but {truth} numbers them in the devkit's order, which is not; \
                 use {SOLUTION} or val.txt instead"
            )));
        }
        Ok(order)
    }
}

/// `ILSVRC2012_val_00000001` of `val/ILSVRC2012_val_00000001.JPEG`.
fn stem(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split('.').next().unwrap_or(name).to_owned()
}

/// A name for each WordNet id: the first of its words where a list has it, with the id behind it where two classes
/// share that (there are two kinds of crane).
pub(super) fn readable(ids: &[String], places: &[PathBuf]) -> Result<Vec<String>> {
    let Some(path) = find(places, MAPPING).or_else(|| find(places, WORDS)) else { return Ok(ids.to_vec()) };
    let list = List::read(&path)?;
    let mut names = ids.to_vec();
    for (line, text) in list.lines() {
        let (id, words) = list.pair(line, text, "a WordNet id and its words")?;
        if let Ok(label) = ids.binary_search_by(|known| known.as_str().cmp(id)) {
            let first = words.split(',').next().unwrap_or(words).trim();
            names[label] = if first.is_empty() { id.to_owned() } else { first.to_owned() };
        }
    }
    let mut count = BTreeMap::new();
    names.iter().for_each(|name| *count.entry(name.clone()).or_insert(0) += 1);
    let name = |(name, id): (&String, &String)| match count[name] {
        1 => name.clone(),
        _ => format!("{name} ({id})"),
    };
    Ok(names.iter().zip(ids).map(name).collect())
}
