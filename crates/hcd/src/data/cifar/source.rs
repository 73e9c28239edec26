//! Where the files of a set are: in a folder or in an archive, found from a path that leads near them.
//!
//! A path may be an archive, the folder with the files, or a folder that holds either. Of several forms of one set
//! folders come before archives; of both sets neither is taken.

use super::{FORMS, Form, archive};
use crate::error::{Error, Result};
use crate::files;
use crate::models::weights::legible;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The most bytes of all files that are read of a set. The largest are CIFAR-10's pickles in Python 3's version of
/// protocol 2, where half of the bytes take two: 275 MB.
pub(super) const MOST_BYTES: u64 = 384 << 20;

/// The fewest of a form's names, its folder's among them, that make it that form: `train` and `test` are everywhere.
const FEWEST_NAMES: usize = 2;

/// The files of a form.
#[derive(Debug)]
pub(super) struct Source {
    form: &'static Form,
    /// The folder or the archive.
    path: PathBuf,
    /// Those of an archive that have not been taken yet.
    members: Option<BTreeMap<String, Vec<u8>>>,
    /// How many bytes may still be read from a folder.
    left: u64,
}

impl Source {
    /// The set that a path leads to, with all of its files.
    ///
    /// # Errors
    /// Where there is none or more than one, or one of its files is missing; for an archive also where it is damaged.
    pub fn find(path: &Path) -> Result<Self> {
        if let Err(source) = std::fs::metadata(path) {
            return Err(Error::Io { path: path.to_owned(), action: "open", source });
        }
        let mut near = near(path);
        let form = one_set(path, near.iter().map(|(form, _)| *form))?;
        let (_, place) = near.swap_remove(0);
        let source = if place.is_dir() {
            Self { form, path: place, members: None, left: MOST_BYTES }
        } else {
            let archive::Contents { names, members } = archive::read(&place)?;
            let form = one_set(&place, names.forms().into_iter())?;
            Self { form, path: place, members: Some(members), left: 0 }
        };
        let missing: Vec<&str> = source.form.files().filter(|name| !source.holds(name)).collect();
        match missing.is_empty() {
            true => Ok(source),
            false => {
                let (shown, missing) = (source.path.display(), missing.join(", "));
                Err(Error::Data(format!("{shown}: {missing} missing beside the other files")))
            }
        }
    }

    /// The form of the files.
    pub fn form(&self) -> &'static Form {
        self.form
    }

    fn holds(&self, name: &str) -> bool {
        match &self.members {
            Some(members) => members.contains_key(name),
            None => self.path.join(name).is_file(),
        }
    }

    /// The contents of a file; those of an archive can be had once.
    ///
    /// # Errors
    /// Where it cannot be read, or is larger than any of the set's.
    pub fn take(&mut self, name: &str) -> Result<Vec<u8>> {
        if let Some(members) = &mut self.members {
            return members.remove(name).ok_or_else(|| self.bad(name, "missing"));
        }
        let path = self.path.join(name);
        let fail = |source| Error::Io { path: path.clone(), action: "read", source };
        let mut bytes = Vec::new();
        File::open(&path).map_err(fail)?.take(self.left + 1).read_to_end(&mut bytes).map_err(fail)?;
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => self.left = left,
            None => return Err(self.bad(name, &too_large())),
        }
        Ok(bytes)
    }

    /// What errors call a file.
    pub fn shown(&self, name: &str) -> String {
        match self.members {
            Some(_) => format!("{}: {name}", self.path.display()),
            None => self.path.join(name).display().to_string(),
        }
    }

    /// What is wrong with a file. Some of its text may be in it.
    pub fn bad(&self, name: &str, what: &str) -> Error {
        Error::Data(format!("{}: {}", self.shown(name), legible(what)))
    }
}

/// That files are larger than the set's.
pub(super) fn too_large() -> String {
    format!("with the other files over {} MiB, expected less", MOST_BYTES >> 20)
}

/// Whether a path leads to a set, whole or not.
pub(super) fn is_near(path: &Path) -> bool {
    !near(path).is_empty()
}

/// The forms of which enough names are there.
pub(super) fn forms(holds: impl Fn(&str) -> bool, is_within: impl Fn(&str) -> bool) -> Vec<&'static Form> {
    let names =
        |form: &Form| form.files().filter(|name| holds(name)).count() + usize::from(is_within(form.folder));
    FORMS.iter().filter(|form| names(form) >= FEWEST_NAMES).collect()
}

/// Every form that a path leads to, and the folder or archive that it is in, the preferred first.
fn near(path: &Path) -> Vec<(&'static Form, PathBuf)> {
    let at = |place: PathBuf| move |form| (form, place.clone());
    if path.is_file() {
        return archive::form(path).map(at(path.to_owned())).into_iter().collect();
    }
    let here = in_folder(path);
    if !here.is_empty() {
        return here.into_iter().map(at(path.to_owned())).collect();
    }
    let folders = FORMS.iter().map(|form| path.join(form.folder));
    let mut found: Vec<_> =
        folders.flat_map(|folder| in_folder(&folder).into_iter().map(at(folder))).collect();
    let mut archives = files::list(path).unwrap_or_default();
    archives.retain(|path| archive::has_likely_name(path) && path.is_file());
    archives.sort();
    found.extend(archives.into_iter().filter_map(|path| Some((archive::form(&path)?, path))));
    found
}

/// The forms whose files are in a folder itself.
fn in_folder(folder: &Path) -> Vec<&'static Form> {
    // The folder may be given as `.`.
    let real = folder.canonicalize().unwrap_or_default();
    let name = real.file_name().or(folder.file_name());
    forms(|file| folder.join(file).is_file(), |within| name.is_some_and(|name| name == within))
}

/// The first form, where all are of one set.
fn one_set(path: &Path, mut forms: impl Iterator<Item = &'static Form>) -> Result<&'static Form> {
    let first = forms.next().ok_or_else(|| neither(path))?;
    match forms.find(|form| form.set != first.set) {
        None => Ok(first),
        Some(other) => {
            let (shown, one, other) = (path.display(), first.set, other.set);
            Err(Error::Data(format!(
                "{shown}: holds {one} and {other}, expected one; name its folder or archive"
            )))
        }
    }
}

fn neither(path: &Path) -> Error {
    let folders: Vec<&str> = FORMS.iter().map(|form| form.folder).collect();
    let (shown, folders) = (path.display(), folders.join(", "));
    Error::Data(format!(
        "{shown}: holds neither CIFAR-10 nor CIFAR-100, expected {folders} or an archive of one"
    ))
}
