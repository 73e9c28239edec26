//! Files that are whole or absent: written beside their name, flushed, and renamed.

use crate::error::{Error, Result};
use serde::Serialize;
use std::fs::{File, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Reads a whole file.
///
/// # Errors
/// Where it cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), action: "read", source })
}

/// Reads a whole text file.
///
/// # Errors
/// Where it cannot be read or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        action: "read",
        source,
    })
}

/// Creates a folder and those above it.
///
/// # Errors
/// Where that is not allowed or something else has the name.
pub fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        action: "create folder",
        source,
    })
}

/// Writes `bytes` under `path`: nobody ever sees a part of them under that name.
///
/// # Errors
/// Where the folder cannot be written to or the disk is full; then nothing is left behind.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let fail = |source| Error::Io { path: path.to_owned(), action: "write", source };
    let mut file = temporary(path)?;
    file.write_all(bytes).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    make_readable(file.path()).map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}

/// Writes `value` under `path` as JSON for people to read, as [`write()`] does.
///
/// # Errors
/// As [`write()`], and where the value has no place in JSON.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::Run(format!("{}: cannot write: {e}", path.display())))?;
    write(path, format!("{text}\n").as_bytes())
}

/// A file that is written piece by piece and gets its name when it is whole; dropped before, it is gone.
#[derive(Debug)]
pub struct Pending {
    file: tempfile::NamedTempFile,
    path: PathBuf,
}

impl Pending {
    /// Begins a file that is to be called `path`.
    ///
    /// # Errors
    /// Where something has that name, or the folder cannot be written to.
    pub fn create(path: &Path) -> Result<Self> {
        if path.exists() {
            let message = format!("{}: already there; name another file with --out", path.display());
            return Err(Error::Run(message));
        }
        Ok(Self { file: temporary(path)?, path: path.to_owned() })
    }

    /// Writes `bytes` at a place of the file.
    ///
    /// # Errors
    /// Where that fails, as on a full disk.
    pub fn write_at(&mut self, place: u64, bytes: &[u8]) -> Result<()> {
        let file = self.file.as_file_mut();
        let done = file.seek(SeekFrom::Start(place)).and_then(|_| file.write_all(bytes));
        done.map_err(|source| Error::Io { path: self.path.clone(), action: "write", source })
    }

    /// Flushes the file and gives it its name, unless something else has got it meanwhile.
    ///
    /// # Errors
    /// Where that fails; then nothing is left behind.
    pub fn finish(self) -> Result<()> {
        let fail = |source| Error::Io { path: self.path.clone(), action: "write", source };
        self.file.as_file().sync_all().map_err(fail)?;
        make_readable(self.file.path()).map_err(fail)?;
        self.file.persist_noclobber(&self.path).map_err(|error| fail(error.error))?;
        Ok(())
    }
}

/// Temporary files are their owner's alone; results are not.
pub(crate) fn make_readable(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))?;
    }
    let _ = path;
    Ok(())
}

/// The folder that a path is in.
/// A file without its name yet, beside where it is to be.
fn temporary(path: &Path) -> Result<tempfile::NamedTempFile> {
    let folder = folder_of(path);
    if !folder.is_dir() {
        let (shown, folder) = (path.display(), folder.display());
        return Err(Error::Run(format!("{shown}: cannot write: there is no folder {folder}; make it first")));
    }
    let file = tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(folder);
    file.map_err(|source| Error::Io { path: path.to_owned(), action: "write", source })
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// What is in a folder; nothing where there is none.
///
/// # Errors
/// Where it cannot be read.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let fail = |source| Error::Io { path: folder.to_owned(), action: "read", source };
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path()).map_err(fail)).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(fail(error)),
    }
}

/// Removes a file.
///
/// # Errors
/// Where that is not allowed.
pub fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).map_err(|source| Error::Io { path: path.to_owned(), action: "remove", source })
}

/// Whether a file of that name was being written by [`write()`] when the program was killed.
pub fn is_unfinished(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".tmp")
}

/// Removes from a folder what [`write()`] was writing when the program was killed.
///
/// # Errors
/// Where the folder cannot be read, or such a file not be removed.
pub fn remove_unfinished(folder: &Path) -> Result<()> {
    let unfinished =
        |path: &PathBuf| path.file_name().is_some_and(|name| is_unfinished(&name.to_string_lossy()));
    list(folder)?.iter().filter(|path| unfinished(path)).try_for_each(|path| remove(path))
}

/// Locks an open file, unless another process has locked it. Gives whether this one may write; where the file system knows
/// no locks, everyone may.
pub(crate) fn lock(file: &File) -> bool {
    !matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// A folder that one process alone works in, until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Hold {
    /// Locked where the system locks folders.
    _folder: Option<File>,
}

impl Hold {
    /// Takes a folder, which is made where it is not there; none where another process has it. Where folders cannot be
    /// locked (Windows, some network file systems), everyone gets it.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn of(folder: &Path) -> Result<Option<Self>> {
        create_folder(folder)?;
        let opened = File::open(folder).ok();
        Ok(opened.as_ref().is_none_or(lock).then_some(Self { _folder: opened }))
    }
}

/// BLAKE3 of `bytes`, in hex.
pub fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
