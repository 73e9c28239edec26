//! Step 7, what came of it: outcomes of runs as tables and as a page.
//!
//! [`summarise`] gathers runs of one name into a row; [`markdown`] and [`csv()`] write them as text,
//! [`page()`] as one self-contained HTML file. [`lead`] tests whether the best method is better than the next, and
//! [`ranking`] gathers several pairs of teacher and student. The same entries give the same bytes: nothing here reads a
//! clock or a file.

mod curves;
mod inside;
mod insight;
mod outcome;
mod page;
mod progress;
mod ranking;
mod significance;
mod summary;

#[cfg(test)]
mod tests;

pub use outcome::{ChosenEpoch, Diverged, Entry, Outcome};
pub use page::{Page, Part, entries_of, page};
pub use ranking::{RANK_COLUMNS, Rank, by_pair, ranking, ranks_markdown};
pub use significance::{Lead, Unit, lead};
pub use summary::{Stat, Summary, TeacherLine, columns, csv, markdown, split_of, summarise};
