//! What a listing went through.

use crate::defect::Finding;

/// A finished listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListingReport {
    /// Records that were listed.
    pub listed: u64,
    /// Records that were looked at, those that were not selected included.
    pub seen: u64,
    /// Of those listed, the records of which nobody told what would decide it.
    pub unknown_kept: u64,
    /// What is damaged or cannot be read, and so not listed.
    /// At most [`ListingReport::FINDING_COUNT_MAX`].
    pub findings: Vec<Finding>,
    /// Findings beyond that.
    pub finding_count_dropped: u64,
}

impl ListingReport {
    /// Findings kept.
    pub const FINDING_COUNT_MAX: usize = 10_000;

    /// Keeps a finding, or counts it.
    pub(super) fn add(&mut self, finding: Finding) {
        if self.findings.len() < Self::FINDING_COUNT_MAX {
            self.findings.push(finding);
        } else {
            self.finding_count_dropped = self.finding_count_dropped.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::defect::Defect;
    use crate::error::Location;

    use super::*;

    #[test]
    fn of_too_many_findings_the_first_are_kept_and_the_others_counted() {
        let mut report = ListingReport::default();
        for _ in 0..ListingReport::FINDING_COUNT_MAX + 5 {
            report.add(Finding::new(Location::object("s"), Defect::SegmentMissing));
        }
        assert_eq!(report.findings.len(), ListingReport::FINDING_COUNT_MAX);
        assert_eq!(report.finding_count_dropped, 5);
    }
}
