//! Convolutions of the networks in the zoo, batch 32: multiply-adds a second, forward and both gradients.
//!
//! `RAYON_NUM_THREADS=2 cargo bench -p hcd-kernels --bench conv -- layer1`
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hcd_kernels::Precision;
use hcd_kernels::conv::{self, ConvShape};
use hcd_kernels::reference::noise;
use std::time::Duration;

/// As in the `hcd` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Name, channels in and out, groups, image side, kernel, stride, padding.
type Layer = (&'static str, [usize; 2], usize, usize, usize, usize, usize);

const IMAGES: usize = 32;

const LAYERS: &[Layer] = &[
    ("resnet18.conv1", [3, 64], 1, 224, 7, 2, 3),
    ("resnet18.layer1", [64, 64], 1, 56, 3, 1, 1),
    ("resnet18.layer2.0", [64, 128], 1, 56, 3, 2, 1),
    ("resnet18.layer2.0.downsample", [64, 128], 1, 56, 1, 2, 0),
    ("resnet18.layer2", [128, 128], 1, 28, 3, 1, 1),
    ("resnet18.layer3.0", [128, 256], 1, 28, 3, 2, 1),
    ("resnet18.layer3.0.downsample", [128, 256], 1, 28, 1, 2, 0),
    ("resnet18.layer3", [256, 256], 1, 14, 3, 1, 1),
    ("resnet18.layer4.0", [256, 512], 1, 14, 3, 2, 1),
    ("resnet18.layer4.0.downsample", [256, 512], 1, 14, 1, 2, 0),
    ("resnet18.layer4", [512, 512], 1, 7, 3, 1, 1),
    ("cifar.layer1", [64, 64], 1, 32, 3, 1, 1),
    ("cifar.layer4", [512, 512], 1, 4, 3, 1, 1),
    ("mobilenetv2.conv_stem", [3, 32], 1, 224, 3, 2, 1),
    ("mobilenetv2.expand1", [16, 96], 1, 112, 1, 1, 0),
    ("mobilenetv2.expand2", [24, 144], 1, 56, 1, 1, 0),
    ("mobilenetv2.project4", [384, 64], 1, 14, 1, 1, 0),
    ("mobilenetv2.head", [320, 1280], 1, 7, 1, 1, 0),
    ("mobilenetv2.depthwise1", [32, 32], 32, 112, 3, 1, 1),
    ("mobilenetv2.depthwise2", [96, 96], 96, 112, 3, 2, 1),
    ("mobilenetv2.depthwise3", [192, 192], 192, 28, 3, 1, 1),
    ("mobilenetv2.depthwise6", [960, 960], 960, 7, 3, 1, 1),
    ("projector.28x28", [64, 128], 1, 28, 1, 1, 0),
    ("projector.28x28.same", [64, 64], 1, 28, 1, 1, 0),
    ("projector.14x14.same", [128, 128], 1, 14, 1, 1, 0),
    ("projector.7x7.same", [256, 256], 1, 7, 1, 1, 0),
    ("projector.14x14", [128, 256], 1, 14, 1, 1, 0),
    ("projector.7x7", [256, 768], 1, 7, 1, 1, 0),
    ("projector.1x1", [512, 768], 1, 1, 1, 1, 0),
    ("projector.depthwise1", [64, 64], 64, 56, 3, 2, 1),
    ("projector.depthwise2", [128, 128], 128, 28, 3, 2, 1),
    ("projector.depthwise3", [256, 256], 256, 14, 3, 2, 1),
    ("convnext_tiny.depthwise", [96, 96], 96, 56, 7, 1, 3),
    ("convnext_tiny.stem", [3, 96], 1, 224, 4, 4, 0),
    ("convnext_tiny.downsample", [96, 192], 1, 56, 2, 2, 0),
    ("vit.patch_embed", [3, 384], 1, 224, 16, 16, 0),
];

fn layers(criterion: &mut Criterion) {
    hcd_kernels::memory::keep();
    for &(name, [inputs, outputs], groups, side, kernel, stride, padding) in LAYERS {
        let shape = ConvShape {
            images: IMAGES,
            groups,
            in_channels: inputs,
            out_channels: outputs,
            size: [side; 2],
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
            dilation: [1, 1],
            precision: Precision::F32,
        };
        layer(criterion, name, &shape);
        // Depthwise convolutions have one precision.
        if groups == 1 {
            layer(criterion, &format!("{name}/bf16"), &ConvShape { precision: Precision::Bf16, ..shape });
        }
    }
}

fn layer(criterion: &mut Criterion, name: &str, shape: &ConvShape) {
    let (x, weight) = (noise(shape.input_len(), 1), noise(shape.weight_len(), 2));
    let grad = noise(shape.output_len(), 3);
    let (mut y, mut dx, mut dweight) = (grad.clone(), x.clone(), weight.clone());
    let mut group = criterion.benchmark_group(name);
    let products = shape.output_len() * shape.weight_len() / shape.out_channels;
    group.throughput(Throughput::Elements(products as u64)).sample_size(10);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.bench_function("forward", |b| b.iter(|| conv::forward(shape, &x, &weight, None, &mut y)));
    group.bench_function("input_grad", |b| b.iter(|| conv::input_grad(shape, &grad, &weight, &mut dx)));
    group.bench_function("weight_grad", |b| {
        b.iter(|| conv::weight_grad(shape, &x, &grad, &mut dweight, None));
    });
    group.finish();
}

criterion_group!(benches, layers);
criterion_main!(benches);
