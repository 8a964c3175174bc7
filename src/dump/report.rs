//! What a dump says it did.

use std::time::Duration;

use crate::format::manifest::{Manifest, Verdict};
use crate::units::percent;

/// A finished dump.
#[derive(Clone, Debug)]
pub struct DumpReport {
    /// Where the snapshot is.
    pub place: String,
    /// Its manifest: nodes, counters, segments, digests, verdict.
    pub manifest: Manifest,
    /// Stale items whose win token was taken by reading and given back.
    pub win_tokens_returned: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl DumpReport {
    /// Says whether anything was lost: items, or part of a node.
    pub fn has_losses(&self) -> bool {
        self.manifest.verdict != Verdict::Complete
    }

    /// Returns how much of what was listed, and is not gone for a known reason,
    /// is in the snapshot, in percent.
    pub fn completeness(&self) -> f64 {
        let counters = self.manifest.counters();
        let lost = counters.losses();
        percent(counters.stored, counters.stored.saturating_add(lost))
    }
}
