//! Fine-tuning: which layers of a network that begins with trained weights learn, and how fast.
//!
//! A parameter's learning rate is lr · `layer_decay`^(blocks above it), as in BEiT (Bao et al. 2021) and timm; that
//! of everything below the head is multiplied by `backbone_lr_scale` besides. Frozen stages learn nothing, and
//! their batch normalisation keeps its running statistics. See [`crate::models::Block`] for what a block is.

use crate::error::{Error, Result};
use crate::models::{Backbone, Parameters, depth_of, freeze};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What learns, and how fast. The defaults train everything alike.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FinetuneConfig {
    /// Stages that learn nothing, the stem with them: 0 freezes the stem alone, as many as there are leave the head
    /// alone to learn. Absent, all learn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze_stages: Option<usize>,
    /// Whether batch normalisation goes by its running statistics and leaves them as they are.
    pub freeze_norm: bool,
    /// What the learning rate is multiplied by from block to block, from the head down to the stem.
    pub layer_decay: f64,
    /// What the learning rate of everything below the head is multiplied by.
    pub backbone_lr_scale: f64,
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        Self { freeze_stages: None, freeze_norm: false, layer_decay: 1.0, backbone_lr_scale: 1.0 }
    }
}

impl FinetuneConfig {
    /// What is wrong with the values, one line each, the key in front.
    pub fn check(&self) -> Vec<String> {
        let share = |value: f64| value > 0.0 && value <= 1.0;
        let mut problems = Vec::new();
        if !share(self.layer_decay) {
            problems.push(format!("layer_decay = {}, must be in (0, 1]", self.layer_decay));
        }
        if !(self.backbone_lr_scale >= 0.0 && self.backbone_lr_scale.is_finite()) {
            problems.push(format!(
                "backbone_lr_scale = {}, must be finite and not negative",
                self.backbone_lr_scale
            ));
        }
        problems
    }

    /// `network` with its frozen stages outside of learning.
    ///
    /// # Errors
    /// Where it has fewer stages than are to be frozen.
    pub fn freeze<N: Backbone>(&self, network: N) -> Result<N> {
        let Some(frozen) = self.freeze_stages else { return Ok(network) };
        let (blocks, stages) = (network.blocks(), network.stages().len());
        if frozen > stages {
            return Err(Error::Recipe(format!(
                "finetune.freeze_stages = {frozen}, must be at most {stages}, the student's stages"
            )));
        }
        let is_frozen =
            |name: &str| blocks.get(depth_of(&blocks, name)).is_some_and(|block| block.stage <= frozen);
        Ok(freeze(network, &is_frozen))
    }

    /// What the learning rate of each parameter is multiplied by; those that are not listed have 1.
    pub fn rates<N: Backbone>(&self, network: &N) -> BTreeMap<String, f64> {
        if self.layer_decay == 1.0 && self.backbone_lr_scale == 1.0 {
            return BTreeMap::new();
        }
        let blocks = network.blocks();
        let rate = |name: &str| {
            let above = blocks.len() - depth_of(&blocks, name);
            let scale = if above > 0 { self.backbone_lr_scale } else { 1.0 };
            scale * self.layer_decay.powf(above as f64)
        };
        network.named().into_iter().map(|tensor| (tensor.name.clone(), rate(&tensor.name))).collect()
    }
}
