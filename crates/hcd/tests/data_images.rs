//! Image files and folders: what is read, in which order, and how each kind of damage is told.
#![allow(clippy::unwrap_used, missing_docs)]

use hcd::data::{
    self, Checked, Dataset, Encoded, EvalLoader, Normalization, Preprocess, Request, Splits, decode, folder,
    photos,
};
use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Rgb, RgbImage, Rgba};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

fn rgb(height: u32, width: u32, shade: u8) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([shade, (10 * x) as u8, (10 * y) as u8]))
}

fn save(root: &Path, name: &str, image: impl Into<DynamicImage>) -> PathBuf {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.into().save(&path).unwrap();
    path
}

/// Two classes, `cat` and `dog`, with 3 and 2 images to train on and one each to test on.
fn pets() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, shade) in [
        ("train/dog/a.png", 10),
        ("train/cat/deep/er/z.png", 20),
        ("train/cat/b.PNG", 30),
        ("train/cat/a.bmp", 40),
        ("train/dog/b.webp", 50),
        ("val/dog/x.png", 60),
        ("val/cat/x.ppm", 70),
    ] {
        save(root.path(), name, rgb(4, 4, shade));
    }
    fs::write(root.path().join("train/cat/notes.txt"), "not an image").unwrap();
    fs::write(root.path().join("train/cat/.hidden.png"), "nor this").unwrap();
    root
}

fn error<T: std::fmt::Debug>(result: hcd::Result<T>) -> String {
    let error = result.unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

fn open(root: &TempDir) -> hcd::Result<Splits> {
    data::open(root.path())
}

fn shades(set: &dyn Dataset) -> Vec<u8> {
    (0..set.len()).map(|index| set.image(index).unwrap().pixels[0]).collect()
}

#[test]
fn classes_and_files_are_sorted_by_name() {
    let Splits { train, test, .. } = open(&pets()).unwrap();
    assert_eq!(train.classes(), ["cat", "dog"]);
    assert_eq!((0..5).map(|index| train.label(index)).collect::<Vec<_>>(), [0, 0, 0, 1, 1]);
    assert_eq!((0..5).map(|index| train.id(index)).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!((test.len(), test.label(0), test.label(1)), (2, 0, 1));
    assert_eq!(train.image_shape().to_string(), "3x4x4");
}

#[test]
fn pixels_are_those_of_the_files() {
    let root = pets();
    for memory in [0, 1 << 20] {
        let Splits { train, test, .. } =
            data::open_as(root.path(), &Request { memory, ..Request::default() }).unwrap();
        // Twice: what is kept is what was decoded.
        for _ in 0..2 {
            assert_eq!(shades(train.as_ref())[..4], [40, 30, 20, 10]);
            assert_eq!(shades(test.as_ref()), [70, 60]);
        }
        assert_eq!(train.image(0).unwrap().pixels, rgb(4, 4, 40).into_raw());
    }
}

#[test]
fn batches_do_not_depend_on_threads() {
    let root = pets();
    let normalization = Normalization { mean: vec![0.0; 3], std: vec![1.0; 3] };
    let batches = |threads: usize| -> Vec<_> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let set = open(&root).unwrap().train;
        let loader = EvalLoader::new(set, &normalization, 2).unwrap();
        pool.install(|| loader.batches().map(Result::unwrap).collect())
    };
    assert_eq!(batches(1), batches(4));
}

#[test]
fn a_broken_image_stops_the_batches_by_its_name() {
    let root = pets();
    fs::write(root.path().join("train/cat/b.PNG"), "a text").unwrap();
    let set = open(&root).unwrap().train;
    let normalization = Normalization { mean: vec![0.0; 3], std: vec![1.0; 3] };
    let loader = EvalLoader::new(set, &normalization, 5).unwrap();
    let found = error(loader.batches().last().unwrap());
    assert!(found.contains("b.PNG: is no image of a known format"), "{found}");
}

#[test]
fn what_cannot_be_read_is_named_or_left_out_and_moves_no_id() {
    let root = pets();
    let spoil = |name: &str, bytes: &[u8]| fs::write(root.path().join(name), bytes).unwrap();
    // The first of the set, and one in its middle.
    spoil("train/cat/a.bmp", b"");
    spoil("train/dog/a.png", b"a text");
    let error_of_opening = error(open(&root));
    assert!(error_of_opening.contains("a.bmp: is no image of a known format"), "{error_of_opening}");
    let open =
        || data::open_as(root.path(), &Request { skip_bad: true, ..Request::default() }).unwrap().train;
    let refused = error(Checked::new(open(), false, &mut |_| {}));
    for words in ["2 images of ", "a.bmp: is no image", "leave them out with --skip-bad", "--check"] {
        assert!(refused.contains(words), "no `{words}` in: {refused}");
    }
    let mut looked_at = 0;
    let checked = Checked::new(open(), true, &mut |looked| looked_at += looked).unwrap();
    assert_eq!(looked_at, 5);
    let set = &checked.dataset;
    assert_eq!((0..set.len()).map(|index| set.id(index)).collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!(shades(set.as_ref()), [30, 20, 50]);
    let left_out: Vec<u64> = set.left_out().iter().map(|image| image.id).collect();
    assert_eq!(left_out, [0, 3]);
    assert_eq!(checked.normalization().unwrap(), Normalization::of(set.as_ref()).unwrap());
    // An image of another size is no damage: it wants data.image_size.
    save(root.path(), "train/cat/deep/er/z.png", rgb(5, 4, 30));
    let found = error(Checked::new(open(), true, &mut |_| {}));
    assert!(found.contains("data.image_size"), "{found}");
}

#[test]
fn a_third_part_is_to_choose_by() {
    let root = pets();
    assert!(open(&root).unwrap().validation.is_none());
    save(root.path(), "test/cat/1.png", rgb(4, 4, 80));
    save(root.path(), "test/dog/1.png", rgb(4, 4, 90));
    let Splits { test, validation, .. } = open(&root).unwrap();
    assert_eq!(shades(test.as_ref()), [80, 90]);
    assert_eq!(shades(validation.unwrap().as_ref()), [70, 60]);
    save(root.path(), "val/bird/1.png", rgb(4, 4, 0));
    assert!(error(open(&root)).contains("class `bird`"));
}

#[test]
fn folders_that_hold_no_set_are_refused() {
    let check = |spoil: fn(&Path), expected: &[&str]| {
        let root = pets();
        spoil(root.path());
        let found = error(open(&root));
        expected.iter().for_each(|words| assert!(found.contains(words), "no `{words}` in: {found}"));
    };
    let remove = |path: PathBuf| fs::remove_dir_all(path).unwrap();
    check(
        |root| fs::remove_dir_all(root.join("train")).unwrap(),
        &["no data set of a known layout", "train/CLASS/"],
    );
    check(
        |root| fs::remove_dir_all(root.join("val")).unwrap(),
        &["has train, but none of test, val, valid, validation"],
    );
    check(
        |root| fs::create_dir(root.join("train/empty")).unwrap(),
        &["train/empty: class without images", ".png"],
    );
    check(
        |root| fs::remove_dir_all(root.join("val/dog")).unwrap(),
        &["train: has class `dog`", "val has not"],
    );
    check(
        |root| drop(save(root, "val/cow/x.png", rgb(4, 4, 0))),
        &["val: has class `cow`", "classes must agree"],
    );
    check(|root| fs::write(root.join("train/cat/a.bmp"), "text").unwrap(), &["a.bmp: is no image"]);
    let root = pets();
    remove(root.path().join("train/cat"));
    remove(root.path().join("train/dog"));
    assert!(error(open(&root)).contains("holds no folders, expected one for each class"));
    let gone = error(data::open(&root.path().join("gone")));
    assert!(gone.contains("gone: no such folder"), "{gone}");
}

#[test]
fn images_of_several_sizes_need_one() {
    let root = pets();
    save(root.path(), "train/dog/c.png", rgb(9, 6, 90));
    let sets = open(&root).unwrap();
    let found = error(sets.train.image(5));
    assert!(found.contains("c.png: is 3x9x6") && found.contains("data.image_size"), "{found}");

    let request = Request { preprocess: Some(Preprocess::new(6)), ..Request::default() };
    let sets = data::open_as(root.path(), &request).unwrap();
    for index in 0..sets.train.len() {
        assert_eq!(sets.train.image(index).unwrap().shape().to_string(), "3x6x6");
    }
    assert_eq!(shades(sets.train.as_ref())[5], 90, "an even colour stays");
}

#[test]
fn colours_become_grey_and_grey_colours() {
    let root = tempfile::tempdir().unwrap();
    let check = |name: &str, image: DynamicImage, grey: u8, colours: [u8; 3]| {
        let path = save(root.path(), name, image);
        assert_eq!(decode::decode(&path, 1).unwrap().pixels, [grey], "{name}");
        assert_eq!(decode::decode(&path, 3).unwrap().pixels, colours, "{name}");
    };
    let one = |color: [u8; 3]| RgbImage::from_pixel(1, 1, Rgb(color)).into();
    check("grey.png", GrayImage::from_pixel(1, 1, Luma([77])).into(), 77, [77; 3]);
    // PIL: Image.new("RGB", (1, 1), color).convert("L")
    check("red.png", one([255, 0, 0]), 76, [255, 0, 0]);
    check("green.png", one([0, 255, 0]), 150, [0, 255, 0]);
    check("mixed.bmp", one([12, 200, 99]), 132, [12, 200, 99]);
    let clear = ImageBuffer::from_pixel(1, 1, Rgba([12u8, 200, 99, 0]));
    check("clear.png", clear.into(), 132, [12, 200, 99]);
    let deep = ImageBuffer::from_pixel(1, 1, Luma([0x8080u16]));
    check("deep.png", deep.into(), 0x80, [0x80; 3]);
    assert!(error(decode::decode(&root.path().join("red.png"), 2)).contains("asked for in 2 channels"));
}

/// A quarter turn in the EXIF data of a JPEG image: torchvision's loaders ignore it.
#[test]
fn the_cameras_orientation_is_not_applied() {
    let root = tempfile::tempdir().unwrap();
    let path = save(root.path(), "photo.jpg", rgb(8, 16, 0));
    let plain = fs::read(&path).unwrap();
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    fs::write(&path, [&plain[..2], exif, &plain[2..]].concat()).unwrap();
    let image = decode::decode(&path, 3).unwrap();
    assert_eq!((image.height, image.width), (8, 16));
    assert_eq!(decode::probe(&path).unwrap(), image.shape());
}

#[test]
fn damaged_files_are_told_by_name() {
    let root = tempfile::tempdir().unwrap();
    for name in ["photo.jpg", "photo.png", "photo.bmp", "photo.webp", "photo.ppm"] {
        let path = save(root.path(), name, rgb(40, 40, 9));
        let whole = fs::read(&path).unwrap();
        // The last bytes of the other formats carry no pixels.
        let almost = if ["photo.jpg", "photo.ppm"].contains(&name) { whole.len() - 1 } else { 1 };
        for keep in [0, 1, 10, whole.len() / 2, almost] {
            fs::write(&path, &whole[..keep]).unwrap();
            let found = error(decode::decode(&path, 3).map(|image| image.shape()));
            assert!(found.contains(name), "{keep} bytes of {name}: {found}");
        }
    }
    assert!(error(decode::decode(&root.path().join("none.png"), 3)).contains("none.png: cannot read"));
}

#[test]
fn an_image_cannot_ask_for_all_memory() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("bomb.ppm");
    fs::write(&path, "P6 30000 30000 255\n").unwrap();
    let found = error(decode::decode(&path, 3));
    assert!(found.contains("bomb.ppm: image is too large"), "{found}");
    fs::write(&path, "P6 4000000000 1 255\n").unwrap();
    assert!(error(decode::decode(&path, 3)).contains("bomb.ppm"));
}

fn named(count: usize) -> Vec<String> {
    ["tench", "cock", "hen"][..count].iter().map(|&name| name.to_owned()).collect()
}

fn photo_folder() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, shade) in [
        ("n01514859_hen.png", 3),
        ("n01440764_tench.png", 1),
        ("n01514668_cock.png", 2),
        ("n01440764_b.png", 1),
    ] {
        save(root.path(), name, rgb(3, 3, shade));
    }
    root
}

#[test]
fn photos_are_labelled_by_wordnet_names() {
    let root = photo_folder();
    let set = photos::by_name(root.path(), &named(3), &Request::default()).unwrap().unwrap();
    for index in 0..4 {
        assert_eq!(set.label(index) + 1, usize::from(set.image(index).unwrap().pixels[0]));
    }
    let found = error(photos::by_name(root.path(), &named(2), &Request::default()));
    assert!(
        found.contains("3 WordNet classes, the network knows 2") && found.contains("--labels"),
        "{found}"
    );
    save(root.path(), "other.png", rgb(3, 3, 0));
    assert!(photos::by_name(root.path(), &named(3), &Request::default()).unwrap().is_none());
}

fn with_labels(root: &TempDir, name: &str, text: &str) -> hcd::Result<Encoded> {
    let labels = root.path().join(name);
    fs::write(&labels, text).unwrap();
    photos::with_labels(root.path(), &labels, &named(3), &Request::default())
}

#[test]
fn photos_are_labelled_by_a_file() {
    let root = photo_folder();
    let (b, tench, cock, hen) =
        ("n01440764_b.png", "n01440764_tench.png", "n01514668_cock.png", "n01514859_hen.png");
    let labels = |set: Encoded| (0..4).map(|index| set.label(index)).collect::<Vec<_>>();
    let csv = format!("file,class\n{hen},hen\n{b},tench\n{tench},0\n{cock},1\n");
    assert_eq!(labels(with_labels(&root, "l.csv", &csv).unwrap()), [0, 0, 1, 2]);
    let tsv = format!("{hen}\t0\n{b}\t1\n{tench}\t2\n{cock}\t2\n");
    assert_eq!(labels(with_labels(&root, "l.tsv", &tsv).unwrap()), [1, 2, 2, 0]);
    let json = format!(r#"{{"{hen}": 2, "{b}": "cock", "{tench}": 0, "{cock}": "1"}}"#);
    assert_eq!(labels(with_labels(&root, "l.json", &json).unwrap()), [1, 0, 1, 2]);

    let check = |name: &str, text: &str, expected: &str| {
        let found = error(with_labels(&root, name, text));
        assert!(found.contains(name) && found.contains(expected), "{found}");
    };
    check("l.csv", &csv.replace(hen, "duck.png"), "has no label for n01514859_hen.png");
    check("l.csv", &format!("{csv}duck.png,2\n"), "labels duck.png, which is not in");
    check("l.csv", &format!("{csv}{hen},2\n"), "line 6 labels n01514859_hen.png again");
    check(
        "l.csv",
        &csv.replace(",hen", ",duck"),
        "`duck` is neither a class of the network nor a number below 3",
    );
    check("l.csv", &csv.replace(",1", ",3"), "`3` is neither");
    check("l.csv", &csv.replace(",1", ""), "line 5");
    check("l.json", "[1]", "not a JSON object");
    check("l.json", &json.replace("\"cock\"", "[]"), "expected a class's name or number");
    check("l.txt", &csv, ".csv, .tsv or .json");
}

#[test]
fn opening_lists_and_reads_one_header() {
    let root = tempfile::tempdir().unwrap();
    let first = save(root.path(), "a/0.png", rgb(2, 2, 1));
    // Whatever follows is no image: only listing can pass over it.
    (1..2000).for_each(|index| fs::write(root.path().join(format!("a/{index}.png")), "").unwrap());
    let set = folder::classes_of(root.path(), &Request::default()).unwrap();
    assert_eq!((set.len(), set.shown(0)), (2000, first.display().to_string()));
    let set: Arc<dyn Dataset> = Arc::new(set);
    assert_eq!(set.image_shape().to_string(), "3x2x2");
}
