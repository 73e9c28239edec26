//! `hcd features`: what a network says of images, as a file.

use crate::args::FeaturesArgs;
use crate::{output, progress, session};
use hcd::burn::tensor::Device;
use hcd::data::{EvalLoader, ImageShape, folder, photos};
use hcd::eval::{self, FeatureFile, ImageTensors};
use hcd::export::Loaded;
use serde_json::json;
use std::sync::Arc;

pub fn run(args: FeaturesArgs) -> anyhow::Result<()> {
    if args.out.exists() {
        let message = format!("{}: already there; name another file with --out", args.out.display());
        return Err(hcd::Error::Run(message).into());
    }
    let device = session::device();
    let loaded = session::load_network(&args.source, &device)?;
    let images = match args.images.is_dir() {
        true => of_folder(&args, &loaded, &device)?,
        false => of_tensors(&args, &loaded, &device)?,
    };
    if args.json {
        return output::json(&json!({ "file": args.out, "model": loaded.card.model, "images": images }));
    }
    output::line(&format!("{}: {}, features of {images} images", args.out.display(), loaded.card.model));
    Ok(())
}

/// Image files, decoded, resized and normalised as the network wants them.
fn of_folder(args: &FeaturesArgs, loaded: &Loaded, device: &Device) -> anyhow::Result<usize> {
    let card = &loaded.card;
    let files = folder::images_below(&args.images)?;
    let names: Vec<String> = files.iter().map(|path| photos::name_below(&args.images, path)).collect();
    let request = card.request(args.exif_orientation);
    let set = Arc::new(photos::unlabelled(args.images.display().to_string(), files, &request)?);
    let loader = EvalLoader::new(set, &card.normalization, args.batch_size as usize)?;
    let batches = loader.batches().map(|batch| batch.map(|batch| (batch.pixels, batch.shape)));
    let count = names.len();
    write(args, loaded, device, count, batches, &[("files", serde_json::to_string(&names)?)])
}

/// Images that are normalised already.
fn of_tensors(args: &FeaturesArgs, loaded: &Loaded, device: &Device) -> anyhow::Result<usize> {
    let card = &loaded.card;
    let mut images = ImageTensors::open(&args.images)?;
    let [count, channels, height, width] = images.shape();
    let refuse = |what| hcd::Error::Recipe(format!("{}: the network {what}", args.images.display()));
    card.config.check_images(ImageShape { channels, height, width }).map_err(refuse)?;
    let step = args.batch_size as usize;
    let batches = (0..count).step_by(step).map(|first| {
        let last = count.min(first + step);
        Ok((images.read(first..last)?, [last - first, channels, height, width]))
    });
    write(args, loaded, device, count, batches, &[])
}

fn write(
    args: &FeaturesArgs,
    Loaded { network, card, .. }: &Loaded,
    device: &Device,
    count: usize,
    batches: impl Iterator<Item = hcd::Result<(Vec<f32>, [usize; 4])>>,
    metadata: &[(&str, String)],
) -> anyhow::Result<usize> {
    let metadata = [metadata, &[("model", card.model.clone())]].concat();
    let file = FeatureFile::create(&args.out, network, card.classes.len(), count, &metadata)?;
    let bar = progress::bar("features", count as u64);
    let done = eval::extract(network, batches, file, device, &mut |images| bar.inc(images as u64));
    bar.finish_and_clear();
    done?;
    Ok(count)
}
