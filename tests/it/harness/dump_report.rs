//! What a report of a dump owes.

use serde_json::Value;

/// A counter of a report; it has to be there.
pub(crate) fn number(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap()
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
