//! Whether the best method is better than the next, or had better luck.
//!
//! Two methods share students' initial weights, views and order of samples by seed, so that their runs come in pairs: the
//! t-test is on the differences, t = mean / (deviation / √n) with n − 1 degrees of freedom, two-sided (Student 1908).

use super::summary::{Method, Stat, methods};
use super::{Entry, Outcome};
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};
use std::fmt;

/// The best method beside the next, on the runs that both have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lead {
    /// The best, by mean accuracy of the last epoch.
    pub best: String,
    /// The next.
    pub next: String,
    /// By how many points the first leads, over the runs.
    pub lead: Stat,
    /// Runs that both have.
    pub runs: usize,
    /// The probability of such a lead, or such a lag, between equals; none of a single run.
    pub p: Option<f64>,
}

impl fmt::Display for Lead {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { best, next, lead, runs, p } = self;
        write!(out, "{best} leads {next} by {lead} points")?;
        match p {
            Some(p) if *p < 0.001 => write!(out, " (paired t-test over {runs} runs: p < 0.001)"),
            Some(p) => write!(out, " (paired t-test over {runs} runs: p = {p:.3})"),
            None => write!(out, " (a single run: no test can be made)"),
        }
    }
}

/// The best two of the entries' methods; none where there is one method, or no run that both have.
pub fn lead(entries: &[Entry]) -> Option<Lead> {
    let mut methods = methods(entries);
    let mean = |method: &Method| {
        method.runs.iter().map(|run| run.outcome.top1).sum::<f64>() / method.runs.len() as f64
    };
    methods.sort_by(|left, right| mean(right).total_cmp(&mean(left)));
    let [best, next] = methods.get(..2)? else { return None };
    let cell = |outcome: &Outcome| (outcome.pair.clone(), outcome.seed);
    let differences: Vec<f64> = best
        .runs
        .iter()
        .filter_map(|run| {
            let other = next.runs.iter().find(|other| cell(&other.outcome) == cell(&run.outcome))?;
            Some(run.outcome.top1 - other.outcome.top1)
        })
        .collect();
    if differences.is_empty() {
        return None;
    }
    let (lead, runs) = (Stat::of(&differences), differences.len());
    let p = lead.deviation.map(|deviation| two_sided(lead.mean, deviation, runs));
    Some(Lead { best: best.name.to_owned(), next: next.name.to_owned(), lead, runs, p })
}

/// p of differences of such mean and deviation.
fn two_sided(mean: f64, deviation: f64, runs: usize) -> f64 {
    let t = (mean / (deviation / (runs as f64).sqrt())).abs();
    match StudentsT::new(0.0, 1.0, runs as f64 - 1.0) {
        // Without any spread, t is infinite, or not a number where there is no difference either.
        Ok(distribution) if t.is_finite() => 2.0 * distribution.sf(t),
        _ => f64::from(mean == 0.0),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::outcome;
    use super::*;

    fn runs(figures: &[(&str, &[f64])]) -> Vec<Entry> {
        let entry = |name: &str, seed: usize, top1: f64| Entry {
            outcome: Outcome { top1, ..outcome(name, seed as u64) },
            epochs: Vec::new(),
            insight: None,
        };
        figures
            .iter()
            .flat_map(|(name, values)| {
                values.iter().enumerate().map(move |(seed, &top1)| entry(name, seed, top1))
            })
            .collect()
    }

    #[test]
    fn the_best_two_are_compared_run_by_run() {
        // Differences 1, 2, 3: mean 2, deviation 1, t = 2√3 = 3.464 with 2 degrees of freedom: p = 0.0742 by R's t.test.
        let found = lead(&runs(&[
            ("kd", &[80.0, 81.0, 82.0]),
            ("hcd", &[81.0, 83.0, 85.0]),
            ("scratch", &[70.0, 71.0, 90.0]),
        ]))
        .unwrap();
        assert_eq!((found.best.as_str(), found.next.as_str(), found.runs), ("hcd", "kd", 3));
        assert_eq!(found.lead, Stat { mean: 2.0, deviation: Some(1.0) });
        assert!((found.p.unwrap() - 0.074_179_9).abs() < 1e-6, "{:?}", found.p);
        assert_eq!(
            found.to_string(),
            "hcd leads kd by 2.00 ± 1.00 points (paired t-test over 3 runs: p = 0.074)"
        );
    }

    #[test]
    fn what_cannot_be_tested_is_not() {
        assert_eq!(lead(&runs(&[("kd", &[80.0, 81.0])])), None);
        assert_eq!(lead(&[]), None);
        let single = lead(&runs(&[("kd", &[80.0]), ("hcd", &[81.0])])).unwrap();
        assert_eq!((single.p, single.runs), (None, 1));
        let alike = lead(&runs(&[("kd", &[80.0, 81.0]), ("hcd", &[80.0, 81.0])])).unwrap();
        assert_eq!(alike.p, Some(1.0));
        let always = lead(&runs(&[("kd", &[80.0, 81.0]), ("hcd", &[81.0, 82.0])])).unwrap();
        assert_eq!(always.p, Some(0.0));
        // Runs of other seeds are no pairs.
        let mut apart = runs(&[("kd", &[80.0]), ("hcd", &[81.0])]);
        apart[0].outcome.seed = 7;
        assert_eq!(lead(&apart), None);
    }
}
