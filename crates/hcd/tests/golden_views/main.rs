//! Augmentation against `golden/views`: every operation equal to PIL's, every argument and policy to timm's and
//! torchvision's; and what drawing must obey (`drawing.rs`). Images that are
//! resized are `resized.rs`'s.
//!
//! `golden/README.md` explains the keys, `golden/views/make.py` made the values.
#![allow(clippy::unwrap_used, missing_docs)]

mod drawing;
mod resized;

use hcd::data::Image;
use hcd::data::augment_ops::levels::Kind;
use hcd::data::augment_ops::rand_augment::{INCREASING_OPS, OPS};
use hcd::data::augment_ops::trivial_augment::Wide;
use hcd::data::augment_ops::{
    AutoAugment, Canvas, Op, RandAugment, Rect, Resampling, ResizedCropPolicy, Sampling, TrivialAugment,
    apply, apply_all, mix,
};
use hcd::rng;
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const CANVAS: Canvas = Canvas { resampling: None, fill: [124, 116, 104] };
const KINDS: [Kind; 22] = [
    Kind::AutoContrast,
    Kind::Equalize,
    Kind::Invert,
    Kind::Rotate,
    Kind::Posterize,
    Kind::PosterizeIncreasing,
    Kind::PosterizeOriginal,
    Kind::Solarize,
    Kind::SolarizeIncreasing,
    Kind::SolarizeAdd,
    Kind::Color,
    Kind::ColorIncreasing,
    Kind::Contrast,
    Kind::ContrastIncreasing,
    Kind::Brightness,
    Kind::BrightnessIncreasing,
    Kind::Sharpness,
    Kind::SharpnessIncreasing,
    Kind::ShearX,
    Kind::ShearY,
    Kind::TranslateXRel,
    Kind::TranslateYRel,
];
/// Operations that the images of each name go through, in the file.
const OP_NAMES: [&str; 18] = [
    "auto_contrast",
    "brightness",
    "color",
    "contrast",
    "equalize",
    "grayscale",
    "hue",
    "invert",
    "mirror",
    "posterize",
    "rotate",
    "sharpness",
    "shear_x",
    "shear_y",
    "solarize",
    "solarize_add",
    "translate_x",
    "translate_y",
];

struct Golden {
    images: BTreeMap<String, Image>,
    numbers: BTreeMap<String, Vec<f64>>,
    settings: BTreeMap<String, String>,
}

fn golden(name: &str) -> Golden {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/views");
    let path = folder.join(format!("{name}.safetensors"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let settings = header.metadata().clone().unwrap_or_default().into_iter().collect();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (mut images, mut numbers) = (BTreeMap::new(), BTreeMap::new());
    for (name, view) in file.iter() {
        let wide = |bytes: &[u8]| f64::from_le_bytes(bytes.try_into().unwrap());
        let single = |bytes: &[u8]| f64::from(f32::from_le_bytes(bytes.try_into().unwrap()));
        match (view.dtype(), view.shape()) {
            (Dtype::U8, &[height, width, channels]) => {
                let image = Image { height, width, channels, pixels: view.data().to_vec() };
                images.insert(name.to_owned(), image);
            }
            (Dtype::F64, _) => {
                numbers.insert(name.to_owned(), view.data().chunks_exact(8).map(wide).collect());
            }
            (Dtype::F32, _) => {
                numbers.insert(name.to_owned(), view.data().chunks_exact(4).map(single).collect());
            }
            (dtype, shape) => panic!("{name} is {dtype:?} {shape:?}, expected an image or numbers"),
        }
    }
    Golden { images, numbers, settings }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

fn resampling(text: &str) -> Resampling {
    match text {
        "nearest" => Resampling::Nearest,
        "bilinear" => Resampling::Bilinear,
        "bicubic" => Resampling::Bicubic,
        _ => panic!("{text} is no resampling"),
    }
}

/// The operation that a key of the file names, behind the image.
fn op(parts: &[&str]) -> Option<Op> {
    if let &[name, argument, between] = parts {
        let (value, sampling) =
            (number(argument), Sampling { resampling: resampling(between), fill: CANVAS.fill });
        return Some(match name {
            "shear_x" => Op::ShearX { factor: value, sampling },
            "shear_y" => Op::ShearY { factor: value, sampling },
            "translate_x" => Op::TranslateX { pixels: value, sampling },
            "translate_y" => Op::TranslateY { pixels: value, sampling },
            "rotate" => Op::Rotate { degrees: value, sampling },
            _ => return None,
        });
    }
    if let &[name, argument] = parts {
        let factor = number(argument);
        return Some(match name {
            "posterize" => Op::Posterize { bits: factor as u8 },
            "solarize" => Op::Solarize { threshold: factor as u16 },
            "solarize_add" => Op::SolarizeAdd { add: factor as u8 },
            "color" => Op::Color { factor },
            "contrast" => Op::Contrast { factor },
            "brightness" => Op::Brightness { factor },
            "sharpness" => Op::Sharpness { factor },
            "hue" => Op::Hue { turns: factor },
            _ => return None,
        });
    }
    Some(match parts {
        ["auto_contrast"] => Op::AutoContrast,
        ["equalize"] => Op::Equalize,
        ["invert"] => Op::Invert,
        ["grayscale"] => Op::Grayscale,
        ["mirror"] => Op::Mirror,
        _ => return None,
    })
}

fn kind(name: &str) -> Option<Kind> {
    KINDS.into_iter().find(|kind| format!("{kind:?}") == name)
}

fn wide(name: &str) -> Option<Wide> {
    Wide::ALL.into_iter().find(|wide| format!("{wide:?}") == name)
}

/// Where and by how much two images differ, if they do.
fn difference(ours: &Image, theirs: &Image) -> Option<String> {
    if ours.shape() != theirs.shape() {
        return Some(format!(" is {}, expected {}", ours.shape(), theirs.shape()));
    }
    let pairs = || ours.pixels.iter().zip(&theirs.pixels);
    let first = pairs().position(|(ours, theirs)| ours != theirs)?;
    let (count, most) = (
        pairs().filter(|(ours, theirs)| ours != theirs).count(),
        pairs().map(|(ours, theirs)| ours.abs_diff(*theirs)).max().unwrap(),
    );
    let (ours, theirs) = (ours.pixels[first], theirs.pixels[first]);
    Some(format!("[{first}] = {ours}, expected {theirs}; {count} differ, by {most} at most"))
}

#[test]
fn every_operation_is_equal_to_pils() {
    let golden = golden("ops");
    let (mut problems, mut seen) = (Vec::new(), BTreeSet::new());
    for (key, theirs) in &golden.images {
        let parts: Vec<&str> = key.split('/').collect();
        let noise = &golden.images["in/noise"];
        let bicubic = Sampling { resampling: Resampling::Bicubic, fill: CANVAS.fill };
        let trivial = TrivialAugment::default().sampling;
        let ours = match parts[..] {
            ["in", _] => continue,
            ["op", image, ref of @ ..] => {
                seen.insert(of[0].to_owned());
                op(of).map(|op| apply(&op, golden.images[&format!("in/{image}")].clone()))
            }
            ["timm", name, level, sign] => {
                seen.insert(format!("timm {name}"));
                let size = (noise.height, noise.width);
                let op = kind(name).map(|kind| kind.op(number(level), sign == "minus", bicubic, size));
                op.map(|op| apply(&op, noise.clone()))
            }
            ["trivial", name, magnitude] => {
                seen.insert(format!("trivial {name}"));
                let op = wide(name).map(|wide| wide.op(number(magnitude), trivial));
                op.map(|op| apply_all(op.as_slice(), noise.clone()))
            }
            _ => None,
        };
        match ours {
            None => problems.push(format!("{key} is in the file, and no test knows it")),
            Some(ours) => problems.extend(difference(&ours, theirs).map(|what| format!("{key}{what}"))),
        }
    }
    let expected = OP_NAMES.into_iter().map(str::to_owned);
    let expected = expected.chain(KINDS.map(|kind| format!("timm {kind:?}")));
    let expected = expected.chain(Wide::ALL.map(|wide| format!("trivial {wide:?}")));
    let missing = expected.filter(|name| !seen.contains(name));
    problems.extend(missing.map(|name| format!("{name} is missing from the file")));
    assert!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
}

/// An operation's argument, 0 where it has none.
fn argument(op: &Op) -> f64 {
    match *op {
        Op::ShearX { factor, .. } | Op::ShearY { factor, .. } => factor,
        Op::Color { factor } | Op::Contrast { factor } => factor,
        Op::Brightness { factor } | Op::Sharpness { factor } => factor,
        Op::TranslateX { pixels, .. } | Op::TranslateY { pixels, .. } => pixels,
        Op::Rotate { degrees, .. } => degrees,
        Op::Posterize { bits } => bits.into(),
        Op::Solarize { threshold } => threshold.into(),
        Op::SolarizeAdd { add } => add.into(),
        Op::Hue { turns } => turns,
        Op::AutoContrast | Op::Invert | Op::Equalize | Op::Grayscale | Op::Mirror => 0.0,
    }
}

#[test]
fn every_table_is_timms_or_torchvisions() {
    let golden = golden("ops");
    let sampling = Sampling { resampling: Resampling::Nearest, fill: [0; 3] };
    let levels = &golden.numbers["level"];
    let mut seen = BTreeSet::new();
    for (key, theirs) in &golden.numbers {
        seen.insert(key.as_str());
        match key.split('/').collect::<Vec<_>>()[..] {
            ["level"] => {}
            ["level", name] => {
                let kind = kind(name).unwrap_or_else(|| panic!("{key} is in the file, and no test knows it"));
                let of = |negative| {
                    levels.iter().map(move |&level| argument(&kind.op(level, negative, sampling, (1, 1))))
                };
                let ours: Vec<f64> = of(false).chain(of(true)).collect();
                // Levels above 10 would leave less than no bits.
                let theirs: Vec<f64> = match kind {
                    Kind::PosterizeIncreasing => theirs.iter().map(|bits| bits.max(0.0)).collect(),
                    _ => theirs.clone(),
                };
                assert_eq!(ours, theirs, "{key}");
            }
            ["bins", name] => {
                let wide = wide(name).unwrap_or_else(|| panic!("{key} is in the file, and no test knows it"));
                let (ours, _) = wide.magnitudes();
                assert_eq!(ours.len(), theirs.len(), "{key}");
                for (&ours, &theirs) in ours.iter().zip(theirs) {
                    // torch sums in another order on processors with other vectors: two units in the last place of
                    // an f32. Whole numbers, which are cut off, must not be touched by that.
                    let close =
                        (f64::from(ours) - theirs).abs() <= 2.0 * f64::from(f32::EPSILON) * theirs.abs();
                    assert!(close && f64::from(ours).trunc() == theirs.trunc(), "{key}: {ours}, {theirs}");
                }
            }
            ["cutmix"] => {
                for case in theirs.chunks_exact(10) {
                    let &[height, width, lambda, row, column, top, bottom, left, right, rest] = case else {
                        unreachable!("ten numbers")
                    };
                    let centre = ((row + 0.5) / height, (column + 0.5) / width);
                    let (rect, lambda) = mix::cut(lambda, centre, (height as usize, width as usize));
                    let sides = [top, left, bottom - top, right - left].map(|side| side as usize);
                    let [top, left, height, width] = sides;
                    assert_eq!((rect, lambda), (Rect { top, left, height, width }, rest), "{case:?}");
                }
            }
            ["middle"] => {
                for case in theirs.chunks_exact(6) {
                    let sides: Vec<usize> = case.iter().map(|&side| side as usize).collect();
                    let policy = ResizedCropPolicy { scale: (2.0, 2.0), ..ResizedCropPolicy::default() };
                    let crop = policy.draw((sides[0], sides[1]), &mut rng::stream(1, "test", &[]));
                    let rect = Rect { top: sides[2], left: sides[3], height: sides[4], width: sides[5] };
                    assert_eq!(crop.rect, rect, "{case:?}");
                }
            }
            _ => panic!("{key} is in the file, and no test knows it"),
        }
    }
    let expected = KINDS.map(|kind| format!("level/{kind:?}")).into_iter();
    let expected = expected.chain(Wide::ALL.map(|wide| format!("bins/{wide:?}")));
    for key in expected.chain(["level", "cutmix", "middle"].map(str::to_owned)) {
        assert!(seen.contains(key.as_str()), "{key} is missing from the file");
    }
}

#[test]
fn every_policy_is_timms() {
    let golden = golden("ops");
    let mut unread: BTreeSet<&str> = golden.settings.keys().map(String::as_str).collect();
    for version in ["pillow", "timm", "torchvision", "numpy"] {
        assert!(unread.remove(version), "{version} is missing from the file");
    }
    assert!(unread.remove("fill"));
    assert_eq!(serde_json::from_str::<[u8; 3]>(&golden.settings["fill"]).unwrap(), CANVAS.fill);
    for (name, pairs) in ["original", "originalr", "v0", "v0r"].map(|name| (name, &golden.settings[name])) {
        assert!(unread.remove(name));
        let theirs: Vec<[(String, f64, f64); 2]> = serde_json::from_str(pairs).unwrap();
        let ours = AutoAugment::parse(name, CANVAS).unwrap().pairs;
        let ours = ours.map(|pair| pair.map(|(kind, chance, level)| (format!("{kind:?}"), chance, level)));
        assert_eq!(ours.to_vec(), theirs, "{name}");
    }
    for (name, ours) in [("rand-m9-mstd0.5", OPS), ("rand-m9-mstd0.5-inc1", INCREASING_OPS)] {
        assert!(unread.remove(name));
        let theirs: Vec<String> = serde_json::from_str(&golden.settings[name]).unwrap();
        assert_eq!(ours.map(|kind| format!("{kind:?}")).to_vec(), theirs, "{name}");
        assert_eq!(RandAugment::parse(name, CANVAS).unwrap().increasing, ours == INCREASING_OPS);
    }
    assert!(unread.is_empty(), "{unread:?} is in the file, and no test knows it");
}

#[test]
fn no_bits_are_black() {
    let image = Image { height: 1, width: 3, channels: 1, pixels: vec![0, 128, 255] };
    assert_eq!(apply(&Op::Posterize { bits: 0 }, image.clone()).pixels, [0; 3]);
    assert_eq!(apply(&Op::Posterize { bits: 8 }, image.clone()).pixels, image.pixels);
}

#[test]
fn canvases_are_filled_with_the_mean() {
    // timm's ImageNet constants; 127.5 rounds to even.
    assert_eq!(Canvas::around(&[0.485, 0.456, 0.406], None).fill, [124, 116, 104]);
    assert_eq!(Canvas::around(&[0.5], None).fill, [128; 3]);
}
