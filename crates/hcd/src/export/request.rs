//! Weights of any origin as a network: what a file does not say of itself, the user does.

use super::hub::HubConfig;
use super::{Card, LARGEST_SIDE, Loaded};
use crate::data::{ImageShape, Normalization};
use crate::error::{Error, Result};
use crate::models::weights::{self, Allowed, Contents, Imported};
use crate::models::{ModelSpec, Network};
use burn::tensor::Device;
use std::path::Path;

/// Numbers that the user's wishes may add to a network that a file describes: longer position embeddings, more
/// classes.
const SPARE: usize = 1 << 24;

/// What the user says of a weights file.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The network; without it, the one that the file names.
    pub model: Option<ModelSpec>,
    /// Class names, in the order of the logits; without them those of the file, or numbers.
    pub classes: Option<Vec<String>>,
    /// Side of the images; without it that of the file, or the usual one of the network.
    pub image_size: Option<usize>,
    /// Channels of the images; without it that of the file.
    pub channels: Option<usize>,
    /// Mean and deviation of the pixels; without it that of the file, or the usual one of the network.
    pub normalization: Option<Normalization>,
    /// Seed of what is drawn where the file has nothing that fits, such as a new classifier.
    pub seed: u64,
    /// Whether a classifier for another number of classes than `classes` has is replaced by a new one.
    pub new_classifier: bool,
    /// Whether to take what fits, where tensors are missing, unexpected or misshapen.
    pub partial: bool,
}

/// Reads a network from a weights file, as the user describes it where the file does not.
///
/// # Errors
/// Where the file is missing, damaged or of no known format; where neither file nor user say which network it
/// is; where tensors do not fit.
pub fn load_with(path: &Path, request: &Request, device: &Device) -> Result<Loaded> {
    let source = path.display().to_string();
    let contents = weights::read_any(path)?;
    let card = match weights::card::<Card>(&contents.metadata, &source) {
        Err(_) if request.model.is_some() => None,
        card => card?,
    };
    let metadata = |what: &str| Error::Weights(format!("{source}: metadata `hcd`: {what}"));
    if let Some(card) = &card {
        card.check().map_err(|what| metadata(&what))?;
    }
    let numbers: usize = contents.tensors.values().map(|tensor| tensor.values.len()).sum();
    let (card, network) = match card {
        Some(card) if request.is_silent() => {
            // What a stranger's file describes is no larger than what it holds.
            card.check_against(&contents.tensors).map_err(|what| metadata(&what))?;
            // What the file lacks is drawn; it may lack something only where that is allowed.
            let seed = request.partial.then_some(request.seed);
            // Twice, since some initial values are drawn only to be replaced.
            let network = Network::within(numbers.saturating_mul(2), &card.config, seed, device);
            (card, network)
        }
        card => {
            let own = card.is_some() && request.model.is_none();
            let card = describe(path, request, card, &contents)?;
            let limit = if own { numbers.saturating_mul(4).saturating_add(SPARE) } else { usize::MAX };
            if own {
                card.check_against(&contents.tensors).map_err(|what| metadata(&what))?;
            }
            let network = Network::within(limit, &card.config, Some(request.seed), device);
            (card, network)
        }
    };
    let allowed = Allowed { other_classes: request.new_classifier, partial: request.partial };
    let odd = weights::first_odd(&contents.tensors).is_some();
    let imported = weights::import(network, card.config.head(), contents, &source, allowed)?;
    let Imported { network, notes } = imported;
    if odd {
        refuse_odd(&network, &source)?;
    }
    Ok(Loaded { network, card, notes })
}

/// A network that is to be used has finite weights; what it leaves aside of a file may be anything.
fn refuse_odd(network: &Network, source: &str) -> Result<()> {
    let tensors = weights::snapshot(network);
    match weights::first_odd(&tensors) {
        None => Ok(()),
        Some((name, value)) => Err(Error::Weights(format!(
            "{source}: `{name}` holds {value}: the file is damaged, or its training diverged"
        ))),
    }
}

impl Request {
    /// Whether nothing is said that could differ from what a file says of itself.
    fn is_silent(&self) -> bool {
        let Self { model, classes, image_size, channels, normalization, .. } = self;
        model.is_none()
            && classes.is_none()
            && image_size.is_none()
            && channels.is_none()
            && normalization.is_none()
    }
}

/// Puts together what the user, the file and the network's preset say, in this order.
fn describe(path: &Path, request: &Request, card: Option<Card>, contents: &Contents) -> Result<Card> {
    let hub = if card.is_none() { HubConfig::beside(path)? } else { None };
    let model = named(path, request, card.as_ref(), hub.as_ref())?;
    // A file beside another network's weights says nothing of these.
    let hub = hub.filter(|hub| hub.model() == model.name);
    let preset = model.preset().map_err(|what| Error::Recipe(format!("--model: {what}")))?;

    let classes = classes(path, request, card.as_ref(), hub.as_ref(), contents)?;
    let in_file = card.as_ref().map(|card| card.image.channels).or(weights::channel_count(&contents.tensors));
    let channels = request.channels.or(in_file).unwrap_or(3);
    let of_card = card.as_ref().map(|card| card.image.height);
    let size = request.image_size.or(of_card).or(hub.as_ref().and_then(HubConfig::image_size));
    let size = size.unwrap_or(preset.image_size);
    if request.image_size.is_none() && size > LARGEST_SIDE {
        let what = format!("is for images of {size} pixels a side, expected at most {LARGEST_SIDE}");
        return Err(Error::Weights(format!("{}: {what}; name another with --image-size", path.display())));
    }
    let config = model.resolve(channels, size, classes.len())?;

    let preprocess = card.as_ref().and_then(|card| card.preprocess);
    let fits = |normalization: &Normalization| normalization.check(channels).is_empty();
    let of_file = card.map(|card| card.normalization).or(hub.and_then(|hub| hub.normalization()));
    let normalization = match &request.normalization {
        Some(asked) => asked.clone(),
        None => of_file
            .filter(fits)
            .unwrap_or_else(|| usual(preset.preprocessing.mean, preset.preprocessing.std, channels)),
    };
    if let Some(problem) = normalization.check(channels).into_iter().next() {
        return Err(Error::Recipe(format!("normalisation: {problem}")));
    }
    let image = ImageShape { channels, height: size, width: size };
    let run = format!("imported from {}", path.file_name().unwrap_or_default().to_string_lossy());
    Ok(Card { model: model.name, config, classes, image, normalization, preprocess, run })
}

/// Which network it is.
fn named(path: &Path, request: &Request, card: Option<&Card>, hub: Option<&HubConfig>) -> Result<ModelSpec> {
    if let Some(model) = &request.model {
        return Ok(model.clone());
    }
    let refuse = |what: &str| Error::Weights(format!("{}: {what}", path.display()));
    match (card, hub) {
        (Some(card), _) => card_spec(card).map_err(|what| refuse(&what)),
        (None, Some(hub)) => {
            let model = ModelSpec::named(hub.model());
            model.preset().map_err(|_| {
                refuse(&format!(
                    "config.json beside it names {:?}, which is none of the networks that `hcd models` lists; name \
                     one with --model",
                    hub.architecture
                ))
            })?;
            Ok(model)
        }
        (None, None) => Err(refuse(
            "says nothing of its network (no metadata `hcd`, no config.json beside it); name it with --model, or a \
             teacher with --teacher-model, as `hcd models` lists them",
        )),
    }
}

/// The preset of a card with every option as the card has it, but for what follows from the images.
fn card_spec(card: &Card) -> std::result::Result<ModelSpec, String> {
    let table = toml::Table::try_from(&card.config).map_err(|e| e.to_string())?;
    let of_images = ["family", "image_size", "in_channels", "num_classes"];
    let options = table.into_iter().filter(|(key, _)| !of_images.contains(&key.as_str())).collect();
    Ok(ModelSpec { options, ..ModelSpec::named(&card.model) })
}

fn classes(
    path: &Path,
    request: &Request,
    card: Option<&Card>,
    hub: Option<&HubConfig>,
    contents: &Contents,
) -> Result<Vec<String>> {
    let refuse = |what: String| Error::Weights(format!("{}: {what}", path.display()));
    let count = weights::class_count(&contents.tensors);
    match (&request.classes, count) {
        (Some(names), Some(count)) if names.len() != count && !request.new_classifier => {
            Err(refuse(format!("its classifier tells {count} classes apart, but {} are named", names.len())))
        }
        (Some(names), _) => Ok(names.clone()),
        (None, Some(count)) => {
            let of_card = card.map(|card| card.classes.clone()).filter(|names| names.len() == count);
            let of_hub = || hub.and_then(|hub| hub.classes(count));
            Ok(of_card.or_else(of_hub).unwrap_or_else(|| (0..count).map(|class| class.to_string()).collect()))
        }
        (None, None) => Err(refuse("holds no classifier, so that the classes must be named".to_owned())),
    }
}

/// The usual normalisation of three channels; one channel gets their mean, more repeat them.
fn usual(mean: [f32; 3], std: [f32; 3], channels: usize) -> Normalization {
    let spread = |values: [f32; 3]| match channels {
        1 => vec![values.iter().sum::<f32>() / 3.0],
        _ => values.into_iter().cycle().take(channels).collect(),
    };
    Normalization { mean: spread(mean), std: spread(std) }
}
