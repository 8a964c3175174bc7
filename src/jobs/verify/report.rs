//! The result of a verification.

use std::time::Duration;

use crate::codecs::format::verification::VerificationRecord;
use crate::jobs::verify::depth::Depth;
use crate::words::defect::{Defect, Severity};
use crate::words::finding::Finding;

/// A finished verification.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// How much was read.
    pub depth: Depth,
    /// What was found, in the order of the segments; at most
    /// [`VerifyReport::FINDING_COUNT_MAX`].
    pub findings: Vec<Finding>,
    /// Number of further findings.
    pub finding_count_dropped: u64,
    /// Segments checked.
    pub segments: u64,
    /// Blocks checked.
    pub blocks: u64,
    /// Records decoded (at depth *deep*), or counted from the tables.
    pub records: u64,
    /// Bytes of the segments that were read.
    pub bytes: u64,
    /// The selection of the dump; `None` if it was everything, or if the manifest cannot
    /// be read.
    pub select: Option<String>,
    /// When the dump began and ended, according to the manifest; `None` if that cannot be
    /// read.
    pub dump_span: Option<[String; 2]>,
    /// What can be written beside the snapshot about the verification; `None` if the
    /// manifest cannot be read, or of a lone segment.
    pub record: Option<VerificationRecord>,
    /// How long the verification took.
    pub elapsed: Duration,
}

impl VerifyReport {
    /// The most findings that are kept.
    pub const FINDING_COUNT_MAX: usize = 10_000;

    /// Returns how many of the kept findings have this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity() == severity)
            .count()
    }

    /// Returns the first finding that only a newer build can judge.
    pub fn first_newer(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| is_newer(finding))
    }

    /// Reports whether data is lost or wrong, whatever a newer build would find.
    pub fn has_damage(&self) -> bool {
        let is_damage =
            |finding: &Finding| finding.severity() == Severity::Error && !is_newer(finding);
        self.finding_count_dropped > 0 || self.findings.iter().any(is_damage)
    }

    /// Reports whether data is lost or wrong, or cannot be judged.
    pub fn has_errors(&self) -> bool {
        self.finding_count_dropped > 0 || self.count(Severity::Error) > 0
    }
}

fn is_newer(finding: &Finding) -> bool {
    matches!(finding.defect, Defect::Newer { .. })
}
