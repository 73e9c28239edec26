//! The files of `crates/hcd/src/models/weights` that read what strangers wrote, compiled without Burn, and what
//! must hold whatever they are given.

#[allow(dead_code)]
mod weights;

pub use weights::tensor::{HostTensor, TensorMap};

use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Reads a file; what comes out has as many values as its shapes say, and no more than the file has bytes.
pub fn check(file: &[u8]) -> Option<TensorMap> {
    match weights::open::decode(file) {
        Ok(contents) => {
            let numbers: usize = contents.tensors.values().map(|tensor| tensor.values.len()).sum();
            assert!(numbers <= file.len(), "{numbers} numbers of {} bytes", file.len());
            for (name, HostTensor { shape, values }) in &contents.tensors {
                assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}");
            }
            Some(contents.tensors)
        }
        Err(what) => {
            assert!(!what.is_empty());
            None
        }
    }
}

/// An archive of PyTorch's with this pickle and one storage of 16 floats.
pub fn archive(pickle: &[u8]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut add = |name: &str, bytes: &[u8]| {
        writer.start_file(name, stored).expect("a short name");
        writer.write_all(bytes).expect("memory does not fail");
    };
    add("a/data.pkl", pickle);
    add("a/data/0", &[1; 64]);
    writer.finish().expect("memory does not fail").into_inner()
}

/// Names translated for a network: none is lost unless the rules say so, or the file is refused.
pub fn translate(names: &[&str], wanted: &[&str]) {
    let tensor = || HostTensor { shape: vec![1], values: vec![0.0] };
    let file: TensorMap = names.iter().map(|name| ((*name).to_owned(), tensor())).collect();
    let before = file.len();
    if let Ok((tensors, _)) = weights::naming::translate(file, wanted) {
        assert!(tensors.len() <= before);
    }
}
