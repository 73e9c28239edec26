//! Batch normalisation in training: y = (x − E[x]) / √(Var[x] + ε) · weight + bias over batch and space, and
//! max(y, 0) where asked for.

use super::{Kernels, has_kernels};
use burn::backend::Dispatch;
use burn::tensor::activation::relu;
use burn::tensor::{Tensor, module};

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

/// # Shapes
/// `x` (B, C, H, W); `weight`, `bias` (C)
///
/// # Panics
/// If a shape is not as above.
pub fn batch_norm_train(
    x: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
    rectified: bool,
) -> Normalised {
    let channels = x.dims()[1];
    assert_eq!(
        (weight.dims(), bias.dims()),
        ([channels], [channels]),
        "batch_norm_train: x {:?}, weight and bias as given",
        x.dims()
    );
    if !has_kernels(&x) {
        let result = module::batch_norm_train(x, weight, bias, epsilon);
        let output = if rectified { relu(result.output) } else { result.output };
        return Normalised { output, mean: result.mean, variance: result.variance };
    }
    let (output, mean, variance) = <Dispatch as Kernels>::batch_norm(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        epsilon,
        rectified,
    );
    Normalised {
        output: Tensor::from_dispatch(output),
        mean: Tensor::from_dispatch(mean),
        variance: Tensor::from_dispatch(variance),
    }
}
