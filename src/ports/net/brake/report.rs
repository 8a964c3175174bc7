//! What a brake did at one node.

use std::time::Duration;

/// What a brake did at one node, for the report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrakeReport {
    /// The node, as the user wrote it.
    pub node: String,
    /// Commands of other clients that the server counted while it was looked at.
    pub commands_of_others: u64,
    /// How long the node was known to have other clients.
    pub shared_time: Duration,
    /// Items a second in that time.
    pub rate: u64,
    /// Items in its slowest second.
    pub rate_min: u64,
    /// Fewest items that were on their way at a time; 0 where the node had no other
    /// clients.
    pub in_flight_min: u64,
    /// The 50th and the 99th percentile of probes while nothing was asked for.
    pub quiet: Option<(Duration, Duration)>,
    /// The same beside the job's load.
    pub busy: Option<(Duration, Duration)>,
    /// Why there were no probes for a while, in which the job went carefully, if so.
    pub blind: Option<String>,
    /// How long that was.
    pub blind_time: Duration,
}

impl BrakeReport {
    /// Says whether there is anything to tell.
    pub fn is_idle(&self) -> bool {
        self.shared_time.is_zero() && self.blind.is_none()
    }
}
