//! The binary form: records of one length, and a text file that names the classes.
//!
//! ```text
//! CIFAR-10    label                      1024 × red   1024 × green   1024 × blue
//! CIFAR-100   coarse label, fine label   1024 × red   1024 × green   1024 × blue
//! ```
//! A byte each, pixels row by row.
//!
//! Source: <https://www.cs.toronto.edu/~kriz/cifar.html>, "Binary version".

use super::{Column, SAMPLES, Samples};

/// The images and labels of a file of records.
///
/// # Errors
/// Where it holds none, or a part of one.
pub(super) fn samples(bytes: &[u8], columns: &[Column]) -> Result<Samples, String> {
    let size = columns.len() + SAMPLES;
    if bytes.is_empty() || !bytes.len().is_multiple_of(size) {
        return Err(format!(
            "{} bytes, expected a multiple of {size} (one image and its labels)",
            bytes.len()
        ));
    }
    let mut samples = Samples::new(columns.len(), bytes.len() / size);
    for record in bytes.chunks_exact(size) {
        let (labels, planes) = record.split_at(columns.len());
        for (column, label) in samples.labels.iter_mut().zip(labels) {
            column.push(usize::from(*label));
        }
        samples.push(planes);
    }
    Ok(samples)
}

/// The names of the classes, one a line; empty lines may follow.
///
/// # Errors
/// Where the file is no text.
pub(super) fn names(bytes: &[u8]) -> Result<Vec<String>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("is no text ({error}), expected UTF-8"))?;
    Ok(text.trim_end().lines().map(|line| line.trim().to_owned()).collect())
}
