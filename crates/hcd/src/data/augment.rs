//! Apply a view: crop, mirror and normalise an image into the numbers that a network sees.
//!
//! out[c, y, x] = (in[y + top, x' + left, c]/255 − mean_c) / std_c, x' = W−1−x where mirrored, else x.
//! Outside the image `in` is 0: black, then normalised like any pixel, as after
//! torchvision's `RandomCrop` on PIL images. The arithmetic is torchvision's, in f32 and in its order.

use super::{Image, Normalization, View};

/// A [`Normalization`] worked out for all 256 levels of each channel.
#[derive(Debug, Clone)]
pub struct Levels(Vec<[f32; 256]>);

impl Levels {
    /// One table a channel of `normalization`.
    pub fn new(normalization: &Normalization) -> Self {
        let table =
            |(&mean, &std): (&f32, &f32)| std::array::from_fn(|level| (level as f32 / 255.0 - mean) / std);
        Self(normalization.mean.iter().zip(&normalization.std).map(table).collect())
    }
}

/// Appends what `view` shows of `image` to `out`, normalised: channels × height × width numbers.
///
/// # Shapes
/// `image` (H, W, C) → `out` grows by C × H × W, channels first.
///
/// # Panics
/// Where `levels` are for another number of channels than the image has.
pub fn apply(view: View, image: &Image, levels: &Levels, out: &mut Vec<f32>) {
    let Image { height, width, channels, pixels } = image;
    assert_eq!(levels.0.len(), *channels, "augment: levels for as many channels as the image has");
    out.reserve(channels * height * width);
    for (channel, table) in levels.0.iter().enumerate() {
        for y in 0..*height {
            let row = shifted(y, view.top, *height);
            for x in 0..*width {
                let column = shifted(if view.flip { width - 1 - x } else { x }, view.left, *width);
                let level = match (row, column) {
                    (Some(row), Some(column)) => pixels[(row * width + column) * channels + channel],
                    _ => 0,
                };
                out.push(table[usize::from(level)]);
            }
        }
    }
}

/// `place + offset` where that is in `0..size`.
fn shifted(place: usize, offset: i64, size: usize) -> Option<usize> {
    let place = usize::try_from(place as i64 + offset).ok()?;
    (place < size).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Shows pixels as their levels, so that expectations can be read: (level/255 − 0) / (1/255).
    fn levels(channels: usize) -> Levels {
        Levels::new(&Normalization { mean: vec![0.0; channels], std: vec![1.0 / 255.0; channels] })
    }

    fn shown(view: View, image: &Image) -> Vec<u8> {
        let mut out = Vec::new();
        apply(view, image, &levels(image.channels), &mut out);
        out.iter().map(|level| level.round() as u8).collect()
    }

    /// 1 2 3
    /// 4 5 6
    fn grey() -> Image {
        Image { height: 2, width: 3, channels: 1, pixels: vec![1, 2, 3, 4, 5, 6] }
    }

    #[test]
    fn crops_then_mirrors() {
        let check = |top, left, flip, expected: [u8; 6]| {
            assert_eq!(shown(View { top, left, flip }, &grey()), expected, "{top} {left} {flip}");
        };
        check(0, 0, false, [1, 2, 3, 4, 5, 6]);
        check(0, 0, true, [3, 2, 1, 6, 5, 4]);
        check(1, 0, false, [4, 5, 6, 0, 0, 0]);
        check(-1, 0, false, [0, 0, 0, 1, 2, 3]);
        check(0, 1, false, [2, 3, 0, 5, 6, 0]);
        check(0, -1, false, [0, 1, 2, 0, 4, 5]);
        check(0, 1, true, [0, 3, 2, 0, 6, 5]);
        check(-1, -2, true, [0, 0, 0, 1, 0, 0]);
        check(5, 0, false, [0; 6]);
        check(0, -5, true, [0; 6]);
    }

    #[test]
    fn separates_interleaved_channels() {
        let pixels = vec![1, 10, 100, 2, 20, 200];
        let image = Image { height: 1, width: 2, channels: 3, pixels };
        assert_eq!(shown(View::identity(), &image), [1, 2, 10, 20, 100, 200]);
    }

    #[test]
    fn normalises_as_torchvision_does_padding_included() {
        let normalization = Normalization { mean: vec![0.286, 0.5], std: vec![0.353, 0.25] };
        let image = Image { height: 1, width: 1, channels: 2, pixels: vec![255, 51] };
        let mut out = vec![7.0];
        apply(View::identity(), &image, &Levels::new(&normalization), &mut out);
        apply(View { top: 1, ..View::identity() }, &image, &Levels::new(&normalization), &mut out);
        // Equal to the last bit: the same operations in the same order, in f32.
        let expected =
            [7.0, (1.0 - 0.286) / 0.353, (0.2 - 0.5) / 0.25, (0.0 - 0.286) / 0.353, (0.0 - 0.5) / 0.25];
        assert_eq!(out, expected);
    }

    proptest! {
        #[test]
        fn agrees_with_a_padded_copy(
            (height, width, channels) in (1..6usize, 1..6usize, 1..4usize),
            (top, left, flip) in (-4..=4i64, -4..=4i64, any::<bool>()),
            bytes in proptest::collection::vec(any::<u8>(), 75),
        ) {
            let pixels = bytes[..height * width * channels].to_vec();
            let image = Image { height, width, channels, pixels };
            // The definition, literally: pad by 4, crop, mirror, channels first.
            let side = width + 8;
            let mut padded = vec![0u8; (height + 8) * side * channels];
            for y in 0..height {
                let row = &image.pixels[y * width * channels..][..width * channels];
                padded[((y + 4) * side + 4) * channels..][..row.len()].copy_from_slice(row);
            }
            let mut expected = Vec::new();
            for channel in 0..channels {
                for y in 0..height {
                    let first = (y as i64 + top + 4) as usize * side + (left + 4) as usize;
                    let mut row: Vec<u8> =
                        (0..width).map(|x| padded[(first + x) * channels + channel]).collect();
                    if flip {
                        row.reverse();
                    }
                    expected.extend(row);
                }
            }
            prop_assert_eq!(shown(View { top, left, flip }, &image), expected);
        }
    }
}
