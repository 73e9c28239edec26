//! The loader: seconds of each round of batches as a line of JSON, and the most memory that the program had.
//!
//! `benches/loader.py` runs this in turn with PyTorch's DataLoader. By itself:
//! `RAYON_NUM_THREADS=2 cargo bench --workspace --bench loader -- photos imagenette --rounds 4`
#![allow(clippy::print_stdout, missing_docs)]

mod common;

use hcd::config;
use hcd::data::{self, Normalization, TrainLoader};
use std::time::Instant;

/// As in the `hcd` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Batches before the first round, which do not count.
const WARM_UPS: usize = 8;

/// What is loaded: the recipe's section, images a batch, batches a round.
const WORKS: [(&str, &str, usize, usize); 4] = [
    ("photos", "image_size = 224\nviews = { resized_crop = {}, horizontal_flip = 0.5 }", 32, 64),
    (
        "photos-strong",
        "image_size = 224\nviews = { resized_crop = {}, horizontal_flip = 0.5, \
         auto_augment = 'rand-m9-mstd0.5-inc1', erasing = 0.25, mixup = 0.8, cutmix = 1.0 }",
        32,
        64,
    ),
    ("small", "views = { crop_padding = 4, horizontal_flip = 0.5 }", 128, 80),
    (
        "small-strong",
        "views = { crop_padding = 4, horizontal_flip = 0.5, auto_augment = 'rand-m9-mstd0.5-inc1', erasing = 0.25 }",
        128,
        80,
    ),
];

fn main() {
    hcd_kernels::memory::keep();
    let (names, rounds) = common::arguments(4);
    let [work, path] = &names[..] else { panic!("give the work, and the folder of the data set") };
    let found = WORKS.iter().find(|(name, ..)| name == work);
    let &(_, section, batch_size, batches) = found.expect("photos, photos-strong, small or small-strong");
    let text = format!("[data]\npath = '{path}'\nchannels = 3\n{section}\n[student]\nname = 'resnet18'");
    let recipe = config::from_text(&text, "bench", &[]).expect("a recipe").recipe;
    let set = data::open_as(&recipe.data.path, &recipe.data.request()).expect("a data set").train;
    let loader = TrainLoader::new(set, &recipe.data.views, &Normalization::imagenet(), batch_size, 0)
        .expect("views that suit the images");
    if !loader.views_originals() {
        // Small sets are kept decoded from their first epoch on.
        loader.epoch(0, 0).for_each(|batch| drop(batch.expect("whole images")));
    }
    let mut epochs = (1..).flat_map(|epoch| loader.epoch(epoch, 0));
    let mut take = |count: usize| {
        let began = Instant::now();
        for batch in epochs.by_ref().take(count) {
            std::hint::black_box(batch.expect("whole images").pixels.last());
        }
        began.elapsed().as_secs_f64()
    };
    take(WARM_UPS);
    let seconds: Vec<f64> = (0..rounds).map(|_| take(batches)).collect();
    let line = serde_json::json!({
        "work": work, "images": batch_size * batches, "seconds": seconds, "peak_mib": common::peak_mib(),
    });
    println!("{line}");
}
