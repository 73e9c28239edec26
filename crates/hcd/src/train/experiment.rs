//! A recipe made ready: data opened and split, the network's shape known.

use crate::config::Recipe;
use crate::data::{self, Dataset, ImageShape, Normalization, TrainLoader};
use crate::error::{Error, Result};
use crate::eval::Split;
use crate::export::Card;
use crate::models::ModelConfig;
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
    /// Of the part that is learned from.
    pub normalization: Normalization,
    /// The network to train.
    pub model: ModelConfig,
    /// Where it computes, without autodiff.
    pub device: Device,
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
        let normalization = Normalization::of(train.as_ref())?;
        let ImageShape { channels, height, width } = train.image_shape();
        let model = recipe.student.resolve(channels, height, train.classes().len())?;
        let experiment = Self {
            recipe: recipe.clone(),
            train,
            validation,
            test: splits.test,
            normalization,
            model,
            device: device.clone(),
        };
        let fits = |what: &str, wanted: usize, found: usize| match wanted == found {
            true => Ok(()),
            false => Err(Error::Recipe(format!(
                "student `{}` takes {what} {wanted}, but those of {} have {found}",
                recipe.student.name,
                recipe.data.path.display()
            ))),
        };
        fits("images with channels:", experiment.model.in_channels(), channels)?;
        fits("a number of classes:", experiment.model.num_classes(), experiment.classes().len())?;
        if let Some(side) = experiment.model.image_size() {
            fits("images of height", side, height)?;
            fits("images of width", side, width)?;
        }
        Ok(experiment)
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
