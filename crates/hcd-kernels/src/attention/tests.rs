//! Window attention against the scalar reference.

use super::*;
use crate::reference::{self, assert_close, noise};

#[test]
fn agrees_with_the_reference() {
    for (images, windows, area, heads, head, masked) in [
        (0, 1, 4, 1, 4, false),
        (1, 1, 1, 1, 1, false),
        (2, 2, 4, 1, 3, true),
        (3, 1, 17, 2, 16, false),
        (5, 2, 15, 3, 17, true),
        (2, 3, 16, 1, 8, true),
        (3, 2, 49, 2, 24, true),
        (1, 1, 65, 1, 32, false),
    ] {
        let tokens = windows * area;
        let width = heads * head;
        // 7 and 11 have no factor in common with any number of tokens above.
        let table = (0..tokens).map(|i| (i * 11 + 3) % tokens).collect();
        let qkv: Vec<f32> = noise(images * tokens * 3 * width, 1).iter().map(|v| 2.0 * v).collect();
        let bias = noise(heads * area * area, 2);
        let mask: Vec<f32> =
            noise(tokens * area, 3).iter().map(|&v| if v > 0.3 { -100.0 } else { 0.0 }).collect();
        let grad = noise(images * tokens * width, 4);
        let layout = Windows::new(area, table, masked.then_some(mask));
        let input = Input { qkv: &qkv, bias: &bias, windows: &layout, heads, width };
        let mut out = vec![f32::NAN; grad.len()];
        forward(&input, &mut out);
        let (mut qkv_grad, mut bias_grad) = (vec![f32::NAN; qkv.len()], vec![f32::NAN; bias.len()]);
        backward(&input, &grad, &mut qkv_grad, &mut bias_grad);
        let expected = reference::attention(&input, &grad);
        assert_close("out", &out, &expected.out, 3e-6);
        assert_close("qkv", &qkv_grad, &expected.qkv_grad, 1e-5);
        assert_close("bias", &bias_grad, &expected.bias_grad, 1e-5);
    }
}
