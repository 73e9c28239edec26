//! What can be typed.

mod comparing;
mod images;

pub use comparing::{CompareArgs, ReportArgs, ViewsArgs};
pub use images::{EvaluateArgs, FeaturesArgs, ModelsArgs, PredictArgs, WeightsSource};

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand};
use hcd::config::{Override, parse_override};
use std::path::PathBuf;

/// A whole number that a recipe can hold.
fn whole() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(..=i64::MAX as u64)
}

/// Knowledge distillation between unlike architectures.
#[derive(Debug, Parser)]
#[command(name = "hcd", version, about, max_term_width = 100, after_help = "Start with: hcd demo")]
pub struct Arguments {
    /// Threads to compute with; results are the same bits only at the same number [default: all cores]
    #[arg(long, global = true, value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<usize>,
    /// Where to compute: flex is the CPU; others as built in
    #[arg(long, global = true, value_name = "NAME", default_value = "flex")]
    pub device: String,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The sub-commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Distil a small ResNet from a Swin transformer on Fashion-MNIST, beside KD and training from labels
    #[command(
        after_help = "Examples:\n  hcd demo\n  hcd demo --seed 1 --out runs/demo1\n  hcd demo --epochs 2 --json"
    )]
    Demo(DemoArgs),
    /// Train a network from labels
    #[command(
        after_help = "Examples:\n  hcd train recipes/teacher-swin-fashion-mnist.toml --out runs/teacher\n  \
        hcd train --data data/fashion-mnist --model resnet10_small --epochs 5 --set optimizer.lr=0.1\n  \
        hcd train --resume runs/teacher"
    )]
    Train(TrainArgs),
    /// Distil a student from a teacher
    #[command(after_help = "Examples:\n  hcd distill recipes/demo.toml --out runs/student\n  \
        hcd distill --data data/fashion-mnist --student resnet10_small --teacher teacher.safetensors \
        --method hcd --epochs 5\n  hcd distill recipes/demo.toml --set method.sub_logits=8\n  \
        hcd distill --resume runs/student")]
    Distill(TrainArgs),
    /// Have a teacher look at every view of a recipe once, and keep its answers in files
    #[command(after_help = "Examples:\n  hcd cache-teacher recipes/demo.toml --cache caches/demo\n  \
        hcd cache-teacher recipes/demo.toml --cache caches/bank --set data.views.bank=20\n  \
        hcd cache-teacher recipes/demo.toml --cache caches/demo --verify 100")]
    CacheTeacher(CacheArgs),
    /// Compare methods over seeds, and pairs: one table with mean and standard deviation; finished cells are not run again
    #[command(
        after_help = "Examples:\n  hcd compare recipes/compare-fashion-mnist.toml --out runs/compare\n  \
        hcd compare recipes/demo.toml --methods scratch,kd --seeds 0,1,2\n  \
        hcd compare recipes/compare-fashion-mnist.toml --budget\n  \
        hcd compare recipes/search-fashion-mnist.toml --on validation --out runs/search"
    )]
    Compare(CompareArgs),
    /// Write the views of a training as files, for a teacher of another framework to look at
    #[command(
        after_help = "Examples:\n  hcd views recipes/demo.toml --set data.views.bank=5 --out views\n  \
        hcd distill recipes/demo.toml --set data.views.bank=5 --teacher-features answers.safetensors"
    )]
    Views(ViewsArgs),
    /// Gather runs and comparisons of any age into one table, and a page
    #[command(after_help = "Examples:\n  hcd report runs/compare\n  \
        hcd report runs/kd-seed-0 runs/hcd-seed-0 --out runs/both")]
    Report(ReportArgs),
    /// Describe a data set: classes, sizes, mean and deviation, copies, unreadable images, a contact sheet
    #[command(
        after_help = "Examples:\n  hcd data data/fashion-mnist\n  hcd data cifar-100-binary.tar.gz --check\n  \
        hcd data recipes/demo.toml --sheet sheet.png\n  \
        hcd data photos --image-size 224 --set data.views.auto_augment=rand-m9-mstd0.5-inc1 --sheet sheet.png"
    )]
    Data(DataArgs),
    /// Evaluate weights on a data set, class folders or labelled photos
    #[command(
        after_help = "Examples:\n  hcd evaluate --weights runs/student/student.safetensors --data data/fashion-mnist\n  \
        hcd evaluate --weights teacher.safetensors --data data/fashion-mnist --split train --json\n  \
        hcd evaluate --model resnet20 --weights resnet20.th --data cifar10 --classes cifar10.txt\n  \
        hcd evaluate --weights model.safetensors --data photos --labels labels.csv"
    )]
    Evaluate(EvaluateArgs),
    /// Label images with class names and probabilities
    #[command(after_help = "Examples:\n  hcd predict --weights student.safetensors photo.jpg\n  \
        hcd predict --model efficientnet_lite0 --weights lite0.pth --classes imagenet.txt --top 3 --json photos/")]
    Predict(PredictArgs),
    /// Write a network's features of images: logits, penultimate, mean of each stage
    #[command(
        after_help = "Examples:\n  hcd features --weights teacher.safetensors --images photos --out features.safetensors\n  \
        hcd features --model vit_small_patch16_224 --weights vit.safetensors --images images.safetensors \
        --out features.safetensors"
    )]
    Features(FeaturesArgs),
    /// Write weights as a file of their own, under timm's names
    #[command(
        after_help = "Examples:\n  hcd export --weights runs/student/student-best.safetensors --out student.safetensors\n  \
        hcd export --weights runs/student/student.safetensors --out small.safetensors --precision f16\n  \
        hcd export --weights runs/student/student.safetensors --format onnx --out student.onnx"
    )]
    Export(ExportArgs),
    /// List the networks there are with their cost, or one network's layers
    #[command(after_help = "Examples:\n  hcd models\n  hcd models resnet18\n  \
        hcd models swin_small_patch2 --image-size 28 --channels 1 --classes 10 --model-option width=32\n  \
        hcd models --json")]
    Models(ModelsArgs),
    /// List the methods there are, with their defaults
    #[command(after_help = "Examples:\n  hcd methods\n  hcd methods --json")]
    Methods(ListArgs),
    /// Print a recipe with every default and where each value comes from
    #[command(after_help = "Examples:\n  hcd recipe recipes/demo.toml\n  \
        hcd recipe recipes/demo.toml --set method.temperature=4 --json")]
    Recipe(RecipeArgs),
}

/// A recipe file and what differs from it.
#[derive(Debug, Args)]
pub struct RecipeSource {
    /// Recipe file (TOML); without it, the defaults and the flags below
    pub recipe: Option<PathBuf>,
    /// Set any key of the recipe; may be given more than once
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Folder of the data set (data.path)
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Turn images upright as the camera's EXIF tag says (data.exif_orientation)
    #[arg(long)]
    pub exif_orientation: bool,
    /// Leave images out that cannot be read, and list them in the result (data.skip_bad)
    #[arg(long)]
    pub skip_bad: bool,
    /// Network to train, as `hcd models` lists them (student.name)
    #[arg(long, visible_alias = "model", value_name = "NAME")]
    pub student: Option<String>,
    /// Weights that the network begins with, a file of any origin (student.weights)
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Weights of the teacher (teacher.weights)
    #[arg(long, value_name = "FILE")]
    pub teacher: Option<PathBuf>,
    /// Answers of a teacher of another framework, in place of its weights (teacher.features)
    #[arg(long, value_name = "FILE", conflicts_with = "teacher")]
    pub teacher_features: Option<PathBuf>,
    /// Network of the teacher, where its file does not say (teacher.model.name)
    #[arg(long, value_name = "NAME")]
    pub teacher_model: Option<String>,
    /// Folder that the teacher's answers are kept in, and read from where they are there (teacher.cache)
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// How the teacher teaches, as `hcd methods` lists them (method.name)
    #[arg(long, value_name = "NAME")]
    pub method: Option<String>,
    /// Passes over the training data (train.epochs)
    #[arg(long, value_name = "N", value_parser = whole(), allow_negative_numbers = true)]
    pub epochs: Option<u64>,
    /// Images a batch (train.batch_size)
    #[arg(long, value_name = "N", value_parser = whole(), allow_negative_numbers = true)]
    pub batch_size: Option<u64>,
    /// Peak learning rate (optimizer.lr)
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// Seed of everything drawn by chance (seed)
    #[arg(long, value_name = "N", value_parser = whole(), allow_negative_numbers = true)]
    pub seed: Option<u64>,
}

impl RecipeSource {
    /// The flags as overrides of the recipe, `--set` last.
    pub fn overrides(&self) -> hcd::Result<Vec<Override>> {
        let mut all = Vec::new();
        let mut put = |key: &str, value: Option<toml::Value>| {
            all.extend(value.map(|value| Override::new(key, value)));
        };
        let whole =
            |number: Option<u64>| number.map(|n| toml::Value::Integer(i64::try_from(n).unwrap_or(i64::MAX)));
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string().into());
        put("data.path", path(&self.data));
        put("data.exif_orientation", self.exif_orientation.then_some(true.into()));
        put("data.skip_bad", self.skip_bad.then_some(true.into()));
        put("student.name", self.student.clone().map(Into::into));
        put("student.weights", path(&self.weights));
        put("teacher.weights", path(&self.teacher));
        // In the place of whatever teacher the recipe has.
        let features = |path: &PathBuf| {
            toml::Value::Table(toml::Table::from_iter([(
                "features".to_owned(),
                path.display().to_string().into(),
            )]))
        };
        put("teacher", self.teacher_features.as_ref().map(features));
        put("teacher.model.name", self.teacher_model.clone().map(Into::into));
        put("teacher.cache", path(&self.cache));
        put("method.name", self.method.clone().map(Into::into));
        put("train.epochs", whole(self.epochs));
        put("train.batch_size", whole(self.batch_size));
        put("optimizer.lr", self.lr.map(Into::into));
        put("seed", whole(self.seed));
        for text in &self.set {
            all.push(parse_override(text)?);
        }
        Ok(all)
    }
}

/// Where a run goes.
#[derive(Debug, Args)]
pub struct RunPlace {
    /// Folder of the run, new or empty [default: runs/<what>-<date>-<time>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `train` and `distill`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    #[command(flatten)]
    pub source: RecipeSource,
    #[command(flatten)]
    pub place: RunPlace,
    /// Go on with the run in this folder, from its newest whole checkpoint
    #[arg(long, value_name = "RUN", conflicts_with_all = ["recipe", "set", "data", "exif_orientation", "skip_bad", "student", "weights",
        "teacher", "teacher_model", "teacher_features", "cache", "method",
        "epochs", "batch_size", "lr", "seed", "out"])]
    pub resume: Option<PathBuf>,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    #[command(flatten)]
    pub place: RunPlace,
    /// Seed of everything drawn by chance
    #[arg(long, value_name = "N", value_parser = whole(), allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Passes over the training data
    #[arg(long, value_name = "N", value_parser = whole(), allow_negative_numbers = true)]
    pub epochs: Option<u64>,
}

/// Arguments of `data`.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// A data set, or a recipe (.toml) that names one
    pub path: PathBuf,
    /// Set any key of the recipe; may be given more than once
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// How the files are laid out (data.format) [default: found out]
    #[arg(long, value_name = "NAME")]
    pub format: Option<String>,
    /// Side that images are brought to for the contact sheet (data.image_size)
    #[arg(long, value_name = "N", value_parser = whole(), allow_negative_numbers = true)]
    pub image_size: Option<u64>,
    /// Turn images upright as the camera's EXIF tag says (data.exif_orientation)
    #[arg(long)]
    pub exif_orientation: bool,
    /// Decode every image, and look for copies across the parts; ends with exit code 2 where one cannot be read
    #[arg(long)]
    pub check: bool,
    /// Write a contact sheet (.png), there must be none of that name: a sample a row, as it is and as training sees it
    #[arg(long, value_name = "FILE")]
    pub sheet: Option<PathBuf>,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cache-teacher`.
#[derive(Debug, Args)]
pub struct CacheArgs {
    #[command(flatten)]
    pub source: RecipeSource,
    /// Ask again about N stored answers, drawn by chance, and tell the largest difference; fills nothing
    #[arg(long, value_name = "N", value_parser = whole(), allow_negative_numbers = true)]
    pub verify: Option<u64>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Width {
    /// 32-bit.
    F32,
    /// 16-bit, IEEE half.
    F16,
}

/// What kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Tensors under timm's names.
    Safetensors,
    /// Network and tensors, for ONNX runtimes.
    Onnx,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub source: WeightsSource,
    /// File to write; there must be none of that name
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// What kind of file
    #[arg(long, value_enum, default_value = "safetensors")]
    pub format: Format,
    /// How numbers are stored
    #[arg(long, value_enum, default_value = "f32")]
    pub precision: Width,
    /// Print one JSON object instead of a line
    #[arg(long)]
    pub json: bool,
}

/// Arguments of the lists.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `recipe`.
#[derive(Debug, Args)]
pub struct RecipeArgs {
    #[command(flatten)]
    pub source: RecipeSource,
    /// Print JSON instead of TOML
    #[arg(long)]
    pub json: bool,
}
