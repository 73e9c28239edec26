//! The backward step of each kernel, recorded in Burn's graph.
//!
//! A step keeps the operation's inputs alone (Burn shares them, without a copy); what else the gradient needs,
//! the kernel computes again.

use super::{BatchNormInputs, KernelGradients, Kernels, Precision, Windows};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, TensorMetadata};
use hcd_kernels::batch_norm::BatchNorm;
use hcd_kernels::conv::ConvShape;
use hcd_kernels::max_pool::PoolShape;
use hcd_kernels::relu::Rectifier;
use std::fmt::Debug;
use std::sync::Arc;

/// From what forward kept and the output's gradient to the gradients of those of N inputs that need one.
type Derivative<S, B, const N: usize> =
    fn(S, FloatTensor<B>, needed: [bool; N]) -> [Option<FloatTensor<B>>; N];

/// A backward step: from what the forward pass kept and the output's gradient to the gradients of the N inputs,
/// at least of those that are needed.
#[derive(Debug)]
struct Step<S, B, const N: usize>(Derivative<S, B, N>)
where
    B: KernelGradients;

impl<S, B, const N: usize> Backward<B, N> for Step<S, B, N>
where
    S: Clone + Send + Debug + 'static,
    B: KernelGradients,
{
    type State = S;

    fn backward(self, ops: Ops<S, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let needed = ops.parents.each_ref().map(Option::is_some);
        let computed = (self.0)(ops.state, grad, needed);
        for (parent, gradient) in ops.parents.into_iter().zip(computed) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

/// Records `output` as computed from the nodes, where any of them needs a gradient.
macro_rules! record {
    ($nodes:expr, $state:expr, $output:expr, $backward:expr) => {
        match Step($backward).prepare::<C>($nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish($state, $output),
            OpsKind::UnTracked(prepared) => prepared.finish($output),
        }
    };
}

impl<B: Kernels + KernelGradients, C: CheckpointStrategy> Kernels for Autodiff<B, C> {
    fn layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        let (bias, bias_node) = bias.into_parts();
        let output = <B as Kernels>::layer_norm(x.clone(), weight.clone(), bias, epsilon);
        record!(
            [x_node, weight_node, bias_node],
            (x, weight, epsilon),
            output,
            |(x, weight, epsilon), grad, _| {
                <B as KernelGradients>::layer_norm_backward(x, weight, grad, epsilon).map(Some)
            }
        )
    }

    fn gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let output = <B as Kernels>::gelu(x.clone());
        record!([node], x, output, |x, grad, _| [Some(<B as KernelGradients>::gelu_backward(x, grad))])
    }

    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        let (bias, bias_node) = bias.into_parts();
        let output = <B as Kernels>::linear(x.clone(), weight.clone(), bias, precision);
        let nodes = [x_node, weight_node, bias_node];
        record!(nodes, (x, weight, precision), output, |(x, weight, precision), grad, needed| {
            B::linear_backward(x, weight, grad, precision, needed)
        })
    }

    fn linear_gelu(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        // The gradient of GELU wants what it was given.
        <Self as Kernels>::gelu(<Self as Kernels>::linear(x, weight, bias, precision))
    }

    fn mix(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        let (bias, bias_node) = bias.into_parts();
        let output = <B as Kernels>::mix(x.clone(), weight.clone(), bias, precision);
        let nodes = [x_node, weight_node, bias_node];
        record!(nodes, (x, weight, precision), output, |(x, weight, precision), grad, needed| {
            B::mix_backward(x, weight, grad, precision, needed)
        })
    }

    fn mix_gelu(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        <Self as Kernels>::gelu(<Self as Kernels>::mix(x, weight, bias, precision))
    }

    fn window_attention(
        qkv: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        windows: Arc<Windows>,
    ) -> FloatTensor<Self> {
        let ((qkv, qkv_node), (bias, bias_node)) = (qkv.into_parts(), bias.into_parts());
        let output = B::window_attention(qkv.clone(), bias.clone(), windows.clone());
        let state = (qkv, bias, windows);
        record!([qkv_node, bias_node], state, output, |(qkv, bias, windows), grad, _| {
            B::window_attention_backward(qkv, bias, grad, windows).map(Some)
        })
    }

    fn conv2d(x: FloatTensor<Self>, weight: FloatTensor<Self>, shape: ConvShape) -> FloatTensor<Self> {
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        let output = <B as Kernels>::conv2d(x.clone(), weight.clone(), shape);
        record!(
            [x_node, weight_node],
            (x, weight, shape),
            output,
            |(x, weight, shape), grad: FloatTensor<B>, needed| {
                let dx = needed[0].then(|| B::conv2d_input_grad(weight, grad.clone(), shape));
                let dweight = needed[1].then(|| B::conv2d_weight_grad(x, grad, shape));
                [dx, dweight.map(|[dweight, _]| dweight)]
            }
        )
    }

    fn conv2d_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        shape: ConvShape,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        let (bias, bias_node) = bias.into_parts();
        let output = B::conv2d_with_bias(x.clone(), weight.clone(), bias, shape);
        let nodes = [x_node, weight_node, bias_node];
        record!(nodes, (x, weight, shape), output, |(x, weight, shape), grad: FloatTensor<B>, needed| {
            let dx = needed[0].then(|| B::conv2d_input_grad(weight, grad.clone(), shape));
            let parameters = (needed[1] || needed[2]).then(|| B::conv2d_weight_grad(x, grad, shape));
            match parameters {
                Some([dweight, dbias]) => [dx, Some(dweight), Some(dbias)],
                None => [dx, None, None],
            }
        })
    }

    fn batch_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        norm: BatchNorm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [given, added] = [&mean, &shortcut].map(|tensor| tensor.shape().num_elements() > 0);
        // Where the statistics were given, x is of use for the gradients of weight and bias alone, else overwritten.
        let keeps_x = !given || weight.is_tracked() || bias.is_tracked();
        let keeps_y = norm.rectifier != Rectifier::None && (given || added);
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        let ((bias, bias_node), (shortcut, shortcut_node)) = (bias.into_parts(), shortcut.into_parts());
        let [mean, variance] = [mean, variance].map(|tensor| tensor.into_primitive());
        let kept = keeps_x.then(|| x.clone());
        let (y, mean, variance) =
            <B as Kernels>::batch_norm(x, weight.clone(), bias.clone(), mean, variance, shortcut, norm);
        let detached = (Self::from_inner(mean.clone()), Self::from_inner(variance.clone()));
        let inputs = BatchNormInputs {
            x: kept,
            weight,
            bias,
            mean,
            variance,
            y: keeps_y.then(|| y.clone()),
            given,
            norm,
        };
        let nodes = [x_node, weight_node, bias_node, shortcut_node];
        let y =
            record!(nodes, inputs, y, |inputs, grad, needed| B::batch_norm_backward(inputs, grad, needed));
        (y, detached.0, detached.1)
    }

    fn max_pool2d(x: FloatTensor<Self>, shape: PoolShape) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let (output, places) = B::max_pool2d_with_places(x, shape);
        record!([node], (places, shape), output, |(places, shape), grad, _| {
            [Some(B::max_pool2d_backward(places, grad, shape))]
        })
    }

    fn global_average(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let size = [x.shape()[2], x.shape()[3]];
        let output = <B as Kernels>::global_average(x);
        record!([node], size, output, |size, grad, _| [Some(B::global_average_backward(grad, size))])
    }

    fn sum(a: FloatTensor<Self>, b: FloatTensor<Self>, rectifier: Rectifier) -> FloatTensor<Self> {
        let ((a, a_node), (b, b_node)) = (a.into_parts(), b.into_parts());
        let output = B::sum(a, b, rectifier);
        // Where nothing was clipped, the gradient needs no output.
        let clipped = (rectifier == Rectifier::Relu).then(|| output.clone());
        record!([a_node, b_node], clipped, output, |clipped, grad, _| {
            let grad = match clipped {
                Some(y) => B::add_relu_backward(y, grad),
                None => grad,
            };
            [Some(grad.clone()), Some(grad)]
        })
    }
}
