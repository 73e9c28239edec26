//! Methods over several pairs of teacher and student: mean accuracy, and mean rank.

use super::Entry;
use super::summary::{Summary, markdown_text, summarise};
use serde::Serialize;

/// A method over all pairs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rank {
    /// Its name.
    pub name: String,
    /// Mean over pairs of its mean accuracy, last epoch, in percent.
    pub top1: f64,
    /// Mean over pairs of its place among the methods of the pair, from 1; of equals, the mean of their places.
    pub rank: f64,
    /// Pairs that it was run on.
    pub pairs: usize,
}

/// The entries of each pair, in the order in which pairs first appear.
pub fn by_pair(entries: &[Entry]) -> Vec<(Option<String>, Vec<Entry>)> {
    let mut parts: Vec<(Option<String>, Vec<Entry>)> = Vec::new();
    for entry in entries {
        match parts.iter_mut().find(|(pair, _)| *pair == entry.outcome.pair) {
            Some((_, part)) => part.push(entry.clone()),
            None => parts.push((entry.outcome.pair.clone(), vec![entry.clone()])),
        }
    }
    parts
}

/// The methods, those of all pairs first, the best mean rank first among them.
pub fn ranking(entries: &[Entry]) -> Vec<Rank> {
    let parts: Vec<Vec<Summary>> = by_pair(entries).iter().map(|(_, part)| summarise(part)).collect();
    let mut ranks: Vec<Rank> = Vec::new();
    for part in &parts {
        for row in part {
            let (top1, rank) = (row.top1.mean, place(row.top1.mean, part));
            match ranks.iter_mut().find(|known| known.name == row.name) {
                Some(known) => {
                    (known.top1, known.rank, known.pairs) =
                        (known.top1 + top1, known.rank + rank, known.pairs + 1);
                }
                None => ranks.push(Rank { name: row.name.clone(), top1, rank, pairs: 1 }),
            }
        }
    }
    for rank in &mut ranks {
        (rank.top1, rank.rank) = (rank.top1 / rank.pairs as f64, rank.rank / rank.pairs as f64);
    }
    ranks.sort_by(|left, right| right.pairs.cmp(&left.pairs).then(left.rank.total_cmp(&right.rank)));
    ranks
}

/// What the columns of a ranking are called.
pub const RANK_COLUMNS: [&str; 4] = ["Method", "Mean rank", "Mean top-1, last epoch", "Pairs"];

impl Rank {
    /// Its row, as every table has it, but for the name.
    pub fn cells(&self) -> [String; 3] {
        [format!("{:.2}", self.rank), format!("{:.2}", self.top1), self.pairs.to_string()]
    }
}

/// The rows as a GitHub table.
pub fn ranks_markdown(ranks: &[Rank]) -> String {
    let mut table = format!("| {} |\n|:--|--:|--:|--:|\n", RANK_COLUMNS.join(" | "));
    for rank in ranks {
        table.push_str(&format!("| {} | {} |\n", markdown_text(&rank.name), rank.cells().join(" | ")));
    }
    table
}

/// The place of a figure among a pair's rows.
fn place(top1: f64, rows: &[Summary]) -> f64 {
    let better = rows.iter().filter(|row| row.top1.mean > top1).count();
    let equal = rows.iter().filter(|row| row.top1.mean == top1).count();
    better as f64 + (equal as f64 + 1.0) / 2.0
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::super::tests::outcome;
    use super::*;

    fn entry(pair: &str, name: &str, top1: f64) -> Entry {
        let outcome = Outcome { pair: Some(pair.to_owned()), top1, ..outcome(name, 0) };
        Entry { outcome, epochs: Vec::new(), insight: None }
    }

    #[test]
    fn ranks_are_means_over_pairs() {
        let found = ranking(&[
            entry("a", "kd", 80.0),
            entry("a", "hcd", 82.0),
            entry("a", "fitnet", 90.0),
            entry("b", "kd", 70.0),
            entry("b", "hcd", 70.0),
        ]);
        let rows: Vec<_> =
            found.iter().map(|rank| (rank.name.as_str(), rank.top1, rank.rank, rank.pairs)).collect();
        assert_eq!(rows, [("hcd", 76.0, 1.75, 2), ("kd", 75.0, 2.25, 2), ("fitnet", 90.0, 1.0, 1)]);
        assert!(ranking(&[]).is_empty());
    }
}
