//! ImageNet and Tiny ImageNet: classes by WordNet's numbers.

use super::{open, replace, samples, save, shade, spoilt, write};
use hcd::data::layouts::Layout;
use hcd::data::{Dataset, Splits};
use image::{GrayImage, Luma};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const TINY: &str = "tiny-imagenet-200";

/// Two classes, the second photo of the first grey.
fn tiny() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let within = root.path().join(TINY);
    shade(&within, "train/n00000002/images/n00000002_0.JPEG", 3);
    save(&within, "train/n00000001/images/n00000001_0.JPEG", GrayImage::from_pixel(2, 2, Luma([1])));
    shade(&within, "train/n00000001/images/n00000001_1.JPEG", 2);
    write(&within, "train/n00000001/n00000001_boxes.txt", "n00000001_0.JPEG\t0\t0\t62\t44\n");
    shade(&within, "val/images/val_0.JPEG", 4);
    shade(&within, "val/images/val_1.JPEG", 5);
    shade(&within, "test/images/test_0.JPEG", 6);
    write(
        &within,
        "val/val_annotations.txt",
        "val_1.JPEG\tn00000002\t0\t32\t44\t62\nval_0.JPEG\tn00000001\t0\t0\t1\t1\n",
    );
    write(&within, "wnids.txt", "n00000002\nn00000001\n");
    write(&within, "words.txt", "n00000000\tentity\nn00000001\tcrane, bird\nn00000002\tcrane, machine\n");
    root
}

#[test]
fn tiny_imagenet_is_read_by_class_and_by_annotation() {
    let root = tiny();
    assert_eq!(Layout::recognise(root.path()), Some(Layout::TinyImagenet));
    let [first, second] = ["crane (n00000001)", "crane (n00000002)"];
    let Splits { train, test, .. } = open(root.path()).unwrap();
    assert_eq!(train.classes(), [first, second]);
    assert_eq!(train.image_shape().to_string(), "3x2x2", "grey photos do not make the set grey");
    assert_eq!(samples(train.as_ref()), [(1, first), (2, first), (3, second)]);
    assert_eq!(samples(test.as_ref()), [(5, second), (4, first)]);

    let within = root.path().join(TINY);
    fs::remove_file(within.join("words.txt")).unwrap();
    assert_eq!(open(&within).unwrap().train.classes(), ["n00000001", "n00000002"]);
    for (image, id) in [("val_1.JPEG", "n00000002"), ("val_0.JPEG", "n00000001")] {
        fs::create_dir(within.join("val").join(id)).unwrap();
        fs::rename(within.join("val/images").join(image), within.join("val").join(id).join(image)).unwrap();
    }
    let sorted = [(4, "n00000001"), (5, "n00000002")];
    assert_eq!(samples(open(&within).unwrap().test.as_ref()), sorted, "the list and images/ left behind");
    fs::remove_file(within.join("val/val_annotations.txt")).unwrap();
    assert_eq!(samples(open(&within).unwrap().test.as_ref()), sorted);
}

#[test]
fn damage_to_tiny_imagenet_is_told() {
    let check = |name: &'static str, from: &'static str, to: &'static str, expected: &[&str]| {
        let spoil = |root: &Path| replace(root, &format!("{TINY}/{name}"), from, to);
        spoilt(tiny, spoil, &[&[name][..], expected].concat());
    };
    check(
        "val/val_annotations.txt",
        "val_1.JPEG\tn00000002",
        "val_1.JPEG\tn00000003",
        &["line 1: `n00000003` is no class"],
    );
    check(
        "val/val_annotations.txt",
        "val_0.JPEG\t",
        "val_1.JPEG\t",
        &["line 2: val_1.JPEG again, first in line 1"],
    );
    check(
        "val/val_annotations.txt",
        "val_0.JPEG\t",
        "val_7.JPEG\t",
        &["line 2: lists ", "which is not there"],
    );
    check("val/val_annotations.txt", "val_0.JPEG\t", "../x\t", &["line 2: path \"../x\" leads out of"]);
    check("wnids.txt", "n00000002", "n00000003", &["line 1: class `n00000003` has no folder in"]);
    check(
        "words.txt",
        "n00000001\tcrane, bird",
        "n00000001",
        &["line 2: \"n00000001\", expected a WordNet id"],
    );
    spoilt(
        tiny,
        |root| replace(root, &format!("{TINY}/wnids.txt"), "n00000002\n", ""),
        &["train: has class `n00000002`", "wnids.txt has not"],
    );
    spoilt(
        tiny,
        |root| {
            fs::rename(root.join(TINY).join("train/n00000002"), root.join(TINY).join("train/dog")).unwrap()
        },
        &["train/dog: expected a WordNet id as name"],
    );
    spoilt(
        tiny,
        |root| fs::remove_file(root.join(TINY).join("val/val_annotations.txt")).unwrap(),
        &["val: has neither val_annotations.txt with images/ nor a folder for each class"],
    );
    spoilt(
        tiny,
        |root| fs::create_dir(root.join(TINY).join("val/n00000001")).unwrap(),
        &["val: has no class `n00000002`, train has"],
    );
    let empty = format!("{TINY}/train/n00000002/images/n00000002_0.JPEG");
    spoilt(tiny, |root| fs::remove_file(root.join(&empty)).unwrap(), &["n00000002: class without images"]);
}

fn imagenet() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    shade(root.path(), "train/n00000003/n00000003_1.JPEG", 3);
    shade(root.path(), "train/n00000001/n00000001_10.JPEG", 1);
    shade(root.path(), "train/n00000002/n00000002_1.JPEG", 2);
    (1..=3)
        .for_each(|level| shade(root.path(), &format!("val/ILSVRC2012_val_0000000{level}.JPEG"), 10 + level));
    root
}

fn with_solution() -> TempDir {
    let root = imagenet();
    let rows = [(2, "n00000001 1 2 3 4"), (1, "n00000003 1 2 3 4 n00000003 5 6 7 8"), (3, "n00000002")];
    let rows = rows.map(|(image, prediction)| format!("ILSVRC2012_val_0000000{image},{prediction} \n"));
    write(root.path(), "LOC_val_solution.csv", &format!("ImageId,PredictionString\n{}", rows.concat()));
    write(
        root.path(),
        "LOC_synset_mapping.txt",
        "n00000001 tench, Tinca\nn00000002 maillot\nn00000003 maillot, tank suit\n",
    );
    root
}

#[test]
fn imagenet_takes_its_labels_from_any_of_the_lists() {
    let expected = [(11, 2), (12, 0), (13, 1)];
    let check = |root: &TempDir| {
        assert_eq!(Layout::recognise(root.path()), Some(Layout::Imagenet));
        let Splits { train, test, .. } = open(root.path()).unwrap();
        let labels = |set: &dyn Dataset| {
            let sample = |index| (set.image(index).unwrap().pixels[0], set.label(index));
            (0..set.len()).map(sample).collect::<Vec<_>>()
        };
        assert_eq!(labels(train.as_ref()), [(1, 0), (2, 1), (3, 2)]);
        assert_eq!(labels(test.as_ref()), expected);
        train.classes().to_vec()
    };
    assert_eq!(check(&with_solution()), ["tench", "maillot (n00000002)", "maillot (n00000003)"]);
    let image = |number| format!("ILSVRC2012_val_0000000{number}.JPEG");
    let list = |classes: [&str; 3]| {
        let row = |(index, class): (usize, &&str)| format!("{} {class}\n", image(index + 1));
        classes.iter().enumerate().map(row).collect::<String>()
    };
    for (name, text) in [
        ("val.txt", list(["2", "0", "1"])),
        ("val_map.txt", list(["n00000003", "n00000001", "n00000002"])),
        ("val/val.txt", list(["2", "0", "1"]).replace("ILSVRC", "val/ILSVRC")),
        ("ILSVRC2012_validation_ground_truth.txt", "2\n3\n1\n".to_owned()),
    ] {
        let root = imagenet();
        write(root.path(), name, &text);
        write(root.path(), "synsets.txt", "n00000002\nn00000003\nn00000001\n");
        assert_eq!(check(&root), ["n00000001", "n00000002", "n00000003"], "{name}");
    }
}

#[test]
fn imagenet_is_found_where_kaggle_puts_it_and_left_to_folders_where_it_is_sorted() {
    let root = with_solution();
    let within = root.path().join("ILSVRC/Data/CLS-LOC");
    fs::create_dir_all(&within).unwrap();
    ["train", "val"].iter().for_each(|half| fs::rename(root.path().join(half), within.join(half)).unwrap());
    assert_eq!(open(root.path()).unwrap().test.label(0), 2);

    let sorted = imagenet();
    fs::remove_dir_all(sorted.path().join("val")).unwrap();
    (1..=3).for_each(|level| {
        shade(sorted.path(), &format!("val/n0000000{level}/ILSVRC2012_val_{level}.JPEG"), level)
    });
    assert_eq!(Layout::recognise(sorted.path()), Some(Layout::Folder));
}

#[test]
fn damage_to_imagenet_is_told() {
    let check = |from: &'static str, to: &'static str, expected: &[&str]| {
        spoilt(with_solution, |root| replace(root, "LOC_val_solution.csv", from, to), expected);
    };
    check(
        "val_00000001,n00000003",
        "val_00000001,n00000009",
        &["LOC_val_solution.csv: line 3: `n00000009` is no class"],
    );
    check("val_00000001,n00000003", "val_00000001,dog", &["line 3: ", "beginning with a WordNet id"]);
    check("val_00000001", "val_00000002", &["line 3: labels ILSVRC2012_val_00000002 again"]);
    check("val_00000001", "val_00000007", &["has no label for", "val_00000001.JPEG"]);
    spoilt(
        with_solution,
        |root| fs::remove_file(root.join("val/ILSVRC2012_val_00000002.JPEG")).unwrap(),
        &["line 2: labels ILSVRC2012_val_00000002, which is not in", "unpack the images again"],
    );
    let with = |name: &'static str, text: &'static str, expected: &[&str]| {
        spoilt(imagenet, |root| write(root, name, text), expected);
    };
    with(
        "other.txt",
        "",
        &["has no labels of the validation images; expected LOC_val_solution.csv, val_map.txt, val.txt or"],
    );
    with("val.txt", "ILSVRC2012_val_00000001.JPEG 3\n", &["val.txt: line 1: class 3, expected below 3"]);
    with("val.txt", "ILSVRC2012_val_00000001.JPEG\n", &["line 1: ", "expected an image and its class"]);
    let truth = "ILSVRC2012_validation_ground_truth.txt";
    with(truth, "1\n2\n3\n", &["numbers classes in the devkit's order; expected synsets.txt"]);
    let ordered = |order: &'static str, numbers: &'static str, expected: &[&str]| {
        let spoil = |root: &Path| {
            write(root, truth, numbers);
            write(root, "synsets.txt", order);
        };
        spoilt(imagenet, spoil, expected);
    };
    // A sorted list cannot be the devkit's order: labels would be wrong without a word.
    ordered(
        "n00000001\nn00000002\nn00000003\n",
        "1\n2\n3\n",
        &["synsets.txt: lists the classes sorted", "LOC_val_solution.csv"],
    );
    ordered("n00000003\nn00000002\n", "1\n2\n3\n", &["ground_truth.txt: line 3: class 3, expected 1 to 2"]);
    ordered("n00000003\nn00000002\n", "0\n2\n1\n", &["ground_truth.txt: line 1: class 0, expected 1 to 2"]);
    ordered(
        "n00000003\nn00000003\n",
        "1\n1\n1\n",
        &["synsets.txt: line 2: n00000003 again, first in line 1"],
    );
    ordered("n00000003\nn00000002\n", "1\n1\n", &["ground_truth.txt: has no label for", "val_00000003.JPEG"]);
}
