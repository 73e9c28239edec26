//! Images brought to other sizes, as timm evaluates on them and as it crops them to train on: within one level of PIL's.

use super::{Golden, golden};
use hcd::data::augment::{self, Levels};
use hcd::data::augment_ops::{Rect, ResizedCrop};
use hcd::data::{Crop, Image, ImageShape, Normalization, Preprocess, View};
use hcd::models::Interpolation;

/// Weights of the filters are rounded to 14 bits or more on either side, not in the same way.
const TOLERANCE: u8 = 1;

fn interpolation(text: &str) -> Interpolation {
    match text {
        "bilinear" => Interpolation::Bilinear,
        "bicubic" => Interpolation::Bicubic,
        _ => panic!("{text} is no filter"),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

/// The part of an image, as levels.
fn cropped(image: &Image, rect: Rect, side: usize, interpolation: Interpolation) -> Image {
    let channels = image.channels;
    let levels = Levels::new(&Normalization { mean: vec![0.0; channels], std: vec![1.0 / 255.0; channels] });
    let view = View { crop: Crop::Resized(ResizedCrop { rect, interpolation }), ..View::identity() };
    let shape = ImageShape { channels, height: side, width: side };
    let mut planes = vec![0.0; shape.numel()];
    augment::apply(&view, image, shape, &levels, &mut planes).unwrap();
    let level = |place: usize| planes[place % channels * side * side + place / channels].round() as u8;
    Image { height: side, width: side, channels, pixels: (0..shape.numel()).map(level).collect() }
}

#[test]
fn resized_images_are_pils() {
    let Golden { images, .. } = golden("resized");
    let (mut problems, mut counts) = (Vec::new(), [0; 2]);
    for (key, theirs) in &images {
        let input = |name: &str| images[&format!("in/{name}")].clone();
        let ours = match key.split('/').collect::<Vec<_>>()[..] {
            ["in", _] => continue,
            ["eval", name, size, crop, filter] => {
                counts[0] += 1;
                let usual = Preprocess::new(number(size));
                let seen = Preprocess { crop: number(crop), interpolation: interpolation(filter), ..usual };
                seen.apply(input(name)).unwrap()
            }
            ["crop", name, top, left, height, width, size, filter] => {
                counts[1] += 1;
                let [top, left, height, width] = [top, left, height, width].map(number);
                let rect = Rect { top, left, height, width };
                cropped(&input(name), rect, number(size), interpolation(filter))
            }
            _ => panic!("{key} is in the file, and no test knows it"),
        };
        assert_eq!(ours.shape(), theirs.shape(), "{key}");
        let off = ours.pixels.iter().zip(&theirs.pixels).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        if off > TOLERANCE {
            problems.push(format!("{key}: off by {off}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert_eq!(counts, [32, 30]);
}
