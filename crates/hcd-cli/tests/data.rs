//! `hcd data`, and what the commands do with images that cannot be read or lie on their side.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use hcd::data::decode;
use std::fs;
use std::path::Path;
use support::refusals::{case, check, sound};
use support::{World, ppm};

const TRAIN: &str =
    "train --data photos --model resnet10_small --set student.widths=[4,4,8,8] --epochs 1 --batch-size 4";

/// `photos`: two classes, 8 images of each to train on and 2 to test on, all different.
fn photos(world: &World) {
    for (part, count) in [("train", 8), ("test", 2)] {
        for (class, shade) in [("dark", 20), ("light", 200)] {
            let folder = world.path("photos").join(part).join(class);
            fs::create_dir_all(&folder).unwrap();
            for number in 0..count {
                let color = [shade + number, shade, if part == "train" { 7 } else { 9 }];
                fs::write(folder.join(format!("{number}.ppm")), ppm(12, 12, color)).unwrap();
            }
        }
    }
}

/// The same with a text for an image, and an image that is cut short.
fn spoilt(world: &World) {
    photos(world);
    world.write("photos/train/dark/3.ppm", "a text");
    let whole = world.read("photos/test/light/1.ppm");
    world.write("photos/test/light/1.ppm", &whole[..whole.len() / 2]);
}

#[test]
fn a_set_is_described() {
    let world = World::new();
    let told = world.hcd("data data --check --json").succeeded().json();
    assert_eq!(told["layout"], "idx");
    assert_eq!(told["train"]["samples"], 60);
    assert_eq!(told["train"]["classes"], serde_json::json!([["left", 20], ["middle", 20], ["right", 20]]));
    assert_eq!(told["test"]["sizes"], serde_json::json!([[[12, 12], 30]]));
    assert_eq!(told["copies"], serde_json::json!([]));
    assert_eq!(told.get("validation"), None);
    let text = world.hcd("data student.toml --check").succeeded().stdout;
    for words in ["layout: idx", "train", "12x12", "no test image is a copy of a train image"] {
        assert!(text.contains(words), "no `{words}` in: {text}");
    }
    // The last line is one for a recipe.
    let line = text.lines().last().unwrap();
    world.edit("student.toml", "[data]\n", &format!("[data]\n{line}\n"));
    let resolved = world.hcd("recipe student.toml").succeeded().stdout;
    let mean = told["train"]["mean"][0].as_f64().unwrap();
    let rounded = (mean * 1e4).round() / 1e4;
    assert!(resolved.contains(&format!("mean = [{rounded}]")), "{rounded} in {resolved}");
    world.hcd("train student.toml --epochs 1 --out run").succeeded();
}

#[test]
fn what_cannot_be_read_and_what_is_there_twice_is_named() {
    let world = World::new();
    spoilt(&world);
    fs::copy(world.path("photos/train/light/2.ppm"), world.path("photos/test/light/copy.ppm")).unwrap();
    let ran = world.hcd("data photos --check");
    assert_eq!(ran.code, Some(2), "{ran}");
    for words in [
        "unreadable: photos/train/dark/3.ppm: is no image of a known format",
        "unreadable: photos/test/light/1.ppm: damaged image",
        "1 test images are copies of train images:",
        "photos/test/light/copy.ppm of photos/train/light/2.ppm",
    ] {
        assert!(ran.stdout.contains(words), "no `{words}` in: {ran}");
    }
    assert_eq!(
        ran.stderr.lines().collect::<Vec<_>>(),
        ["error: photos: 2 images cannot be read; mend them, or train with --skip-bad"]
    );
    // A look at a sample is no check.
    assert_eq!(world.hcd("data photos").code, Some(0));
    let told = world.hcd("data photos --check --json");
    assert_eq!(told.code, Some(2));
    let told = told.json();
    assert_eq!(told["train"]["unreadable"].as_array().unwrap().len(), 1);
    assert_eq!(
        told["copies"],
        serde_json::json!([{ "train": "photos/train/light/2.ppm", "test": "photos/test/light/copy.ppm" }])
    );
}

#[test]
fn a_contact_sheet_is_drawn_once() {
    let world = World::new();
    spoilt(&world);
    world.hcd("data photos --sheet sheet.png").succeeded();
    let sheet = decode::decode(&world.path("sheet.png"), 3).unwrap();
    // Images of 12 pixels are enlarged to 96; of 8 samples one cannot be read; 6 views beside the image itself.
    assert_eq!(sheet.width, 7 * (96 + 4) + 4);
    assert!([7, 8].map(|rows| rows * (96 + 4) + 4).contains(&sheet.height), "{}", sheet.height);
    let before = world.read("sheet.png");
    world.hcd("data photos --sheet sheet.png").refused(&["sheet.png: already there", "--sheet"]);
    assert_eq!(world.read("sheet.png"), before);
}

#[test]
fn bad_input() {
    check(&[
        case(sound, "data nope --sheet s.png", &["nope: no such folder"]),
        case(sound, "data . --sheet s.png", &[".: holds no data set of a known layout"]),
        case(sound, "data data --format webp", &["webp"]),
        case(sound, "data data --format cub", &["data"]),
        case(sound, "data data --image-size 0 --sheet s.png", &["image_size = 0"]),
        case(sound, "data data --sheet s.jpg", &["s.jpg: a contact sheet is a PNG file", "--sheet"]),
        case(sound, "data data --sheet nowhere/s.png", &["nowhere"]),
        case(
            sound,
            "data data --set data.views.repeats=0",
            &["data.views.repeats = 0, must be from 1 to 64"],
        ),
        case(
            sound,
            "data data --set data.normalization=x",
            &["data.normalization: ", "\"dataset\", \"imagenet\""],
        ),
        case(
            sound,
            "data data --set data.normalization={mean=[0.5],std=[0]}",
            &["data.normalization.std = [0.0], must be above 0"],
        ),
        case(
            sound,
            "train student.toml --out run --set data.normalization=imagenet",
            &["data.normalization.mean", "must have 1 values"],
        ),
        case(
            |world| world.write("data/t10k-labels-idx1-ubyte", "short"),
            "data data --check --sheet s.png",
            &["t10k-labels-idx1-ubyte"],
        ),
        case(
            |world| {
                photos(world);
                world.write("photos/train/dark/3.ppm", "a text");
            },
            "train --data photos --model resnet10_small --out run",
            &["photos/train/dark/3.ppm: is no image", "--skip-bad", "data.skip_bad"],
        ),
        case(
            |world| {
                photos(world);
                world.write("photos/test/dark/1.ppm", "a text");
            },
            "train --data photos --model resnet10_small --out run",
            &["photos/test/dark/1.ppm: is no image", "--skip-bad"],
        ),
        case(
            spoilt,
            "compare --data photos --model resnet10_small --methods scratch --out run",
            &["--skip-bad"],
        ),
    ]);
}

#[test]
fn what_cannot_be_read_is_left_out_counted_and_listed() {
    let world = World::new();
    spoilt(&world);
    let ran = world.hcd(&format!("{TRAIN} --skip-bad --out run")).succeeded();
    assert!(ran.stderr.contains("note: 2 images cannot be read and are left out"), "{ran}");
    let left_out = world.json("run/result.json")["left_out"].clone();
    let told: Vec<(u64, &str)> = left_out
        .as_array()
        .unwrap()
        .iter()
        .map(|image| (image["id"].as_u64().unwrap(), image["error"].as_str().unwrap()))
        .collect();
    assert_eq!(told.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [3, 3]);
    assert!(
        told[0].1.starts_with("photos/train/dark/3.ppm: ")
            && told[1].1.starts_with("photos/test/light/1.ppm: ")
    );
    assert!(world.text("run/report.html").contains("photos/train/dark/3.ppm"));
    assert!(world.text("run/recipe.toml").contains("skip_bad = true"));
    let evaluate = "evaluate --weights run/student.safetensors --data photos";
    world.hcd(evaluate).refused(&["photos/test/light/1.ppm"]);
    let judged = world.hcd(&format!("{evaluate} --skip-bad --json")).succeeded().json();
    assert_eq!((&judged["images"], judged["left_out"].as_array().unwrap().len()), (&3.into(), 1));
}

#[test]
fn photos_are_turned_upright_from_training_to_prediction() {
    let world = World::new();
    photos(&world);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/decode");
    for tag in 2..9 {
        let name = format!("turned_{tag}.jpg");
        fs::copy(golden.join(&name), world.path("photos/train/dark").join(&name)).unwrap();
        fs::copy(golden.join(&name), world.path(&name)).unwrap();
        // The same pixels, turned beforehand.
        let image = decode::decode_upright(&world.path(&name), 3, true).unwrap();
        let mut file = format!("P6\n{} {}\n255\n", image.width, image.height).into_bytes();
        file.extend(image.pixels);
        world.write(&format!("upright_{tag}.ppm"), file);
    }
    let sizes = |flag: &str| {
        world.hcd(&format!("data photos {flag} --json")).succeeded().json()["train"]["sizes"].clone()
    };
    assert_eq!(sizes(""), serde_json::json!([[[12, 12], 16], [[24, 40], 7]]));
    assert_eq!(
        sizes("--exif-orientation"),
        serde_json::json!([[[12, 12], 16], [[40, 24], 4], [[24, 40], 3]])
    );
    let sized = format!("{TRAIN} --set data.image_size=12");
    world.hcd(&format!("{sized} --exif-orientation --out turned")).succeeded();
    world.hcd(&format!("{sized} --out plain")).succeeded();
    let top = |run: &str, flag: &str, file: &str| {
        let line = format!("predict --weights {run}/student.safetensors {flag} --json {file}");
        world.hcd(&line).succeeded().json()["top"].clone()
    };
    for tag in 2..9 {
        let (turned, upright) = (format!("turned_{tag}.jpg"), format!("upright_{tag}.ppm"));
        // A network that was trained so needs no flag.
        assert_eq!(top("turned", "", &turned), top("turned", "", &upright), "{tag}");
        assert_eq!(top("plain", "--exif-orientation", &turned), top("plain", "", &upright), "{tag}");
        assert_ne!(top("plain", "", &turned), top("plain", "", &upright), "{tag}");
    }
}
