//! What the user can mend in recipes and flags: one line that names it and the remedy, exit code 2, and nothing begun.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::World;
use support::refusals::{case, check, sound};

#[test]
fn recipes() {
    check(&[
        case(sound, "train nope.toml --out run", &["nope.toml: cannot read", "No such file"]),
        case(sound, "train data --out run", &["data: cannot read", "directory"]),
        case(sound, "train teacher.safetensors --out run", &["teacher.safetensors: cannot read", "UTF-8"]),
        case(
            |world| world.write("bad.toml", "seed = 1\n[data\npath = \"data\"\n"),
            "train bad.toml --out run",
            &["bad.toml: line 2", "`[data`", "expected `]`"],
        ),
        case(
            |world| world.write("bad.toml", "seed = 1\n\nseed = 2\n"),
            "recipe bad.toml",
            &["bad.toml: line 3", "duplicate", "`seed = 2`"],
        ),
        case(
            |world| world.edit("student.toml", "epochs = 2", "epoch = 2"),
            "train student.toml --out run",
            &["student.toml: train.epoch: unknown field", "`epochs`"],
        ),
        case(
            |world| world.edit("student.toml", "[train]", "[trian]"),
            "train student.toml --out run",
            &["student.toml: trian: unknown field", "`train`"],
        ),
        case(
            |world| world.edit("student.toml", "epochs = 2", "epochs = \"two\""),
            "train student.toml --out run",
            &["student.toml: train.epochs: invalid type: string \"two\", expected u64"],
        ),
        // Sections that come in kinds name the key as well.
        case(
            sound,
            "train student.toml --out run --set optimizer.weight_decay=x",
            &["student.toml: optimizer.weight_decay: invalid type: string \"x\", expected f64"],
        ),
        case(
            sound,
            "distill student.toml --out run --set method.mapper=x --set method.stages=3",
            &["method.mapper: ", "`mlp`", "`linear`", "method.stages: expected \"all\", or a list of stages"],
        ),
        case(
            sound,
            "train student.toml --out run --set optimizer.name=adam",
            &["optimizer.name", "`adam`", "`adamw`"],
        ),
        case(sound, "train student.toml --out run --set optimizer=3", &["optimizer: invalid type: integer"]),
        case(sound, "train student.toml --out run --lr -1", &["optimizer.lr = -1, must be above 0"]),
        case(sound, "train student.toml --out run --lr nan", &["optimizer.lr = NaN, must be above 0"]),
        case(sound, "train student.toml --out run --epochs 0", &["train.epochs = 0, must be at least 1"]),
        case(
            sound,
            "train student.toml --out run --batch-size 0",
            &["train.batch_size = 0, must be at least 1"],
        ),
        case(
            sound,
            "train student.toml --out run --set data.validation=1",
            &["data.validation = 1, must be in [0, 1)"],
        ),
        case(
            sound,
            "train student.toml --set data.per_class=0 --out run",
            &["data.per_class = 0, must be at least 1"],
        ),
        case(
            |world| world.write("own.toml", "[data]\npath = \"data\"\n[student]\nname = \"own\"\n"),
            "train own.toml --out run",
            &["student.name = \"own\"", "a program brings itself", "hcd models"],
        ),
        case(
            sound,
            "train student.toml --out run --set data.views.horizontal_flip=2",
            &["data.views.horizontal_flip = 2", "from 0 to 1"],
        ),
        case(
            sound,
            "train student.toml --out run --student resnet99",
            &["student.toml: student.name = \"resnet99\", expected one of resnet18, "],
        ),
        case(
            sound,
            "train student.toml --out run --set student.width=8",
            &["student.width: unknown option of `resnet10_small`", "widths"],
        ),
        case(
            sound,
            "train student.toml --out run --set student.widths=[4,4]",
            &["student.widths = [4, 4]: invalid length 2, expected an array of length 4"],
        ),
        case(
            sound,
            "train student.toml --out run --set student.widths=[4,0,8,8]",
            &["resnet10_small", "widths must be at least 1"],
        ),
        case(
            |world| world.write("bad.toml", "[train]\nepochs = 1\n"),
            "train bad.toml --out run",
            &["bad.toml: data.path is missing", "--data PATH", "student.name is missing", "--student NAME"],
        ),
        case(sound, "train --out run", &["data.path is missing", "student.name is missing"]),
        // Everything at once, each thing once.
        case(
            |world| {
                world.edit("student.toml", "path = \"data\"", "path = 3");
                world.edit("student.toml", "epochs = 2", "epoch = 2");
                world.edit("student.toml", "batch_size = 10", "batch_size = \"ten\"");
            },
            "distill student.toml --out run --lr -1 --student resnet99 --method abc --set seed=x",
            &[
                "data.path: invalid type: integer `3`",
                "train.epoch: unknown field",
                "train.batch_size: invalid type",
                "optimizer.lr = -1",
                "student.name = \"resnet99\"",
                "method.name: unknown variant `abc`",
                "seed: invalid type: string \"x\"",
            ],
        ),
        case(
            |world| world.edit("student.toml", "[student]", "[model]\nname = \"resnet18\"\n[student]"),
            "train student.toml --out run",
            &["[model] and [student] name the same thing"],
        ),
    ]);
}

#[test]
fn one_problem_is_told_once() {
    let world = World::new();
    let told = world.hcd("distill student.toml --out run --method abc").refusal().unwrap();
    let expected = "error: student.toml: method.name: unknown variant `abc`, expected one of `kd`, `dkd`, `dist`, `ofa`, \
                    `fitnet`, `cc`, `rkd`, `crd`, `rsd`, `hcd`";
    assert_eq!(told, expected);
    let told = world.hcd("train student.toml --out run --set data.path=3").refusal().unwrap();
    assert_eq!(told, "error: student.toml: data.path: invalid type: integer `3`, expected path string");
}

#[test]
fn flags() {
    check(&[
        case(
            sound,
            "train student.toml --out run --set epochs",
            &["--set epochs: expected path.to.key=value"],
        ),
        case(sound, "train student.toml --out run --set =3", &["--set =3: expected path.to.key=value"]),
        case(
            sound,
            "train student.toml --out run --set student.name.x=3",
            &["--set student.name.x: `name` is a value, not a table"],
        ),
        case(sound, "train student.toml --out run --threads 0", &["--threads 0: must be from 1 to 1024"]),
        case(
            sound,
            "train student.toml --out run --threads 100000",
            &["--threads 100000: must be from 1 to 1024"],
        ),
        case(sound, "train student.toml --out run --threads -1", &["'-1'", "--threads", "--help"]),
        case(sound, "train student.toml --out run --threads x", &["'x'", "--threads", "--help"]),
        case(sound, "train student.toml --out run --epoch 3", &["'--epoch'", "'--epochs'", "--help"]),
        case(sound, "train student.toml --out run --frob", &["'--frob'", "--help"]),
        case(sound, "train student.toml --out run --epochs -1", &["'-1'", "--epochs", "--help"]),
        case(
            sound,
            "train student.toml --out run --seed 9223372036854775808",
            &["--seed", "0..=9223372036854775807"],
        ),
        case(sound, "train student.toml teacher.toml", &["'teacher.toml'", "--help"]),
        case(sound, "trian student.toml", &["'trian'", "'train'", "--help"]),
        case(sound, "", &["subcommand", "--help"]),
        case(sound, "evaluate --data data", &["--weights <FILE>", "--help"]),
        case(
            sound,
            "evaluate --weights teacher.safetensors --data data --split both",
            &["'both'", "test", "train", "all"],
        ),
        case(
            sound,
            "train student.toml --method kd --out run",
            &["method.name", "labels alone", "hcd distill"],
        ),
        case(
            sound,
            "train student.toml --teacher teacher.safetensors --out run",
            &["teacher.weights", "labels alone", "hcd distill"],
        ),
        case(
            sound,
            "compare student.toml --methods kd,abc --out run",
            &["--methods abc: unknown", "scratch, kd, kd-standardised, dkd", "rsd, hcd"],
        ),
        case(
            sound,
            "compare student.toml --methods kd,kd --out run",
            &["compare.methods[1]", "`kd`", "label"],
        ),
        case(sound, "compare student.toml --seeds 1,2,1 --out run", &["compare.seeds has 1 more than once"]),
        case(sound, "compare student.toml --seeds 1,x --out run", &["'x'", "--seeds"]),
        case(sound, "demo --epochs 0 --out run", &["recipes/demo.toml: train.epochs = 0"]),
    ]);
}
