//! What users bring themselves: the worked examples of docs/own.md, compiled and run.
#![allow(clippy::unwrap_used, missing_docs, dead_code)] // dead: the examples' main

#[path = "../examples/own_data.rs"]
mod own_data;
#[path = "../examples/own_method.rs"]
mod own_method;
#[path = "../examples/own_model.rs"]
mod own_model;

use hcd::models::weights;
use std::path::Path;

/// The repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[test]
fn a_method_of_ones_own_teaches() {
    let losses = own_method::train(Path::new(ROOT), 3).unwrap();
    assert!(losses.len() == 3 && losses[2] < losses[0], "{losses:?}");
}

#[test]
fn a_model_of_ones_own_is_taught_by_hcd_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let losses = own_model::train(Path::new(ROOT), folder.path(), 3).unwrap();
    assert!(losses.len() == 3 && losses[2] < losses[0], "{losses:?}");
    let (tensors, _) = weights::read::<()>(&folder.path().join("student.safetensors")).unwrap();
    assert!(
        tensors.contains_key("blocks.2.pointwise.weight") && tensors.contains_key("stem_norm.running_var")
    );
    // What is finished is read from its checkpoint: the same figures.
    assert_eq!(own_model::train(Path::new(ROOT), folder.path(), 3).unwrap(), losses);
}

#[test]
fn a_data_set_of_ones_own_is_learned() {
    let top1 = own_data::train(6).unwrap();
    assert!(top1 > 90.0, "{top1} %");
}
