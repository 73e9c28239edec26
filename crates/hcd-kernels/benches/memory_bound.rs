//! Kernels that wait for memory, at the sizes of networks in the zoo, batch 32: bytes that must move, a second.
//!
//! `RAYON_NUM_THREADS=2 cargo bench -p hcd-kernels --bench memory_bound -- batch_norm`
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hcd_kernels::batch_norm::{self, BatchNorm, Channels};
use hcd_kernels::max_pool::{self, PoolShape};
use hcd_kernels::reference::noise;
use hcd_kernels::relu::{self, Rectifier};
use hcd_kernels::update::{self, AdamW, Sgd};
use hcd_kernels::{average, gelu, layer_norm};
use std::time::Duration;

/// As in the `hcd` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IMAGES: usize = 32;

/// Runs `kernel`, which reads and writes `numbers` in all.
fn run(criterion: &mut Criterion, name: &str, numbers: usize, mut kernel: impl FnMut()) {
    hcd_kernels::memory::keep();
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(4 * numbers as u64)).sample_size(10);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.bench_function("once", |b| b.iter(&mut kernel));
    group.finish();
}

fn norms(criterion: &mut Criterion) {
    let norm = BatchNorm { channels: 64, area: 56 * 56, epsilon: 1e-5, rectifier: Rectifier::Relu };
    let x = noise(IMAGES * norm.channels * norm.area, 1);
    let (mut y, shortcut, length) = (x.clone(), x.clone(), x.len());
    let (parameter, mut mean, mut variance) = (noise(64, 2), vec![0.0; 64], vec![0.0; 64]);
    run(criterion, "batch_norm/moments", length, || {
        batch_norm::moments(&norm, &x, &mut mean, &mut variance);
    });
    let channels = Channels { weight: &parameter, bias: &parameter, mean: &mean, variance: &variance };
    run(criterion, "batch_norm_relu/forward", 2 * length, || {
        batch_norm::forward(&norm, Some(&x), &channels, None, &mut y);
    });
    run(criterion, "batch_norm_add_relu/forward", 3 * length, || {
        batch_norm::forward(&norm, Some(&x), &channels, Some(&shortcut), &mut y);
    });
    let (mut dweight, mut dbias) = (vec![0.0; 64], vec![0.0; 64]);
    run(criterion, "batch_norm_relu/backward", 5 * length, || {
        batch_norm::backward(&norm, &x, &channels, Some(&shortcut), &mut y, &mut dweight, &mut dbias);
    });

    let (tokens, width) = (IMAGES * 197, 384);
    let (x, weight) = (noise(tokens * width, 1), noise(width, 2));
    let (mut y, mut dweight, mut dbias) = (x.clone(), weight.clone(), weight.clone());
    run(criterion, "layer_norm/forward", 2 * x.len(), || {
        layer_norm::forward(&x, &weight, &weight, 1e-6, &mut y);
    });
    run(criterion, "layer_norm/backward", 3 * x.len(), || {
        layer_norm::backward(&x, &weight, 1e-6, &mut y, &mut dweight, &mut dbias);
    });
}

fn elementwise(criterion: &mut Criterion) {
    let x = noise(IMAGES * 197 * 1536, 1);
    let (mut y, other, length) = (x.clone(), x.clone(), x.len());
    run(criterion, "gelu/forward", 2 * length, || gelu::forward(&x, &mut y));
    run(criterion, "gelu/backward", 3 * length, || gelu::backward(&x, &mut y));
    run(criterion, "add_relu/forward", 3 * length, || {
        relu::add_forward(Rectifier::Relu, &x, Some(&other), &mut y)
    });
    run(criterion, "relu/backward", 3 * length, || relu::backward(Rectifier::Relu, &x, &mut y));
}

fn pooling(criterion: &mut Criterion) {
    let shape =
        PoolShape { planes: IMAGES * 64, size: [112; 2], kernel: [3; 2], stride: [2; 2], padding: [1; 2] };
    let x = noise(shape.planes * 112 * 112, 1);
    let (mut y, mut dx) = (vec![0.0; shape.planes * 56 * 56], x.clone());
    let (mut places, numbers) = (vec![0; y.len()], x.len() + y.len());
    run(criterion, "max_pool/forward", numbers, || max_pool::forward(&shape, &x, &mut y));
    run(criterion, "max_pool/forward_with_places", numbers + y.len() / 4, || {
        max_pool::forward_with_places(&shape, &x, &mut y, &mut places);
    });
    run(criterion, "max_pool/backward", numbers + y.len() / 4, || {
        max_pool::backward(&shape, &places, &y, &mut dx);
    });
    let mut means = vec![0.0; x.len() / (56 * 56)];
    run(criterion, "global_average/forward", x.len(), || average::forward(56 * 56, &x, &mut means));
    run(criterion, "global_average/backward", x.len(), || average::backward(56 * 56, &means, &mut dx));
}

fn updates(criterion: &mut Criterion) {
    let grad = noise(11_000_000, 1);
    let (mut value, mut first, mut second) = (grad.clone(), grad.clone(), vec![1.0; grad.len()]);
    let sgd = Sgd { rate: 1e-6, momentum: 0.9, nesterov: true, decay: 1e-4 };
    run(criterion, "update/sgd", 5 * grad.len(), || update::sgd(&sgd, &grad, &mut first, &mut value));
    let adamw = AdamW {
        rate: 1e-6,
        shrink: 1.0 - 1e-8,
        betas: [0.9, 0.999],
        news: [0.1, 0.001],
        scale: 1.0,
        epsilon: 1e-8,
    };
    run(criterion, "update/adamw", 7 * grad.len(), || {
        update::adamw(&adamw, &grad, &mut first, &mut second, &mut value);
    });
    run(criterion, "update/average", 3 * grad.len(), || update::average(0.999, 0.001, &value, &mut first));
}

criterion_group!(benches, norms, elementwise, pooling, updates);
criterion_main!(benches);
