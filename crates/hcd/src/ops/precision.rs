//! What convolutions and matrix products multiply: f32, or numbers rounded to 16 bits, as under PyTorch's `autocast`.
//!
//! Weights, activations, gradients, norms, softmax, attention and losses stay f32; operands are rounded where a product
//! reads them, and products are added up in f32. A backward step multiplies as its forward step did. Depthwise
//! convolutions wait for memory rather than multiply, and stay f32. On devices without the kernels this says nothing.

pub use hcd_kernels::{Precision, Unit};
use std::cell::Cell;

thread_local! {
    static CURRENT: Cell<Precision> = const { Cell::new(Precision::F32) };
}

/// Puts back what was before, also where the work panics.
struct Restored(Precision);

impl Drop for Restored {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// Runs `work` with the products that this thread asks for meanwhile at `precision`.
pub fn with_precision<T>(precision: Precision, work: impl FnOnce() -> T) -> T {
    let _restored = Restored(CURRENT.replace(precision));
    work()
}

/// The precision of products that this thread asks for.
pub(super) fn current() -> Precision {
    CURRENT.get()
}
