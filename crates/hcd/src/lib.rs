//! Knowledge distillation between unlike architectures, on Burn.
//!
//! *Heterogeneous Complementary Distillation* (HCD; Xu et al., AAAI 2026, arXiv 2511.10942) teaches a small
//! network of one family what a strong one of another family knows. The library is a pipeline of seven steps,
//! and its modules stand in that order:
//!
//! 1. [`data`]: what we look at. [`data::Dataset`], views drawn from (seed, epoch, sample), batches.
//! 2. [`models`]: who looks. [`models::Backbone`] turns images into stage features, a penultimate feature and
//!    logits; weights come and go under timm's names.
//! 3. [`teacher`]: what the expert says. [`teacher::Teacher`], live or recorded, never with a gradient.
//! 4. [`hcd`](mod@hcd): where student and teacher meet: projector, complementary feature mapper, sub-logits.
//! 5. [`losses`], what a term costs, and [`methods`], [`methods::Method`]: which terms, with what weights.
//! 6. [`train`]: learning. [`train::fit`] is the loop; run folders and checkpoints that resume bit for bit.
//! 7. [`eval`], [`report`], [`export`]: what came of it.
//!
//! Beside these stand [`config`] (recipes), [`device`], [`ops`] (our CPU kernels as Burn operations),
//! [`rng`](mod@rng) (seed to named streams), [`files`] and [`error`](mod@error).
//!
//! # The whole flow
//!
//! A transformer learns a made-up task from labels, then teaches it to a ResNet by HCD:
//!
//! ```
//! use hcd::burn::tensor::Device;
//! use hcd::config::{self, Recipe};
//! use hcd::data::{Dataset, ImageShape, Memory, Splits, stratified_split};
//! use hcd::export::Loaded;
//! use hcd::methods::MethodConfig;
//! use hcd::models::Parameters;
//! use hcd::teacher::Live;
//! use hcd::train::{Experiment, Objective, fit};
//! use std::sync::Arc;
//!
//! fn main() -> hcd::Result<()> {
//!     // Images of 8 x 8 pixels: the class says which half is bright.
//!     let shape = ImageShape { channels: 1, height: 8, width: 8 };
//!     let labels: Vec<usize> = (0..80).map(|sample| sample % 2).collect();
//!     let pixel = |label: usize, at: usize| if (at / 32 == label) ^ (at % 7 == 0) { 200 } else { 30 };
//!     let pixels = labels.iter().flat_map(|&label| (0..64).map(move |at| pixel(label, at))).collect();
//!     let classes = vec!["top".to_owned(), "bottom".to_owned()];
//!     let all: Arc<dyn Dataset> = Arc::new(Memory::new("halves".into(), classes, shape, pixels, labels)?);
//!     let (train, test) = stratified_split(&all, 0.25, 0)?;
//!
//!     let device = Device::flex();
//!     let prepare = |text: &str| -> hcd::Result<Experiment> {
//!         let recipe: Recipe = config::from_text(text, "example", &[])?.recipe;
//!         let data = Splits { train: Arc::new(train.clone()), validation: None, test: Arc::new(test.clone()) };
//!         Experiment::on(&recipe, data, &device)
//!     };
//!     let common = "data = { path = 'in memory' }\n train = { epochs = 6, batch_size = 20 }\n";
//!
//!     // The teacher: a small Swin transformer, from labels.
//!     let swin = "[model]\n name = 'swin_small_patch2'\n width = 8\n depths = [1, 1]\n heads = [1, 2]\n \
//!                 [optimizer]\n name = 'adamw'\n lr = 3e-3";
//!     let lesson = prepare(&format!("{common}{swin}"))?;
//!     let expert = fit(&lesson, &mut Objective::Supervised, None, &mut ())?;
//!     let card = lesson.card("from labels".to_owned()).expect("a network of the zoo");
//!     let expert = Loaded { network: expert.network, card, notes: Vec::new() };
//!
//!     // The student: a small ResNet, from the teacher.
//!     let resnet = "[student]\n name = 'resnet10_small'\n widths = [4, 8, 8, 16]\n \
//!                   [optimizer]\n name = 'adamw'\n lr = 1e-2";
//!     let lesson = prepare(&format!("{common}{resnet}"))?;
//!     let mut teacher = Live::new(expert, &lesson.normalization, &device);
//!     let method = MethodConfig::of_name("hcd").expect("a method of this library");
//!     let mut objective = Objective::Distilled { teacher: &mut teacher, method: &method };
//!     let student = fit(&lesson, &mut objective, None, &mut ())?;
//!
//!     // The heads are gone; the student is an ordinary network.
//!     let normalization = &lesson.normalization;
//!     let result = hcd::eval::evaluate(&student.network, &lesson.test, normalization, &device, &mut |_| {})?;
//!     println!("{} parameters, {:.1} % of test images", student.network.learned_count(), result.top1);
//!     assert!(student.history.epochs[5].loss < student.history.epochs[0].loss);
//!     Ok(())
//! }
//! ```
#![forbid(unsafe_code)]

pub mod config;
pub mod data;
pub mod device;
pub mod error;
pub mod eval;
pub mod export;
pub mod files;
pub mod hcd;
pub mod losses;
pub mod methods;
pub mod models;
pub mod ops;
pub mod report;
pub mod rng;
pub mod teacher;
pub mod train;

pub use burn;
pub use error::{Error, Result};
