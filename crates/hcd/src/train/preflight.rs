//! What is looked at before a training begins, so that it fails early and clearly.

use super::run::vacant;
use super::{Experiment, Learner, Objective};
use crate::config::Recipe;
use crate::data::{Dataset, Subset};
use crate::error::{Error, Result};
use crate::eval;
use crate::export::Loaded;
use crate::models::Parameters;
use crate::ops::{self, Precision, Unit};
use burn::tensor::Device;
use std::path::Path;
use std::sync::Arc;

/// Images that the teacher is tried on.
const SAMPLE: usize = 500;

/// Whether `device` multiplies at the recipe's precision: an error where it does not, a warning where it gains nothing.
///
/// # Errors
/// Where products of 16 bits are asked of a device that has not our kernels.
pub fn inspect_precision(recipe: &Recipe, device: &Device) -> Result<Option<String>> {
    const ASKED: &str = "train.precision = \"bf16\"";
    match (recipe.train.precision, Unit::current()) {
        (Precision::F32, _) => Ok(None),
        (Precision::Bf16, _) if !ops::is_flex(device) => Err(Error::Recipe(format!(
            "{ASKED}: device {device:?} multiplies f32 alone; set \"f32\", or compute on the processor (--device flex)"
        ))),
        (Precision::Bf16, Unit::Emulated) => Ok(Some(format!(
            "{ASKED}: this processor has no products of 16 bits (AVX512_BF16 or AMX); they are rounded and computed in f32, \
             which is slower than \"f32\""
        ))),
        (Precision::Bf16, _) => Ok(None),
    }
}

/// Whether the teacher suits the data: an error where it cannot, lines of warning where it may not.
///
/// # Errors
/// Where its number of classes or its images differ from the data's.
pub fn inspect_teacher(teacher: &Loaded, experiment: &Experiment, source: &str) -> Result<Vec<String>> {
    let (own, wanted) = (&teacher.card.classes, experiment.classes());
    let path = experiment.recipe.data.path.display();
    if own.len() != wanted.len() {
        return Err(Error::Recipe(format!(
            "teacher {source} knows {} classes, but {path} has {}; train a teacher on these classes",
            own.len(),
            wanted.len()
        )));
    }
    let config = &teacher.card.config;
    let seen = experiment.as_taught(&experiment.train)?.image_shape();
    if let Err(what) = config.check_images(seen) {
        let why = match (experiment.teacher_size(), config.image_size()) {
            (Some(side), _) => format!(", which is teacher.image_size = {side}"),
            (None, Some(side)) if config.in_channels() == seen.channels => {
                format!(
                    ", which {path} has; teacher.image_size = {side} shows it the same views at that size"
                )
            }
            (None, _) => format!(", which {path} has"),
        };
        return Err(Error::Recipe(format!("teacher {source} {what}{why}")));
    }
    let mut warnings = Vec::new();
    if let Some(class) = (0..own.len()).find(|&class| own[class] != wanted[class]) {
        warnings.push(format!(
            "teacher {source} calls class {class} `{}`, the data `{}`: check that the classes have the same order",
            own[class], wanted[class]
        ));
    }
    let (top1, images) = accuracy_on_sample(teacher, experiment)?;
    if let Some(chance) = eval::near_chance(top1, wanted.len()) {
        warnings.push(format!(
            "teacher {source} has {top1:.1} % on {images} validation images, near chance ({chance:.1} %): check \
             the order of its classes, its normalisation, and that its weights are trained"
        ));
    }
    Ok(warnings)
}

fn accuracy_on_sample(teacher: &Loaded, experiment: &Experiment) -> Result<(f64, usize)> {
    let pool = experiment.as_taught(experiment.validation.as_ref().unwrap_or(&experiment.train))?;
    let step = pool.len().div_ceil(SAMPLE).max(1);
    let sample: Arc<dyn Dataset> =
        Arc::new(Subset::new(pool.clone(), (0..pool.len()).step_by(step).collect())?);
    let normalization = &teacher.card.normalization;
    let result = eval::evaluate(&teacher.network, &sample, normalization, &experiment.device, &mut |_| {})?;
    Ok((result.top1, result.images))
}

/// Whether the training can begin: its batches, its network and the method's heads can be made. Gives how many
/// numbers it learns.
///
/// # Errors
/// Where the data do not fill a batch, or the method does not suit the student.
pub fn inspect_start(experiment: &Experiment, objective: &Objective) -> Result<usize> {
    let recipe = &experiment.recipe;
    experiment.loader()?;
    let learner = Learner::new(experiment, objective).map_err(|error| match error {
        Error::Recipe(what) => Error::Recipe(format!(
            "method `{}` with student `{}`: {what}",
            objective.name(),
            recipe.student.name
        )),
        other => other,
    })?;
    Ok(learner.exported().learned_count() + learner.head_count())
}

/// Whether a run may begin in `folder`: it is not there or empty, and one may write there. Changes nothing.
///
/// # Errors
/// Where it may not.
pub fn inspect_folder(folder: &Path) -> Result<()> {
    vacant(folder)?;
    inspect_writable(folder, "--out")
}

/// Whether `folder`, there or not, can be written into; `flag` names another. Changes nothing.
///
/// # Errors
/// Where it cannot.
pub fn inspect_writable(folder: &Path, flag: &str) -> Result<()> {
    let refuse = |what: String| {
        Err(Error::Run(format!("{}: {what}; name another folder with {flag}", folder.display())))
    };
    let place = existing(folder);
    match place.is_dir() {
        false if place == folder => refuse("is a file, expected a folder".to_owned()),
        false => refuse(format!("{} is a file, expected a folder", place.display())),
        true => match tempfile::tempfile_in(place) {
            Err(error) => refuse(format!("cannot write into {} ({error})", place.display())),
            Ok(_) => Ok(()),
        },
    }
}

/// The nearest folder above a path that is there already.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."))
}

/// Whether the disk of `folder` has room for the files of a run that learns `parameters` numbers.
///
/// # Errors
/// Where it has not.
pub fn inspect_space(folder: &Path, parameters: usize) -> Result<()> {
    // Two checkpoints and one being written, each with up to four tensors a parameter (weights, two of the
    // optimiser, average), beside the weights of the last and the best epoch; and a little for the rest.
    let need = (parameters as u64) * 4 * (3 * 4 + 3) + (1 << 20);
    inspect_room(folder, need, ["the run needs", "--out"])
}

/// Whether the disk of `folder` has room for `need` bytes; `words` say what needs them, and which flag names the folder.
///
/// # Errors
/// Where it has not.
pub fn inspect_room(folder: &Path, need: u64, [what, flag]: [&str; 2]) -> Result<()> {
    let place = existing(folder);
    let free = fs4::available_space(place).map_err(|source| Error::Io {
        path: place.to_owned(),
        action: "ask for free space of",
        source,
    })?;
    if free < need {
        let mega = |bytes: u64| bytes.div_ceil(1 << 20);
        return Err(Error::Run(format!(
            "{}: {} MiB free on its disk, {what} {} MiB; make room or name another folder with {flag}",
            folder.display(),
            mega(free),
            mega(need)
        )));
    }
    Ok(())
}
