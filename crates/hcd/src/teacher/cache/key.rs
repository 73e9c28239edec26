//! All that a stored answer depends on: a cache whose key is another's is never read.

use super::Stored;
use crate::data::{self, ImageShape, Normalization, TrainLoader, ViewPolicy};
use crate::error::{Error, Result};
use crate::files;
use crate::models::ModelConfig;
use crate::ops::Precision;
use crate::teacher::{Live, Teacher};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The layout of the files.
const FORMAT: u32 = 1;

/// The file in a cache's folder that holds its key.
pub(super) const FILE: &str = "cache.json";

/// What the answers of a cache depend on, but for the seed and the number of a view, by which its files are named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheKey {
    /// Layout of the files.
    pub format: u32,
    /// BLAKE3 of the teacher's tensors, by name.
    pub teacher_weights: String,
    /// The teacher's network.
    pub teacher_model: ModelConfig,
    /// What the teacher's pixels are normalised by.
    pub normalization: Normalization,
    /// What the teacher looks at.
    pub image: ImageShape,
    /// What the student looks at, for which views are drawn.
    pub student_image: ImageShape,
    /// What the student's pixels are normalised by, where views depend on it: colours that come in from outside, and what
    /// is erased.
    pub student_normalization: Option<Normalization>,
    /// How views are drawn; how many are in a bank does not enter, as it changes none of them.
    pub views: ViewPolicy,
    /// The version of drawing and applying them.
    pub views_version: u32,
    /// The set's fingerprint: samples, ids, labels and pixels.
    pub data: String,
    /// Samples of the set.
    pub samples: usize,
    /// Numbers of a feature.
    pub width: usize,
    /// How features are stored.
    pub stored: Stored,
    /// What the teacher multiplies: `f32` or `bf16`.
    pub computed: String,
}

impl CacheKey {
    /// The key of `teacher`'s answers about the views of `loader`.
    ///
    /// # Errors
    /// Where an image cannot be read.
    pub fn new(teacher: &Live, loader: &TrainLoader, stored: Stored, precision: Precision) -> Result<Self> {
        let (dataset, views) = (loader.dataset().as_ref(), loader.policy());
        let filled = views.auto_augment.is_some() || views.erasing > 0.0;
        Ok(Self {
            format: FORMAT,
            teacher_weights: teacher.weights().to_owned(),
            teacher_model: teacher.card().config.clone(),
            normalization: teacher.card().normalization.clone(),
            image: teacher.sight(loader).dataset().image_shape(),
            student_image: dataset.image_shape(),
            student_normalization: filled.then(|| teacher.batches().clone()),
            views: ViewPolicy { bank: 0, ..views.clone() },
            views_version: data::view::VERSION,
            data: loader.fingerprint()?.to_owned(),
            samples: dataset.len(),
            width: teacher.width(),
            stored,
            computed: if precision == Precision::Bf16 { "bf16" } else { "f32" }.to_owned(),
        })
    }

    /// Bytes of one view of every sample.
    pub fn view_bytes(&self) -> u64 {
        let row = self.stored.bytes(self.width) + size_of::<i64>() + size_of::<u32>() + size_of::<f32>();
        self.samples as u64 * row as u64
    }

    /// Whether this is the key of the cache in `folder`, or one may begin there.
    ///
    /// # Errors
    /// Where the key there is another: the first field that differs is named. Where the folder holds something else.
    pub(super) fn check(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        if !path.is_file() {
            return check_vacant(folder, &path);
        }
        // Both as they are read: a number that was written in f32 has other digits in f64.
        let read = |text: &str| -> Result<Value> {
            serde_json::from_str(text).map_err(|error| damaged(&path, &error.to_string()))
        };
        match difference("", &read(&files::read_text(&path)?)?, &read(&self.text(&path)?)?) {
            None => Ok(()),
            Some(difference) => Err(refusal(folder, &difference)),
        }
    }

    /// Begins a cache in `folder`, where there is none.
    ///
    /// # Errors
    /// As [`check`](Self::check), or where it cannot be written to.
    pub(super) fn begin(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        if !path.is_file() {
            files::create_folder(folder)?;
            files::write(&path, self.text(&path)?.as_bytes())?;
        }
        self.check(folder)
    }

    fn text(&self, path: &Path) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|error| damaged(path, &error.to_string()))
    }
}

/// Whether a cache may begin in `folder`, which has no key.
fn check_vacant(folder: &Path, key: &Path) -> Result<()> {
    let refuse = |what: &str| {
        Err(Error::Run(format!("{}: {what}; name another folder with --cache", folder.display())))
    };
    match folder.metadata() {
        Ok(found) if !found.is_dir() => return refuse("is a file, expected a folder"),
        Ok(_) => {}
        // What else can be wrong is seen when it is created.
        Err(_) => return Ok(()),
    }
    let own = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name == FILE || files::is_unfinished(&name.to_string_lossy()))
    };
    // Another process may have begun it meanwhile.
    match files::list(folder)?.iter().all(own) || key.is_file() {
        true => Ok(()),
        false => refuse("holds something else than a teacher's answers (there is no cache.json)"),
    }
}

/// An error that names the field in which a cache differs from what is asked of it.
pub(super) fn refusal(path: &Path, (field, found, own): &Difference) -> Error {
    Error::Run(format!(
        "{}: was filled with {field} = {found}, this run has {own}; name another folder with --cache, or remove this one",
        path.display()
    ))
}

/// A field, and what it is on either side.
pub(super) type Difference = (String, String, String);

fn damaged(path: &Path, what: &str) -> Error {
    Error::Run(format!("{}: not as written ({what}); remove the cache's folder", path.display()))
}

/// The first field in which two values differ, and what each has there.
pub(super) fn difference(path: &str, left: &Value, right: &Value) -> Option<Difference> {
    if let (Value::Object(left), Value::Object(right)) = (left, right) {
        let keys = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key)));
        return keys.into_iter().find_map(|key| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
            difference(&path, &of(left), &of(right))
        });
    }
    (left != right).then(|| (path.to_owned(), left.to_string(), right.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_difference_is_named() {
        let left = json!({ "a": 1, "b": { "c": [1, 2], "d": "x" } });
        assert_eq!(difference("", &left, &left), None);
        for (right, field) in [
            (json!({ "a": 2, "b": { "c": [1, 2], "d": "x" } }), "a"),
            (json!({ "a": 1, "b": { "c": [1, 3], "d": "x" } }), "b.c"),
            (json!({ "a": 1, "b": { "c": [1, 2] } }), "b.d"),
            (json!({ "a": 1, "b": { "c": [1, 2], "d": "x" }, "e": 0 }), "e"),
        ] {
            assert_eq!(difference("", &left, &right).map(|found| found.0).as_deref(), Some(field));
        }
    }
}
