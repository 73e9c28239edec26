//! Slices at chosen places in memory: at a page that nobody may touch, or beside a cache line's start.

use std::ops::{Deref, DerefMut};

/// Where a slice lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// So many of its numbers behind a start of 64 bytes.
    Behind(usize),
    /// It begins where a page ends that may not be touched.
    First,
    /// It ends where a page begins that may not be touched.
    Last,
}

/// Numbers at a [`Place`]. Whoever reads or writes the pages around them dies of it.
pub struct Placed<T: Copy> {
    pages: *mut libc::c_void,
    size: usize,
    start: *mut T,
    length: usize,
}

/// Large enough for all systems that map in smaller pages.
const PAGE: usize = 64 * 1024;

impl<T: Copy> Placed<T> {
    /// A copy of `values` at a place.
    pub fn new(values: &[T], place: Place) -> Self {
        let bytes = size_of_val(values);
        let inner = (bytes + 2 * 64).next_multiple_of(PAGE);
        let size = inner + 2 * PAGE;
        let (nothing, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANON);
        // SAFETY: new memory, wherever the system likes.
        let pages = unsafe { libc::mmap(std::ptr::null_mut(), size, nothing, flags, -1, 0) };
        assert_ne!(pages, libc::MAP_FAILED, "no memory for {size} bytes");
        let first = pages.wrapping_byte_add(PAGE);
        // SAFETY: what is opened lies within what was mapped; the pages at both ends stay shut.
        let opened = unsafe { libc::mprotect(first, inner, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(opened, 0, "{inner} bytes cannot be opened");
        let start: *mut T = match place {
            Place::Behind(numbers) => first.wrapping_byte_add(numbers * size_of::<T>()).cast(),
            Place::First => first.cast(),
            Place::Last => first.wrapping_byte_add(inner - bytes).cast(),
        };
        // SAFETY: `bytes` from `start` on are open memory of this value alone.
        unsafe { start.copy_from_nonoverlapping(values.as_ptr(), values.len()) };
        Self { pages, size, start, length: values.len() }
    }
}

impl<T: Copy> Deref for Placed<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: numbers written by `new`, in memory of this value alone.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl<T: Copy> DerefMut for Placed<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and borrowed once.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.length) }
    }
}

impl<T: Copy> Drop for Placed<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, given back once.
        unsafe { libc::munmap(self.pages, self.size) };
    }
}

// SAFETY: it owns its memory, and hands it out as a slice would be.
unsafe impl<T: Copy + Sync> Sync for Placed<T> {}
