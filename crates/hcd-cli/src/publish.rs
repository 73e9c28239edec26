//! What came of runs: a table or JSON on stdout, a page in the run's folder.

use crate::cell::Ended;
use crate::output;
use hcd::config::Resolved;
use hcd::files;
use hcd::report::{self, Diverged, Entry, Page, Part, TeacherLine};
use hcd::train::Experiment;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

const REPORT: &str = "report.html";
/// What is told of a comparison's teacher.
const TEACHER: &str = "teacher.json";

/// One training.
pub fn single(
    resolved: &Resolved,
    experiment: &Experiment,
    entry: &Entry,
    folder: &Path,
    as_json: bool,
) -> anyhow::Result<()> {
    let outcome = &entry.outcome;
    let title = format!("{} of {}", outcome.name, resolved.recipe.student.name);
    let intro = format!(
        "One training of {} on {} by `{}`, seed {}.",
        resolved.recipe.student.name,
        experiment.recipe.data.path.display(),
        outcome.name,
        outcome.seed
    );
    let part = Part {
        name: None,
        teacher: None,
        entries: std::slice::from_ref(entry),
        diverged: &[],
        classes: experiment.classes(),
    };
    let (recipe, notes) = (resolved.to_toml()?, notes(&[experiment]));
    let page = Page { title: &title, intro, parts: &[part], recipe: &recipe, notes: &notes };
    files::write(&folder.join(REPORT), report::page(&page)?.as_bytes())?;
    if as_json {
        let mut value = serde_json::to_value(outcome)?;
        value["run"] = json!(folder);
        return output::json(&value);
    }
    print_entries(None, std::slice::from_ref(entry));
    tell_where(folder);
    Ok(())
}

/// What came of one pair of teacher and student.
pub struct Compared<'a> {
    /// Its name, where there are several.
    pub name: Option<String>,
    /// Its data and student.
    pub experiment: &'a Experiment,
    /// The teacher, where there was one.
    pub teacher: Option<TeacherLine>,
    /// Its trainings that came to their end.
    pub entries: Vec<Entry>,
    /// Those that did not.
    pub diverged: Vec<Diverged>,
}

/// Which trainings came to their end, and which did not.
pub fn divided(ended: Vec<Ended>) -> (Vec<Entry>, Vec<Diverged>) {
    let (mut entries, mut diverged) = (Vec::new(), Vec::new());
    for ended in ended {
        match ended {
            Ended::Whole(entry) => entries.push(*entry),
            Ended::Diverged(run) => diverged.push(run),
        }
    }
    (entries, diverged)
}

/// A comparison.
pub fn comparison(
    what: &str,
    resolved: &Resolved,
    compared: &[Compared],
    folder: &Path,
    as_json: bool,
) -> anyhow::Result<()> {
    let entries: Vec<Entry> = compared.iter().flat_map(|pair| pair.entries.clone()).collect();
    let names: BTreeSet<&str> = entries.iter().map(|entry| entry.outcome.name.as_str()).collect();
    let title = format!("hcd {what}: {}", names.into_iter().collect::<Vec<_>>().join(", "));
    let intro = match compared {
        [one] => format!(
            "{} as student on {}, trained in the ways below from the same initial weights and views.",
            one.experiment.recipe.student.name,
            one.experiment.recipe.data.path.display(),
        ),
        several => format!(
            "{} pairs of teacher and student, each trained in the ways below from the same initial weights and views.",
            several.len()
        ),
    };
    for pair in compared {
        let place = pair.name.as_ref().map_or(folder.to_owned(), |name| folder.join(name));
        if let Some(teacher) = &pair.teacher {
            files::write_json(&place.join(TEACHER), teacher)?;
        }
    }
    let parts: Vec<Part> = compared
        .iter()
        .map(|pair| Part {
            name: pair.name.clone(),
            teacher: pair.teacher.clone(),
            entries: &pair.entries,
            diverged: &pair.diverged,
            classes: pair.experiment.classes(),
        })
        .collect();
    let experiments: Vec<&Experiment> = compared.iter().map(|pair| pair.experiment).collect();
    let notes = notes(&experiments);
    let recipe = resolved.to_toml()?;
    write_report(&Page { title: &title, intro, parts: &parts, recipe: &recipe, notes: &notes }, folder)?;
    if as_json {
        return output::json(&as_value(compared, &entries, folder));
    }
    print_parts(&parts);
    tell_where(folder);
    Ok(())
}

/// One object: of several pairs a list, of one what is in it.
fn as_value(compared: &[Compared], entries: &[Entry], folder: &Path) -> serde_json::Value {
    let methods: Vec<_> = entries.iter().map(|entry| &entry.outcome).collect();
    let lead = report::lead(entries);
    let diverged: Vec<_> = compared.iter().flat_map(|pair| &pair.diverged).collect();
    match compared {
        [one] => json!({
            "teacher": one.teacher, "methods": methods, "diverged": diverged, "lead": lead, "run": folder,
        }),
        several => {
            let teachers: serde_json::Map<_, _> =
                several.iter().filter_map(|pair| Some((pair.name.clone()?, json!(pair.teacher)))).collect();
            json!({
                "teachers": teachers, "methods": methods, "diverged": diverged,
                "ranking": report::ranking(entries), "lead": lead, "run": folder,
            })
        }
    }
}

/// What a comparison in a folder told of its teacher.
pub fn teacher(folder: &Path) -> Option<TeacherLine> {
    serde_json::from_str(&std::fs::read_to_string(folder.join(TEACHER)).ok()?).ok()
}

/// The page, and the tables as text beside it.
pub fn write_report(page: &Page, folder: &Path) -> anyhow::Result<()> {
    let entries = report::entries_of(page.parts);
    let mut text = String::new();
    for part in page.parts {
        if let Some(name) = &part.name {
            text.push_str(&format!("## {name}\n\n"));
        }
        text.push_str(&report::markdown(&report::summarise(part.entries), part.teacher.as_ref()));
        if let Some(lead) = report::lead(part.entries) {
            text.push_str(&format!("\n{lead}.\n"));
        }
        part.diverged.iter().for_each(|run| text.push_str(&format!("\n{run}.\n")));
        if part.name.is_some() {
            text.push('\n');
        }
    }
    if page.parts.len() > 1 {
        text.push_str(&format!("## All pairs\n\n{}", report::ranks_markdown(&report::ranking(&entries))));
        if let Some(lead) = report::lead(&entries) {
            text.push_str(&format!("\n{lead}.\n"));
        }
    }
    files::write(&folder.join("results.md"), text.as_bytes())?;
    files::write(&folder.join("results.csv"), report::csv(&entries)?.as_bytes())?;
    Ok(files::write(&folder.join(REPORT), report::page(page)?.as_bytes())?)
}

/// What a reader should know besides.
fn notes(experiments: &[&Experiment]) -> Vec<String> {
    let mut notes = vec![format!("{} threads", rayon::current_num_threads())];
    let left_out = experiments.iter().flat_map(|experiment| experiment.left_out());
    notes.extend(left_out.map(|image| format!("left out of {}: {}", image.set, image.error)));
    notes
}

/// Tables on stdout, one a pair, and the ranking over several.
pub fn print_parts(parts: &[Part]) {
    for part in parts {
        if let Some(name) = &part.name {
            output::line(name);
        }
        print_entries(part.teacher.as_ref(), part.entries);
        if let Some(lead) = report::lead(part.entries) {
            output::line(&lead.to_string());
        }
        part.diverged.iter().for_each(|run| output::line(&run.to_string()));
        if part.name.is_some() {
            output::line("");
        }
    }
    if parts.len() > 1 {
        let entries = report::entries_of(parts);
        let row = |rank: report::Rank| [vec![rank.name.clone()], rank.cells().to_vec()].concat();
        let rows: Vec<Vec<String>> = report::ranking(&entries).into_iter().map(row).collect();
        output::table(&report::RANK_COLUMNS, &rows);
        if let Some(lead) = report::lead(&entries) {
            output::line(&lead.to_string());
        }
    }
}

fn print_entries(teacher: Option<&TeacherLine>, entries: &[Entry]) {
    let summaries = report::summarise(entries);
    let row = |name: String, cells: [String; 7]| [vec![name], cells.to_vec()].concat();
    let mut rows: Vec<_> = summaries.iter().map(|found| row(found.name.clone(), found.cells())).collect();
    rows.extend(teacher.map(|line| row(format!("teacher: {}", line.name), line.cells())));
    output::table(&report::columns(report::split_of(&summaries)), &rows);
}

/// Where the page is.
pub fn tell_where(folder: &Path) {
    output::note(&format!("report: {}", folder.join(REPORT).display()));
}
