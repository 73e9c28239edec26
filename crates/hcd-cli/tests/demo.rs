//! The demo with the repository's own data and teacher, cut to two epochs.
#![allow(clippy::unwrap_used, missing_docs)]

use assert_cmd::Command;
use serde_json::Value;
use std::path::Path;

fn demo(out: &Path) -> Value {
    let output = Command::cargo_bin("hcd")
        .unwrap()
        .args(["demo", "--epochs", "2", "--json", "--out"])
        .arg(out)
        .assert()
        .success()
        .get_output()
        .stdout
        .clone();
    serde_json::from_slice(&output).unwrap()
}

fn metrics(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn students_improve_and_the_report_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let result = demo(&out);
    let teacher = result["teacher"]["top1"].as_f64().unwrap();
    let methods = result["methods"].as_array().unwrap();
    let names: Vec<&str> = methods.iter().map(|method| method["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["scratch", "kd", "hcd"]);
    for method in methods {
        let name = method["name"].as_str().unwrap();
        assert!(
            teacher >= method["top1"].as_f64().unwrap() + 3.0,
            "{name} is close to the teacher's {teacher}"
        );
        assert!(method["seconds"].as_f64().unwrap() > 0.0);
        let run = out.join(name).join("seed-0");
        let epochs = metrics(&run);
        let seen = |epoch: usize| epochs[epoch]["validation"]["top1"].as_f64().unwrap();
        assert!(seen(0) > 30.0, "{name}: {} % after the first epoch, where chance is 10 %", seen(0));
        assert!(epochs[1]["loss"].as_f64() < epochs[0]["loss"].as_f64(), "{name}: the loss did not fall");
        for file in ["recipe.toml", "student.safetensors", "student-best.safetensors"] {
            assert!(run.join(file).is_file(), "{name}: no {file}");
        }
    }
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("src=\"http"));
}
