//! Step 1, what we look at: labelled images and the batches made of them.
//!
//! A [`Dataset`] hands out decoded 8-bit images; [`open`] recognises the layout of a folder. What
//! training sees of a sample in an epoch is its [`View`], drawn from (seed, epoch, sample id) alone
//! ([`view`]) and then applied ([`augment`]); [`TrainLoader`] and [`EvalLoader`] prepare
//! normalised [`HostBatch`]es of them ahead of use.

use crate::error::{Error, Result};
use std::fmt::{self, Debug, Display};
use std::path::Path;
use std::sync::Arc;

pub mod adapted;
pub mod aircraft;
pub mod at_size;
pub mod augment;
pub mod augment_ops;
pub mod batch;
pub mod check;
pub mod cifar;
pub mod cub;
pub mod decode;
pub mod encoded;
pub mod fingerprint;
pub mod folder;
pub mod idx;
pub mod imagenet;
mod kept;
pub mod layouts;
pub mod loader;
pub mod memory;
pub mod normalize;
pub mod parquet;
pub mod photos;
pub mod relabelled;
pub mod request;
pub mod resize;
pub mod sheet;
pub mod single_folder;
pub mod split;
mod stamp;
pub mod survey;
pub mod tiny_imagenet;
pub mod view;
pub mod webdataset;

pub use adapted::Adapted;
pub use at_size::AtSize;
pub use batch::HostBatch;
pub use check::{Checked, LeftOut};
pub use encoded::Encoded;
pub use fingerprint::fingerprint;
pub(crate) use fingerprint::known as known_fingerprint;
pub use layouts::Layout;
pub use loader::{Batches, EvalLoader, TrainLoader};
pub use memory::Memory;
pub use normalize::Normalization;
pub use relabelled::{Joined, Matched, Relabelled};
pub use request::Request;
pub use resize::Preprocess;
pub use sheet::contact_sheet;
pub use split::{Subset, at_most_per_class, stratified_split};
pub use stamp::ViewStamp;
pub use survey::Survey;
pub use view::{Crop, CropConfig, JitterConfig, Mixing, View, ViewPolicy, Views};

/// Channels, height and width of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImageShape {
    /// Samples a pixel: 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Pixels a row.
    pub width: usize,
}

impl ImageShape {
    /// Numbers in one image: channels × height × width.
    pub fn numel(self) -> usize {
        self.channels * self.height * self.width
    }
}

impl Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.channels, self.height, self.width)
    }
}

/// One image, 8 bits a sample, rows of pixels of interleaved channels (H, W, C).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Rows.
    pub height: usize,
    /// Pixels a row.
    pub width: usize,
    /// Samples a pixel.
    pub channels: usize,
    /// height × width × channels samples, 0 to 255.
    pub pixels: Vec<u8>,
}

impl Image {
    /// Its channels, height and width.
    pub fn shape(&self) -> ImageShape {
        ImageShape { channels: self.channels, height: self.height, width: self.width }
    }
}

/// Labelled images, all of one shape, each under an index below [`len`](Dataset::len).
///
/// Methods that take an index panic where it is not below `len`; that is the caller's mistake.
pub trait Dataset: Send + Sync + Debug {
    /// How many samples there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names of the classes; a label is an index into them.
    fn classes(&self) -> &[String];

    /// The class of a sample, below `classes().len()`.
    fn label(&self, index: usize) -> usize;

    /// The decoded image of a sample.
    ///
    /// # Errors
    /// Where it cannot be read or decoded.
    fn image(&self, index: usize) -> Result<Image>;

    /// The image of a sample before it was brought to that shape: what random crops are taken from.
    ///
    /// # Errors
    /// As [`Dataset::image`].
    fn original(&self, index: usize) -> Result<Image> {
        self.image(index)
    }

    /// The shape all images share.
    fn image_shape(&self) -> ImageShape;

    /// The number a sample keeps for good: its place in the set that it came from, which a
    /// [`Subset`] passes on. Views and cached teachers go by it.
    fn id(&self, index: usize) -> u64;

    /// What errors call it, as `data/fashion-mnist (train)`.
    fn name(&self) -> String;

    /// What people call a sample: its file, or its place.
    fn shown(&self, index: usize) -> String {
        format!("{}: sample {}", self.name(), self.id(index))
    }

    /// Whether an image takes work each time, so that several threads had better share a batch's.
    fn decodes(&self) -> bool {
        false
    }

    /// What is not in the set because it cannot be read.
    fn left_out(&self) -> &[LeftOut] {
        &[]
    }
}

/// The parts of a published data set.
#[derive(Debug, Clone)]
pub struct Splits {
    /// To learn from, and to hold a validation part out of where none comes with the set.
    pub train: Arc<dyn Dataset>,
    /// To choose epochs and settings by, where the set comes with such a part beside the one to test on.
    pub validation: Option<Arc<dyn Dataset>>,
    /// To report on: looked at by `eval` alone.
    pub test: Arc<dyn Dataset>,
}

/// Opens the data set in a folder, whatever its layout ([`Layout`]), images as they are.
///
/// # Errors
/// As [`open_as`].
pub fn open(path: &Path) -> Result<Splits> {
    open_as(path, &Request::default())
}

/// Opens the data set in a folder, images as `request` wants them.
///
/// # Errors
/// Where the folder is missing, its layout is unknown, or a file in it is damaged.
pub fn open_as(path: &Path, request: &Request) -> Result<Splits> {
    let layout = request.layout.or_else(|| Layout::recognise(path));
    if layout.is_none() || !path.is_file() {
        check_folder(path)?;
    }
    match layout {
        Some(layout) => layout.open(path, request),
        None => Err(unknown(path)),
    }
}

/// A folder that holds no data set.
pub(crate) fn unknown(path: &Path) -> Error {
    Error::Data(format!("{}: holds no data set of a known layout; {}", path.display(), looked_for()))
}

/// What [`open`] looks for, for errors.
fn looked_for() -> String {
    format!("looked for {} (plain or .gz), or train/CLASS/ with images", idx::NAMES.join(", "))
}

/// Whether a data set's folder is one.
///
/// # Errors
/// Where it is missing or a file.
pub fn check_folder(path: &Path) -> Result<()> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::Data(format!("{shown}: no such folder; {} in it", looked_for())))
        }
        Err(source) => Err(Error::Io { path: path.to_owned(), action: "open", source }),
        Ok(found) if !found.is_dir() => {
            Err(Error::Data(format!("{shown}: is a file, expected a folder; {} in it", looked_for())))
        }
        Ok(_) => Ok(()),
    }
}
