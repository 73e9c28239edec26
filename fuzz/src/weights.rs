//! The readers' files under the names that they have in the library.

#[path = "../../crates/hcd/src/models/weights/archive.rs"]
mod archive;
#[path = "../../crates/hcd/src/models/weights/calls.rs"]
mod calls;
#[path = "../../crates/hcd/src/models/weights/machine.rs"]
mod machine;
#[path = "../../crates/hcd/src/models/weights/naming.rs"]
pub mod naming;
#[path = "../../crates/hcd/src/models/weights/open.rs"]
pub mod open;
#[path = "../../crates/hcd/src/models/weights/pickle.rs"]
mod pickle;
#[path = "../../crates/hcd/src/models/weights/pytorch.rs"]
mod pytorch;
#[path = "../../crates/hcd/src/models/weights/safetensors.rs"]
mod safetensors;
#[path = "../../crates/hcd/src/models/weights/tensor.rs"]
pub mod tensor;
