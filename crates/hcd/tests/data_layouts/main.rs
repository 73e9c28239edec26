//! Layouts of data sets: which are recognised, in which order samples and classes come, and how each kind of damage is
//! told.
#![allow(clippy::unwrap_used, missing_docs)]

mod drawn;
mod lists;
mod shards;
mod wordnet;

use hcd::data::layouts::Layout;
use hcd::data::{Dataset, Request, Splits};
use image::{DynamicImage, Rgb, RgbImage};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn save(root: &Path, name: &str, image: impl Into<DynamicImage>) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Lossless whatever the name says: contents tell the format.
    image.into().save_with_format(path, image::ImageFormat::Png).unwrap();
}

fn shade(root: &Path, name: &str, shade: u8) {
    save(root, name, RgbImage::from_pixel(2, 2, Rgb([shade, 0, 9])));
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn replace(root: &Path, name: &str, from: &str, to: &str) {
    let text = fs::read_to_string(root.join(name)).unwrap();
    assert!(text.contains(from), "no {from:?} in {text}");
    fs::write(root.join(name), text.replace(from, to)).unwrap();
}

fn open(root: &Path) -> hcd::Result<Splits> {
    let layout = Layout::recognise(root).unwrap();
    layout.open(root, &Request::default())
}

/// First sample of the first pixel, and class, of each sample; ids count from 0.
fn samples(set: &dyn Dataset) -> Vec<(u8, &str)> {
    (0..set.len())
        .map(|index| {
            assert_eq!(set.id(index), index as u64);
            (set.image(index).unwrap().pixels[0], set.classes()[set.label(index)].as_str())
        })
        .collect()
}

/// What opening says once a copy is spoilt.
fn spoilt(make: fn() -> TempDir, spoil: impl Fn(&Path), expected: &[&str]) {
    let root = make();
    spoil(root.path());
    let found = open(root.path()).unwrap_err().to_string();
    assert!(!found.contains('\n'), "{found}");
    expected.iter().for_each(|words| assert!(found.contains(words), "no `{words}` in: {found}"));
}

#[test]
fn layouts_have_names() {
    for layout in Layout::ALL {
        assert_eq!(layout.name().parse::<Layout>().unwrap(), layout);
        assert_eq!(serde_json::to_value(layout).unwrap(), layout.name());
        assert_eq!(layout.to_string(), layout.name());
    }
    let found = "mnist".parse::<Layout>().unwrap_err().to_string();
    assert!(
        found.starts_with("`mnist` is no layout of a data set, expected one of idx, cifar, cub"),
        "{found}"
    );
}
