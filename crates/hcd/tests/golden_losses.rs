//! Losses and methods against `golden/losses`: every term, every total and every gradient, through the code
//! that the methods run.
//!
//! The values were made in f64 with PyTorch from the formulas of `docs/method.md` and are stored in f32;
//! `golden/README.md` explains the files. `HCD_GOLDEN_LOSSES` names another folder of such files.
#![allow(clippy::unwrap_used, missing_docs)]

use burn::tensor::{Device, Tensor, TensorData};
use hcd::hcd::{HcdConfig, OrthogonalityOn, StageReduction};
use hcd::losses::{correlation_congruence, ofa, redundancy_suppression, relative_angles, relative_distances};
use hcd::methods::{DistConfig, DkdConfig, KdConfig, Targets, Term, sub_logit_terms, total};
use safetensors::SafeTensors;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// We compute in f32 what was made in f64: a few thousand roundings of 6e-8 in sums of up to 6,400 entries.
const RELATIVE: f64 = 1e-4;
/// Rounding of values of order 1 that cancel to (almost) nothing.
const ABSOLUTE: f64 = 1e-6;
/// ε of the labels where a file does not say `ls`.
const SMOOTHING: f64 = 0.1;

/// Files that the default folder must hold.
const KNOWN: &[&str] = &[
    "cc",
    "dist",
    "dkd",
    "hcd_c100",
    "hcd_default",
    "hcd_detach_stage_mean",
    "hcd_extreme",
    "hcd_no_smoothing",
    "hcd_one_stage",
    "hcd_one_sub_logit",
    "hcd_orth_on_sub",
    "hcd_t4",
    "hcd_theta025",
    "hcd_weights",
    "kd_logit_std",
    "kd_t1",
    "kd_t4",
    "ofa_g1.0",
    "ofa_g1.5",
    "rkd",
    "rsd",
];

#[test]
fn every_golden_file_is_met() {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/losses");
    let replaced = std::env::var_os("HCD_GOLDEN_LOSSES").map(PathBuf::from);
    let folder = replaced.clone().unwrap_or(default);
    let files = files_of(&folder);
    assert!(!files.is_empty(), "{}: no golden files", folder.display());
    let mut problems = Vec::new();
    if replaced.is_none() {
        let missing = KNOWN.iter().filter(|name| !files.contains_key(**name));
        problems.extend(missing.map(|name| format!("{name}: file missing from {}", folder.display())));
    }
    for (name, path) in &files {
        problems.extend(compare(name, path).into_iter().map(|problem| format!("{name}: {problem}")));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn files_of(folder: &Path) -> BTreeMap<String, PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    let golden = paths.filter(|path| path.extension().is_some_and(|ending| ending == "safetensors"));
    golden.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path)).collect()
}

/// Everything in which our values differ from one file's.
fn compare(name: &str, path: &Path) -> Vec<String> {
    let golden = Golden::read(path);
    let ours = match name.split('_').next() {
        Some("hcd") => hcd_values(&golden),
        Some("kd") => kd_values(&golden),
        Some("dkd") => dkd_values(&golden),
        Some("dist") => dist_values(&golden),
        Some("ofa") => ofa_values(&golden),
        Some("cc") => cc_values(&golden),
        Some("rkd") => rkd_values(&golden),
        Some("rsd") => rsd_values(&golden),
        _ => return vec!["no test knows this file".into()],
    };
    let mut problems = golden.unread();
    let theirs = golden.results();
    let known: BTreeSet<String> = ours.keys().cloned().collect();
    problems
        .extend(theirs.difference(&known).map(|key| format!("{key} is in the file, and no test knows it")));
    problems.extend(known.difference(&theirs).map(|key| format!("{key} is missing from the file")));
    for key in known.intersection(&theirs) {
        problems.extend(
            first_difference(&ours[key], &golden.tensors[key].values).map(|text| format!("{key}{text}")),
        );
    }
    problems
}

fn first_difference(ours: &[f64], theirs: &[f64]) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!(" has {} values, expected {}", ours.len(), theirs.len()));
    }
    let close = |ours: f64, theirs: f64| (ours - theirs).abs() <= ABSOLUTE + RELATIVE * theirs.abs();
    let index = (0..ours.len()).find(|&index| !close(ours[index], theirs[index]))?;
    Some(format!("[{index}] = {}, expected {}", ours[index], theirs[index]))
}

/// `out.*` and `grad.*` by key.
type Values = BTreeMap<String, Vec<f64>>;

fn hcd_values(golden: &Golden) -> Values {
    let config = HcdConfig {
        sub_logit_scale: golden.number("lam_s", 1.0),
        teacher_scale: golden.number("lam_t", 1.0),
        temperature: golden.number("T", 1.0),
        cosine_threshold: golden.number("theta", 0.5),
        ce_weight: golden.number("omega", 1.0),
        kd_weight: golden.number("alpha", 1.0),
        sub_kl_weight: golden.number("lam", 6.0),
        orthogonality_weight: golden.number("beta", 1.0),
        detach_sub_logits: golden.flag("detach"),
        stage_reduction: if golden.flag("stage_mean") { StageReduction::Mean } else { StageReduction::Sum },
        orthogonality_on: match golden.switch("on").as_deref() {
            None | Some("fused") => OrthogonalityOn::Fused,
            Some("sub") => OrthogonalityOn::Sub,
            Some(other) => panic!("on = {other}, must be fused or sub"),
        },
        ..HcdConfig::default()
    };
    let stages =
        (1..).take_while(|stage| golden.tensors.contains_key(&format!("in.sub_logits_{stage}"))).count();
    let student = golden.input::<2>("student_logits").require_grad();
    let subs: Vec<Tensor<3>> =
        (1..=stages).map(|stage| golden.input::<3>(&format!("sub_logits_{stage}")).require_grad()).collect();
    let teacher = golden.input::<2>("teacher_logits");
    let terms = sub_logit_terms(&config, student.clone(), teacher, subs.clone(), &golden.targets());
    let mut values = outputs(&terms);
    let gradients = total(&terms).unwrap().backward();
    values.insert("grad.student_logits".into(), read(student.grad(&gradients).unwrap()));
    for (index, sub) in subs.iter().enumerate() {
        values.insert(format!("grad.sub_logits_{}", index + 1), read(sub.grad(&gradients).unwrap()));
    }
    values
}

fn kd_values(golden: &Golden) -> Values {
    let config = KdConfig {
        temperature: golden.number("T", 1.0),
        standardise: golden.flag("standardize"),
        ..KdConfig::default()
    };
    golden.targets();
    alone(golden, "logits", |student, teacher| config.logit_terms(student, teacher))
}

fn dkd_values(golden: &Golden) -> Values {
    let config = DkdConfig {
        temperature: golden.number("T", 1.0),
        tckd_weight: golden.number("alpha", 1.0),
        nckd_weight: golden.number("beta", 2.0),
        ..DkdConfig::default()
    };
    let targets = golden.targets();
    alone(golden, "logits", |student, teacher| config.logit_terms(student, teacher, &targets))
}

fn dist_values(golden: &Golden) -> Values {
    let config = DistConfig {
        temperature: golden.number("T", 1.0),
        inter_weight: golden.number("beta", 1.0),
        intra_weight: golden.number("gamma", 1.0),
        ..DistConfig::default()
    };
    golden.targets();
    alone(golden, "logits", |student, teacher| config.logit_terms(student, teacher))
}

fn ofa_values(golden: &Golden) -> Values {
    let (gamma, temperature) = (golden.number("gamma", 1.0), golden.number("T", 1.0));
    let hard = golden.targets().hard;
    let term = |raw| vec![Term { name: "ofa", raw, weight: 1.0 }];
    alone(golden, "logits", |student, teacher| term(ofa(student, teacher, hard, gamma, temperature)))
}

fn cc_values(golden: &Golden) -> Values {
    let weight = golden.number("scale", 0.02);
    let term = |raw| vec![Term { name: "cc", raw, weight }];
    alone(golden, "embedding", |student, teacher| term(correlation_congruence(student, teacher)))
}

fn rkd_values(golden: &Golden) -> Values {
    let [distances, angles] =
        [("distance_weight", 25.0), ("angle_weight", 50.0)].map(|(name, usual)| golden.number(name, usual));
    alone(golden, "features", |student, teacher| {
        let raw = relative_distances(student.clone(), teacher.clone());
        let angle = relative_angles(student, teacher);
        vec![
            Term { name: "distance", raw, weight: distances },
            Term { name: "angle", raw: angle, weight: angles },
        ]
    })
}

fn rsd_values(golden: &Golden) -> Values {
    let kappa = golden.number("kappa", 0.01);
    let term = |raw| vec![Term { name: "rsd", raw, weight: 1.0 }];
    alone(golden, "embedding", |student, teacher| term(redundancy_suppression(student, teacher, kappa)))
}

/// Of files that hold a method's terms alone, without the labels' cross-entropy: their sum and the gradient of what the
/// student says, `in.student_…` beside `in.teacher_…`.
fn alone(golden: &Golden, of: &str, terms: impl FnOnce(Tensor<2>, Tensor<2>) -> Vec<Term>) -> Values {
    let student = golden.input::<2>(&format!("student_{of}")).require_grad();
    let sum = total(&terms(student.clone(), golden.input::<2>(&format!("teacher_{of}")))).unwrap();
    let gradients = sum.backward();
    Values::from([
        ("out.total".into(), read(sum)),
        (format!("grad.student_{of}"), read(student.grad(&gradients).unwrap())),
    ])
}

fn outputs(terms: &[Term]) -> Values {
    let mut values: Values =
        terms.iter().map(|term| (format!("out.{}", term.name), read(term.raw.clone()))).collect();
    values.insert("out.total".into(), read(total(terms).unwrap()));
    values
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

struct GoldenTensor {
    shape: Vec<usize>,
    values: Vec<f64>,
}

/// One file: tensors and switches. Inputs and switches that no test asked for are found out in the end.
struct Golden {
    tensors: BTreeMap<String, GoldenTensor>,
    switches: BTreeMap<String, String>,
    asked: std::cell::RefCell<BTreeSet<String>>,
}

impl Golden {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let switches = header.metadata().clone().unwrap_or_default().into_iter().collect();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.iter().map(|(name, view)| {
            let values = match view.dtype() {
                safetensors::Dtype::F32 => numbers(view.data(), |bytes| f32::from_le_bytes(bytes).into()),
                safetensors::Dtype::I64 => numbers(view.data(), |bytes| i64::from_le_bytes(bytes) as f64),
                other => panic!("{}: {name} is {other:?}, must be F32 or I64", path.display()),
            };
            (name.to_owned(), GoldenTensor { shape: view.shape().to_vec(), values })
        });
        Self { tensors: tensors.collect(), switches, asked: Default::default() }
    }

    fn tensor(&self, key: &str) -> &GoldenTensor {
        self.asked.borrow_mut().insert(key.to_owned());
        self.tensors.get(key).unwrap_or_else(|| panic!("{key} is missing from the file"))
    }

    fn input<const D: usize>(&self, name: &str) -> Tensor<D> {
        let tensor = self.tensor(&format!("in.{name}"));
        let values: Vec<f32> = tensor.values.iter().map(|&value| value as f32).collect();
        Tensor::from_data(TensorData::new(values, tensor.shape.clone()), &Device::flex().autodiff())
    }

    fn targets(&self) -> Targets {
        let labels: Vec<usize> =
            self.tensor("in.labels").values.iter().map(|&label| label as usize).collect();
        let classes = self.tensor("in.student_logits").shape[1];
        Targets::from_labels(&labels, classes, self.number("ls", SMOOTHING), &Device::flex()).unwrap()
    }

    fn switch(&self, name: &str) -> Option<String> {
        self.asked.borrow_mut().insert(name.to_owned());
        self.switches.get(name).cloned()
    }

    fn number(&self, name: &str, default: f64) -> f64 {
        self.switch(name).map_or(default, |text| text.parse().unwrap())
    }

    fn flag(&self, name: &str) -> bool {
        match self.switch(name).as_deref() {
            None | Some("False") => false,
            Some("True") => true,
            Some(other) => panic!("{name} = {other}, must be True or False"),
        }
    }

    /// Outputs and gradients.
    fn results(&self) -> BTreeSet<String> {
        self.tensors.keys().filter(|key| !key.starts_with("in.")).cloned().collect()
    }

    fn unread(&self) -> Vec<String> {
        let asked = self.asked.borrow();
        let inputs = self.tensors.keys().filter(|key| key.starts_with("in."));
        let unread = inputs.chain(self.switches.keys()).filter(|key| !asked.contains(*key));
        unread.map(|key| format!("{key} is in the file, and no test knows it")).collect()
    }
}

fn numbers<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes.chunks_exact(N).map(|chunk| read(chunk.try_into().unwrap())).collect()
}
