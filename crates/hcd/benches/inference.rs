//! Inference at 224x224, batch 32, f32: images a second of six networks.
//!
//! `RAYON_NUM_THREADS=2 cargo bench --workspace --bench inference -- [NAME]`; `benches/pytorch_inference.py` measures
//! PyTorch with timm on the same networks. docs/performance.md has the figures.
#![allow(missing_docs)]

use burn::tensor::{Device, Tensor, TensorData};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hcd::models::{Backbone, ModelSpec, Network, Pass};
use std::time::Duration;

/// As in the `hcd` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 32;
const SIDE: usize = 224;
const NETWORKS: [&str; 6] = [
    "swin_tiny_patch4_window7_224",
    "vit_small_patch16_224",
    "convnext_tiny",
    "mixer_b16_224",
    "resnet18",
    "mobilenetv2_100",
];

fn inference(criterion: &mut Criterion) {
    let device = Device::flex();
    let pixels: Vec<f32> =
        (0..BATCH * 3 * SIDE * SIDE).map(|at| (at * 7919 % 255) as f32 / 127.5 - 1.0).collect();
    let images = Tensor::<4>::from_data(TensorData::new(pixels, [BATCH, 3, SIDE, SIDE]), &device);
    let mut group = criterion.benchmark_group("inference");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.sample_size(10).warm_up_time(Duration::from_secs(3)).measurement_time(Duration::from_secs(20));
    for name in NETWORKS {
        let config = ModelSpec::named(name).resolve(3, SIDE, 1000).expect("a preset");
        group.bench_function(name, |bencher| {
            let network = Network::new(&config, 0, &device);
            bencher.iter(|| network.forward(images.clone(), &mut Pass::Eval).logits.into_data());
        });
    }
    group.finish();
}

criterion_group!(benches, inference);
criterion_main!(benches);
