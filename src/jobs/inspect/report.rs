//! What an inspection found.

use std::time::Duration;

use crate::jobs::inspect::statistics::Statistics;
use crate::jobs::inspect::tally::Tally;
use crate::words::defect::Severity;
use crate::words::finding::Finding;
use crate::words::units::UnixSecs;

/// A finished inspection.
#[derive(Clone, Debug)]
pub struct InspectReport {
    /// The moment that times are relative to.
    pub at: UnixSecs,
    /// One a node of the manifest, in its order; none for a node that was not
    /// to be looked at.
    pub nodes: Vec<Option<NodeShare>>,
    /// Of all records that could be read and are selected.
    pub statistics: Statistics,
    /// The selection with its rings; none if every record counts.
    pub selection: Option<String>,
    /// Records that were read, and are not selected; no other figure has them.
    pub filtered: Tally,
    /// Records that are counted though nobody told what would decide it.
    pub unknown_kept: u64,
    /// What could not be read, and why, in the order of the segments; at most
    /// [`InspectReport::FINDING_COUNT_MAX`].
    pub findings: Vec<Finding>,
    /// Findings beyond that.
    pub finding_count_dropped: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// What came from one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeShare {
    /// Records that could be read and are selected.
    pub tally: Tally,
    /// Records that could not, as far as the tables count them.
    pub unreadable: u64,
    /// What they take in files.
    pub storage: Storage,
}

/// Segments, and how their sections are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Segments the manifest names.
    pub segments: u64,
    /// Their blocks.
    pub blocks: u64,
    /// Their bytes.
    pub size: u64,
    /// Bytes of key sections in files; this and all below of the segments whose
    /// tables could be read.
    pub key_stored: u64,
    /// Bytes of key sections when decompressed.
    pub key_raw: u64,
    /// Bytes of value sections, and of parts of values, in files.
    pub value_stored: u64,
    /// Bytes of the same when decompressed.
    pub value_raw: u64,
}

impl InspectReport {
    /// Findings kept.
    pub const FINDING_COUNT_MAX: usize = 10_000;

    /// Returns the sums over the nodes.
    pub fn totals(&self) -> NodeShare {
        let mut totals = NodeShare::default();
        for share in self.nodes.iter().flatten() {
            totals.merge(share);
        }
        totals
    }

    /// Says whether something could not be read, or is not what it should be.
    pub fn has_errors(&self) -> bool {
        self.finding_count_dropped > 0
            || self
                .findings
                .iter()
                .any(|finding| finding.severity() == Severity::Error)
    }
}

impl NodeShare {
    /// Adds what came from another part.
    pub fn merge(&mut self, other: &Self) {
        self.tally.merge(&other.tally);
        self.unreadable = self.unreadable.saturating_add(other.unreadable);
        self.storage.merge(&other.storage);
    }
}

impl Storage {
    /// Adds other segments.
    pub fn merge(&mut self, other: &Self) {
        let pairs = [
            (&mut self.segments, other.segments),
            (&mut self.blocks, other.blocks),
            (&mut self.size, other.size),
            (&mut self.key_stored, other.key_stored),
            (&mut self.key_raw, other.key_raw),
            (&mut self.value_stored, other.value_stored),
            (&mut self.value_raw, other.value_raw),
        ];
        for (sum, more) in pairs {
            *sum = sum.saturating_add(more);
        }
    }
}
