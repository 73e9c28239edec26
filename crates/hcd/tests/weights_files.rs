//! Weights files of others: what PyTorch wrote is read as PyTorch reads it, whatever is wrapped around it.
#![allow(clippy::unwrap_used, missing_docs)]

use hcd::models::weights::{self, Contents, TensorMap};
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/import").join(name)
}

fn expected() -> TensorMap {
    weights::read::<serde_json::Value>(&golden("checkpoint_expected.safetensors")).unwrap().0
}

fn read(name: &str) -> Contents {
    weights::read_any(&golden(name)).unwrap()
}

#[test]
fn both_of_pytorchs_layouts_give_pytorchs_numbers() {
    for name in ["checkpoint_zip.pth", "checkpoint_older.pth"] {
        let contents = read(name);
        assert_eq!(contents.tensors, expected(), "{name}");
        assert!(contents.notes.is_empty(), "{name}: {:?}", contents.notes);
    }
}

#[test]
fn averaged_weights_are_taken_and_said_so() {
    let contents = read("averaged.pth");
    assert_eq!(contents.notes, ["took the weights under `state_dict_ema`, not those under `state_dict`"]);
    assert_eq!(contents.tensors.len(), 2);
    let plain = &expected()["whole.weight"];
    let raised: Vec<f32> = plain.values.iter().map(|value| value + 1.0).collect();
    assert_eq!(contents.tensors["whole.weight"].values, raised);
}

#[test]
fn a_whole_module_is_refused_with_the_remedy() {
    let error = weights::read_any(&golden("whole_module.pth")).unwrap_err().to_string();
    assert!(error.contains("torch.nn.modules.container.Sequential"), "{error}");
    assert!(error.contains("save `model.state_dict()` instead"), "{error}");
}

#[test]
fn what_is_no_weights_file_is_called_by_its_name() {
    let check = |bytes: &[u8], expected: &str| {
        let error = weights::decode_any(bytes, "file").unwrap_err().to_string();
        assert!(error.starts_with("file: ") && error.contains(expected), "{error}");
    };
    check(b"", "empty file");
    check(b"<!DOCTYPE html><html>", "a web page");
    check(b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull");
    check(b"\x80\x04K\x01.", "a Python pickle without PyTorch's tensors");
    check(b"\x89HDF\r\n\x1a\n", "HDF5");
    check(b"hello, world", "not a whole safetensors file");
    check(&[0; 4096], "not a whole safetensors file");
}
