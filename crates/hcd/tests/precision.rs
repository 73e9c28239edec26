//! Products of 16 bits: where they apply, what stays f32, and that a training goes as in f32.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use hcd::burn::tensor::{Device, Distribution, Tensor};
use hcd::config;
use hcd::ops::{Precision, linear, with_precision};
use hcd::train::{Learner, Objective, inspect_precision};
use support::{RESNET, SWIN, batches, experiment};

fn noise<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), device)
}

fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().unwrap()
}

/// The largest difference, as a part of the largest number.
fn apart(found: &[f32], expected: &[f32]) -> f32 {
    let largest = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    found.iter().zip(expected).fold(0.0f32, |a, (b, c)| a.max((b - c).abs())) / largest
}

#[test]
fn it_holds_within_and_backward_multiplies_as_forward_did() {
    let device = Device::flex().autodiff();
    let (x, weight) = (noise([20, 70], &device), noise([30, 70], &device));
    let once = |precision: Precision| {
        let (x, weight) = (x.clone().require_grad(), weight.clone().require_grad());
        let y = with_precision(precision, || linear(x.clone(), weight.clone(), None));
        // Backward runs outside.
        let grads = y.clone().sum().backward();
        [numbers(y), numbers(x.grad(&grads).unwrap()), numbers(weight.grad(&grads).unwrap())]
    };
    let (single, half) = (once(Precision::F32), once(Precision::Bf16));
    for (half, single) in half.iter().zip(&single) {
        let apart = apart(half, single);
        assert!((1e-5..1e-2).contains(&apart), "{apart}");
    }
    let after = numbers(linear(x.clone(), weight.clone(), None));
    assert_eq!(after, single[0], "f32 again");
    let panicked = std::panic::catch_unwind(|| with_precision(Precision::Bf16, || panic!("on purpose")));
    assert!(panicked.is_err());
    assert_eq!(numbers(linear(x, weight, None)), single[0], "f32 again after a panic");
}

#[test]
fn losses_fall_as_in_f32() {
    for (student, rest, lr) in [
        (RESNET, "optimizer = { name = 'sgd', lr = 0.05 }", 0.05),
        (SWIN, "optimizer = { name = 'adamw', lr = 5e-3 }\nschedule = { name = 'cosine', min_lr = 0 }", 5e-3),
    ] {
        let curve = |precision: &str| {
            let train = format!(
                "train = {{ batch_size = 24, label_smoothing = 0, precision = '{precision}' }}\n{rest}"
            );
            let experiment = experiment(student, &train);
            let batch = &batches(&experiment, 0)[0];
            let mut learner = Learner::new(&experiment, &Objective::Supervised).unwrap();
            let mut losses = Vec::new();
            for step in 0..40 {
                losses.push(learner.learn(batch, &mut Objective::Supervised, (0, step), 1).unwrap().loss);
                learner = learner.update(lr, None).0;
            }
            losses
        };
        let (single, half) = (curve("f32"), curve("bf16"));
        assert_ne!(single, half);
        assert!(
            (single[0] / half[0] - 1.0).abs() < 0.01,
            "{student} begins at {} and {}",
            single[0],
            half[0]
        );
        // By step 40 both have learned the batch by heart.
        assert!(
            single[39] < single[0] / 5.0 && half[39] < half[0] / 5.0,
            "{student}: {} {}",
            single[39],
            half[39]
        );
    }
}

#[test]
fn a_recipe_names_it() {
    let parse = |precision: &str| {
        let text = format!("data.path = 'x'\nstudent.name = 'resnet18'\ntrain.precision = '{precision}'");
        config::from_text(&text, "test", &[]).map(|resolved| resolved.recipe)
    };
    let recipe = parse("bf16").unwrap();
    assert_eq!(recipe.train.precision, Precision::Bf16);
    let warning = inspect_precision(&recipe, &Device::flex()).unwrap();
    assert!(warning.is_none_or(|warning| warning.contains("AVX512_BF16")));
    assert_eq!(inspect_precision(&parse("f32").unwrap(), &Device::flex()).unwrap(), None);
    let refused = parse("f16").unwrap_err().to_string();
    assert!(
        refused.contains("train.precision") && refused.contains("f16") && refused.contains("bf16"),
        "{refused}"
    );
}
