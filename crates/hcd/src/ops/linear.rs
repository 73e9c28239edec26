//! Affine maps: y = x·Wᵀ + b over the last axis, y = W·x + b over the tokens of each image, and GELU behind either.

use super::{Kernels, gelu, has_kernels, precision};
use burn::backend::Dispatch;
use burn::tensor::{Tensor, module};

/// x·Wᵀ + b
///
/// # Shapes
/// `x` (…, in); `weight` (out, in); `bias` (out) → (…, out)
///
/// # Panics
/// If a shape is not as above.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    as_matrix(x, weight, bias, |x, weight, bias| {
        if !has_kernels(&x) {
            return module::linear(x, weight.transpose(), bias);
        }
        let bias = bias.unwrap_or_else(|| no_bias(&x));
        let parts = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
        Tensor::from_dispatch(<Dispatch as Kernels>::linear(parts.0, parts.1, parts.2, precision::current()))
    })
}

/// GELU(x·Wᵀ + b)
///
/// # Shapes
/// As [`linear`].
///
/// # Panics
/// As [`linear`].
pub fn linear_gelu<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    if !has_kernels(&x) {
        return gelu(linear(x, weight, bias));
    }
    as_matrix(x, weight, bias, |x, weight, bias| {
        let bias = bias.unwrap_or_else(|| no_bias(&x));
        let parts = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
        Tensor::from_dispatch(<Dispatch as Kernels>::linear_gelu(
            parts.0,
            parts.1,
            parts.2,
            precision::current(),
        ))
    })
}

/// W·x + b of each image, b one number a token that comes out; with GELU behind it where `activated`.
///
/// # Shapes
/// `x` (B, tokens, width); `weight` (out, tokens); `bias` (out) → (B, out, width)
///
/// # Panics
/// If a shape is not as above.
pub fn mix(x: Tensor<3>, weight: Tensor<2>, bias: Tensor<1>, activated: bool) -> Tensor<3> {
    let ([_, tokens, _], [out, columns]) = (x.dims(), weight.dims());
    assert!(
        columns == tokens && bias.dims() == [out],
        "mix: x {:?}, weight {:?}, bias {:?}",
        x.dims(),
        weight.dims(),
        bias.dims()
    );
    if !has_kernels(&x) {
        let y = weight.unsqueeze::<3>().matmul(x) + bias.reshape([1, out, 1]);
        return if activated { gelu(y) } else { y };
    }
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    let precision = precision::current();
    Tensor::from_dispatch(match activated {
        true => <Dispatch as Kernels>::mix_gelu(x, weight, bias, precision),
        false => <Dispatch as Kernels>::mix(x, weight, bias, precision),
    })
}

/// To the kernels, no bias is one of no numbers.
fn no_bias(x: &Tensor<2>) -> Tensor<1> {
    Tensor::zeros([0], &x.device())
}

/// Runs `f` on the rows of `x` as one matrix.
fn as_matrix<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    f: impl FnOnce(Tensor<2>, Tensor<2>, Option<Tensor<1>>) -> Tensor<2>,
) -> Tensor<D> {
    let mut shape = x.dims();
    let [out, input] = weight.dims();
    assert!(
        shape[D - 1] == input && bias.as_ref().is_none_or(|bias| bias.dims() == [out]),
        "linear: x {shape:?}, weight {:?}",
        weight.dims()
    );
    let rows = shape[..D - 1].iter().product::<usize>();
    let y = f(x.reshape([rows, input]), weight, bias);
    shape[D - 1] = out;
    y.reshape(shape)
}
