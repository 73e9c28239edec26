//! Images a second of training steps (forward and backward) and of inference, for small networks at 28x28.
//!
//! `cargo run --release --workspace --example step_speed -- [THREADS] [NAME]`: all networks, or those whose
//! preset's name contains NAME. Compare builds by running them in turn on a quiet machine.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use hcd::models::{Backbone, ModelSpec, Network, Parameters, Pass};
use std::time::Instant;

/// As in the `hcd` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIDE: usize = 28;
const ROUNDS: usize = 7;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let threads = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let wanted = arguments.next().unwrap_or_default();
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    for name in ["resnet10_small", "swin_small_patch2"].into_iter().filter(|name| name.contains(&wanted)) {
        for batch in [64, 128] {
            let (train, infer) = measure(name, batch)?;
            println!("{name}, batch {batch}: trains {train:.0}, infers {infer:.0} images a second");
        }
    }
    Ok(())
}

/// Medians over [`ROUNDS`], after one round that does not count.
fn measure(name: &str, batch: usize) -> hcd::Result<(f64, f64)> {
    let device = Device::flex().autodiff();
    let network = Network::new(&ModelSpec::named(name).resolve(1, SIDE, 10)?, 0, &device);
    let pixels: Vec<f32> = (0..batch * SIDE * SIDE).map(|at| (at * 7919 % 255) as f32 / 255.0).collect();
    let images = Tensor::<4>::from_data(TensorData::new(pixels, [batch, 1, SIDE, SIDE]), &device);
    let mut stream = hcd::rng::stream(0, "speed", &[]);
    let mut train = || {
        let features = network.forward(images.clone(), &mut Pass::Train(&mut stream));
        let mut gradients = features.logits.square().mean().backward();
        network.take_gradients(&mut gradients).len()
    };
    let plain = network.valid();
    let still = images.clone().inner();
    let mut infer =
        || plain.forward(still.clone(), &mut Pass::Eval).logits.into_data().shape().num_elements();
    Ok((rate(batch, &mut train), rate(batch, &mut infer)))
}

fn rate(batch: usize, work: &mut dyn FnMut() -> usize) -> f64 {
    let mut seconds: Vec<f64> = (0..=ROUNDS)
        .map(|_| {
            let began = Instant::now();
            std::hint::black_box(work());
            began.elapsed().as_secs_f64()
        })
        .skip(1)
        .collect();
    seconds.sort_by(f64::total_cmp);
    batch as f64 / seconds[ROUNDS / 2]
}
