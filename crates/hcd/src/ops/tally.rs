//! What a forward pass would compute, without computing it.
//!
//! Within [`record`], layers and attention report their multiply-adds and hand out zeros of the right shape in place
//! of results, so that a table of a network costs next to nothing. Elsewhere a report is one look at a flag of the
//! thread.

use burn::module::ParamId;
use burn::tensor::{Device, Tensor};
use std::cell::RefCell;

/// One operation that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Which, as PyTorch calls it.
    pub kind: &'static str,
    /// Its weight, where it has one.
    pub weight: Option<ParamId>,
    /// The shape of its result.
    pub output: Vec<usize>,
    /// Products that are added up, or scales with a shift.
    pub multiply_adds: u64,
}

thread_local! {
    static RECORD: RefCell<Option<Vec<Operation>>> = const { RefCell::new(None) };
}

/// Ends a recording, also where the pass panics.
struct Recording;

impl Drop for Recording {
    fn drop(&mut self) {
        RECORD.with_borrow_mut(|record| *record = None);
    }
}

/// The operations of `pass`, in order; on this thread they are not carried out meanwhile.
pub fn record(pass: impl FnOnce()) -> Vec<Operation> {
    RECORD.with_borrow_mut(|record| *record = Some(Vec::new()));
    let recording = Recording;
    pass();
    let found = RECORD.with_borrow_mut(Option::take).unwrap_or_default();
    drop(recording);
    found
}

/// While recording: enters an operation of `kind` with the given result and multiply-adds, and gives zeros.
pub fn stand_in<const D: usize>(
    kind: &'static str,
    weight: Option<ParamId>,
    output: [usize; D],
    multiply_adds: usize,
    device: &Device,
) -> Option<Tensor<D>> {
    RECORD.with_borrow_mut(|record| {
        let operation =
            Operation { kind, weight, output: output.to_vec(), multiply_adds: multiply_adds as u64 };
        record.as_mut()?.push(operation);
        Some(Tensor::zeros(output, device))
    })
}

/// Whether this thread records.
pub fn is_recording() -> bool {
    RECORD.with_borrow(Option::is_some)
}
