//! No kernel reads or writes beside its slices, and none cares where in memory they lie.
//!
//! Each runs with all its slices ending at a page that may not be touched, then beginning behind one: a step too far ends
//! the program. Then with slices that begin at 64 bytes and one number behind: the bits must be the same everywhere.
#![cfg(unix)]

mod support;

use hcd_kernels::Precision::{self, Bf16, F32};
use hcd_kernels::attention::{self, Input, Windows};
use hcd_kernels::batch_norm::{self, BatchNorm, Channels};
use hcd_kernels::conv::{self, ConvShape};
use hcd_kernels::gemm::{Activation, Bias, Left, Panels, multiply, multiply_here};
use hcd_kernels::linear::{self, Mix};
use hcd_kernels::max_pool::{self, PoolShape};
use hcd_kernels::reference::noise;
use hcd_kernels::relu::{self, Rectifier};
use hcd_kernels::update::{self, AdamW, Sgd};
use hcd_kernels::{average, gelu, layer_norm};
use std::process::Command;
use support::{Place, Placed};

/// The slices of a run, all at one place.
struct Room(Place);

impl Room {
    fn noise(&self, length: usize, seed: u64) -> Placed<f32> {
        self.with(&noise(length, seed))
    }

    fn with(&self, values: &[f32]) -> Placed<f32> {
        Placed::new(values, self.0)
    }

    /// To be written.
    fn empty(&self, length: usize) -> Placed<f32> {
        self.with(&vec![f32::NAN; length])
    }
}

fn same_everywhere(what: &str, job: impl Fn(&Room) -> Vec<Placed<f32>>) {
    let at = |place: Place| -> Vec<Vec<u32>> {
        job(&Room(place)).iter().map(|values| values.iter().map(|value| value.to_bits()).collect()).collect()
    };
    let expected = at(Place::Behind(0));
    for place in [Place::Last, Place::First, Place::Behind(1)] {
        assert!(at(place) == expected, "{what}: other bits at {place:?}");
    }
}

/// The tests below would pass as well if nothing happened at the edges.
#[test]
fn a_step_too_far_ends_the_program() {
    const STEP: &str = "HCD_STEP_TOO_FAR";
    match std::env::var(STEP).as_deref() {
        Err(_) => {
            for step in ["back", "on"] {
                let mut again = Command::new(std::env::current_exe().expect("this program"));
                again.args(["--exact", "a_step_too_far_ends_the_program"]).env(STEP, step);
                let outcome = again.output().expect("it starts");
                assert!(!outcome.status.success(), "one step {step} did no harm");
            }
        }
        Ok("back") => step(&Placed::new(&[1.0f32; 3], Place::First), -1),
        Ok(_) => step(&Placed::new(&[1.0f32; 3], Place::Last), 3),
    }
}

fn step(values: &[f32], to: isize) {
    // SAFETY: none; the page there cannot be read, and the system ends the program.
    unsafe { values.as_ptr().wrapping_offset(to).read_volatile() };
}

fn convolution(shape: ConvShape) {
    for precision in [F32, Bf16] {
        convolution_at(ConvShape { precision, ..shape });
    }
}

fn convolution_at(shape: ConvShape) {
    same_everywhere(&format!("{shape:?}"), |room| {
        let (x, weight) = (room.noise(shape.input_len(), 1), room.noise(shape.weight_len(), 2));
        let (bias, grad) = (room.noise(shape.out_channels, 3), room.noise(shape.output_len(), 4));
        let (mut y, mut bare) = (room.empty(grad.len()), room.empty(grad.len()));
        let (mut dx, mut dweight) = (room.empty(x.len()), room.empty(weight.len()));
        let mut dbias = room.empty(bias.len());
        conv::forward(&shape, &x, &weight, Some(&bias), &mut y);
        conv::forward(&shape, &x, &weight, None, &mut bare);
        conv::input_grad(&shape, &grad, &weight, &mut dx);
        conv::weight_grad(&shape, &x, &grad, &mut dweight, Some(&mut dbias));
        vec![y, bare, dx, dweight, dbias]
    });
}

fn shape(groups: usize, channels: [usize; 2], size: [usize; 2], window: [usize; 3]) -> ConvShape {
    ConvShape {
        images: 2,
        groups,
        in_channels: channels[0],
        out_channels: channels[1],
        size,
        kernel: [window[0]; 2],
        stride: [window[1]; 2],
        padding: [window[2]; 2],
        dilation: [1, 1],
        precision: F32,
    }
}

/// Kernel, stride and padding.
const WINDOWS: [[usize; 3]; 6] = [[1, 1, 0], [1, 2, 0], [3, 1, 1], [3, 2, 1], [2, 2, 0], [5, 1, 2]];

#[test]
fn convolutions_of_any_width() {
    for width in 1..=35 {
        for window in WINDOWS {
            for (groups, channels) in [(1, [3, 5]), (2, [4, 2]), (3, [3, 6])] {
                if width >= window[0] {
                    convolution(shape(groups, channels, [window[0] + width % 4, width], window));
                }
            }
        }
    }
}

#[test]
fn convolutions_of_single_pixels() {
    for window in WINDOWS {
        if window[0] <= 1 + 2 * window[2] {
            for (groups, channels) in [(1, [1, 1]), (1, [17, 33]), (5, [5, 5])] {
                convolution(shape(groups, channels, [1, 1], window));
            }
        }
    }
}

#[test]
fn stems_and_depthwise_layers() {
    for width in [7, 15, 30, 31, 33, 49] {
        convolution(shape(1, [3, 18], [width, width], [7, 2, 3]));
        convolution(shape(1, [3, 18], [width + 1, width], [4, 4, 0]));
        for window in [[3, 1, 1], [3, 2, 1], [5, 2, 2], [7, 1, 3], [7, 2, 3]] {
            convolution(shape(4, [4, 4], [width, width + 2], window));
        }
        let dilated = ConvShape { dilation: [2, 3], ..shape(1, [3, 5], [width, width], [3, 2, 4]) };
        convolution(dilated);
        convolution(ConvShape { groups: 3, in_channels: 3, out_channels: 3, ..dilated });
    }
}

/// Channels and pixels enough for Winograd's transforms and small matrix products.
#[test]
fn layers_with_many_channels() {
    for (channels, side) in [([32, 32], 4), ([33, 65], 7), ([48, 47], 8), ([64, 32], 13)] {
        for padding in 0..=2 {
            let images = 32;
            convolution(ConvShape { images, ..shape(1, channels, [side, side + 1], [3, 1, padding]) });
        }
        convolution(shape(1, channels, [side, side + 1], [1, 1, 0]));
        convolution(shape(1, channels, [2 * side, 2 * side], [1, 2, 0]));
    }
}

#[test]
fn products() {
    for rows in [1, 2, 6, 7, 13, 14, 15, 29, 113] {
        for depth in [1, 15, 16, 17, 33, 257] {
            for columns in [1, 15, 16, 17, 31, 32, 33, 65] {
                same_everywhere(&format!("({rows}, {depth}) by ({depth}, {columns})"), |room| {
                    let (a, b) = (room.noise(rows * depth, 1), room.noise(depth * columns, 2));
                    let (by_row, by_column) = (room.noise(rows, 3), room.noise(columns, 4));
                    let mut found = Vec::new();
                    for left in [Left::straight(&a, depth), Left::transposed(&a, rows)] {
                        for right in [Panels::straight(&b, columns), Panels::transposed(&b, depth)] {
                            for bias in
                                [Bias::None, Bias::Row(&by_row), Bias::Column(&by_column), Bias::There]
                            {
                                let mut c = room.noise(rows * columns, 5);
                                multiply(left, &right, bias, Activation::None, &mut c);
                                found.push(c);
                            }
                            let mut c = room.empty(rows * columns);
                            let mut scratch = Vec::new();
                            multiply_here(left, &right, Bias::None, Activation::Gelu, &mut scratch, &mut c);
                            found.push(c);
                        }
                    }
                    found
                });
            }
        }
    }
}

#[test]
fn affine_maps() {
    for precision in [F32, Bf16] {
        for sizes in [[1, 1, 1], [3, 17, 5], [16, 16, 16], [35, 31, 33], [50, 64, 10], [1100, 7, 5]] {
            affine_map(sizes, precision);
        }
    }
}

fn affine_map([rows, depth, out]: [usize; 3], precision: Precision) {
    same_everywhere(&format!("linear of {rows}, {depth}, {out}"), |room| {
        let (x, weight) = (room.noise(rows * depth, 1), room.noise(out * depth, 2));
        let (bias, grad) = (room.noise(out, 3), room.noise(rows * out, 4));
        let (mut y, mut dx) = (room.empty(grad.len()), room.empty(x.len()));
        let (mut dweight, mut dbias) = (room.empty(weight.len()), room.empty(out));
        linear::forward(&x, &weight, &bias, depth, precision, Activation::Gelu, &mut y);
        linear::input_grad(&grad, &weight, depth, precision, &mut dx);
        linear::weight_grad(&x, &grad, depth, precision, &mut dweight);
        linear::bias_grad(&grad, &mut dbias);
        vec![y, dx, dweight, dbias]
    });
    same_everywhere(&format!("mix of {rows}, {depth}, {out}"), |room| {
        let mix = Mix { tokens: depth, out, width: rows, precision };
        let (x, weight) = (room.noise(3 * rows * depth, 1), room.noise(out * depth, 2));
        let (bias, grad) = (room.noise(out, 3), room.noise(3 * rows * out, 4));
        let (mut y, mut dx) = (room.empty(grad.len()), room.empty(x.len()));
        let (mut dweight, mut dbias) = (room.empty(weight.len()), room.empty(out));
        linear::mix_forward(&mix, &weight, &x, &bias, Activation::Gelu, &mut y);
        linear::mix_input_grad(&mix, &weight, &grad, &mut dx);
        linear::mix_weight_grad(&mix, &x, &grad, &mut dweight, &mut dbias);
        vec![y, dx, dweight, dbias]
    });
}

#[test]
fn attention_within_windows() {
    for area in [1, 4, 15, 16, 17, 33, 49] {
        for (heads, head) in [(1, 1), (2, 3), (3, 16), (2, 17), (1, 32)] {
            for windows in [1, 2] {
                let (tokens, width) = (windows * area, heads * head);
                let mask = noise(tokens * area, 1);
                let layout = Windows::new(area, (0..tokens).rev().collect(), Some(mask));
                same_everywhere(&format!("attention of {windows} x {area}, {heads} x {head}"), |room| {
                    let (qkv, bias) =
                        (room.noise(2 * tokens * 3 * width, 2), room.noise(heads * area * area, 3));
                    let grad = room.noise(2 * tokens * width, 4);
                    let input = Input { qkv: &qkv, bias: &bias, windows: &layout, heads, width };
                    let mut out = room.empty(grad.len());
                    let (mut dqkv, mut dbias) = (room.empty(qkv.len()), room.empty(bias.len()));
                    attention::forward(&input, &mut out);
                    attention::backward(&input, &grad, &mut dqkv, &mut dbias);
                    vec![out, dqkv, dbias]
                });
            }
        }
    }
}

#[test]
fn normalisations() {
    for width in 1..=49 {
        same_everywhere(&format!("layer norm of {width}"), |room| {
            let (x, weight, bias) = (room.noise(5 * width, 1), room.noise(width, 2), room.noise(width, 3));
            let (mut y, mut dx) = (room.empty(x.len()), room.noise(x.len(), 4));
            let (mut dweight, mut dbias) = (room.empty(width), room.empty(width));
            layer_norm::forward(&x, &weight, &bias, 1e-5, &mut y);
            layer_norm::backward(&x, &weight, 1e-5, &mut dx, &mut dweight, &mut dbias);
            vec![y, dx, dweight, dbias]
        });
        for rectifier in [Rectifier::None, Rectifier::Relu6] {
            same_everywhere(&format!("batch norm of {width}, {rectifier:?}"), |room| {
                let norm = BatchNorm { channels: 3, area: width, epsilon: 1e-5, rectifier };
                let (x, grad) = (room.noise(2 * 3 * width, 1), room.noise(2 * 3 * width, 2));
                let (weight, bias) = (room.noise(3, 3), room.noise(3, 4));
                let (mut mean, mut variance) = (room.empty(3), room.empty(3));
                batch_norm::moments(&norm, &x, &mut mean, &mut variance);
                let known = Channels { weight: &weight, bias: &bias, mean: &mean, variance: &variance };
                let (mut y, mut in_place) = (room.empty(x.len()), room.with(&x));
                batch_norm::forward(&norm, Some(&x), &known, None, &mut y);
                batch_norm::forward(&norm, None, &known, Some(&grad), &mut in_place);
                let (mut dx, mut dx_in_place) = (room.empty(x.len()), room.with(&grad));
                let (mut dweight, mut dbias) = (room.empty(3), room.empty(3));
                batch_norm::backward(&norm, &x, &known, Some(&grad), &mut dx, &mut dweight, &mut dbias);
                batch_norm::backward(&norm, &x, &known, None, &mut dx_in_place, &mut dweight, &mut dbias);
                let mut given = room.empty(x.len());
                batch_norm::backward_given(&norm, &known, Some(&grad), &mut given);
                let (mut sums, mut totals) = (room.empty(3), room.empty(3));
                batch_norm::parameter_grads(&norm, &x, &known, &grad, &mut sums, &mut totals);
                vec![y, in_place, dx, dx_in_place, dweight, dbias, given, sums, totals, mean, variance]
            });
        }
    }
}

#[test]
fn elementwise() {
    for length in (0..=49).chain([16 * 1024 - 1, 16 * 1024 + 17]) {
        same_everywhere(&format!("{length} numbers"), |room| {
            let (x, other) = (room.noise(length, 1), room.noise(length, 2));
            let (mut y, mut dx) = (room.empty(length), room.with(&other));
            gelu::forward(&x, &mut y);
            gelu::backward(&x, &mut dx);
            let (mut positive, mut sum, mut passed) =
                (room.empty(length), room.empty(length), room.with(&other));
            relu::forward(&x, &mut positive);
            relu::add_forward(Rectifier::Relu, &x, Some(&other), &mut sum);
            relu::backward(Rectifier::Relu6, &x, &mut passed);
            let rule = Sgd { rate: 0.1, momentum: 0.9, nesterov: true, decay: 1e-3 };
            let (mut velocity, mut value) = (room.with(&other), room.with(&x));
            update::sgd(&rule, &x, &mut velocity, &mut value);
            let rule = AdamW {
                rate: 0.1,
                shrink: 0.9,
                betas: [0.9, 0.99],
                news: [0.1, 0.01],
                scale: 2.0,
                epsilon: 1e-3,
            };
            let (mut mean, mut square, mut moved) = (room.with(&x), room.with(&positive), room.with(&x));
            update::adamw(&rule, &other, &mut mean, &mut square, &mut moved);
            let mut faded = room.with(&other);
            update::average(0.75, 0.25, &x, &mut faded);
            vec![y, dx, positive, sum, passed, velocity, value, mean, square, moved, faded]
        });
    }
}

#[test]
fn pooling() {
    for width in 1..=35 {
        for (kernel, stride, padding) in [(3, 2, 1), (2, 2, 0), (3, 1, 1), (1, 3, 0), (5, 3, 2)] {
            let size = [width.min(kernel + 2), width];
            let shape = PoolShape {
                planes: 3,
                size,
                kernel: [kernel; 2],
                stride: [stride; 2],
                padding: [padding; 2],
            };
            if !shape.is_sound() {
                continue;
            }
            let [height, out_width] = shape.out_size();
            same_everywhere(&format!("{shape:?}"), |room| {
                let (x, grad) = (room.noise(3 * size[0] * width, 1), room.noise(3 * height * out_width, 2));
                let (mut y, mut again) = (room.empty(grad.len()), room.empty(grad.len()));
                let (mut places, mut dx) = (Placed::new(&vec![0u8; grad.len()], room.0), room.empty(x.len()));
                max_pool::forward(&shape, &x, &mut y);
                max_pool::forward_with_places(&shape, &x, &mut again, &mut places);
                max_pool::backward(&shape, &places, &grad, &mut dx);
                vec![y, again, dx]
            });
        }
        same_everywhere(&format!("average of {width}"), |room| {
            let (x, mut mean) = (room.noise(5 * width, 1), room.empty(5));
            let mut dx = room.empty(x.len());
            average::forward(width, &x, &mut mean);
            average::backward(width, &mean, &mut dx);
            vec![mean, dx]
        });
    }
}
