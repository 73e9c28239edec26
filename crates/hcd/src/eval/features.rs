//! A network's features of many images in one file: logits, penultimate, and the mean of each stage over space.
//!
//! One batch is in memory at a time, whatever the number of images.

use super::tensor_file::{RowTensor, TensorRows};
use crate::error::{Error, Result};
use crate::models::{Backbone, Network, Pass, StageShape};
use burn::tensor::{Device, Tensor, TensorData};
use std::path::Path;

/// A file of features as it is written.
#[derive(Debug)]
pub struct FeatureFile {
    rows: TensorRows,
    widths: Vec<usize>,
    images: usize,
    done: usize,
}

impl FeatureFile {
    /// Begins the file of the features of `images` images: tensors `logits`, `penultimate`, `stage1_mean` and so
    /// on, and `metadata`.
    ///
    /// # Errors
    /// Where a file of that name is there already, or cannot be written.
    pub fn create(
        path: &Path,
        network: &Network,
        classes: usize,
        images: usize,
        metadata: &[(&str, String)],
    ) -> Result<Self> {
        let mut tensors =
            vec![("logits".to_owned(), classes), ("penultimate".to_owned(), network.penultimate_width())];
        tensors.extend(network.stages().into_iter().enumerate().map(|(stage, shape)| {
            let width = match shape {
                StageShape::Map { channels } => channels,
                StageShape::Tokens { width, .. } => width,
            };
            (format!("stage{}_mean", stage + 1), width)
        }));
        let rows: Vec<RowTensor> =
            tensors.iter().map(|(name, width)| RowTensor::floats(name, &[*width])).collect();
        let rows = TensorRows::create(path, images, &rows, metadata)?;
        Ok(Self { rows, widths: tensors.into_iter().map(|(_, width)| width).collect(), images, done: 0 })
    }

    fn append(&mut self, tensors: Vec<Tensor<2>>, batch: usize) -> Result<()> {
        for (index, tensor) in tensors.into_iter().enumerate() {
            let (dims, width) = (tensor.dims(), self.widths[index]);
            if dims != [batch, width] {
                return Err(Error::Run(format!(
                    "feature {index} is {dims:?}, expected {:?}",
                    [batch, width]
                )));
            }
            let values: Vec<f32> = tensor.into_data().iter::<f32>().collect();
            self.rows.put(index, self.done, &values)?;
        }
        self.done += batch;
        Ok(())
    }

    fn finish(self) -> Result<()> {
        match self.done == self.images {
            true => self.rows.finish(),
            false => Err(Error::Run(format!("features of {} images, expected {}", self.done, self.images))),
        }
    }
}

/// Writes what `network` (on a plain device) says of batches of normalised images, each with its dimensions
/// (B, C, H, W), to the end of `file`; `progress` is told of images done.
///
/// # Errors
/// Where a batch cannot be read or the file not be written, or there are not as many images as were announced.
pub fn extract(
    network: &Network,
    batches: impl Iterator<Item = Result<(Vec<f32>, [usize; 4])>>,
    mut file: FeatureFile,
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> Result<()> {
    for batch in batches {
        let (pixels, shape) = batch?;
        let images = Tensor::<4>::from_data(TensorData::new(pixels, shape), device);
        let features = network.forward(images, &mut Pass::Eval);
        let mut tensors = vec![features.logits, features.penultimate];
        tensors.extend(features.stages.into_iter().map(|stage| stage.mean()));
        file.append(tensors, shape[0])?;
        progress(shape[0]);
    }
    file.finish()
}
