//! `hcd export --format onnx`, as a user sees it. What is in the file, the library's tests ask of tract.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use serde_json::json;
use support::World;
use support::refusals::{case, check, sound};

#[test]
fn a_network_is_written_as_onnx() {
    let world = World::new();
    let line = "export --weights teacher.safetensors --format onnx";
    let told = world.hcd(&format!("{line} --out teacher.onnx --json")).succeeded().json();
    let file = world.read("teacher.onnx");
    assert_eq!((&told["file"], &told["bytes"]), (&json!("teacher.onnx"), &json!(file.len())));
    let text = String::from_utf8_lossy(&file);
    for part in ["images", "logits", "batch", "LayerNormalization", "patch_embed.proj.weight"] {
        assert!(text.contains(part), "{part} is not in the file");
    }
    // The same bytes again; fewer as f16.
    world.hcd(&format!("{line} --out again.onnx")).succeeded();
    assert!(world.read("again.onnx") == file);
    world.hcd(&format!("{line} --out half.onnx --precision f16")).succeeded();
    assert!(world.read("half.onnx").len() < file.len());
}

#[test]
fn what_cannot_be_written_is_refused() {
    check(&[
        case(
            sound,
            "export --weights teacher.safetensors --format onnx --out teacher.safetensors",
            &["already there"],
        ),
        case(
            sound,
            "export --weights absent.safetensors --format onnx --out a.onnx",
            &["absent.safetensors"],
        ),
        case(sound, "export --weights teacher.safetensors --format onyx --out a.onnx", &["onyx", "onnx"]),
        case(
            other_images,
            "export --weights other.safetensors --format onnx --out a.onnx",
            &["other.safetensors: metadata `hcd`", "takes images of 1x12x12, not 2x12x12"],
        ),
    ]);
}

/// A file that says its network takes images of another number of channels.
fn other_images(world: &World) {
    let mut file = world.read("teacher.safetensors");
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let mut card: serde_json::Value =
        serde_json::from_str(header["__metadata__"]["hcd"].as_str().unwrap()).unwrap();
    card["image"]["channels"] = json!(2);
    card["normalization"] = json!({ "mean": [0.5, 0.5], "std": [0.5, 0.5] });
    header["__metadata__"]["hcd"] = json!(card.to_string());
    let header = header.to_string();
    let mut changed = (header.len() as u64).to_le_bytes().to_vec();
    changed.extend(header.as_bytes());
    changed.extend(file.drain(8 + length..));
    world.write("other.safetensors", &changed);
}
