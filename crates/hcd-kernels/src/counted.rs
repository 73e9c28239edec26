//! An allocator that knows how much is allocated through it, and how much was at most.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// `A`, whose bytes are counted: as they are asked for, whatever the system keeps mapped beyond them.
///
/// ```
/// use hcd_kernels::counted::{Counted, peak_bytes, restart};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static ALLOCATOR: Counted<System> = Counted(System);
///
/// restart();
/// let before = peak_bytes();
/// drop(vec![0u8; 1 << 20]);
/// assert!(peak_bytes() >= before + (1 << 20));
/// ```
#[derive(Debug, Default)]
pub struct Counted<A>(pub A);

/// The most bytes that were allocated at once since [`restart`], or since the program began; 0 where [`Counted`] does not
/// allocate.
pub fn peak_bytes() -> usize {
    PEAK.load(Relaxed)
}

/// Begins anew with what is allocated now.
pub fn restart() {
    PEAK.store(LIVE.load(Relaxed), Relaxed);
}

fn grown(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Relaxed).wrapping_add(bytes);
    // A look is cheaper than a write that all threads wait for.
    if live > PEAK.load(Relaxed) {
        PEAK.fetch_max(live, Relaxed);
    }
}

fn shrunk(bytes: usize) {
    LIVE.fetch_sub(bytes, Relaxed);
}

// SAFETY: every call is handed on as it came, and what `A` gives is given back; counting touches neither.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counted<A> {
    /// # Safety
    /// As [`GlobalAlloc::alloc`].
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `A`'s conditions, which are the same.
        let start = unsafe { self.0.alloc(layout) };
        if !start.is_null() {
            grown(layout.size());
        }
        start
    }

    /// # Safety
    /// As [`GlobalAlloc::alloc_zeroed`].
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let start = unsafe { self.0.alloc_zeroed(layout) };
        if !start.is_null() {
            grown(layout.size());
        }
        start
    }

    /// # Safety
    /// As [`GlobalAlloc::dealloc`].
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { self.0.dealloc(start, layout) };
        shrunk(layout.size());
    }

    /// # Safety
    /// As [`GlobalAlloc::realloc`].
    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        let moved = unsafe { self.0.realloc(start, layout, size) };
        if !moved.is_null() {
            shrunk(layout.size());
            grown(size);
        }
        moved
    }
}
