//! The views of a training as files, for teachers of other frameworks to look at.

use super::tensor_file::{RowTensor, TensorRows};
use crate::data::{Normalization, TrainLoader, ViewStamp};
use crate::error::Result;
use std::path::Path;

/// Writes view `number` of every sample of `loader`, which normalises by `normalization`, to a new safetensors file:
/// `images` (N, C, H, W), f32, from 0 to 1 but for random erasing's noise; `ids` and `labels` (N), i64; in the metadata seed,
/// view, and `stamp`. `progress` is told of images done.
///
/// # Errors
/// Where images cannot be read, or a file of that name is there already or cannot be written.
pub fn write_view(
    loader: &TrainLoader,
    normalization: &Normalization,
    number: u64,
    stamp: &ViewStamp,
    path: &Path,
    progress: &mut dyn FnMut(usize),
) -> Result<()> {
    let dataset = loader.dataset();
    let (shape, count) = (dataset.image_shape(), dataset.len());
    let tensors = [
        RowTensor::floats("images", &[shape.channels, shape.height, shape.width]),
        RowTensor::integers("ids"),
        RowTensor::integers("labels"),
    ];
    let mut metadata = vec![("seed", loader.seed().to_string()), ("view", number.to_string())];
    metadata.extend(stamp.entries().map(|(key, value)| (key, value.clone())));
    let mut rows = TensorRows::create(path, count, &tensors, &metadata)?;
    let (mut first, plane) = (0, shape.height * shape.width);
    for batch in loader.view_batches(number, (0..count).collect()) {
        let mut batch = batch?;
        for (index, plane) in batch.pixels.chunks_mut(plane).enumerate() {
            let channel = index % shape.channels;
            let (mean, std) = (normalization.mean[channel], normalization.std[channel]);
            plane.iter_mut().for_each(|value| *value = *value * std + mean);
        }
        rows.put(0, first, &batch.pixels)?;
        rows.put_integers(1, first, &batch.ids.iter().map(|&id| id as i64).collect::<Vec<_>>())?;
        rows.put_integers(2, first, &batch.labels.iter().map(|&label| label as i64).collect::<Vec<_>>())?;
        first += batch.ids.len();
        progress(batch.ids.len());
    }
    rows.finish()
}
