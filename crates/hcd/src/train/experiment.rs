//! A recipe made ready: data opened and split, the network's shape known.

use crate::config::Recipe;
use crate::data::{self, Dataset, ImageShape, Normalization, TrainLoader};
use crate::error::{Error, Result};
use crate::eval::Split;
use crate::export::{self, Card, Loaded, Request};
use crate::models::ModelConfig;
use crate::models::weights::{self, TensorMap};
use burn::tensor::Device;
use std::sync::Arc;

/// All that a training needs but the objective.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// What was asked for.
    pub recipe: Recipe,
    /// What is learned from.
    pub train: Arc<dyn Dataset>,
    /// What the best epoch is chosen on, where a part was held out.
    pub validation: Option<Arc<dyn Dataset>>,
    /// What only evaluation reads.
    pub test: Arc<dyn Dataset>,
    /// Of the part that is learned from; with weights to begin with, what these were trained with.
    pub normalization: Normalization,
    /// The network to train.
    pub model: ModelConfig,
    /// The weights it begins with, where they are not drawn.
    pub initial: Option<Initial>,
    /// Where it computes, without autodiff.
    pub device: Device,
}

/// Weights of a file, made to fit the network.
#[derive(Debug, Clone)]
pub struct Initial {
    /// By name, one for every tensor of the network.
    pub tensors: TensorMap,
    /// What was done to make them fit, one line each.
    pub notes: Vec<String>,
}

impl Experiment {
    /// Opens the data of `recipe` and settles the network's shape.
    ///
    /// # Errors
    /// Where the data cannot be read or the network cannot look at it.
    pub fn prepare(recipe: &Recipe, device: &Device) -> Result<Self> {
        let splits = data::open_as(&recipe.data.path, &recipe.data.request())?;
        let (train, validation): (Arc<dyn Dataset>, Option<Arc<dyn Dataset>>) = match recipe.data.validation {
            share if share > 0.0 => {
                let (train, held_out) = data::stratified_split(&splits.train, share, recipe.data.split_seed)?;
                (Arc::new(train), Some(Arc::new(held_out)))
            }
            _ => (splits.train, None),
        };
        let ImageShape { channels, height, .. } = train.image_shape();
        let model = recipe.student.resolve(channels, height, train.classes().len())?;
        let (normalization, initial) = match begin(recipe, train.as_ref(), device)? {
            Some((normalization, initial)) => (normalization, Some(initial)),
            None => (Normalization::of(train.as_ref())?, None),
        };
        let (student, path) = (&recipe.student.name, recipe.data.path.display());
        let refuse = |what: String| Error::Recipe(format!("student `{student}` {what}, which {path} has"));
        model.check_images(train.image_shape()).map_err(refuse)?;
        let (told, found) = (model.num_classes(), train.classes().len());
        if told != found {
            return Err(refuse(format!("tells {told} classes apart, not {found}")));
        }
        Ok(Self {
            initial,
            recipe: recipe.clone(),
            train,
            validation,
            test: splits.test,
            normalization,
            model,
            device: device.clone(),
        })
    }

    /// The same data and network under another recipe: another seed, or another method.
    ///
    /// # Errors
    /// Where the weights to begin with cannot be read any more.
    pub fn under(&self, recipe: &Recipe) -> Result<Self> {
        // What the weights lack, such as a classifier for these classes, is drawn by the seed.
        let initial = begin(recipe, self.train.as_ref(), &self.device)?.map(|(_, initial)| initial);
        Ok(Self { recipe: recipe.clone(), initial, ..self.clone() })
    }

    /// The batches of the training part, views drawn by the recipe's seed.
    ///
    /// # Errors
    /// Where the data have fewer images than a batch, or the views do not suit them.
    pub fn loader(&self) -> Result<TrainLoader> {
        let Recipe { data, train, seed, .. } = &self.recipe;
        TrainLoader::new(self.train.clone(), data.views, &self.normalization, train.batch_size, *seed)
    }

    /// The images of a split.
    ///
    /// # Errors
    /// For the held-out part, where none was held out.
    pub fn images(&self, split: Split) -> Result<&Arc<dyn Dataset>> {
        match (split, &self.validation) {
            (Split::Test, _) => Ok(&self.test),
            (Split::Validation, Some(held_out)) => Ok(held_out),
            (Split::Validation, None) => {
                Err(Error::Recipe("no images are held out: data.validation must be above 0".to_owned()))
            }
        }
    }

    /// Class names.
    pub fn classes(&self) -> &[String] {
        self.train.classes()
    }

    /// The description that goes into the file of a network trained here.
    pub fn card(&self, run: String) -> Card {
        Card {
            model: self.recipe.student.name.clone(),
            config: self.model.clone(),
            classes: self.classes().to_vec(),
            image: self.train.image_shape(),
            normalization: self.normalization.clone(),
            preprocess: self.recipe.data.preprocess(),
            run,
        }
    }
}

/// The weights to begin with, where the recipe names some, and the normalisation that they were trained with.
fn begin(recipe: &Recipe, train: &dyn Dataset, device: &Device) -> Result<Option<(Normalization, Initial)>> {
    let Some(path) = &recipe.student.weights else { return Ok(None) };
    let ImageShape { channels, height, .. } = train.image_shape();
    let request = Request {
        model: Some(recipe.student.clone()),
        classes: Some(train.classes().to_vec()),
        image_size: Some(height),
        channels: Some(channels),
        new_classifier: true,
        partial: recipe.student.partial,
        seed: recipe.seed,
        ..Request::default()
    };
    let Loaded { network, card, notes } = export::load_with(path, &request, device)?;
    Ok(Some((card.normalization, Initial { tensors: weights::snapshot(&network), notes })))
}
