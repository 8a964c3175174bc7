//! What a listing went through.

use crate::words::finding::Finding;

/// A finished listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListingReport {
    /// Records that were listed.
    pub listed: u64,
    /// Records that were looked at, those that were not selected included.
    pub seen: u64,
    /// Of those listed, the records of which nobody told what would decide it.
    pub unknown_kept: u64,
    /// What is damaged or cannot be read, and so not listed. At most
    /// [`KeyDamage::FINDING_COUNT_MAX`](crate::engines::snapshot::KeyDamage::FINDING_COUNT_MAX).
    pub findings: Vec<Finding>,
    /// Findings beyond that.
    pub finding_count_dropped: u64,
}
