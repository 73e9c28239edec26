//! `hcd models`: the networks there are.

use crate::args::ListArgs;
use crate::{output, session};
use hcd::models::{Backbone, ModelSpec, Network, PRESETS, Parameters, StageShape};
use serde::Serialize;

#[derive(Serialize)]
struct Row {
    name: &'static str,
    about: &'static str,
    image_size: usize,
    parameters: usize,
    penultimate: usize,
    stages: Vec<String>,
}

pub fn run(args: ListArgs) -> anyhow::Result<()> {
    let device = session::device();
    let mut rows = Vec::new();
    for preset in PRESETS {
        let config = ModelSpec::named(preset.name).resolve(3, preset.image_size, 1000)?;
        let network = Network::new(&config, 0, &device);
        rows.push(Row {
            name: preset.name,
            about: preset.about,
            image_size: preset.image_size,
            parameters: network.learned_count(),
            penultimate: network.penultimate_width(),
            stages: network.stages().into_iter().map(describe).collect(),
        });
    }
    if args.json {
        return output::json(&rows);
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                row.name.to_owned(),
                format!("{:.2} M", row.parameters as f64 / 1e6),
                format!("3x{0}x{0}", row.image_size),
                row.stages.join(", "),
                row.penultimate.to_string(),
                row.about.to_owned(),
            ]
        })
        .collect();
    output::table(&["name", "parameters", "images", "stages", "penultimate", "what"], &cells);
    output::note("parameters are for 1000 classes; recipes set image size, classes and options of a preset");
    Ok(())
}

fn describe(shape: StageShape) -> String {
    match shape {
        StageShape::Map { channels } => format!("{channels} channels"),
        StageShape::Tokens { width, prefix, grid: [height, across] } => {
            format!("{}x{width}", prefix + height * across)
        }
    }
}
