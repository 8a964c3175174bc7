//! What a verification found.

use std::time::Duration;

use crate::jobs::verify::depth::Depth;
use crate::words::defect::Severity;
use crate::words::finding::Finding;

/// A finished verification.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// How closely was looked.
    pub depth: Depth,
    /// What was found, in the order of the segments; at most
    /// [`VerifyReport::FINDING_COUNT_MAX`].
    pub findings: Vec<Finding>,
    /// Findings beyond that.
    pub finding_count_dropped: u64,
    /// Segments looked at.
    pub segments: u64,
    /// Blocks looked at.
    pub blocks: u64,
    /// Records decoded (deep), or counted by the tables.
    pub records: u64,
    /// Bytes of the segments that were read.
    pub bytes: u64,
    /// What the dump was to take; none for every item, or if the manifest cannot
    /// be read.
    pub select: Option<String>,
    /// When the dump began and ended, as the manifest has it; none if that cannot be
    /// read.
    pub dump_span: Option<[String; 2]>,
    /// How long it took.
    pub elapsed: Duration,
}

impl VerifyReport {
    /// Findings kept.
    pub const FINDING_COUNT_MAX: usize = 10_000;

    /// Returns how many findings of a severity there are, among those kept.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity() == severity)
            .count()
    }

    /// Says whether data is lost or wrong.
    pub fn has_errors(&self) -> bool {
        self.finding_count_dropped > 0 || self.count(Severity::Error) > 0
    }
}
