//! A contact sheet: what the network sees of some samples, as it is evaluated on them and as it is trained on them.

use super::augment::Levels;
use super::resize::resize;
use super::{HostBatch, Image, ImageShape, Normalization, TrainLoader};
use crate::error::{Error, Result};
use crate::models::Interpolation;
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};

/// Least side of a picture, in pixels: smaller ones are enlarged.
const SIDE: usize = 96;
/// White between pictures.
const GAP: usize = 4;

/// A PNG of `rows` rows, each a sample of the loader's set: unvaried, then as views 0, 1, … show it. Samples lie at even
/// distances in the set; those that cannot be read are passed over.
///
/// # Errors
/// Where none of them can be read.
pub fn contact_sheet(
    loader: &TrainLoader,
    normalization: &Normalization,
    rows: usize,
    views: usize,
) -> Result<Vec<u8>> {
    let dataset = loader.dataset().as_ref();
    let rows = rows.clamp(1, dataset.len());
    let places = (0..rows).map(|row| row * dataset.len() / rows);
    let mut unreadable = None;
    let indices: Vec<usize> =
        places.filter(|&index| dataset.image(index).map_err(|e| unreadable = Some(e)).is_ok()).collect();
    if let (true, Some(error)) = (indices.is_empty(), unreadable) {
        return Err(error);
    }
    let rows = indices.len();
    let shape = dataset.image_shape();
    let mut columns = vec![HostBatch::unvaried(dataset, &indices, &Levels::new(normalization))?];
    for number in 0..views {
        columns.push(loader.view_batch(number as u64, &indices)?);
    }
    let factor = SIDE.div_ceil(shape.height.min(shape.width));
    let [tall, wide] = [shape.height * factor, shape.width * factor];
    let [height, width] = [rows * (tall + GAP) + GAP, columns.len() * (wide + GAP) + GAP];
    let mut sheet = vec![255u8; height * width * 3];
    for (column, batch) in columns.iter().enumerate() {
        for (row, pixels) in batch.pixels.chunks_exact(shape.numel()).enumerate() {
            let picture = picture(pixels, shape, normalization);
            let picture = resize(
                &picture,
                [0.0, 0.0, shape.height as f64, shape.width as f64],
                [tall, wide],
                Interpolation::Bilinear,
            )?;
            let (top, left) = (GAP + row * (tall + GAP), GAP + column * (wide + GAP));
            for (y, line) in picture.pixels.chunks_exact(wide * 3).enumerate() {
                let at = ((top + y) * width + left) * 3;
                sheet[at..at + wide * 3].copy_from_slice(line);
            }
        }
    }
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(&sheet, width as u32, height as u32, ExtendedColorType::Rgb8)
        .map_err(|error| Error::Data(format!("the contact sheet cannot be encoded: {error}")))?;
    Ok(png)
}

/// Normalised numbers (C, H, W) as a picture in red, green and blue; grey as grey.
fn picture(pixels: &[f32], shape: ImageShape, normalization: &Normalization) -> Image {
    let ImageShape { channels, height, width } = shape;
    let plane = height * width;
    let level = |channel: usize, place: usize| {
        let channel = channel.min(channels - 1);
        let value =
            pixels[channel * plane + place] * normalization.std[channel] + normalization.mean[channel];
        (value * 255.0).round().clamp(0.0, 255.0) as u8
    };
    let pixels = (0..plane).flat_map(|place| [0, 1, 2].map(|channel| level(channel, place))).collect();
    Image { height, width, channels: 3, pixels }
}
