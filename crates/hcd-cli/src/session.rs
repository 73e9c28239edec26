//! What the commands share before a training: threads, device, the teacher, the name of a run's folder.

use crate::output;
use hcd::burn::tensor::Device;
use hcd::export::{self, Loaded};
use hcd::train::{Experiment, inspect_teacher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// More threads than any machine that this is for; starting them would take minutes.
const MOST_THREADS: usize = 1024;

/// Sets the number of threads of everything that computes.
pub fn use_threads(threads: Option<usize>) -> anyhow::Result<()> {
    if let Some(count) = threads.filter(|count| !(1..=MOST_THREADS).contains(count)) {
        let message = format!("--threads {count}: must be from 1 to {MOST_THREADS}");
        return Err(hcd::Error::Recipe(message).into());
    }
    // To rayon, 0 is the number of cores.
    rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0)).build_global()?;
    Ok(())
}

static DEVICE: OnceLock<Device> = OnceLock::new();

/// Chooses where it computes.
pub fn use_device(name: &str) -> anyhow::Result<()> {
    let device = hcd::device::named(name)?;
    DEVICE.get_or_init(|| device);
    Ok(())
}

/// Where it computes, without autodiff.
pub fn device() -> Device {
    DEVICE.get_or_init(Device::flex).clone()
}

/// Reads the teacher of an experiment and sees whether it suits the data.
pub fn load_teacher(experiment: &Experiment) -> anyhow::Result<Loaded> {
    let Some(teacher) = &experiment.recipe.teacher else {
        let message = "a distillation needs a teacher: give --teacher FILE, or teacher.weights in the recipe";
        return Err(hcd::Error::Recipe(message.to_owned()).into());
    };
    let loaded = export::load(&teacher.weights, &experiment.device)?;
    for warning in inspect_teacher(&loaded, experiment, &teacher.weights.display().to_string())? {
        output::note(&format!("warning: {warning}"));
    }
    Ok(loaded)
}

/// The folder that was asked for, or a new one named after the command and the time.
pub fn run_folder(out: Option<PathBuf>, command: &str) -> PathBuf {
    out.unwrap_or_else(|| {
        let now = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S");
        Path::new("runs").join(format!("{command}-{now}"))
    })
}
