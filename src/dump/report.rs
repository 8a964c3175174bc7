//! What a dump says it did.

use std::time::Duration;

use crate::format::manifest::{Manifest, ManifestSegment, Totals, Verdict};
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
    /// Items kept though what servers told does not decide whether they were
    /// selected.
    pub unknown_kept: u64,
    /// Keys that only the last walk of a server found, where lists are walked until
    /// nothing new comes, and as often as they may be something did. A few more
    /// may have been left out.
    pub unsettled: u64,
    /// What was kept of a dump that was killed.
    pub kept: Kept,
    /// How long it took.
    pub elapsed: Duration,
}

/// What a dump did not need to do, because another had done it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Sealed segments.
    pub segments: u64,
    /// Their records.
    pub records: u64,
    /// The snapshot was there as a whole.
    pub is_whole: bool,
}

impl Kept {
    pub(super) fn whole(manifest: &Manifest) -> Self {
        Self {
            segments: manifest.totals.segments,
            records: manifest.totals.records,
            is_whole: true,
        }
    }

    pub(super) fn of(segments: &[ManifestSegment]) -> Self {
        let totals = Totals::of(segments);
        Self {
            segments: totals.segments,
            records: totals.records,
            is_whole: false,
        }
    }
}

impl DumpReport {
    /// Says whether anything was lost: items, or part of a node.
    pub fn has_losses(&self) -> bool {
        self.manifest.verdict != Verdict::Complete
    }

    /// Says whether part of a node is missing, or more items were lost than this
    /// percentage of what should be there.
    pub fn has_losses_above(&self, percent: f64) -> bool {
        match self.manifest.verdict {
            Verdict::Complete => false,
            // At 0 no rounding decides.
            Verdict::Lossy => percent <= 0.0 || 100.0 - self.completeness() > percent,
            Verdict::Partial => true,
        }
    }

    /// Returns how much of what was listed, and is not gone for a known reason,
    /// is in the snapshot, in percent.
    ///
    /// Of a partial snapshot that says nothing of what could not be listed.
    pub fn completeness(&self) -> f64 {
        let stored = self.manifest.counters().stored;
        let lost = self.manifest.losses();
        percent(stored, stored.saturating_add(lost))
    }
}
