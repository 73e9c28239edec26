//! A data set of one's own, in one file: images that are drawn by a formula, which no file holds.
//!
//! `cargo run --release --workspace --example own_data`
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use burn::tensor::Device;
use hcd::config;
use hcd::data::{Dataset, Image, ImageShape, Splits};
use hcd::train::{Experiment, Objective, fit};
use std::sync::Arc;

const SIDE: usize = 16;

/// Stripes: their direction is the class, their phase and their noise vary from sample to sample.
#[derive(Debug)]
struct Stripes {
    classes: Vec<String>,
    /// The numbers that its samples keep for good: no two of a training share one, and views and caches go by them.
    ids: std::ops::Range<u64>,
}

impl Stripes {
    fn over(ids: std::ops::Range<u64>) -> Arc<dyn Dataset> {
        let classes = ["across", "down", "rising", "falling"].map(str::to_owned).to_vec();
        Arc::new(Self { classes, ids })
    }
}

impl Dataset for Stripes {
    fn len(&self) -> usize {
        (self.ids.end - self.ids.start) as usize
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> usize {
        self.id(index) as usize % self.classes.len()
    }

    fn image(&self, index: usize) -> hcd::Result<Image> {
        let (id, label) = (self.id(index), self.label(index));
        let pixel = |at: usize| {
            let (row, column) = (at / SIDE, at % SIDE);
            let along = [row, column, row + column, row + SIDE - column][label];
            let noise = (id * 7919 + at as u64 * 104_729) % 97;
            let bright = (along + id as usize / 4) % 4 < 2;
            if bright { 120 + noise as u8 } else { 20 + noise as u8 }
        };
        Ok(Image { height: SIDE, width: SIDE, channels: 1, pixels: (0..SIDE * SIDE).map(pixel).collect() })
    }

    fn image_shape(&self) -> ImageShape {
        ImageShape { channels: 1, height: SIDE, width: SIDE }
    }

    fn id(&self, index: usize) -> u64 {
        self.ids.start + index as u64
    }

    fn name(&self) -> String {
        "stripes".to_owned()
    }
}

/// Trains a student for `epochs` epochs; gives its accuracy on test images, in percent.
pub fn train(epochs: u64) -> hcd::Result<f64> {
    let device = Device::flex();
    let recipe = format!(
        "data = {{ path = 'drawn' }}\nstudent = {{ name = 'resnet10_small', widths = [8, 8, 16, 16] }}\n\
         train = {{ epochs = {epochs}, batch_size = 40 }}\noptimizer = {{ name = 'sgd', lr = 0.05 }}"
    );
    let recipe = config::from_text(&recipe, "own_data", &[])?.recipe;
    let splits = Splits {
        train: Stripes::over(0..400),
        validation: Some(Stripes::over(400..480)),
        test: Stripes::over(480..680),
    };
    let experiment = Experiment::on(&recipe, splits, &device)?;
    let fitted = fit(&experiment, &mut Objective::Supervised, None, &mut ())?;
    let (test, normalization) = (&experiment.test, &experiment.normalization);
    let result = hcd::eval::evaluate(&fitted.network, test, normalization, &device, &mut |_| {})?;
    Ok(result.top1)
}

fn main() -> hcd::Result<()> {
    println!("{:.1} % of the test images", train(6)?);
    Ok(())
}
