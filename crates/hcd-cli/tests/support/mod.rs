//! A tiny data set, recipes and a trained teacher, for tests that run the real `hcd`.
//!
//! Every test has a folder of its own, in which its commands run; so paths in them are short and relative.

// Each test binary uses a part of this.
#![allow(dead_code)]

pub mod refusals;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The program under test.
const HCD: &str = env!("CARGO_BIN_EXE_hcd");

/// What a finished run holds.
pub const RUN: [&str; 10] = [
    "checkpoints",
    "insight.json",
    "metrics.jsonl",
    "recipe.toml",
    "report.html",
    "result.json",
    "run.json",
    "student-best.safetensors",
    "student.safetensors",
    "timing.json",
];

/// Far beyond what any command here takes; what runs so long hangs.
const HANGS: Duration = Duration::from_secs(120);

/// Side of the images.
const SIDE: usize = 12;

/// A student of three classes, its teacher, and two epochs of five batches (54 images, 6 being held out).
const STUDENT: &str = r#"
[data]
path = "data"

[data.views]
crop_padding = 1
horizontal_flip = 0.5

[student]
name = "resnet10_small"
widths = [4, 4, 8, 8]

[teacher]
weights = "teacher.safetensors"

[train]
epochs = 2
batch_size = 10
"#;

const TEACHER: &str = r#"
[data]
path = "data"

[model]
name = "swin_small_patch2"
width = 8
heads = [1, 2, 2]
depths = [1, 1, 1]

[train]
epochs = 3
batch_size = 10

[optimizer]
name = "adamw"
lr = 5e-3
"#;

/// A folder with `data`, `student.toml`, `teacher.toml` and `teacher.safetensors`.
pub struct World(TempDir);

impl World {
    /// A new one. The teacher is trained once for all of a test binary.
    pub fn new() -> Self {
        static WEIGHTS: OnceLock<Vec<u8>> = OnceLock::new();
        let weights = WEIGHTS.get_or_init(|| {
            let world = Self::without_teacher();
            world.hcd("train teacher.toml --out teacher").succeeded();
            world.read("teacher/student.safetensors")
        });
        let world = Self::without_teacher();
        world.write("teacher.safetensors", weights);
        world
    }

    fn without_teacher() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        write_data(&world.path("data"), 3);
        world.write("student.toml", STUDENT);
        world.write("teacher.toml", TEACHER);
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    pub fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// Replaces a part of a text file that must be in it.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.text(name);
        assert!(text.contains(from), "{name} has no {from}");
        self.write(name, text.replace(from, to));
    }

    /// Changes one byte in the middle of a file.
    pub fn damage(&self, name: &str) {
        let mut bytes = self.read(name);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        self.write(name, bytes);
    }

    /// The names in a folder, sorted.
    pub fn list(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Every file below a folder by its path, folders by their path and a slash.
    pub fn tree(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        fn walk(top: &Path, folder: &Path, tree: &mut BTreeMap<String, Vec<u8>>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(top).unwrap().display().to_string();
                if path.is_dir() {
                    tree.insert(format!("{name}/"), Vec::new());
                    walk(top, &path, tree);
                } else {
                    tree.insert(name, std::fs::read(&path).unwrap());
                }
            }
        }
        let mut tree = BTreeMap::new();
        walk(&self.path(folder), &self.path(folder), &mut tree);
        tree
    }

    /// Runs `hcd` with the words of `line`, on one thread unless it says otherwise.
    pub fn hcd(&self, line: &str) -> Ran {
        self.run(HCD, &words(line), line)
    }

    /// As [`World::hcd`], under a shell that first does `prelude`.
    pub fn hcd_after(&self, prelude: &str, line: &str) -> Ran {
        let script = format!("{prelude}; exec \"$0\" \"$@\"");
        let mut args = vec!["-c".to_owned(), script, HCD.to_owned()];
        args.extend(words(line));
        self.run("sh", &args, line)
    }

    fn run(&self, program: &str, args: &[String], line: &str) -> Ran {
        let mut command = assert_cmd::Command::new(program);
        Ran::of(line, command.args(args).current_dir(self.0.path()).timeout(HANGS).output().unwrap())
    }

    /// Starts `hcd`, to be waited for with [`Started::ended`].
    pub fn start(&self, line: &str) -> Started {
        let child = self.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Started { line: line.to_owned(), child }
    }

    /// A command that is yet to be started.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(HCD);
        command.args(words(line)).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    /// Starts `hcd`, and kills it (SIGKILL) as soon as `when` holds. Gives whether it was killed before its end;
    /// one that ends by itself must succeed.
    pub fn kill_when(&self, line: &str, mut when: impl FnMut() -> bool) -> bool {
        let mut child = self.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        while !when() {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "hcd {line}: {status}");
                return false;
            }
            assert!(began.elapsed() < HANGS, "hcd {line}: hangs");
            // Others need the cores more; the disk is slower than this.
            std::thread::sleep(Duration::from_micros(200));
        }
        end(&mut child)
    }
}

/// Kills a child. Gives whether that is what it died of.
fn end(child: &mut Child) -> bool {
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    if !line.contains("--threads") {
        words.extend(["--threads".to_owned(), "1".to_owned()]);
    }
    words
}

/// A command at work.
pub struct Started {
    line: String,
    child: Child,
}

impl Started {
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub fn ended(self) -> Ran {
        Ran::of(&self.line, self.child.wait_with_output().unwrap())
    }
}

/// What a command did.
pub struct Ran {
    line: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, code, stdout, stderr } = self;
        write!(f, "hcd {line}\nexit code {code:?}\nstdout: {stdout}\nstderr: {stderr}")
    }
}

impl Ran {
    fn of(line: &str, output: Output) -> Self {
        Self {
            line: line.to_owned(),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It must have succeeded, and said nothing on stderr but progress, warnings and where things are.
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{self}");
        for line in self.told() {
            let known = ["report: ", "parameters are for", "note: "];
            assert!(known.iter().any(|start| line.starts_with(start)), "{line}\n{self}");
        }
        self
    }

    /// It must have been refused as what the user can mend: exit code 2, nothing on stdout, and on stderr,
    /// after warnings and progress, one line that begins with `error: `. Gives that line.
    pub fn refusal(&self) -> Result<String, String> {
        let told = self.told();
        let [line] = told[..] else { return Err(format!("{} lines, expected one\n{self}", told.len())) };
        let faults = [
            (self.code != Some(2), "the exit code is not 2"),
            (!self.stdout.is_empty(), "something is on stdout"),
            (!line.starts_with("error: "), "it does not begin with `error: `"),
            (self.stderr.lines().last() != Some(line), "the error is not the last line"),
            (self.stderr.contains("panicked"), "it panicked"),
        ];
        match faults.iter().find(|(found, _)| *found) {
            Some((_, fault)) => Err(format!("{fault}\n{self}")),
            None => Ok(line.to_owned()),
        }
    }

    /// As [`Ran::refusal`]; the line must hold all of `words`.
    pub fn refused(&self, words: &[&str]) {
        let line = self.refusal().unwrap_or_else(|fault| panic!("{fault}"));
        for word in words {
            assert!(line.contains(word), "no `{word}` in: {line}");
        }
    }

    /// The one JSON value, on one line, that is all of stdout.
    pub fn json(&self) -> serde_json::Value {
        assert!(self.stdout.ends_with('\n') && self.stdout.lines().count() == 1, "{self}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{self}"))
    }

    /// How many lines of progress there are: one for each epoch trained.
    pub fn epochs_told(&self) -> usize {
        self.stderr.lines().filter(|line| is_progress(line)).count()
    }

    pub fn warnings(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with("warning: ")).collect()
    }

    /// stderr without warnings and progress.
    fn told(&self) -> Vec<&str> {
        let counts = |line: &&str| !line.starts_with("warning: ") && !is_progress(line);
        self.stderr.lines().filter(counts).collect()
    }
}

/// `     hcd  epoch 1: loss …`
fn is_progress(line: &str) -> bool {
    let mut words = line.split_whitespace().skip(1);
    let number = |word: &str| word.strip_suffix(':').is_some_and(|word| word.parse::<u64>().is_ok());
    words.next() == Some("epoch") && words.next().is_some_and(number) && words.next() == Some("loss")
}

/// An IDX data set of 60 + 30 images: a bright bar at the left, in the middle or at the right, in noise.
pub fn write_data(folder: &Path, classes: usize) {
    std::fs::create_dir_all(folder).unwrap();
    let mut noise = 1u64;
    for (half, count) in [("train", 60), ("t10k", 30)] {
        let labels: Vec<u8> = (0..count).map(|index| (index % 3) as u8).collect();
        let mut pixels = Vec::new();
        for &label in &labels {
            for place in 0..SIDE * SIDE {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let bright = place % SIDE / 4 == usize::from(label);
                pixels.push((noise >> 58) as u8 + if bright { 150 } else { 20 });
            }
        }
        let images = idx(&[count, SIDE, SIDE], &pixels);
        std::fs::write(folder.join(format!("{half}-images-idx3-ubyte")), images).unwrap();
        std::fs::write(folder.join(format!("{half}-labels-idx1-ubyte")), idx(&[count], &labels)).unwrap();
    }
    let names = ["left", "middle", "right", "none"][..classes].join("\n");
    std::fs::write(folder.join("classes.txt"), names).unwrap();
}

/// A colour image in the format PPM, every pixel of one colour but for the first row.
pub fn ppm(width: usize, height: usize, color: [u8; 3]) -> Vec<u8> {
    let mut file = format!("P6\n{width} {height}\n255\n").into_bytes();
    file.extend((0..3 * width).map(|place| place as u8));
    (width..width * height).for_each(|_| file.extend(color));
    file
}

/// An IDX file of bytes.
pub fn idx(dims: &[usize], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|&dim| file.extend((dim as u32).to_be_bytes()));
    file.extend(bytes);
    file
}
