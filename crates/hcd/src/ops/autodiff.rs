//! The backward step of each kernel, recorded in Burn's graph.
//!
//! A step keeps the operation's inputs alone (Burn shares them, without a copy); what else the gradient needs,
//! the kernel computes again.

use super::{KernelGradients, Kernels, Windows};
use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use std::fmt::Debug;
use std::sync::Arc;

/// A backward step: from what the forward pass kept and the output's gradient to the gradients of N inputs.
#[derive(Debug)]
struct Step<S, B, const N: usize>(fn(S, FloatTensor<B>) -> [FloatTensor<B>; N])
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
        let computed = (self.0)(ops.state, grad);
        for (parent, gradient) in ops.parents.into_iter().zip(computed) {
            if let Some(parent) = parent {
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
            |(x, weight, epsilon), grad| {
                <B as KernelGradients>::layer_norm_backward(x, weight, grad, epsilon)
            }
        )
    }

    fn gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let output = <B as Kernels>::gelu(x.clone());
        record!([node], x, output, |x, grad| [<B as KernelGradients>::gelu_backward(x, grad)])
    }

    fn window_attention(
        qkv: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        windows: Arc<Windows>,
    ) -> FloatTensor<Self> {
        let ((qkv, qkv_node), (bias, bias_node)) = (qkv.into_parts(), bias.into_parts());
        let output = B::window_attention(qkv.clone(), bias.clone(), windows.clone());
        let state = (qkv, bias, windows);
        record!([qkv_node, bias_node], state, output, |(qkv, bias, windows), grad| {
            B::window_attention_backward(qkv, bias, grad, windows)
        })
    }
}
