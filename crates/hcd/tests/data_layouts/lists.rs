//! CUB-200-2011 and FGVC-Aircraft: all in lists.

use super::{open, replace, samples, shade, spoilt, write};
use hcd::data::Splits;
use hcd::data::layouts::Layout;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Three photos to train on, two to test on, the numbers in no order.
fn cub() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let within = root.path().join("CUB_200_2011");
    for (name, level) in
        [("002.B/x.jpg", 1), ("001.A/y.jpg", 2), ("001.A/z.jpg", 3), ("002.B/w.jpg", 4), ("001.A/v.jpg", 5)]
    {
        shade(&within, &format!("images/{name}"), level);
    }
    write(
        &within,
        "images.txt",
        "7 002.B/x.jpg\n1 001.A/y.jpg\n3 001.A/z.jpg\n4 002.B/w.jpg\n5 001.A/v.jpg\n",
    );
    write(&within, "image_class_labels.txt", "1 1\n3 1\n4 20\n5 1\n7 20\n");
    write(&within, "train_test_split.txt", "1 0\n3 1\n4 0\n5 1\n7 1\n");
    write(&within, "classes.txt", "20 002.B\n1 001.A\n");
    root
}

#[test]
fn cub_is_read_in_the_order_of_its_lists() {
    let root = cub();
    assert_eq!(Layout::recognise(root.path()), Some(Layout::Cub));
    for path in [root.path().to_owned(), root.path().join("CUB_200_2011")] {
        let Splits { train, test, .. } = open(&path).unwrap();
        assert_eq!(train.classes(), ["002.B", "001.A"]);
        assert_eq!(samples(train.as_ref()), [(1, "002.B"), (3, "001.A"), (5, "001.A")]);
        assert_eq!(samples(test.as_ref()), [(2, "001.A"), (4, "002.B")]);
    }
}

#[test]
fn damaged_lists_of_cub_are_told() {
    let check = |name: &'static str, from: &'static str, to: &'static str, expected: &[&str]| {
        let spoil = |root: &Path| replace(root, &format!("CUB_200_2011/{name}"), from, to);
        spoilt(cub, spoil, &[&[name][..], expected].concat());
    };
    check("images.txt", "1 001.A/y.jpg", "1", &["line 2: \"1\", expected an image's number and its path"]);
    check("images.txt", "1 001", "one 001", &["line 2: \"one\", expected a whole number"]);
    check("images.txt", "3 001", "1 001", &["line 3: image 1 again, first in line 2"]);
    check("images.txt", "y.jpg", "gone.jpg", &["line 2: lists ", "001.A/gone.jpg, which is not there"]);
    check("images.txt", "001.A/y.jpg", "../classes.txt", &["line 2: path \"../classes.txt\" leads out of"]);
    check("images.txt", "001.A/y.jpg", "/etc/passwd", &["line 2: path \"/etc/passwd\" leads out of"]);
    check("image_class_labels.txt", "3 1\n", "", &["has no line for image 3 of", "images.txt"]);
    check("image_class_labels.txt", "3 1\n", "3 1\n8 1\n", &["line 3: image 8 is not in"]);
    check(
        "image_class_labels.txt",
        "3 1\n",
        "3 2\n",
        &["line 2: class 2 of image 3 is none of the 2 in", "classes.txt"],
    );
    check(
        "train_test_split.txt",
        "3 1",
        "3 2",
        &["line 2: image 3 is marked 2, expected 1 (train) or 0 (test)"],
    );
    check("train_test_split.txt", "3 1", "1 1", &["line 2: image 1 again, first in line 1"]);
    check("classes.txt", "1 001.A", "20 001.A", &["line 2: class 20 (001.A) again"]);
    spoilt(
        cub,
        |root| fs::remove_file(root.join("CUB_200_2011/classes.txt")).unwrap(),
        &["CUB_200_2011: classes.txt missing, expected beside images.txt"],
    );
    spoilt(
        cub,
        |root| fs::write(root.join("CUB_200_2011/images.txt"), b"7 002.B/x.jpg\n1 \xff\n").unwrap(),
        &["images.txt: line 2: is not UTF-8 text"],
    );
}

fn aircraft() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("fgvc-aircraft-2013b/data");
    (1..=4).for_each(|level| shade(&data, &format!("images/000{level}.jpg"), level));
    write(&data, "variants.txt", "Fokker 100\n707-320\n");
    write(&data, "images_variant_train.txt", "0003 707-320\n");
    write(&data, "images_variant_val.txt", "0001 Fokker 100\n");
    write(&data, "images_variant_trainval.txt", "0001 Fokker 100\n0003 707-320\n");
    write(&data, "images_variant_test.txt", "0004 707-320\n0002 Fokker 100\n");
    root
}

#[test]
fn aircraft_is_read_in_the_order_of_its_lists() {
    let root = aircraft();
    assert_eq!(Layout::recognise(root.path()), Some(Layout::Aircraft));
    for within in ["", "fgvc-aircraft-2013b", "fgvc-aircraft-2013b/data"] {
        let Splits { train, test, .. } = open(&root.path().join(within)).unwrap();
        assert_eq!(train.classes(), ["Fokker 100", "707-320"]);
        assert_eq!(samples(train.as_ref()), [(1, "Fokker 100"), (3, "707-320")]);
        assert_eq!(samples(test.as_ref()), [(4, "707-320"), (2, "Fokker 100")]);
    }
    fs::remove_file(root.path().join("fgvc-aircraft-2013b/data/images_variant_trainval.txt")).unwrap();
    let Splits { train, .. } = open(root.path()).unwrap();
    assert_eq!(samples(train.as_ref()), [(3, "707-320"), (1, "Fokker 100")]);
}

#[test]
fn damaged_lists_of_aircraft_are_told() {
    let check = |name: &'static str, from: &'static str, to: &'static str, expected: &[&str]| {
        let spoil = |root: &Path| replace(root, &format!("fgvc-aircraft-2013b/data/{name}"), from, to);
        spoilt(aircraft, spoil, &[&[name][..], expected].concat());
    };
    check(
        "images_variant_test.txt",
        "0002 Fokker 100",
        "0002",
        &["line 2: \"0002\", expected an image's name"],
    );
    check("images_variant_test.txt", "Fokker 100", "Fokker 70", &["line 2: variant `Fokker 70` is not in"]);
    check(
        "images_variant_test.txt",
        "0002",
        "0003",
        &["line 2: image 0003 again, first in", "trainval.txt, line 2"],
    );
    check("images_variant_test.txt", "0002", "0009", &["line 2: lists ", "0009.jpg, which is not there"]);
    check("images_variant_test.txt", "0002", "../0002", &["leads out of"]);
    check("variants.txt", "Fokker 100", "707-320", &["line 2: \"707-320\" again, first in line 1"]);
    check("variants.txt", "Fokker 100\n707-320\n", "\n", &["is empty, expected a name a line"]);
    spoilt(
        aircraft,
        |root| fs::remove_file(root.join("fgvc-aircraft-2013b/data/variants.txt")).unwrap(),
        &["data: variants.txt missing beside the other lists"],
    );
}
