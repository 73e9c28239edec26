//! The Fashion-MNIST in the repository is what its README says.
#![allow(clippy::unwrap_used)]

use hcd::data::{self, ImageShape, Normalization};
use std::path::Path;

#[test]
fn the_drawn_set_is_balanced_and_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/fashion-mnist");
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let splits = data::open(&folder).unwrap();
    for (name, set, a_class) in [("train", &splits.train, 600), ("test", &splits.test, 200)] {
        assert_eq!(set.image_shape(), ImageShape { channels: 1, height: 28, width: 28 });
        assert_eq!(set.classes().len(), 10);
        assert_eq!((set.classes()[0].as_str(), set.classes()[9].as_str()), ("T-shirt/top", "Ankle boot"));
        for class in 0..10 {
            let members = (0..set.len()).filter(|&index| set.label(index) == class).count();
            assert_eq!(members, a_class, "{name}, class {class}");
        }
        let fingerprint = data::fingerprint(set.as_ref()).unwrap();
        assert!(readme.contains(&format!("| {name} | `{fingerprint}` |")), "{name} is {fingerprint}");
    }
}

#[test]
fn its_mean_and_deviation_are_those_of_fashion_mnist() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/fashion-mnist");
    let splits = data::open(&folder).unwrap();
    let Normalization { mean, std } = Normalization::of(splits.train.as_ref()).unwrap();
    // The figures known of all 60,000 images; a tenth of them differs by some thousandths.
    assert!((mean[0] - 0.2860).abs() < 0.005, "mean {mean:?}");
    assert!((std[0] - 0.3530).abs() < 0.005, "std {std:?}");
}
