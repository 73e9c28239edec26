//! Places where a run cannot be: taken folders, full and read-only disks. One line, exit code 2, nothing half-written.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::PathBuf;
use std::process::Command;
use support::World;
use support::refusals::{case, check, sound};

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
