//! Memory that is written before it is read.

use std::mem::{ManuallyDrop, MaybeUninit};

/// `length` numbers that `fill` writes, every one of them; unlike `vec![0.0; length]`, they are not written before,
/// which takes about as long as an elementwise kernel does.
///
/// `fill` must not read what it has not written: it would see numbers left over from elsewhere. All kernels write
/// their outputs whole.
pub fn written(length: usize, fill: impl FnOnce(&mut [f32])) -> Vec<f32> {
    let mut values: Vec<MaybeUninit<f32>> = Vec::with_capacity(length);
    // SAFETY: `MaybeUninit` needs no initial value, and the capacity is there.
    unsafe { values.set_len(length) };
    let mut values = ManuallyDrop::new(values);
    let start = values.as_mut_ptr().cast::<f32>();
    // SAFETY: the memory is this function's alone; every bit pattern is an f32, and none is read before it is
    // written.
    fill(unsafe { std::slice::from_raw_parts_mut(start, length) });
    // SAFETY: the same allocation, of the same layout, given back once.
    unsafe { Vec::from_raw_parts(start, length, values.capacity()) }
}
