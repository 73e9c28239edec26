//! The zoo: every family learns, answers in the shapes it announces, and says what cannot be.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use hcd::burn::tensor::{Device, Tensor};
use hcd::models::{Backbone, ModelSpec, Network, PRESETS, Pass, StageFeature, StageShape};
use hcd::rng;
use hcd::train::{Learner, Objective};
use support::{SMALL, batches, experiment};

#[test]
fn every_family_learns_a_batch_by_heart() {
    let recipe = "train = { batch_size = 24, label_smoothing = 0 }\noptimizer = { name = 'adamw', lr = 1e-2 }\n\
                  schedule = { name = 'cosine', min_lr = 0 }";
    for student in SMALL {
        let experiment = experiment(&format!("student = {{ {student} }}\n"), recipe);
        let batch = &batches(&experiment, 0)[0];
        let mut learner = Learner::new(&experiment, &Objective::Supervised).unwrap();
        let mut losses = Vec::new();
        for step in 0..80 {
            losses.push(learner.learn(batch, &mut Objective::Supervised, (0, step), 1).unwrap().loss);
            learner = learner.update(1e-2, None).0;
        }
        let (first, last) = (losses[0], losses[70..].iter().copied().fold(f64::INFINITY, f64::min));
        assert!(last < first / 4.0, "{student}: {first} to {last}");
    }
}

#[test]
fn features_have_the_shapes_that_are_announced() {
    let device = Device::flex();
    for preset in PRESETS.iter().filter(|preset| preset.image_size < 64) {
        // An odd side: what is left over behind the last whole patch is not looked at.
        for (channels, size) in [(3, preset.image_size), (1, 37)] {
            let config = preset.config(channels, size, 5);
            config.check().unwrap();
            let network = Network::new(&config, 0, &device);
            let features =
                network.forward(Tensor::zeros([2, channels, size, size], &device), &mut Pass::Eval);
            let found: Vec<StageShape> = features.stages.iter().map(shape_of).collect();
            assert_eq!(found, network.stages(), "{}", preset.name);
            assert_eq!(features.penultimate.dims(), [2, network.penultimate_width()], "{}", preset.name);
            assert_eq!(features.logits.dims(), [2, 5], "{}", preset.name);
        }
    }
}

fn shape_of(feature: &StageFeature) -> StageShape {
    match feature {
        StageFeature::Map(map) => StageShape::Map { channels: map.dims()[1] },
        StageFeature::Tokens { tokens, prefix, grid } => {
            assert_eq!(tokens.dims()[1], prefix + grid[0] * grid[1]);
            StageShape::Tokens { width: tokens.dims()[2], prefix: *prefix, grid: *grid }
        }
    }
}

#[test]
fn dropout_drops_in_training_alone() {
    let device = Device::flex();
    let mut stream = rng::stream(0, "test", &[]);
    let ones = Tensor::<2>::ones([200, 50], &device);
    assert_eq!(Pass::Eval.dropout(ones.clone(), 0.3).sum().into_scalar::<f32>(), 10_000.0);
    let dropped: Vec<f32> =
        Pass::Train(&mut stream).dropout(ones.clone(), 0.3).into_data().iter::<f32>().collect();
    let zeros = dropped.iter().filter(|&&value| value == 0.0).count() as f64 / 1e4;
    // Five standard deviations of a binomial.
    assert!((zeros - 0.3).abs() < 5.0 * (0.3f64 * 0.7 / 1e4).sqrt(), "{zeros}");
    assert!(dropped.iter().all(|&value| value == 0.0 || (value - 1.0 / 0.7).abs() < 1e-6));
    let paths: Vec<f32> =
        Pass::TrainFrozenNorm(&mut stream).drop_path(ones, 0.5).into_data().iter::<f32>().collect();
    assert!(paths.chunks(50).all(|row| row.iter().all(|value| *value == row[0])), "whole samples");
    assert!(paths.contains(&0.0) && paths.contains(&2.0));
}

#[test]
fn impossible_shapes_are_refused_in_one_line() {
    let check = |name: &str, options: &str, expected: &str| {
        let mut spec = ModelSpec::named(name);
        spec.options = options.parse().unwrap();
        let error = spec.resolve(3, 32, 10).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(format!("model `{name}`: {expected}").as_str()), "{options}");
    };
    check("resnet18", "depths = [2, 0, 2, 2]", "depths and widths must be at least 1");
    check("resnet18", "drop_path = 1.0", "drop_path = 1, must be in [0, 1)");
    check(
        "resnet20",
        "widths = [16, 33, 64]",
        "widths = [16, 33, 64], must each exceed the one before by an even number with shortcut = \"a\"",
    );
    check("mobilenetv2_100", "taps = [4, 1]", "taps = [4, 1], must rise and be below 7, the number of rows");
    check("mobilenetv2_100", "norm_epsilon = 0.0", "norm_epsilon = 0, must be above 0");
    check("convnext_mini", "kernel = 4", "kernel = 4, must be odd");
    check(
        "convnext_mini",
        "depths = [1]",
        "depths [1] and widths [32, 64, 128, 256] must have one entry a stage",
    );
    check(
        "convnext_mini",
        "patch_size = 5",
        "takes images of 3 channels and at least 40x40 pixels, not 3x32x32",
    );
    check("vit_mini", "image_size = 28", "takes images of 3x28x28, not 3x32x32");
    check("vit_mini", "heads = 5", "width 192 must be a multiple of heads = 5");
    check("vit_mini", "patch_size = 33", "patch_size = 33, must be from 1 to image_size = 32");
    check("vit_mini", "taps = [1, 8]", "taps = [1, 8], must rise and be below depth = 8");
    check("swin_small_patch2", "window = 0", "window and depths must be at least 1");
    check("swin_small_patch2", "heads = [2, 5, 8]", "stage 2: width 96 must be a multiple of heads = 5");
    check(
        "mixer_mini",
        "token_hidden = 0",
        "depth, width, token_hidden and channel_hidden must be at least 1",
    );
    check("resmlp_mini", "token_dropout = -0.1", "token_dropout = -0.1, must be in [0, 1)");
    check("resmlp_mini", "num_classes = 0", "num_classes and in_channels must be at least 1");
}
