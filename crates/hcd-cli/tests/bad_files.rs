//! What the user can mend in data and weights, and in what is asked of them: one line that names it and the remedy,
//! exit code 2, and nothing begun.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use serde_json::{Value, json};
use support::refusals::{case, check, sound};
use support::{World, idx, write_data};

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
            &["teacher.safetensors: empty file, expected safetensors or PyTorch weights"],
        ),
        case(
            not_from_hcd,
            DISTILL,
            &[TEACHER, "says nothing of its network", "--teacher-model", "`hcd models`"],
        ),
        case(not_from_hcd, EVALUATE, &[TEACHER, "says nothing of its network", "--model"]),
        case(
            |world| edit_card(world, |card| card["config"]["family"] = json!("vit")),
            DISTILL,
            &[TEACHER, "metadata `hcd`", "unknown field `depths`"],
        ),
        case(
            |world| edit_card(world, |card| card["config"]["heads"] = json!([3, 2, 2])),
            DISTILL,
            &[TEACHER, "metadata `hcd`", "heads = 3"],
        ),
        case(
            deeper,
            DISTILL,
            &[TEACHER, "weights do not fit the model", "layers.0.blocks.1.", "is missing", "--partial"],
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
                    tensors.insert("tail.weight".to_owned(), tensor);
                });
            },
            DISTILL,
            &["head.fc.weight is missing", "tail.weight is unexpected"],
        ),
        case(
            |world| write_data(&world.path("data"), 4),
            DISTILL,
            &["teacher.safetensors knows 3 classes, but data has 4", "train a teacher on these classes"],
        ),
        case(
            |world| write_data(&world.path("data"), 4),
            EVALUATE,
            &["data (test): has 4 classes, the network knows 3"],
        ),
        case(
            small_images,
            "distill student.toml --data small --out run",
            &["teacher.safetensors takes images of 1x12x12, not 1x8x8, which small has"],
        ),
        case(
            small_images,
            "evaluate --weights teacher.safetensors --data small",
            &["the network takes images of 1x12x12, not 1x8x8, which small has"],
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
            sound,
            "distill student.toml --method fitnet --out run",
            &["`fitnet`", "student `resnet10_small`", "two CNNs", "the teacher gives tokens", "hcd or ofa"],
        ),
        case(
            swin,
            "compare student.toml --methods kd,fitnet --out run",
            &["`fitnet`", "student `swin_small_patch2`", "the student gives tokens"],
        ),
        case(
            |world| {
                world.edit("student.toml", "resnet10_small", "vit_mini");
                world.edit("student.toml", "widths = [4, 4, 8, 8]", "width = 18\nheads = 3\npatch_size = 4");
            },
            "distill student.toml --method ofa --out run",
            &["`ofa`", "student `vit_mini`", "18 wide, must be a multiple of 4"],
        ),
        case(
            swin,
            "train student.toml --out run --set student.image_size=16",
            &["`swin_small_patch2`: takes images of 1x16x16, not 1x12x12"],
        ),
        case(
            swin,
            "train student.toml --out run --set student.patch_size=40",
            &["`swin_small_patch2`", "patch_size = 40, must be from 1 to image_size = 12"],
        ),
        case(
            sound,
            "train student.toml --out run --set student.num_classes=10",
            &["`resnet10_small` tells 10 classes apart, not 3, which data has"],
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
