//! Checkpoints: all that a run needs to go on as if it had never stopped.
//!
//! One safetensors file a checkpoint (`step-00000123.safetensors`: tensors under `student.`, `heads.`,
//! `optimizer.`, `ema.`; the rest as JSON in its metadata), and beside it its BLAKE3 in the format of
//! `b3sum --check`. The sum is written last: a file without its sum was being written when the run died.

use crate::error::{Error, Result};
use crate::files;
use crate::models::weights::{self, Precision, TensorMap};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How many are kept: the newest, and one to fall back on.
const KEPT: usize = 2;

/// What a checkpoint holds beside tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header<S> {
    /// Version of the format.
    pub format: u32,
    /// Where the run stands.
    pub state: S,
}

/// The folder of a run's checkpoints.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
}

/// What [`Checkpoints::newest`] found.
#[derive(Debug)]
pub struct Found<S> {
    /// The checkpoint's state.
    pub state: S,
    /// The checkpoint's tensors.
    pub tensors: TensorMap,
    /// Newer ones that were passed over, and why, one line each.
    pub damaged: Vec<String>,
}

impl Checkpoints {
    /// In `folder`, which is created when the first one is saved.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Saves a checkpoint of optimiser step `step`, then removes all but the newest two.
    ///
    /// # Errors
    /// Where the folder cannot be written to.
    pub fn save<S: Serialize>(&self, step: u64, state: S, tensors: &TensorMap) -> Result<()> {
        files::create_folder(&self.folder)?;
        let path = self.folder.join(format!("step-{step:08}.safetensors"));
        weights::write(&path, tensors, Precision::F32, &Header { format: 1, state })?;
        let sum = blake3::hash(&files::read(&path)?).to_hex();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files::write(&sum_of(&path), format!("{sum}  {name}\n").as_bytes())?;
        for old in self.all()?.into_iter().rev().skip(KEPT) {
            // The sum goes first: a checkpoint is never without one while it counts.
            let _ = std::fs::remove_file(sum_of(&old));
            let _ = std::fs::remove_file(&old);
        }
        Ok(())
    }

    /// The newest whole checkpoint, or none where none was ever finished.
    ///
    /// # Errors
    /// Where the folder cannot be read, or every checkpoint in it is damaged.
    pub fn newest<S: for<'de> Deserialize<'de>>(&self) -> Result<Option<Found<S>>> {
        let mut damaged = Vec::new();
        for path in self.all()?.into_iter().rev() {
            match open::<S>(&path) {
                Ok((state, tensors)) => return Ok(Some(Found { state, tensors, damaged })),
                Err(error) => damaged.push(error.to_string()),
            }
        }
        match damaged.is_empty() {
            true => Ok(None),
            false => Err(Error::Run(format!(
                "{}: no whole checkpoint is left ({}); start the run anew",
                self.folder.display(),
                damaged.join("; ")
            ))),
        }
    }

    /// Removes files that a killed run was writing, or removing: those without their name or their sum.
    ///
    /// # Errors
    /// Where the folder cannot be read, or such a file not be removed.
    pub fn remove_unfinished(&self) -> Result<()> {
        files::remove_unfinished(&self.folder)?;
        self.with_name()?
            .iter()
            .filter(|path| !sum_of(path).exists())
            .try_for_each(|path| files::remove(path))
    }

    /// All whose sum was written, oldest first.
    fn all(&self) -> Result<Vec<PathBuf>> {
        let mut paths = self.with_name()?;
        paths.retain(|path| sum_of(path).exists());
        paths.sort();
        Ok(paths)
    }

    fn with_name(&self) -> Result<Vec<PathBuf>> {
        let mut paths = files::list(&self.folder)?;
        paths.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
        Ok(paths)
    }
}

fn sum_of(path: &Path) -> PathBuf {
    path.with_extension("safetensors.b3")
}

fn open<S: for<'de> Deserialize<'de>>(path: &Path) -> Result<(S, TensorMap)> {
    let bytes = files::read(path)?;
    let sum = files::read_text(&sum_of(path))?;
    if sum.split_whitespace().next() != Some(blake3::hash(&bytes).to_hex().as_str()) {
        return Err(Error::Run(format!("{}: damaged, its checksum differs", path.display())));
    }
    let (tensors, header) = weights::decode::<Header<S>>(&bytes, &path.display().to_string())?;
    match header {
        Some(Header { format: 1, state }) => Ok((state, tensors)),
        _ => Err(Error::Run(format!("{}: not a checkpoint of this version", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::weights::HostTensor;

    fn tensors(value: f32) -> TensorMap {
        TensorMap::from([("student.w".to_owned(), HostTensor { shape: vec![2], values: vec![value, -0.0] })])
    }

    #[test]
    fn the_newest_whole_one_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let checkpoints = Checkpoints::new(folder.path().join("checkpoints"));
        assert!(checkpoints.newest::<u64>().expect("readable").is_none());
        for step in [10, 20, 30] {
            checkpoints.save(step, step, &tensors(step as f32)).expect("saved");
        }
        let found = checkpoints.newest::<u64>().expect("readable").expect("present");
        assert_eq!((found.state, found.tensors), (30, tensors(30.0)));
        assert!(found.damaged.is_empty());
        assert_eq!(checkpoints.all().expect("readable").len(), KEPT);

        // One flipped bit in the newest: it is named, and the one before it is used.
        let newest = folder.path().join("checkpoints/step-00000030.safetensors");
        let mut bytes = std::fs::read(&newest).expect("readable");
        *bytes.last_mut().expect("not empty") ^= 1;
        std::fs::write(&newest, bytes).expect("writable");
        let found = checkpoints.newest::<u64>().expect("readable").expect("present");
        assert_eq!((found.state, found.tensors), (20, tensors(20.0)));
        assert!(found.damaged[0].contains("step-00000030"), "{:?}", found.damaged);

        // A file without its sum was never finished.
        std::fs::remove_file(sum_of(&newest)).expect("removable");
        assert!(checkpoints.newest::<u64>().expect("readable").expect("present").damaged.is_empty());
    }

    #[test]
    fn all_damaged_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let checkpoints = Checkpoints::new(folder.path().to_owned());
        checkpoints.save(1, 1u64, &tensors(0.0)).expect("saved");
        std::fs::write(folder.path().join("step-00000001.safetensors"), b"x").expect("writable");
        assert!(checkpoints.newest::<u64>().is_err());
    }
}
