//! Sets in shards, Parquet and WebDataset: rows and members in order, labels and names, and damage told.

use hcd::data::layouts::Layout;
use hcd::data::{Dataset, Preprocess, Request, Splits};
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

fn encoded(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn shade(level: u8) -> Vec<u8> {
    encoded(RgbImage::from_pixel(2, 2, Rgb([level, 0, 9])))
}

fn grey(level: u8) -> Vec<u8> {
    encoded(GrayImage::from_pixel(2, 2, Luma([level])))
}

/// One row: its image, if any, and its label, if any.
type Row = (Option<Vec<u8>>, Option<i64>);

/// How a file is written.
#[derive(Clone)]
struct Form {
    image: &'static str,
    label: &'static str,
    compression: Compression,
    metadata: Option<String>,
    rows_a_group: usize,
}

impl Default for Form {
    fn default() -> Self {
        let (image, label) = ("image", "label");
        Self { image, label, compression: Compression::SNAPPY, metadata: None, rows_a_group: 2 }
    }
}

fn names(column: &str, names: &[&str]) -> Option<String> {
    let names = serde_json::to_string(names).unwrap();
    Some(format!(
        r#"{{"info": {{"features": {{"{column}": {{"names": {names}, "_type": "ClassLabel"}}}}}}}}"#
    ))
}

fn write_parquet(root: &Path, name: &str, rows: &[Row], form: &Form) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let Form { image, label, .. } = form;
    let schema = format!(
        "message schema {{ optional group {image} {{ optional binary bytes; optional binary path (UTF8); }} \
         optional int64 {label}; }}"
    );
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let pairs = form.metadata.clone().map(|text| vec![KeyValue::new("huggingface".to_owned(), text)]);
    let properties = WriterProperties::builder()
        .set_compression(form.compression)
        .set_key_value_metadata(pairs)
        // Several pages a group, so that some are passed over.
        .set_data_page_row_count_limit(1)
        .set_write_batch_size(1)
        .build();
    let mut writer =
        SerializedFileWriter::new(fs::File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    for rows in rows.chunks(form.rows_a_group) {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let levels: Vec<i16> = rows.iter().map(|(image, _)| if image.is_some() { 2 } else { 1 }).collect();
        let images: Vec<ByteArray> =
            rows.iter().filter_map(|(image, _)| image.clone().map(ByteArray::from)).collect();
        column.typed::<ByteArrayType>().write_batch(&images, Some(&levels), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&[], Some(&vec![1; rows.len()]), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let levels: Vec<i16> = rows.iter().map(|(_, label)| i16::from(label.is_some())).collect();
        let labels: Vec<i64> = rows.iter().filter_map(|(_, label)| *label).collect();
        column.typed::<Int64Type>().write_batch(&labels, Some(&levels), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn row(level: u8, label: i64) -> Row {
    (Some(shade(level)), Some(label))
}

/// Two training shards of five and three rows, a test shard of two.
fn parquet(form: &Form, within: &str) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join(within);
    let rows: Vec<Row> = (0..8).map(|level| row(level, i64::from(level % 3))).collect();
    write_parquet(&folder, "train-00000-of-00002.parquet", &rows[..5], form);
    write_parquet(&folder, "train-00001-of-00002.parquet", &rows[5..], form);
    write_parquet(&folder, "test-00000-of-00001.parquet", &[row(90, 2), row(91, 0)], form);
    root
}

fn open_as(root: &Path, request: &Request) -> hcd::Result<Splits> {
    Layout::recognise(root).unwrap().open(root, request)
}

fn error(root: &Path) -> String {
    let found = open_as(root, &Request::default()).unwrap_err().to_string();
    assert!(!found.contains('\n'), "{found}");
    found
}

/// First sample of the first pixel, and label, of each sample; ids count from 0.
fn samples(set: &dyn Dataset) -> Vec<(u8, usize)> {
    let sample = |index| {
        assert_eq!(set.id(index), index as u64);
        (set.image(index).unwrap().pixels[0], set.label(index))
    };
    (0..set.len()).map(sample).collect()
}

#[test]
fn parquet_rows_come_in_order_whether_kept_or_not() {
    let zstd = Form { compression: Compression::ZSTD(ZstdLevel::default()), image: "img", ..Form::default() };
    let plain = Form { compression: Compression::UNCOMPRESSED, rows_a_group: 100, ..Form::default() };
    for (form, within) in [(Form::default(), "data"), (zstd, ""), (plain, "")] {
        let root = parquet(&form, within);
        assert_eq!(Layout::recognise(root.path()), Some(Layout::Parquet));
        for memory in [0, 1 << 20] {
            let Splits { train, test, .. } =
                open_as(root.path(), &Request { memory, ..Request::default() }).unwrap();
            assert_eq!(train.classes(), ["0", "1", "2"]);
            let expected = (0..8).map(|level| (level as u8, level % 3)).collect::<Vec<_>>();
            // Twice: what is kept is what was read.
            assert_eq!(samples(train.as_ref()), expected);
            assert_eq!(samples(train.as_ref()), expected);
            assert_eq!(samples(test.as_ref()), [(90, 2), (91, 0)]);
            assert_eq!(train.image_shape().to_string(), "3x2x2");
        }
    }
}

#[test]
fn classes_are_named_by_the_metadata() {
    let form = Form { metadata: names("label", &["ant", "bee", "cat"]), ..Form::default() };
    let root = parquet(&form, "data");
    assert_eq!(open_as(root.path(), &Request::default()).unwrap().train.classes(), ["ant", "bee", "cat"]);
    let form =
        Form { label: "fine_label", metadata: names("fine_label", &["x", "y", "z"]), ..Form::default() };
    let root = parquet(&form, "");
    assert_eq!(open_as(root.path(), &Request::default()).unwrap().train.classes(), ["x", "y", "z"]);
}

#[test]
fn a_half_without_labels_is_passed_over() {
    let root = parquet(&Form::default(), "data");
    let data = root.path().join("data");
    write_parquet(&data, "test-00000-of-00001.parquet", &[(Some(shade(1)), Some(-1))], &Form::default());
    let found = error(root.path());
    assert!(
        found.contains("test-00000-of-00001.parquet: row 0: label -1, expected from 0 to below 3"),
        "{found}"
    );
    write_parquet(&data, "validation-00000-of-00001.parquet", &[row(70, 1)], &Form::default());
    assert_eq!(samples(open_as(root.path(), &Request::default()).unwrap().test.as_ref()), [(70, 1)]);
}

#[test]
fn a_set_is_in_colour_where_some_image_is() {
    let root = parquet(&Form::default(), "");
    let rows = [(Some(grey(5)), Some(0)), row(6, 1), row(7, 2)];
    write_parquet(root.path(), "train-00000-of-00002.parquet", &rows, &Form::default());
    let set = open_as(root.path(), &Request::default()).unwrap().train;
    assert_eq!(set.image(0).unwrap().pixels[..6], [5; 6]);
    let request =
        Request { channels: Some(1), preprocess: Some(Preprocess::new(4)), memory: 0, ..Default::default() };
    assert_eq!(open_as(root.path(), &request).unwrap().train.image_shape().to_string(), "1x4x4");
}

#[test]
fn damage_to_parquet_is_told() {
    let check = |rows: &[Row], form: &Form, expected: &str| {
        let root = parquet(&Form::default(), "");
        write_parquet(root.path(), "train-00001-of-00002.parquet", rows, form);
        let found = match open_as(root.path(), &Request::default()) {
            Ok(sets) => sets.train.image(6).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(found.contains("train-00001-of-00002.parquet: ") && found.contains(expected), "{found}");
        assert!(!found.contains('\n'), "{found}");
    };
    let (form, image) = (Form::default, || Some(shade(1)));
    check(&[row(1, 0), (image(), None)], &form(), "row group 0: row 1 has no label");
    check(&[row(1, 0), (None, Some(0))], &form(), "row group 0: a row has no image bytes; sets of paths");
    check(&[row(1, 0), (image(), Some(-3))], &form(), "row 1: label -3, expected from 0 to below 3");
    check(&[row(1, 0), (Some(b"text".to_vec()), Some(0))], &form(), "row 1: is no image of a known format");
    let other = Form { label: "class", ..form() };
    check(
        &[row(1, 0)],
        &other,
        "has no column of labels, expected label, fine_label, coarse_label; its columns are",
    );
    let other = Form { image: "photo", ..form() };
    check(&[row(1, 0)], &other, "has no column of images, expected image or img");
    let other = Form { metadata: Some("{".to_owned()), ..form() };
    check(&[row(1, 0)], &other, "metadata `huggingface`: is no JSON");
    let other = Form { metadata: names("label", &["a", "b", "a"]), ..form() };
    check(&[row(1, 0)], &other, "metadata `huggingface`: names class \"a\" twice");

    let root = parquet(&form(), "");
    write_parquet(root.path(), "train-00001-of-00002.parquet", &[row(1, 1 << 40)], &form());
    assert!(error(root.path()).contains("the largest label is 1099511627776, expected 0 to 1048575"));
    let root = parquet(&Form { metadata: names("label", &["a", "b", "c"]), ..form() }, "");
    let other = Form { metadata: names("label", &["a", "c", "b"]), ..form() };
    write_parquet(root.path(), "test-00000-of-00001.parquet", &[row(1, 1)], &other);
    assert!(error(root.path()).contains("test-00000-of-00001.parquet: names other classes than"));
    fs::remove_file(root.path().join("test-00000-of-00001.parquet")).unwrap();
    assert!(
        error(root.path()).contains("has train-*.parquet, but none of test-*.parquet, validation-*.parquet")
    );
}

/// Any byte of a file may be wrong, or what follows it missing: an error of one line or a set, and no panic.
#[test]
fn damaged_parquet_files_never_panic() {
    let root = parquet(&Form::default(), "");
    let path = root.path().join("train-00000-of-00002.parquet");
    let whole = fs::read(&path).unwrap();
    let check = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        for memory in [0, 1 << 20] {
            match open_as(root.path(), &Request { memory, ..Request::default() }) {
                Ok(sets) => (0..sets.train.len().min(5)).for_each(|index| drop(sets.train.image(index))),
                Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
            }
        }
    };
    for at in (0..whole.len()).step_by(3) {
        for wrong in [0, 0xff, whole[at] ^ 0x10] {
            let mut bytes = whole.clone();
            bytes[at] = wrong;
            check(&bytes);
        }
        check(&whole[..at]);
    }
}

fn write_tar(root: &Path, name: &str, members: &[(&str, &[u8])]) {
    let mut builder = tar::Builder::new(fs::File::create(root.join(name)).unwrap());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.finish().unwrap();
}

/// Two training shards of two samples and one, a validation shard of one.
fn webdataset() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let image = |level| shade(level);
    write_tar(
        root.path(),
        "train-000000.tar",
        &[
            ("a/0001.cls", b"2\n"),
            ("a/0001.jpg", &image(1)),
            ("a/0001.txt", b"a bird"),
            ("0002.json", br#"{"label": 0, "width": 2}"#),
            ("0002.seg.png", &image(66)),
            ("0002.PNG", &image(2)),
        ],
    );
    write_tar(root.path(), "train-000001.tar", &[("x.webp", &image(3)), ("x.json", b"{}"), ("x.cls", b"1")]);
    write_tar(root.path(), "set-val-000000.tar", &[("0001.png", &image(9)), ("0001.cls", b"0")]);
    root
}

#[test]
fn tar_members_come_in_order() {
    let root = webdataset();
    assert_eq!(Layout::recognise(root.path()), Some(Layout::Webdataset));
    for memory in [0, 1 << 20] {
        let Splits { train, test, .. } =
            open_as(root.path(), &Request { memory, ..Request::default() }).unwrap();
        assert_eq!(train.classes(), ["0", "1", "2"]);
        assert_eq!(samples(train.as_ref()), [(1, 2), (2, 0), (3, 1)]);
        assert_eq!(samples(train.as_ref()), [(1, 2), (2, 0), (3, 1)]);
        assert_eq!(samples(test.as_ref()), [(9, 0)]);
    }
    fs::write(root.path().join("classes.txt"), "ant\nbee\ncat\n").unwrap();
    assert_eq!(open_as(root.path(), &Request::default()).unwrap().test.classes(), ["ant", "bee", "cat"]);
}

#[test]
fn damage_to_tar_shards_is_told() {
    let check = |members: &[(&str, &[u8])], expected: &str| {
        let root = webdataset();
        write_tar(root.path(), "train-000001.tar", members);
        let found = error(root.path());
        assert!(found.contains("train-000001.tar: ") && found.contains(expected), "{found}");
    };
    let image = shade(1);
    check(&[("a.png", &image)], "a: image without label; expected .cls or .json with `label` beside it");
    check(&[("a.png", &image), ("a.json", b"{}")], "a: image without label");
    check(&[("a.cls", b"1"), ("b.cls", b"1"), ("a.png", &image)], "a: label without image");
    check(&[("a.cls", b"1"), ("a.png", &image), ("a.jpg", &image)], "a.jpg: a second image under one key");
    check(
        &[("a.cls", b"dog"), ("a.png", &image)],
        "a.cls: label \"dog\", expected a number from 0 to 1048575",
    );
    check(&[("a.cls", b"-1"), ("a.png", &image)], "a.cls: label \"-1\", expected a number");
    check(&[("a.cls", b"99999999"), ("a.png", &image)], "a.cls: label \"99999999\", expected a number");
    check(
        &[("a.json", br#"{"label": "dog"}"#), ("a.png", &image)],
        "a.json: label \"dog\", expected a number",
    );
    check(&[("a.json", b"{"), ("a.png", &image)], "a.json: is no JSON");
    check(
        &[("a.cls", &[b' '; 2 << 20]), ("a.png", &image)],
        "a.cls: has 2097152 bytes, too many for a label",
    );

    let root = webdataset();
    fs::write(root.path().join("train-000001.tar"), vec![b'x'; 2048]).unwrap();
    assert!(error(root.path()).contains("train-000001.tar: damaged tar archive ("));
    let root = webdataset();
    fs::write(root.path().join("classes.txt"), "ant\nbee\n").unwrap();
    assert!(error(root.path()).contains("train-000000.tar: a/0001.jpg: label 2, expected below 2"));
    fs::remove_file(root.path().join("set-val-000000.tar")).unwrap();
    assert!(error(root.path()).contains("has train-*.tar, but none of test-*.tar, val-*.tar"));
    let root = webdataset();
    write_tar(root.path(), "train-000001.tar", &[("a.cls", b"1"), ("a.png", b"text")]);
    let train = open_as(root.path(), &Request::default()).unwrap().train;
    let found = train.image(train.len() - 1).unwrap_err().to_string();
    assert!(found.contains("train-000001.tar: a.png: is no image of a known format"), "{found}");
}

/// Any byte of an archive may be wrong, or what follows it missing: an error of one line or a set, and no panic.
#[test]
fn damaged_tar_shards_never_panic() {
    let root = webdataset();
    let path = root.path().join("train-000000.tar");
    let whole = fs::read(&path).unwrap();
    let check = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        match open_as(root.path(), &Request::default()) {
            Ok(sets) => (0..sets.train.len()).for_each(|index| drop(sets.train.image(index))),
            Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
        }
    };
    for at in (0..whole.len()).step_by(7) {
        for wrong in [0, 0xff, whole[at] ^ 0x10] {
            let mut bytes = whole.clone();
            bytes[at] = wrong;
            check(&bytes);
        }
        check(&whole[..at]);
    }
}

#[test]
fn a_member_cut_short_is_told() {
    let root = webdataset();
    let path = root.path().join("train-000001.tar");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..520]).unwrap();
    let found = error(root.path());
    assert!(found.contains("train-000001.tar: x.webp: is cut short; fetch the archive again"), "{found}");
}
