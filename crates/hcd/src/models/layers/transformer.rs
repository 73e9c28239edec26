//! The pre-norm transformer block: x + attention(norm(x)), then x + mlp(norm(x)).

use super::{Init, LayerNorm, Linear, Mlp, Pass};
use crate::ops::attention;
use burn::module::Module;
use burn::tensor::Tensor;

/// A transformer block's shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransformerShape {
    /// D, width of a token.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the MLP over D.
    pub mlp_ratio: usize,
    /// Whether queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// ε of the norms.
    pub epsilon: f64,
    /// Stochastic depth.
    pub drop_path: f64,
    /// Dropout after attention's projection and the MLP's layers.
    pub dropout: f64,
}

#[derive(Module, Debug)]
struct Attention {
    qkv: Linear,
    proj: Linear,
    #[module(skip)]
    heads: usize,
}

/// A transformer block, its parameters called as timm's.
#[derive(Module, Debug)]
pub struct TransformerBlock {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
    #[module(skip)]
    drop_path: f64,
    #[module(skip)]
    dropout: f64,
}

impl TransformerBlock {
    /// Truncated normal weights, zero biases.
    pub fn new(shape: TransformerShape, init: &mut Init) -> Self {
        let TransformerShape { width, heads, epsilon, dropout, .. } = shape;
        let qkv = match shape.qkv_bias {
            true => Linear::new(width, 3 * width, init),
            false => Linear::without_bias(width, 3 * width, init),
        };
        Self {
            norm1: LayerNorm::new(width, epsilon, init),
            attn: Attention { qkv, proj: Linear::new(width, width, init), heads },
            norm2: LayerNorm::new(width, epsilon, init),
            mlp: Mlp::new(width, shape.mlp_ratio * width, dropout, init),
            drop_path: shape.drop_path,
            dropout,
        }
    }

    /// # Shapes
    /// `x` (B, L, D) → (B, L, D)
    pub fn forward(&self, x: Tensor<3>, pass: &mut Pass) -> Tensor<3> {
        let qkv = self.attn.qkv.forward(self.norm1.forward(x.clone())); // (B, L, 3D)
        let attended = self.attn.proj.forward(attention(qkv, self.attn.heads));
        let attended = pass.dropout(attended, self.dropout);
        let x = pass.residual(x, attended, self.drop_path);
        let hidden = self.mlp.forward(self.norm2.forward(x.clone()), pass);
        pass.residual(x, hidden, self.drop_path)
    }
}
