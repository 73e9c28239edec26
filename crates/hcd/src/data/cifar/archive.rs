//! The archives that the sets come in: tar, gzipped or plain, read as they are and never unpacked to disk.
//!
//! An archive may be anybody's, so only files that a form has are read, and no more of them than a set can have;
//! long names and sparse files, of which no form has any, are passed over. An archive has to reach its end, two
//! blocks of zeros, and where it is gzipped its checksum, or it is cut.
//!
//! Source: POSIX.1-2017, `pax`, "ustar Interchange Format".

use super::source::{self, MOST_BYTES};
use super::{FORMS, Form};
use crate::error::{Error, Result};
use crate::models::weights::legible;
use flate2::bufread::MultiGzDecoder;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::ops::ControlFlow;
use std::path::Path;
use tar::{Archive, Header};

/// How names of archives end, in any case.
const ENDINGS: [&str; 3] = [".tar.gz", ".tgz", ".tar"];

/// The most bytes that an archive may unpack to, whatever is in it.
const MOST_UNPACKED: u64 = 1 << 32;

/// How many members are looked at to tell what an archive is.
const LOOKED_AT: usize = 16;

/// Bytes of a block, of which an archive consists.
const BLOCK: usize = 512;

/// What of an archive some form knows.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub names: Names,
    /// The files, by name without folder.
    pub members: BTreeMap<String, Vec<u8>>,
}

/// The names in an archive that are some form's.
#[derive(Debug, Default)]
pub(super) struct Names {
    files: BTreeSet<String>,
    folders: BTreeSet<String>,
}

impl Names {
    /// Takes note of a member.
    fn add(&mut self, member: &Member) {
        let folders = member.parts.iter().filter(|part| FORMS.iter().any(|form| form.folder == **part));
        self.folders.extend(folders.cloned());
        self.files.extend(member.file().map(str::to_owned));
    }

    /// The forms of which enough is there.
    pub fn forms(&self) -> Vec<&'static Form> {
        source::forms(|file| self.files.contains(file), |folder| self.folders.contains(folder))
    }
}

/// What the header of a member says.
struct Member {
    /// Its path.
    parts: Vec<String>,
    is_file: bool,
    size: u64,
}

impl Member {
    fn of(header: &Header, size: u64) -> Self {
        let path = header.path_bytes();
        let parts = String::from_utf8_lossy(&path).split('/').map(str::to_owned).collect();
        Self { parts, is_file: header.entry_type().is_file(), size }
    }

    /// Its name, where it is a file that some form has.
    fn file(&self) -> Option<&str> {
        let name = self.parts.last().filter(|_| self.is_file)?.as_str();
        FORMS.iter().any(|form| form.files().any(|file| file == name)).then_some(name)
    }
}

/// Whether a file in a folder may be an archive of one of the sets.
pub(super) fn has_likely_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.starts_with("cifar") && ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// The form that a file is an archive of: by its name, else by its first members.
pub(super) fn form(path: &Path) -> Option<&'static Form> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    let stem = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending));
    let named =
        FORMS.iter().find(|form| stem.is_some_and(|stem| stem == form.archive || stem == form.folder));
    named.or_else(|| {
        let (mut names, mut count) = (Names::default(), 0);
        let looked = walk(path, MOST_BYTES, |member, _| {
            names.add(member);
            count += 1;
            match count == LOOKED_AT || !names.forms().is_empty() {
                true => Ok(ControlFlow::Break(())),
                false => Ok(ControlFlow::Continue(())),
            }
        });
        // What cannot be read is no archive of ours, unless its name said so.
        looked.ok().and_then(|()| names.forms().first().copied())
    })
}

/// Reads every file of an archive that some form has.
///
/// # Errors
/// Where it cannot be read, is cut or damaged, has one of them twice, or more than any set.
pub(super) fn read(path: &Path) -> Result<Contents> {
    let mut contents = Contents::default();
    let mut left = MOST_BYTES;
    walk(path, MOST_UNPACKED, |member, input| {
        contents.names.add(member);
        let Some(name) = member.file() else { return Ok(ControlFlow::Continue(())) };
        let bad = |what: &str| Err(Error::Data(format!("{}: {name}: {what}", path.display())));
        if contents.members.contains_key(name) {
            return bad("is in the archive twice, expected once");
        }
        match left.checked_sub(member.size) {
            Some(rest) => left = rest,
            None => return bad(&source::too_large()),
        }
        // The buffer grows with what arrives, so a header cannot make it large by itself.
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes).map_err(|error| damaged(path, &error))?;
        if bytes.len() as u64 != member.size {
            return Err(damaged(path, &ErrorKind::UnexpectedEof.into()));
        }
        contents.members.insert(name.to_owned(), bytes);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(contents)
}

/// Shows each member and its contents to `visit`, until that has seen enough or the archive has properly ended.
fn walk(
    path: &Path,
    most: u64,
    visit: impl FnMut(&Member, &mut dyn Read) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let fail = |source| Error::Io { path: path.to_owned(), action: "read", source };
    let mut file = BufReader::new(File::open(path).map_err(fail)?);
    let is_gzip = file.fill_buf().map_err(fail)?.starts_with(&[0x1f, 0x8b]);
    let unpacked: Box<dyn Read> = if is_gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut unpacked = unpacked.take(most);
    let walked = walk_unpacked(path, &mut unpacked, visit);
    match unpacked.limit() {
        0 => Err(Error::Data(format!("{}: over {most} bytes unpacked, expected less", path.display()))),
        _ => walked,
    }
}

fn walk_unpacked(
    path: &Path,
    input: &mut impl Read,
    mut visit: impl FnMut(&Member, &mut dyn Read) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let damaged = |error: std::io::Error| damaged(path, &error);
    let mut archive = Archive::new(&mut *input);
    // Raw: headers that extend others take as much memory as they like.
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        let member = Member::of(entry.header(), entry.size());
        if visit(&member, &mut entry)?.is_break() {
            return Ok(());
        }
    }
    // The first block of zeros has been read, or nothing was left.
    let mut last = Vec::new();
    input.by_ref().take(BLOCK as u64).read_to_end(&mut last).map_err(damaged)?;
    if last != [0; BLOCK] {
        return Err(damaged(ErrorKind::UnexpectedEof.into()));
    }
    // The checksum of gzip comes last.
    std::io::copy(input, &mut std::io::sink()).map_err(damaged)?;
    Ok(())
}

fn damaged(path: &Path, error: &std::io::Error) -> Error {
    let error = legible(&error.to_string());
    let expected = "expected a whole tar archive, gzipped or plain";
    Error::Data(format!("{}: damaged or cut ({error}), {expected}; fetch it again", path.display()))
}
