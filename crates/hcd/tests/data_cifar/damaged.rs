//! What each kind of damage is called; and that no cut passes for a set.

use super::making::*;
use hcd::Error;
use hcd::data::cifar::{self, Labels};
use proptest::prelude::*;
use std::fs;
use std::path::Path;

/// What opening a path says, with the path and the folder that it is in left out.
fn error(path: &Path) -> String {
    let error = cifar::open(path, Labels::Fine).unwrap_err();
    assert!(matches!(error, Error::Data(_)), "{error:?}");
    let message = error.to_string();
    assert!(!message.contains(char::is_control), "one line: {message}");
    let parent = path.parent().unwrap().display();
    message.replace(&format!("{}/", path.display()), "").replace(&format!("{parent}/"), "")
}

#[test]
fn damaged_records_have_their_error() {
    let check = |form: &str, name: &str, change: &dyn Fn(&mut Vec<u8>), expected: &str| {
        let (_parent, folder) = sound(form, Python::Two);
        let mut bytes = fs::read(folder.join(name)).unwrap();
        change(&mut bytes);
        fs::write(folder.join(name), bytes).unwrap();
        let error = error(&folder);
        assert!(error.starts_with(&format!("{name}: {expected}")), "{error}, expected {expected}");
    };
    let ten = "expected a multiple of 3073 (one image and its labels)";
    let hundred = "expected a multiple of 3074 (one image and its labels)";
    check(BIN_10, "data_batch_3.bin", &|bytes| bytes.clear(), &format!("0 bytes, {ten}"));
    check(BIN_10, "data_batch_3.bin", &|bytes| bytes.truncate(6145), &format!("6145 bytes, {ten}"));
    check(BIN_10, "test_batch.bin", &|bytes| bytes.push(0), &format!("6147 bytes, {ten}"));
    check(BIN_100, "train.bin", &|bytes| bytes.truncate(3073), &format!("3073 bytes, {hundred}"));
    let count = "1 images, expected 2 beside the 2 in test_batch.bin";
    check(BIN_10, "data_batch_5.bin", &|bytes| bytes.truncate(3073), count);
    let count = "9 images, expected 10 beside the 2 in test.bin";
    check(BIN_100, "train.bin", &|bytes| bytes.truncate(9 * 3074), count);
    check(BIN_10, "data_batch_1.bin", &|bytes| bytes[3073] = 10, "label 10 at index 1, expected below 10");
    check(BIN_100, "test.bin", &|bytes| bytes[0] = 20, "coarse label 20 at index 0, expected below 20");
    check(BIN_100, "test.bin", &|bytes| bytes[3075] = 100, "fine label 100 at index 1, expected below 100");
    let meta = "batches.meta.txt";
    check(BIN_10, meta, &|bytes| bytes.clear(), "names 0 classes, expected 10");
    check(BIN_10, meta, &|bytes| bytes.truncate(bytes.len() - 10), "names 9 classes, expected 10");
    check(BIN_10, meta, &|bytes| bytes[0] = 0xff, "is no text (");
    check(BIN_10, meta, &|bytes| bytes[..7].fill(b' '), "class 0 has no name, expected one each");
    let twice = "class 2 is called \"label 1\", expected another name than class 1";
    check(BIN_10, meta, &|bytes| bytes[8 * 2 + 6] = b'1', twice);
    let names = "fine_label_names.txt";
    check(BIN_100, names, &|bytes| bytes.truncate(bytes.len() - 10), "names 99 classes, expected 100");
}

#[test]
fn damaged_pickles_have_their_error() {
    let check = |name: &str, bytes: Vec<u8>, expected: &str| {
        let (_parent, folder) = sound(PY_10, Python::Two);
        fs::write(folder.join(name), bytes).unwrap();
        assert_eq!(error(&folder), format!("{name}: {expected}"));
    };
    let entries = || batch(Python::Two, false, &[0, 1]);
    let whole = || pickle(Python::Two, &entries());
    let with = |key: &str, value: Vec<u8>| {
        let entries = entries().into_iter().map(|(name, old)| match name == key {
            true => (name, value.clone()),
            false => (name, old),
        });
        pickle(Python::Two, &entries.collect::<Vec<_>>())
    };
    let first = "data_batch_1";
    let cut = |why: &str| format!("is no whole pickle of Python's ({why}); fetch it again");
    check(first, Vec::new(), &cut("cut at byte 0"));
    check(first, whole()[..500].to_vec(), &cut("pickle, byte 161: cut at byte 500"));
    check(first, b"<html>".to_vec(), &cut("pickle, byte 0: 0x3c is no operation that data are pickled with"));
    check(first, [whole(), vec![0; 3]].concat(), "3 bytes trail after the pickle, expected none");
    check(first, b"\x80\x02].".to_vec(), "holds a list, expected a dictionary with `data`");
    check(
        first,
        pickle(Python::Two, &entries()[..2]),
        "holds a dictionary without `labels`, expected one with it",
    );
    check(
        first,
        pickle(Python::Two, &entries()[2..]),
        "holds a dictionary without `data`, expected one with it",
    );

    let data =
        |bytes: Vec<u8>, expected: &str| check(first, with("data", bytes), &format!("`data` {expected}"));
    let bytes = [planes(0), planes(1)].concat();
    data(blob(Python::Two, &bytes), "is bytes, expected an array of numpy's");
    data(list([].into_iter()), "is a list, expected an array of numpy's");
    data(b"cos\nsystem\n(U\x02lstR".to_vec(), "is an object of `os.system`, expected an array of numpy's");
    data(
        b"cnumpy.core.multiarray\n_reconstruct\n)R".to_vec(),
        "is an array without its state, expected shape, type, order and bytes",
    );
    data(
        b"cnumpy.core.numeric\n_frombuffer\n)R".to_vec(),
        "is an array of nothing, expected bytes, type, shape and order",
    );
    let made = |rows, columns, kind, bytes: &[u8]| array(Python::Two, rows, columns, kind, false, bytes);
    data(made(2, 3072, "f8", &bytes), "holds numbers of type `f8`, expected `u1`");
    data(made(0, 3072, "u1", &[]), "holds no images, expected at least one");
    data(made(2, 3071, "u1", &bytes), "has shape 2x3071, expected Nx3072");
    data(made(-2, 3072, "u1", &bytes), "has a list as its shape, expected Nx3072");
    data(made(3, 3072, "u1", &bytes), "consists of 6144 bytes, expected 3x3072 as its shape");
    data(made(2, 3072, "u1", &bytes[1..]), "consists of 6143 bytes, expected 2x3072 as its shape");
    let odd: Vec<u8> = made(2, 3072, "u1", b"");
    let without = odd.len() - b"T\0\0\0\0tb".len();
    let foreign = [&odd[..without], &encoded("\u{100}"), b"tb"].concat();
    data(foreign, "consists of an object of `_codecs.encode`, expected bytes");
    let none = [&odd[..without], b"Ntb"].concat();
    data(none, "consists of None, expected bytes");

    let labels = |bytes: Vec<u8>, expected: &str| check(first, with("labels", bytes), expected);
    labels(b"U\x01a".to_vec(), "`labels` is text, expected a list");
    labels(list([int(1)].into_iter()), "`labels` has 1 entries, expected 2, one an image");
    let number = "expected a whole number from 0";
    labels(list([int(1), int(-1)].into_iter()), &format!("`labels` holds a number at index 1, {number}"));
    labels(list([b"N".to_vec(), int(1)].into_iter()), &format!("`labels` holds None at index 0, {number}"));
    labels(list([int(1), int(10)].into_iter()), "label 10 at index 1, expected below 10");

    let less = pickle(Python::Two, &batch(Python::Two, false, &[0]));
    check(first, less, "1 images, expected 2 beside the 2 in test_batch");

    let meta = |names: Vec<u8>| pickle(Python::Two, &[("label_names".to_owned(), names)]);
    let names = |count: usize| (0..count).map(|number| key_of(Python::Two, &number.to_string()));
    check("batches.meta", whole(), "holds a dictionary without `label_names`, expected one with it");
    check("batches.meta", meta(list(names(9))), "names 9 classes, expected 10");
    check(
        "batches.meta",
        meta(list([int(1)].into_iter())),
        "`label_names` holds a number at index 0, expected a name",
    );
}

#[test]
fn damaged_archives_have_their_error() {
    let files = files(BIN_10, Python::Two);
    let plain = tar(BIN_10, &files);
    let name = "cifar-10-binary.tar.gz";
    let check = |bytes: &[u8], expected: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        assert!(cifar::recognises(&path) && cifar::recognises(folder.path()), "its name says what it is");
        let error = error(&path);
        assert!(error.starts_with(&format!("{name}: {expected}")), "{error}, expected {expected}");
        error
    };
    let packed = gzip(&plain);
    for bytes in [&packed[..packed.len() / 2], &packed[..packed.len() - 4], &packed[..100], &plain[..40_000]]
    {
        let error = check(bytes, "damaged or cut (");
        assert!(
            error.ends_with("), expected a whole tar archive, gzipped or plain; fetch it again"),
            "{error}"
        );
    }
    let mut wrong_sum = packed.clone();
    let sum = wrong_sum.len() - 8;
    wrong_sum[sum] ^= 1;
    check(&wrong_sum, "damaged or cut (");
    check(b"", "damaged or cut (unexpected end of file)");
    check(&plain[..plain.len() - 512], "damaged or cut (unexpected end of file)");
    check(b"<html>\n<body>", "damaged or cut (");
    check(&[b"<html>\n<body>\x1b[2J".to_vec(), vec![b' '; 2000]].concat(), "damaged or cut (");

    let neither = "holds neither CIFAR-10 nor CIFAR-100, expected cifar-10-batches-bin, cifar-10-batches-py, \
                   cifar-100-binary, cifar-100-python or an archive of one";
    check(&gzip(&tar("readme", &[("readme.txt".to_owned(), vec![1; 9])])), neither);
    let missing = "test_batch.bin, batches.meta.txt missing beside the other files";
    check(&gzip(&tar(BIN_10, &files[..5])), missing);
    let twice = [&files[..], &files[..1]].concat();
    check(&gzip(&tar(BIN_10, &twice)), "data_batch_1.bin: is in the archive twice, expected once");
    let mut less = files.clone();
    less[1].1.pop();
    let expected = "data_batch_2.bin: 6145 bytes, expected a multiple of 3073 (one image and its labels)";
    check(&gzip(&tar(BIN_10, &less)), expected);
    let both = [files.clone(), super::making::files(PY_100, Python::Two)].concat();
    let expected = "holds CIFAR-10 and CIFAR-100, expected one; name its folder or archive";
    check(&gzip(&tar("both", &both)), expected);
}

/// Headers ask for terabytes; nothing is set aside for them.
#[test]
fn headers_of_archives_cost_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cifar-100-python.tar");
    let lying = |name: &str, kind: tar::EntryType| {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_entry_type(kind);
        header.set_size(1 << 42);
        header.set_cksum();
        [header.as_bytes().to_vec(), vec![1; 5000]].concat()
    };
    fs::write(&path, lying("cifar-100-python/train", tar::EntryType::Regular)).unwrap();
    assert_eq!(error(&path), "cifar-100-python.tar: train: with the other files over 384 MiB, expected less");
    for kind in [tar::EntryType::GNULongName, tar::EntryType::XHeader, tar::EntryType::GNUSparse] {
        fs::write(&path, lying("train", kind)).unwrap();
        assert!(error(&path).starts_with("cifar-100-python.tar: damaged or cut ("), "{kind:?}");
    }
}

#[test]
fn what_is_missing_is_named() {
    for (form, gone, shown) in [
        (BIN_10, &["data_batch_2.bin", "batches.meta.txt"][..], "data_batch_2.bin, batches.meta.txt"),
        (PY_10, &["test_batch"][..], "test_batch"),
        (BIN_100, &["test.bin", "fine_label_names.txt"][..], "test.bin, fine_label_names.txt"),
        // In a folder of that name, one file is enough to tell.
        (PY_100, &["train", "meta"][..], "train, meta"),
    ] {
        let (parent, folder) = sound(form, Python::Two);
        for name in gone {
            fs::remove_file(folder.join(name)).unwrap();
        }
        for path in [folder.as_path(), parent.path()] {
            assert!(cifar::recognises(path));
            let error = cifar::open(path, Labels::Fine).unwrap_err().to_string();
            let expected = format!("{}: {shown} missing beside the other files", folder.display());
            assert_eq!(error, expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_cut_or_altered_file_passes_for_another_set_or_panics(
        which in 0..4usize, python in proptest::sample::select(PYTHONS.to_vec()), file: prop::sample::Index,
        cut: prop::sample::Index, place: prop::sample::Index, byte: u8,
    ) {
        let (form, _) = ARCHIVES[which];
        let (_parent, folder) = sound(form, python);
        // A cut may leave the last of the names another one, which is nobody's to notice.
        let mut names: Vec<String> = files(form, python).into_iter().map(|(name, _)| name).collect();
        names.retain(|name| !name.ends_with(".txt"));
        let path = folder.join(&names[file.index(names.len())]);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..cut.index(whole.len())]).unwrap();
        prop_assert!(cifar::open(&folder, Labels::Fine).is_err());

        let mut altered = whole.clone();
        altered[place.index(whole.len())] = byte;
        fs::write(&path, &altered).unwrap();
        let _ = cifar::open(&folder, Labels::Fine);
    }

    #[test]
    fn no_cut_or_altered_archive_passes_for_another_set_or_panics(
        which in 0..4usize, packed: bool, cut: prop::sample::Index, place: prop::sample::Index, byte: u8,
    ) {
        let (form, name) = ARCHIVES[which];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let plain = tar(form, &files(form, Python::Three));
        let whole = if packed { gzip(&plain) } else { plain };
        fs::write(&path, &whole[..cut.index(whole.len())]).unwrap();
        prop_assert!(cifar::open(&path, Labels::Fine).is_err());

        let mut altered = whole.clone();
        altered[place.index(whole.len())] = byte;
        fs::write(&path, &altered).unwrap();
        let _ = cifar::open(&path, Labels::Fine);
    }
}
