//! What the metrics say of a restore.

use mcsnap::jobs::restore::{NodeRestore, RestoreReport};

use crate::metrics::{JobNumbers, NodeNumbers};

pub(super) fn numbers(report: &RestoreReport) -> JobNumbers {
    let totals = report.totals();
    let counters = &totals.counters;
    let losses = counters.losses();
    JobNumbers {
        records: vec![
            ("stored", counters.stored),
            ("existing", counters.existing),
            ("expired", counters.expired),
            ("filtered", report.filtered),
            ("duplicate", report.duplicates),
            ("too_large", counters.too_large),
            ("refused", counters.refused),
            ("failed", counters.failed),
            ("unsent", counters.unsent.saturating_add(report.unsent)),
            ("not_kept", counters.not_kept),
            ("damaged", report.damaged),
            ("unsure", counters.unsure),
        ],
        lost: Some(
            losses
                .saturating_add(report.unsent)
                .saturating_add(report.damaged),
        ),
        findings: None,
        stored_bytes: Some(totals.stored_bytes),
        segments: None,
        nodes: report.nodes.iter().map(node_numbers).collect(),
    }
}

fn node_numbers(node: &NodeRestore) -> NodeNumbers {
    NodeNumbers {
        node: node.node.to_string(),
        stored: node.tally.counters.stored,
        lost: node.tally.counters.losses(),
        has_failed: node.failure.is_some(),
    }
}
