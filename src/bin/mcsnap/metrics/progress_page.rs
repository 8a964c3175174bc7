//! The metrics of a run that is under way.

use crate::job_watch::{JobWatch, NodeCount};
use crate::metrics::exposition::{Sample, render};
use crate::metrics::families::{
    BUILD_INFO, BYTES, EXPECTED_BYTES, EXPECTED_RECORDS, LOST, NODE_BYTES, NODE_EXPECTED,
    NODE_FAILED, NODE_FINISHED, NODE_LOST, NODE_RECORDS, NODE_RETRIES, NODES, RECORDS, RETRIES,
    START,
};
use crate::metrics::numbers::NODES_MAX;
use crate::this_run::ThisRun;

/// Writes how far a run has come.
pub(super) fn render_page(
    run: &ThisRun,
    watch: &JobWatch,
    directory: &str,
) -> Result<String, prometheus::Error> {
    let (records, bytes) = watch.totals();
    let (expected_records, expected_bytes) = watch.expected();
    let nodes = watch.node_states();
    let troubles = watch.troubles();
    let mut samples = vec![
        Sample::count(&BUILD_INFO, 1).with(env!("CARGO_PKG_VERSION")),
        Sample::moment(&START, run.started_at()),
        Sample::count(&EXPECTED_RECORDS, expected_records),
        Sample::count(&EXPECTED_BYTES, expected_bytes),
        Sample::count(&RECORDS, records),
        Sample::count(&BYTES, bytes),
        Sample::count(&RETRIES, troubles.retries),
        Sample::count(&LOST, troubles.losses),
        Sample::count(&NODES, nodes.started).with("started"),
        Sample::count(&NODES, nodes.finished).with("finished"),
        Sample::count(&NODES, nodes.failed).with("failed"),
    ];
    let nodes = watch.nodes();
    let mut of_nodes = |family, number: fn(&NodeCount) -> u64| {
        let shown = nodes.iter().take(NODES_MAX);
        samples.extend(shown.map(|node| Sample::count(family, number(node)).with(&node.name)));
    };
    of_nodes(&NODE_EXPECTED, |node| node.items_total);
    of_nodes(&NODE_RECORDS, |node| node.items);
    of_nodes(&NODE_BYTES, |node| node.bytes);
    of_nodes(&NODE_RETRIES, |node| node.troubles.retries);
    of_nodes(&NODE_LOST, |node| node.troubles.losses);
    of_nodes(&NODE_FINISHED, |node| node.is_finished.into());
    of_nodes(&NODE_FAILED, |node| node.failure.is_some().into());
    render(
        &samples,
        &[("command", &run.command), ("directory", directory)],
    )
}
