//! Between teacher and student: who sees what, what stays as it was, and what is left behind.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use hcd::burn::tensor::Tensor;
use hcd::data::HostBatch;
use hcd::export;
use hcd::models::weights;
use hcd::models::{Network, Parameters};
use hcd::teacher::{Live, Recorded, Teacher, TeacherOutput, ViewKey};
use hcd::train::{History, Learner, Objective, RunFolder, fit};
use std::collections::BTreeSet;
use support::{RESNET, batches, bits, bits_of, experiment, live, method, under};

#[test]
fn a_distillation_leaves_the_teacher_as_it_was() {
    let expert = support::expert();
    // A CNN as well: its statistics would move in training mode.
    let lesson = experiment(RESNET, "train = { epochs = 1, batch_size = 16 }");
    let fitted = fit(&lesson, &mut Objective::Supervised, None, &mut ()).unwrap();
    let cnn = export::Loaded {
        network: fitted.network,
        card: lesson.card("a CNN".to_owned()).unwrap(),
        notes: Vec::new(),
    };
    let pupil = experiment(RESNET, "seed = 1\ntrain = { epochs = 2, batch_size = 16, ema_decay = 0.5 }");
    for expert in [expert, cnn] {
        let before = bits_of(&expert.network);
        let (method, mut teacher) = (method("hcd"), Live::new(expert, &pupil.normalization, &pupil.device));
        fit(&pupil, &mut Objective::Distilled { teacher: &mut teacher, method: &method }, None, &mut ())
            .unwrap();
        assert_eq!(bits_of(teacher.network()), before);
    }
}

/// Notes what it is asked.
struct Spy {
    inner: Live,
    asked: Vec<(ViewKey, HostBatch)>,
}

impl Teacher for Spy {
    fn answer(&mut self, batch: &HostBatch, views: ViewKey) -> hcd::Result<TeacherOutput> {
        self.asked.push((views, batch.clone()));
        self.inner.answer(batch, views)
    }

    fn width(&self) -> usize {
        self.inner.width()
    }
}

#[test]
fn methods_start_from_the_same_student_and_see_the_same_views() {
    let expert = support::expert();
    let experiment = experiment(RESNET, "seed = 3\ntrain = { epochs = 2, batch_size = 16 }");
    let start = Learner::new(&experiment, &Objective::Supervised).unwrap().snapshot();
    let plain = weights::snapshot(&Network::new(experiment.model.as_ref().unwrap(), 3, &experiment.device));
    assert_eq!(bits(&under("student.", &start)), bits(&plain));
    let mut seen = Vec::new();
    for name in ["kd", "hcd"] {
        let method = method(name);
        let mut spy = Spy { inner: live(&expert, &experiment), asked: Vec::new() };
        let mut objective = Objective::Distilled { teacher: &mut spy, method: &method };
        let learner = Learner::new(&experiment, &objective).unwrap();
        assert_eq!(bits(&under("student.", &learner.snapshot())), bits(&plain), "{name}");
        fit(&experiment, &mut objective, None, &mut ()).unwrap();
        seen.push(spy.asked);
    }
    assert_eq!(seen[0].len(), 6);
    assert!(seen[0] == seen[1], "kd and hcd saw other views");
    let of = |epoch: u64| batches(&experiment, epoch).into_iter().map(move |batch| (epoch, batch));
    let expected: Vec<_> = of(0).chain(of(1)).collect();
    let asked: Vec<_> = seen[0].iter().map(|(key, batch)| (key.number, batch.clone())).collect();
    assert!(asked == expected, "the teacher saw other views than the student");
    assert!(seen[0].iter().all(|(key, _)| key.seed == 3));
}

#[test]
fn a_recorded_teacher_says_what_a_live_one_says_and_looks_once() {
    let expert = support::expert();
    let experiment = experiment(RESNET, "train = { epochs = 2, batch_size = 10 }");
    let mut direct = live(&expert, &experiment);
    let mut recorded = Recorded::new(live(&expert, &experiment), 80);
    let answer = |output: TeacherOutput| {
        let bits = |tensor: Tensor<2>| tensor.into_data().iter::<f32>().map(f32::to_bits).collect();
        (bits(output.penultimate), bits(output.logits))
    };
    for round in 0..2 {
        for epoch in 0..2 {
            let key = ViewKey { seed: 0, number: epoch };
            for batch in batches(&experiment, epoch) {
                let expected: (Vec<u32>, Vec<u32>) = answer(direct.answer(&batch, key).unwrap());
                assert_eq!(answer(recorded.answer(&batch, key).unwrap()), expected, "round {round}");
            }
        }
        assert_eq!(recorded.asked(), 80, "round {round}: 2 epochs of 4 batches of 10");
    }
    assert_eq!(recorded.width(), direct.width());
    let method = method("hcd");
    let trained = |teacher: &mut dyn Teacher| {
        let fitted = fit(&experiment, &mut Objective::Distilled { teacher, method: &method }, None, &mut ());
        bits_of(&fitted.unwrap().network)
    };
    assert_eq!(trained(&mut recorded), trained(&mut direct));
    assert_eq!(recorded.asked(), 80);
    recorded.clear();
    let first = &batches(&experiment, 0)[0];
    recorded.answer(first, ViewKey { seed: 0, number: 0 }).unwrap();
    assert_eq!(recorded.asked(), 90);

    // Where not all would fit, none is kept.
    let views = Recorded::MOST_BYTES / (direct.width() * size_of::<f32>());
    for (views, asked) in [(views, 10), (views + 1, 20)] {
        let mut recorded = Recorded::new(live(&expert, &experiment), views);
        for _ in 0..2 {
            recorded.answer(first, ViewKey { seed: 0, number: 0 }).unwrap();
        }
        assert_eq!((recorded.asked(), recorded.remembers()), (asked, asked == 10));
    }
}

#[test]
fn heads_are_checkpointed_and_never_exported() {
    let expert = support::expert();
    let text = "train = { epochs = 1, batch_size = 16, ema_decay = 0.9 }";
    let experiment = experiment(RESNET, text);
    let folder = tempfile::tempdir().unwrap();
    let (method, mut teacher) = (method("hcd"), live(&expert, &experiment));
    let mut objective = Objective::Distilled { teacher: &mut teacher, method: &method };
    let resolved = support::resolve(RESNET, text);
    let run = RunFolder::create(folder.path(), &resolved, &experiment, &objective).unwrap();
    let fitted = fit(&experiment, &mut objective, Some(&run), &mut ()).unwrap();
    let plain: BTreeSet<String> = Network::new(experiment.model.as_ref().unwrap(), 0, &experiment.device)
        .named()
        .into_iter()
        .map(|tensor| tensor.name)
        .collect();
    for path in [run.last(), run.best()] {
        let (tensors, card) = weights::read::<export::Card>(&path).unwrap();
        assert_eq!(tensors.into_keys().collect::<BTreeSet<_>>(), plain);
        let card = card.unwrap();
        assert_eq!((card.model.as_str(), Some(&card.config)), ("resnet10_small", experiment.model.as_ref()));
        assert_eq!((card.classes.len(), &card.normalization), (3, &experiment.normalization));
        assert!(card.run.starts_with("hcd, seed 0"), "{}", card.run);
    }
    let tensors = run.checkpoints().newest::<History>().unwrap().unwrap().tensors;
    let names = |prefix: &str| under(prefix, &tensors).into_keys().collect::<BTreeSet<_>>();
    assert_eq!((names("student."), names("ema.")), (plain.clone(), plain));
    let heads = names("heads.");
    assert!(heads.iter().any(|name| name.contains("projector")), "{heads:?}");
    assert!(heads.iter().any(|name| name.contains("feature_mapper")), "{heads:?}");
    let learned = |name: &&String| !name.contains("running_");
    let sizes =
        under("heads.", &tensors).into_iter().filter(|(name, _)| learned(&name)).map(|(_, t)| t.values.len());
    assert_eq!(sizes.sum::<usize>(), fitted.head_parameters);
    // The optimiser moves all of them.
    assert_eq!(names("optimizer.first.heads.").len(), heads.iter().filter(learned).count());
}
