//! From a feature map, for CNN students.
//!
//! Stage i < S passes S−i SepConv blocks, each halving height and width; channels double at each, the last gives
//! D = max(D_s, D_t). Stage S passes one 1x1 convolution with bias. Then global average pooling.
//! SepConv(c_in, c_out) = depthwise 3x3 stride 2 → pointwise c_in→c_in → BN → ReLU → depthwise 3x3 stride 1
//! → pointwise c_in→c_out → BN → ReLU, convolutions without bias.

use crate::models::layers::{BatchNorm2d, Conv2d, ConvSpec};
use crate::models::{Init, Pass, global_average};
use burn::module::Module;
use burn::tensor::Tensor;

/// SepConv blocks or, for the last stage, one 1x1 convolution; then global average pooling.
#[derive(Module, Debug)]
pub struct MapProjector {
    blocks: Vec<SepConv>,
    conv: Option<Conv2d>,
    #[module(skip)]
    width: usize,
}

impl MapProjector {
    /// From a map of `channels`, `depth` = S−i blocks above the last stage, to `width` = D.
    pub fn new(channels: usize, depth: usize, width: usize, init: &mut Init) -> Self {
        let path = channel_path(channels, depth, width);
        let blocks = path.windows(2).map(|pair| SepConv::new(pair[0], pair[1], init)).collect();
        let conv =
            (depth == 0).then(|| Conv2d::kaiming_with_bias(ConvSpec::new(channels, width, 1, 1), init));
        Self { blocks, conv, width }
    }

    /// D.
    pub fn width(&self) -> usize {
        self.width
    }

    /// # Shapes
    /// `map` (B, C, H, W) → (B, D)
    pub fn forward(&self, map: Tensor<4>, pass: &Pass) -> Tensor<2> {
        let mut map = map;
        for block in &self.blocks {
            map = block.forward(map, pass); // (B, 2C, H/2, W/2), at last (B, D, …)
        }
        match &self.conv {
            // Averaging and a 1x1 convolution commute; averaging first convolves one pixel instead of H·W.
            Some(conv) => {
                let mean = global_average(map); // (B, C)
                let [batch, channels] = mean.dims();
                conv.forward(mean.reshape([batch, channels, 1, 1])).reshape([batch, self.width])
            }
            None => global_average(map),
        }
    }
}

/// Channels before and after each of `depth` blocks: doubled at each, the last gives `width`.
fn channel_path(channels: usize, depth: usize, width: usize) -> Vec<usize> {
    let mut path: Vec<usize> = (0..depth).map(|block| channels << block).collect();
    if depth > 0 {
        path.push(width);
    }
    path
}

/// Two depthwise-separable convolutions, the first of stride 2.
#[derive(Module, Debug)]
pub struct SepConv {
    depthwise1: Conv2d,
    pointwise1: Conv2d,
    bn1: BatchNorm2d,
    depthwise2: Conv2d,
    pointwise2: Conv2d,
    bn2: BatchNorm2d,
}

impl SepConv {
    /// From `input` to `output` channels.
    pub fn new(input: usize, output: usize, init: &mut Init) -> Self {
        Self {
            depthwise1: Conv2d::kaiming(ConvSpec::depthwise(input, 3, 2), init),
            pointwise1: Conv2d::kaiming(ConvSpec::new(input, input, 1, 1), init),
            bn1: BatchNorm2d::new(input, init),
            depthwise2: Conv2d::kaiming(ConvSpec::depthwise(input, 3, 1), init),
            pointwise2: Conv2d::kaiming(ConvSpec::new(input, output, 1, 1), init),
            bn2: BatchNorm2d::new(output, init),
        }
    }

    /// # Shapes
    /// `x` (B, c_in, H, W) → (B, c_out, ⌈H/2⌉, ⌈W/2⌉)
    pub fn forward(&self, x: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let x = self.pointwise1.forward(self.depthwise1.forward(x)); // (B, c_in, ⌈H/2⌉, ⌈W/2⌉)
        let x = self.bn1.forward_relu(x, pass);
        let x = self.pointwise2.forward(self.depthwise2.forward(x)); // (B, c_out, ⌈H/2⌉, ⌈W/2⌉)
        self.bn2.forward_relu(x, pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;
    use burn::tensor::Device;

    #[test]
    fn channels_double_and_the_last_block_gives_d() {
        let check = |channels, depth, width, expected: &[usize]| {
            assert_eq!(channel_path(channels, depth, width), expected);
        };
        check(16, 3, 192, &[16, 32, 64, 192]);
        check(32, 2, 192, &[32, 64, 192]);
        check(64, 1, 192, &[64, 192]);
        check(128, 0, 192, &[]);
        check(64, 3, 768, &[64, 128, 256, 768]);
        check(256, 1, 768, &[256, 768]);
        check(256, 3, 2048, &[256, 512, 1024, 2048]);
        check(24, 3, 1280, &[24, 48, 96, 1280]);
    }

    #[test]
    fn each_block_halves_odd_sides_upwards() {
        let block = SepConv::new(3, 5, &mut Init::new(rng::stream(0, "heads", &[]), &Device::flex()));
        for (side, half) in [(7, 4), (8, 4), (1, 1)] {
            let out = block.forward(Tensor::ones([2, 3, side, side], &Device::flex()), &Pass::Eval);
            assert_eq!(out.dims(), [2, 5, half, half]);
        }
    }
}
