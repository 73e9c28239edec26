//! Which layout a folder's data set has, told by its files or by a name; and what the layouts share: lists in text
//! files, and the two halves.

use super::folder::Labelled;
use super::{Adapted, Dataset, Request, Splits};
use super::{aircraft, cifar, cub, folder, idx, imagenet, parquet, single_folder, tiny_imagenet, webdataset};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// How the files of a data set are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// CUB-200-2011 ([`cub`]).
    Cub,
    /// FGVC-Aircraft ([`aircraft`]).
    Aircraft,
    /// ImageNet-1K with its validation images in one folder ([`imagenet`]).
    Imagenet,
    /// Tiny ImageNet ([`tiny_imagenet`]).
    TinyImagenet,
    /// A folder for each half, in it one for each class ([`folder`]).
    Folder,
    /// A folder for each class, without halves ([`single_folder`]).
    SingleFolder,
    /// MNIST and its like ([`idx`]).
    Idx,
    /// CIFAR-10 and CIFAR-100 ([`cifar`]).
    Cifar,
    /// Shards of Hugging Face's hub ([`parquet`]).
    Parquet,
    /// Tar shards ([`webdataset`]).
    Webdataset,
}

impl Layout {
    /// Every layout in the order in which they are looked for: what is told by names of its own comes before what
    /// any folder of folders may look like.
    pub const ALL: [Self; 10] = [
        Self::Idx,
        Self::Cifar,
        Self::Cub,
        Self::Aircraft,
        Self::TinyImagenet,
        Self::Imagenet,
        Self::Parquet,
        Self::Webdataset,
        Self::Folder,
        Self::SingleFolder,
    ];

    /// Its name in recipes and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cub => "cub",
            Self::Aircraft => "aircraft",
            Self::Imagenet => "imagenet",
            Self::TinyImagenet => "tiny-imagenet",
            Self::Folder => "folder",
            Self::SingleFolder => "single-folder",
            Self::Idx => "idx",
            Self::Cifar => "cifar",
            Self::Parquet => "parquet",
            Self::Webdataset => "webdataset",
        }
    }

    /// The layout of the set in a folder, where it is a known one.
    pub fn recognise(path: &Path) -> Option<Self> {
        Self::ALL.into_iter().find(|layout| layout.recognises(path))
    }

    fn recognises(self, path: &Path) -> bool {
        match self {
            Self::Cub => cub::recognises(path),
            Self::Aircraft => aircraft::recognises(path),
            Self::Imagenet => imagenet::recognises(path),
            Self::TinyImagenet => tiny_imagenet::recognises(path),
            Self::Folder => folder::recognises(path),
            Self::SingleFolder => single_folder::recognises(path),
            Self::Idx => idx::recognises(path),
            Self::Cifar => cifar::recognises(path),
            Self::Parquet => parquet::recognises(path),
            Self::Webdataset => webdataset::recognises(path),
        }
    }

    /// Opens a folder as a set of this layout.
    ///
    /// # Errors
    /// Where a file is missing or damaged, as the layout's own module says.
    pub fn open(self, path: &Path, request: &Request) -> Result<Splits> {
        match self {
            Self::Cub => cub::open(path, request),
            Self::Aircraft => aircraft::open(path, request),
            Self::Imagenet => imagenet::open(path, request),
            Self::TinyImagenet => tiny_imagenet::open(path, request),
            Self::Folder => folder::open(path, request),
            Self::SingleFolder => single_folder::open(path, request),
            Self::Idx => adapted(idx::open(path)?, request),
            Self::Cifar => adapted(cifar::open(path, request.labels)?, request),
            Self::Parquet => parquet::open(path, request),
            Self::Webdataset => webdataset::open(path, request),
        }
    }

    /// What a user must know of a set of this layout before they believe its figures.
    pub fn notice(self, path: &Path) -> Option<String> {
        (self == Self::SingleFolder).then(|| single_folder::notice(path))
    }
}

/// All parts as `request` wants to see them.
fn adapted(Splits { train, test, validation }: Splits, request: &Request) -> Result<Splits> {
    let wrap = |set| Adapted::wrap(set, request);
    Ok(Splits { train: wrap(train)?, test: wrap(test)?, validation: validation.map(wrap).transpose()? })
}

impl Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Layout {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|layout| layout.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::Recipe(format!("`{name}` is no layout of a data set, expected one of {known}"))
        })
    }
}

/// A request for a set that is known to be in colour: its first image may be one of a few grey ones.
pub(super) fn coloured(request: &Request) -> Request {
    Request { channels: request.channels.or(Some(3)), ..*request }
}

/// The two halves of a set whose files are listed.
pub(super) fn halves(
    root: &Path,
    classes: &[String],
    train: Labelled,
    test: Labelled,
    request: &Request,
) -> Result<Splits> {
    let half = |name: &str, files| {
        folder::of_files(format!("{} ({name})", root.display()), classes.to_vec(), files, request)
    };
    alike(Arc::new(half("train", train)?), Arc::new(half("test", test)?), None)
}

/// The parts of a set, once their images are known to be of one shape.
pub(super) fn alike(
    train: Arc<dyn Dataset>,
    test: Arc<dyn Dataset>,
    validation: Option<Arc<dyn Dataset>>,
) -> Result<Splits> {
    let expected = train.image_shape();
    for other in [&test].into_iter().chain(&validation) {
        let came = other.image_shape();
        if came != expected {
            let (name, train) = (other.name(), train.name());
            return Err(Error::Data(format!(
                "{name}: the first image is {came}, that of {train} is {expected}; set data.image_size and data.channels"
            )));
        }
    }
    Ok(Splits { train, test, validation })
}

/// A text file with an entry a line.
pub(super) struct List {
    path: PathBuf,
    text: String,
}

impl List {
    /// Most bytes of a list; the longest published one, WordNet's words, has 3 MB.
    const MOST: u64 = 1 << 27;

    pub(super) fn read(path: &Path) -> Result<Self> {
        let fail = |source| Error::Io { path: path.to_owned(), action: "read", source };
        let mut bytes = Vec::new();
        File::open(path).map_err(fail)?.take(Self::MOST + 1).read_to_end(&mut bytes).map_err(fail)?;
        let bad = |what: String| Error::Data(format!("{}: {what}", path.display()));
        if bytes.len() as u64 > Self::MOST {
            return Err(bad(format!("over {} bytes, too large for a list", Self::MOST)));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
            bad(format!("line {line}: is not UTF-8 text; fetch the file again"))
        })?;
        Ok(Self { path: path.to_owned(), text })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The lines that hold something, each with its number from 1, without space around.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let text = self.text.trim_start_matches('\u{feff}');
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        lines.filter(|(_, line)| !line.is_empty())
    }

    pub(super) fn bad(&self, line: usize, what: impl Display) -> Error {
        Error::Data(format!("{}: line {line}: {what}", self.path.display()))
    }

    /// That it holds nothing.
    pub(super) fn empty(&self, expected: &str) -> Error {
        Error::Data(format!("{}: is empty, expected {expected} a line", self.path.display()))
    }

    /// The first word of a line and the rest of it.
    pub(super) fn pair<'a>(&self, line: usize, text: &'a str, expected: &str) -> Result<(&'a str, &'a str)> {
        let (first, rest) = text
            .split_once(char::is_whitespace)
            .ok_or_else(|| self.bad(line, format_args!("{:?}, expected {expected}", brief(text))))?;
        Ok((first, rest.trim_start()))
    }

    pub(super) fn number(&self, line: usize, word: &str) -> Result<u64> {
        word.parse().map_err(|_| self.bad(line, format_args!("{:?}, expected a whole number", brief(word))))
    }

    /// The file of that name below a folder: there, and nowhere else.
    pub(super) fn file(&self, line: usize, folder: &Path, name: &str) -> Result<PathBuf> {
        if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
            let (name, folder) = (brief(name), folder.display());
            return Err(self.bad(line, format_args!("path {name:?} leads out of {folder}")));
        }
        let file = folder.join(name);
        match file.is_file() {
            true => Ok(file),
            false => {
                let shown = file.display();
                Err(self
                    .bad(line, format_args!("lists {shown}, which is not there; unpack the images again")))
            }
        }
    }

    /// A name a line, each once.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let mut seen = BTreeMap::new();
        for (line, name) in self.lines() {
            if let Some(first) = seen.insert(name, line) {
                return Err(self.bad(line, format_args!("{name:?} again, first in line {first}")));
            }
        }
        match seen.is_empty() {
            true => Err(self.empty("a name")),
            false => Ok(self.lines().map(|(_, name)| name.to_owned()).collect()),
        }
    }
}

/// As much of a text as fits into a message of one line.
pub(super) fn brief(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The numbers 0 … `count` − 1 as names of classes.
pub(super) fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|class| class.to_string()).collect()
}
