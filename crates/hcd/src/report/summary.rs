//! Runs of one name as a row: mean and sample standard deviation over seeds; rows as Markdown, runs as CSV.
//!
//! Deviation: √(Σ(x − mean)² / (n − 1)), which one run does not have.

use super::{Entry, Outcome};
use crate::error::{Error, Result};
use crate::eval::Split;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Stands in a cell that has no figure.
pub(super) const NONE: &str = "–";

/// A figure over runs: `91.23 ± 0.15`, of one run `91.23`; `{:.1}` sets the decimals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Stat {
    /// Mean over runs.
    pub mean: f64,
    /// Sample standard deviation; none for one run.
    pub deviation: Option<f64>,
}

impl Stat {
    /// Of values, at least one.
    pub(super) fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self { mean, deviation: (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()) }
    }
}

impl fmt::Display for Stat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = out.precision().unwrap_or(2);
        write!(out, "{:.decimals$}", self.mean)?;
        self.deviation.map_or(Ok(()), |deviation| write!(out, " ± {deviation:.decimals$}"))
    }
}

/// The runs of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// What the runs are called.
    pub name: String,
    /// How many there are.
    pub runs: usize,
    /// Which images the figures are on.
    pub split: Split,
    /// Accuracy of the last epoch's weights on them, in percent.
    pub top1: Stat,
    /// Accuracy of the chosen epoch's weights on them, in percent; none unless every run chose one.
    pub chosen_top1: Option<Stat>,
    /// Wall-clock seconds of training, validation included.
    pub seconds: Stat,
    /// The most memory that the program had in any of them, in MiB; none where the system does not tell.
    pub peak_mib: Option<u64>,
    /// Numbers that the student learned, and costs when it runs.
    pub parameters: usize,
    /// Numbers that the method's heads learned, dropped afterwards.
    pub head_parameters: usize,
}

/// The teacher's row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TeacherLine {
    /// Name of its model.
    pub name: String,
    /// Its accuracy on the images that the others' figures are on, in percent.
    pub top1: f64,
    /// Numbers that it learned.
    pub parameters: usize,
    /// Wall-clock seconds that its answers took, where they were recorded beforehand.
    pub seconds: Option<f64>,
}

/// The runs of one name, as entries.
pub(super) struct Method<'a> {
    pub name: &'a str,
    pub runs: Vec<&'a Entry>,
}

/// Groups entries by name, in the order in which names first appear.
pub(super) fn methods(entries: &[Entry]) -> Vec<Method<'_>> {
    let mut methods: Vec<Method<'_>> = Vec::new();
    for entry in entries {
        match methods.iter_mut().find(|method| method.name == entry.outcome.name) {
            Some(method) => method.runs.push(entry),
            None => methods.push(Method { name: &entry.outcome.name, runs: vec![entry] }),
        }
    }
    methods
}

/// One row for each name, in the order in which names first appear.
pub fn summarise(entries: &[Entry]) -> Vec<Summary> {
    let row = |method: Method<'_>| {
        let stat = |figure: fn(&Outcome) -> f64| {
            Stat::of(&method.runs.iter().map(|run| figure(&run.outcome)).collect::<Vec<_>>())
        };
        let chosen = method.runs.iter().map(|run| run.outcome.chosen.map(|chosen| chosen.top1));
        let first = &method.runs[0].outcome;
        Summary {
            name: first.name.clone(),
            runs: method.runs.len(),
            split: first.split,
            top1: stat(|outcome| outcome.top1),
            chosen_top1: chosen.collect::<Option<Vec<_>>>().map(|values| Stat::of(&values)),
            seconds: stat(|outcome| outcome.seconds),
            peak_mib: method.runs.iter().map(|run| run.outcome.peak_mib).max().flatten(),
            parameters: first.parameters,
            head_parameters: first.head_parameters,
        }
    };
    methods(entries).into_iter().map(row).collect()
}

/// Which images the figures of a table are on: its rows share them.
pub fn split_of(summaries: &[Summary]) -> Split {
    summaries.first().map(|summary| summary.split).unwrap_or_default()
}

impl Summary {
    /// Its row, as every table has it, but for the name: [`columns`].
    pub fn cells(&self) -> [String; 7] {
        [
            self.top1.to_string(),
            self.chosen_top1.map_or(NONE.into(), |stat| stat.to_string()),
            format!("{:.1}", self.seconds),
            self.peak_mib.map_or(NONE.into(), |mib| thousands(mib as usize)),
            thousands(self.parameters),
            thousands(self.head_parameters),
            self.runs.to_string(),
        ]
    }
}

impl TeacherLine {
    /// Its row, as every table has it, but for the name.
    pub fn cells(&self) -> [String; 7] {
        let none = || NONE.to_owned();
        let seconds = self.seconds.map_or_else(none, |seconds| format!("{seconds:.1} (its answers)"));
        [format!("{:.2}", self.top1), none(), seconds, none(), thousands(self.parameters), none(), none()]
    }
}

/// What the columns of a table are called, the name's first.
pub fn columns(split: Split) -> [String; 8] {
    let on = format!("Top-1 on {split} images, last epoch");
    ["Method", &on, "Chosen epoch", "Seconds", "MiB", "Parameters", "Heads (dropped)", "Runs"]
        .map(str::to_owned)
}

/// The rows as a GitHub table, the teacher's first.
pub fn markdown(summaries: &[Summary], teacher: Option<&TeacherLine>) -> String {
    let mut table =
        format!("| {} |\n|:--|--:|--:|--:|--:|--:|--:|--:|\n", columns(split_of(summaries)).join(" | "));
    let mut row = |name: String, cells: [String; 7]| {
        table.push_str(&format!("| {name} | {} |\n", cells.join(" | ")));
    };
    if let Some(teacher) = teacher {
        row(format!("**Teacher** {}", markdown_text(&teacher.name)), teacher.cells());
    }
    summaries.iter().for_each(|summary| row(markdown_text(&summary.name), summary.cells()));
    table
}

/// `text` as one cell of a Markdown table.
pub(super) fn markdown_text(text: &str) -> String {
    let mut cell = String::new();
    for sign in text.chars() {
        match sign {
            '\n' | '\r' => cell.push(' '),
            '\\' | '|' | '*' | '`' | '<' | '[' => cell.extend(['\\', sign]),
            _ => cell.push(sign),
        }
    }
    cell
}

/// 11,220,132
pub(super) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

const COLUMNS: [&str; 17] = [
    "pair",
    "name",
    "seed",
    "split",
    "top1",
    "top5",
    "loss",
    "calibration_error",
    "chosen_epoch",
    "chosen_validation_top1",
    "chosen_top1",
    "seconds",
    "peak_mib",
    "epochs",
    "parameters",
    "head_parameters",
    "recipe",
];

/// One line for each run, in full precision, below a line of column names; lines end in `\n`.
///
/// # Errors
/// None in practice: the text is written to memory.
pub fn csv(entries: &[Entry]) -> Result<String> {
    let failed = |what: &dyn fmt::Display| Error::Run(format!("results.csv: cannot be written: {what}"));
    let mut table = ::csv::Writer::from_writer(Vec::new());
    table.write_record(COLUMNS).map_err(|error| failed(&error))?;
    for entry in entries {
        table.write_record(record(&entry.outcome)).map_err(|error| failed(&error))?;
    }
    let bytes = table.into_inner().map_err(|error| failed(&error))?;
    String::from_utf8(bytes).map_err(|error| failed(&error))
}

fn record(outcome: &Outcome) -> [String; COLUMNS.len()] {
    let chosen =
        |figure: fn(&super::ChosenEpoch) -> String| outcome.chosen.as_ref().map_or(String::new(), figure);
    [
        outcome.pair.clone().unwrap_or_default(),
        outcome.name.clone(),
        outcome.seed.to_string(),
        outcome.split.to_string(),
        outcome.top1.to_string(),
        outcome.top5.to_string(),
        outcome.loss.to_string(),
        outcome.calibration_error.to_string(),
        chosen(|chosen| chosen.epoch.to_string()),
        chosen(|chosen| chosen.validation_top1.to_string()),
        chosen(|chosen| chosen.top1.to_string()),
        outcome.seconds.to_string(),
        outcome.peak_mib.map_or(String::new(), |mib| mib.to_string()),
        outcome.epochs.to_string(),
        outcome.parameters.to_string(),
        outcome.head_parameters.to_string(),
        outcome.recipe.clone(),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::ChosenEpoch;
    use super::*;

    fn run(name: &str, seed: u64, top1: f64, chosen: Option<f64>) -> Entry {
        let chosen = chosen.map(|top1| ChosenEpoch { epoch: 7, validation_top1: 90.5, top1 });
        let outcome = Outcome {
            name: name.into(),
            pair: None,
            seed,
            split: Split::Test,
            top1,
            top5: 99.5,
            loss: 0.25,
            calibration_error: 0.03,
            chosen,
            seconds: 100.0 + seed as f64,
            peak_mib: Some(1000 + seed),
            epochs: 10,
            parameters: 1_234_567,
            head_parameters: 89_012,
            recipe: "ab12".into(),
            left_out: Vec::new(),
        };
        Entry { outcome, epochs: Vec::new(), insight: None }
    }

    fn runs() -> Vec<Entry> {
        vec![
            run("HCD", 0, 91.0, Some(91.5)),
            run("a|b, \"c\"", 0, 88.123, None),
            run("HCD", 1, 92.0, Some(91.5)),
            run("HCD", 2, 94.5, Some(93.0)),
        ]
    }

    #[test]
    fn statistics_by_hand() {
        let rows = summarise(&runs());
        assert_eq!(
            rows.iter().map(|row| (row.name.as_str(), row.runs)).collect::<Vec<_>>(),
            [("HCD", 3), ("a|b, \"c\"", 1)]
        );
        // 91, 92, 94.5: mean 92.5, squares 2.25 + 0.25 + 4 = 6.5, halved 3.25.
        assert_eq!(rows[0].top1, Stat { mean: 92.5, deviation: Some(3.25f64.sqrt()) });
        // 91.5, 91.5, 93: mean 92, squares 0.25 + 0.25 + 1 = 1.5, halved 0.75.
        assert_eq!(rows[0].chosen_top1, Some(Stat { mean: 92.0, deviation: Some(0.75f64.sqrt()) }));
        assert_eq!(rows[0].seconds, Stat { mean: 101.0, deviation: Some(1.0) });
        assert_eq!(rows[1].top1, Stat { mean: 88.123, deviation: None });
        assert_eq!(rows[1].chosen_top1, None);
        assert!(summarise(&[]).is_empty());
    }

    #[test]
    fn a_chosen_figure_needs_every_run() {
        let rows = summarise(&[run("KD", 0, 90.0, Some(91.0)), run("KD", 1, 90.0, None)]);
        assert_eq!((rows[0].runs, rows[0].chosen_top1), (2, None));
    }

    #[test]
    fn figures_as_text() {
        let one = Stat { mean: 91.234, deviation: None };
        let many = Stat { mean: 91.234, deviation: Some(0.149) };
        assert_eq!((one.to_string(), many.to_string()), ("91.23".into(), "91.23 ± 0.15".into()));
        assert_eq!(format!("{many:.1}"), "91.2 ± 0.1");
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (11_220_132, "11,220,132")] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn markdown_to_the_letter() {
        let teacher =
            TeacherLine { name: "resnet18".into(), top1: 95.0, parameters: 11_220_132, seconds: Some(12.34) };
        let expected = "\
| Method | Top-1 on test images, last epoch | Chosen epoch | Seconds | MiB | Parameters | Heads (dropped) | Runs |
|:--|--:|--:|--:|--:|--:|--:|--:|
| **Teacher** resnet18 | 95.00 | – | 12.3 (its answers) | – | 11,220,132 | – | – |
| HCD | 92.50 ± 1.80 | 92.00 ± 0.87 | 101.0 ± 1.0 | 1,002 | 1,234,567 | 89,012 | 3 |
| a\\|b, \"c\" | 88.12 | – | 100.0 | 1,000 | 1,234,567 | 89,012 | 1 |
";
        assert_eq!(markdown(&summarise(&runs()), Some(&teacher)), expected);
        assert!(!markdown(&summarise(&runs()), None).contains("Teacher"));
    }

    #[test]
    fn csv_to_the_letter() {
        let expected = "\
pair,name,seed,split,top1,top5,loss,calibration_error,chosen_epoch,chosen_validation_top1,chosen_top1,seconds,peak_mib,epochs,parameters,head_parameters,recipe
,HCD,0,test,91,99.5,0.25,0.03,7,90.5,91.5,100,1000,10,1234567,89012,ab12
,\"a|b, \"\"c\"\"\",0,test,88.123,99.5,0.25,0.03,,,,100,1000,10,1234567,89012,ab12
";
        assert_eq!(csv(&runs()[..2]).unwrap(), expected);
    }
}
