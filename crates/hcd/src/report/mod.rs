//! Step 7, what came of it: outcomes of runs as tables and as a page.
//!
//! [`summarise`] gathers runs of one name into a row; [`markdown`] and [`csv()`] write them as text,
//! [`page()`] as one self-contained HTML file. The same entries give the same bytes: nothing here reads a
//! clock or a file.

mod curves;
mod outcome;
mod page;
mod progress;
mod summary;

#[cfg(test)]
mod tests;

pub use outcome::{ChosenEpoch, Entry, Outcome};
pub use page::{Page, page};
pub use summary::{Stat, Summary, TeacherLine, csv, markdown, split_of, summarise};
