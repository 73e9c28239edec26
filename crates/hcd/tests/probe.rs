//! What is looked at inside a training: it changes nothing, and its figures are right where they are known.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use hcd::hcd::HcdConfig;
use hcd::methods::MethodConfig;
use hcd::train::{EpochRecord, Fitted, Objective, Probe, fit};
use support::{RESNET, SWIN, bits_of, experiment, live, method};

/// Two epochs by `method`; with `extra` in the recipe's `train`.
fn trained(student: &str, method: &MethodConfig, extra: &str) -> Fitted {
    let rest = format!(
        "train = {{ epochs = 2, batch_size = 12{extra} }}\noptimizer = {{ name = 'sgd', lr = 0.02 }}\n\
         schedule = {{ name = 'cosine' }}"
    );
    let experiment = experiment(student, &rest);
    let mut teacher = live(&support::expert(), &experiment);
    fit(&experiment, &mut Objective::Distilled { teacher: &mut teacher, method }, None, &mut ()).unwrap()
}

fn probes(fitted: &Fitted) -> Vec<&Probe> {
    fitted.history.epochs.iter().map(|epoch| &epoch.probe).collect()
}

fn norms(probe: &Probe) -> Vec<(&str, f64, f64)> {
    probe.gradients.iter().map(|found| (found.name.as_str(), found.student, found.heads)).collect()
}

#[test]
fn looking_changes_nothing() {
    for name in ["kd", "crd", "rsd", "hcd"] {
        let method = match method(name) {
            MethodConfig::Crd(config) => {
                MethodConfig::Crd(hcd::methods::CrdConfig { negatives: 8, ..config })
            }
            other => other,
        };
        let (plain, looked) =
            (trained(RESNET, &method, ""), trained(RESNET, &method, ", gradient_norms = true"));
        assert_eq!(bits_of(&plain.network), bits_of(&looked.network), "{name}");
        let blank = |epochs: &[EpochRecord]| -> Vec<EpochRecord> {
            epochs.iter().map(|epoch| EpochRecord { probe: Probe::default(), ..epoch.clone() }).collect()
        };
        assert_eq!(blank(&plain.history.epochs), blank(&looked.history.epochs), "{name}");
        assert!(probes(&plain).iter().all(|probe| probe.gradients.is_empty()));
        assert!(probes(&looked).iter().all(|probe| probe.gradients.len() > 1), "{name}");
    }
}

#[test]
fn each_term_reaches_what_it_should() {
    let detached = HcdConfig { detach_sub_logits: true, cosine_threshold: 0.0, ..HcdConfig::default() };
    let joined = HcdConfig { detach_sub_logits: false, ..detached.clone() };
    for (config, heads_follow) in [(detached, false), (joined, true)] {
        let fitted = trained(RESNET, &MethodConfig::Hcd(config), ", gradient_norms = true");
        for probe in probes(&fitted) {
            let found = norms(probe);
            let names: Vec<&str> = found.iter().map(|(name, ..)| *name).collect();
            assert_eq!(names, ["ce", "sub_ce", "kd", "sub_kl", "orth"]);
            assert!(found.iter().all(|(_, student, _)| *student > 0.0), "{found:?}");
            let reached: Vec<bool> = found.iter().map(|(.., heads)| *heads > 0.0).collect();
            assert_eq!(reached, [false, true, false, heads_follow, true], "{found:?}");
        }
    }
}

#[test]
fn a_term_of_weight_two_has_twice_the_gradient() {
    let of = |weight| {
        let MethodConfig::Kd(config) = method("kd") else { panic!("another method") };
        let config = hcd::methods::KdConfig { kd_weight: weight, ..config };
        // A rate near 0: both students stay where they began.
        let rest = "train = { epochs = 1, batch_size = 48, gradient_norms = true }\n\
                    optimizer = { name = 'sgd', lr = 1e-12 }";
        let experiment = experiment(RESNET, rest);
        let mut teacher = live(&support::expert(), &experiment);
        let method = MethodConfig::Kd(config);
        let mut objective = Objective::Distilled { teacher: &mut teacher, method: &method };
        let fitted = fit(&experiment, &mut objective, None, &mut ()).unwrap();
        fitted.history.epochs[0].probe.gradients.clone()
    };
    let (once, twice) = (of(1.0), of(2.0));
    assert!((once[0].student - twice[0].student).abs() < 1e-6 * once[0].student);
    assert!((2.0 * once[1].student - twice[1].student).abs() < 1e-5 * twice[1].student);
}

#[test]
fn sub_logits_of_hcd_alone_have_cosines() {
    let check = |student: &str, stages: &[usize]| {
        let fitted = trained(student, &method("hcd"), "");
        for probe in probes(&fitted) {
            assert_eq!(probe.cosines.iter().map(|found| found.stage).collect::<Vec<_>>(), stages);
            for matrix in probe.cosines.iter().map(|found| &found.matrix) {
                assert_eq!((matrix.len(), matrix[0].len()), (4, 4));
                for (row, column) in (0..4).flat_map(|row| (0..4).map(move |column| (row, column))) {
                    let cosine = matrix[row][column];
                    assert!(cosine.abs() <= 1.0 + 1e-5 && (cosine - matrix[column][row]).abs() < 1e-5);
                    assert!(row != column || (cosine - 1.0).abs() < 1e-5, "{cosine}");
                }
            }
        }
    };
    check(RESNET, &[1, 2, 3, 4]);
    check(SWIN, &[1, 2]);
    assert!(probes(&trained(RESNET, &method("kd"), "")).iter().all(|probe| probe.is_empty()));
}
