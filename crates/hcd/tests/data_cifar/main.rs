//! CIFAR's official files, good and bad: what reads, wherever it is, and what each kind of damage is called.
#![allow(clippy::unwrap_used, missing_docs)]

mod damaged;
mod making;

use hcd::data::ImageShape;
use hcd::data::cifar::{self, Labels};
use making::*;
use std::fs;
use std::path::Path;

/// Holds a set to the images that the files were made of.
fn check(path: &Path, form: &str, labels: Labels) {
    assert!(cifar::recognises(path), "{}", path.display());
    let splits = cifar::open(path, labels).unwrap_or_else(|error| panic!("{form}: {error}"));
    let hundred = form == BIN_100 || form == PY_100;
    let (word, count) = match (hundred, labels) {
        (true, Labels::Coarse) => ("coarse", 20),
        (true, Labels::Fine) => ("fine", 100),
        (false, _) => ("label", 10),
    };
    let names: Vec<String> = (0..count).map(|number| class(word, number)).collect();
    let halves = [(&splits.train, "train", 0, TRAIN), (&splits.test, "test", TRAIN, TEST)];
    for (set, half, first, length) in halves {
        assert_eq!((set.len(), set.classes()), (length, &names[..]));
        assert_eq!(set.image_shape(), ImageShape { channels: 3, height: 32, width: 32 });
        assert_eq!(set.name(), format!("{} ({half})", path.display()));
        for index in 0..length {
            let number = first + index;
            let label = if labels == Labels::Coarse { coarse(number) } else { fine(number, count) };
            assert_eq!((set.id(index), set.label(index)), (index as u64, label));
            let planes = planes(number);
            let pixels: Vec<u8> = (0..SAMPLES).map(|place| planes[place % 3 * 1024 + place / 3]).collect();
            assert!(set.image(index).unwrap().pixels == pixels, "{form}: image {index} ({half})");
        }
    }
}

#[test]
fn every_form_reads_wherever_its_files_are() {
    for (form, archive) in ARCHIVES {
        let (parent, folder) = sound(form, Python::Two);
        check(&folder, form, Labels::Fine);
        check(parent.path(), form, Labels::Fine);
        let plain = tar(form, &files(form, Python::Two));
        let unlike = tar("somewhere/else", &files(form, Python::Two));
        let again = format!("CIFAR-again-{form}.tgz");
        for (name, bytes, is_found) in [
            (archive, gzip(&plain), true),
            // A browser may have unpacked it and kept the name.
            (archive, plain.clone(), true),
            (&archive[..archive.len() - 3], plain.clone(), true),
            (again.as_str(), gzip(&plain), true),
            ("download", gzip(&plain), false),
            ("download.tar", unlike, false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), bytes).unwrap();
            check(&folder.path().join(name), form, Labels::Fine);
            match is_found {
                true => check(folder.path(), form, Labels::Fine),
                false => {
                    assert!(!cifar::recognises(folder.path()), "{name}: not every archive is looked into")
                }
            }
        }
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), &files(form, Python::Two));
        check(folder.path(), form, Labels::Fine);
    }
}

#[test]
fn pickles_of_each_python_read() {
    for form in [PY_10, PY_100] {
        for python in PYTHONS {
            let (_parent, folder) = sound(form, python);
            check(&folder, form, Labels::Fine);
        }
    }
}

#[test]
fn arrays_may_lie_by_columns() {
    for python in PYTHONS {
        let (_parent, folder) = sound(PY_10, python);
        let rows = [planes(TRAIN), planes(TRAIN + 1)];
        let bytes: Vec<u8> = (0..SAMPLES * 2).map(|place| rows[place % 2][place / 2]).collect();
        let mut entries = batch(python, false, &[TRAIN, TRAIN + 1]);
        entries[1].1 = array(python, 2, 3072, "u1", true, &bytes);
        fs::write(folder.join("test_batch"), pickle(python, &entries)).unwrap();
        check(&folder, PY_10, Labels::Fine);
    }
}

#[test]
fn a_hundred_classes_have_twenty_groups_and_ten_have_none() {
    for form in [BIN_100, PY_100] {
        let (_parent, folder) = sound(form, Python::Two);
        check(&folder, form, Labels::Coarse);
    }
    for form in [BIN_10, PY_10] {
        let (_parent, folder) = sound(form, Python::Two);
        let error = cifar::open(&folder, Labels::Coarse).unwrap_err().to_string();
        let expected = "is CIFAR-10, which has no coarse labels, expected CIFAR-100";
        assert_eq!(error, format!("{}: {expected}", folder.display()));
    }
    assert_eq!(Labels::default(), Labels::Fine);
    assert_eq!(serde_json::to_string(&Labels::Coarse).unwrap(), "\"coarse\"");
}

#[test]
fn other_files_in_an_archive_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    let others = [("readme.html".to_owned(), vec![b'a'; 9000]), ("._train".to_owned(), vec![2; 600])];
    let all =
        [&others[..], &files(PY_100, Python::Two), &[(format!("{}/long", "n".repeat(99)), vec![3; 10])]];
    fs::write(&path, gzip(&tar(PY_100, &all.concat()))).unwrap();
    check(&path, PY_100, Labels::Fine);
}

#[test]
fn of_two_sets_neither_is_taken_and_of_two_forms_the_folder() {
    let (parent, folder) = sound(BIN_10, Python::Two);
    let spoilt = gzip(&tar(PY_10, &files(PY_10, Python::Two)))[..1000].to_vec();
    fs::write(parent.path().join("cifar-10-python.tar.gz"), spoilt).unwrap();
    check(parent.path(), BIN_10, Labels::Fine);

    put(&parent.path().join(PY_100), &files(PY_100, Python::Two));
    assert!(cifar::recognises(parent.path()));
    let expected = "holds CIFAR-10 and CIFAR-100, expected one; name its folder or archive";
    let error = cifar::open(parent.path(), Labels::Fine).unwrap_err().to_string();
    assert_eq!(error, format!("{}: {expected}", parent.path().display()));
    check(&folder, BIN_10, Labels::Fine);
}

#[test]
fn other_folders_and_files_are_not_taken_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    // As folders of images have them, and one name alone.
    for name in ["train/cat", "test/cat", "meta"] {
        fs::create_dir_all(path.join(name)).unwrap();
    }
    fs::write(path.join("train.bin"), b"weights").unwrap();
    fs::write(path.join("cifar.tar"), b"no archive").unwrap();
    fs::write(path.join("cifar-notes.txt"), b"notes").unwrap();
    for path in [path, &path.join("train.bin"), &path.join("cifar.tar"), &path.join("absent")] {
        assert!(!cifar::recognises(path), "{}", path.display());
        assert!(cifar::open(path, Labels::Fine).is_err());
    }
    let error = cifar::open(path, Labels::Fine).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{}: holds neither CIFAR-10 nor CIFAR-100, expected ", path.display()))
    );
}
