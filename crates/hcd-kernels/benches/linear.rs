//! Linear layers of the networks in the zoo, batch 32: multiply-adds a second, forward and both gradients.
//!
//! `RAYON_NUM_THREADS=2 cargo bench -p hcd-kernels --bench linear -- vit_small`
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hcd_kernels::Precision;
use hcd_kernels::gemm::Activation;
use hcd_kernels::linear::{self, Mix};
use hcd_kernels::reference::noise;
use std::time::Duration;

/// As in the `hcd` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IMAGES: usize = 32;

/// Name, tokens an image, numbers that come in and go out.
const LAYERS: &[(&str, usize, usize, usize)] = &[
    ("deit_tiny.qkv", 197, 192, 576),
    ("deit_tiny.fc1", 197, 192, 768),
    ("deit_tiny.fc2", 197, 768, 192),
    ("vit_small.qkv", 197, 384, 1152),
    ("vit_small.fc1", 197, 384, 1536),
    ("vit_small.fc2", 197, 1536, 384),
    ("swin_tiny.stage1.fc1", 3136, 96, 384),
    ("swin_tiny.stage3.fc1", 196, 384, 1536),
    ("mixer_b16.channels.fc1", 196, 768, 3072),
];

fn layers(criterion: &mut Criterion) {
    hcd_kernels::memory::keep();
    for &(name, tokens, input, output) in LAYERS {
        for (kind, precision) in [("f32", Precision::F32), ("bf16", Precision::Bf16)] {
            let rows = IMAGES * tokens;
            let (x, weight, bias) = (noise(rows * input, 1), noise(output * input, 2), noise(output, 3));
            let grad = noise(rows * output, 4);
            let (mut y, mut dx, mut dweight) = (grad.clone(), x.clone(), weight.clone());
            let mut group = criterion.benchmark_group(format!("{name}/{kind}"));
            group.throughput(Throughput::Elements((rows * input * output) as u64)).sample_size(10);
            group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
            for (forward, activation) in [("forward", Activation::None), ("forward_gelu", Activation::Gelu)] {
                group.bench_function(forward, |b| {
                    b.iter(|| linear::forward(&x, &weight, &bias, input, precision, activation, &mut y));
                });
            }
            group.bench_function("input_grad", |b| {
                b.iter(|| linear::input_grad(&grad, &weight, input, precision, &mut dx));
            });
            group.bench_function("weight_grad", |b| {
                b.iter(|| linear::weight_grad(&x, &grad, input, precision, &mut dweight));
            });
            group.finish();
        }
    }
}

fn mixing(criterion: &mut Criterion) {
    for (kind, precision) in [("f32", Precision::F32), ("bf16", Precision::Bf16)] {
        let mix = Mix { tokens: 196, out: 384, width: 768, precision };
        let (x, weight) = (noise(IMAGES * mix.tokens * mix.width, 1), noise(mix.out * mix.tokens, 2));
        let bias = noise(mix.out, 3);
        let mut y = noise(IMAGES * mix.out * mix.width, 4);
        let mut group = criterion.benchmark_group(format!("mixer_b16.tokens.fc1/{kind}"));
        group.throughput(Throughput::Elements((y.len() * mix.tokens) as u64)).sample_size(10);
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        group.bench_function("forward", |b| {
            b.iter(|| linear::mix_forward(&mix, &weight, &x, &bias, Activation::None, &mut y));
        });
        group.finish();
    }
}

criterion_group!(benches, layers, mixing);
criterion_main!(benches);
