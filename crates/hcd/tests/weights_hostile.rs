//! Weights files from strangers: whatever is in them, an error of one line, never a panic, and no more memory than
//! a few times the file. `fuzz/` holds the readers to the same with far more inputs.
#![allow(clippy::unwrap_used, missing_docs)]

use hcd::models::weights::{self, Contents};
use proptest::prelude::*;
use std::io::{Cursor, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// What a file calls things reaches the terminal only as harmless text.
#[test]
fn names_are_legible() {
    let call = [&b"\x80\x04"[..], &text("a\n\x1b[2J"), &text("b"), b"\x93)R."].concat();
    refused(&pickled(&call), "asks to call `a\u{fffd}\u{fffd}[2J.b`");
    refused(&checkpoint(&[("w\x1b[31m", tensor("0", 4, 0, &[4], &[1]))]), "which is no name");
    let long = "w".repeat(1 << 20);
    refused(&checkpoint(&[(&long, tensor("0", 4, 0, &[4], &[1]))]), "which is no name");
    let error = decode(&checkpoint(&[(&long, tensor("0", 4, 9, &[4], &[1]))])).unwrap_err();
    assert!(error.chars().count() < 1100, "{} characters", error.chars().count());
}

/// Whatever comes of it, the numbers that are read are no more than the file has bytes.
fn decode(bytes: &[u8]) -> Result<Contents, String> {
    match weights::decode_any(bytes, "file") {
        Ok(contents) => {
            let numbers: usize = contents.tensors.values().map(|tensor| tensor.values.len()).sum();
            assert!(numbers <= bytes.len(), "{numbers} numbers of {} bytes", bytes.len());
            for tensor in contents.tensors.values() {
                assert_eq!(tensor.shape.iter().product::<usize>(), tensor.values.len());
            }
            Ok(contents)
        }
        Err(error) => {
            let error = error.to_string();
            assert!(!error.contains('\n') && error.starts_with("file: "), "{error}");
            Err(error)
        }
    }
}

fn refused(bytes: &[u8], expected: &str) {
    match decode(bytes) {
        Ok(contents) => panic!("read {:?}, expected: {expected}", contents.tensors),
        Err(error) => assert!(error.contains(expected), "{error}, expected: {expected}"),
    }
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/import").join(name)).unwrap()
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in entries {
        writer.start_file(*name, stored).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn text(text: &str) -> Vec<u8> {
    [&[b'X'][..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

fn int(value: u64) -> Vec<u8> {
    [&[0x8a, 8][..], &value.to_le_bytes()].concat()
}

fn sizes(values: &[u64]) -> Vec<u8> {
    [b"(".to_vec(), values.iter().flat_map(|value| int(*value)).collect(), b"t".to_vec()].concat()
}

/// A tensor on storage `key` of `length` floats.
fn tensor(key: &str, length: u64, offset: u64, shape: &[u64], strides: &[u64]) -> Vec<u8> {
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text(key),
        text("cpu"),
        int(length),
        b"tQ".to_vec(),
        int(offset),
        sizes(shape),
        sizes(strides),
        b"\x89}tR".to_vec(),
    ]
    .concat()
}

/// An archive of these tensors on one storage "0" of four floats.
fn checkpoint(tensors: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<u8> =
        tensors.iter().flat_map(|(name, tensor)| [text(name), tensor.clone()].concat()).collect();
    let pickle = [b"\x80\x02}(".to_vec(), items, b"u.".to_vec()].concat();
    pickled(&pickle)
}

fn pickled(pickle: &[u8]) -> Vec<u8> {
    let floats: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    archive(&[("a/data.pkl", pickle), ("a/data/0", &floats), ("a/version", b"3\n")])
}

#[test]
fn the_archives_made_here_are_sound() {
    let contents = decode(&checkpoint(&[("w", tensor("0", 4, 1, &[3], &[1]))])).unwrap();
    assert_eq!(contents.tensors["w"].values, [2.0, 3.0, 4.0]);
    let spread = decode(&checkpoint(&[("w", tensor("0", 4, 3, &[2, 2], &[0, 0]))])).unwrap();
    assert_eq!(spread.tensors["w"].values, [4.0; 4]);
}

#[test]
fn tensors_stay_within_their_storage_and_the_file() {
    let one = |tensor: Vec<u8>| checkpoint(&[("w", tensor)]);
    refused(&one(tensor("0", 4, 2, &[3], &[1])), "w reaches beyond the 4 numbers");
    refused(&one(tensor("0", 4, 0, &[2, 2], &[u64::MAX / 2, 1])), "w ");
    refused(&one(tensor("0", 4, 0, &[2], &[1 << 62])), "w reaches beyond the 4 numbers");
    refused(&one(tensor("0", 1 << 60, 0, &[1 << 40], &[1])), "its storage holds 4 numbers");
    refused(&one(tensor("0", 4, 0, &[1 << 40], &[0])), "its storage holds 4 numbers");
    refused(&one(tensor("0", 4, 0, &[1 << 32, 1 << 32], &[0, 0])), "its storage holds 4 numbers");
    refused(&one(tensor("0", 4, 0, &[4], &[1, 1])), "1 sizes and 2 strides");
    refused(&one(tensor("1", 4, 0, &[4], &[1])), "storage \"1\" is not in the file");
    refused(&one(tensor("0", 4, 0, &[1; 17], &[1; 17])), "no list of sizes");
    // Sizes of 0 make a tensor empty, whatever stands beside them.
    let empty = decode(&one(tensor("0", 4, 9, &[0, 1 << 40], &[1, 1])));
    assert!(empty.is_ok_and(|contents| contents.tensors["w"].values.is_empty()));
}

#[test]
fn one_storage_is_not_multiplied() {
    let names: Vec<String> = (0..2000).map(|number| format!("w{number}")).collect();
    let floats = vec![0u8; 4 << 20];
    let reference = tensor("0", 1 << 20, 0, &[1 << 20], &[1]);
    // One description in the memo, and two thousand names for it.
    let items: Vec<u8> = names.iter().flat_map(|name| [text(name), b"h\0".to_vec()].concat()).collect();
    let pickle =
        [b"\x80\x02".to_vec(), reference, b"q\0".to_vec(), b"0}(".to_vec(), items, b"u.".to_vec()].concat();
    refused(&archive(&[("data.pkl", &pickle), ("data/0", &floats)]), "larger than the file");
}

#[test]
fn nothing_is_called() {
    let mark = std::env::temp_dir().join(format!("hcd-was-here-{}", std::process::id()));
    let command = format!("touch {}", mark.display());
    for (module, name) in
        [("os", "system"), ("posix", "system"), ("builtins", "eval"), ("subprocess", "Popen")]
    {
        let call = [format!("c{module}\n{name}\n(").into_bytes(), text(&command), b"tR".to_vec()].concat();
        refused(&checkpoint(&[("w", call.clone())]), &format!("asks to call `{module}.{name}`"));
        let root = [b"\x80\x02".to_vec(), call, b".".to_vec()].concat();
        refused(&pickled(&root), &format!("asks to call `{module}.{name}`"));
        let old = [format!("(i{module}\n{name}\n.")].concat().into_bytes();
        refused(&pickled(&old), &format!("asks to call `{module}.{name}`"));
    }
    assert!(!mark.exists());
}

#[test]
fn what_checkpoints_hold_beside_weights_is_passed_over() {
    let namespace = b"cargparse\nNamespace\n)R}X\x01\0\0\0aK\x01sb".to_vec();
    let instance = b"c__main__\nMeter\n)\x81}b".to_vec();
    let contents = decode(&checkpoint(&[
        ("w", tensor("0", 4, 0, &[4], &[1])),
        ("args", namespace),
        ("meter", instance),
        ("epoch", int(3)),
    ]));
    let contents = contents.unwrap();
    assert_eq!(contents.tensors.keys().collect::<Vec<_>>(), ["w"]);
    assert_eq!(
        contents.notes,
        [
            "`args` is an object of `argparse.Namespace`, not a tensor: passed over",
            "`meter` is an object of `__main__.Meter`, not a tensor: passed over",
            "`epoch` is a number, not a tensor: passed over",
        ]
    );
}

#[test]
fn pickles_are_bounded() {
    // Nested a million deep.
    refused(
        &pickled(&[vec![b']'; 1 << 19], vec![b'a'; (1 << 19) - 1], b".".to_vec()].concat()),
        "expected tensors",
    );
    refused(&pickled(&[vec![b'('; 1 << 20], b".".to_vec()].concat()), "nothing is on the stack");
    refused(&pickled(&[vec![b']'; 2 << 20], b".".to_vec()].concat()), "more than 1048576 values");
    // A list that holds itself twice, doubled over and over.
    let doubling = [b"]q\0".to_vec(), b"(h\0h\0e".repeat(10_000), b".".to_vec()].concat();
    refused(&pickled(&doubling), "expected tensors");
    let laughs: Vec<u8> =
        (0..250u8).flat_map(|level| [b'(', b'h', level, b'h', level, b'l', b'q', level + 1]).collect();
    refused(&pickled(&[b"]q\0".to_vec(), laughs, b".".to_vec()].concat()), "expected tensors");
    for (pickle, expected) in [
        (&b"X\xff\xff\xff\xff"[..], "cut at byte"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "cut at byte"),
        (b"\x80\x63.", "protocol 99"),
        (b"h\x07.", "nothing was stored under 7"),
        (b"R.", "nothing is on the stack"),
        (b"e.", "no mark"),
        (b"}(K\x01u.", "has no value"),
        (b"\xff.", "0xff is no operation"),
        (b"cos\nsystem", "a line has no end"),
        (b"", "cut at byte 0"),
    ] {
        refused(&pickled(pickle), expected);
    }
}

#[test]
fn archives_are_bounded() {
    let sound = checkpoint(&[("w", tensor("0", 4, 0, &[4], &[1]))]);
    let find =
        |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).rposition(|window| window == what).unwrap();
    let entry = find(&sound, b"a/data/0") - 46;
    assert_eq!(&sound[entry..entry + 4], b"PK\x01\x02");
    let patched = |at: usize, bytes: &[u8]| {
        let mut file = sound.clone();
        file[entry + at..][..bytes.len()].copy_from_slice(bytes);
        file
    };
    refused(&patched(10, &[8, 0]), "compressed or encrypted");
    refused(&patched(8, &[1, 0]), "compressed or encrypted");
    refused(&patched(24, &u32::MAX.to_le_bytes()), "not a whole zip archive");
    refused(&patched(24, &0x7fff_ffffu32.to_le_bytes()), "reaches beyond the end");
    refused(&patched(16, &[1, 2, 3, 4]), "checksum of entry");
    // Its data are those of the entry before.
    refused(&patched(42, &[0; 4]), "");
    refused(&archive(&[("a/readme", b"")]), "without `data.pkl`");
    refused(&archive(&[("m/data.pkl", b"N."), ("m/constants.pkl", b"N.")]), "TorchScript");
    refused(&archive(&[("m/data.pkl", b"N."), ("m/byteorder", b"big")]), "big-endian");
}

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

#[test]
fn safetensors_headers_are_checked_against_the_file() {
    let one = |shape: &str, offsets: &str| {
        let header = format!(r#"{{"w":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#);
        safetensors(&header, &[0; 8])
    };
    assert!(decode(&one("[2]", "[0,8]")).is_ok());
    for (shape, offsets) in [
        ("[3]", "[0,8]"),
        ("[2]", "[0,12]"),
        ("[2]", "[8,0]"),
        ("[18446744073709551615,2]", "[0,8]"),
        ("[4611686018427387904,4]", "[0,8]"),
        ("[2]", "[0,18446744073709551615]"),
        ("[-1]", "[0,8]"),
        ("[1]", "[0,4]"),
    ] {
        refused(&one(shape, offsets), "not a whole safetensors file");
    }
    let two = |second: &str| {
        let header = format!(
            r#"{{"a":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}},"b":{{"dtype":"F32","shape":[1],"data_offsets":{second}}}}}"#
        );
        safetensors(&header, &[0; 8])
    };
    assert!(decode(&two("[4,8]")).is_ok());
    refused(&two("[2,6]"), "not a whole safetensors file");
    refused(&two("[0,4]"), "not a whole safetensors file");
    let mut long = one("[2]", "[0,8]");
    long[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    refused(&long, "not a whole safetensors file");
    refused(&safetensors(&format!(r#"{{"w":{}"#, "[".repeat(100_000)), &[]), "not a whole safetensors file");
    let whole = safetensors(r#"{"w":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}}"#, &[0; 8]);
    refused(&whole, "w has type I32");
}

#[test]
fn files_cut_anywhere_are_refused() {
    for name in ["checkpoint_zip.pth", "checkpoint_older.pth", "checkpoint_expected.safetensors"] {
        let file = golden(name);
        for length in 0..file.len() {
            assert!(decode(&file[..length]).is_err(), "{name} cut at byte {length}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = decode(&bytes);
        let _ = decode(&pickled(&bytes));
        let _ = decode(&safetensors(&String::from_utf8_lossy(&bytes), &bytes));
    }

    #[test]
    fn random_pickles_do_no_harm(operations in proptest::collection::vec(
        proptest::sample::select(&b"N()]}.tlde0122aesuhq\0\x01\x02K\x05\x85\x86\x87\x81RbQX\x94\x93"[..]), 0..400)) {
        let _ = decode(&pickled(&operations));
    }

    #[test]
    fn altered_files_do_no_harm(
        which in 0..3usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut file = golden(["checkpoint_zip.pth", "checkpoint_older.pth", "checkpoint_expected.safetensors"][which]);
        for (place, byte) in changes {
            let place = place.index(file.len());
            file[place] = byte;
        }
        let _ = decode(&file);
    }
}
