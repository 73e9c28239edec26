//! How operations are held to Burn's, and gradients to differences.

use burn::tensor::{DType, Device, Tensor, TensorData};
use proptest::test_runner::{Config as ProptestConfig, RngSeed};

/// Numbers that look random, the same for the same seed.
pub fn noise<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 22) as f32 - 2.0
        })
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// A tensor of this shape whose storage has its first and last axes swapped and lies inside a larger one.
pub fn strided<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    let mut stored = shape;
    stored.swap(0, D - 1);
    stored[0] += 2;
    noise(stored, seed, device).narrow(0, 1, shape[D - 1]).swap_dims(0, D - 1)
}

pub fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().convert::<f64>().try_into_vec::<f64>().expect("f64")
}

/// What f's output is weighted by before it is summed to what the gradients are of.
fn weights_for<const D: usize>(y: &Tensor<D>) -> Tensor<D> {
    noise(y.dims(), 77, &y.device()).cast(y.dtype())
}

/// Output and gradients as vectors, from f applied to leaves of which the `tracked` want gradients.
fn run<const D: usize>(
    leaves: &[Tensor<D>],
    tracked: impl Fn(usize) -> bool,
    f: &dyn Fn(&[Tensor<D>]) -> Tensor<D>,
) -> (Vec<f64>, Vec<Vec<f64>>) {
    let leaf = |(i, leaf): (usize, &Tensor<D>)| match tracked(i) {
        true => leaf.clone().require_grad(),
        false => leaf.clone(),
    };
    let leaves: Vec<Tensor<D>> = leaves.iter().enumerate().map(leaf).collect();
    let y = f(&leaves);
    let grads = (y.clone() * weights_for(&y)).sum().backward();
    let wanted = leaves.iter().enumerate().filter(|&(i, _)| tracked(i));
    let gradients = wanted.map(|(_, leaf)| numbers(leaf.grad(&grads).expect("a gradient"))).collect();
    (numbers(y.inner()), gradients)
}

pub fn assert_close(name: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{name}: lengths");
    let size = expected.iter().fold(1.0f64, |size, v| size.max(v.abs()));
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() <= tolerance * size, "{name}[{i}] = {got}, expected {expected}");
    }
}

/// Holds `ours` in f32 to `burns` in f64, on contiguous and strided leaves, also where one leaf alone wants a gradient;
/// and itself in f64 to the same.
///
/// The tolerance covers f32 rounding in both summation orders; f64 is Burn's own code; some of its scalars pass through f32.
pub fn check<const D: usize>(
    name: &str,
    shapes: &[[usize; D]],
    tolerance: f64,
    ours: &dyn Fn(&[Tensor<D>]) -> Tensor<D>,
    burns: &dyn Fn(&[Tensor<D>]) -> Tensor<D>,
) {
    let device = Device::flex().autodiff();
    for make in [noise::<D>, strided::<D>] {
        let leaves: Vec<Tensor<D>> =
            shapes.iter().enumerate().map(|(i, &shape)| make(shape, i as u64 + 1, &device)).collect();
        let wide: Vec<Tensor<D>> = leaves.iter().map(|leaf| leaf.clone().cast(DType::F64)).collect();
        let (y, grads) = run(&leaves, |_| true, ours);
        let (again, grads_again) = run(&leaves, |_| true, ours);
        assert_eq!((&y, &grads), (&again, &grads_again), "{name} {shapes:?}: not reproducible");
        let (expected, expected_grads) = run(&wide, |_| true, burns);
        let (y64, grads64) = run(&wide, |_| true, ours);
        assert_close(&format!("{name} {shapes:?}"), &y, &expected, tolerance);
        assert_close(&format!("{name} {shapes:?} f64"), &y64, &expected, 1e-7);
        for i in 0..shapes.len() {
            let label = format!("{name} {shapes:?}: gradient {i}");
            assert_close(&label, &grads[i], &expected_grads[i], tolerance);
            assert_close(&format!("{label} f64"), &grads64[i], &expected_grads[i], 1e-7);
            let (y, alone) = run(&leaves, |leaf| leaf == i, ours);
            assert_close(&format!("{label} alone, output"), &y, &expected, tolerance);
            assert_close(&format!("{label} alone"), &alone[0], &expected_grads[i], tolerance);
        }
    }
}

/// h, of which f32 holds the sums with most leaves exactly.
const STEP: f64 = 1.0 / 32.0;
/// Relative to the largest gradient, or to 1. What is left out of the difference is h⁴/30 of the fifth derivative: 1e-5
/// for one of hundreds. Outputs near 4 are rounded by 2e-7 or so, and a hundred of them, weighted by up to 2, come to
/// 4e-6 by chance; times 1.5/h, that is 2e-4.
const DIFFERENCE: f64 = 1e-3;
/// As many entries of a leaf are moved at most.
const MOVED: usize = 150;

/// Holds the gradients of leaves of these shapes to differences: see [`check_differences_at`].
pub fn check_differences<const D: usize>(
    name: &str,
    shapes: &[[usize; D]],
    f: &dyn Fn(&[Tensor<D>]) -> Tensor<D>,
) {
    let device = Device::flex();
    let leaves: Vec<Tensor<D>> =
        shapes.iter().enumerate().map(|(i, &shape)| noise(shape, i as u64 + 1, &device)).collect();
    check_differences_at(name, &leaves, f);
}

/// Holds gradients to central differences of fourth order, (8 (L(h) − L(−h)) − (L(2h) − L(−2h))) / 12h, of
/// L = Σ weight · f, f computed without a graph and in f32, the sum in f64. Entries that take an output over 0 or 6,
/// where rectifiers have kinks, are left out.
pub fn check_differences_at<const D: usize>(
    name: &str,
    leaves: &[Tensor<D>],
    f: &dyn Fn(&[Tensor<D>]) -> Tensor<D>,
) {
    let device = Device::flex().autodiff();
    let tracked: Vec<Tensor<D>> =
        leaves.iter().map(|leaf| Tensor::from_data(leaf.clone().into_data(), &device)).collect();
    let (_, grads) = run(&tracked, |_| true, f);
    // L, and which outputs lie on a flat part of a rectifier.
    let at = |leaves: &[Tensor<D>]| {
        let y = f(leaves);
        let (weights, y) = (numbers(weights_for(&y)), numbers(y));
        let sum: f64 = y.iter().zip(weights).map(|(y, weight)| y * weight).sum();
        (sum, y.iter().map(|&y| (y == 0.0, y == 6.0)).collect::<Vec<_>>())
    };
    let (_, flat) = at(leaves);
    for (i, grad) in grads.iter().enumerate() {
        let values = numbers(leaves[i].clone());
        let size = grad.iter().fold(1.0f64, |size, g| size.max(g.abs()));
        let entries = (0..values.len()).step_by(values.len().div_ceil(MOVED));
        let mut smooth = 0;
        for entry in entries.clone() {
            let moved = |steps: f64| {
                let mut values = values.clone();
                values[entry] += steps * STEP;
                let values = values.into_iter().map(|v| v as f32).collect::<Vec<_>>();
                let mut leaves = leaves.to_vec();
                leaves[i] = Tensor::from_data(TensorData::new(values, leaves[i].dims()), &leaves[i].device());
                at(&leaves)
            };
            let [low2, low, high, high2] = [-2.0, -1.0, 1.0, 2.0].map(moved);
            if [&low2, &low, &high, &high2].iter().any(|(_, flats)| *flats != flat) {
                continue;
            }
            smooth += 1;
            let difference = (8.0 * (high.0 - low.0) - (high2.0 - low2.0)) / (12.0 * STEP);
            assert!(
                (grad[entry] - difference).abs() <= DIFFERENCE * size,
                "{name}, leaf {i}: gradient [{entry}] = {}, central difference {difference}",
                grad[entry]
            );
        }
        assert!(4 * smooth > entries.count(), "{name}, leaf {i}: only {smooth} entries away from kinks");
    }
}

/// As many cases as stay a matter of seconds, the same in every run.
pub fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        cases: count,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// In one dimension.
pub fn vector<const D: usize>(x: &Tensor<D>) -> Tensor<1> {
    x.clone().flatten(0, D - 1)
}
