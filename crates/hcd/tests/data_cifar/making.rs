//! Small sets in CIFAR's official forms: records, pickles as each Python writes them, and archives.

use flate2::{Compression, write::GzEncoder};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The folders of the four forms, and the archives that they come in.
pub const BIN_10: &str = "cifar-10-batches-bin";
pub const PY_10: &str = "cifar-10-batches-py";
pub const BIN_100: &str = "cifar-100-binary";
pub const PY_100: &str = "cifar-100-python";
pub const ARCHIVES: [(&str, &str); 4] = [
    (BIN_10, "cifar-10-binary.tar.gz"),
    (PY_10, "cifar-10-python.tar.gz"),
    (BIN_100, "cifar-100-binary.tar.gz"),
    (PY_100, "cifar-100-python.tar.gz"),
];

/// Images to test with, numbered behind those to train with.
pub const TEST: usize = 2;
pub const TRAIN: usize = 5 * TEST;
pub const SAMPLES: usize = 3072;

pub type File = (String, Vec<u8>);

/// Who wrote a pickle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Python {
    /// Python 2, protocol 2: text and bytes alike.
    Two,
    /// Python 3, protocol 2: bytes are calls that encode text.
    ThreeForTwo,
    /// Python 3, protocol 4, keys of text.
    Three,
    /// Python 3, protocol 5, keys of bytes, arrays of buffers.
    ThreeWithBuffers,
}

pub const PYTHONS: [Python; 4] = [Python::Two, Python::ThreeForTwo, Python::Three, Python::ThreeWithBuffers];

pub fn fine(number: usize, classes: usize) -> usize {
    (number * 37 + 9) % classes
}

pub fn coarse(number: usize) -> usize {
    (number * 7 + 19) % 20
}

/// All of red, then green, then blue.
pub fn planes(number: usize) -> Vec<u8> {
    (0..SAMPLES).map(|place| (number * 101 + place * 11 + place / 1024 * 50) as u8).collect()
}

pub fn class(word: &str, number: usize) -> String {
    format!("{word} {number}")
}

/// The names of a form's files but for those of the classes, and the images in each.
pub fn batches(form: &str) -> Vec<(String, Vec<usize>)> {
    let ending = if form == BIN_10 || form == BIN_100 { ".bin" } else { "" };
    if form == BIN_100 || form == PY_100 {
        return vec![
            (format!("train{ending}"), (0..TRAIN).collect()),
            (format!("test{ending}"), (TRAIN..TRAIN + TEST).collect()),
        ];
    }
    let numbers = |batch: usize| (batch * TEST..(batch + 1) * TEST).collect();
    let train = (0..5).map(|batch| (format!("data_batch_{}{ending}", batch + 1), numbers(batch)));
    train.chain([(format!("test_batch{ending}"), numbers(5))]).collect()
}

/// The files of a form.
pub fn files(form: &str, python: Python) -> Vec<File> {
    let hundred = form == BIN_100 || form == PY_100;
    let words: &[(&str, usize)] = if hundred { &[("coarse", 20), ("fine", 100)] } else { &[("label", 10)] };
    let names = |word: &str, count: usize| (0..count).map(|number| class(word, number)).collect::<Vec<_>>();
    if form == PY_10 || form == PY_100 {
        let mut files: Vec<File> = batches(form)
            .into_iter()
            .map(|(name, numbers)| (name, pickle(python, &batch(python, hundred, &numbers))))
            .collect();
        let meta: Vec<(String, Vec<u8>)> = words
            .iter()
            .map(|(word, count)| {
                let key = if hundred { format!("{word}_label_names") } else { "label_names".to_owned() };
                (key, list(names(word, *count).iter().map(|name| key_of(python, name))))
            })
            .collect();
        let name = if hundred { "meta" } else { "batches.meta" };
        files.push((name.to_owned(), pickle(python, &meta)));
        return files;
    }
    let record = |&number: &usize| {
        let labels = match hundred {
            true => vec![coarse(number) as u8, fine(number, 100) as u8],
            false => vec![fine(number, 10) as u8],
        };
        [labels, planes(number)].concat()
    };
    let mut files: Vec<File> = batches(form)
        .into_iter()
        .map(|(name, numbers)| (name, numbers.iter().flat_map(record).collect()))
        .collect();
    for (word, count) in words {
        let name = if hundred { format!("{word}_label_names.txt") } else { "batches.meta.txt".to_owned() };
        // Empty lines follow, as in the published file.
        files.push((name, format!("{}\n\n", names(word, *count).join("\n")).into_bytes()));
    }
    files
}

/// The entries of a pickled batch.
pub fn batch(python: Python, hundred: bool, numbers: &[usize]) -> Vec<(String, Vec<u8>)> {
    let bytes: Vec<u8> = numbers.iter().flat_map(|&number| planes(number)).collect();
    let label = |classes| numbers.iter().map(move |&number| int(fine(number, classes) as i32));
    let mut entries = vec![
        ("batch_label".to_owned(), key_of(python, "training batch")),
        ("data".to_owned(), array(python, numbers.len() as i32, 3072, "u1", false, &bytes)),
    ];
    match hundred {
        true => {
            entries.push(("fine_labels".to_owned(), list(label(100))));
            let coarse = numbers.iter().map(|&number| int(coarse(number) as i32));
            entries.push(("coarse_labels".to_owned(), list(coarse)));
        }
        false => entries.push(("labels".to_owned(), list(label(10)))),
    }
    entries
}

/// A dictionary, whole.
pub fn pickle(python: Python, entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let protocol = match python {
        Python::Two | Python::ThreeForTwo => 2,
        Python::Three => 4,
        Python::ThreeWithBuffers => 5,
    };
    let items = entries.iter().flat_map(|(key, value)| [key_of(python, key), value.clone()].concat());
    [vec![0x80, protocol, b'}', b'q', 1, b'('], items.collect(), b"u.".to_vec()].concat()
}

pub fn int(value: i32) -> Vec<u8> {
    [&b"J"[..], &value.to_le_bytes()].concat()
}

pub fn list(members: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    [b"](".to_vec(), members.flatten().collect(), b"e".to_vec()].concat()
}

/// Short text that was a string in Python 2.
pub fn key_of(python: Python, text: &str) -> Vec<u8> {
    match python {
        Python::Two => [&[b'U', text.len() as u8][..], text.as_bytes()].concat(),
        Python::ThreeForTwo => encoded(text),
        Python::Three => [&[0x8c, text.len() as u8][..], text.as_bytes()].concat(),
        Python::ThreeWithBuffers => [&[b'C', text.len() as u8][..], text.as_bytes()].concat(),
    }
}

pub fn blob(python: Python, bytes: &[u8]) -> Vec<u8> {
    let short = (bytes.len() as u32).to_le_bytes();
    match python {
        Python::Two => [&b"T"[..], &short, bytes].concat(),
        Python::ThreeForTwo => encoded(&bytes.iter().copied().map(char::from).collect::<String>()),
        Python::Three => [&b"B"[..], &short, bytes].concat(),
        Python::ThreeWithBuffers => [&[0x96][..], &(bytes.len() as u64).to_le_bytes(), bytes].concat(),
    }
}

/// Bytes, a character each, as Python 3 writes them for Python 2.
pub fn encoded(text: &str) -> Vec<u8> {
    let length = (text.len() as u32).to_le_bytes();
    [&b"c_codecs\nencode\nX"[..], &length, text.as_bytes(), b"X\x06\0\0\0latin1\x86R"].concat()
}

pub fn global(python: Python, module: &str, name: &str) -> Vec<u8> {
    match python {
        Python::Two | Python::ThreeForTwo => format!("c{module}\n{name}\n").into_bytes(),
        _ => [key_of(Python::Three, module), key_of(Python::Three, name), vec![0x93]].concat(),
    }
}

/// An array of numpy's: older ones called its module `numpy.core`.
pub fn array(python: Python, rows: i32, columns: i32, kind: &str, fortran: bool, bytes: &[u8]) -> Vec<u8> {
    let text = |text: &str| key_of(if python == Python::Two { Python::Two } else { Python::Three }, text);
    let core = if python == Python::Two { "numpy.core" } else { "numpy._core" };
    let shape = [int(rows), int(columns), vec![0x86]].concat();
    let dtype = [
        global(python, "numpy", "dtype"),
        text(kind),
        b"K\0K\x01\x87R(K\x03".to_vec(),
        text("|"),
        b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb".to_vec(),
    ]
    .concat();
    if python == Python::ThreeWithBuffers {
        let order = text(if fortran { "F" } else { "C" });
        let function = global(python, &format!("{core}.numeric"), "_frombuffer");
        return [function, vec![b'('], blob(python, bytes), dtype, shape, order, b"tR".to_vec()].concat();
    }
    let order = if fortran { 0x88 } else { 0x89 };
    [
        global(python, &format!("{core}.multiarray"), "_reconstruct"),
        global(python, "numpy", "ndarray"),
        b"K\0\x85".to_vec(),
        text("b"),
        b"\x87R(K\x01".to_vec(),
        shape,
        dtype,
        vec![order],
        blob(python, bytes),
        b"tb".to_vec(),
    ]
    .concat()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An archive of a folder, which comes first.
pub fn tar(folder: &str, files: &[File]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    builder.append_data(&mut header, format!("{folder}/"), &[][..]).unwrap();
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("{folder}/{name}"), &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

pub fn put(folder: &Path, files: &[File]) {
    fs::create_dir_all(folder).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

/// The form's folder with its files, within another.
pub fn sound(form: &str, python: Python) -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join(form);
    put(&folder, &files(form, python));
    (parent, folder)
}
