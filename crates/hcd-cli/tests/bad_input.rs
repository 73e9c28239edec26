//! What the user can mend: one line that names it and the remedy, exit code 2, and nothing begun.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use support::{World, idx, write_data};

/// A way to go wrong: what is done to a sound world, the command, and what its error must name.
struct Case {
    spoil: fn(&World),
    line: &'static str,
    names: &'static [&'static str],
}

fn case(spoil: fn(&World), line: &'static str, names: &'static [&'static str]) -> Case {
    Case { spoil, line, names }
}

/// Nothing is done to the world: the command itself is wrong.
fn sound(_: &World) {}

/// Each case in a world of its own: it must be refused in one line with all names, and change no file.
fn check(cases: &[Case]) {
    let mut faults = Vec::new();
    for Case { spoil, line, names } in cases {
        let world = World::new();
        spoil(&world);
        let before = world.tree(".");
        let ran = world.hcd(line);
        match ran.refusal() {
            Err(fault) => faults.push(fault),
            Ok(told) => {
                let missing: Vec<_> = names.iter().filter(|name| !told.contains(**name)).collect();
                if !missing.is_empty() {
                    faults.push(format!("hcd {line}\n{told}\nlacks {missing:?}"));
                }
            }
        }
        let after = world.tree(".");
        if before != after {
            let changed: Vec<_> = after.keys().filter(|name| before.get(*name) != after.get(*name)).collect();
            faults.push(format!("hcd {line}\nleft behind: {changed:?}"));
        }
    }
    assert!(faults.is_empty(), "{} of {}:\n\n{}", faults.len(), cases.len(), faults.join("\n\n"));
}

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
            &["method.mapper: ", "`mlp`", "`linear`", "method.stages: invalid type"],
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
            "distill student.toml --out run --lr -1 --student resnet99 --method dkd --set seed=x",
            &[
                "data.path: invalid type: integer `3`",
                "train.epoch: unknown field",
                "train.batch_size: invalid type",
                "optimizer.lr = -1",
                "student.name = \"resnet99\"",
                "method.name: unknown variant `dkd`",
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
    let told = world.hcd("distill student.toml --out run --method dkd").refusal().unwrap();
    assert_eq!(told, "error: student.toml: method.name: unknown variant `dkd`, expected `kd` or `hcd`");
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
            "evaluate --weights teacher.safetensors --data data --split all",
            &["'all'", "test", "train"],
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
            "compare student.toml --methods kd,dkd --out run",
            &["--methods dkd: unknown", "scratch, kd, hcd"],
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

#[test]
fn data() {
    const IMAGES: &str = "data/train-images-idx3-ubyte";
    const LABELS: &str = "data/t10k-labels-idx1-ubyte";
    const TRAIN: &str = "train student.toml --out run";
    check(&[
        case(
            sound,
            "train student.toml --data nope --out run",
            &["nope: no such folder", "train-images-idx3-ubyte"],
        ),
        case(sound, "train student.toml --data student.toml --out run", &["student.toml: is a file"]),
        case(
            |world| std::fs::create_dir(world.path("empty")).unwrap(),
            "evaluate --weights teacher.safetensors --data empty",
            &["empty: holds no data set of a known layout"],
        ),
        case(
            |world| std::fs::remove_file(world.path(LABELS)).unwrap(),
            TRAIN,
            &["data: t10k-labels-idx1-ubyte", "missing"],
        ),
        case(
            |world| world.write(IMAGES, &world.read(IMAGES)[..1000]),
            TRAIN,
            &["data/train-images-idx3-ubyte: 984 bytes after the header, expected 8640 (60x12x12)"],
        ),
        case(
            |world| world.write(IMAGES, &world.read(IMAGES)[..7]),
            TRAIN,
            &[IMAGES, "header ends after 7 bytes, expected 16"],
        ),
        case(
            |world| world.write(LABELS, world.read(IMAGES)),
            TRAIN,
            &[LABELS, "begins with 00 00 08 03, expected 00 00 08 01"],
        ),
        case(
            |world| world.write(IMAGES, b"\x89PNG\r\n"),
            TRAIN,
            &[IMAGES, "begins with 89 50 4e 47, expected 00 00 08 03"],
        ),
        case(
            |world| world.write(LABELS, idx(&[30], &[3; 30])),
            TRAIN,
            &[LABELS, "label 3 at index 0, expected below 3", "classes.txt"],
        ),
        case(|world| world.write(LABELS, idx(&[29], &[1; 29])), TRAIN, &[LABELS, "29 labels, expected 30"]),
        case(
            |world| {
                std::fs::remove_file(world.path(IMAGES)).unwrap();
                world.write("data/train-images-idx3-ubyte.gz", b"\x1f\x8bno");
            },
            TRAIN,
            &["data/train-images-idx3-ubyte.gz: damaged or cut gzip data", "fetch the file again"],
        ),
        case(
            |world| world.write(IMAGES, idx(&[60, 12, 12], &[7; 60 * 12 * 12])),
            TRAIN,
            &["channel 0 has the same value in all pixels"],
        ),
        case(
            |world| world.write("data/classes.txt", "a\nb\na\n"),
            TRAIN,
            &["data/classes.txt: line 3 repeats \"a\""],
        ),
    ]);
}

/// Rewrites the header of a safetensors file.
fn edit_header(world: &World, name: &str, edit: impl FnOnce(&mut Value)) {
    let bytes = world.read(name);
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    edit(&mut header);
    let header = header.to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(&bytes[8 + length..]);
    world.write(name, file);
}

/// Rewrites what the teacher's file says of itself.
fn edit_card(world: &World, edit: impl FnOnce(&mut Value)) {
    edit_header(world, "teacher.safetensors", |header| {
        let text = &mut header["__metadata__"]["hcd"];
        let mut card: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        edit(&mut card);
        *text = card.to_string().into();
    });
}

#[test]
fn teachers() {
    const TEACHER: &str = "teacher.safetensors";
    const DISTILL: &str = "distill student.toml --out run";
    const EVALUATE: &str = "evaluate --weights teacher.safetensors --data data";
    let not_from_hcd =
        |world: &World| edit_header(world, TEACHER, |header| header["__metadata__"] = json!({}));
    let deeper = |world: &World| edit_card(world, |card| card["config"]["depths"] = json!([2, 1, 1]));
    check(&[
        case(sound, "distill student.toml --teacher nope --out run", &["nope: cannot read", "No such file"]),
        case(sound, "distill student.toml --teacher data --out run", &["data: cannot read", "directory"]),
        case(
            sound,
            "distill teacher.toml --out run",
            &["needs a teacher", "--teacher FILE", "teacher.weights"],
        ),
        case(sound, "evaluate --weights nope --data data", &["nope: cannot read", "No such file"]),
        case(
            sound,
            "evaluate --weights student.toml --data data",
            &["student.toml: not a whole safetensors file"],
        ),
        case(
            |world| world.write(TEACHER, &world.read(TEACHER)[..20_000]),
            DISTILL,
            &["teacher.safetensors: not a whole safetensors file"],
        ),
        case(
            |world| world.write(TEACHER, b""),
            DISTILL,
            &["teacher.safetensors: not a whole safetensors file"],
        ),
        case(
            not_from_hcd,
            DISTILL,
            &[TEACHER, "metadata `hcd` is missing", "expected a file that `hcd` wrote"],
        ),
        case(not_from_hcd, EVALUATE, &[TEACHER, "metadata `hcd` is missing"]),
        case(
            |world| edit_card(world, |card| card["config"]["family"] = json!("vit")),
            DISTILL,
            &[TEACHER, "metadata `hcd`", "`vit`"],
        ),
        case(
            |world| edit_card(world, |card| card["config"]["heads"] = json!([3, 2, 2])),
            DISTILL,
            &[TEACHER, "metadata `hcd`", "heads = 3"],
        ),
        // The first tensors that do not fit, and how many more.
        case(
            deeper,
            DISTILL,
            &[TEACHER, "weights do not fit the model", "layers.0.blocks.1.", "is missing", " more"],
        ),
        case(
            |world| edit_card(world, |card| card["config"]["width"] = json!(16)),
            EVALUATE,
            &[TEACHER, "weights do not fit the model", "has shape", "expected"],
        ),
        case(
            |world| {
                edit_header(world, TEACHER, |header| {
                    let tensors = header.as_object_mut().unwrap();
                    let tensor = tensors.remove("head.fc.weight").unwrap();
                    tensors.insert("head.weight".to_owned(), tensor);
                });
            },
            DISTILL,
            &["head.fc.weight is missing", "head.weight is unexpected"],
        ),
        case(
            |world| write_data(&world.path("data"), 4),
            DISTILL,
            &["teacher.safetensors knows 3 classes, but data has 4", "train a teacher on these classes"],
        ),
        case(
            |world| write_data(&world.path("data"), 4),
            EVALUATE,
            &["teacher.safetensors: knows 3 classes, data has 4"],
        ),
        case(
            small_images,
            "distill student.toml --data small --out run",
            &["teacher.safetensors looks at images of 1x12x12, but small has 1x8x8"],
        ),
        case(
            small_images,
            "evaluate --weights teacher.safetensors --data small",
            &["teacher.safetensors: looks at images of 1x12x12, small has 1x8x8"],
        ),
    ]);
}

/// A data set of 8x8 images in `small`.
fn small_images(world: &World) {
    write_data(&world.path("small"), 3);
    for (half, count) in [("train", 60), ("t10k", 30)] {
        let pixels: Vec<u8> = (0..count * 64).map(|index| index as u8).collect();
        world.write(&format!("small/{half}-images-idx3-ubyte"), idx(&[count, 8, 8], &pixels));
    }
}

#[test]
fn methods_and_students() {
    let swin = |world: &World| {
        world.edit("student.toml", "resnet10_small", "swin_small_patch2");
        world.edit(
            "student.toml",
            "widths = [4, 4, 8, 8]",
            "width = 8\nheads = [1, 2, 2]\ndepths = [1, 1, 1]",
        );
    };
    check(&[
        case(
            sound,
            "distill student.toml --out run --set method.stages=[1,5]",
            &["`hcd`", "`resnet10_small`", "stages has 5, must be in 1..=4"],
        ),
        case(
            sound,
            "distill student.toml --out run --set method.sub_logits=0 --set method.temperature=0",
            &[
                "method.sub_logits = 0, must be at least 1",
                "method.temperature = 0, must be a positive number",
            ],
        ),
        case(
            swin,
            "distill student.toml --out run",
            &["`hcd`", "student `swin_small_patch2`", "tokens", "CNN student", "method kd"],
        ),
        case(swin, "compare student.toml --out run", &["student `swin_small_patch2`", "tokens", "method kd"]),
        case(
            swin,
            "train student.toml --out run --set student.image_size=16",
            &["`swin_small_patch2` takes images of height 16, but those of data have 12"],
        ),
        case(
            swin,
            "train student.toml --out run --set student.image_size=13",
            &["`swin_small_patch2`", "image_size = 13 must be a multiple of patch_size = 2"],
        ),
        case(
            sound,
            "train student.toml --out run --set student.num_classes=10",
            &["`resnet10_small`", "a number of classes: 10", "data have 3"],
        ),
        case(
            sound,
            "train student.toml --out run --batch-size 55",
            &["54 samples", "batch of 55", "lower batch_size"],
        ),
        case(
            sound,
            "compare student.toml --methods scratch --out run --batch-size 55",
            &["lower batch_size"],
        ),
        case(
            sound,
            "train student.toml --out run --set data.views.crop_padding=12",
            &["crop_padding = 12, must be below 12"],
        ),
        // The second method is looked at before the first is trained.
        case(
            |world| {
                let compare = "[compare]\nseeds = [0]\nmethods = [{ name = \"scratch\" }, { name = \"hcd\", stages = [5] }]\n";
                world.write("student.toml", format!("{}{compare}", world.text("student.toml")));
            },
            "compare student.toml --out run",
            &["`hcd`", "stages has 5"],
        ),
    ]);
}

#[test]
fn folders() {
    let with_run = |world: &World| drop(world.hcd("train student.toml --epochs 1 --out run").succeeded());
    check(&[
        case(sound, "train student.toml --out data", &["data: already there and not empty", "--out"]),
        case(sound, "distill student.toml --out data", &["data: already there and not empty", "--out"]),
        case(sound, "compare student.toml --out data", &["data: already there and not empty", "--out"]),
        case(sound, "demo --out data", &["data: already there and not empty", "--out"]),
        case(
            with_run,
            "train student.toml --epochs 1 --out run",
            &["run: already there", "--resume", "--out"],
        ),
        case(with_run, "compare student.toml --out run", &["run: already there", "--out"]),
        case(sound, "train student.toml --out teacher.toml", &["teacher.toml: is a file", "--out"]),
        case(
            sound,
            "train student.toml --out teacher.toml/sub/run",
            &["teacher.toml/sub/run", "teacher.toml is a file", "--out"],
        ),
        case(sound, "compare student.toml --out teacher.toml/sub", &["teacher.toml is a file", "--out"]),
        // Nobody may write there, the superuser neither.
        #[cfg(target_os = "linux")]
        case(
            sound,
            "distill student.toml --out /proc/hcd/run",
            &["/proc/hcd/run: cannot write into /proc", "--out"],
        ),
        #[cfg(target_os = "linux")]
        case(sound, "compare student.toml --out /proc/hcd", &["/proc/hcd: cannot write into /proc", "--out"]),
    ]);
}

/// An own file system in memory, where one may mount; away when dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(world: &World, name: &str, options: &str) -> Option<Self> {
        let folder = world.path(name);
        std::fs::create_dir(&folder).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&folder).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(folder))
    }

    fn change(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(&self.0).status();
        // A second panic would abort and hide the first.
        assert!(std::thread::panicking() || status.is_ok_and(|status| status.success()));
    }
}

/// On a disk without room nothing is begun. Where one may not mount such a disk, what stands in for it is a
/// folder that takes no file at all.
#[test]
fn a_small_disk_is_seen_beforehand() {
    let world = World::new();
    match Mount::new(&world, "disk", "size=64k") {
        Some(_disk) => {
            for command in ["train", "distill", "compare"] {
                let ran = world.hcd(&format!("{command} student.toml --out disk/run"));
                ran.refused(&["disk/run: 1 MiB free on its disk, the run needs", "make room", "--out"]);
            }
            assert!(world.list("disk").is_empty());
        }
        None => {
            world.hcd("train student.toml --out /dev/null/run").refused(&["/dev/null is a file", "--out"])
        }
    }
}

/// A disk on which nobody may write; without the right to mount, a folder whose mode forbids it; and for a
/// superuser who may not mount, to whom modes are nothing, `/proc`.
#[test]
fn a_read_only_disk_is_seen_beforehand() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let disk = Mount::new(&world, "disk", "ro,size=9m");
    if disk.is_none() {
        std::fs::set_permissions(world.path("disk"), PermissionsExt::from_mode(0o555)).unwrap();
    }
    let binds = tempfile::tempfile_in(world.path("disk")).is_err();
    let place = if binds { "disk" } else { "/proc" };
    for command in ["train", "distill", "compare"] {
        let ran = world.hcd(&format!("{command} student.toml --out {place}/run"));
        ran.refused(&[&format!("{place}/run: cannot write into {place}"), "--out"]);
    }
    assert!(world.list("disk").is_empty());
}

/// A run whose disk fills up says so, leaves only whole files, and goes on once there is room. Everywhere: the
/// system refuses to let a file grow beyond 16 KiB or so (`ulimit -f` counts in blocks of 512 bytes or 1024).
/// Where one may mount: a disk that has no room for another file.
#[test]
fn a_disk_that_fills_up_stops_a_run_that_can_go_on() {
    let world = World::new();
    world.hcd("distill student.toml --out whole").succeeded();
    let goes_on = |run: &str| {
        assert!(!world.tree(run).keys().any(|name| name.ends_with(".tmp")));
        world.hcd(&format!("distill --resume {run}")).succeeded();
        for file in ["student.safetensors", "student-best.safetensors", "metrics.jsonl"] {
            assert!(
                world.read(&format!("{run}/{file}")) == world.read(&format!("whole/{file}")),
                "{file} differs"
            );
        }
    };

    let ran = world.hcd_after("trap '' XFSZ; ulimit -f 16", "distill student.toml --out cut");
    ran.refused(&["cut/student-best.safetensors: cannot write", "File too large"]);
    goes_on("cut");

    let ran = world.hcd_after("trap '' XFSZ; ulimit -f 64", "distill student.toml --out later");
    ran.refused(&["later/checkpoints/step-", "cannot write", "File too large"]);
    goes_on("later");

    // Files and folders, the topmost among them: run, run.json, recipe.toml, student-best, metrics.jsonl.
    if let Some(disk) = Mount::new(&world, "disk", "size=9m,nr_inodes=6") {
        let ran = world.hcd("distill student.toml --out disk/run");
        ran.refused(&["disk/run/checkpoints: cannot create folder", "No space left on device"]);
        disk.change("nr_inodes=8");
        world
            .hcd("distill --resume disk/run")
            .refused(&["disk/run/checkpoints/step-", "No space left on device"]);
        disk.change("nr_inodes=100");
        goes_on("disk/run");
    }
}
