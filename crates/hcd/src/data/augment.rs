//! Apply a view: crop, mirror, change and normalise an image into the numbers that a network sees.
//!
//! out[c, y, x] = (in[y + top, x' + left, c]/255 − mean_c) / std_c, x' = W−1−x where mirrored, else x.
//! Outside the image `in` is 0: black, then normalised like any pixel, as after
//! torchvision's `RandomCrop` on PIL images. The arithmetic is torchvision's, in f32 and in its order.

use super::augment_ops::mix::cut;
use super::augment_ops::{Mix, ResizedCrop, apply_all};
use super::resize::{cut_out, resize};
use super::{Crop, Image, ImageShape, Normalization, View};
use crate::error::Result;

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

/// Fills `out` with what `view` shows of `image`, normalised.
///
/// # Shapes
/// `image` (H, W, C), of any size where the view's crop is resized, else of the shape → `out` (C, H, W) of the shape.
///
/// # Errors
/// Where the image has no pixels.
///
/// # Panics
/// Where `levels` are for another number of channels than the image has, or `out` is of another length.
pub fn apply(view: &View, image: &Image, shape: ImageShape, levels: &Levels, out: &mut [f32]) -> Result<()> {
    let (resized, [top, left]);
    let image = match view.crop {
        Crop::Shifted { top: down, left: across } => {
            [top, left] = [down, across];
            image
        }
        Crop::Resized(ResizedCrop { rect, interpolation }) => {
            [top, left] = [0, 0];
            let window = [0.0, 0.0, rect.height as f64, rect.width as f64];
            resized = resize(&cut_out(image, rect), window, [shape.height, shape.width], interpolation)?;
            &resized
        }
    };
    if view.ops.is_empty() {
        lay_out([top, left], view.flip, image, levels, out);
    } else {
        let image = apply_all(&view.ops, moved([top, left], view.flip, image));
        lay_out([0, 0], false, &image, levels, out);
    }
    if let Some(erasure) = &view.erasure {
        erasure.apply(out, [shape.channels, shape.height, shape.width]);
    }
    Ok(())
}

/// Mixes a partner's normalised pixels into a sample's, as drawn for a size (height, width); the share that the sample
/// keeps.
///
/// # Shapes
/// `own`, `partner` (C, H, W)
pub fn mix(own: &mut [f32], partner: &[f32], shape: ImageShape, mix: Mix, drawn_for: (usize, usize)) -> f32 {
    match mix {
        Mix::None => 1.0,
        Mix::Mixup { lambda } => {
            let share = lambda as f32;
            own.iter_mut()
                .zip(partner)
                .for_each(|(own, partner)| *own = *own * share + partner * (1.0 - share));
            share
        }
        Mix::Cutmix { lambda, centre } => {
            let (rect, share) = cut(lambda, centre, drawn_for);
            let rect = rect.scaled(drawn_for, (shape.height, shape.width));
            let plane = shape.height * shape.width;
            for (own, partner) in own.chunks_exact_mut(plane).zip(partner.chunks_exact(plane)) {
                for row in rect.top..rect.top + rect.height {
                    let run = row * shape.width + rect.left..row * shape.width + rect.left + rect.width;
                    own[run.clone()].copy_from_slice(&partner[run]);
                }
            }
            share as f32
        }
    }
}

/// Lays out an image, shifted and mirrored, as normalised numbers.
fn lay_out([top, left]: [i64; 2], flip: bool, image: &Image, levels: &Levels, out: &mut [f32]) {
    let Image { height, width, channels, pixels } = image;
    assert_eq!(levels.0.len(), *channels, "augment: levels for as many channels as the image has");
    assert_eq!(out.len(), channels * height * width, "augment: room for {}", image.shape());
    // The columns that the image reaches, before it is mirrored, and the first of its own that is seen there.
    let within = |column: i64| column.clamp(0, *width as i64) as usize;
    let (first, last) = (within(-left), within(*width as i64 - left));
    let begin = within(left) * channels;
    let planes = out.chunks_exact_mut((height * width).max(1));
    for (channel, (table, plane)) in levels.0.iter().zip(planes).enumerate() {
        for (y, row) in plane.chunks_exact_mut(*width).enumerate() {
            let Some(from) = shifted(y, top, *height) else {
                row.fill(table[0]);
                continue;
            };
            let source = &pixels[from * width * channels..][..width * channels];
            let levels = source[begin..].iter().skip(channel).step_by(*channels);
            let shown = levels.map(|&level| table[usize::from(level)]);
            if first > 0 || last < *width {
                row.fill(table[0]);
            }
            match flip {
                false => row[first..last].iter_mut().zip(shown).for_each(|(value, level)| *value = level),
                true => {
                    let row = &mut row[width - last..width - first];
                    row.iter_mut().rev().zip(shown).for_each(|(value, level)| *value = level);
                }
            }
        }
    }
}

/// An image, shifted and mirrored, as pixels.
fn moved([top, left]: [i64; 2], flip: bool, image: &Image) -> Image {
    let Image { height, width, channels, pixels } = image;
    let mut found = vec![0; pixels.len()];
    for (place, to) in found.chunks_exact_mut(*channels).enumerate() {
        let (y, x) = (place / width, place % width);
        let column = shifted(if flip { width - 1 - x } else { x }, left, *width);
        if let (Some(row), Some(column)) = (shifted(y, top, *height), column) {
            to.copy_from_slice(&pixels[(row * width + column) * channels..][..*channels]);
        }
    }
    Image { height: *height, width: *width, channels: *channels, pixels: found }
}

/// `place + offset` where that is in `0..size`.
fn shifted(place: usize, offset: i64, size: usize) -> Option<usize> {
    let place = usize::try_from(place as i64 + offset).ok()?;
    (place < size).then_some(place)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::augment_ops::Rect;
    use crate::models::Interpolation;
    use proptest::prelude::*;

    /// Shows pixels as their levels, so that expectations can be read: (level/255 − 0) / (1/255).
    fn levels(channels: usize) -> Levels {
        Levels::new(&Normalization { mean: vec![0.0; channels], std: vec![1.0 / 255.0; channels] })
    }

    fn shift(top: i64, left: i64, flip: bool) -> View {
        View { crop: Crop::Shifted { top, left }, flip, ..View::identity() }
    }

    fn shown(view: View, image: &Image) -> Vec<u8> {
        let mut out = vec![0.0; image.shape().numel()];
        apply(&view, image, image.shape(), &levels(image.channels), &mut out).unwrap();
        // By way of pixels, as where operations follow, it is the same.
        if let Crop::Shifted { top, left } = view.crop {
            let mut again = vec![0.0; out.len()];
            lay_out(
                [0, 0],
                false,
                &moved([top, left], view.flip, image),
                &levels(image.channels),
                &mut again,
            );
            assert_eq!(out, again);
        }
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
            assert_eq!(shown(shift(top, left, flip), &grey()), expected, "{top} {left} {flip}");
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
        let mut out = [0.0; 4];
        let levels = Levels::new(&normalization);
        apply(&View::identity(), &image, image.shape(), &levels, &mut out[..2]).unwrap();
        apply(&shift(1, 0, false), &image, image.shape(), &levels, &mut out[2..]).unwrap();
        // Equal to the last bit: the same operations in the same order, in f32.
        let expected = [(1.0 - 0.286) / 0.353, (0.2 - 0.5) / 0.25, (0.0 - 0.286) / 0.353, (0.0 - 0.5) / 0.25];
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
            prop_assert_eq!(shown(shift(top, left, flip), &image), expected);
        }
    }

    #[test]
    fn a_resized_crop_shows_its_rectangle() {
        // Four quarters, each of one level.
        let pixels = (0..64).map(|at: u8| [10, 20, 30, 40][usize::from(at / 32 * 2 + at % 8 / 4)]).collect();
        let image = Image { height: 8, width: 8, channels: 1, pixels };
        for (rect, level) in [((0, 0), 10), ((0, 4), 20), ((4, 0), 30), ((4, 4), 40)] {
            let rect = Rect { top: rect.0, left: rect.1, height: 4, width: 4 };
            for interpolation in [Interpolation::Bilinear, Interpolation::Bicubic] {
                let crop = Crop::Resized(ResizedCrop { rect, interpolation });
                let view = View { crop, ..View::identity() };
                let shape = ImageShape { channels: 1, height: 6, width: 5 };
                let mut out = vec![0.0; shape.numel()];
                apply(&view, &image, shape, &levels(1), &mut out).unwrap();
                // Nothing from outside of the rectangle comes in at its edges.
                assert_eq!(out.iter().map(|level| level.round() as u8).collect::<Vec<_>>(), [level; 30]);
            }
        }
    }

    #[test]
    fn mixing_keeps_its_share() {
        let shape = ImageShape { channels: 2, height: 4, width: 4 };
        let (own, partner) = (vec![1.0f32; 32], vec![3.0f32; 32]);
        let mut mixed = own.clone();
        assert_eq!(mix(&mut mixed, &partner, shape, Mix::Mixup { lambda: 0.75 }, (4, 4)), 0.75);
        assert_eq!(mixed, [1.5; 32]);
        let mut mixed = own.clone();
        let share =
            mix(&mut mixed, &partner, shape, Mix::Cutmix { lambda: 0.75, centre: (0.5, 0.5) }, (4, 4));
        assert_eq!(share, 0.75);
        assert_eq!(mixed.iter().filter(|&&value| value == 3.0).count(), 8);
        let mut mixed = own.clone();
        assert_eq!(mix(&mut mixed, &partner, shape, Mix::None, (4, 4)), 1.0);
        assert_eq!(mixed, own);
    }
}
