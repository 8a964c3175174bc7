//! What the program reports, and what a report of a dump owes.

use std::process::Output;

use serde_json::Value;

use crate::harness::workdir::Workdir;

/// A counter of a report; it has to be there.
pub(crate) fn number(report: &Value, name: &str) -> u64 {
    let number = report[name].as_u64();
    number.unwrap_or_else(|| panic!("no {name} in {report}"))
}

/// Runs the program, which must end with this code; returns its report.
pub(crate) fn run_json(workdir: &Workdir, arguments: &[&str], code: i32) -> Value {
    report_of(&workdir.mcsnap(arguments).arg("--format=json").exits(code))
}

/// The report that a run has printed.
pub(crate) fn report_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// What a run has said beside its report.
pub(crate) fn stderr_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Every counter of a dump of all items is there, and they add up.
pub(crate) fn assert_accounted(report: &Value) {
    let outcomes = [
        "stored",
        "vanished",
        "expired",
        "duplicate",
        "refused",
        "failed",
        "missing",
    ];
    let sum = outcomes
        .map(|name| number(report, name))
        .iter()
        .sum::<u64>();
    assert_eq!(number(report, "listed"), sum, "{report}");
    assert_eq!(number(report, "unaccounted"), 0, "{report}");
}
