//! Draw a view: what an epoch sees of a sample.
//!
//! A view is a pure function of (policy, seed, number, sample id) and of the image's own size. Neither the order in which
//! samples are visited nor the number of threads enters, so a cache can replay it and a resumed run continues with it.
//! Each kind of chance has a stream of its own, so that no setting disturbs another's numbers.

mod policy;
mod scaled;

pub use policy::{CropConfig, JitterConfig, ViewPolicy};

use super::augment_ops::{Erasure, Mix, Op, ResizedCrop};
use crate::error::Result;
use crate::rng;
use policy::Drawing;
use rand::RngExt;

/// Version of how views are drawn and applied: goes up when the same policy, seed, number and sample show something else.
pub const VERSION: u32 = 1;

/// What is seen of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Which part.
    pub crop: Crop,
    /// Whether it is then mirrored left and right.
    pub flip: bool,
    /// What is then done to its pixels.
    pub ops: Vec<Op>,
    /// What is erased of it, normalised.
    pub erasure: Option<Erasure>,
}

/// Which part of an image is seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Crop {
    /// As much as the network sees, of the image at that size.
    Shifted {
        /// Row at which it begins; below 0 it begins in the padding.
        top: i64,
        /// Column at which it begins; below 0 it begins in the padding.
        left: i64,
    },
    /// A rectangle of the original image, resized.
    Resized(ResizedCrop),
}

impl View {
    /// The image as it is.
    pub fn identity() -> Self {
        Self { crop: Crop::Shifted { top: 0, left: 0 }, flip: false, ops: Vec::new(), erasure: None }
    }
}

/// With whom an image is mixed, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixing {
    /// The other one's place in the set.
    pub partner: usize,
    /// How.
    pub mix: Mix,
}

/// Draws the views of a policy under a seed.
#[derive(Debug, Clone)]
pub struct Views {
    policy: ViewPolicy,
    drawing: Drawing,
    seed: u64,
    /// The size (height, width) that they are drawn for, where they are shown at another.
    drawn_for: Option<(usize, usize)>,
}

impl Views {
    /// `mean`, from 0 to 1 a channel, is the colour that comes in where operations move an image.
    ///
    /// # Errors
    /// Where the policy's name for an automatic augmentation is unknown.
    pub fn new(policy: &ViewPolicy, mean: &[f32], seed: u64) -> Result<Self> {
        Ok(Self { policy: policy.clone(), drawing: Drawing::new(policy, mean)?, seed, drawn_for: None })
    }

    /// The same views for those who see them at another size than `size` (height, width): drawn for that one, and scaled.
    pub fn drawn_for(&self, size: (usize, usize)) -> Self {
        Self { drawn_for: Some(size), ..self.clone() }
    }

    /// Views of the same policy under another seed.
    pub fn under(&self, seed: u64) -> Self {
        Self { seed, ..self.clone() }
    }

    /// The size (height, width) that is drawn for, where `shown` is what is seen.
    pub fn size_drawn_for(&self, shown: (usize, usize)) -> (usize, usize) {
        self.drawn_for.unwrap_or(shown)
    }

    /// What they are drawn by.
    pub fn policy(&self) -> &ViewPolicy {
        &self.policy
    }

    /// Their seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether views are of images as they were before they were brought to one size.
    pub fn of_originals(&self) -> bool {
        self.drawing.crop.is_some()
    }

    /// Whether a view takes work beside that of reading its image.
    pub fn takes_work(&self) -> bool {
        self.drawing.crop.is_some() || self.drawing.operates()
    }

    /// Whether samples may be mixed with others.
    pub fn mixes(&self) -> bool {
        self.drawing.mixing.is_some()
    }

    /// View `number` (see [`ViewPolicy::number`]) of a sample whose image is (height, width), for a network that sees
    /// `shown` (height, width).
    pub fn draw(&self, number: u64, id: u64, image: (usize, usize), shown: (usize, usize)) -> View {
        let stream = |purpose| rng::stream(self.seed, purpose, &[number, id]);
        let Drawing { padding, crop, flip, erasing, .. } = &self.drawing;
        let size = self.size_drawn_for(shown);
        let mut places = stream("view");
        // Drawn even when the probability is 0, and first: so neither setting disturbs the other's numbers.
        let flip = places.random::<f64>() < *flip;
        let crop = match crop {
            Some(policy) => Crop::Resized(policy.draw(image, &mut stream("crop"))),
            None => {
                let top = places.random_range(-padding..=*padding);
                Crop::Shifted { top, left: places.random_range(-padding..=*padding) }
            }
        };
        let ops = match self.drawing.operates() {
            true => self.drawing.operations(size, &mut stream("operations")),
            false => Vec::new(),
        };
        let erasure = erasing.as_ref().and_then(|policy| policy.draw(size, &mut stream("erasing")));
        View { crop, flip, ops, erasure }.scaled(size, shown)
    }

    /// How a sample of a set of `samples` is mixed with another one in view `number`, if it is.
    pub fn draw_mixing(&self, number: u64, id: u64, samples: usize) -> Option<Mixing> {
        let policy = self.drawing.mixing.as_ref()?;
        let mut stream = rng::stream(self.seed, "mixing", &[number, id]);
        let partner = stream.random_range(0..samples);
        match policy.draw(&mut stream) {
            Mix::None => None,
            mix => Some(Mixing { partner, mix }),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: (usize, usize) = (8, 10);

    fn policy() -> ViewPolicy {
        ViewPolicy { crop_padding: 4, horizontal_flip: 0.5, ..ViewPolicy::default() }
    }

    fn every() -> ViewPolicy {
        ViewPolicy {
            crop_padding: 0,
            resized_crop: Some(CropConfig::default()),
            color_jitter: Some(JitterConfig { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 }),
            auto_augment: Some("rand-m9-mstd0.5-inc1".to_owned()),
            erasing: 0.25,
            mixup: 0.8,
            cutmix: 1.0,
            ..policy()
        }
    }

    fn draw(policy: &ViewPolicy, seed: u64, number: u64, id: u64) -> View {
        Views::new(policy, &[0.5], seed).unwrap().draw(number, id, SIZE, SIZE)
    }

    fn shift(view: &View) -> (i64, i64) {
        match view.crop {
            Crop::Shifted { top, left } => (top, left),
            Crop::Resized(_) => panic!("{view:?}"),
        }
    }

    fn key() -> impl Strategy<Value = (u64, u64, u64)> {
        (any::<u64>(), 0..1000u64, any::<u64>())
    }

    proptest! {
        #[test]
        fn a_view_depends_on_its_key_alone((seed, number, id) in key(), other in key()) {
            for policy in [policy(), every()] {
                let alone = draw(&policy, seed, number, id);
                draw(&policy, other.0, other.1, other.2);
                prop_assert_eq!(alone, draw(&policy, seed, number, id));
                let mixing = |seed: u64| Views::new(&policy, &[0.5], seed).unwrap().draw_mixing(number, id, 9);
                prop_assert_eq!(mixing(seed), mixing(seed));
                prop_assert!(mixing(seed).is_none_or(|mixing| mixing.partner < 9));
            }
        }

        #[test]
        fn a_crop_stays_in_the_padding((seed, number, id) in key(), crop_padding in 0..40u32) {
            let view = draw(&ViewPolicy { crop_padding, ..ViewPolicy::default() }, seed, number, id);
            let (reach, (top, left)) = (i64::from(crop_padding), shift(&view));
            prop_assert!(top.abs() <= reach && left.abs() <= reach && !view.flip);
        }

        #[test]
        fn no_setting_disturbs_another((seed, number, id) in key()) {
            let all = draw(&every(), seed, number, id);
            let without = |change: fn(&mut ViewPolicy)| {
                let mut policy = every();
                change(&mut policy);
                draw(&policy, seed, number, id)
            };
            prop_assert_eq!(View { flip: false, ..all.clone() }, without(|policy| policy.horizontal_flip = 0.0));
            prop_assert_eq!(View { erasure: None, ..all.clone() }, without(|policy| policy.erasing = 0.0));
            let plain = without(|policy| (policy.auto_augment, policy.color_jitter) = (None, None));
            prop_assert_eq!(View { ops: Vec::new(), ..all.clone() }, plain);
            let still = View { crop: all.crop, ..without(|policy| policy.resized_crop = None) };
            prop_assert_eq!(all, still);
            let both = draw(&policy(), seed, number, id);
            let flip = draw(&ViewPolicy { crop_padding: 0, ..policy() }, seed, number, id);
            prop_assert_eq!(View { crop: Crop::Shifted { top: 0, left: 0 }, ..both }, flip);
        }

        #[test]
        fn the_default_policy_shows_the_image_as_it_is((seed, number, id) in key()) {
            prop_assert_eq!(draw(&ViewPolicy::default(), seed, number, id), View::identity());
        }
    }

    #[test]
    fn a_bank_shows_each_view_once_a_run_and_other_orders_in_other_runs() {
        let policy = ViewPolicy { bank: 7, ..policy() };
        let shown: Vec<u64> = (0..21).map(|epoch| policy.number(3, epoch)).collect();
        for run in shown.chunks(7) {
            let mut sorted = run.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5, 6]);
        }
        assert!(shown[..7] != shown[7..14] || shown[7..14] != shown[14..]);
        assert_eq!((policy.numbers(3, 4), policy.numbers(3, 30)), (shown[..4].to_vec(), shown[..7].to_vec()));
        // Two showings an epoch go twice as fast through the same bank.
        let twice = ViewPolicy { repeats: 2, ..policy.clone() };
        let both = |epoch| [0, 1].map(|repeat| twice.number_of(3, epoch, repeat));
        assert_eq!((0..3).flat_map(both).collect::<Vec<_>>(), shown[..6]);
        assert_eq!((twice.numbers(3, 3), twice.numbers(3, 9)), (shown[..6].to_vec(), shown[..7].to_vec()));
        let endless = ViewPolicy { bank: 0, ..policy };
        assert_eq!((endless.number(3, 11), endless.numbers(3, 4)), (11, vec![0, 1, 2, 3]));
    }

    #[test]
    fn crops_and_flips_come_as_often_as_asked() {
        let views: Vec<View> = (0..9000).map(|id| draw(&policy(), 1, 0, id)).collect();
        let flipped = views.iter().filter(|view| view.flip).count();
        // Binomial, standard deviation 47: five of them.
        assert!(flipped.abs_diff(4500) < 240, "{flipped} of 9000 flipped");
        for offset in -4..=4 {
            // Expected 1000 of 9000 each, standard deviation 30: five of them.
            let rows = views.iter().filter(|view| shift(view).0 == offset).count();
            let columns = views.iter().filter(|view| shift(view).1 == offset).count();
            assert!(rows.abs_diff(1000) < 150 && columns.abs_diff(1000) < 150, "{offset}: {rows}, {columns}");
        }
    }

    #[test]
    fn numbers_seeds_and_samples_see_different_views() {
        let views = |seed, number| (0..100).map(move |id| draw(&policy(), seed, number, id));
        assert!(!views(1, 0).eq(views(1, 1)) && !views(1, 0).eq(views(2, 0)));
        assert!(views(1, 0).any(|view| view != draw(&policy(), 1, 0, 0)));
    }

    #[test]
    fn a_policy_is_checked_and_unknown_keys_are_refused() {
        for good in [policy(), every(), ViewPolicy::default()] {
            assert_eq!(good.check(), Vec::<String>::new());
        }
        let crop = |scale, ratio| Some(CropConfig { scale, ratio, interpolation: None });
        let jitter = |hue| Some(JitterConfig { hue, ..JitterConfig::default() });
        for (bad, key) in [
            (ViewPolicy { horizontal_flip: -0.1, ..policy() }, "horizontal_flip = "),
            (ViewPolicy { horizontal_flip: f64::NAN, ..policy() }, "horizontal_flip = "),
            (ViewPolicy { erasing: 1.5, ..policy() }, "erasing = "),
            (ViewPolicy { mixup: -1.0, ..policy() }, "mixup = "),
            (ViewPolicy { repeats: 0, ..policy() }, "repeats = "),
            (
                ViewPolicy { resized_crop: crop([0.0, 1.0], [1.0, 1.0]), ..ViewPolicy::default() },
                "resized_crop.scale = ",
            ),
            (
                ViewPolicy { resized_crop: crop([0.1, 1.0], [2.0, 1.0]), ..ViewPolicy::default() },
                "resized_crop.ratio = ",
            ),
            (ViewPolicy { resized_crop: Some(CropConfig::default()), ..policy() }, "crop_padding = 4 beside"),
            (ViewPolicy { color_jitter: jitter(0.6), ..policy() }, "color_jitter.hue = "),
            (ViewPolicy { auto_augment: Some("rand-x".to_owned()), ..policy() }, "auto_augment = "),
        ] {
            let problems = bad.check();
            assert!(problems.len() == 1 && problems[0].starts_with(key), "{key}: {problems:?}");
        }
        assert_eq!(toml::from_str::<ViewPolicy>("").unwrap(), ViewPolicy::default());
        assert_eq!(
            toml::from_str::<ViewPolicy>("crop_padding = 4\nhorizontal_flip = 0.5").unwrap(),
            policy()
        );
        assert!(toml::from_str::<ViewPolicy>("crop_pading = 4").is_err());
        assert!(toml::from_str::<ViewPolicy>("crop_padding = -1").is_err());
        let written = toml::to_string(&every()).unwrap();
        assert_eq!(toml::from_str::<ViewPolicy>(&written).unwrap(), every());
    }
}
