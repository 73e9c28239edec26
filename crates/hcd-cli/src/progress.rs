//! Progress on stderr: a bar with the time left on a terminal, a line an epoch elsewhere.

use crate::output;
use hcd::train::{History, Observer, Progress};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// A bar of `total` units called `name`.
pub fn bar(name: &str, total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>8} [{bar:30}] {percent:>3} %  {msg}  {eta} left");
    let bar = ProgressBar::new(total).with_prefix(name.to_owned());
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// Shows a training.
pub struct TrainingBar {
    bar: ProgressBar,
    name: String,
    began: Instant,
    begun_at: Option<u64>,
    done: u64,
    total: u64,
}

impl TrainingBar {
    /// For the training called `name`.
    pub fn new(name: &str) -> Self {
        Self {
            bar: bar(name, 0),
            name: name.to_owned(),
            began: Instant::now(),
            begun_at: None,
            done: 0,
            total: 0,
        }
    }

    /// Seconds since it began.
    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn say(&self, text: &str) {
        if self.bar.is_hidden() {
            output::note(text);
        } else {
            self.bar.println(text);
        }
    }

    fn left(&self) -> Duration {
        let done = self.done - self.begun_at.unwrap_or(0).min(self.done);
        let left = self.total.saturating_sub(self.done);
        self.began.elapsed().mul_f64(left as f64 / done.max(1) as f64)
    }
}

impl Observer for TrainingBar {
    fn progress(&mut self, progress: Progress) {
        // The first call tells where a resumed run stands, or that a new one has done its first batch.
        self.begun_at.get_or_insert(progress.done.saturating_sub(u64::from(progress.loss > 0.0)));
        (self.done, self.total) = (progress.done, progress.total);
        self.bar.set_length(progress.total);
        self.bar.set_position(progress.done);
        self.bar
            .set_message(format!("epoch {}/{}, loss {:.3}", progress.epoch, progress.epochs, progress.loss));
    }

    fn epoch(&mut self, history: &History) {
        let Some(last) = history.epochs.last() else { return };
        let validation = match &last.validation {
            Some(evaluation) => format!(", validation {:.2} %", evaluation.top1),
            None => String::new(),
        };
        self.say(&format!(
            "{:>8}  epoch {}: loss {:.4}, training {:.2} %{validation}, {} left",
            self.name,
            last.epoch,
            last.loss,
            last.train_top1,
            HumanDuration(self.left())
        ));
    }

    fn notice(&mut self, message: &str) {
        self.say(&format!("warning: {message}"));
    }
}
