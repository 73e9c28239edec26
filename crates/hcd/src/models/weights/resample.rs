//! Tensors of one resolution, window or number of channels for another, as timm 1.0.31 adapts them.

use super::tensor::HostTensor;

/// Position embeddings for another grid: bicubic, antialiased (timm `resample_abs_pos_embed`); the first
/// `prefix` tokens, those of classes, stay as they are.
///
/// # Shapes
/// `embedding` (1, prefix + s², D) → (1, prefix + side², D)
///
/// # Errors
/// Where the tokens behind the prefix are no square.
pub fn position_embedding(embedding: &HostTensor, prefix: usize, side: usize) -> Result<HostTensor, String> {
    let [1, tokens, width] = embedding.shape[..] else {
        return Err(format!("has shape {:?}, expected (1, tokens, width)", embedding.shape));
    };
    let old = tokens.checked_sub(prefix).and_then(root).filter(|old| *old > 0);
    let old =
        old.ok_or_else(|| format!("has {tokens} tokens, no square grid behind {prefix} class tokens"))?;
    let (first, grid) = embedding.values.split_at(prefix * width);
    let weights = bicubic(old, side);
    // Rows first, then columns: (s, s·D) → (side, s·D), then each row (s, D) → (side, D).
    let rows = mix(grid, &weights, old * width);
    let resampled = rows.chunks(old * width).flat_map(|row| mix(row, &weights, width));
    let values = first.iter().copied().chain(resampled).collect();
    Ok(HostTensor { shape: vec![1, prefix + side * side, width], values })
}

/// A relative position table for another window: linear between places that lie the denser the nearer they are
/// to the centre (timm `resize_rel_pos_bias_table`).
///
/// # Shapes
/// `table` (s², heads) → (side², heads), where s and side are 2 · window − 1
///
/// # Errors
/// Where the table is no square.
pub fn relative_positions(table: &HostTensor, side: usize) -> Result<HostTensor, String> {
    let [places, heads] = table.shape[..] else {
        return Err(format!("has shape {:?}, expected (places, heads)", table.shape));
    };
    let old = root(places).filter(|old| *old > 0);
    let old = old.ok_or_else(|| format!("has {places} places, which are no square"))?;
    let weights = geometric(old, side);
    let rows = mix(&table.values, &weights, old * heads);
    let values = rows.chunks(old * heads).flat_map(|row| mix(row, &weights, heads)).collect();
    Ok(HostTensor { shape: vec![side * side, heads], values })
}

/// A first convolution for another number of channels (timm `adapt_input_conv`): summed for one channel, else
/// the three repeated and scaled by 3 / channels.
///
/// # Shapes
/// `weight` (O, I, H, W) → (O, channels, H, W)
///
/// # Errors
/// Where more than one channel is to be made of others than three.
pub fn input_channels(weight: &HostTensor, channels: usize) -> Result<HostTensor, String> {
    let [outputs, inputs, height, width] = weight.shape[..] else {
        return Err(format!("has shape {:?}, expected that of a convolution", weight.shape));
    };
    if channels != 1 && inputs != 3 {
        return Err(format!("reads {inputs} channels, and only 3 can be made {channels}"));
    }
    let area = height * width;
    let mut values = Vec::with_capacity(outputs * channels * area);
    for filter in weight.values.chunks(inputs * area) {
        for channel in 0..channels {
            match channels {
                1 => values.extend((0..area).map(|at| filter[at..].iter().step_by(area).sum::<f32>())),
                _ => {
                    let scale = 3.0 / channels as f32;
                    values.extend(filter[channel % 3 * area..][..area].iter().map(|value| value * scale));
                }
            }
        }
    }
    Ok(HostTensor { shape: vec![outputs, channels, height, width], values })
}

/// The side of a square.
pub fn root(places: usize) -> Option<usize> {
    let side = places.isqrt();
    (side * side == places).then_some(side)
}

/// For each place of the new axis, the places of the old that it is made of, with their weights.
type Weights = Vec<Vec<(usize, f32)>>;

/// out[i] = Σ_j w_ij in[j], where in[j] and out[i] are runs of `width` numbers.
fn mix(input: &[f32], weights: &Weights, width: usize) -> Vec<f32> {
    let mut output = vec![0.0; weights.len() * width];
    for (out, parts) in output.chunks_mut(width).zip(weights) {
        for (place, weight) in parts {
            for (sum, value) in out.iter_mut().zip(&input[place * width..]) {
                *sum += weight * value;
            }
        }
    }
    output
}

/// PyTorch's antialiased bicubic interpolation: Keys' kernel with a = −1/2, stretched where the axis shrinks,
/// cut off at the ends and normalised.
fn bicubic(old: usize, new: usize) -> Weights {
    let scale = old as f64 / new as f64;
    let stretch = scale.max(1.0);
    let kernel = |x: f64| match x.abs() {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        _ => 0.0,
    };
    let parts = |place: usize| {
        let centre = scale * (place as f64 + 0.5);
        let first = (centre - 2.0 * stretch + 0.5).max(0.0) as usize;
        let end = ((centre + 2.0 * stretch + 0.5) as usize).min(old);
        let raw: Vec<f64> = (first..end).map(|j| kernel((j as f64 - centre + 0.5) / stretch)).collect();
        let sum: f64 = raw.iter().sum();
        raw.iter().enumerate().map(|(j, weight)| (first + j, (weight / sum) as f32)).collect()
    };
    (0..new).map(parts).collect()
}

/// Linear interpolation where the old places lie at 0, ±1, ±(1 + q), ±(1 + q + q²), …, with the q that
/// stretches them over the new axis, whose places lie at the whole numbers; flat beyond the ends.
fn geometric(old: usize, new: usize) -> Weights {
    let (half, reach) = (old / 2, (new / 2) as f64);
    let (mut low, mut high) = (1.01f64, 1.5f64);
    let mut ratio = low;
    while high - low > 1e-6 {
        ratio = (low + high) / 2.0;
        let sum = (1.0 - ratio.powi(half as i32)) / (1.0 - ratio);
        if sum > reach { high = ratio } else { low = ratio }
    }
    let mut distances = Vec::with_capacity(half);
    let mut distance = 1.0;
    for step in 0..half {
        distances.push(distance);
        distance += ratio.powi(step as i32 + 1);
    }
    let negative = distances.iter().rev().map(|distance| -distance);
    let places: Vec<f64> = negative.chain([0.0]).chain(distances.iter().copied()).collect();
    let parts = |place: usize| {
        let x = place as f64 - reach;
        match places.iter().position(|old| *old >= x) {
            None => vec![(places.len() - 1, 1.0)],
            Some(0) => vec![(0, 1.0)],
            Some(right) => {
                let weight = ((x - places[right - 1]) / (places[right] - places[right - 1])) as f32;
                vec![(right - 1, 1.0 - weight), (right, weight)]
            }
        }
    };
    (0..new).map(parts).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::models::weights;
    use std::path::Path;

    /// Every case that timm was asked for, in `golden/import/resampled.safetensors`.
    #[test]
    fn agrees_with_timm() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/import/resampled.safetensors");
        let (tensors, _) = weights::read::<serde_json::Value>(&golden).unwrap();
        let inputs = tensors.iter().filter_map(|(name, tensor)| Some((name.strip_suffix(".in")?, tensor)));
        for (case, input) in inputs {
            let expected = &tensors[&format!("{case}.out")];
            let (kind, sizes) = case.split_once('.').unwrap();
            let sizes: Vec<usize> = sizes.split('_').map(|size| size.parse().unwrap()).collect();
            let found = match kind {
                "pos" => position_embedding(input, sizes[2], sizes[1]),
                "rel" => relative_positions(input, 2 * sizes[1] - 1),
                "conv" => input_channels(input, sizes[0]),
                other => panic!("{other}: nothing is resampled so"),
            };
            let found = found.unwrap();
            assert_eq!(found.shape, expected.shape, "{case}");
            let gap =
                found.values.iter().zip(&expected.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // Both sum a few products of numbers about 1 in f32, in different orders.
            assert!(gap < 2e-6, "{case}: differs by {gap}");
        }
    }

    #[test]
    fn refuses_what_is_no_square() {
        let tensor =
            |shape: &[usize]| HostTensor { shape: shape.to_vec(), values: vec![0.0; shape.iter().product()] };
        for (shape, prefix) in
            [(&[1, 3, 2][..], 0), (&[1, 1, 2], 1), (&[1, 4, 2], 5), (&[2, 4, 2], 0), (&[4], 0)]
        {
            assert!(position_embedding(&tensor(shape), prefix, 2).is_err(), "{shape:?}");
        }
        for shape in [&[8, 2][..], &[0, 2], &[9]] {
            assert!(relative_positions(&tensor(shape), 3).is_err(), "{shape:?}");
        }
        assert!(input_channels(&tensor(&[2, 4, 1, 1]), 3).is_err());
        assert!(input_channels(&tensor(&[2, 4]), 1).is_err());
    }
}
