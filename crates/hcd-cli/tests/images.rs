//! What the commands make of image files: training, evaluating, predicting and features, as a user sees them.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::refusals::{case, check};
use support::{World, ppm};

const RED: [u8; 3] = [200, 20, 20];
const BLUE: [u8; 3] = [20, 20, 200];

/// Class folders of red and blue images of several sizes, and flat photos of them.
fn pictures(world: &World) {
    for (folder, color, count) in [
        ("pictures/train/blue", BLUE, 12),
        ("pictures/train/red", RED, 12),
        ("pictures/val/blue", BLUE, 3),
        ("pictures/val/red", RED, 3),
        ("photos", RED, 2),
    ] {
        std::fs::create_dir_all(world.path(folder)).unwrap();
        for index in 0..count {
            world.write(&format!("{folder}/{index:02}.ppm"), ppm(10 + index % 3, 9 + index % 4, color));
        }
    }
}

const TRAIN: &str = "train --data pictures --model resnet10_small --set student.widths=[4,4,8,8] \
    --set data.image_size=8 --set data.views.horizontal_flip=0.5 --set train.label_smoothing=0 \
    --epochs 12 --batch-size 7 --lr 0.1 --out run";

/// A world with a network that tells red from blue.
fn trained() -> World {
    let world = World::new();
    pictures(&world);
    world.hcd(TRAIN).succeeded();
    std::fs::rename(world.path("run/student.safetensors"), world.path("net.safetensors")).unwrap();
    world
}

#[test]
fn a_network_learns_from_folders_and_is_used_on_photos() {
    let world = trained();
    let all = world.hcd("evaluate --weights net.safetensors --data pictures --split all --json").succeeded();
    assert_eq!((&all.json()["images"], &all.json()["top1"]), (&json!(30), &json!(100.0)), "{all}");
    let test = world.hcd("evaluate --weights net.safetensors --data pictures").succeeded();
    assert!(test.stdout.contains("images") && test.stdout.contains("blue"), "{test}");
    assert_eq!(test.warnings(), [""; 0]);
    // One half alone is a folder of class folders.
    let half = world.hcd("evaluate --weights net.safetensors --data pictures/val --json").succeeded().json();
    assert_eq!((&half["images"], &half["top1"]), (&json!(6), &json!(100.0)));

    world.write("labels.csv", "file,class\n00.ppm,red\n01.ppm,blue\n");
    let line = "evaluate --weights net.safetensors --data photos --labels labels.csv --json";
    assert_eq!(world.hcd(line).succeeded().json()["top1"], 50.0);

    let ran =
        world.hcd("predict --weights net.safetensors --json photos pictures/val/blue/00.ppm").succeeded();
    let rows: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> =
        rows.iter().map(|row| (row["file"].as_str().unwrap(), &row["top"][0]["class"])).collect();
    let (red, blue) = (json!("red"), json!("blue"));
    assert_eq!(told, [("photos/00.ppm", &red), ("photos/01.ppm", &red), ("pictures/val/blue/00.ppm", &blue)]);
    let sum: f64 = (0..2).map(|k| rows[0]["top"][k]["probability"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-12, "two classes: {sum}");
    let text = world.hcd("predict --weights net.safetensors --top 1 photos/00.ppm").succeeded().stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 2 && lines[0] == "photos/00.ppm" && lines[1].ends_with(" %  red"), "{text}");
}

#[test]
fn classes_are_matched_by_name_else_by_place_with_a_warning() {
    let world = trained();
    // The same names in another order: the network's own numbers hold.
    world.write("names.txt", "red\nblue\n");
    let turned = "evaluate --weights net.safetensors --classes names.txt --data pictures --json";
    let ran = world.hcd(turned).succeeded();
    assert_eq!((ran.warnings().len(), &ran.json()["top1"]), (0, &json!(0.0)), "{ran}");
    world.write("names.txt", "bleu\nrouge\n");
    let ran = world.hcd(turned).succeeded();
    assert_eq!((ran.warnings().len(), &ran.json()["top1"]), (1, &json!(100.0)), "{ran}");
    assert!(ran.warnings()[0].contains("class 0 is `bleu` to the network, `blue` in"), "{ran}");
}

/// A safetensors file's tensors: shape and numbers.
fn tensors(file: &[u8]) -> (BTreeMap<String, (Value, Vec<f32>)>, Value) {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let mut header: BTreeMap<String, Value> = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let metadata = header.remove("__metadata__").unwrap();
    let read = |(name, info): (String, Value)| {
        let place = |end: usize| 8 + length + info["data_offsets"][end].as_u64().unwrap() as usize;
        let values =
            file[place(0)..place(1)].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        (name, (info["shape"].clone(), values))
    };
    (header.into_iter().map(read).collect(), metadata)
}

#[test]
fn features_are_those_of_each_image_in_order() {
    let world = trained();
    let line = "features --weights net.safetensors --images pictures/val";
    let ran = world.hcd(&format!("{line} --batch-size 4 --out four.safetensors --json")).succeeded();
    assert_eq!(ran.json()["images"], 6);
    world.hcd(&format!("{line} --out all.safetensors")).succeeded();
    let (four, metadata) = tensors(&world.read("four.safetensors"));
    let files: Vec<String> = serde_json::from_str(metadata["files"].as_str().unwrap()).unwrap();
    let expected = ["blue/00.ppm", "blue/01.ppm", "blue/02.ppm", "red/00.ppm", "red/01.ppm", "red/02.ppm"];
    assert_eq!(files, expected);
    let shapes: Vec<_> = four.iter().map(|(name, (shape, _))| (name.as_str(), shape.clone())).collect();
    assert_eq!(
        shapes,
        [
            ("logits", json!([6, 2])),
            ("penultimate", json!([6, 8])),
            ("stage1_mean", json!([6, 4])),
            ("stage2_mean", json!([6, 4])),
            ("stage3_mean", json!([6, 8])),
            ("stage4_mean", json!([6, 8])),
        ]
    );
    // Batches of 4 and of 6 sum in the same order; only the products' blocking may differ.
    let (all, _) = tensors(&world.read("all.safetensors"));
    for (name, (_, values)) in &four {
        let near = values.iter().zip(&all[name].1).all(|(l, r)| (l - r).abs() <= 1e-5 * (1.0 + r.abs()));
        assert!(near, "{name}");
    }
    // A CNN's classifier reads the mean of its last stage.
    assert_eq!(four["penultimate"].1, four["stage4_mean"].1);
    let blue = |row: usize| four["logits"].1[2 * row] > four["logits"].1[2 * row + 1];
    assert_eq!((0..6).map(blue).collect::<Vec<_>>(), [true, true, true, false, false, false]);
    assert!(world.list(".").iter().all(|name| !name.ends_with(".tmp")));
}

/// A safetensors file of normalised images of shape (count, channels, 8, 8), in f32 or f16.
fn images(count: usize, channels: usize, dtype: &str) -> Vec<u8> {
    let numbers: Vec<f32> = (0..count * channels * 64).map(|i| (i % 7) as f32 / 2.0 - 1.0).collect();
    let bytes: Vec<u8> = match dtype {
        "F32" => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
        // These numbers are whole or half: the upper 16 bits of an f32 hold them.
        _ => numbers.iter().flat_map(|x| ((x.to_bits() >> 16) as u16).to_le_bytes()).collect(),
    };
    let header = json!({ "images": { "dtype": dtype, "shape": [count, channels, 8, 8],
        "data_offsets": [0, bytes.len()] } })
    .to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes].concat()
}

#[test]
fn features_of_tensors_are_the_same_in_any_type() {
    let world = trained();
    let of = |dtype: &str| {
        world.write("images.safetensors", images(5, 3, dtype));
        let out = format!("{dtype}.safetensors");
        let line = format!(
            "features --weights net.safetensors --images images.safetensors --batch-size 2 --out {out}"
        );
        world.hcd(&line).succeeded();
        tensors(&world.read(&out)).0
    };
    let (single, brain) = (of("F32"), of("BF16"));
    assert_eq!(single["logits"].0, json!([5, 2]));
    assert!(single["logits"].1.iter().any(|logit| *logit != 0.0));
    assert_eq!(single, brain);
}

#[test]
fn models_tell_what_they_cost() {
    let world = World::new();
    let list = world.hcd("models --json").succeeded().json();
    let row = list.as_array().unwrap().iter().find(|row| row["name"] == "resnet18").unwrap().clone();
    assert_eq!((&row["parameters"], &row["image_size"]), (&json!(11_689_512), &json!(224)));
    let text = world.hcd("models").succeeded().stdout;
    let resnet = text.lines().find(|line| line.starts_with("resnet18 ")).unwrap();
    assert!(resnet.contains("11.69 M") && resnet.contains("1.82 G"), "{resnet}");

    let text = world.hcd("models resnet18").succeeded().stdout;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1], ["conv1", "Conv2d", "1x64x112x112", "9408", "118.01", "M"]);
    assert_eq!(lines.last().unwrap(), &["total", "11689512", "1.82", "G"]);
    let line = "models swin_small_patch2 --image-size 12 --channels 1 --classes 3 --model-option width=8 \
                --model-option heads=[1,2,2] --model-option depths=[1,1,1] --json";
    let cost = world.hcd(line).succeeded().json();
    let trained = world.hcd("evaluate --weights teacher.safetensors --data data --json").succeeded().json();
    assert_eq!(cost["parameters"], trained["parameters"]);
    let layers = cost["layers"].as_array().unwrap();
    let sum = |key: &str| layers.iter().map(|layer| layer[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!(
        (json!(sum("parameters")), json!(sum("multiply_adds"))),
        (cost["parameters"].clone(), cost["multiply_adds"].clone())
    );
}

#[test]
fn bad_images_are_refused() {
    const PREDICT: &str = "predict --weights teacher.safetensors photos";
    const FEATURES: &str =
        "features --weights teacher.safetensors --out out.safetensors --images images.safetensors";
    fn photo(world: &World, name: &str, bytes: &[u8]) {
        std::fs::create_dir_all(world.path("photos")).unwrap();
        world.write(&format!("photos/{name}"), bytes);
    }
    check(&[
        case(|_| {}, PREDICT, &["photos: cannot read", "No such file"]),
        case(|world| photo(world, "a.txt", b""), PREDICT, &["photos: holds no images"]),
        case(
            |world| photo(world, "a.png", b"text"),
            PREDICT,
            &["photos/a.png: is no image of a known format"],
        ),
        case(
            |world| photo(world, "a.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
            PREDICT,
            &["photos/a.jpg: damaged JPEG image: cut short"],
        ),
        case(|world| photo(world, "a.ppm", &ppm(4, 4, RED)[..30]), PREDICT, &["photos/a.ppm: damaged image"]),
        case(
            |world| photo(world, "a.ppm", &ppm(4, 4, RED)),
            "predict --weights teacher.safetensors photos --top 0",
            &["'0'", "--top"],
        ),
        case(
            |world| photo(world, "a.ppm", &ppm(4, 4, RED)),
            "evaluate --weights teacher.safetensors --data photos",
            &["photos: photos whose classes are not known", "--labels FILE"],
        ),
        case(
            |world| photo(world, "a.ppm", &ppm(4, 4, RED)),
            "evaluate --weights teacher.safetensors --data photos --split train",
            &["photos: has no parts", "--split"],
        ),
        case(
            |world| std::fs::create_dir_all(world.path("photos/cat")).unwrap(),
            "evaluate --weights teacher.safetensors --data photos",
            &["photos/cat: class without images"],
        ),
        case(
            pictures,
            "evaluate --weights teacher.safetensors --data pictures",
            &["pictures/val: has 2 classes, the network knows 3, and `blue` is none of them"],
        ),
        case(
            pictures,
            "train --data pictures --model resnet10_small --out run",
            &["is 3x9x10", "data.image_size"],
        ),
        case(
            |world| world.write("images.safetensors", images(2, 3, "F32")),
            FEATURES,
            &["images.safetensors: the network takes images of 1x12x12, not 3x8x8"],
        ),
        case(
            |world| world.write("images.safetensors", &images(2, 3, "F32")[..900]),
            FEATURES,
            &["images.safetensors: cut short: 900 bytes"],
        ),
        case(
            |world| world.write("images.safetensors", b"\xff\xff\xff\xff\xff\xff\xff\x7f"),
            FEATURES,
            &["no safetensors file"],
        ),
        case(
            |world| world.write("images.safetensors", images(2, 3, "I16")),
            FEATURES,
            &["type I16, expected F32"],
        ),
        case(
            |_| {},
            "features --weights teacher.safetensors --out out.safetensors --images teacher.safetensors",
            &["has no tensor `images`"],
        ),
        case(|world| world.write("out.safetensors", ""), FEATURES, &["out.safetensors: already there"]),
        case(|_| {}, "models resnet99", &["resnet99", "expected one of resnet18, "]),
        case(|_| {}, "models resnet18 --model-option width", &["--model-option width: expected KEY=VALUE"]),
        case(|_| {}, "models resnet18 --model-option width=3", &["width: unknown option of `resnet18`"]),
        case(|_| {}, "models --classes 10", &["<NAME>", "--help"]),
        case(
            |world| world.write("names.txt", "a\n\nb\n"),
            "predict --weights teacher.safetensors --classes names.txt data",
            &["names.txt: line 2 is empty"],
        ),
        case(
            |_| {},
            "features --weights teacher.safetensors --images data --out x.safetensors",
            &["data: holds no images"],
        ),
    ]);
}
