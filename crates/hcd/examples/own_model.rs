//! A network of one's own, in one file: a ConvMixer (Trockman & Kolter, arXiv 2201.09792), taught by the demo's Swin with HCD.
//!
//! `cargo run --release --workspace --example own_model`
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use burn::module::Module;
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Tensor};
use hcd::config;
use hcd::methods::MethodConfig;
use hcd::models::layers::{BatchNorm2d, Conv2d, ConvSpec, Linear};
use hcd::models::{Backbone, Features, Init, Pass, StageFeature, StageShape, global_average};
use hcd::rng;
use hcd::teacher::Live;
use hcd::train::{Experiment, Objective, RunFolder, fit_own};
use std::path::Path;

/// Patches, then blocks of a depthwise convolution with a way around it and a pointwise one. The fields' paths are the
/// tensors' names in files.
#[derive(Module, Debug)]
struct ConvMixer {
    stem: Conv2d,
    stem_norm: BatchNorm2d,
    blocks: Vec<MixerBlock>,
    head: Linear,
    #[module(skip)]
    width: usize,
}

#[derive(Module, Debug)]
struct MixerBlock {
    depthwise: Conv2d,
    norm1: BatchNorm2d,
    pointwise: Conv2d,
    norm2: BatchNorm2d,
}

impl ConvMixer {
    /// For images of one channel.
    fn new(width: usize, depth: usize, classes: usize, init: &mut Init) -> Self {
        let block = |init: &mut Init| MixerBlock {
            depthwise: Conv2d::kaiming(ConvSpec::depthwise(width, 5, 1), init),
            norm1: BatchNorm2d::new(width, init),
            pointwise: Conv2d::kaiming(ConvSpec::new(width, width, 1, 1), init),
            norm2: BatchNorm2d::new(width, init),
        };
        Self {
            stem: Conv2d::kaiming(ConvSpec::patch(1, width, 4), init),
            stem_norm: BatchNorm2d::new(width, init),
            blocks: (0..depth).map(|_| block(init)).collect(),
            head: Linear::torch_default(width, classes, init),
            width,
        }
    }
}

impl MixerBlock {
    /// (B, C, H, W) → (B, C, H, W)
    fn forward(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let mixed = self.norm1.forward(gelu(self.depthwise.forward(x.clone())), pass) + x;
        self.norm2.forward(gelu(self.pointwise.forward(mixed)), pass)
    }
}

impl Backbone for ConvMixer {
    fn forward(&self, images: Tensor<4>, pass: &mut Pass) -> Features {
        let mut map = self.stem_norm.forward(gelu(self.stem.forward(images)), pass); // (B, C, H/4, W/4)
        let mut stages = Vec::new();
        for block in &self.blocks {
            map = block.forward(map, pass);
            stages.push(StageFeature::Map(map.clone()));
        }
        let penultimate = global_average(map); // (B, C)
        Features { stages, logits: self.classify(penultimate.clone()), penultimate }
    }

    /// Every block ends a stage.
    fn stages(&self) -> Vec<StageShape> {
        vec![StageShape::Map { channels: self.width }; self.blocks.len()]
    }

    fn penultimate_width(&self) -> usize {
        self.width
    }

    fn classify(&self, penultimate: Tensor<2>) -> Tensor<2> {
        self.head.forward(penultimate) // (B, K)
    }
}

/// Teaches one for `epochs` epochs, in a run folder of its own; gives the losses by epoch.
pub fn train(root: &Path, out: &Path, epochs: u64) -> hcd::Result<Vec<f64>> {
    let device = Device::flex();
    let recipe = format!(
        "data = {{ path = '{}', per_class = 40 }}\nstudent = {{ name = 'own' }}\n\
         train = {{ epochs = {epochs}, batch_size = 40 }}\noptimizer = {{ name = 'sgd', lr = 0.02 }}",
        root.join("data/fashion-mnist").display()
    );
    let resolved = config::from_text(&recipe, "own_model", &[])?;
    let experiment = Experiment::prepare(&resolved.recipe, &device)?;
    let expert =
        hcd::export::load(&root.join("teachers/swin_small_patch2-fashion-mnist.safetensors"), &device)?;
    let mut teacher = Live::new(expert, &experiment.normalization, &device);
    let method = MethodConfig::of_name("hcd").expect("a method of this library");
    let mut objective = Objective::Distilled { teacher: &mut teacher, method: &method };
    let learning = device.autodiff();
    let mut init = Init::new(rng::stream(resolved.recipe.seed, "model", &[]), &learning);
    let student = ConvMixer::new(32, 3, experiment.classes().len(), &mut init);
    // Checkpoints, metrics and weights, as in any run; killed, it goes on.
    let run = match RunFolder::exists(out) {
        true => RunFolder::open(out)?.0,
        false => RunFolder::create(out, &resolved, &experiment, &objective)?,
    };
    let fitted = fit_own(student, &experiment, &mut objective, Some(&run), &mut ())?;
    Ok(fitted.history.epochs.iter().map(|epoch| epoch.loss).collect())
}

fn main() -> hcd::Result<()> {
    for (epoch, loss) in train(Path::new("."), Path::new("runs/own-model"), 4)?.into_iter().enumerate() {
        println!("epoch {}: loss {loss:.4}", epoch + 1);
    }
    Ok(())
}
