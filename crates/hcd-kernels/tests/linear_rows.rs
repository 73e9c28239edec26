//! The gradient of a weight whose rows are so many that they are summed in parts.

use hcd_kernels::Precision::{Bf16, F32};
use hcd_kernels::linear;
use hcd_kernels::reference::{self, assert_close, noise};

fn weight_grad(rows: usize, [depth, out]: [usize; 2]) -> Vec<f32> {
    let (x, grad) = (noise(rows * depth, 1), noise(rows * out, 2));
    // What was there is overwritten.
    let mut dweight = vec![f32::NAN; out * depth];
    linear::weight_grad(&x, &grad, depth, F32, &mut dweight);
    dweight
}

/// Around the numbers of rows from which there are two parts, and all of eight, the last of them shorter.
#[test]
fn parts_of_the_rows_add_up() {
    for rows in [1023, 1024, 1025, 1536, 1537, 2048, 4096, 4097, 5000] {
        for [depth, out] in [[1, 1], [17, 5], [64, 33], [5, 70]] {
            let (x, grad) = (noise(rows * depth, 1), noise(rows * out, 2));
            let expected = reference::linear(&x, &vec![0.0; out * depth], &vec![0.0; out], &grad).dweight;
            let found = weight_grad(rows, [depth, out]);
            // f32: on its way to 5,000 terms a sum is near 24, where half a step is 1e-6; of these, roots of hundreds.
            assert_close(&format!("dweight of {rows}, {depth}, {out}"), &found, &expected, 1e-5);
        }
    }
}

#[test]
fn not_finite_rows_reach_only_their_sums() {
    let (rows, depth, out) = (2000, 3, 2);
    let (mut x, grad) = (noise(rows * depth, 1), noise(rows * out, 2));
    x[1500 * depth + 1] = f32::NAN;
    let mut dweight = vec![0.0; out * depth];
    linear::weight_grad(&x, &grad, depth, F32, &mut dweight);
    let finite: Vec<bool> = dweight.iter().map(|value| value.is_finite()).collect();
    assert_eq!(finite, [true, false, true, true, false, true]);
}

#[test]
fn the_bits_do_not_depend_on_the_threads() {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let found = pool.install(|| weight_grad(3001, [48, 20]));
        found.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn a_layer_without_outputs_has_no_gradient() {
    for precision in [F32, Bf16] {
        linear::weight_grad(&noise(1024 * 4, 1), &[], 4, precision, &mut []);
    }
}

#[test]
#[should_panic(expected = "linear::weight_grad: the gradient is not (2000, 2)")]
fn gradients_of_other_rows_are_refused() {
    linear::weight_grad(&noise(2000 * 3, 1), &noise(1999 * 2, 2), 3, F32, &mut [0.0; 6]);
}
