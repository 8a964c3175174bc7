//! What a salvage recovered, and what it could not.

use std::time::Duration;

use crate::codecs::format::manifest::Manifest;
use crate::engines::snapshot::SegmentSalvage;
use crate::words::finding::Finding;

/// What was recovered from one file.
#[derive(Clone, Debug)]
pub struct SalvagedSegment {
    /// The name of the file for messages.
    pub place: String,
    /// Counts, lost keys and findings.
    pub salvage: SegmentSalvage,
}

/// A finished salvage.
#[derive(Clone, Debug)]
pub struct SalvageReport {
    /// The new snapshot's place.
    pub place: String,
    /// The new snapshot.
    pub manifest: Manifest,
    /// One entry for each file, in the order in which they were read.
    pub segments: Vec<SalvagedSegment>,
    /// Findings about the snapshot as a whole: its manifest, missing or foreign segments.
    pub findings: Vec<Finding>,
    /// Segments that the manifest names, but that cannot be read.
    pub segments_missing: u64,
    /// Their blocks.
    pub blocks_missing: u64,
    /// Records that are known to be lost, including those of missing segments.
    pub records_lost: u64,
    /// Whether more may be lost, because the original number is unknown.
    pub is_loss_unknown: bool,
    /// Records that were dropped because the segment had another record of the key.
    pub duplicates: u64,
    /// How long the salvage took.
    pub elapsed: Duration,
}

impl SalvageReport {
    /// Returns the number of recovered records.
    pub fn records(&self) -> u64 {
        self.manifest.totals.records
    }

    /// Reports whether records are lost, or may be.
    pub fn has_loss(&self) -> bool {
        self.records_lost > 0 || self.is_loss_unknown
    }

    /// Adds up one number over all files.
    pub fn sum(&self, number: impl Fn(&SegmentSalvage) -> u64) -> u64 {
        self.segments
            .iter()
            .map(|segment| number(&segment.salvage))
            .fold(0, u64::saturating_add)
    }
}
