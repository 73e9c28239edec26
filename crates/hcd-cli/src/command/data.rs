//! `hcd data`: what is in a data set, and what a network would see of it.

use crate::args::DataArgs;
use crate::{output, progress};
use hcd::config::{self, DataConfig, Override, Recipe, parse_override};
use hcd::data::{
    self, CropConfig, Dataset, Layout, Normalization, Splits, Survey, TrainLoader, ViewPolicy, contact_sheet,
};
use hcd::files;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// Images of a part that are looked at without `--check`.
const SAMPLE: usize = 2000;
/// Side that images of several sizes are brought to where none is asked for.
const SIDE: usize = 224;
/// From this side on, images are cropped as photos.
const PHOTO: usize = 64;
/// Rows and views of a contact sheet.
const SHEET: [usize; 2] = [8, 6];
/// Copies that are named.
const NAMED: usize = 10;

/// A part of the set, and what is in it.
struct Part {
    name: &'static str,
    set: Arc<dyn Dataset>,
    survey: Survey,
}

/// Equal images: their indices in two parts.
struct Copies<'a> {
    parts: [&'a Part; 2],
    pairs: Vec<[usize; 2]>,
}

pub fn run(args: DataArgs) -> anyhow::Result<()> {
    let recipe = settings(&args)?;
    if let Some(file) = &args.sheet {
        inspect_sheet(file)?;
    }
    let mut config = recipe.data;
    let layout = config.format.or_else(|| Layout::recognise(&config.path));
    let splits = open(&config, config.image_size.unwrap_or(SIDE))?;
    if let Some(notice) = layout.and_then(|layout| layout.notice(&config.path)) {
        output::note(&format!("note: {notice}"));
    }
    let most = (!args.check).then_some(SAMPLE);
    let sets =
        [("train", Some(splits.train)), ("validation", splits.validation), ("test", Some(splits.test))];
    let parts: Vec<Part> =
        sets.into_iter().filter_map(|(name, set)| Some(Part::look_at(name, set?, most))).collect();
    let copies = args.check.then(|| copies_across(&parts));
    if let Some(file) = &args.sheet {
        write_sheet(file, &mut config, &parts[0], recipe.seed)?;
    }
    match args.json {
        true => tell_programs(layout, &parts, copies.as_deref())?,
        false => tell_people(layout, &parts, copies.as_deref()),
    }
    let unreadable: usize = parts.iter().map(|part| part.survey.unreadable.len()).sum();
    match args.check && unreadable > 0 {
        true => Err(hcd::Error::Data(format!(
            "{}: {unreadable} images cannot be read; mend them, or train with --skip-bad",
            config.path.display()
        ))
        .into()),
        false => Ok(()),
    }
}

impl Part {
    fn look_at(name: &'static str, set: Arc<dyn Dataset>, most: Option<usize>) -> Self {
        let bar = progress::bar("images", most.unwrap_or(usize::MAX).min(set.len()) as u64);
        let survey = Survey::of(set.as_ref(), most, &mut |looked| bar.inc(looked as u64));
        bar.finish_and_clear();
        Self { name, set, survey }
    }
}

/// The recipe, or one of nothing but the path.
fn settings(args: &DataArgs) -> hcd::Result<Recipe> {
    let is_recipe = args.path.extension().is_some_and(|extension| extension == "toml");
    let mut changes = Vec::new();
    if !is_recipe {
        changes.push(Override::new("data.path", args.path.display().to_string()));
        // A recipe names a network, which has no part in this.
        changes.push(Override::new("student.name", "resnet18"));
    }
    changes.extend(args.format.clone().map(|format| Override::new("data.format", format)));
    let side = args.image_size.map(|side| i64::try_from(side).unwrap_or(i64::MAX));
    changes.extend(side.map(|side| Override::new("data.image_size", side)));
    changes.extend(args.exif_orientation.then(|| Override::new("data.exif_orientation", true)));
    for text in &args.set {
        changes.push(parse_override(text)?);
    }
    Ok(config::load(is_recipe.then_some(args.path.as_path()), &changes)?.recipe)
}

/// Opens the set, its images brought to a side; what cannot be read is for the survey to tell.
fn open(config: &DataConfig, side: usize) -> hcd::Result<Splits> {
    let config = DataConfig { image_size: Some(side), skip_bad: true, ..config.clone() };
    data::open_as(&config.path, &config.request())
}

/// Whether a contact sheet may be written to that file: told before images are looked at.
fn inspect_sheet(file: &Path) -> hcd::Result<()> {
    let refuse = |what: &str| Err(hcd::Error::Run(format!("{}: {what}", file.display())));
    if file.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("png")) {
        return refuse("a contact sheet is a PNG file; name one that ends in .png with --sheet");
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    match file.exists() {
        true => refuse("already there; name another file with --sheet"),
        false if folder.is_some_and(|folder| !folder.is_dir()) => {
            refuse("no such folder; name another file with --sheet")
        }
        false => Ok(()),
    }
}

fn write_sheet(file: &Path, config: &mut DataConfig, train: &Part, seed: u64) -> hcd::Result<()> {
    // Images of one size are shown as they are.
    let set = match (config.image_size, &train.survey.sizes[..]) {
        (None, [_]) => {
            data::open_as(&config.path, &DataConfig { skip_bad: true, ..config.clone() }.request())?.train
        }
        _ => train.set.clone(),
    };
    let shape = set.image_shape();
    if config.views == ViewPolicy::default() {
        config.views = match shape.height.min(shape.width) < PHOTO {
            true => ViewPolicy { crop_padding: 4, horizontal_flip: 0.5, ..ViewPolicy::default() },
            false => ViewPolicy {
                resized_crop: Some(CropConfig::default()),
                horizontal_flip: 0.5,
                ..ViewPolicy::default()
            },
        };
        let usual = if config.views.crop_padding > 0 { "crop_padding = 4" } else { "resized_crop = {}" };
        output::note(&format!("note: no data.views are set; the sheet shows {usual}, horizontal_flip = 0.5"));
    }
    // Any will do: it is taken back for the pictures.
    let channels = shape.channels;
    let normalization = Normalization { mean: vec![0.5; channels], std: vec![0.25; channels] };
    let loader = TrainLoader::new(set, &config.views, &normalization, 1, seed)?;
    let [rows, views] = SHEET;
    files::write(file, &contact_sheet(&loader, &normalization, rows, views)?)
}

/// Equal images in each two parts.
fn copies_across(parts: &[Part]) -> Vec<Copies<'_>> {
    let mut found = Vec::new();
    for (later, second) in parts.iter().enumerate() {
        for first in &parts[..later] {
            let pairs = first.survey.copies_in(&second.survey);
            found.push(Copies { parts: [first, second], pairs });
        }
    }
    found
}

fn tell_programs(layout: Option<Layout>, parts: &[Part], copies: Option<&[Copies]>) -> anyhow::Result<()> {
    let mut value = json!({ "layout": layout.map(Layout::name) });
    for part in parts {
        value[part.name] = json!(part.survey);
    }
    let named = |Copies { parts: [first, second], pairs }: &Copies| -> Vec<_> {
        let pair = |&[one, other]: &[usize; 2]| json!({ first.name: first.set.shown(one), second.name: second.set.shown(other) });
        pairs.iter().map(pair).collect()
    };
    value["copies"] = json!(copies.map(|copies| copies.iter().flat_map(named).collect::<Vec<_>>()));
    output::json(&value)
}

fn tell_people(layout: Option<Layout>, parts: &[Part], copies: Option<&[Copies]>) {
    if let Some(layout) = layout {
        output::line(&format!("layout: {layout}"));
    }
    let header =
        ["part", "samples", "classes", "a class", "height x width", "mean", "std", "looked at", "unreadable"];
    output::table(&header, &parts.iter().map(row).collect::<Vec<_>>());
    for error in parts.iter().flat_map(|part| &part.survey.unreadable) {
        output::line(&format!("unreadable: {error}"));
    }
    match copies {
        None => output::note("note: --check looks at every image, and for copies across the parts"),
        Some(copies) => copies.iter().for_each(tell_copies),
    }
    let Survey { mean, std, .. } = &parts[0].survey;
    output::line("");
    output::line(&format!(
        "normalization = {{ mean = {}, std = {} }}  # of the training images, for [data] of a recipe",
        numbers(mean),
        numbers(std)
    ));
}

fn numbers(values: &[f64]) -> String {
    let shown: Vec<String> = values.iter().map(|value| format!("{value:.4}")).collect();
    format!("[{}]", shown.join(", "))
}

fn row(Part { name, survey, .. }: &Part) -> Vec<String> {
    let counts = survey.classes.iter().map(|(_, count)| *count);
    let (least, most) = (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
    let area = |&([height, width], _): &&([usize; 2], usize)| height * width;
    let shown = |found: Option<&([usize; 2], usize)>| {
        found.map_or("-".to_owned(), |([height, width], _)| format!("{height}x{width}"))
    };
    let (smallest, largest) = (survey.sizes.iter().min_by_key(area), survey.sizes.iter().max_by_key(area));
    vec![
        (*name).to_owned(),
        survey.samples.to_string(),
        survey.classes.len().to_string(),
        if least == most { least.to_string() } else { format!("{least} to {most}") },
        match survey.sizes.len() {
            0 | 1 => shown(smallest),
            _ => format!("{} to {}", shown(smallest), shown(largest)),
        },
        numbers(&survey.mean),
        numbers(&survey.std),
        survey.looked_at.to_string(),
        survey.unreadable.len().to_string(),
    ]
}

fn tell_copies(Copies { parts: [first, second], pairs }: &Copies) {
    let (those, these) = (second.name, first.name);
    if pairs.is_empty() {
        return output::line(&format!("no {those} image is a copy of a {these} image"));
    }
    output::line(&format!("{} {those} images are copies of {these} images:", pairs.len()));
    for &[one, other] in pairs.iter().take(NAMED) {
        output::line(&format!("  {} of {}", second.set.shown(other), first.set.shown(one)));
    }
    if pairs.len() > NAMED {
        output::line(&format!("  and {} more, which --json lists", pairs.len() - NAMED));
    }
}
