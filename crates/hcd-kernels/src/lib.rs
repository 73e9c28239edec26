//! CPU kernels for training: slices in, slices out. No tensors, no models.
//!
//! Every function splits its work over rayon's current pool at places that depend on the shapes alone, and sums
//! in a fixed order, so results are the same bits whatever the number of threads. Loops are compiled three
//! times (portable, AVX2 + FMA, AVX-512) and chosen at run time: see [`Level`]. [`mod@reference`] holds
//! readable scalar versions that the tests compare with.

#[macro_use]
mod level;

pub mod attention;
pub mod average;
pub mod batch_norm;
pub mod bf16;
pub mod conv;
mod copy;
pub mod counted;
pub mod gelu;
pub mod gemm;
mod lanes;
pub mod layer_norm;
pub mod linear;
pub mod mapped;
mod math;
pub mod max_pool;
pub mod memory;
mod product;
pub mod reference;
pub mod relu;
mod split;
mod sums;
pub mod transpose;
pub mod update;

pub use bf16::{Precision, Unit};
pub use level::Level;
