//! What a salvage recovered, and what it could not.

use std::time::Duration;

use crate::codecs::format::manifest::Manifest;
use crate::engines::snapshot::SegmentSalvage;
use crate::words::finding::Finding;

/// What came out of one file.
#[derive(Clone, Debug)]
pub struct SalvagedSegment {
    /// What to call the file in a message.
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
    /// One for each file, in the order they were read.
    pub segments: Vec<SalvagedSegment>,
    /// What concerns the snapshot as a whole: its manifest, missing or foreign
    /// segments.
    pub findings: Vec<Finding>,
    /// Segments that the manifest names and nobody can read.
    pub segments_missing: u64,
    /// Their blocks.
    pub blocks_missing: u64,
    /// Records that are known to be lost, those of missing segments included.
    pub records_lost: u64,
    /// More may be lost: nothing tells how much there was.
    pub is_loss_unknown: bool,
    /// Records that were dropped since the segment had another of the key.
    pub duplicates: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl SalvageReport {
    /// Records recovered.
    pub fn records(&self) -> u64 {
        self.manifest.totals.records
    }

    /// Says whether records are lost, or may be.
    pub fn has_loss(&self) -> bool {
        self.records_lost > 0 || self.is_loss_unknown
    }

    /// Adds up one number of all files.
    pub fn sum(&self, number: impl Fn(&SegmentSalvage) -> u64) -> u64 {
        self.segments
            .iter()
            .map(|segment| number(&segment.salvage))
            .fold(0, u64::saturating_add)
    }
}
