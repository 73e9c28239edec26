//! Learning rate over time: linear warm-up, then cosine or steps.
//!
//! Cosine (Loshchilov & Hutter 2017), as timm's `CosineLRScheduler` with its defaults:
//! lr(t) = min + ½ (peak − min)(1 + cos(π t/T)), where t counts from the start of training and the first
//! `warmup_epochs` are replaced by a line from `warmup_lr` to the peak.

use serde::{Deserialize, Serialize};

/// How often the rate changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Once an epoch, as timm does.
    #[default]
    Epoch,
    /// At every optimiser step; smoother in short runs.
    Step,
}

/// The curve of the learning rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum ScheduleConfig {
    /// Half a cosine from the peak to `min_lr`.
    Cosine {
        /// Where it ends; a fiftieth of the peak where nothing is said, as in the published tables.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min_lr: Option<f64>,
        /// Epochs of linear warm-up; 3 where nothing is said, or a tenth of a run of under 30 epochs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        warmup_epochs: Option<f64>,
        /// Where warm-up starts.
        #[serde(default = "warmup_lr")]
        warmup_lr: f64,
        /// Whether the rate changes by epoch or by step.
        #[serde(default)]
        per: Per,
    },
    /// Multiplied by `gamma` at each of `milestones`.
    Step {
        /// Epochs at which the rate falls.
        milestones: Vec<f64>,
        /// By what it is multiplied.
        #[serde(default = "gamma")]
        gamma: f64,
        /// Epochs of linear warm-up; none where nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        warmup_epochs: Option<f64>,
        /// Where warm-up starts.
        #[serde(default = "warmup_lr")]
        warmup_lr: f64,
        /// Whether the rate changes by epoch or by step.
        #[serde(default)]
        per: Per,
    },
}

fn warmup_lr() -> f64 {
    5e-7
}
fn gamma() -> f64 {
    0.1
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        ScheduleConfig::Cosine { min_lr: None, warmup_epochs: None, warmup_lr: warmup_lr(), per: Per::Epoch }
    }
}

impl ScheduleConfig {
    /// Fills in what depends on the length of the run and the peak of the rate.
    pub fn settle(&mut self, peak: f64, epochs: u64) {
        match self {
            ScheduleConfig::Cosine { min_lr, warmup_epochs, per, .. } => {
                min_lr.get_or_insert(peak / 50.0);
                let tenth = epochs as f64 / 10.0;
                // By epoch, a part of one would hold the whole first epoch at `warmup_lr`.
                let tenth = if *per == Per::Epoch { tenth.floor() } else { tenth };
                warmup_epochs.get_or_insert(tenth.min(3.0));
            }
            ScheduleConfig::Step { warmup_epochs, .. } => {
                warmup_epochs.get_or_insert(0.0);
            }
        }
    }

    /// The rate for an optimiser step.
    ///
    /// `epoch` counts from 0; `share` in [0, 1) says how much of it is done; `epochs` is the whole run.
    pub fn lr(&self, peak: f64, epoch: u64, share: f64, epochs: u64) -> f64 {
        let (warmup, start, per) = match self {
            ScheduleConfig::Cosine { warmup_epochs, warmup_lr, per, .. }
            | ScheduleConfig::Step { warmup_epochs, warmup_lr, per, .. } => {
                (warmup_epochs.unwrap_or(0.0), *warmup_lr, *per)
            }
        };
        let time = match per {
            Per::Epoch => epoch as f64,
            Per::Step => epoch as f64 + share,
        };
        if time < warmup {
            return start + (peak - start) * time / warmup;
        }
        match self {
            ScheduleConfig::Cosine { min_lr, .. } => {
                let min_lr = min_lr.unwrap_or(peak / 50.0);
                let phase = std::f64::consts::PI * (time / epochs as f64).min(1.0);
                min_lr + 0.5 * (peak - min_lr) * (1.0 + phase.cos())
            }
            ScheduleConfig::Step { milestones, gamma, .. } => {
                let passed = milestones.iter().filter(|milestone| **milestone <= time).count();
                peak * gamma.powi(passed as i32)
            }
        }
    }

    /// What is wrong with the values, one line each.
    pub fn check(&self, peak: f64, epochs: u64) -> Vec<String> {
        let mut problems = Vec::new();
        let (warmup, start) = match self {
            ScheduleConfig::Cosine { warmup_epochs, warmup_lr, .. }
            | ScheduleConfig::Step { warmup_epochs, warmup_lr, .. } => {
                (warmup_epochs.unwrap_or(0.0), *warmup_lr)
            }
        };
        if !(warmup >= 0.0 && warmup < epochs.max(1) as f64) {
            problems.push(format!(
                "warmup_epochs = {warmup}, must be at least 0 and below train.epochs = {epochs}"
            ));
        }
        if !(start >= 0.0 && start.is_finite()) {
            problems.push(format!("warmup_lr = {start}, must be finite and not negative"));
        }
        match self {
            ScheduleConfig::Cosine { min_lr: Some(min_lr), .. }
                if peak > 0.0 && !(0.0..=peak).contains(min_lr) =>
            {
                problems.push(format!("min_lr = {min_lr}, must be between 0 and optimizer.lr = {peak}"));
            }
            ScheduleConfig::Cosine { .. } => {}
            ScheduleConfig::Step { milestones, gamma, .. } => {
                if !(*gamma > 0.0 && *gamma <= 1.0) {
                    problems.push(format!("gamma = {gamma}, must be in (0, 1]"));
                }
                if milestones.iter().any(|epoch| !(*epoch >= 0.0 && epoch.is_finite())) {
                    problems.push(format!("milestones = {milestones:?}, must be finite and not negative"));
                }
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_is_timms() {
        // timm 1.0: CosineLRScheduler(t_initial=10, lr_min=0.001, warmup_t=3, warmup_lr_init=0.0) at lr 0.1:
        // warm-up 0, 1/3, 2/3 of the peak, then min + (peak − min)/2 · (1 + cos(π t/10)).
        let schedule = ScheduleConfig::Cosine {
            min_lr: Some(0.001),
            warmup_epochs: Some(3.0),
            warmup_lr: 0.0,
            per: Per::Epoch,
        };
        let expected = [0.0, 0.1 / 3.0, 0.2 / 3.0, 0.079_595_37, 0.065_796_34, 0.0505];
        for (epoch, want) in expected.into_iter().enumerate() {
            let got = schedule.lr(0.1, epoch as u64, 0.5, 10);
            assert!((got - want).abs() < 1e-7, "epoch {epoch}: {got}, expected {want}");
        }
    }

    #[test]
    fn steps_multiply() {
        let schedule = ScheduleConfig::Step {
            milestones: vec![2.0, 4.0],
            gamma: 0.1,
            warmup_epochs: None,
            warmup_lr: 0.0,
            per: Per::Step,
        };
        for (epoch, share, want) in
            [(0, 0.0, 1.0), (1, 0.9, 1.0), (2, 0.0, 0.1), (3, 0.9, 0.1), (4, 0.0, 0.01)]
        {
            let got = schedule.lr(1.0, epoch, share, 5);
            assert!((got - want).abs() < 1e-12, "{epoch}+{share}: {got}, expected {want}");
        }
    }

    #[test]
    fn bad_values_are_named() {
        let schedule = ScheduleConfig::Cosine {
            min_lr: Some(1.0),
            warmup_epochs: Some(9.0),
            warmup_lr: -1.0,
            per: Per::Epoch,
        };
        assert_eq!(schedule.check(0.1, 5).len(), 3);
        assert!(ScheduleConfig::default().check(0.05, 300).is_empty());
        let mut settled = ScheduleConfig::default();
        settled.settle(0.05, 1);
        assert!(settled.check(0.05, 1).is_empty());
    }
}
