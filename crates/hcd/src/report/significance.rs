//! Whether the best method is better than the next, or had better luck.
//!
//! Two methods share students' initial weights, views and order of samples by seed, so that their runs come in pairs: the
//! t-test is on the differences, t = mean / (deviation / √n) with n − 1 degrees of freedom, two-sided (Student 1908). Of
//! several pairs of teacher and student, the differences are those of each pair's means: what a pair of networks prefers is
//! shared by all its runs.
//!
//! The best two are found by the very figures that are tested, so p is smaller than it would be of two methods that were named
//! beforehand.

use super::summary::{Method, Stat, methods};
use super::{Entry, Outcome};
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};
use std::collections::BTreeSet;
use std::fmt;

/// What a difference is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Two runs of one seed.
    Runs,
    /// The means of a pair of teacher and student.
    Pairs,
}

impl fmt::Display for Unit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Unit::Runs => "runs",
            Unit::Pairs => "pairs",
        })
    }
}

/// The best method beside the next, on the runs that all methods have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lead {
    /// The best, by mean accuracy of the last epoch.
    pub best: String,
    /// The next.
    pub next: String,
    /// By how many points the first leads, over the differences.
    pub lead: Stat,
    /// How many differences there are.
    pub count: usize,
    /// What they are of.
    pub unit: Unit,
    /// The probability of such a lead, or such a lag, between equals; none of a single difference, or where all are the same.
    pub p: Option<f64>,
}

impl fmt::Display for Lead {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { best, next, lead, count, unit, p } = self;
        write!(out, "{best} leads {next} by {lead} points")?;
        match (p, count, unit) {
            (Some(p), ..) if *p < 0.001 => write!(out, " (paired t-test over {count} {unit}: p < 0.001)"),
            (Some(p), ..) => write!(out, " (paired t-test over {count} {unit}: p = {p:.3})"),
            (None, 1, Unit::Runs) => write!(out, " (a single run: no test can be made)"),
            (None, 1, Unit::Pairs) => write!(out, " (a single pair: no test can be made)"),
            (None, ..) => write!(out, " (the same in all {count} {unit}: no test can be made)"),
        }
    }
}

/// Pair and seed: what two methods must share for their runs to be compared.
type Place<'a> = (Option<&'a str>, u64);

fn place(outcome: &Outcome) -> Place<'_> {
    (outcome.pair.as_deref(), outcome.seed)
}

fn places<'a>(method: &Method<'a>) -> BTreeSet<Place<'a>> {
    method.runs.iter().map(|run| place(&run.outcome)).collect()
}

/// The best two of the methods that were run on every pair, by the places that all of these have; none where there are no two,
/// or no such place.
pub fn lead(entries: &[Entry]) -> Option<Lead> {
    let mut methods = methods(entries);
    let pairs_of = |runs: &[&Entry]| -> BTreeSet<Option<String>> {
        runs.iter().map(|run| run.outcome.pair.clone()).collect()
    };
    let pairs = pairs_of(&entries.iter().collect::<Vec<_>>());
    methods.retain(|method| pairs_of(&method.runs) == pairs);
    let shared = methods.iter().map(places).reduce(|left, right| &left & &right)?;
    // Of every method, what each pair has under each seed that all have.
    let mut figures: Vec<(&str, Vec<(Place, f64)>)> = methods
        .iter()
        .map(|method| {
            let runs = method.runs.iter().map(|run| (place(&run.outcome), run.outcome.top1));
            let mut runs: Vec<_> = runs.filter(|(place, _)| shared.contains(place)).collect();
            runs.sort_by_key(|(place, _)| *place);
            (method.name, by_unit(runs, pairs.len()))
        })
        .collect();
    let mean =
        |values: &[(Place, f64)]| values.iter().map(|(_, value)| value).sum::<f64>() / values.len() as f64;
    figures.sort_by(|(_, left), (_, right)| mean(right).total_cmp(&mean(left)));
    let [(best, of_best), (next, of_next)] = figures.get(..2)? else { return None };
    let differences: Vec<f64> =
        of_best.iter().zip(of_next).map(|((_, best), (_, next))| best - next).collect();
    if differences.is_empty() {
        return None;
    }
    let (lead, count) = (Stat::of(&differences), differences.len());
    let unit = if pairs.len() > 1 { Unit::Pairs } else { Unit::Runs };
    let p = lead.deviation.and_then(|deviation| two_sided(lead.mean, deviation, count));
    Some(Lead { best: (*best).to_owned(), next: (*next).to_owned(), lead, count, unit, p })
}

/// The values themselves where there is one pair; of several, the mean of each.
fn by_unit(values: Vec<(Place<'_>, f64)>, pairs: usize) -> Vec<(Place<'_>, f64)> {
    if pairs == 1 {
        return values;
    }
    let groups = values.chunk_by(|((left, _), _), ((right, _), _)| left == right);
    groups
        .map(|group| (group[0].0, group.iter().map(|(_, value)| value).sum::<f64>() / group.len() as f64))
        .collect()
}

/// p of differences of such mean and deviation; none where they do not differ.
fn two_sided(mean: f64, deviation: f64, count: usize) -> Option<f64> {
    let t = (mean / (deviation / (count as f64).sqrt())).abs();
    let distribution = StudentsT::new(0.0, 1.0, count as f64 - 1.0).ok()?;
    (deviation > 0.0).then(|| 2.0 * distribution.sf(t))
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
        assert_eq!((found.best.as_str(), found.next.as_str(), found.count), ("hcd", "kd", 3));
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
        assert_eq!((single.p, single.count), (None, 1));
        assert_eq!(single.to_string(), "hcd leads kd by 1.00 points (a single run: no test can be made)");
        // Differences without spread say nothing of what another seed would have.
        for (better, text) in [
            (
                [80.0, 81.0],
                "kd leads hcd by 0.00 ± 0.00 points (the same in all 2 runs: no test can be made)",
            ),
            (
                [81.0, 82.0],
                "hcd leads kd by 1.00 ± 0.00 points (the same in all 2 runs: no test can be made)",
            ),
        ] {
            let found = lead(&runs(&[("kd", &[80.0, 81.0]), ("hcd", &better)])).unwrap();
            assert_eq!((found.p, found.to_string().as_str()), (None, text));
        }
        // Runs of other seeds are no pairs.
        let mut apart = runs(&[("kd", &[80.0]), ("hcd", &[81.0])]);
        apart[0].outcome.seed = 7;
        assert_eq!(lead(&apart), None);
    }

    #[test]
    fn methods_are_compared_on_what_all_have() {
        // By all its runs kd would lead; under the seed that both have it does not.
        let found = lead(&runs(&[("kd", &[80.0, 99.0]), ("hcd", &[81.0])])).unwrap();
        assert_eq!((found.best.as_str(), found.lead.mean, found.count), ("hcd", 1.0, 1));
    }

    #[test]
    fn several_pairs_count_once_each() {
        let of = |pair: &str, figures: &[(&str, &[f64])]| {
            let mut entries = runs(figures);
            entries.iter_mut().for_each(|entry| entry.outcome.pair = Some(pair.to_owned()));
            entries
        };
        // hcd leads by 2 and 4 points on average: mean 3, deviation √2, t = 3 with 1 degree of freedom: p = 0.2048 by R's t.test.
        // fitnet suits the easy pair alone, and is no candidate.
        let mut entries =
            of("easy", &[("fitnet", &[99.0, 99.0]), ("kd", &[80.0, 82.0]), ("hcd", &[83.0, 83.0])]);
        entries.extend(of("hard", &[("kd", &[50.0, 50.0]), ("hcd", &[53.0, 55.0])]));
        let found = lead(&entries).unwrap();
        assert_eq!((found.best.as_str(), found.next.as_str(), found.count), ("hcd", "kd", 2));
        assert!(
            (found.lead.mean - 3.0).abs() < 1e-12 && (found.p.unwrap() - 0.204_832_76).abs() < 1e-6,
            "{found:?}"
        );
        assert!(found.to_string().ends_with("(paired t-test over 2 pairs: p = 0.205)"), "{found}");
    }
}
