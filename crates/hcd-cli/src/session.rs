//! What the commands share before a training: threads, device, the teacher, the name of a run's folder.

use crate::args::WeightsSource;
use crate::{output, progress};
use hcd::burn::tensor::Device;
use hcd::config::{Recipe, parse_override};
use hcd::data::LeftOut;
use hcd::eval::{Reference, Split};
use hcd::export::{self, Card, Loaded};
use hcd::models::{ModelSpec, Network};
use hcd::teacher::{Cached, Filled, Given, Live, ViewKey};
use hcd::train::{Experiment, inspect_precision, inspect_room, inspect_teacher, inspect_writable};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// How long a process waits until it looks again at what another one does.
pub const WAIT: Duration = Duration::from_millis(500);

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

/// Reads a network from weights of any origin, and tells what was done to make them fit.
pub fn load_network(source: &WeightsSource, device: &Device) -> anyhow::Result<Loaded> {
    let model = match &source.model {
        Some(name) => Some(model_spec(name, &source.model_option)?),
        None => None,
    };
    let request = export::Request {
        model,
        classes: source.classes.as_deref().map(class_names).transpose()?,
        image_size: source.image_size.map(|side| side as usize),
        partial: source.partial,
        ..Default::default()
    };
    let loaded = export::load_with(&source.weights, &request, device)?;
    for note in &loaded.notes {
        output::note(&format!("note: {note}"));
    }
    Ok(loaded)
}

/// A preset with options as `--model-option` gives them.
pub fn model_spec(name: &str, options: &[String]) -> hcd::Result<ModelSpec> {
    let mut spec = ModelSpec::named(name);
    for option in options {
        let parsed = parse_override(option).map_err(|_| {
            hcd::Error::Recipe(format!("--model-option {option}: expected KEY=VALUE, as width=64"))
        })?;
        spec.options.insert(parsed.key, parsed.value);
    }
    match spec.check().is_empty() {
        true => Ok(spec),
        false => Err(hcd::Error::Recipe(format!("--model {name}: {}", spec.check().join("; ")))),
    }
}

/// Class names from a file, one a line.
fn class_names(path: &Path) -> hcd::Result<Vec<String>> {
    let text = hcd::files::read_text(path)?;
    let names: Vec<String> = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
    let refuse = |what: String| Err(hcd::Error::Data(format!("{}: {what}", path.display())));
    match names.iter().position(String::is_empty) {
        Some(line) => refuse(format!("line {} is empty, expected the name of class {line}", line + 1)),
        None if names.is_empty() => refuse("names no classes, expected one a line".to_owned()),
        None => Ok(names),
    }
}

/// Opens the data of a recipe and settles its network; tells what was done to make weights to begin with fit.
pub fn prepare(recipe: &Recipe) -> anyhow::Result<Experiment> {
    if recipe.student.is_own() {
        let message = "student.name = \"own\" is a network that a program brings itself (docs/own.md); name one of `hcd models`";
        return Err(hcd::Error::Recipe(message.to_owned()).into());
    }
    if let Some(warning) = inspect_precision(recipe, &device())? {
        output::note(&format!("warning: {warning}"));
    }
    let bar = progress::bar("images", 0);
    let experiment = Experiment::prepare_watched(recipe, &device(), &mut |seen, total| {
        bar.set_length(total as u64);
        bar.set_position(seen as u64);
    });
    bar.finish_and_clear();
    let experiment = experiment?;
    tell_left_out(&experiment.left_out());
    for note in experiment.initial.iter().flat_map(|initial| &initial.notes) {
        output::note(&format!("note: {note}"));
    }
    Ok(experiment)
}

/// Tells of images that cannot be read and have no part in what follows.
pub fn tell_left_out(left_out: &[LeftOut]) {
    if let Some(first) = left_out.first() {
        let (count, error) = (left_out.len(), &first.error);
        output::note(&format!("note: {count} images cannot be read and are left out, the first: {error}"));
    }
}

/// Reads the teacher of an experiment and sees whether it suits the data.
pub fn load_teacher(experiment: &Experiment) -> anyhow::Result<Loaded> {
    let Some(teacher) = &experiment.recipe.teacher else {
        let message = "a distillation needs a teacher: give --teacher FILE, or teacher.weights in the recipe";
        return Err(hcd::Error::Recipe(message.to_owned()).into());
    };
    let Some(path) = &teacher.weights else {
        let message =
            "teacher.features are answers, and no network to ask; give --teacher FILE, or teacher.weights";
        return Err(hcd::Error::Recipe(message.to_owned()).into());
    };
    // Where the recipe says which network it is, the file says nothing, of classes neither.
    let request = match &teacher.model {
        None => export::Request::default(),
        Some(model) => export::Request {
            model: Some(model.clone()),
            classes: Some(experiment.classes().to_vec()),
            image_size: Some(experiment.teacher_size().unwrap_or(experiment.train.image_shape().height)),
            ..Default::default()
        },
    };
    let loaded = export::load_with(path, &request, &experiment.device)?;
    loaded.notes.iter().for_each(|note| output::note(&format!("note: {note}")));
    for warning in inspect_teacher(&loaded, experiment, &path.display().to_string())? {
        output::note(&format!("warning: {warning}"));
    }
    Ok(loaded)
}

/// What a teacher says of the images of a split.
pub fn reference(
    experiment: &Experiment,
    split: Split,
    network: &Network,
    card: &Card,
) -> anyhow::Result<Reference> {
    let images = experiment.as_taught(experiment.images(split)?)?;
    Ok(Reference::of(network, &images, &card.normalization, &experiment.device)?)
}

/// The answers that a teacher of another framework has given, where the recipe names some; for the views under `seeds`.
pub fn given_teacher(experiment: &Experiment, seeds: &[u64]) -> anyhow::Result<Option<Given>> {
    let Some(path) = experiment.recipe.teacher.as_ref().and_then(|teacher| teacher.features.as_deref())
    else {
        return Ok(None);
    };
    let given = Given::open(path, experiment.classes().len(), &experiment.device)?;
    let of =
        |&seed: &u64| experiment.view_numbers(seed).into_iter().map(move |number| ViewKey { seed, number });
    let views: Vec<ViewKey> = seeds.iter().flat_map(of).collect();
    given.inspect(&experiment.loader()?, &views)?.iter().for_each(|note| output::note(note));
    Ok(Some(given))
}

/// A teacher that looks at an experiment's views, at its own size where it has one.
pub fn live_teacher(experiment: &Experiment, loaded: Loaded) -> anyhow::Result<Live> {
    let live = Live::new(loaded, &experiment.normalization, &experiment.device);
    Ok(match experiment.teacher_loader()? {
        Some(loader) => live.at_own_size(loader),
        None => live,
    })
}

/// The teacher of an experiment with its answers kept in `folder`.
pub fn cached_teacher(experiment: &Experiment, folder: &Path) -> anyhow::Result<Cached> {
    open_cache(experiment, live_teacher(experiment, load_teacher(experiment)?)?, folder)
}

/// A teacher that is there already with its answers kept in `folder`, which is told to hold those for the views under `seeds`.
pub fn keep_answers(
    experiment: &Experiment,
    live: Live,
    folder: &Path,
    seeds: &[u64],
) -> anyhow::Result<Cached> {
    let cached = open_cache(experiment, live, folder)?;
    announce(experiment, &cached, seeds)?;
    Ok(cached)
}

fn open_cache(experiment: &Experiment, live: Live, folder: &Path) -> anyhow::Result<Cached> {
    let stored = experiment.recipe.teacher.as_ref().map(|teacher| teacher.stored).unwrap_or_default();
    let precision = experiment.recipe.train.precision;
    Ok(Cached::open(live, &experiment.loader()?, precision, stored, folder)?)
}

/// Sees whether what a cache of an experiment's views under some seeds lacks can be written, and tells how much it is to hold.
pub fn announce(experiment: &Experiment, cached: &Cached, seeds: &[u64]) -> anyhow::Result<()> {
    let (key, folder) = (cached.key(), cached.folder());
    let (mut views, mut missing) = (0, 0);
    for &seed in seeds {
        let numbers = experiment.view_numbers(seed);
        views += numbers.len() as u64;
        missing += cached.missing_bytes(seed, &numbers);
    }
    if missing > 0 {
        inspect_writable(folder, "--cache")?;
        inspect_room(folder, missing, ["the teacher's answers need", "--cache"])?;
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    output::note(&format!(
        "note: {}: {views} views of {} samples, {} numbers each as {}: {:.1} MiB, of which {:.1} are not there yet",
        folder.display(),
        key.samples,
        key.width,
        key.stored,
        mib(views * key.view_bytes()),
        mib(missing)
    ));
    Ok(())
}

/// Has the teacher look at every view of an experiment once. Views that other processes fill are waited for, and taken over
/// where those give up.
pub fn fill(experiment: &Experiment, cached: &mut Cached) -> anyhow::Result<()> {
    let (loader, mut left) = (experiment.loader()?, experiment.view_numbers(experiment.recipe.seed));
    let samples = loader.dataset().len() as u64;
    let (bar, mut whole) = (progress::bar("teacher", left.len() as u64 * samples), 0);
    loop {
        let mut elsewhere = Vec::new();
        for number in left {
            match cached.fill(&loader, number, &mut |looked| bar.inc(looked as u64))? {
                Filled::Whole => whole += 1,
                Filled::Elsewhere => elsewhere.push(number),
            }
            bar.set_position(whole * samples);
        }
        if elsewhere.is_empty() {
            bar.finish_and_clear();
            return Ok(());
        }
        left = elsewhere;
        bar.set_message("waiting for another process");
        std::thread::sleep(WAIT);
    }
}

/// The folder that was asked for, or a new one named after the command and the time.
pub fn run_folder(out: Option<PathBuf>, command: &str) -> PathBuf {
    out.unwrap_or_else(|| {
        let now = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S");
        Path::new("runs").join(format!("{command}-{now}"))
    })
}
