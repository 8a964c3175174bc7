//! The result of an inspection.

use std::time::Duration;

use crate::codecs::format::verification::VerificationRecord;
use crate::codecs::statistics::Tally;
use crate::jobs::inspect::statistics::Statistics;
use crate::words::defect::Severity;
use crate::words::finding::Finding;
use crate::words::units::UnixSecs;

/// A finished inspection.
#[derive(Clone, Debug)]
pub struct InspectReport {
    /// The moment that times are relative to.
    pub at: UnixSecs,
    /// One entry for each node of the manifest, in order; `None` for a node that was not
    /// to be inspected.
    pub nodes: Vec<Option<NodeShare>>,
    /// Statistics of all records that could be read and are selected.
    pub statistics: Statistics,
    /// What the figures come from.
    pub sources: Sources,
    /// The selection with its rings; `None` if every record counts.
    pub selection: Option<String>,
    /// Records that were read, but are not selected. No other figure includes them.
    pub filtered: Tally,
    /// Records counted although the snapshot does not decide whether they are selected.
    pub unknown_kept: u64,
    /// What could not be read, and why, in the order of the segments; at most
    /// [`InspectReport::FINDING_COUNT_MAX`].
    pub findings: Vec<Finding>,
    /// Number of further findings.
    pub finding_count_dropped: u64,
    /// The last verification of which there is a record that can be used.
    pub verification: Option<LastVerification>,
    /// How long the inspection took.
    pub elapsed: Duration,
}

/// The last verification of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastVerification {
    /// Its record.
    pub record: VerificationRecord,
    /// Whether the manifest is still the same; if not, it names other look-up objects.
    pub is_of_this_manifest: bool,
}

/// What the figures of an inspection come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Segments that were counted by their own statistics.
    pub by_statistics: u64,
    /// Segments whose keys were counted.
    pub by_keys: u64,
    /// Why the keys of all segments were counted; `None` if only those of segments
    /// without sound statistics were.
    pub why_keys: Option<WhyKeys>,
}

/// Why statistics do not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyKeys {
    /// Exact figures were asked for.
    Exact,
    /// Only some records count.
    Selection,
    /// Prefixes end with other delimiters, or are longer.
    Prefixes,
    /// More of the largest values are listed.
    Largest,
}

impl WhyKeys {
    /// Returns the option of the program that asks for it, without its dashes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Selection => "select",
            Self::Prefixes => "delimiters or depth",
            Self::Largest => "top",
        }
    }
}

/// The records of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeShare {
    /// Records that could be read and are selected.
    pub tally: Tally,
    /// Records that could not be read, as far as the tables count them.
    pub unreadable: u64,
    /// What they take in files.
    pub storage: Storage,
}

/// Segments, and the sizes of their sections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Segments that the manifest names.
    pub segments: u64,
    /// Their blocks.
    pub blocks: u64,
    /// Their sizes.
    pub size: u64,
    /// Bytes of key sections in files. This and the following sizes cover only segments
    /// whose tables could be read.
    pub key_stored: u64,
    /// Bytes of key sections, decompressed.
    pub key_raw: u64,
    /// Bytes of value sections and of parts of values in files.
    pub value_stored: u64,
    /// Bytes of those, decompressed.
    pub value_raw: u64,
}

impl InspectReport {
    /// The most findings that are kept.
    pub const FINDING_COUNT_MAX: usize = 10_000;

    /// Returns the sums over the nodes.
    pub fn totals(&self) -> NodeShare {
        let mut totals = NodeShare::default();
        for share in self.nodes.iter().flatten() {
            totals.merge(share);
        }
        totals
    }

    /// Reports whether something could not be read, or is not what it should be.
    pub fn has_errors(&self) -> bool {
        self.finding_count_dropped > 0
            || self
                .findings
                .iter()
                .any(|finding| finding.severity() == Severity::Error)
    }
}

impl NodeShare {
    /// Adds the counts of another part.
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
