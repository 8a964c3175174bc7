//! What a brake did at one node.

use std::time::Duration;

/// What a brake did at one node, for the report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrakeReport {
    /// The node, as the user wrote it.
    pub node: String,
    /// Commands of other clients that the server counted while it was watched.
    pub commands_of_others: u64,
    /// How long the node was known to have other clients.
    pub shared_time: Duration,
    /// Items per second during that time.
    pub rate: u64,
    /// Items in its slowest second.
    pub rate_min: u64,
    /// Fewest items that were in flight at a time; 0 if the node had no other clients.
    pub in_flight_min: u64,
    /// The 50th and 99th percentiles of probes while the job requested nothing.
    pub quiet: Option<(Duration, Duration)>,
    /// The same under the job's load.
    pub busy: Option<(Duration, Duration)>,
    /// Why there were no probes for a while, during which the job went carefully.
    pub blind: Option<String>,
    /// How long that was in total.
    pub blind_time: Duration,
}

impl BrakeReport {
    /// Returns whether there is nothing to report.
    pub fn is_idle(&self) -> bool {
        self.shared_time.is_zero() && self.blind.is_none()
    }
}
