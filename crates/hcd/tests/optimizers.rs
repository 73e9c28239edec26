//! The optimisers against PyTorch's documented update rules, written out here for single numbers in f64.
//!
//! Rules: the pseudo-code of `torch.optim.SGD`, `torch.optim.AdamW` and `torch.nn.utils.clip_grad_norm_`
//! (PyTorch 2 documentation). The two share no code with ours and work in another precision.
#![allow(clippy::unwrap_used, missing_docs)]

use hcd::burn::module::{Module, Param};
use hcd::burn::tensor::{Device, Tensor, TensorData};
use hcd::models::layers::{LayerNorm, Linear};
use hcd::models::weights::{HostTensor, TensorMap};
use hcd::models::{Init, Parameters, weights};
use hcd::rng;
use hcd::train::{GradientMap, Optimizer, OptimizerConfig, clip_global_norm};
use std::collections::BTreeMap;

/// One tensor of each kind that decay may spare.
#[derive(Module, Debug)]
struct Small {
    linear: Linear,
    norm: LayerNorm,
    relative_position_bias_table: Param<Tensor<2>>,
}

impl Small {
    fn new() -> Self {
        let device = Device::flex();
        let mut init = Init::new(rng::stream(3, "small", &[]), &device);
        Self {
            linear: Linear::torch_default(4, 3, &mut init),
            norm: LayerNorm::new(5, 1e-5, &init),
            relative_position_bias_table: init.trunc_normal([2, 3], 0.5),
        }
    }
}

/// Every number by (tensor, place), in f64.
type Numbers = BTreeMap<(String, usize), f64>;

fn numbers(tensors: &TensorMap) -> Numbers {
    let each = |(name, tensor): (&String, &HostTensor)| {
        let name = name.clone();
        let values = tensor.values.clone().into_iter().enumerate();
        values.map(move |(place, value)| ((name.clone(), place), f64::from(value))).collect::<Vec<_>>()
    };
    tensors.iter().flat_map(each).collect()
}

/// The problem: ½ Σ a (p − c)², whose gradient is a (p − c); a and c differ from number to number.
fn gradient(place: usize, value: f64) -> f64 {
    let curvature = 0.3 + 0.7 * (place % 4) as f64;
    let centre = (place % 5) as f64 - 2.1;
    curvature * (value - centre)
}

/// The rule of one number: what it remembers is its own.
trait Rule {
    fn step(&mut self, value: f64, gradient: f64, lr: f64, decay: f64, t: i32) -> f64;
}

/// torch.optim.SGD with dampening 0.
#[derive(Clone)]
struct TorchSgd {
    momentum: f64,
    nesterov: bool,
    buffer: Option<f64>,
}

impl Rule for TorchSgd {
    fn step(&mut self, value: f64, gradient: f64, lr: f64, decay: f64, _t: i32) -> f64 {
        let mut g = gradient + decay * value;
        if self.momentum != 0.0 {
            let b = self.buffer.map_or(g, |b| self.momentum * b + g);
            self.buffer = Some(b);
            g = if self.nesterov { g + self.momentum * b } else { b };
        }
        value - lr * g
    }
}

/// torch.optim.AdamW.
#[derive(Clone)]
struct TorchAdamW {
    betas: [f64; 2],
    epsilon: f64,
    first: f64,
    second: f64,
}

impl Rule for TorchAdamW {
    fn step(&mut self, value: f64, gradient: f64, lr: f64, decay: f64, t: i32) -> f64 {
        let value = value - lr * decay * value;
        let [b1, b2] = self.betas;
        self.first = b1 * self.first + (1.0 - b1) * gradient;
        self.second = b2 * self.second + (1.0 - b2) * gradient * gradient;
        let first = self.first / (1.0 - b1.powi(t));
        let second = self.second / (1.0 - b2.powi(t));
        value - lr * first / (second.sqrt() + self.epsilon)
    }
}

/// Three steps of both, at a rate that changes; `spared` says whether some tensors do not decay.
fn check(config: OptimizerConfig, rule: impl Rule + Clone, weight_decay: f64, spared: bool) {
    let what = format!("{config:?}");
    let mut module = Small::new();
    let mut optimizer = Optimizer::new(config);
    let mut expected = numbers(&weights::snapshot(&module));
    let start = expected.clone();
    let mut rules: BTreeMap<_, _> = expected.keys().map(|key| (key.clone(), rule.clone())).collect();
    for (t, lr) in [(1, 0.1), (2, 0.05), (3, 0.08)] {
        let mut gradients = GradientMap::new();
        for tensor in module.named() {
            let values = tensor.to_vec().into_iter().enumerate();
            let found: Vec<f32> = values.map(|(place, p)| gradient(place, f64::from(p)) as f32).collect();
            let count = found.len();
            let found = Tensor::from_data(TensorData::new(found, [count]), &Device::flex());
            gradients.insert(format!("student.{}", tensor.name), found);
        }
        optimizer.begin_step();
        module = optimizer.apply("student.", module, &gradients, lr, &BTreeMap::new());
        for ((name, place), value) in &mut expected {
            let decays = !spared || name == "linear.weight";
            let decay = if decays { weight_decay } else { 0.0 };
            let rule = rules.get_mut(&(name.clone(), *place)).unwrap();
            *value = rule.step(*value, gradient(*place, *value), lr, decay, t);
        }
    }
    let found = numbers(&weights::snapshot(&module));
    for (key, value) in &expected {
        // Values up to 3 in f32, three steps.
        assert!((found[key] - value).abs() < 2e-6, "{what}: {key:?} is {}, expected {value}", found[key]);
        assert!((start[key] - value).abs() > 1e-3, "{what}: {key:?} did not move");
    }
}

#[test]
fn sgd_is_pytorchs() {
    for (momentum, nesterov) in [(0.9, true), (0.9, false), (0.5, true), (0.0, false)] {
        for (weight_decay, everywhere) in [(0.0, true), (0.1, true), (0.1, false)] {
            let config = OptimizerConfig::Sgd {
                lr: 0.1,
                momentum,
                nesterov,
                weight_decay,
                decay_norms_and_biases: everywhere,
            };
            check(config, TorchSgd { momentum, nesterov, buffer: None }, weight_decay, !everywhere);
        }
    }
}

#[test]
fn adamw_is_pytorchs() {
    for (betas, epsilon) in [([0.9, 0.999], 1e-8), ([0.5, 0.9], 1e-2)] {
        for (weight_decay, everywhere) in [(0.0, false), (0.2, false), (0.2, true)] {
            let config = OptimizerConfig::AdamW {
                lr: 0.1,
                betas,
                epsilon,
                weight_decay,
                decay_norms_and_biases: everywhere,
            };
            let rule = TorchAdamW { betas, epsilon, first: 0.0, second: 0.0 };
            check(config, rule, weight_decay, !everywhere);
        }
    }
}

#[test]
fn defaults_are_pytorchs_and_the_methods() {
    let read = |text: &str| toml::from_str::<OptimizerConfig>(text).unwrap();
    assert_eq!(read("name = 'sgd'"), OptimizerConfig::default());
    let sgd = OptimizerConfig::Sgd {
        lr: 0.05,
        momentum: 0.9,
        nesterov: true,
        weight_decay: 2e-3,
        decay_norms_and_biases: true,
    };
    assert_eq!(OptimizerConfig::default(), sgd);
    let adamw = OptimizerConfig::AdamW {
        lr: 5e-4,
        betas: [0.9, 0.999],
        epsilon: 1e-8,
        weight_decay: 0.05,
        decay_norms_and_biases: false,
    };
    assert_eq!(read("name = 'adamw'"), adamw);
}

#[test]
fn a_tensor_without_a_gradient_stays_and_one_of_another_part_too() {
    for config in ["name = 'sgd'", "name = 'adamw'"] {
        let mut optimizer = Optimizer::new(toml::from_str(config).unwrap());
        let module = Small::new();
        let before = weights::snapshot(&module);
        let ones = || Tensor::<1>::ones([12], &Device::flex());
        let gradients = GradientMap::from([
            ("student.linear.weight".to_owned(), ones()),
            ("heads.norm.weight".to_owned(), ones()),
        ]);
        optimizer.begin_step();
        let after =
            weights::snapshot(&optimizer.apply("student.", module, &gradients, 0.1, &BTreeMap::new()));
        for (name, tensor) in &before {
            assert_eq!(tensor == &after[name], name != "linear.weight", "{name}");
        }
        let remembered: Vec<String> = optimizer.snapshot().into_keys().collect();
        assert!(remembered.iter().all(|name| name.ends_with(".student.linear.weight")), "{remembered:?}");
    }
}

#[test]
fn a_restored_optimiser_goes_on_to_the_bit() {
    for config in ["name = 'sgd'", "name = 'adamw'"] {
        let config: OptimizerConfig = toml::from_str(config).unwrap();
        let step = |optimizer: &mut Optimizer, module: Small, sign: f32| {
            let values: Vec<f32> = (0..12).map(|place| sign * (place as f32 - 4.3)).collect();
            let gradient = Tensor::<1>::from_data(TensorData::new(values, [12]), &Device::flex());
            optimizer.begin_step();
            optimizer.apply(
                "",
                module,
                &GradientMap::from([("linear.weight".to_owned(), gradient)]),
                0.1,
                &BTreeMap::new(),
            )
        };
        let mut optimizer = Optimizer::new(config.clone());
        let module = step(&mut optimizer, Small::new(), 1.0);
        let module = step(&mut optimizer, module, 0.5);
        let mut restored = Optimizer::restore(config, 2, &optimizer.snapshot(), &Device::flex());
        let one = weights::snapshot(&step(&mut optimizer, module.clone(), -1.0));
        let other = weights::snapshot(&step(&mut restored, module, -1.0));
        assert_eq!(one, other);
        assert_eq!(optimizer.snapshot(), restored.snapshot());
    }
}

#[test]
fn clipping_is_clip_grad_norm() {
    let check = |tensors: &[&[f32]], limit: f64| {
        let gradients = tensors.iter().enumerate().map(|(index, values)| {
            let data = TensorData::new(values.to_vec(), [values.len()]);
            (format!("tensor {index}"), Tensor::<1>::from_data(data, &Device::flex()))
        });
        let mut gradients: GradientMap = gradients.collect();
        let squares = tensors.iter().flat_map(|values| values.iter()).map(|&g| f64::from(g).powi(2));
        let norm = squares.sum::<f64>().sqrt();
        let told = clip_global_norm(&mut gradients, limit);
        // 1e-6: sums of squares in f32.
        assert!((told - norm).abs() <= 1e-6 * norm, "{told} {norm}");
        let coefficient = (limit / (norm + 1e-6)).min(1.0);
        for (clipped, values) in gradients.into_values().zip(tensors) {
            let clipped: Vec<f32> = clipped.into_data().iter::<f32>().collect();
            for (clipped, &value) in clipped.iter().zip(*values) {
                let expected = coefficient * f64::from(value);
                assert!(
                    (f64::from(*clipped) - expected).abs() <= 1e-6 * expected.abs(),
                    "{limit}: {clipped}"
                );
            }
        }
    };
    let tensors: [&[f32]; 3] = [&[3.0, -4.0], &[12.0], &[0.0, 0.1, -1e-3]];
    for limit in [1e-3, 1.0, 12.9, 13.0, 13.1, 100.0] {
        check(&tensors, limit);
    }
    check(&[&[0.0, 0.0]], 1.0);
    check(&[&[1e-7], &[-2e-7]], 1e-7);
    check(&[], 1.0);
}

#[test]
fn clipping_leaves_gradients_within_the_limit_as_they_are() {
    let values = vec![0.1f32, -0.7, 1e-20];
    let gradient = Tensor::<1>::from_data(TensorData::new(values.clone(), [3]), &Device::flex());
    let mut gradients = GradientMap::from([("only".to_owned(), gradient)]);
    clip_global_norm(&mut gradients, 1.0);
    assert_eq!(gradients["only"].clone().into_data().iter::<f32>().collect::<Vec<_>>(), values);
}
