//! Memory that is written before it is read, and memory that is not given back.

use libmimalloc_sys::{mi_option_set_default, mi_option_t};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::sync::Once;

/// `mi_option_purge_delay`, which the bindings have no name for: milliseconds until what is free goes back to the system.
const PURGE_DELAY: mi_option_t = 15;

/// Has mimalloc keep what is freed, where it is the program's allocator; elsewhere this does nothing.
///
/// Every step of a training allocates the same large tensors. Given back and fetched anew, their pages are cleared by
/// the system each time, a fifth of a step of ResNet-18. The environment variable `MIMALLOC_PURGE_DELAY` is stronger.
pub fn keep() {
    static DONE: Once = Once::new();
    // SAFETY: the option exists in all versions that are linked; `Once` sees to it that no two threads set it.
    DONE.call_once(|| unsafe { mi_option_set_default(PURGE_DELAY, -1) });
}

/// Numbers of which every bit pattern is one.
pub trait Plain: Copy + private::Sealed {}

impl Plain for f32 {}
impl Plain for u32 {}

mod private {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for u32 {}
}

/// `length` numbers that `fill` writes, every one of them; unlike `vec![0.0; length]`, they are not written before,
/// which takes about as long as an elementwise kernel does.
///
/// `fill` must not read what it has not written: it would see numbers left over from elsewhere. All kernels write
/// their outputs whole.
pub fn written<T: Plain>(length: usize, fill: impl FnOnce(&mut [T])) -> Vec<T> {
    let mut values: Vec<MaybeUninit<T>> = Vec::with_capacity(length);
    // SAFETY: `MaybeUninit` needs no initial value, and the capacity is there.
    unsafe { values.set_len(length) };
    let mut values = ManuallyDrop::new(values);
    let start = values.as_mut_ptr().cast::<T>();
    // SAFETY: the memory is this function's alone; every bit pattern is a number, and none is read before it is
    // written.
    fill(unsafe { std::slice::from_raw_parts_mut(start, length) });
    // SAFETY: the same allocation, of the same layout, given back once.
    unsafe { Vec::from_raw_parts(start, length, values.capacity()) }
}
