//! A teacher that looks at every batch itself.

use super::{Teacher, TeacherOutput, ViewKey};
use crate::data::{HostBatch, Normalization, TrainLoader};
use crate::error::{Error, Result};
use crate::export::{Card, Loaded};
use crate::models::weights;
use crate::models::{Backbone, Features, Network, Pass, StageShape};
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// A network on a plain device, in evaluation mode.
#[derive(Debug)]
pub struct Live {
    network: Network,
    card: Card,
    /// x_teacher = x_student · scale + shift, per channel: undoes the student's normalisation and applies
    /// the teacher's.
    scale: Vec<f32>,
    shift: Vec<f32>,
    /// What pixels are normalised by when they come.
    batches: Normalization,
    own_size: Option<OwnSize>,
    device: Device,
    /// Of the network's tensors, once it was asked for.
    weights: OnceLock<String>,
}

/// The student's views at the teacher's own size: a view follows from its seed, number and sample, so the teacher need
/// not be handed it, and one whose answer is known is never made.
#[derive(Debug)]
struct OwnSize {
    loader: TrainLoader,
    /// Where each sample is in the loader's set.
    places: BTreeMap<u64, usize>,
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
        let (scale, shift) = (scale, shift.collect());
        Self {
            network: loaded.network,
            card: loaded.card,
            scale,
            shift,
            batches: batches.clone(),
            own_size: None,
            device: device.clone(),
            weights: OnceLock::new(),
        }
    }

    /// Has it look at the views that it is asked about as `loader` shows them: the same ones at a size of its own. It must
    /// normalise pixels as the batches are.
    #[must_use]
    pub fn at_own_size(self, loader: TrainLoader) -> Self {
        let dataset = loader.dataset();
        let places = (0..dataset.len()).map(|index| (dataset.id(index), index)).collect();
        Self { own_size: Some(OwnSize { loader, places }), ..self }
    }

    /// A loader of the views of `loader` as it looks at them.
    pub fn sight(&self, loader: &TrainLoader) -> TrainLoader {
        match &self.own_size {
            Some(own) => own.loader.under(loader.seed()),
            None => loader.clone(),
        }
    }

    /// What it says about a batch of views as it looks at them.
    ///
    /// # Shapes
    /// `batch` (B, C, H, W) → features (B, D_t), logits (B, K)
    pub fn look(&self, batch: &HostBatch) -> TeacherOutput {
        TeacherOutput { stages: Vec::new(), ..self.look_at_stages(batch) }
    }

    /// The same with its stages.
    fn look_at_stages(&self, batch: &HostBatch) -> TeacherOutput {
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
        let Features { stages, penultimate, logits } = self.network.forward(images, &mut Pass::Eval);
        TeacherOutput { penultimate, logits, stages }
    }

    /// What it says by `look` about a batch, which comes as the student sees it.
    fn answer_by(
        &self,
        batch: &HostBatch,
        views: ViewKey,
        look: impl Fn(&Self, &HostBatch) -> TeacherOutput,
    ) -> Result<TeacherOutput> {
        let Some(own) = &self.own_size else { return Ok(look(self, batch)) };
        let parts = own.batches(&batch.ids, views)?;
        Ok(TeacherOutput::joined(parts.iter().map(|part| look(self, part)).collect()))
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

    /// What its file says of it.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The network itself.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// BLAKE3 of the network's tensors, computed once.
    pub fn weights(&self) -> &str {
        self.weights.get_or_init(|| weights::fingerprint(&weights::snapshot(&self.network)))
    }

    /// What pixels are normalised by when they come.
    pub fn batches(&self) -> &Normalization {
        &self.batches
    }
}

impl OwnSize {
    /// The views of those samples, in batches as small as such images want.
    fn batches(&self, ids: &[u64], views: ViewKey) -> Result<Vec<HostBatch>> {
        let place = |id: &u64| {
            let name = || self.loader.dataset().name();
            self.places.get(id).copied().ok_or_else(|| Error::Run(format!("{}: has no sample {id}", name())))
        };
        let places = ids.iter().map(place).collect::<Result<Vec<usize>>>()?;
        let loader = self.loader.under(views.seed);
        places.chunks(loader.batch_size()).map(|part| loader.view_batch(views.number, part)).collect()
    }
}

impl Teacher for Live {
    fn answer(&mut self, batch: &HostBatch, views: ViewKey) -> Result<TeacherOutput> {
        self.answer_by(batch, views, Self::look)
    }

    fn answer_with_stages(&mut self, batch: &HostBatch, views: ViewKey) -> Result<TeacherOutput> {
        self.answer_by(batch, views, Self::look_at_stages)
    }

    fn stages(&self) -> Option<Vec<StageShape>> {
        Some(self.network.stages())
    }

    fn width(&self) -> usize {
        self.network.penultimate_width()
    }

    fn fingerprint(&self) -> Option<String> {
        Some(self.weights().to_owned())
    }
}
