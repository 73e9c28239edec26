//! Step 5a, what a term costs: pure functions of raw logits, unweighted. One loss a file.
//!
//! Every function takes logits as the network gives them and returns one number, a scalar (1). None knows a
//! weight: weights are applied in [`crate::methods`]. All probabilities come from log-softmax, never from
//! the logarithm of a softmax, which is −∞ for logits far apart.
//!
//! All work on any device and in any float type; the tensors of one call share both.

mod cc;
mod crd;
mod cross_entropy;
mod dist;
mod dkd;
mod kd;
mod kl;
mod ofa;
mod orthogonality;
mod rkd;
mod rsd;
mod standardise;
mod sub_ce;
mod sub_kl;

pub use cc::correlation_congruence;
pub use crd::contrast;
pub use cross_entropy::cross_entropy;
pub use dist::{inter_class, intra_class};
pub use dkd::{nckd, tckd};
pub use kd::kd;
pub use kl::kl;
pub use ofa::ofa;
pub(crate) use orthogonality::masked_cosines;
pub use orthogonality::orthogonality;
pub use rkd::{relative_angles, relative_distances};
pub use rsd::redundancy_suppression;
pub use standardise::standardise;
pub use sub_ce::sub_ce;
pub use sub_kl::sub_kl;

use burn::tensor::Tensor;

/// Panics unless both tensors have the same shape.
fn same_shape<const D: usize>(loss: &str, left: (&str, &Tensor<D>), right: (&str, &Tensor<D>)) {
    let (first, second) = (left.1.dims(), right.1.dims());
    assert_eq!(first, second, "{loss}: {} {first:?} and {} {second:?} differ in shape", left.0, right.0);
}

/// Panics unless sub-logits (B, N, K) and per-sample rows (B, K) agree in B and K.
fn same_batch(loss: &str, sub_logits: &Tensor<3>, rows: (&str, &Tensor<2>)) {
    let [batch, _, classes] = sub_logits.dims();
    let shape = rows.1.dims();
    assert_eq!(
        [batch, classes],
        shape,
        "{loss}: sub-logits {:?} and {} {shape:?} differ in batch or classes",
        sub_logits.dims(),
        rows.0
    );
}
