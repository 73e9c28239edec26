//! A file mapped into memory, for reading: its pages come when they are first touched and go when memory is short.
//!
//! No reference into the map is ever given out: what others write into the file meanwhile changes the bytes that are
//! copied next, and no value that the compiler takes to be constant.

use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;

/// A mapped file.
#[derive(Debug)]
pub struct Mapped(MmapRaw);

impl Mapped {
    /// Maps the first `length` bytes of a file, which must have as many.
    ///
    /// # Errors
    /// Where the file is shorter, or the system maps no files.
    pub fn new(file: &File, length: usize) -> io::Result<Self> {
        if file.metadata()?.len() < length as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self(MmapOptions::new().len(length).map_raw_read_only(file)?))
    }

    /// Copies the bytes from `place` on.
    ///
    /// Where the file was cut short since it was mapped, Unix ends the process by SIGBUS on touching what is gone; who
    /// wants to notice before asks for the file's length.
    ///
    /// # Panics
    /// Where they reach beyond the end of the map.
    pub fn copy(&self, place: usize, to: &mut [u8]) {
        let end = place.checked_add(to.len());
        let length = self.0.len();
        assert!(end.is_some_and(|end| end <= length), "mapped: {place} + {} of {length} bytes", to.len());
        // SAFETY: the range lies within the map, as was just seen, and the map lives as long as `self`; `to` is another
        // allocation. The bytes are read once, whoever else writes them.
        unsafe { std::ptr::copy_nonoverlapping(self.0.as_ptr().add(place), to.as_mut_ptr(), to.len()) };
    }
}
