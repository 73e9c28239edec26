//! Files that are whole or absent: written beside their name, flushed, and renamed.

use crate::error::{Error, Result};
use std::io::Write;
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
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(folder).map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(file.path(), open).map_err(fail)?;
    }
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
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

/// BLAKE3 of `bytes`, in hex.
pub fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
