//! Attention of networks in the zoo, batch 32: multiply-adds a second, forward and backward.
//!
//! `RAYON_NUM_THREADS=2 cargo bench -p hcd-kernels --bench attention -- deit_tiny`
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hcd_kernels::attention::{self, Input, Windows};
use hcd_kernels::reference::noise;
use std::time::Duration;

/// As in the `hcd` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IMAGES: usize = 32;

/// Name, tokens of an image, tokens of a window, heads, width.
const LAYERS: &[(&str, usize, usize, usize, usize)] = &[
    ("deit_tiny", 197, 197, 3, 192),
    ("vit_small", 197, 197, 6, 384),
    ("swin_tiny.stage1", 3136, 49, 3, 96),
    ("swin_tiny.stage3", 196, 49, 12, 384),
];

fn layers(criterion: &mut Criterion) {
    hcd_kernels::memory::keep();
    for &(name, tokens, area, heads, width) in LAYERS {
        let windows = Windows::new(area, (0..tokens).collect(), None);
        let (qkv, bias) = (noise(IMAGES * tokens * 3 * width, 1), noise(heads * area * area, 2));
        let grad = noise(IMAGES * tokens * width, 3);
        let (mut out, mut qkv_grad, mut bias_grad) = (grad.clone(), qkv.clone(), bias.clone());
        let input = Input { qkv: &qkv, bias: &bias, windows: &windows, heads, width };
        let mut group = criterion.benchmark_group(name);
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1));
        // Two products forward; backward forms the scores again, and four more.
        for (pass, products) in [("forward", 2), ("backward", 5)] {
            group.throughput(Throughput::Elements((products * IMAGES * tokens * area * width) as u64));
            group.bench_function(pass, |b| match pass {
                "forward" => b.iter(|| attention::forward(&input, &mut out)),
                _ => b.iter(|| attention::backward(&input, &grad, &mut qkv_grad, &mut bias_grad)),
            });
        }
        group.finish();
    }
}

criterion_group!(benches, layers);
criterion_main!(benches);
