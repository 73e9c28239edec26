//! Kullback–Leibler divergence of two softmaxes at a temperature:
//! T² · mean KL(softmax(a/T) ‖ softmax(b/T)), KL(p ‖ q) = Σ_c p_c (log p_c − log q_c).
//!
//! Source: Hinton et al., Distilling the Knowledge in a Neural Network, arXiv 1503.02531, section 2: the
//! factor T² keeps the size of the gradient, which falls with 1/T².
//!
//! Computed as Σ_c p_c (d_c − k) + k with d = log p − log q and k the row's divergence held constant: equal in
//! value and, since Σ_c p_c = 1, in gradient. Where logits are far apart every d is large, and the gradient
//! p_c (d_c − KL) would otherwise appear only as the difference of large numbers.

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

/// The divergence of `second` from `first` over the last axis, mean over all others. Gradients reach both.
///
/// # Shapes
/// `first` (…, K); `second` the same, or 1 on axes along which it is shared → (1)
///
/// # Panics
/// Where the shapes neither agree nor broadcast onto `first`, or `temperature` is not positive.
pub fn kl<const D: usize>(first: Tensor<D>, second: Tensor<D>, temperature: f64) -> Tensor<1> {
    let (left, right) = (first.dims(), second.dims());
    let onto = (0..D).all(|axis| right[axis] == left[axis] || (right[axis] == 1 && axis + 1 < D));
    assert!(onto, "kl: first {left:?} and second {right:?} differ in shape");
    assert!(temperature > 0.0, "kl: temperature {temperature} must be positive");
    let rows: usize = left[..D - 1].iter().product();
    let log_p = log_softmax(first / temperature, D - 1); // (…, K)
    let log_q = log_softmax(second / temperature, D - 1);
    let p = log_p.clone().exp();
    let distance = log_p - log_q; // d (…, K)
    let row = (p.clone().without_autodiff() * distance.clone().without_autodiff()).sum_dim(D - 1); // k (…, 1)
    let sum = (p * (distance - row.clone())).sum() + row.sum();
    sum * (temperature * temperature / rows as f64)
}
