//! What optimisers do to a parameter, in one pass over it, in place where nobody else holds it.
//!
//! The rules are those of [`hcd_kernels::update`]; elsewhere than on plain Flex tensors of f32, they are composed of
//! Burn's operations.

use super::has_plain_kernels;
use super::profile::timed;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use hcd_kernels::update;
pub use hcd_kernels::update::{AdamW, Sgd};

/// Updates with a kernel, f32 only, outside of any graph.
#[backend_extension(Flex)]
pub trait Updates: Backend {
    /// See [`sgd`].
    fn sgd(
        value: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        velocity: FloatTensor<Self>,
        rule: Sgd,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// See [`adamw`].
    fn adamw(
        value: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        square: FloatTensor<Self>,
        rule: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// See [`average`].
    fn average(mean: FloatTensor<Self>, value: FloatTensor<Self>, kept: f32, new: f32) -> FloatTensor<Self>;
}

impl Updates for Flex {
    fn sgd(value: FlexTensor, grad: FlexTensor, velocity: FlexTensor, rule: Sgd) -> (FlexTensor, FlexTensor) {
        let [mut value, grad, mut velocity] = [value, grad, velocity].map(|x| x.to_contiguous());
        timed("sgd update", 0, || {
            update::sgd(&rule, grad.storage(), velocity.storage_mut(), value.storage_mut())
        });
        (value, velocity)
    }

    fn adamw(
        value: FlexTensor,
        grad: FlexTensor,
        mean: FlexTensor,
        square: FlexTensor,
        rule: AdamW,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let [mut value, grad, mut mean, mut square] = [value, grad, mean, square].map(|x| x.to_contiguous());
        let (means, squares) = (mean.storage_mut(), square.storage_mut());
        timed("adamw update", 0, || {
            update::adamw(&rule, grad.storage(), means, squares, value.storage_mut())
        });
        (value, mean, square)
    }

    fn average(mean: FlexTensor, value: FlexTensor, kept: f32, new: f32) -> FlexTensor {
        let [mut mean, value] = [mean, value].map(|x| x.to_contiguous());
        timed("average update", 0, || update::average(kept, new, value.storage(), mean.storage_mut()));
        mean
    }
}

/// The parameter and its velocity after a step of SGD; `velocity` is none before the first.
///
/// # Shapes
/// All of one length
pub fn sgd(value: Tensor<1>, grad: Tensor<1>, velocity: Option<Tensor<1>>, rule: Sgd) -> [Tensor<1>; 2] {
    let velocity = velocity.unwrap_or_else(|| value.zeros_like());
    if has_plain_kernels(&value) && has_plain_kernels(&grad) && has_plain_kernels(&velocity) {
        let (value, grad) = (value.into_dispatch(), grad.into_dispatch());
        let (value, velocity) = <Dispatch as Updates>::sgd(value, grad, velocity.into_dispatch(), rule);
        return [value, velocity].map(Tensor::from_dispatch);
    }
    let direction = grad + value.clone() * rule.decay;
    let velocity = velocity * rule.momentum + direction.clone();
    let step = if rule.nesterov { direction + velocity.clone() * rule.momentum } else { velocity.clone() };
    [value - step * rule.rate, velocity]
}

/// The parameter and the means of its gradient and of that's square after a step of AdamW; `means` is none before the
/// first.
///
/// # Shapes
/// All of one length
pub fn adamw(
    value: Tensor<1>,
    grad: Tensor<1>,
    means: Option<[Tensor<1>; 2]>,
    rule: AdamW,
) -> [Tensor<1>; 3] {
    let [mean, square] = means.unwrap_or_else(|| [value.zeros_like(), value.zeros_like()]);
    if [&value, &grad, &mean, &square].into_iter().all(has_plain_kernels) {
        let [value, grad, mean, square] = [value, grad, mean, square].map(Tensor::into_dispatch);
        let (value, mean, square) = <Dispatch as Updates>::adamw(value, grad, mean, square, rule);
        return [value, mean, square].map(Tensor::from_dispatch);
    }
    let mean = mean * rule.betas[0] + grad.clone() * rule.news[0];
    let square = square * rule.betas[1] + grad.square() * rule.news[1];
    let step = mean.clone() / (square.clone().sqrt() * rule.scale + rule.epsilon) * rule.rate;
    [value * rule.shrink - step, mean, square]
}

/// decay · mean + (1 − decay) · value
///
/// # Shapes
/// Both of one length
pub fn average(mean: Tensor<1>, value: Tensor<1>, decay: f64) -> Tensor<1> {
    if has_plain_kernels(&mean) && has_plain_kernels(&value) {
        let (mean, value) = (mean.into_dispatch(), value.into_dispatch());
        let (kept, new) = (decay as f32, (1.0 - decay) as f32);
        return Tensor::from_dispatch(<Dispatch as Updates>::average(mean, value, kept, new));
    }
    mean * decay + value * (1.0 - decay)
}
