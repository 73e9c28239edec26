//! The products at odd sizes, against f64.

use super::*;
use crate::reference::{self, noise};

#[test]
fn agrees_with_the_reference_at_odd_sizes() {
    for rows in [0, 1, 2, 5, 13, 14, 15, 29, 113, 240] {
        for depth in [0, 1, 7, 16, 255, 257, 600] {
            for columns in [1, 15, 16, 17, 31, 33, 64, 70] {
                let (a, weight) = (noise(rows * depth, 1), noise(columns * depth, 2));
                let (by_column, by_row) = (noise(columns, 3), noise(rows, 4));
                for bias in [Bias::None, Bias::Column(&by_column), Bias::Row(&by_row), Bias::There] {
                    check_one(&a, &weight, [rows, depth, columns], bias);
                }
            }
        }
    }
}

fn check_one(a: &[f32], weight: &[f32], [rows, depth, columns]: [usize; 3], bias: Bias) {
    let expected = reference::product(a, weight, [rows, depth, columns]);
    let there = noise(rows * columns, 5);
    let start = || if matches!(bias, Bias::There) { there.clone() } else { vec![f32::NAN; there.len()] };
    let with_bias = |at: usize, value: f64| match bias {
        Bias::None => value,
        Bias::Column(bias) => value + f64::from(bias[at % columns]),
        Bias::Row(bias) => value + f64::from(bias[at / columns]),
        Bias::There => value + f64::from(there[at]),
    };
    let mut straight = vec![0.0; weight.len()];
    for column in 0..columns {
        for k in 0..depth {
            straight[k * columns + column] = weight[column * depth + k];
        }
    }
    let turned: Vec<f32> = (0..depth * rows).map(|at| a[at % rows * depth + at / rows]).collect();
    let mut panels = vec![Panels::transposed(weight, depth)];
    if depth > 0 {
        panels.push(Panels::straight(&straight, columns));
    } else {
        panels[0] = Panels { depth, columns, values: Vec::new() };
    }
    for panels in &panels {
        for activation in [Activation::None, Activation::Gelu] {
            let left = Left::of(a, [rows, depth], false);
            let mut found = start();
            multiply(left, panels, bias, activation, &mut found);
            let mut here = start();
            multiply_here(left, panels, bias, activation, &mut Vec::new(), &mut here);
            assert_eq!(found, here);
            let left = Left::of(&turned, [rows, depth], true);
            here = start();
            multiply(left, panels, bias, activation, &mut here);
            assert_eq!(found, here);
            for (at, &found) in found.iter().enumerate() {
                let sum = with_bias(at, expected[at]);
                let want = match activation {
                    Activation::None => sum,
                    Activation::Gelu => reference::gelu(sum).0,
                };
                // f32 sums of up to 600 terms below 1.
                assert!((f64::from(found) - want).abs() < 1e-4, "{rows} {depth} {columns} at {at}");
            }
        }
    }
}
