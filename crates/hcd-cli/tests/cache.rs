//! `hcd cache-teacher`, and what `--cache` does elsewhere: real processes, killed and side by side.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::refusals::{case, check, sound};
use support::{Started, World};

/// Samples of the training part.
const SAMPLES: u64 = 54;

/// Bytes of an answer: 32 numbers of f16, its id, checksum and scale.
const ROW: u64 = 2 * 32 + 8 + 4 + 4;

fn view(number: u64) -> String {
    format!("view-{number:05}.safetensors")
}

#[test]
fn a_cache_is_filled_once_and_verified() {
    let world = World::new();
    let line = "cache-teacher student.toml --cache kept --json";
    let ran = world.hcd(line).succeeded();
    let told = "kept: 2 views of 54 samples, 32 numbers each as f16: 0.0 MiB, of which 0.0 are not there yet";
    assert!(ran.stderr.contains(told), "{ran}");
    let first = ran.json();
    assert_eq!(first["looked_at"], 2 * SAMPLES);
    assert_eq!(first["bytes"], 2 * SAMPLES * ROW);
    assert_eq!(world.list("kept"), ["cache.json", "seed-0"]);
    assert_eq!(world.list("kept/seed-0"), [view(0), view(1)]);
    let before = world.tree("kept");
    assert_eq!(world.hcd(line).succeeded().json()["looked_at"], 0);
    // One more epoch is one more view; another seed has views of its own.
    assert_eq!(world.hcd(&format!("{line} --epochs 3")).succeeded().json()["looked_at"], SAMPLES);
    assert_eq!(world.hcd(&format!("{line} --seed 9")).succeeded().json()["looked_at"], 2 * SAMPLES);
    let after = world.tree("kept");
    assert!(before.iter().all(|(name, bytes)| after[name] == *bytes));

    let verify = "cache-teacher student.toml --cache kept --verify 40";
    let found = world.hcd(&format!("{verify} --json")).succeeded().json();
    assert_eq!((&found["entries"], &found["missing"]), (&40.into(), &0.into()), "{found}");
    assert!(found["difference"].as_f64().unwrap() <= found["allowed"].as_f64().unwrap(), "{found}");
    let ran = world.hcd(verify).succeeded();
    assert!(ran.stdout.starts_with("kept: 40 answers asked again differ by up to "), "{ran}");
    assert!(world.tree("kept") == after, "verifying changes nothing");

    // A damaged file is told by its checksums, and made again.
    world.damage(&format!("kept/seed-0/{}", view(1)));
    assert_eq!(world.hcd(line).succeeded().json()["looked_at"], 1);
    assert!(world.tree("kept") == after, "what is made again has other bits");
}

#[test]
fn distilling_fills_reads_and_resumes_with_the_same_bits() {
    let world = World::new();
    let line =
        |out: &str, cache: &str| format!("distill student.toml --out {out} --cache {cache} --epochs 4");
    world.hcd(&line("filling", "kept")).succeeded();
    // Samples that an epoch leaves over have no answer yet.
    assert!(world.list("kept/seed-0").iter().all(|name| name.ends_with(".safetensors.partial")));
    world.hcd(&line("reading", "kept")).succeeded();
    let killed =
        world.kill_when(&line("cut", "other"), || world.path("cut/student-best.safetensors").exists());
    if killed {
        world.hcd("distill --resume cut").succeeded();
    }
    for run in ["reading", "cut"] {
        for file in ["student.safetensors", "metrics.jsonl"] {
            let same = world.read(&format!("filling/{file}")) == world.read(&format!("{run}/{file}"));
            assert!(same, "{run}: {file} differs");
        }
    }
    // A bank of views is filled once, whatever the epochs, out of the same files.
    let bank = "cache-teacher student.toml --cache kept --epochs 50 --set data.views.bank=3 --json";
    let told = world.hcd(bank).succeeded().json();
    assert_eq!((&told["views"], &told["looked_at"]), (&3.into(), &(3 * (SAMPLES - 50)).into()));
}

#[test]
fn a_comparison_reads_what_another_filled() {
    let world = World::new();
    let line = |out: &str| {
        format!("compare student.toml --methods scratch,kd,hcd --seeds 0,1 --cache kept --out {out} --json")
    };
    let first = world.hcd(&line("one")).succeeded().json();
    let files = world.tree("kept");
    assert_eq!(world.list("kept/seed-1"), [view(0), view(1)]);
    let second = world.hcd(&line("two")).succeeded().json();
    assert!(world.tree("kept") == files);
    let cells = first["methods"].as_array().unwrap().iter().zip(second["methods"].as_array().unwrap());
    for (one, two) in cells {
        assert_eq!((&one["name"], &one["top1"], &one["loss"]), (&two["name"], &two["top1"], &two["loss"]));
    }
    assert!(first["teacher"]["seconds"].is_number() && second["teacher"]["seconds"].is_null(), "{second}");
}

#[test]
fn a_killed_process_leaves_what_the_next_one_goes_on_with() {
    let world = World::new();
    let line = "cache-teacher student.toml --cache kept --epochs 60";
    let mut killed = 0;
    for number in [1, 7, 20] {
        let files =
            [view(number), view(number) + ".partial"].map(|name| world.path("kept/seed-0").join(name));
        killed += usize::from(world.kill_when(line, || files.iter().any(|path| path.exists())));
    }
    assert!(killed > 0, "the process was over before it could be killed");
    let told = world.hcd(&format!("{line} --json")).succeeded().json();
    assert!(told["looked_at"].as_u64().unwrap() < 60 * SAMPLES, "{told}");
    let whole: Vec<String> =
        world.list("kept/seed-0").into_iter().filter(|name| !name.starts_with('.')).collect();
    assert_eq!(whole, (0..60).map(view).collect::<Vec<_>>());
    let found = world.hcd(&format!("{line} --verify 300 --json")).succeeded().json();
    assert_eq!((&found["entries"], &found["missing"]), (&300.into(), &0.into()), "{found}");
}

#[test]
fn processes_side_by_side_look_at_each_view_once() {
    let world = World::new();
    let line = "cache-teacher student.toml --cache kept --epochs 60 --json";
    let processes = [0; 3].map(|_| world.start(line));
    let looked = |started: Started| started.ended().succeeded().json()["looked_at"].as_u64().unwrap();
    let looked: u64 = processes.map(looked).iter().sum();
    assert_eq!(looked, 60 * SAMPLES);
    assert_eq!(world.list("kept/seed-0"), (0..60).map(view).collect::<Vec<_>>());
    let found = world.hcd(&format!("{line} --verify 300")).succeeded().json();
    assert_eq!(found["missing"], 0);
}

#[test]
fn a_teacher_looks_at_a_size_of_its_own() {
    let world = World::new();
    world.hcd("train student.toml --set data.image_size=24 --epochs 1 --out large").succeeded();
    let line = |out: &str| {
        format!(
            "distill student.toml --teacher large/student.safetensors --set teacher.image_size=24 --cache kept --out {out}"
        )
    };
    world.hcd(&line("one")).succeeded();
    world.hcd(&line("two")).succeeded();
    assert!(world.read("one/student.safetensors") == world.read("two/student.safetensors"));
    let key = world.json("kept/cache.json");
    assert_eq!((&key["image"]["height"], &key["student_image"]["height"]), (&24.into(), &12.into()));
    world
        .hcd(&line("no").replace("image_size=24", "image_size=20"))
        .refused(&["kept: was filled with image.height = 24, this run has 20", "--cache"]);
    // A comparison's figure of the teacher is of what it looks at.
    let compared = line("all").replace("distill", "compare") + " --methods kd --seeds 0 --json";
    assert!(world.hcd(&compared).succeeded().json()["teacher"]["top1"].is_number());
    world
        .hcd("distill student.toml --set teacher.image_size=24 --out no")
        .refused(&["takes images of 1x12x12, not 1x24x24, which is teacher.image_size = 24"]);
}

fn with_cache(world: &World) {
    world.hcd("cache-teacher student.toml --cache kept").succeeded();
}

#[test]
fn what_cannot_be_meant_is_refused() {
    check(&[
        case(sound, "cache-teacher student.toml", &["--cache DIR", "teacher.cache"]),
        case(sound, "cache-teacher student.toml --cache data", &["data: holds something else", "--cache"]),
        case(
            sound,
            "distill student.toml --cache data --out run",
            &["data: holds something else", "--cache"],
        ),
        case(sound, "compare student.toml --cache data --out run", &["data: holds something else"]),
        case(
            sound,
            "cache-teacher student.toml --cache student.toml",
            &["student.toml: is a file", "--cache"],
        ),
        case(
            sound,
            "cache-teacher student.toml --cache student.toml/x",
            &["student.toml is a file", "--cache"],
        ),
        case(
            sound,
            "cache-teacher student.toml --cache kept --verify 0",
            &["--verify 0: must be at least 1"],
        ),
        case(sound, "cache-teacher student.toml --cache kept --verify -1", &["--verify", "-1"]),
        case(
            sound,
            "cache-teacher student.toml --cache kept --verify 5",
            &["kept: holds no teacher's answers"],
        ),
        case(
            sound,
            "cache-teacher student.toml --cache kept --set teacher.stored=f64",
            &["teacher.stored", "`f64`", "`f16`", "`int8`"],
        ),
        case(
            sound,
            "distill student.toml --set teacher.image_size=0 --out run",
            &["teacher.image_size = 0, must be from 1 to 4096"],
        ),
        case(
            |world| world.edit("student.toml", "[teacher]\nweights = \"teacher.safetensors\"", ""),
            "cache-teacher student.toml --cache kept",
            &["teacher"],
        ),
        case(
            with_cache,
            "distill student.toml --cache kept --out run --set data.views.horizontal_flip=0.25",
            &["kept: was filled with views.horizontal_flip = 0.5, this run has 0.25", "--cache"],
        ),
        case(
            with_cache,
            "compare student.toml --cache kept --out run --set teacher.stored=int8",
            &["kept: was filled with stored = \"f16\", this run has \"int8\""],
        ),
        case(
            with_cache,
            "cache-teacher student.toml --cache kept --set data.validation=0.5",
            &["kept: was filled with data = "],
        ),
        case(
            |world| {
                with_cache(world);
                world.write("kept/cache.json", "{");
            },
            "distill student.toml --cache kept --out run",
            &["kept/cache.json: not as written", "remove the cache's folder"],
        ),
        #[cfg(target_os = "linux")]
        case(
            sound,
            "cache-teacher student.toml --cache /proc/hcd/kept",
            &["/proc/hcd/kept: cannot write into /proc", "--cache"],
        ),
    ]);
}

/// The system refuses to let a file grow beyond a few KiB (`ulimit -f` counts in blocks of 512 bytes or 1024).
#[test]
fn a_disk_that_fills_up_is_told_and_filling_goes_on() {
    let world = World::new();
    let line = "cache-teacher student.toml --cache kept --json";
    let ran = world.hcd_after("trap '' XFSZ; ulimit -f 5", line);
    let told = ran.stderr.lines().last().unwrap_or_default();
    assert!(ran.code == Some(2) && ran.stdout.is_empty(), "{ran}");
    assert!(told.starts_with("error: kept/seed-0/view-00000.safetensors.partial: cannot write"), "{ran}");
    assert!(told.contains("File too large"), "{ran}");
    assert!(world.list("kept/seed-0").is_empty());
    assert_eq!(world.hcd(line).succeeded().json()["looked_at"], 2 * SAMPLES);
}
