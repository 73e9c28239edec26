//! Batch normalisation: y = (x − mean) / √(variance + ε) · weight + bias over batch and space, plus the shortcut of a
//! residual block where there is one, then clipped as asked for.
//!
//! In training, mean and variance are the batch's; in evaluation, and where statistics are frozen, they are given.

use super::{Kernels, Rectifier, has_kernels};
use burn::backend::Dispatch;
use burn::tensor::activation::relu;
use burn::tensor::{Tensor, module};
use hcd_kernels::batch_norm::BatchNorm;

/// What is done to each channel.
#[derive(Debug)]
pub struct Affine {
    /// (C)
    pub weight: Tensor<1>,
    /// (C)
    pub bias: Tensor<1>,
    /// ε.
    pub epsilon: f64,
    /// What comes out is clipped to this.
    pub rectifier: Rectifier,
}

/// What normalising a batch gives.
#[derive(Debug)]
pub struct Normalised {
    /// (B, C, H, W)
    pub output: Tensor<4>,
    /// Mean of each channel, without gradient: (C).
    pub mean: Tensor<1>,
    /// Biased variance of each channel, without gradient: (C).
    pub variance: Tensor<1>,
}

/// By the batch's own statistics.
///
/// # Shapes
/// `x`, `shortcut` (B, C, H, W)
///
/// # Panics
/// If a shape is not as above.
pub fn batch_norm_train(x: Tensor<4>, affine: Affine, shortcut: Option<Tensor<4>>) -> Normalised {
    check("batch_norm_train", &x, &affine, shortcut.as_ref());
    if !has_kernels(&x) {
        let result = module::batch_norm_train(x, affine.weight, affine.bias, affine.epsilon);
        let output = finish(result.output, shortcut, affine.rectifier);
        return Normalised { output, mean: result.mean, variance: result.variance };
    }
    fused(x, affine, None, shortcut)
}

/// By a given mean and variance, which get no gradient.
///
/// # Shapes
/// `x`, `shortcut` (B, C, H, W); `mean`, `variance` (C) → (B, C, H, W)
///
/// # Panics
/// If a shape is not as above.
pub fn batch_norm_given(
    x: Tensor<4>,
    affine: Affine,
    [mean, variance]: [Tensor<1>; 2],
    shortcut: Option<Tensor<4>>,
) -> Tensor<4> {
    check("batch_norm_given", &x, &affine, shortcut.as_ref());
    if !has_kernels(&x) {
        let y = module::batch_norm(x, affine.weight, affine.bias, mean, variance, affine.epsilon);
        return finish(y, shortcut, affine.rectifier);
    }
    fused(x, affine, Some([mean, variance]), shortcut).output
}

fn check(name: &str, x: &Tensor<4>, affine: &Affine, shortcut: Option<&Tensor<4>>) {
    let channels = [x.dims()[1]];
    let (weight, bias) = (affine.weight.dims(), affine.bias.dims());
    assert_eq!((weight, bias), (channels, channels), "{name}: x {:?}, weight and bias as given", x.dims());
    assert!(
        shortcut.is_none_or(|shortcut| shortcut.dims() == x.dims()),
        "{name}: x {:?}, another shortcut",
        x.dims()
    );
}

/// The rest of the equation, composed of Burn's operations.
fn finish(y: Tensor<4>, shortcut: Option<Tensor<4>>, rectifier: Rectifier) -> Tensor<4> {
    let y = match shortcut {
        Some(shortcut) => y + shortcut,
        None => y,
    };
    match rectifier {
        Rectifier::None => y,
        Rectifier::Relu => relu(y),
        Rectifier::Relu6 => y.clamp(0.0, 6.0),
    }
}

fn fused(
    x: Tensor<4>,
    affine: Affine,
    given: Option<[Tensor<1>; 2]>,
    shortcut: Option<Tensor<4>>,
) -> Normalised {
    let [_, channels, height, width] = x.dims();
    let (epsilon, rectifier) = (affine.epsilon as f32, affine.rectifier);
    let norm = BatchNorm { channels, area: height * width, epsilon, rectifier };
    let none = Tensor::<1>::zeros([0], &x.device()).into_dispatch();
    let [mean, variance] = match given {
        Some(given) => given.map(Tensor::into_dispatch),
        None => [none.clone(), none.clone()],
    };
    let (output, mean, variance) = <Dispatch as Kernels>::batch_norm(
        x.into_dispatch(),
        affine.weight.into_dispatch(),
        affine.bias.into_dispatch(),
        mean,
        variance,
        shortcut.map_or(none, Tensor::into_dispatch),
        norm,
    );
    Normalised {
        output: Tensor::from_dispatch(output),
        mean: Tensor::from_dispatch(mean),
        variance: Tensor::from_dispatch(variance),
    }
}
