//! What people and programs read: results on stdout, errors on stderr in one line.
#![allow(clippy::print_stderr)]

use comfy_table::{Cell, CellAlignment, Table, presets};
use std::io::Write;
use std::process::ExitCode;
use std::sync::OnceLock;

/// What the user can mend.
const MENDABLE: u8 = 2;

/// What stdout could not take.
static LOST: OnceLock<std::io::Error> = OnceLock::new();

/// Writes a line to stdout. A reader that has gone away is not an error: nobody is left to tell. Any other failure, such as a full
/// disk, is kept for [`delivered`].
pub fn line(text: &str) {
    if let Err(error) = writeln!(std::io::stdout().lock(), "{text}")
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        let _ = LOST.set(error);
    }
}

/// Whether all that was written to stdout went where it should.
pub fn delivered() -> anyhow::Result<()> {
    match LOST.get() {
        None => Ok(()),
        Some(error) => Err(anyhow::anyhow!("stdout: cannot write: {error}")),
    }
}

/// Writes a value to stdout as JSON on one line.
pub fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string(value)?);
    Ok(())
}

/// Writes a line to stderr.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes a table to stdout: columns whose first row is a number are set right.
pub fn table(header: &[impl ToString], rows: &[Vec<String>]) {
    table_lines(header, rows).iter().for_each(|text| line(text));
}

/// The same to stderr.
pub fn note_table(header: &[impl ToString], rows: &[Vec<String>]) {
    table_lines(header, rows).iter().for_each(|text| note(text));
}

fn table_lines(header: &[impl ToString], rows: &[Vec<String>]) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().map(ToString::to_string));
    for row in rows {
        table.add_row(row.iter().map(Cell::new));
    }
    if let Some(first) = rows.first() {
        for (column, cell) in table.column_iter_mut().zip(first) {
            column.set_padding((0, 2));
            if cell.starts_with(|c: char| c.is_ascii_digit()) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.lines().map(|text| text.trim_end().to_owned()).collect()
}

/// A wrong command line: clap's help as it is, its errors in one line.
pub fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(MENDABLE);
    }
    let text = error.render().to_string();
    let told = text.split("\n\nUsage").next().unwrap_or(&text).split("\n\nFor more").next().unwrap_or(&text);
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    note(&format!("{told} (see --help)"));
    ExitCode::from(MENDABLE)
}

/// An error: one line; exit code 2 for what the user can mend, 1 for the rest.
pub fn failure(error: &anyhow::Error) -> ExitCode {
    // The library's errors name their cause themselves.
    let (text, code) = match error.downcast_ref::<hcd::Error>() {
        Some(error) => (error.to_string(), MENDABLE),
        None => (format!("{error:#}"), 1),
    };
    note(&format!("error: {}", text.split_whitespace().collect::<Vec<_>>().join(" ")));
    ExitCode::from(code)
}
