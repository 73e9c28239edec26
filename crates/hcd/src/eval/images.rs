//! What a network is evaluated on: a data set, class folders or photos, labelled in the network's terms.

use crate::data::cifar::Labels;
use crate::data::{
    self, Dataset, Joined, Layout, Matched, Relabelled, Request, Splits, decode, folder, photos,
};
use crate::error::{Error, Result};
use crate::export::Card;
use crate::files;
use std::path::Path;
use std::sync::Arc;

/// Classes of a network that tells CIFAR-100's coarse labels apart.
const COARSE: usize = 20;

/// Which part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The test images.
    Test,
    /// The training images.
    Train,
    /// Both.
    All,
}

/// Opens the images at `path` as the network of `card` sees them, labels being its outputs' numbers; and what there
/// is to warn of.
///
/// `request` says how they are opened, most of it [`Card::request`]. A data set of two halves gives the one asked for, the test images where none is. Photos, labelled by a file or
/// by WordNet names, and a single folder of class folders have no halves: `part` must be none or all.
///
/// # Errors
/// Where nothing of the kind is there, a file is damaged, or images or classes don't suit the network.
pub fn open(
    path: &Path,
    part: Option<Part>,
    labels: Option<&Path>,
    card: &Card,
    request: &Request,
) -> Result<(Arc<dyn Dataset>, Vec<String>)> {
    // Of class folders alone there is no test part to keep to: all of them are looked at.
    let halves = |layout: &Layout| labels.is_none() && *layout != Layout::SingleFolder;
    let layout = request.layout.or_else(|| Layout::recognise(path)).filter(halves);
    if layout.is_none() || !path.is_file() {
        data::check_folder(path)?;
    }
    if let Some(layout) = layout {
        let splits = open_halves(layout, path, request, card)?;
        let set = match part.unwrap_or(Part::Test) {
            Part::Test => splits.test,
            Part::Train => splits.train,
            Part::All => Arc::new(Joined::new(splits.train, splits.test)?),
        };
        return relabelled(set, card);
    }
    if let Some(part @ (Part::Test | Part::Train)) = part {
        let part = if part == Part::Test { "test" } else { "train" };
        return Err(Error::Data(format!(
            "{}: has no parts to take `{part}` of; leave --split out, or take all",
            path.display()
        )));
    }
    if let Some(labels) = labels {
        return Ok((Arc::new(photos::with_labels(path, labels, &card.classes, request)?), Vec::new()));
    }
    let entries = files::list(path)?;
    if !entries.iter().any(|path| decode::is_image_name(path)) {
        return match entries.iter().any(|path| path.is_dir()) {
            true => relabelled(Arc::new(folder::classes_of(path, request)?), card),
            false => Err(data::unknown(path)),
        };
    }
    match photos::by_name(path, &card.classes, request)? {
        Some(photos) => Ok((Arc::new(photos), Vec::new())),
        None => Err(Error::Data(format!(
            "{}: photos whose classes are not known; tell them with --labels FILE",
            path.display()
        ))),
    }
}

/// Images in files of one size are as they are, unless the network was trained on such that were brought to another.
fn open_halves(layout: Layout, path: &Path, request: &Request, card: &Card) -> Result<Splits> {
    let one_size = matches!(layout, Layout::Idx | Layout::Cifar);
    let labels = if card.classes.len() == COARSE { Labels::Coarse } else { Labels::Fine };
    let request = Request { labels, ..*request };
    if !one_size || card.preprocess.is_some() {
        return layout.open(path, &request);
    }
    let splits = layout.open(path, &Request { channels: None, preprocess: None, ..request })?;
    let refuse = |what| Error::Recipe(format!("the network {what}, which {} has", path.display()));
    card.config.check_images(splits.test.image_shape()).map_err(refuse)?;
    Ok(splits)
}

/// The set's classes as the network counts them.
fn relabelled(set: Arc<dyn Dataset>, card: &Card) -> Result<(Arc<dyn Dataset>, Vec<String>)> {
    let (found, matched) = Relabelled::new(set.clone(), &card.classes)?;
    let mut warnings = Vec::new();
    let class = (0..card.classes.len()).find(|&class| set.classes().get(class) != Some(&card.classes[class]));
    if let (Matched::ByPlace, Some(class)) = (matched, class) {
        // Imported weights have numbers for names: nothing contradicts the data's order then.
        if !is_numbered(&card.classes) {
            warnings.push(format!(
                "classes are called otherwise (class {class} is `{}` to the network, `{}` in {}); compared by place",
                card.classes[class],
                set.classes()[class],
                set.name()
            ));
        }
        return Ok((set, warnings));
    }
    Ok((Arc::new(found), warnings))
}

/// Whether classes are called 0, 1, 2 and so on, for want of names.
pub fn is_numbered(classes: &[String]) -> bool {
    classes.iter().enumerate().all(|(number, class)| *class == number.to_string())
}
