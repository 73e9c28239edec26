//! A recipe made ready: data opened and split, the network's shape known.

use crate::config::Recipe;
use crate::data::{
    self, AtSize, Checked, Dataset, ImageShape, LeftOut, Normalization, Preprocess, Splits, TrainLoader,
};
use crate::error::{Error, Result};
use crate::eval::{self, Split};
use crate::export::{self, Card, Loaded, Request};
use crate::models::ModelConfig;
use crate::models::weights::{self, TensorMap};
use burn::tensor::Device;
use std::sync::{Arc, OnceLock};

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
    /// The network to train; none where a program brings its own ([`fit_own`](super::fit_own)).
    pub model: Option<ModelConfig>,
    /// The weights it begins with, where they are not drawn.
    pub initial: Option<Initial>,
    /// Where it computes, without autodiff.
    pub device: Device,
    /// Of what is learned from, once it was asked for.
    fingerprint: Arc<OnceLock<String>>,
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
        Self::prepare_watched(recipe, device, &mut |_, _| {})
    }

    /// The same; `watch` is told how many images have been looked at, and of how many.
    ///
    /// # Errors
    /// As [`Experiment::prepare`], and where an image cannot be read and is not to be left out (`data.skip_bad`).
    pub fn prepare_watched(
        recipe: &Recipe,
        device: &Device,
        watch: &mut dyn FnMut(usize, usize),
    ) -> Result<Self> {
        Self::of_parts(recipe, parts(recipe)?, device, watch)
    }

    /// The experiment of `recipe` on data of one's own; of the recipe's section `data`, what says where images are and which are
    /// held out has no say. Its student may be `own`.
    ///
    /// # Errors
    /// As [`Experiment::prepare`].
    pub fn on(recipe: &Recipe, data: Splits, device: &Device) -> Result<Self> {
        Self::of_parts(recipe, data, device, &mut |_, _| {})
    }

    fn of_parts(
        recipe: &Recipe,
        Splits { train, validation, test }: Splits,
        device: &Device,
        watch: &mut dyn FnMut(usize, usize),
    ) -> Result<Self> {
        let model = match recipe.student.is_own() {
            true => None,
            false => Some(student_of(recipe, train.as_ref())?),
        };
        let begun = begin(recipe, train.as_ref(), device)?;
        // What a recipe says comes before what weights were trained with, and that before what images have.
        let given = match &recipe.data.normalization {
            Some(said) => said.values(),
            None => begun.as_ref().map(|(normalization, _)| normalization.clone()),
        };
        let total = train.len() + validation.as_ref().map_or(0, |set| set.len()) + test.len();
        let mut seen = 0;
        let mut check = |set: Arc<dyn Dataset>| {
            Checked::new(set, recipe.data.skip_bad, &mut |looked| {
                seen += looked;
                watch(seen, total);
            })
        };
        let train = check(train)?;
        let validation = validation.map(&mut check).transpose()?;
        let test = check(test)?;
        let normalization = given.map_or_else(|| train.normalization(), Ok)?;
        let channels = train.dataset.image_shape().channels;
        if let Some(problem) = normalization.check(channels).into_iter().next() {
            return Err(Error::Recipe(format!("data.normalization.{problem}")));
        }
        Ok(Self {
            initial: begun.map(|(_, initial)| initial),
            recipe: recipe.clone(),
            train: train.dataset,
            validation: validation.map(|part| part.dataset),
            test: test.dataset,
            normalization,
            model,
            device: device.clone(),
            fingerprint: Arc::default(),
        })
    }

    /// The [fingerprint](data::fingerprint()) of what is learned from. All images are read for it, once for an experiment and those
    /// [`under`](Self::under) other recipes.
    ///
    /// # Errors
    /// Where an image cannot be read.
    pub fn fingerprint(&self) -> Result<&str> {
        data::known_fingerprint(&self.fingerprint, self.train.as_ref())
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
        let set = self.train.clone();
        let loader = TrainLoader::new(set, &data.views, &self.normalization, train.batch_size, *seed)?;
        Ok(loader.known_by(self.fingerprint.clone()))
    }

    /// The numbers of all views that a training under `seed` shows, in the order of their first showing.
    pub fn view_numbers(&self, seed: u64) -> Vec<u64> {
        self.recipe.data.views.numbers(seed, self.recipe.train.epochs)
    }

    /// How many views a training shows, of all samples together.
    pub fn view_count(&self) -> usize {
        self.view_numbers(self.recipe.seed).len() * self.train.len()
    }

    /// Side of what the teacher looks at, where that is not what the student looks at.
    pub fn teacher_size(&self) -> Option<usize> {
        let size = self.recipe.teacher.as_ref().and_then(|teacher| teacher.image_size);
        let shape = self.train.image_shape();
        size.filter(|&side| (side, side) != (shape.height, shape.width))
    }

    /// A part of the data as the teacher looks at it.
    ///
    /// # Errors
    /// Where images are not square, and the teacher's size would show them in another shape.
    pub fn as_taught(&self, part: &Arc<dyn Dataset>) -> Result<Arc<dyn Dataset>> {
        let Some(side) = self.teacher_size() else { return Ok(part.clone()) };
        let shape = part.image_shape();
        if shape.height != shape.width {
            return Err(Error::Recipe(format!(
                "teacher.image_size = {side}: images of {shape} would change their shape; set data.image_size, too"
            )));
        }
        Ok(Arc::new(AtSize::new(part.clone(), side, self.recipe.data.preprocess())))
    }

    /// The views of [`loader`](Self::loader) at the teacher's own size, where it has one.
    ///
    /// # Errors
    /// As [`loader`](Self::loader) and [`as_taught`](Self::as_taught).
    pub fn teacher_loader(&self) -> Result<Option<TrainLoader>> {
        if self.teacher_size().is_none() {
            return Ok(None);
        }
        let taught = self.as_taught(&self.train)?;
        let most = eval::batch_of(taught.image_shape());
        Ok(Some(self.loader()?.at_size_of(taught, most)))
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

    /// The images that cannot be read and are in no part.
    pub fn left_out(&self) -> Vec<LeftOut> {
        let parts = [Some(&self.train), self.validation.as_ref(), Some(&self.test)];
        parts.into_iter().flatten().flat_map(|set| set.left_out()).cloned().collect()
    }

    /// Class names.
    pub fn classes(&self) -> &[String] {
        self.train.classes()
    }

    /// How images come to what the network looks at: of images that are as they are, no more than how they are turned.
    fn preprocess(&self) -> Option<Preprocess> {
        let (data, ImageShape { height, width, .. }) = (&self.recipe.data, self.train.image_shape());
        let turned = Preprocess { exif_orientation: true, ..Preprocess::new(height) };
        data.preprocess().or((data.exif_orientation && height == width).then_some(turned))
    }

    /// The description that goes into the file of a network trained here; none of a network of a program's own, which a file
    /// cannot describe.
    pub fn card(&self, run: String) -> Option<Card> {
        Some(Card {
            model: self.recipe.student.name.clone(),
            config: self.model.clone()?,
            classes: self.classes().to_vec(),
            image: self.train.image_shape(),
            normalization: self.normalization.clone(),
            preprocess: self.preprocess(),
            run,
        })
    }
}

/// The student that a recipe names, for images as `train` has them.
fn student_of(recipe: &Recipe, train: &dyn Dataset) -> Result<ModelConfig> {
    let ImageShape { channels, height, .. } = train.image_shape();
    let model = recipe.student.resolve(channels, height, train.classes().len())?;
    let (student, path) = (&recipe.student.name, recipe.data.path.display());
    let refuse = |what: String| Error::Recipe(format!("student `{student}` {what}, which {path} has"));
    model.check_images(train.image_shape()).map_err(refuse)?;
    let (told, found) = (model.num_classes(), train.classes().len());
    match told == found {
        true => Ok(model),
        false => Err(refuse(format!("tells {told} classes apart, not {found}"))),
    }
}

/// What is learned from, chosen by and tested on. What cannot be read is still among it, so that it changes nobody's part.
fn parts(recipe: &Recipe) -> Result<Splits> {
    // Whatever cannot be read is told together, once all has been looked at.
    let request = data::Request { skip_bad: true, ..recipe.data.request() };
    let Splits { train, validation, test } = data::open_as(&recipe.data.path, &request)?;
    let share = recipe.data.validation;
    let (train, validation) = if share == 0.0 || validation.is_some() {
        (train, validation.filter(|_| share > 0.0))
    } else {
        let (train, held_out) = data::stratified_split(&train, share, recipe.data.split_seed)?;
        (Arc::new(train) as Arc<dyn Dataset>, Some(Arc::new(held_out) as Arc<dyn Dataset>))
    };
    let train = match recipe.data.per_class {
        Some(most) => Arc::new(data::at_most_per_class(&train, most, recipe.data.split_seed)?),
        None => train,
    };
    Ok(Splits { train, validation, test })
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
