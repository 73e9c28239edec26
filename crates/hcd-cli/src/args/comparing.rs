//! What can be typed after `compare`, `report` and `views`.

use super::{RecipeSource, whole};
use clap::Args;
use std::path::PathBuf;

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    #[command(flatten)]
    pub source: RecipeSource,
    /// Folder of the comparison; one that was begun goes on [default: runs/compare-<date>-<time>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    /// Methods to compare, in place of the recipe's
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub methods: Option<Vec<String>>,
    /// Seeds, in place of the recipe's
    #[arg(long, value_delimiter = ',', value_name = "SEEDS", value_parser = whole(), allow_negative_numbers = true)]
    pub seeds: Option<Vec<u64>>,
    /// Measure some steps, tell what all of it will take, and end
    #[arg(long)]
    pub budget: bool,
    /// Images that the table is on: validation to choose settings by, and test once they are chosen (compare.on)
    #[arg(long, value_enum, value_name = "SPLIT")]
    pub on: Option<Judge>,
}

/// Arguments of `views`.
#[derive(Debug, Args)]
pub struct ViewsArgs {
    #[command(flatten)]
    pub source: RecipeSource,
    /// Folder for the files, one a view; there must be nothing in it
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Views to write, by number [default: all that the training shows]
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS", value_parser = whole(), allow_negative_numbers = true)]
    pub numbers: Option<Vec<u64>>,
    /// Side of the images, in pixels: the same views at the size that a teacher looks at [default: the student's]
    #[arg(long, value_name = "PIXELS")]
    pub image_size: Option<usize>,
    /// Print one JSON object instead of a line
    #[arg(long)]
    pub json: bool,
}

/// Which runs to report on.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folders of runs, or of comparisons
    #[arg(required = true, value_name = "DIR")]
    pub runs: Vec<PathBuf>,
    /// Folder for report.html, results.md and results.csv; there must be nothing in it
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Which images a comparison is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Judge {
    /// The test images.
    Test,
    /// The held-out part of the training images; the test images have no part in it.
    Validation,
}

impl From<Judge> for hcd::eval::Split {
    fn from(judge: Judge) -> Self {
        match judge {
            Judge::Test => Self::Test,
            Judge::Validation => Self::Validation,
        }
    }
}
