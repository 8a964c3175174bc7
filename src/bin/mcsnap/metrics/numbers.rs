//! What a job did, in numbers: taken from its report, for the metrics.

use jiff::Timestamp;

/// The most nodes that have series of their own: the first of those that are known.
pub(super) const NODES_MAX: usize = 100;

/// When the dump of a snapshot ended that the job reads or writes.
#[derive(Clone, Copy, Debug)]
pub(super) enum SnapshotTime {
    Read(Timestamp),
    Written(Timestamp),
}

/// What a job reports at its end. What it does not know is `None`, and is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct JobNumbers {
    /// Records by what became of them, in the words of the report.
    pub(crate) records: Vec<(&'static str, u64)>,
    /// Records that were lost.
    pub(crate) lost: Option<u64>,
    /// Errors and warnings among the findings.
    pub(crate) findings: Option<[u64; 2]>,
    /// Bytes of segments written, or of keys and values stored in servers.
    pub(crate) stored_bytes: Option<u64>,
    /// Segments written or checked.
    pub(crate) segments: Option<u64>,
    /// The nodes; none for a job that has none.
    pub(crate) nodes: Vec<NodeNumbers>,
}

/// What a job did with one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeNumbers {
    pub(crate) node: String,
    pub(crate) stored: u64,
    pub(crate) lost: u64,
    pub(crate) has_failed: bool,
}
