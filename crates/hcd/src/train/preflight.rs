//! What is looked at before a training begins, so that it fails early and clearly.

use super::Experiment;
use crate::data::{Dataset, Subset};
use crate::error::{Error, Result};
use crate::eval;
use crate::export::Loaded;
use std::path::Path;
use std::sync::Arc;

/// Images that the teacher is tried on.
const SAMPLE: usize = 500;

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
    let (looks, shape) = (teacher.card.image, experiment.train.image_shape());
    if looks.channels != shape.channels
        || teacher.card.config.image_size().is_some_and(|side| side != shape.height)
    {
        return Err(Error::Recipe(format!(
            "teacher {source} looks at images of {looks}, but {path} has {shape}"
        )));
    }
    let mut warnings = Vec::new();
    if let Some(class) = (0..own.len()).find(|&class| own[class] != wanted[class]) {
        warnings.push(format!(
            "teacher {source} calls class {class} `{}`, the data `{}`: check that the classes have the same order",
            own[class], wanted[class]
        ));
    }
    let (top1, images) = accuracy_on_sample(teacher, experiment)?;
    let chance = 100.0 / wanted.len() as f64;
    if top1 < 2.0 * chance {
        warnings.push(format!(
            "teacher {source} has {top1:.1} % on {images} validation images, near chance ({chance:.1} %): check \
             the order of its classes, its normalisation, and that its weights are trained"
        ));
    }
    Ok(warnings)
}

fn accuracy_on_sample(teacher: &Loaded, experiment: &Experiment) -> Result<(f64, usize)> {
    let pool = experiment.validation.as_ref().unwrap_or(&experiment.train);
    let step = pool.len().div_ceil(SAMPLE).max(1);
    let sample: Arc<dyn Dataset> =
        Arc::new(Subset::new(pool.clone(), (0..pool.len()).step_by(step).collect())?);
    let normalization = &teacher.card.normalization;
    let result = eval::evaluate(&teacher.network, &sample, normalization, &experiment.device, &mut |_| {})?;
    Ok((result.top1, result.images))
}

/// Whether the disk of `folder` has room for the files of a run whose networks learn `parameters` numbers.
///
/// # Errors
/// Where it has not.
pub fn inspect_space(folder: &Path, parameters: usize) -> Result<()> {
    // Two checkpoints and one being written, each with up to four tensors a parameter (weights, two of the
    // optimiser, average), beside the weights of the last and the best epoch; and a little for the rest.
    let need = (parameters as u64) * 4 * (3 * 4 + 3) + (1 << 20);
    let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let place = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    let free = fs4::available_space(place).map_err(|source| Error::Io {
        path: place.to_owned(),
        action: "ask for free space of",
        source,
    })?;
    if free < need {
        let mega = |bytes: u64| bytes.div_ceil(1 << 20);
        return Err(Error::Run(format!(
            "{}: {} MiB free on its disk, the run needs {} MiB; make room or name another folder with --out",
            folder.display(),
            mega(free),
            mega(need)
        )));
    }
    Ok(())
}
