//! `hcd predict`: class names and probabilities of images.

use crate::args::PredictArgs;
use crate::{output, session};
use hcd::data::{Dataset, EvalLoader, folder, photos};
use hcd::eval;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

pub fn run(args: PredictArgs) -> anyhow::Result<()> {
    let device = session::device();
    let loaded = session::load_network(&args.source, &device)?;
    let card = &loaded.card;
    let request = card.request(args.exif_orientation);
    let set = Arc::new(photos::unlabelled("images".to_owned(), files(&args.paths)?, &request)?);
    let loader = EvalLoader::new(set.clone(), &card.normalization, eval::batch_of(card.image))?;
    for batch in loader.batches() {
        let batch = batch?;
        let ids = batch.ids.clone();
        for (id, probabilities) in ids.into_iter().zip(eval::probabilities(&loaded.network, batch, &device)) {
            let file = set.shown(id as usize);
            tell(&file, &best(&probabilities, args.top as usize), &card.classes, args.json)?;
        }
    }
    Ok(())
}

/// Files as they are, folders as the images below them.
fn files(paths: &[PathBuf]) -> hcd::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            // A missing file is told before the first image is looked at.
            std::fs::metadata(path).map_err(|source| hcd::Error::Io {
                path: path.clone(),
                action: "read",
                source,
            })?;
            files.push(path.clone());
            continue;
        }
        let below = folder::images_below(path)?;
        if below.is_empty() {
            return Err(hcd::Error::Data(format!("{}: holds no images", path.display())));
        }
        files.extend(below);
    }
    Ok(files)
}

/// The most probable classes, the first of equals first.
fn best(probabilities: &[f64], top: usize) -> Vec<(usize, f64)> {
    let mut ranked: Vec<(usize, f64)> = probabilities.iter().copied().enumerate().collect();
    ranked.sort_by(|(_, left), (_, right)| right.total_cmp(left));
    ranked.truncate(top);
    ranked
}

fn tell(file: &str, best: &[(usize, f64)], classes: &[String], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let top: Vec<_> = best
            .iter()
            .map(|&(index, probability)| {
                json!({ "class": classes[index], "index": index, "probability": probability })
            })
            .collect();
        return output::json(&json!({ "file": file, "top": top }));
    }
    output::line(file);
    for &(index, probability) in best {
        output::line(&format!("  {:6.2} %  {}", 100.0 * probability, classes[index]));
    }
    Ok(())
}
