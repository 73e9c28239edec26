//! A method of one's own, in one file: the student's penultimate feature, mapped linearly, is to point where the teacher's does.
//!
//! total = CE(z_s, q) + w · mean over the batch of 1 − cos(A f_s + b, f_t)
//!
//! `cargo run --release --workspace --example own_method`
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use burn::module::Module;
use burn::tensor::Device;
use hcd::config;
use hcd::export::Loaded;
use hcd::losses::cross_entropy;
use hcd::methods::{Design, Distiller, Method, Pair, Seen, Term};
use hcd::models::layers::Linear;
use hcd::models::{Init, Pass};
use hcd::teacher::Live;
use hcd::train::{Experiment, Objective, fit};
use std::path::Path;

/// The settings: what a recipe's section `method` would hold.
struct CosineDesign {
    weight: f64,
}

/// The method at work. What it learns itself is trained, checkpointed and dropped as any method's heads are.
#[derive(Module, Debug)]
struct Cosine {
    map: Linear,
    #[module(skip)]
    weight: f64,
}

impl Design for CosineDesign {
    fn name(&self) -> &'static str {
        "cosine"
    }

    fn build(&self, pair: &Pair, init: &mut Init) -> hcd::Result<Distiller> {
        if !(self.weight >= 0.0 && self.weight.is_finite()) {
            return Err(hcd::Error::Recipe(format!(
                "weight = {}, must be 0 or a positive number",
                self.weight
            )));
        }
        let map = Linear::torch_default(pair.shape.student_width, pair.shape.teacher_width, init);
        Ok(Distiller::of(Cosine { map, weight: self.weight }))
    }
}

impl Method for Cosine {
    fn terms(&self, seen: Seen, _pass: &mut Pass) -> Vec<Term> {
        let student = self.map.forward(seen.student.penultimate.clone()); // (B, D_t)
        let teacher = seen.teacher.penultimate.clone(); // (B, D_t), no gradient
        let along = (student.clone() * teacher.clone()).sum_dim(1); // (B, 1)
        let lengths = student.square().sum_dim(1) * teacher.square().sum_dim(1);
        let cosine = along / lengths.clamp_min(1e-24).sqrt();
        let ce = cross_entropy(seen.student.logits.clone(), seen.targets.soft.clone());
        vec![
            Term { name: "ce", raw: ce, weight: 1.0 },
            Term { name: "cosine", raw: (cosine * -1.0 + 1.0).mean(), weight: self.weight },
        ]
    }
}

/// Teaches a student for `epochs` epochs; gives the losses by epoch.
pub fn train(root: &Path, epochs: u64) -> hcd::Result<Vec<f64>> {
    let device = Device::flex();
    let recipe = format!(
        "data = {{ path = '{}', per_class = 40 }}\nstudent = {{ name = 'resnet10_small', widths = [8, 8, 16, 16] }}\n\
         train = {{ epochs = {epochs}, batch_size = 40 }}\noptimizer = {{ name = 'sgd', lr = 0.05 }}",
        root.join("data/fashion-mnist").display()
    );
    let recipe = config::from_text(&recipe, "own_method", &[])?.recipe;
    let experiment = Experiment::prepare(&recipe, &device)?;
    let weights = root.join("teachers/swin_small_patch2-fashion-mnist.safetensors");
    let expert: Loaded = hcd::export::load(&weights, &device)?;
    let mut teacher = Live::new(expert, &experiment.normalization, &device);
    let design = CosineDesign { weight: 2.0 };
    let mut objective = Objective::Distilled { teacher: &mut teacher, method: &design };
    let fitted = fit(&experiment, &mut objective, None, &mut ())?;
    Ok(fitted.history.epochs.iter().map(|epoch| epoch.loss).collect())
}

fn main() -> hcd::Result<()> {
    for (epoch, loss) in train(Path::new("."), 4)?.into_iter().enumerate() {
        println!("epoch {}: loss {loss:.4}", epoch + 1);
    }
    Ok(())
}
