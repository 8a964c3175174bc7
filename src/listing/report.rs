//! What a listing went through.

use crate::defect::Finding;

/// A finished listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListingReport {
    /// Records that were listed.
    pub listed: u64,
    /// Records that were looked at, those that the filter dropped included.
    pub seen: u64,
    /// What is damaged or cannot be read, and so not listed.
    pub findings: Vec<Finding>,
}
