//! What is damaged, and what may not be what was asked for.

use mcsnap::words::finding::Finding;
use mcsnap::words::location::Location;
use serde_json::{Value, json};

use crate::render::{count, counted};
use crate::stderr::{Priority, tell};

/// Prints what is damaged on stderr, a line each: stdout is for what was asked.
pub(crate) fn print_findings(findings: &[Finding], dropped: u64) {
    for finding in findings {
        tell(Priority::Error, &finding.to_string());
    }
    if dropped > 0 {
        tell(
            Priority::Error,
            &format!("and {} more", counted(dropped, "finding")),
        );
    }
}

/// Says on stderr that some of what was printed may not be what was asked for.
pub(crate) fn print_unknown_kept(records: u64) {
    if records > 0 {
        let message = format!(
            "{} of the records: the servers did not tell what --select asks, so that they are \
             kept; ttl!=unknown and its like drop them",
            count(records)
        );
        tell(Priority::Warning, &message);
    }
}

/// Writes a finding for programs.
pub(crate) fn finding_json(finding: &Finding) -> Value {
    let place = match &finding.location {
        Location::Object {
            object,
            block,
            record,
            offset,
        } => {
            json!({"object": object, "block": block, "record": record, "offset": offset})
        }
        Location::Node { node, key } => json!({"node": node, "key": key}),
        other => json!({"place": other.to_string()}),
    };
    json!({
        "code": finding.defect.code(),
        "severity": finding.severity().to_string(),
        "location": place,
        "message": finding.defect.to_string(),
    })
}
