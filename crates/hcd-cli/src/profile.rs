//! `HCD_PROFILE=1`: at the end, a table on stderr of where the time went.

use crate::output;
use hcd::ops::profile;
use std::env;
use std::time::Duration;

/// Measures from now on, if the environment asks for it.
pub fn start_if_wanted() {
    if env::var_os("HCD_PROFILE").is_some_and(|value| !value.is_empty() && value != "0") {
        profile::start();
    }
}

/// Tells what was measured, if it was, and if anything was computed.
pub fn tell() {
    let Some(report) = profile::take().filter(|report| !report.rows.is_empty()) else { return };
    let cells = |name: &str, calls: Option<u64>, time: Duration, gflops: Option<f64>| {
        vec![
            name.to_owned(),
            calls.map_or(String::new(), |calls| calls.to_string()),
            format!("{:.1}", 1e3 * time.as_secs_f64()),
            format!("{:.1} %", report.share(time)),
            gflops.map_or(String::new(), |gflops| format!("{gflops:.1}")),
        ]
    };
    let mut rows: Vec<_> =
        report.rows.iter().map(|row| cells(&row.name, Some(row.calls), row.time, row.gflops())).collect();
    rows.push(cells("elsewhere", None, report.elsewhere(), None));
    output::note("");
    output::note_table(&["operation", "calls", "ms", "of all", "GFLOP/s"], &rows);
}
