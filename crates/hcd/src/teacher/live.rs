//! A teacher that looks at every batch itself.

use super::{Teacher, TeacherOutput, ViewKey};
use crate::data::{HostBatch, Normalization};
use crate::error::Result;
use crate::export::Loaded;
use crate::models::{Backbone, Network, Pass};
use burn::tensor::{Device, Tensor, TensorData};

/// A network on a plain device, in evaluation mode.
#[derive(Debug)]
pub struct Live {
    network: Network,
    /// x_teacher = x_student · scale + shift, per channel: undoes the student's normalisation and applies
    /// the teacher's.
    scale: Vec<f32>,
    shift: Vec<f32>,
    device: Device,
}

impl Live {
    /// The teacher of `loaded`, for batches normalised by `batches`.
    ///
    /// `loaded` must be on `device`, a device without autodiff.
    pub fn new(loaded: Loaded, batches: &Normalization, device: &Device) -> Self {
        let own = &loaded.card.normalization;
        let scale = batches.std.iter().zip(&own.std).map(|(from, to)| from / to).collect();
        let shift =
            (batches.mean.iter().zip(&own.mean).zip(&own.std)).map(|((from, to), std)| (from - to) / std);
        Self { network: loaded.network, scale, shift: shift.collect(), device: device.clone() }
    }

    /// The last layer alone.
    ///
    /// # Shapes
    /// `penultimate` (B, D_t) → (B, K)
    pub fn classify(&self, penultimate: Tensor<2>) -> Tensor<2> {
        self.network.classify(penultimate)
    }

    /// The device it computes on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The network itself.
    pub fn network(&self) -> &Network {
        &self.network
    }
}

impl Teacher for Live {
    fn answer(&mut self, batch: &HostBatch, _views: ViewKey) -> Result<TeacherOutput> {
        let images = Tensor::<4>::from_data(TensorData::new(batch.pixels.clone(), batch.shape), &self.device);
        let channels = self.scale.len();
        let per_channel = |values: &[f32]| {
            Tensor::<4>::from_data(TensorData::new(values.to_vec(), [1, channels, 1, 1]), &self.device)
        };
        let same = self.scale.iter().all(|&s| s == 1.0) && self.shift.iter().all(|&s| s == 0.0);
        let images = match same {
            true => images,
            false => images * per_channel(&self.scale) + per_channel(&self.shift), // (B, C, H, W)
        };
        let features = self.network.forward(images, &mut Pass::Eval);
        Ok(TeacherOutput { penultimate: features.penultimate, logits: features.logits })
    }

    fn width(&self) -> usize {
        self.network.penultimate_width()
    }
}
