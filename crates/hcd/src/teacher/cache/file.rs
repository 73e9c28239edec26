//! The file of one view: rows are written where they belong, and read from a map of it.
//!
//! While rows are missing, the file's name ends in `.partial`; its header is whole from the start, and a row counts once
//! its checksum agrees: what was torn by a crash is computed again. One process at a time fills a file, which it holds
//! locked; others ask the teacher meanwhile.

use super::layout::Layout;
use crate::error::{Error, Result};
use crate::files;
use hcd_kernels::mapped::Mapped;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// How often a file is looked for that other processes begin, finish or remove meanwhile.
const TRIES: usize = 8;

/// An open file of answers.
#[derive(Debug)]
pub(super) struct ViewFile {
    path: PathBuf,
    file: File,
    layout: Layout,
    /// Where the system maps files; elsewhere rows are read one by one.
    mapped: Option<Mapped>,
    /// Checksums of the rows; 0 where there is none.
    crc: Vec<u32>,
    scale: Vec<f32>,
    missing: usize,
    hold: Hold,
    row: Vec<u8>,
}

/// Who may write rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// This process.
    Ours,
    /// Another one, which fills the file.
    Theirs,
    /// Nobody: the file is finished, or only looked at.
    Nobody,
}

impl ViewFile {
    /// Opens the answers that are kept at `path`, or begins them.
    ///
    /// # Errors
    /// Where files cannot be read or written, or one is of another key.
    pub(super) fn open(path: &Path, layout: &Layout) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        files::create_folder(folder)?;
        for _ in 0..TRIES {
            if let Some(found) = Self::find(path, layout, true)? {
                return found.finished();
            }
            begin(&partial(path), layout)?;
        }
        Err(Error::Run(format!("{}: is removed again and again while it is begun", path.display())))
    }

    /// Opens the answers that are kept at `path`, whole or not, if there are any; to fill them, or only to look at them. A
    /// file that is damaged is removed where it is to be filled.
    ///
    /// # Errors
    /// Where files cannot be read, or one is of another key.
    pub(super) fn find(path: &Path, layout: &Layout, fills: bool) -> Result<Option<Self>> {
        match Self::read(path, path, layout, false)? {
            Some(Some(whole)) => {
                let begun = partial(path);
                if fills && begun.is_file() {
                    // Begun while another process gave the finished one its name.
                    remove(&begun)?;
                }
                return Ok(Some(whole));
            }
            Some(None) if fills => remove(path)?,
            _ => {}
        }
        let begun = partial(path);
        match Self::read(&begun, path, layout, fills)? {
            Some(Some(found)) => return Ok(Some(found)),
            Some(None) if fills => remove(&begun)?,
            _ => {}
        }
        Ok(None)
    }

    /// Reads what a file has: none where there is none, none in it where it is damaged.
    fn read(at: &Path, path: &Path, layout: &Layout, fills: bool) -> Result<Option<Option<Self>>> {
        let mut file = match OpenOptions::new().read(true).write(fills).open(at) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io(at, "open", source)),
        };
        // Before it is read: what another process wrote until it let go is then seen.
        let hold = if fills { Hold::of(&file) } else { Hold::Nobody };
        let Some((crc, scale)) = layout.read(at, &mut file)? else { return Ok(Some(None)) };
        let missing = crc.iter().filter(|&&crc| crc == 0).count();
        let mapped = Mapped::new(&file, layout.end() as usize).ok();
        let row = vec![0; layout.row_bytes()];
        let (path, layout) = (path.to_owned(), layout.clone());
        Ok(Some(Some(Self { path, file, layout, mapped, crc, scale, missing, hold, row })))
    }

    /// Has a finished file that turned out to be damaged filled again.
    ///
    /// # Errors
    /// Where that fails.
    pub(super) fn mend(&mut self) -> Result<()> {
        if self.hold != Hold::Nobody || self.missing == 0 {
            return Ok(());
        }
        let begun = partial(&self.path);
        match std::fs::rename(&self.path, &begun) {
            Ok(()) => {}
            // Another process does it.
            Err(error) if error.kind() == ErrorKind::NotFound => self.hold = Hold::Theirs,
            Err(source) => return Err(io(&self.path, "rename", source)),
        }
        match OpenOptions::new().read(true).write(true).open(&begun) {
            Ok(file) => {
                self.hold = Hold::of(&file);
                self.mapped = Mapped::new(&file, self.layout.end() as usize).ok();
                self.file = file;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(source) => Err(io(&begun, "open", source)),
        }
    }

    /// Whether another process fills it.
    pub(super) fn is_theirs(&self) -> bool {
        self.hold == Hold::Theirs
    }

    /// Whether a finished file has lost its end since it was opened: reading on would touch what is gone.
    ///
    /// # Errors
    /// Where the system does not tell its length.
    pub(super) fn is_cut(&self) -> Result<bool> {
        let length = self.file.metadata().map_err(|source| io(&self.path, "read", source))?.len();
        Ok(length < self.layout.end())
    }

    /// Appends the feature of a row, where it is there and whole.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub(super) fn get(&mut self, row: usize, features: &mut Vec<f32>) -> Result<bool> {
        if self.crc[row] == 0 {
            return Ok(false);
        }
        let place = self.layout.feature(row);
        match &self.mapped {
            Some(mapped) => mapped.copy(place as usize, &mut self.row),
            None => {
                let read =
                    self.file.seek(SeekFrom::Start(place)).and_then(|_| self.file.read_exact(&mut self.row));
                read.map_err(|source| io(&self.path, "read", source))?;
            }
        }
        if checksum(&self.row, self.scale[row]) != self.crc[row] {
            self.crc[row] = 0;
            self.missing += 1;
            return Ok(false);
        }
        self.layout.stored.decode(&self.row, self.scale[row], features);
        Ok(true)
    }

    /// Stores the feature of a row, where this process fills the file. Its checksum is written last.
    ///
    /// # Errors
    /// Where that fails.
    pub(super) fn put(&mut self, row: usize, bytes: &[u8], scale: f32) -> Result<()> {
        if self.hold != Hold::Ours || self.crc[row] != 0 {
            return Ok(());
        }
        let crc = checksum(bytes, scale);
        let mut write = |place: u64, bytes: &[u8]| {
            self.file.seek(SeekFrom::Start(place)).and_then(|_| self.file.write_all(bytes))
        };
        write(self.layout.feature(row), bytes)
            .and_then(|()| write(self.layout.scale(row), &scale.to_le_bytes()))
            .and_then(|()| write(self.layout.crc(row), &crc.to_le_bytes()))
            .map_err(|source| io(&partial(&self.path), "write", source))?;
        self.crc[row] = crc;
        self.scale[row] = scale;
        self.missing -= 1;
        Ok(())
    }

    /// Gives the file its name where this process fills it and no row is missing any more.
    ///
    /// # Errors
    /// Where that fails.
    pub(super) fn finished(mut self) -> Result<Self> {
        if self.missing == 0 && self.hold == Hold::Ours {
            self.file.sync_all().map_err(|source| io(&self.path, "write", source))?;
            // Where another process gave it its name just before it was locked here, what is called partial by now is not
            // this file.
            if !self.path.is_file() {
                match std::fs::rename(partial(&self.path), &self.path) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    done => done.map_err(|source| io(&self.path, "rename", source))?,
                }
            }
            self.file.unlock().map_err(|source| io(&self.path, "unlock", source))?;
            self.hold = Hold::Nobody;
        }
        Ok(self)
    }
}

impl Hold {
    /// Locks a file that is to be filled. Where the file system knows no locks, two processes may both write a row: its
    /// checksum then tells whether it is one of theirs.
    fn of(file: &File) -> Self {
        match files::lock(file) {
            true => Hold::Ours,
            false => Hold::Theirs,
        }
    }
}

/// Bytes of the answers at `path` that are on the disk, of `whole` in all.
pub(super) fn present(path: &Path, whole: u64) -> u64 {
    if path.is_file() {
        return whole;
    }
    std::fs::metadata(partial(path)).map_or(0, |begun| written(&begun)).min(whole)
}

/// What a file that was begun takes up, its holes not counted.
#[cfg(unix)]
fn written(file: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(file) * 512
}

#[cfg(not(unix))]
fn written(_: &std::fs::Metadata) -> u64 {
    0
}

fn io(path: &Path, action: &'static str, source: std::io::Error) -> Error {
    Error::Io { path: path.to_owned(), action, source }
}

/// Removes a file, unless another process has done so.
fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done.map_err(|source| io(path, "remove", source)),
    }
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

/// CRC-32 of a row; never 0, which stands for none.
fn checksum(bytes: &[u8], scale: f32) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes);
    hasher.update(&scale.to_le_bytes());
    hasher.finalize().max(1)
}

/// Writes a file without rows, whole before it has its name.
fn begin(path: &Path, layout: &Layout) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let fail = |source| io(path, "write", source);
    let mut file = tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(folder).map_err(fail)?;
    file.write_all(&layout.header).and_then(|()| file.write_all(&layout.ids)).map_err(fail)?;
    file.as_file().set_len(layout.end()).map_err(fail)?;
    files::make_readable(file.path()).map_err(fail)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        // Another process was faster.
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(fail(error.error)),
    }
}
