//! Draw a view: which crop of a sample an epoch sees, and whether mirrored.
//!
//! A view is a pure function of (policy, seed, epoch, sample id). Neither the order in which samples are
//! visited nor the number of threads enters, so a cache can replay it and a resumed run continues with it.

use crate::rng;
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// How training images are varied; by default not at all.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ViewPolicy {
    /// Pixels of black on each side before a crop of the image's own size is taken from a random
    /// place (torchvision's `RandomCrop(size, padding)`).
    pub crop_padding: u32,
    /// The probability of mirroring left and right.
    pub horizontal_flip: f64,
}

impl ViewPolicy {
    /// Every problem with it, each as `key = value, what was expected`.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(0.0..=1.0).contains(&self.horizontal_flip) {
            let came = self.horizontal_flip;
            problems.push(format!("horizontal_flip = {came}, must be a probability from 0 to 1"));
        }
        problems
    }
}

/// What is seen of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Row of the image at which the crop begins; below 0 it begins in the padding.
    pub top: i64,
    /// Column of the image at which the crop begins; below 0 it begins in the padding.
    pub left: i64,
    /// Whether the crop is then mirrored left and right.
    pub flip: bool,
}

impl View {
    /// The image as it is.
    pub fn identity() -> Self {
        Self { top: 0, left: 0, flip: false }
    }

    /// The view of a sample in an epoch, from the stream (seed, "view", epoch, id).
    pub fn draw(policy: &ViewPolicy, seed: u64, epoch: u64, id: u64) -> Self {
        let mut stream = rng::stream(seed, "view", &[epoch, id]);
        // Drawn even when the probability is 0, and first: so neither setting disturbs the other's numbers.
        let flip = stream.random::<f64>() < policy.horizontal_flip;
        let padding = i64::from(policy.crop_padding);
        let top = stream.random_range(-padding..=padding);
        let left = stream.random_range(-padding..=padding);
        Self { top, left, flip }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: ViewPolicy = ViewPolicy { crop_padding: 4, horizontal_flip: 0.5 };

    fn key() -> impl Strategy<Value = (u64, u64, u64)> {
        (any::<u64>(), 0..1000u64, any::<u64>())
    }

    proptest! {
        #[test]
        fn a_view_depends_on_its_key_alone((seed, epoch, id) in key(), other in key()) {
            let alone = View::draw(&POLICY, seed, epoch, id);
            View::draw(&POLICY, other.0, other.1, other.2);
            prop_assert_eq!(alone, View::draw(&POLICY, seed, epoch, id));
        }

        #[test]
        fn a_crop_stays_in_the_padding((seed, epoch, id) in key(), crop_padding in 0..40u32) {
            let view = View::draw(&ViewPolicy { crop_padding, horizontal_flip: 0.0 }, seed, epoch, id);
            let reach = i64::from(crop_padding);
            prop_assert!(view.top.abs() <= reach && view.left.abs() <= reach && !view.flip);
        }

        #[test]
        fn neither_setting_disturbs_the_other((seed, epoch, id) in key()) {
            let both = View::draw(&POLICY, seed, epoch, id);
            let crop = View::draw(&ViewPolicy { horizontal_flip: 0.0, ..POLICY }, seed, epoch, id);
            let flip = View::draw(&ViewPolicy { crop_padding: 0, ..POLICY }, seed, epoch, id);
            prop_assert_eq!(View { flip: false, ..both }, crop);
            prop_assert_eq!(View { top: 0, left: 0, ..both }, flip);
        }

        #[test]
        fn the_default_policy_shows_the_image_as_it_is((seed, epoch, id) in key()) {
            prop_assert_eq!(View::draw(&ViewPolicy::default(), seed, epoch, id), View::identity());
        }
    }

    #[test]
    fn crops_and_flips_come_as_often_as_asked() {
        let views: Vec<View> = (0..9000).map(|id| View::draw(&POLICY, 1, 0, id)).collect();
        let flipped = views.iter().filter(|view| view.flip).count();
        // Binomial, standard deviation 47: five of them.
        assert!(flipped.abs_diff(4500) < 240, "{flipped} of 9000 flipped");
        for offset in -4..=4 {
            // Expected 1000 of 9000 each, standard deviation 30: five of them.
            let rows = views.iter().filter(|view| view.top == offset).count();
            let columns = views.iter().filter(|view| view.left == offset).count();
            assert!(rows.abs_diff(1000) < 150 && columns.abs_diff(1000) < 150, "{offset}: {rows}, {columns}");
        }
    }

    #[test]
    fn epochs_seeds_and_samples_see_different_views() {
        let views = |seed, epoch| (0..100).map(move |id| View::draw(&POLICY, seed, epoch, id));
        assert!(!views(1, 0).eq(views(1, 1)) && !views(1, 0).eq(views(2, 0)));
        assert!(views(1, 0).any(|view| view != View::draw(&POLICY, 1, 0, 0)));
    }

    #[test]
    fn a_policy_is_checked_and_unknown_keys_are_refused() {
        assert_eq!(POLICY.check(), Vec::<String>::new());
        for horizontal_flip in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let problems = ViewPolicy { horizontal_flip, ..POLICY }.check();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with("horizontal_flip = "), "{problems:?}");
        }
        assert_eq!(toml::from_str::<ViewPolicy>("").unwrap(), ViewPolicy::default());
        assert_eq!(toml::from_str::<ViewPolicy>("crop_padding = 4\nhorizontal_flip = 0.5").unwrap(), POLICY);
        assert!(toml::from_str::<ViewPolicy>("crop_pading = 4").is_err());
        assert!(toml::from_str::<ViewPolicy>("crop_padding = -1").is_err());
    }
}
