//! Sub-logits: shared logits cut into N, s_i (B, N·K) → (B, N, K), and fused with the teacher's,
//! z_ij = λ_s s_ij + λ_t z_t.
//!
//! Source: HCD (Xu et al., AAAI 2026, arXiv 2511.10942), sub-logit decoupled distillation.

use burn::tensor::Tensor;

/// Cuts shared logits into N sub-logits.
///
/// # Shapes
/// `shared` (B, N·K) → (B, N, K)
///
/// # Panics
/// Where N does not divide the width.
pub fn split(shared: Tensor<2>, sub_logits: usize) -> Tensor<3> {
    let [batch, width] = shared.dims();
    assert!(
        sub_logits > 0 && width.is_multiple_of(sub_logits),
        "split: shared logits {:?} cannot be cut into {sub_logits} sub-logits",
        [batch, width]
    );
    shared.reshape([batch, sub_logits, width / sub_logits])
}

/// λ_s s_ij + λ_t z_t. The teacher gets no gradient.
///
/// # Shapes
/// `sub_logits` (B, N, K), `teacher_logits` (B, K) → (B, N, K)
///
/// # Panics
/// Where B or K differ.
pub fn fuse(
    sub_logits: Tensor<3>,
    teacher_logits: Tensor<2>,
    sub_scale: f64,
    teacher_scale: f64,
) -> Tensor<3> {
    let ([batch, _, classes], teacher) = (sub_logits.dims(), teacher_logits.dims());
    assert_eq!(
        [batch, classes],
        teacher,
        "fuse: sub-logits {:?} and teacher logits {teacher:?} differ in batch or classes",
        sub_logits.dims()
    );
    let teacher_part = teacher_logits.without_autodiff().unsqueeze_dim::<3>(1) * teacher_scale; // (B, 1, K)
    sub_logits * sub_scale + teacher_part
}
