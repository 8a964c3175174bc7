//! The result of a listing.

use crate::words::finding::Finding;

/// A finished listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListingReport {
    /// Records that were listed.
    pub listed: u64,
    /// Records that were read, including those that were not selected.
    pub seen: u64,
    /// Listed records for which the snapshot does not decide whether they are selected.
    pub unknown_kept: u64,
    /// What is damaged or unreadable, and so not listed. At most
    /// [`KeyDamage::FINDING_COUNT_MAX`](crate::engines::snapshot::KeyDamage::FINDING_COUNT_MAX).
    pub findings: Vec<Finding>,
    /// Number of further findings.
    pub finding_count_dropped: u64,
}
