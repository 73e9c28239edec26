//! `hcd evaluate`: how weights do on a data set.

use crate::args::EvaluateArgs;
use crate::{output, progress, session};
use hcd::data::{Checked, Request};
use hcd::eval;
use hcd::models::Parameters;
use serde_json::json;
use std::time::Instant;

/// More classes than this are for programs to read: `--json` has them.
const MOST_CLASSES: usize = 100;

pub fn run(args: EvaluateArgs) -> anyhow::Result<()> {
    let device = session::device();
    let loaded = session::load_network(&args.source, &device)?;
    let card = &loaded.card;
    let part = args.split.map(Into::into);
    let layout = args.format.as_deref().map(str::parse).transpose()?;
    let asked = Request { layout, skip_bad: args.skip_bad, ..card.request(args.exif_orientation) };
    let (mut dataset, warnings) = eval::open(&args.data, part, args.labels.as_deref(), card, &asked)?;
    for warning in warnings {
        output::note(&format!("warning: {warning}"));
    }
    if args.skip_bad {
        let bar = progress::bar("images", dataset.len() as u64);
        let checked = Checked::new(dataset, true, &mut |looked| bar.inc(looked as u64));
        bar.finish_and_clear();
        dataset = checked?.dataset;
        session::tell_left_out(dataset.left_out());
    }
    let bar = progress::bar("evaluate", dataset.len() as u64);
    let began = Instant::now();
    let result = eval::evaluate(&loaded.network, &dataset, &card.normalization, &device, &mut |images| {
        bar.inc(images as u64);
    })?;
    let rate = result.images as f64 / began.elapsed().as_secs_f64();
    bar.finish_and_clear();
    // Weights that know no names number their classes; the data know them.
    let classes = if eval::is_numbered(&card.classes) { dataset.classes() } else { &card.classes };
    if args.json {
        // A list, since names may be equal: ImageNet has two kinds of crane.
        let rows = classes.iter().zip(&result.per_class);
        let per_class: Vec<_> = rows.map(|(class, top1)| json!({ "class": class, "top1": top1 })).collect();
        return output::json(&json!({
            "model": card.model,
            "parameters": loaded.network.learned_count(),
            "images": result.images,
            "top1": result.top1,
            "top5": result.top5,
            "loss": result.loss,
            "calibration_error": result.calibration_error,
            "images_per_second": rate,
            "per_class": per_class,
            "left_out": dataset.left_out(),
        }));
    }
    let rows = [
        ("model", card.model.clone()),
        ("parameters", loaded.network.learned_count().to_string()),
        ("images", result.images.to_string()),
        ("top-1", format!("{:.2} %", result.top1)),
        ("top-5", format!("{:.2} %", result.top5)),
        ("loss", format!("{:.4}", result.loss)),
        ("calibration error", format!("{:.4}", result.calibration_error)),
        ("images a second", format!("{rate:.0}")),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    output::table(&["what", "value"], &rows);
    if classes.len() > MOST_CLASSES {
        return Ok(());
    }
    output::line("");
    let rows: Vec<Vec<String>> = classes
        .iter()
        .zip(&result.per_class)
        .map(|(class, top1)| vec![class.clone(), top1.map_or("-".to_owned(), |top1| format!("{top1:.2} %"))])
        .collect();
    output::table(&["class", "top-1"], &rows);
    Ok(())
}
