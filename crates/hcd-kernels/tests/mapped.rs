//! Files mapped for reading.
#![allow(clippy::unwrap_used, missing_docs)]

use hcd_kernels::mapped::Mapped;
use std::io::{Seek, SeekFrom, Write};

#[test]
fn bytes_are_those_of_the_file() {
    let mut file = tempfile::tempfile().unwrap();
    let bytes: Vec<u8> = (0..10_000).map(|at| (at % 251) as u8).collect();
    file.write_all(&bytes).unwrap();
    let mapped = Mapped::new(&file, bytes.len()).unwrap();
    for (place, length) in [(0, 0), (0, 1), (1, 4095), (4095, 2), (9_999, 1), (10_000, 0), (0, 10_000)] {
        let mut found = vec![0; length];
        mapped.copy(place, &mut found);
        assert_eq!(found, bytes[place..place + length], "{place} + {length}");
    }
    // What is written after the file was mapped is seen.
    file.seek(SeekFrom::Start(5)).unwrap();
    file.write_all(&[255]).unwrap();
    let mut found = [0];
    mapped.copy(5, &mut found);
    assert_eq!(found, [255]);
}

#[test]
fn a_shorter_file_is_refused() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[1, 2, 3]).unwrap();
    assert!(Mapped::new(&file, 4).is_err());
    assert!(Mapped::new(&file, 3).is_ok());
}

#[test]
#[should_panic(expected = "mapped: 2 + 2 of 3 bytes")]
fn nothing_beyond_the_end_is_read() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[1, 2, 3]).unwrap();
    Mapped::new(&file, 3).unwrap().copy(2, &mut [0; 2]);
}
