//! Relations among a batch's features: how far any two are apart, and the angles that any three make.
//!
//! Source: Park et al., Relational Knowledge Distillation, CVPR 2019, arXiv 1904.05068, equations 5 to 9. Widths of student
//! and teacher may differ; batches are the same.

use burn::tensor::Tensor;

/// Least squared distance: its root has a slope, and a vector of no length a direction of none.
const LEAST_SQUARE: f64 = 1e-12;
/// Least squared norm that a difference is divided by the root of.
const LEAST_NORM_SQUARE: f64 = 1e-24;

/// Smooth L1 between the distances of all pairs, each divided by its network's mean. The teacher gets no gradient.
///
/// # Shapes
/// `student` (B, D_s), `teacher` (B, D_t) → (1)
///
/// # Panics
/// Where the batches differ.
pub fn relative_distances(student: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    let [student, teacher] = differences(student, teacher);
    if student.dims()[0] < 2 {
        return student.sum() * 0.0;
    }
    smooth_l1(distances(student), distances(teacher))
}

/// Smooth L1 between the cosines of the angles of all triples. The teacher gets no gradient.
///
/// # Shapes
/// `student` (B, D_s), `teacher` (B, D_t) → (1)
///
/// # Panics
/// Where the batches differ.
pub fn relative_angles(student: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    let [student, teacher] = differences(student, teacher);
    smooth_l1(angles(student), angles(teacher))
}

/// e_i − e_j of all pairs.
///
/// # Shapes
/// (B, D_s), (B, D_t) → (B, B, D) each
fn differences(student: Tensor<2>, teacher: Tensor<2>) -> [Tensor<3>; 2] {
    let (left, right) = (student.dims(), teacher.dims());
    assert_eq!(left[0], right[0], "rkd: student {left:?} and teacher {right:?} differ in batch");
    [student, teacher.without_autodiff()]
        .map(|rows| rows.clone().unsqueeze_dim::<3>(0) - rows.unsqueeze_dim::<3>(1))
}

/// (B, B, D) → (B, B), of mean 1 beside the diagonal, and 0 on it.
fn distances(differences: Tensor<3>) -> Tensor<2> {
    let [batch, _, _] = differences.dims();
    let squares = differences.square().sum_dim(2).squeeze_dim::<2>(2); // (B, B)
    let others = Tensor::<2>::eye(batch, &squares.device()).cast(squares.dtype()) * -1.0 + 1.0;
    let distances = squares.clamp_min(LEAST_SQUARE).sqrt() * others;
    let mean = distances.clone().sum() / (batch * (batch - 1)) as f64; // (1)
    distances / mean.unsqueeze::<2>()
}

/// (B, B, D) → (B, B, B): cosines of the angles at each sample.
fn angles(differences: Tensor<3>) -> Tensor<3> {
    let squares = differences.clone().square().sum_dim(2); // (B, B, 1)
    let unit = differences / squares.clamp_min(LEAST_NORM_SQUARE).sqrt();
    unit.clone().matmul(unit.swap_dims(1, 2))
}

/// Mean of ½x² where |x| < 1, |x| − ½ elsewhere.
fn smooth_l1<const D: usize>(left: Tensor<D>, right: Tensor<D>) -> Tensor<1> {
    let apart = (left - right).abs();
    let inner = apart.clone().clamp_max(1.0);
    (inner.clone().square() * 0.5 + (apart - inner)).mean()
}
