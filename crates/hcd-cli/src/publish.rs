//! What came of runs: a table or JSON on stdout, a page in the run's folder.

use crate::output;
use hcd::config::Resolved;
use hcd::files;
use hcd::report::{self, Entry, Page, TeacherLine};
use hcd::train::Experiment;
use serde_json::json;
use std::path::Path;

const REPORT: &str = "report.html";

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
    write_page(&title, intro, None, std::slice::from_ref(entry), resolved, experiment, folder)?;
    if as_json {
        let mut value = serde_json::to_value(outcome)?;
        value["run"] = json!(folder);
        return output::json(&value);
    }
    print_entries(None, std::slice::from_ref(entry));
    tell_where(folder);
    Ok(())
}

/// A comparison.
pub fn comparison(
    what: &str,
    resolved: &Resolved,
    experiment: &Experiment,
    teacher: Option<TeacherLine>,
    entries: &[Entry],
    folder: &Path,
    as_json: bool,
) -> anyhow::Result<()> {
    let names: Vec<String> = report::summarise(entries).into_iter().map(|row| row.name).collect();
    let title = format!("hcd {what}: {}", names.join(", "));
    let intro = format!(
        "{} as student on {}, trained {} ways from the same initial weights and views.",
        resolved.recipe.student.name,
        experiment.recipe.data.path.display(),
        names.len()
    );
    write_page(&title, intro, teacher.clone(), entries, resolved, experiment, folder)?;
    let table = report::markdown(&report::summarise(entries), teacher.as_ref());
    files::write(&folder.join("results.md"), table.as_bytes())?;
    files::write(&folder.join("results.csv"), report::csv(entries)?.as_bytes())?;
    if as_json {
        let teacher = teacher.map(|line| {
            json!({ "name": line.name, "top1": line.top1, "parameters": line.parameters, "seconds": line.seconds })
        });
        let methods: Vec<_> = entries.iter().map(|entry| &entry.outcome).collect();
        return output::json(&json!({ "teacher": teacher, "methods": methods, "run": folder }));
    }
    print_entries(teacher.as_ref(), entries);
    tell_where(folder);
    Ok(())
}

fn write_page(
    title: &str,
    intro: String,
    teacher: Option<TeacherLine>,
    entries: &[Entry],
    resolved: &Resolved,
    experiment: &Experiment,
    folder: &Path,
) -> anyhow::Result<()> {
    let mut notes = vec![format!("{} threads", rayon::current_num_threads())];
    let left_out = experiment.left_out();
    notes.extend(left_out.iter().map(|image| format!("left out of {}: {}", image.set, image.error)));
    let recipe = resolved.to_toml()?;
    let page = Page {
        title,
        intro,
        teacher,
        entries,
        classes: experiment.classes(),
        recipe: &recipe,
        notes: &notes,
    };
    Ok(files::write(&folder.join(REPORT), report::page(&page)?.as_bytes())?)
}

fn print_entries(teacher: Option<&TeacherLine>, entries: &[Entry]) {
    let summaries = report::summarise(entries);
    let split = report::split_of(&summaries);
    let mut rows = Vec::new();
    for row in summaries {
        rows.push(vec![
            row.name,
            row.top1.to_string(),
            row.chosen_top1.map_or("-".to_owned(), |stat| stat.to_string()),
            format!("{:.1}", row.seconds),
            row.parameters.to_string(),
            row.runs.to_string(),
        ]);
    }
    if let Some(line) = teacher {
        rows.push(vec![
            format!("teacher: {}", line.name),
            format!("{:.2}", line.top1),
            "-".to_owned(),
            line.seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.1}")),
            line.parameters.to_string(),
            "-".to_owned(),
        ]);
    }
    output::table(
        &[
            "method",
            &format!("{split} top-1, last epoch"),
            &format!("{split} top-1, chosen epoch"),
            "seconds",
            "parameters",
            "runs",
        ],
        &rows,
    );
}

fn tell_where(folder: &Path) {
    output::note(&format!("report: {}", folder.join(REPORT).display()));
}
