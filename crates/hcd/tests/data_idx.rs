//! IDX folders, good and bad: what reads, and what each kind of damage is called.
#![allow(clippy::unwrap_used)]

use flate2::{Compression, write::GzEncoder};
use hcd::Error;
use hcd::data::{self, ImageShape, idx};
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;

const TRAIN_IMAGES: &str = idx::NAMES[0];
const TRAIN_LABELS: &str = idx::NAMES[1];
const TEST_IMAGES: &str = idx::NAMES[2];
const TEST_LABELS: &str = idx::NAMES[3];

/// Header and body of an IDX file.
fn file(dims: &[u32], body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    bytes.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
    bytes.extend(body);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn put(folder: &Path, name: &str, bytes: &[u8]) {
    fs::write(folder.join(name), bytes).unwrap();
}

/// A sound set of three training and two test images of 2 by 2, plain.
fn sound() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), TRAIN_IMAGES, &file(&[3, 2, 2], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]));
    put(folder.path(), TRAIN_LABELS, &file(&[3], &[9, 0, 4]));
    put(folder.path(), TEST_IMAGES, &file(&[2, 2, 2], &[20, 21, 22, 23, 24, 25, 26, 27]));
    put(folder.path(), TEST_LABELS, &file(&[2], &[1, 1]));
    folder
}

/// What opening the folder says, with the folder's own path left out.
fn error_in(folder: &TempDir) -> String {
    let error = data::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Data(_)), "{error:?}");
    let message = error.to_string();
    assert!(!message.contains('\n'), "one line: {message}");
    message
        .replace(&format!("{}/", folder.path().display()), "")
        .replace(&folder.path().display().to_string(), ".")
}

#[test]
fn a_sound_folder_reads_plain_or_gzipped() {
    let folder = sound();
    for gzipped in [false, true] {
        if gzipped {
            for name in idx::NAMES {
                let bytes = fs::read(folder.path().join(name)).unwrap();
                put(folder.path(), &format!("{name}.gz"), &gzip(&bytes));
                fs::remove_file(folder.path().join(name)).unwrap();
            }
        }
        let splits = data::open(folder.path()).unwrap();
        assert_eq!((splits.train.len(), splits.test.len()), (3, 2));
        assert_eq!(splits.train.image_shape(), ImageShape { channels: 1, height: 2, width: 2 });
        assert_eq!((0..3).map(|index| splits.train.label(index)).collect::<Vec<_>>(), [9, 0, 4]);
        assert_eq!(splits.train.image(1).unwrap().pixels, [4, 5, 6, 7]);
        assert_eq!(splits.test.image(1).unwrap().pixels, [24, 25, 26, 27]);
        assert_eq!(splits.train.classes(), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    }
}

#[test]
fn gzip_of_several_members_reads_as_one() {
    let folder = sound();
    let bytes = file(&[3], &[9, 0, 4]);
    fs::remove_file(folder.path().join(TRAIN_LABELS)).unwrap();
    put(folder.path(), &format!("{TRAIN_LABELS}.gz"), &[gzip(&bytes[..5]), gzip(&bytes[5..])].concat());
    assert_eq!(data::open(folder.path()).unwrap().train.label(2), 4);
}

#[test]
fn each_kind_of_damage_has_its_name() {
    let check = |name: &str, bytes: &[u8], expected: &str| {
        let folder = sound();
        put(folder.path(), name, bytes);
        assert_eq!(error_in(&folder), format!("{name}: {expected}"));
    };
    let twelve = [0; 12];
    let images = "expected 00 00 08 03 (IDX, unsigned bytes, rank 3)";
    check(TRAIN_IMAGES, &[], &format!("0 bytes long, {images}"));
    check(TRAIN_IMAGES, &[0, 0, 8], &format!("3 bytes long, {images}"));
    check(TRAIN_IMAGES, &file(&[3], &twelve), &format!("begins with 00 00 08 01, {images}"));
    check(TRAIN_IMAGES, &[0, 0, 13, 3, 0, 0], &format!("begins with 00 00 0d 03, {images}"));
    check(
        TRAIN_IMAGES,
        &gzip(&file(&[3, 2, 2], &twelve)),
        &format!("begins with 1f 8b 08 00, {images}; it is gzip data: add .gz to its name"),
    );
    check(TRAIN_IMAGES, &[0, 0, 8, 3, 0, 0, 0], "header ends after 7 bytes, expected 16");
    check(TRAIN_IMAGES, &file(&[3, 2, 2], &twelve[1..]), "11 bytes after the header, expected 12 (3x2x2)");
    check(
        TRAIN_IMAGES,
        &file(&[3, 2, 2], &[0; 13]),
        "bytes trail after the 12 that the header asks for (3x2x2)",
    );
    check(TRAIN_IMAGES, &file(&[0, 2, 2], &[]), "holds no samples (dimensions 0x2x2)");
    check(TEST_LABELS, &file(&[0], &[]), "holds no samples (dimensions 0)");
    check(TRAIN_IMAGES, &file(&[3, 0, 2], &[]), "holds no samples (dimensions 3x0x2)");
    check(TRAIN_LABELS, &file(&[2], &[0, 1]), "2 labels, expected 3 as images in train-images-idx3-ubyte");
    check(
        TRAIN_LABELS,
        &file(&[3], &[0, 10, 1]),
        "label 10 at index 1, expected below 10 (the ten digits; name other classes in classes.txt, one a line)",
    );
    check(TEST_IMAGES, &file(&[2, 1, 3], &[0; 6]), "images are 1x1x3, expected 1x2x2 as in training");
}

#[test]
fn absurd_dimensions_cost_no_memory() {
    let check = |dims: &[u32], expected: &str| {
        for gzipped in [false, true] {
            let folder = sound();
            let bytes = file(dims, &[0; 100]);
            let name = if gzipped { format!("{TRAIN_IMAGES}.gz") } else { TRAIN_IMAGES.to_owned() };
            fs::remove_file(folder.path().join(TRAIN_IMAGES)).unwrap();
            put(folder.path(), &name, &if gzipped { gzip(&bytes) } else { bytes });
            assert_eq!(error_in(&folder), format!("{name}: {expected}"));
        }
    };
    let damaged = "ask for more than 4 GiB; the header is damaged";
    check(&[1 << 31, 1 << 31, 1], &format!("dimensions 2147483648x2147483648x1 {damaged}"));
    check(&[u32::MAX; 3], &format!("dimensions 4294967295x4294967295x4294967295 {damaged}"));
    // Below that bound nothing is set aside for what the file does not hold.
    check(&[1 << 30, 1, 4], "100 bytes after the header, expected 4294967296 (1073741824x1x4)");
}

#[test]
fn damaged_gzip_is_told_from_damaged_contents() {
    let name = format!("{TRAIN_LABELS}.gz");
    let check = |bytes: &[u8], expected: &str| {
        let folder = sound();
        fs::remove_file(folder.path().join(TRAIN_LABELS)).unwrap();
        put(folder.path(), &name, bytes);
        let error = error_in(&folder);
        assert!(error.starts_with(&format!("{name}: {expected}")), "{error}");
    };
    let plain = "expected 1f 8b (gzip data); if it is plain, drop .gz from its name";
    check(&file(&[3], &[9, 0, 4]), &format!("begins with 00 00, {plain}"));
    check(&[], &format!("begins with nothing, {plain}"));
    let whole = gzip(&file(&[3], &[9, 0, 4]));
    check(&whole[..whole.len() / 2], "damaged or cut gzip data (");
    check(&whole[..whole.len() - 4], "damaged or cut gzip data (");
    let mut wrong_sum = whole.clone();
    let sum = wrong_sum.len() - 8;
    wrong_sum[sum] ^= 1;
    check(&wrong_sum, "damaged or cut gzip data (");
    check(&[&whole[..], b"rubbish"].concat(), "damaged or cut gzip data (");
    check(&gzip(&file(&[4], &[9, 0, 4])), "3 bytes after the header, expected 4 (4)");
}

#[test]
fn classes_come_from_classes_txt() {
    let folder = sound();
    let names: Vec<String> = (0..12).map(|class| format!("class {class}")).collect();
    // Windows line ends and a missing last one are as good.
    put(folder.path(), idx::CLASSES, names.join("\r\n").as_bytes());
    put(folder.path(), TRAIN_LABELS, &file(&[3], &[11, 0, 4]));
    let splits = data::open(folder.path()).unwrap();
    assert_eq!(splits.train.classes(), names);
    assert_eq!(splits.test.classes(), names);

    put(folder.path(), TRAIN_LABELS, &file(&[3], &[11, 0, 12]));
    let expected = "label 12 at index 2, expected below 12 (the classes in classes.txt)";
    assert_eq!(error_in(&folder), format!("{TRAIN_LABELS}: {expected}"));
}

#[test]
fn a_bad_classes_txt_is_refused() {
    let check = |text: &str, expected: &str| {
        let folder = sound();
        put(folder.path(), idx::CLASSES, text.as_bytes());
        assert_eq!(error_in(&folder), format!("classes.txt: {expected}"));
    };
    check("", "names no classes, expected one a line");
    check("\n\n", "names no classes, expected one a line");
    check("cat\n\ndog\n", "line 2 is empty, expected the name of class 1");
    check("cat\ndog\ncat\n", "line 3 repeats \"cat\" from line 1");
}

#[test]
fn a_missing_or_unknown_folder_says_what_was_looked_for() {
    let looked_for = "looked for train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, \
                      t10k-labels-idx1-ubyte (plain or .gz), or train/CLASS/ with images";
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(error_in(&folder), format!(".: holds no data set of a known layout; {looked_for}"));

    let absent = folder.path().join("absent");
    let error = data::open(&absent).unwrap_err().to_string();
    assert_eq!(error, format!("{}: no such folder; {looked_for} in it", absent.display()));

    put(folder.path(), "file", b"");
    let error = data::open(&folder.path().join("file")).unwrap_err().to_string();
    let shown = folder.path().join("file");
    assert_eq!(error, format!("{}: is a file, expected a folder; {looked_for} in it", shown.display()));

    let folder = sound();
    fs::remove_file(folder.path().join(TRAIN_LABELS)).unwrap();
    fs::remove_file(folder.path().join(TEST_IMAGES)).unwrap();
    let missing =
        "train-labels-idx1-ubyte, t10k-images-idx3-ubyte (plain or .gz) missing beside the other files";
    assert_eq!(error_in(&folder), format!(".: {missing}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_cut_or_overwritten_file_passes_for_another_set_or_panics(
        name in 0..4usize, cut in 0..28usize, place in 0..16usize, byte: u8,
    ) {
        let folder = sound();
        let path = folder.path().join(idx::NAMES[name]);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..cut.min(whole.len() - 1)]).unwrap();
        prop_assert!(data::open(folder.path()).is_err());

        let mut overwritten = whole.clone();
        let header = if name % 2 == 0 { 16 } else { 8 };
        overwritten[place % header] = byte;
        fs::write(&path, &overwritten).unwrap();
        prop_assert_eq!(data::open(folder.path()).is_ok(), overwritten == whole);
    }
}
