//! Step 3, what the expert says: trait [`Teacher`] answers for a batch of views. Always in evaluation mode,
//! never with a gradient.

use burn::tensor::Tensor;

/// What a frozen teacher says about a batch.
#[derive(Debug, Clone)]
pub struct TeacherOutput {
    /// The vector that its classifier reads: (B, D_t).
    pub penultimate: Tensor<2>,
    /// Its unnormalised scores: (B, K).
    pub logits: Tensor<2>,
}
