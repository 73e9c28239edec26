//! What drawing and applying must obey, whatever comes: functions of their stream, within their ranges, as often as asked.

use super::{CANVAS, argument};
use hcd::data::Image;
use hcd::data::augment_ops::levels::{FULL, Magnitude};
use hcd::data::augment_ops::{
    AutoAugment, ColorJitter, EraseMode, Mix, MixPolicy, Op, RandAugment, RandomErasing, Rect, Resampling,
    ResizedCropPolicy, Sampling, TrivialAugment, apply, apply_all, mix,
};
use hcd::models::Interpolation;
use hcd::rng;
use proptest::prelude::*;

fn any_image() -> impl Strategy<Value = Image> {
    let sides = (1..7usize, 1..7usize, prop_oneof![Just(1usize), Just(3)]);
    sides.prop_flat_map(|(height, width, channels)| {
        proptest::collection::vec(any::<u8>(), height * width * channels).prop_map(move |pixels| Image {
            height,
            width,
            channels,
            pixels,
        })
    })
}

/// What each policy draws from a stream, for an image of a size.
fn drawn(size: (usize, usize), seed: u64) -> Vec<Op> {
    let mut stream = rng::stream(seed, "test", &[]);
    let stream = &mut stream;
    let mut ops = RandAugment::parse("rand-m9-mstd0.5-inc1", CANVAS).unwrap().draw(size, stream);
    ops.extend(RandAugment::parse("rand-m15-n4-p0.9-mstd101-mmax30", CANVAS).unwrap().draw(size, stream));
    ops.extend(AutoAugment::parse("original-mstd0.5", CANVAS).unwrap().draw(size, stream));
    ops.extend(AutoAugment::parse("v0", CANVAS).unwrap().draw(size, stream));
    ops.extend(TrivialAugment::default().draw(size, stream));
    ops.extend(ColorJitter { hue: 0.2, ..ColorJitter::even(0.4) }.draw(stream));
    ops
}

fn contains(outer: (usize, usize), rect: Rect) -> bool {
    rect.top + rect.height <= outer.0 && rect.left + rect.width <= outer.1
}

proptest! {
    #[test]
    fn drawing_is_a_function_of_the_stream(seed in any::<u64>(), size in (1..300usize, 1..300usize)) {
        prop_assert_eq!(drawn(size, seed), drawn(size, seed));
    }

    #[test]
    fn whatever_is_drawn_can_be_applied(image in any_image(), seed in any::<u64>()) {
        let varied = apply_all(&drawn((image.height, image.width), seed), image.clone());
        prop_assert_eq!(varied.shape(), image.shape());
        prop_assert_eq!(varied.pixels.len(), image.pixels.len());
    }

    #[test]
    fn neutral_arguments_change_nothing(image in any_image(), fill in any::<[u8; 3]>()) {
        for resampling in [Resampling::Nearest, Resampling::Bilinear, Resampling::Bicubic] {
            let sampling = Sampling { resampling, fill };
            let moves = [
                Op::ShearX { factor: 0.0, sampling },
                Op::ShearY { factor: 0.0, sampling },
                Op::TranslateX { pixels: 0.0, sampling },
                Op::TranslateY { pixels: 0.0, sampling },
                Op::Rotate { degrees: -360.0, sampling },
            ];
            for op in moves {
                prop_assert_eq!(&apply(&op, image.clone()), &image, "{:?}", op);
            }
        }
        for op in [
            Op::Posterize { bits: 8 },
            Op::Solarize { threshold: 256 },
            Op::SolarizeAdd { add: 0 },
            Op::Color { factor: 1.0 },
            Op::Contrast { factor: 1.0 },
            Op::Brightness { factor: 1.0 },
            Op::Sharpness { factor: 1.0 },
        ] {
            prop_assert_eq!(&apply(&op, image.clone()), &image, "{:?}", op);
        }
        prop_assert_eq!(&apply_all(&[Op::Invert, Op::Invert], image.clone()), &image);
        prop_assert_eq!(&apply_all(&[Op::Mirror, Op::Mirror], image.clone()), &image);
        let sampling = Sampling { resampling: Resampling::Bicubic, fill };
        let half = Op::Rotate { degrees: 180.0, sampling };
        prop_assert_eq!(&apply_all(&[half, half], image.clone()), &image);
    }

    #[test]
    fn moving_by_pixels_moves_pixels(image in any_image(), pixels in -8..8i32) {
        for resampling in [Resampling::Nearest, Resampling::Bilinear, Resampling::Bicubic] {
            let sampling = Sampling { resampling, fill: [9, 8, 7] };
            let moved = apply(&Op::TranslateX { pixels: pixels.into(), sampling }, image.clone());
            for (index, &level) in moved.pixels.iter().enumerate() {
                let (pixel, channel) = (index / image.channels, index % image.channels);
                let (y, x) = (pixel / image.width, (pixel % image.width) as i32 + pixels);
                let expected = match usize::try_from(x).ok().filter(|&x| x < image.width) {
                    Some(x) => image.pixels[(y * image.width + x) * image.channels + channel],
                    None => [9, 8, 7][channel],
                };
                prop_assert_eq!(level, expected);
            }
        }
    }

    #[test]
    fn levels_stay_in_their_range(
        seed in any::<u64>(),
        (mean, deviation, most) in (0.0..40.0_f64, 0.0..90.0_f64, 1.0..30.0_f64),
    ) {
        for deviation in [0.0, deviation, f64::INFINITY] {
            let level = Magnitude { mean, deviation, most }.draw(&mut rng::stream(seed, "test", &[]));
            prop_assert!((0.0..=most).contains(&level));
            prop_assert!(deviation != 0.0 || level == mean.min(most));
            prop_assert!(deviation.is_finite() || level <= mean);
        }
    }

    #[test]
    fn jitter_stays_in_its_range(seed in any::<u64>()) {
        let jitter = ColorJitter { brightness: 0.4, contrast: 0.0, saturation: 1.5, hue: 0.1 };
        let ops = jitter.draw(&mut rng::stream(seed, "test", &[]));
        prop_assert_eq!(ops.len(), 3);
        for op in ops {
            let range = match op {
                Op::Brightness { .. } => 0.6..=1.4,
                Op::Color { .. } => 0.0..=2.5,
                Op::Hue { .. } => -0.1..=0.1,
                _ => panic!("{op:?} was not asked for"),
            };
            prop_assert!(range.contains(&argument(&op)), "{:?}", op);
        }
    }

    #[test]
    fn rectangles_lie_in_the_image(
        seed in any::<u64>(),
        size in (1..300usize, 1..300usize),
        alpha in 0.05..4.0_f64,
    ) {
        let mut stream = rng::stream(seed, "test", &[]);
        let crop = ResizedCropPolicy::default().draw(size, &mut stream);
        prop_assert!(contains(size, crop.rect) && crop.rect.height > 0 && crop.rect.width > 0, "{:?}", crop);
        if let Some(erasure) = RandomErasing::new(1.0, EraseMode::Pixel).draw(size, &mut stream) {
            prop_assert!(contains(size, erasure.rect), "{:?}", erasure);
            prop_assert!(erasure.rect.height < size.0 && erasure.rect.width < size.1);
        }
        let (mixup_alpha, cutmix_alpha) = (alpha, alpha);
        let policy = MixPolicy { mixup_alpha, cutmix_alpha, probability: 1.0, switch_probability: 0.5 };
        match policy.draw(&mut stream) {
            Mix::None => {}
            Mix::Mixup { lambda } => prop_assert!((0.0..1.0).contains(&lambda)),
            Mix::Cutmix { lambda, centre } => {
                prop_assert!((0.0..1.0).contains(&lambda));
                let (rect, left) = mix::cut(lambda, centre, size);
                let area = (rect.height * rect.width) as f64 / (size.0 * size.1) as f64;
                prop_assert!(contains(size, rect) && left == 1.0 - area);
                // Cut off at the edge and down to whole pixels, it is no larger than λ asked for, but for rounding.
                prop_assert!(area <= 1.0 - lambda + 1e-9);
            }
        }
    }
}

#[test]
fn operations_come_as_often_as_asked() {
    const DRAWS: usize = 9000;
    // Binomial: five standard deviations.
    let often = |count: usize, of: usize, chance: f64, what: &str| {
        let (expected, deviation) = (of as f64 * chance, (of as f64 * chance * (1.0 - chance)).sqrt());
        assert!(
            (count as f64 - expected).abs() <= 5.0 * deviation,
            "{what}: {count} of {of}, chance {chance}"
        );
    };
    let mut stream = rng::stream(1, "test", &[]);
    let policy = RandAugment::parse("rand-m9-mstd0.5-inc1-p0.3", CANVAS).unwrap();
    let ops: Vec<Op> = (0..DRAWS).flat_map(|_| policy.draw((20, 20), &mut stream)).collect();
    often(ops.len(), 2 * DRAWS, 0.3, "applied");
    let shears = ops.iter().filter(|op| matches!(op, Op::ShearX { .. })).count();
    often(shears, ops.len(), 1.0 / 15.0, "one of fifteen");
    let turned: Vec<(f64, Sampling)> = ops
        .iter()
        .filter_map(|op| match *op {
            Op::Rotate { degrees, sampling } => Some((degrees, sampling)),
            _ => None,
        })
        .collect();
    often(turned.iter().filter(|(degrees, _)| *degrees < 0.0).count(), turned.len(), 0.5, "negative");
    let bilinear = turned.iter().filter(|(_, sampling)| sampling.resampling == Resampling::Bilinear);
    often(bilinear.count(), turned.len(), 0.5, "bilinear");
    // About 9, within 10: one in forty is cut off there.
    let greatest = turned.iter().map(|(degrees, _)| degrees.abs()).fold(0.0, f64::max);
    assert_eq!(greatest, FULL * 3.0);

    let trivial = TrivialAugment::default();
    let nothing = (0..DRAWS).filter(|_| trivial.draw((20, 20), &mut stream).is_empty()).count();
    often(nothing, DRAWS, 1.0 / 14.0, "identity");

    let policy = AutoAugment::parse("v0", CANVAS).unwrap();
    let translated = (0..DRAWS)
        .flat_map(|_| policy.draw((20, 20), &mut stream))
        .filter(|op| matches!(op, Op::TranslateY { .. }))
        .count();
    often(translated, DRAWS, 0.8 / 25.0, "the one pair that translates");

    let policy =
        MixPolicy { mixup_alpha: 0.8, cutmix_alpha: 1.0, probability: 0.6, switch_probability: 0.25 };
    let mixes: Vec<Mix> = (0..DRAWS).map(|_| policy.draw(&mut stream)).collect();
    let (mut plain, mut cut) = (0, 0);
    for mix in &mixes {
        plain += usize::from(*mix == Mix::None);
        cut += usize::from(matches!(mix, Mix::Cutmix { .. }));
    }
    often(plain, DRAWS, 0.4, "not mixed");
    often(cut, DRAWS - plain, 0.25, "cut");
    let erasing = RandomErasing::new(0.25, EraseMode::Const);
    // Of a large square nearly every rectangle fits, and ten are tried.
    let erased = (0..DRAWS).filter(|_| erasing.draw((224, 224), &mut stream).is_some()).count();
    often(erased, DRAWS, 0.25, "erased");
    let crops = (0..DRAWS).map(|_| ResizedCropPolicy::default().draw((224, 224), &mut stream));
    let bicubic = crops.filter(|crop| crop.interpolation == Interpolation::Bicubic).count();
    often(bicubic, DRAWS, 0.5, "bicubic");
}

#[test]
fn shares_of_mixup_follow_beta() {
    for alpha in [0.1, 0.2, 0.8, 1.0, 3.0] {
        let policy =
            MixPolicy { mixup_alpha: alpha, cutmix_alpha: 0.0, probability: 1.0, switch_probability: 1.0 };
        let mut stream = rng::stream(2, "test", &[]);
        let count = 9000;
        let shares: Vec<f64> = (0..count)
            .map(|_| match policy.draw(&mut stream) {
                Mix::Mixup { lambda } => lambda,
                // λ so near to 1 that it is rounded there.
                Mix::None => 1.0,
                cut @ Mix::Cutmix { .. } => panic!("no CutMix was asked for, came {cut:?}"),
            })
            .collect();
        let mean = shares.iter().sum::<f64>() / f64::from(count);
        let variance = shares.iter().map(|share| (share - 0.5).powi(2)).sum::<f64>() / f64::from(count);
        // Beta(α, α): mean ½, variance 1 / (4·(2α + 1)). Five standard errors of the mean; the variance within 10 %,
        // six of its standard errors at the worst of these α.
        let expected = 0.25 / (2.0 * alpha + 1.0);
        assert!((mean - 0.5).abs() < 5.0 * (expected / f64::from(count)).sqrt(), "{alpha}: {mean}");
        assert!((variance / expected - 1.0).abs() < 0.1, "{alpha}: {variance}, expected {expected}");
    }
}
