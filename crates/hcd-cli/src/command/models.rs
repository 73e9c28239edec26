//! `hcd models`: the networks there are and what they cost, or one network's layers.

use crate::args::ModelsArgs;
use crate::{output, session};
use hcd::data::ImageShape;
use hcd::models::{Backbone, Cost, Network, PRESETS, StageShape};
use serde::Serialize;
use serde_json::json;

#[derive(Serialize)]
struct Row {
    name: &'static str,
    about: &'static str,
    image_size: usize,
    parameters: usize,
    multiply_adds: u64,
    penultimate: usize,
    stages: Vec<String>,
}

pub fn run(args: ModelsArgs) -> anyhow::Result<()> {
    match &args.name {
        Some(name) => layers(name, &args),
        None => list(args.json),
    }
}

fn list(as_json: bool) -> anyhow::Result<()> {
    let device = session::device();
    let mut rows = Vec::new();
    for preset in PRESETS {
        let side = preset.image_size;
        let network = Network::blank(&preset.config(3, side, 1000), &device);
        let cost = Cost::of(&network, ImageShape { channels: 3, height: side, width: side }, &device);
        rows.push(Row {
            name: preset.name,
            about: preset.about,
            image_size: side,
            parameters: cost.parameters,
            multiply_adds: cost.multiply_adds,
            penultimate: network.penultimate_width(),
            stages: network.stages().into_iter().map(describe).collect(),
        });
    }
    if as_json {
        return output::json(&rows);
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                row.name.to_owned(),
                millions(row.parameters),
                scaled(row.multiply_adds),
                format!("3x{0}x{0}", row.image_size),
                row.stages.join(", "),
                row.penultimate.to_string(),
                row.about.to_owned(),
            ]
        })
        .collect();
    let header = ["name", "parameters", "multiply-adds", "images", "stages", "penultimate", "what"];
    output::table(&header, &cells);
    output::note(
        "parameters are for 1000 classes, multiply-adds for one image; stages are channels, or tokens x width; \
         recipes set image size, classes and options of a preset",
    );
    Ok(())
}

fn layers(name: &str, args: &ModelsArgs) -> anyhow::Result<()> {
    let device = session::device();
    let spec = session::model_spec(name, &args.model_option)?;
    let usual = PRESETS.iter().find(|preset| preset.name == name).map_or(0, |preset| preset.image_size);
    let side = args.image_size.map_or(usual, |side| side as usize);
    let channels = args.channels as usize;
    let image = ImageShape { channels, height: side, width: side };
    let network = Network::blank(&spec.resolve(channels, side, args.classes as usize)?, &device);
    let Cost { parameters, multiply_adds, layers } = Cost::of(&network, image, &device);
    let stages: Vec<String> = network.stages().into_iter().map(describe).collect();
    if args.json {
        return output::json(&json!({
            "name": name,
            "image": image,
            "parameters": parameters,
            "multiply_adds": multiply_adds,
            "penultimate": network.penultimate_width(),
            "stages": stages,
            "layers": layers,
        }));
    }
    let cells = layers.iter().map(|layer| {
        let output = layer.output.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let (parameters, multiply_adds) = (layer.parameters.to_string(), scaled(layer.multiply_adds));
        vec![layer.name.clone(), layer.kind.to_owned(), output, parameters, multiply_adds]
    });
    let total =
        ["total", "", "", &parameters.to_string(), &scaled(multiply_adds)].map(str::to_owned).to_vec();
    let cells: Vec<Vec<String>> = cells.chain([total]).collect();
    output::table(&["layer", "kind", "output", "parameters", "multiply-adds"], &cells);
    Ok(())
}

fn describe(shape: StageShape) -> String {
    match shape {
        StageShape::Map { channels } => channels.to_string(),
        StageShape::Tokens { width, prefix, grid: [height, across] } => {
            format!("{}x{width}", prefix + height * across)
        }
    }
}

fn millions(count: usize) -> String {
    format!("{:.2} M", count as f64 / 1e6)
}

/// With the unit that keeps it readable.
fn scaled(count: u64) -> String {
    match count as f64 {
        count if count >= 1e9 => format!("{:.2} G", count / 1e9),
        count if count >= 1e6 => format!("{:.2} M", count / 1e6),
        count if count >= 1e3 => format!("{:.2} k", count / 1e3),
        count => format!("{count}"),
    }
}
