//! `hcd views`: what a training shows its student and teacher, as files.

use crate::args::ViewsArgs;
use crate::{output, progress, session};
use hcd::data::{Preprocess, ViewStamp};
use hcd::train::{inspect_folder, inspect_room};
use hcd::{config, eval, files};
use serde_json::json;

pub fn run(args: ViewsArgs) -> anyhow::Result<()> {
    let mut resolved = config::load(args.source.recipe.as_deref(), &args.source.overrides()?)?;
    if let Some(side) = args.image_size {
        resolved.recipe.teacher.get_or_insert_default().image_size = Some(side);
        if let Some(problem) = Preprocess::new(side).check().first() {
            return Err(hcd::Error::Recipe(format!("--image-size: {problem}")).into());
        }
    }
    inspect_folder(&args.out)?;
    let experiment = session::prepare(&resolved.recipe)?;
    // As the teacher looks at them, where it has a size of its own.
    let loader = match experiment.teacher_loader()? {
        Some(loader) => loader,
        None => experiment.loader()?,
    };
    let numbers = args.numbers.unwrap_or_else(|| experiment.view_numbers(resolved.recipe.seed));
    let mut numbers = numbers;
    numbers.sort_unstable();
    numbers.dedup();
    let (samples, shape) = (loader.dataset().len(), loader.dataset().image_shape());
    let bytes = numbers.len() as u64 * samples as u64 * (4 * shape.numel() as u64 + 16);
    inspect_room(&args.out, bytes, ["the views need", "--out"])?;
    files::create_folder(&args.out)?;
    let stamp = ViewStamp::of(&experiment.loader()?)?;
    let bar = progress::bar("views", (numbers.len() * samples) as u64);
    for &number in &numbers {
        let path = args.out.join(format!("view-{number:05}.safetensors"));
        eval::write_view(&loader, &experiment.normalization, number, &stamp, &path, &mut |images| {
            bar.inc(images as u64)
        })?;
    }
    bar.finish_and_clear();
    if args.json {
        return output::json(
            &json!({ "folder": args.out, "views": numbers, "samples": samples, "bytes": bytes }),
        );
    }
    output::line(&format!("{}: {} views of {samples} images", args.out.display(), numbers.len()));
    Ok(())
}
