//! A teacher that answers once for each view and remembers: z_t = W f_t + b needs only the stored f_t.

use super::{Live, Teacher, TeacherOutput, ViewKey};
use crate::data::HostBatch;
use crate::error::Result;
use crate::models::StageShape;
use burn::tensor::{Tensor, TensorData};
use std::collections::BTreeMap;

/// Answers in memory, as f32: the penultimate feature of each (seed, epoch, sample). Where those that are to come would take more
/// than 1 GiB none is kept: some alone would make the methods that come later look faster than the first.
#[derive(Debug)]
pub struct Recorded {
    live: Live,
    width: usize,
    answers: BTreeMap<ViewKey, BTreeMap<u64, Vec<f32>>>,
    remembers: bool,
    asked: usize,
}

impl Recorded {
    /// Most bytes of features that are kept.
    pub const MOST_BYTES: usize = 1 << 30;

    /// Remembers nothing yet; there will be `views` to remember, each of a sample.
    pub fn new(live: Live, views: usize) -> Self {
        let width = live.width();
        let remembers = views.saturating_mul(width * size_of::<f32>()) <= Self::MOST_BYTES;
        Self { live, width, answers: BTreeMap::new(), remembers, asked: 0 }
    }

    /// Whether answers are kept.
    pub fn remembers(&self) -> bool {
        self.remembers
    }

    /// How many views the network itself has looked at.
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// Forgets every answer, to make room.
    pub fn clear(&mut self) {
        self.answers.clear();
    }
}

impl Teacher for Recorded {
    fn answer(&mut self, batch: &HostBatch, views: ViewKey) -> Result<TeacherOutput> {
        let known = self.answers.entry(views).or_default();
        if !batch.ids.iter().all(|id| known.contains_key(id)) {
            let output = self.live.answer(batch, views)?;
            self.asked += batch.ids.len();
            if !self.remembers {
                return Ok(output);
            }
            let rows: Vec<f32> = output.penultimate.clone().into_data().iter::<f32>().collect();
            known.extend(batch.ids.iter().copied().zip(rows.chunks(self.width).map(<[f32]>::to_vec)));
            return Ok(output);
        }
        let rows: Vec<f32> = batch.ids.iter().flat_map(|id| known[id].iter().copied()).collect();
        let data = TensorData::new(rows, [batch.ids.len(), self.width]);
        let penultimate = Tensor::<2>::from_data(data, self.live.device()); // (B, D_t)
        let logits = self.live.classify(penultimate.clone()); // (B, K)
        Ok(TeacherOutput { penultimate, logits, stages: Vec::new() })
    }

    /// Stages are not remembered: it looks again.
    fn answer_with_stages(&mut self, batch: &HostBatch, views: ViewKey) -> Result<TeacherOutput> {
        self.live.answer_with_stages(batch, views)
    }

    fn stages(&self) -> Option<Vec<StageShape>> {
        self.live.stages()
    }

    fn width(&self) -> usize {
        self.width
    }

    fn fingerprint(&self) -> Option<String> {
        self.live.fingerprint()
    }
}
