//! What can be typed of weights and images.

use clap::Args;
use clap::builder::RangedU64ValueParser;
use std::path::PathBuf;

/// Weights, and what their file may not say of itself.
#[derive(Debug, Args)]
pub struct WeightsSource {
    /// Weights: a file that hcd wrote, or one of timm or PyTorch (.safetensors, .pth, .pt, .th, .tar)
    #[arg(long, value_name = "FILE")]
    pub weights: PathBuf,
    /// The network they are for, as `hcd models` lists them; needed where the file does not say
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Option of the network that differs from what NAME says; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", requires = "model")]
    pub model_option: Vec<String>,
    /// Names of the classes in the order of the logits, one a line
    #[arg(long, value_name = "FILE")]
    pub classes: Option<PathBuf>,
    /// Side of the images, in pixels
    #[arg(long, value_name = "N", value_parser = side())]
    pub image_size: Option<u64>,
    /// Take what fits where tensors are missing, unexpected or misshapen, and list it
    #[arg(long)]
    pub partial: bool,
}

/// The side of an image.
fn side() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=hcd::data::Preprocess::MOST as u64)
}

/// At least one.
fn counted() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=1 << 20)
}

/// Which part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Split {
    /// The test images.
    Test,
    /// The training images.
    Train,
    /// Both.
    All,
}

impl From<Split> for hcd::eval::Part {
    fn from(split: Split) -> Self {
        match split {
            Split::Test => Self::Test,
            Split::Train => Self::Train,
            Split::All => Self::All,
        }
    }
}

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    #[command(flatten)]
    pub source: WeightsSource,
    /// Data set: IDX files, train/CLASS/ and test/CLASS/ (or val/) with images, CLASS/ with images, or photos
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// Part of the data set [default: test, where it has parts]
    #[arg(long, value_enum)]
    pub split: Option<Split>,
    /// Classes of photos: file and class a line (.csv, .tsv), or a JSON object (.json); without it, photos must
    /// be named as n01440764_tench.JPEG, and the sorted WordNet numbers are the classes
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// How the files are laid out [default: found out]
    #[arg(long, value_name = "NAME")]
    pub format: Option<String>,
    /// Turn images upright as the camera's EXIF tag says; networks trained so do it anyway
    #[arg(long)]
    pub exif_orientation: bool,
    /// Leave images out that cannot be read, and list them
    #[arg(long)]
    pub skip_bad: bool,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    #[command(flatten)]
    pub source: WeightsSource,
    /// Image files, or folders of them
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Most probable classes to tell of each image
    #[arg(long, value_name = "K", default_value = "5", value_parser = counted())]
    pub top: u64,
    /// Turn images upright as the camera's EXIF tag says; networks trained so do it anyway
    #[arg(long)]
    pub exif_orientation: bool,
    /// Print one JSON object a line for each image
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `features`.
#[derive(Debug, Args)]
pub struct FeaturesArgs {
    #[command(flatten)]
    pub source: WeightsSource,
    /// Folder of images (any depth, sorted), or a safetensors file with `images` (N, C, H, W), already normalised
    #[arg(long, value_name = "PATH")]
    pub images: PathBuf,
    /// File to write; there must be none of that name
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Images a forward pass
    #[arg(long, value_name = "N", default_value = "32", value_parser = counted())]
    pub batch_size: u64,
    /// Turn images upright as the camera's EXIF tag says; networks trained so do it anyway
    #[arg(long)]
    pub exif_orientation: bool,
    /// Print one JSON object instead of a line
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `models`.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// Print the layers of this network
    pub name: Option<String>,
    /// Option of the network that differs from what NAME says; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", requires = "name")]
    pub model_option: Vec<String>,
    /// Side of the images, in pixels [default: the network's usual one]
    #[arg(long, value_name = "N", requires = "name", value_parser = side())]
    pub image_size: Option<u64>,
    /// Channels of the images
    #[arg(long, value_name = "N", requires = "name", default_value = "3", value_parser = counted())]
    pub channels: u64,
    /// Number of classes
    #[arg(long, value_name = "K", requires = "name", default_value = "1000", value_parser = counted())]
    pub classes: u64,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}
