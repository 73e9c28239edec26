//! A teacher that looks at its student's views at a size of its own: the same part of the same image, changed alike.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use hcd::burn::tensor::Device;
use hcd::data::{
    AtSize, Dataset, HostBatch, Image, ImageShape, Memory, Normalization, Preprocess, Request, TrainLoader,
    ViewPolicy, Views, adapted::Adapted, augment_ops::Rect,
};
use hcd::export::Loaded;
use hcd::models::{Interpolation, ModelSpec, Network};
use hcd::ops::Precision;
use hcd::rng;
use hcd::teacher::{Cached, Live, Recorded, Stored, Teacher, TeacherOutput, ViewKey};
use hcd::train::{Experiment, Objective, fit, inspect_teacher};
use rand::RngExt;
use std::sync::Arc;
use support::{RESNET, SIDE, experiment};

/// Originals, in colour, that change so slowly from pixel to pixel that they look alike at any size.
fn smooth(side: usize, count: u64) -> Arc<dyn Dataset> {
    let mut pixels = Vec::new();
    for sample in 0..count {
        let mut stream = rng::stream(sample, "smooth", &[]);
        let waves: Vec<[f64; 3]> =
            (0..3).map(|_| std::array::from_fn(|_| stream.random_range(0.5..4.0))).collect();
        for place in 0..side * side {
            let (y, x) = ((place / side) as f64 / side as f64, (place % side) as f64 / side as f64);
            pixels.extend(waves.iter().map(|[a, b, c]| (127.0 + 120.0 * (a * y + b * x + c).sin()) as u8));
        }
    }
    let shape = ImageShape { channels: 3, height: side, width: side };
    let labels = vec![0; count as usize];
    Arc::new(Memory::new("smooth".to_owned(), vec!["a".to_owned()], shape, pixels, labels).unwrap())
}

/// The mean difference of `small` and `large`, of twice its side, whose pixels are averaged two by two.
fn apart(small: &[f32], large: &[f32], shape: [usize; 4]) -> f32 {
    let [count, channels, side, _] = shape;
    let mut sum = 0.0;
    for plane in 0..count * channels {
        let large = &large[plane * 4 * side * side..][..4 * side * side];
        for (place, own) in small[plane * side * side..][..side * side].iter().enumerate() {
            let corner = 4 * side * (place / side) + 2 * (place % side);
            let mean =
                (large[corner] + large[corner + 1] + large[corner + 2 * side] + large[corner + 2 * side + 1])
                    / 4.0;
            sum += (own - mean).abs();
        }
    }
    sum / small.len() as f32
}

/// Each kind of view at 32 and at 64 pixels, of originals of 128: at both sizes the same thing is seen, and another thing
/// than in the next view.
#[test]
fn a_view_is_the_same_at_either_size() {
    let normalization = Normalization { mean: vec![0.5; 3], std: vec![0.5; 3] };
    let preprocess = Preprocess { crop: 0.75, interpolation: Interpolation::Bilinear, ..Preprocess::new(32) };
    let request = Request { preprocess: Some(preprocess), ..Request::default() };
    let set = Adapted::wrap(smooth(128, 24), &request).unwrap();
    let twice: Arc<dyn Dataset> = Arc::new(AtSize::new(set.clone(), 64, Some(preprocess)));
    for (views, most) in [
        ("", 0.01),
        ("crop_padding = 6\nhorizontal_flip = 0.5", 0.01),
        ("resized_crop = { scale = [0.2, 1.0] }\nhorizontal_flip = 0.5", 0.01),
        ("color_jitter = { brightness = 0.5, contrast = 0.5, saturation = 0.5, hue = 0.1 }", 0.02),
        // At the edges of what is moved, some pixels are half within.
        ("auto_augment = 'rand-m9-mstd0.5-inc1'\ncrop_padding = 3", 0.06),
        ("auto_augment = 'trivial'\nhorizontal_flip = 0.5", 0.06),
        // The edges of a rectangle are rounded to pixels of the smaller image.
        ("erasing = 0.9\nerasing_mode = 'rand'", 0.01),
        ("mixup = 1.0\nhorizontal_flip = 0.5", 0.01),
        ("cutmix = 1.0\ncrop_padding = 3", 0.01),
    ] {
        let policy: ViewPolicy = toml::from_str(views).unwrap();
        let loader = TrainLoader::new(set.clone(), &policy, &normalization, 8, 3).unwrap();
        let large = loader.at_size_of(twice.clone(), 5);
        assert_eq!((loader.batch_size(), large.batch_size()), (8, 5));
        let indices: Vec<usize> = (0..24).collect();
        let seen = |loader: &TrainLoader, number| loader.view_batch(number, &indices).unwrap();
        let (one, other) = (seen(&loader, 4), seen(&large, 4));
        assert_eq!(other.shape, [24, 3, 64, 64]);
        assert_eq!((&one.ids, &one.labels, &one.mixed), (&other.ids, &other.labels, &other.mixed), "{views}");
        let same = apart(&one.pixels, &other.pixels, one.shape);
        let next = apart(&one.pixels, &seen(&large, 5).pixels, one.shape);
        assert!(same <= most, "{views}: {same}");
        assert!(views.is_empty() || next > 4.0 * same.max(0.005), "{views}: {same}, the next view {next}");
        assert_ne!(seen(&large.under(9), 4) == other, !views.is_empty(), "{views}");
    }
}

#[test]
fn images_show_what_the_sets_own_show() {
    let original = smooth(128, 1);
    let whole = AtSize::new(original.clone(), 128, None);
    assert_eq!(whole.image(0).unwrap(), original.image(0).unwrap());
    let small = AtSize::new(original.clone(), 16, None);
    assert_eq!(small.image_shape(), ImageShape { channels: 3, height: 16, width: 16 });
    let corner = |image: &Image| image.pixels[..3].to_vec();
    let close = |one: Vec<u8>, other: Vec<u8>| one.iter().zip(other).all(|(a, b)| a.abs_diff(b) < 20);
    assert!(close(corner(&small.image(0).unwrap()), corner(&original.image(0).unwrap())));
    // Half of either side, the middle: its first pixel is at a quarter of the original's.
    let preprocess = Preprocess { crop: 0.5, interpolation: Interpolation::Bicubic, ..Preprocess::new(32) };
    let middle = AtSize::new(original.clone(), 64, Some(preprocess)).image(0).unwrap();
    let quarter = &original.image(0).unwrap().pixels[(32 * 128 + 32) * 3..][..3];
    assert!(close(corner(&middle), quarter.to_vec()));
}

#[test]
fn rectangles_keep_their_share() {
    let rect = Rect { top: 1, left: 2, height: 3, width: 0 };
    assert_eq!(rect.scaled((8, 8), (56, 56)), Rect { top: 7, left: 14, height: 21, width: 0 });
    assert_eq!(
        Rect { width: 6, ..rect }.scaled((8, 8), (4, 4)),
        Rect { top: 1, left: 1, height: 1, width: 3 }
    );
    let views = Views::new(&ViewPolicy::default(), &[0.5], 1).unwrap();
    assert_eq!(views.size_drawn_for((5, 6)), (5, 6));
    assert_eq!(views.drawn_for((2, 3)).size_drawn_for((5, 6)), (2, 3));
}

/// A transformer for images of twice the side that knows nothing, with a normalisation of its own.
fn large_expert() -> Loaded {
    let spec = "name = 'swin_small_patch2'\nwidth = 8\ndepths = [1, 1]\nheads = [1, 2]";
    let spec: ModelSpec = toml::from_str(spec).unwrap();
    let config = spec.resolve(1, 2 * SIDE, support::CLASSES).unwrap();
    let mut card = support::expert().card;
    card.normalization = Normalization { mean: vec![0.3], std: vec![0.7] };
    card.image = ImageShape { channels: 1, height: 2 * SIDE, width: 2 * SIDE };
    card.config = config.clone();
    let network = Network::new(&config, 5, &Device::flex());
    Loaded { network, card, notes: Vec::new() }
}

const VIEWS: &str = "crop_padding = 1, horizontal_flip = 0.5, erasing = 0.3, mixup = 0.8, cutmix = 1.0";

fn lesson(teacher: &str, views: &str) -> Experiment {
    let rest = format!(
        "train = {{ epochs = 2, batch_size = 10 }}\nteacher = {{ weights = 'x'{teacher} }}\n\
         data = {{ path = 'in memory', views = {{ {views} }} }}"
    );
    experiment(RESNET, &rest)
}

fn live(lesson: &Experiment) -> Live {
    let live = Live::new(large_expert(), &lesson.normalization, &lesson.device);
    live.at_own_size(lesson.teacher_loader().unwrap().unwrap())
}

fn numbers(output: &TeacherOutput) -> [Vec<f32>; 2] {
    [output.penultimate.clone(), output.logits.clone()].map(|x| x.into_data().iter::<f32>().collect())
}

fn batch(lesson: &Experiment, number: u64) -> HostBatch {
    lesson.loader().unwrap().view_batch(number, &[7, 3, 40, 11]).unwrap()
}

#[test]
fn live_recorded_and_cached_say_the_same_at_the_teachers_size() {
    let lesson = lesson(", image_size = 16", VIEWS);
    let loader = lesson.loader().unwrap();
    let mut live_teacher = live(&lesson);
    // By hand: the same views of larger images.
    let taught = lesson.as_taught(&lesson.train).unwrap();
    let large = loader.at_size_of(taught, 10).view_batch(1, &[7, 3, 40, 11]).unwrap();
    assert_eq!(large.shape, [4, 1, 16, 16]);
    let by_hand = Live::new(large_expert(), &lesson.normalization, &lesson.device).look(&large);
    let views = ViewKey { seed: 0, number: 1 };
    let expected = numbers(&live_teacher.answer(&batch(&lesson, 1), views).unwrap());
    assert_eq!(expected, numbers(&by_hand));

    let mut recorded = Recorded::new(live(&lesson), 4);
    for _ in 0..2 {
        assert_eq!(numbers(&recorded.answer(&batch(&lesson, 1), views).unwrap())[0], expected[0]);
    }
    assert_eq!(recorded.asked(), 4);

    let folder = tempfile::tempdir().unwrap();
    let open = || Cached::open(live(&lesson), &loader, Precision::F32, Stored::F16, folder.path()).unwrap();
    let mut cached = open();
    cached.fill(&loader, 1, &mut |_| {}).unwrap();
    let found = numbers(&cached.answer(&batch(&lesson, 1), views).unwrap());
    assert_eq!(cached.counts(), [48, 4]);
    for (found, expected) in found.iter().zip(&expected) {
        let largest = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        // f16's rounding; a logit sums 16 of them.
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= largest * 16.0 / 2048.0, "{found} for {expected}");
        }
    }
    let verified = cached.verify(&loader, &[1], 30).unwrap();
    assert!(verified.entries == 30 && verified.difference <= verified.allowed, "{verified:?}");

    // A training goes through, and reads what was filled.
    let method = support::method("hcd");
    let mut cached = open();
    fit(&lesson, &mut Objective::Distilled { teacher: &mut cached, method: &method }, None, &mut ()).unwrap();
    assert_eq!(cached.counts(), [40, 40]);
}

#[test]
fn the_size_is_part_of_the_caches_key() {
    let folder = tempfile::tempdir().unwrap();
    let own = lesson(", image_size = 16", "");
    let open = |live: Live, lesson: &Experiment| {
        Cached::open(live, &lesson.loader().unwrap(), Precision::F32, Stored::F16, folder.path())
    };
    open(live(&own), &own).unwrap().fill(&own.loader().unwrap(), 0, &mut |_| {}).unwrap();
    // Another network takes that size: by the size alone the answers would be taken for the same.
    let plain = lesson("", "");
    let same = Live::new(large_expert(), &plain.normalization, &plain.device);
    let error = open(same, &plain).unwrap_err().to_string();
    assert!(error.contains("was filled with image.height = 16, this run has 8"), "{error}");
}

#[test]
fn sizes_that_do_not_fit_are_told() {
    let inspect =
        |lesson: &Experiment| inspect_teacher(&large_expert(), lesson, "t").map_err(|e| e.to_string());
    inspect(&lesson(", image_size = 16", "")).unwrap();
    let error = inspect(&lesson("", "")).unwrap_err();
    assert!(
        error.contains("takes images of 1x16x16, not 1x8x8")
            && error.contains("teacher.image_size = 16 shows"),
        "{error}"
    );
    let error = inspect(&lesson(", image_size = 12", "")).unwrap_err();
    assert!(error.contains("not 1x12x12, which is teacher.image_size = 12"), "{error}");
    // The student's own size is no other size.
    assert!(lesson(", image_size = 8", "").teacher_loader().unwrap().is_none());

    let mut wide = lesson(", image_size = 16", "");
    let shape = ImageShape { channels: 1, height: 2, width: 4 };
    wide.train =
        Arc::new(Memory::new("wide".to_owned(), vec!["a".to_owned()], shape, vec![0; 8], vec![0]).unwrap());
    let error = wide.teacher_loader().unwrap_err().to_string();
    assert!(error.contains("teacher.image_size = 16: images of 1x2x4 would change their shape"), "{error}");
}
