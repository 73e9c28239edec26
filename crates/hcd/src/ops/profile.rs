//! Where the time goes: calls, seconds and multiply-adds of each operation with a kernel, once somebody asks.
//!
//! The one place of the library that reads the clock, and only between [`start`] and [`take`]; nothing that is computed
//! depends on it. Otherwise an operation looks at one flag. The table is the process's.

use hcd_kernels::conv::ConvShape;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

static MEASURING: AtomicBool = AtomicBool::new(false);
static MEASURED: Mutex<Option<Measured>> = Mutex::new(None);

struct Measured {
    began: Instant,
    rows: BTreeMap<String, Row>,
}

/// What one operation took.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Which, with its pass, as `conv2d 3x3 s1 input gradient`.
    pub name: String,
    /// How often it ran.
    pub calls: u64,
    /// How long, by the clock on the wall.
    pub time: Duration,
    /// Products that its equation adds up, however the kernel computes it; 0 where that says nothing.
    pub multiply_adds: u64,
}

impl Row {
    /// Billions of operations a second, a product and a sum being two; none where products say nothing.
    pub fn gflops(&self) -> Option<f64> {
        (self.multiply_adds > 0).then(|| 2e-9 * self.multiply_adds as f64 / self.time.as_secs_f64())
    }
}

/// What was measured from [`start`] to [`take`].
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Each operation, the longest first.
    pub rows: Vec<Row>,
    /// All the time there was.
    pub total: Duration,
}

impl Report {
    /// The time in none of the operations: Burn's own, images, files.
    pub fn elsewhere(&self) -> Duration {
        self.total.saturating_sub(self.rows.iter().map(|row| row.time).sum())
    }

    /// The part of all time that `time` is, in percent.
    pub fn share(&self, time: Duration) -> f64 {
        100.0 * time.as_secs_f64() / self.total.as_secs_f64()
    }
}

/// Measures from now on; what was measured before is forgotten.
pub fn start() {
    *measured() = Some(Measured { began: Instant::now(), rows: BTreeMap::new() });
    MEASURING.store(true, Ordering::Relaxed);
}

/// Ends it; none if it was not started.
pub fn take() -> Option<Report> {
    MEASURING.store(false, Ordering::Relaxed);
    let Measured { began, rows } = measured().take()?;
    let total = began.elapsed();
    let mut rows: Vec<Row> = rows.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.time));
    Some(Report { rows, total })
}

/// Runs `kernel`, and enters it as `name` while measuring; one in another would count twice.
pub(super) fn timed<T>(name: impl Display, multiply_adds: usize, kernel: impl FnOnce() -> T) -> T {
    if !MEASURING.load(Ordering::Relaxed) {
        return kernel();
    }
    let began = Instant::now();
    let result = kernel();
    let time = began.elapsed();
    if let Some(measured) = measured().as_mut() {
        let name = name.to_string();
        let new = Row { name: name.clone(), calls: 0, time: Duration::ZERO, multiply_adds: 0 };
        let row = measured.rows.entry(name).or_insert(new);
        row.calls += 1;
        row.time += time;
        row.multiply_adds += multiply_adds as u64;
    }
    result
}

/// A table that a panic left is as good as any: a row is entered after its kernel.
fn measured() -> MutexGuard<'static, Option<Measured>> {
    MEASURED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of a pass of a convolution: `conv2d 3x3 s2 depthwise forward`.
pub(super) struct Convolution<'a>(pub &'a ConvShape, pub &'static str);

impl Display for Convolution<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self(ConvShape { kernel: [rows, columns], stride, groups, in_channels, .. }, pass) = self;
        write!(f, "conv2d {rows}x{columns} s{}", stride[0])?;
        match groups {
            1 => {}
            _ if groups == in_channels => write!(f, " depthwise")?,
            _ => write!(f, " g{groups}")?,
        }
        write!(f, " {pass}")
    }
}
