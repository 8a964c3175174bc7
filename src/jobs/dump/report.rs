//! What a dump reports.

use std::time::Duration;

use crate::codecs::format::manifest::{Manifest, ManifestSegment, Totals, Verdict};
use crate::words::units::{UnixSecs, percent, to_f64};

/// A finished dump.
#[derive(Clone, Debug)]
pub struct DumpReport {
    /// Where the snapshot is.
    pub place: String,
    /// Its manifest: nodes, counters, segments, digests, verdict.
    pub manifest: Manifest,
    /// Stale items whose win token was taken by reading and given back.
    pub win_tokens_returned: u64,
    /// Stale items whose win token was taken by reading and could not be given back: no
    /// client is asked to recache them before they expire.
    pub win_tokens_kept: u64,
    /// Items kept although the servers' answers do not decide whether they were selected.
    pub unknown_kept: u64,
    /// Keys that only the last walk of a server found. Lists are walked until nothing new
    /// appears, up to a limit; if the last walk still found keys, a few more may have
    /// been left out.
    pub unsettled: u64,
    /// Nodes whose chosen walk was given up because the spool had no room. Their keys
    /// were listed once more, by slab classes.
    pub walks_given_up: Vec<String>,
    /// Items with no outcome, or more than one, according to the counters. Above 0 it is
    /// a bug in mcsnap; items without an outcome are counted as failed.
    pub unaccounted: u64,
    /// Other snapshots of this name: the store keeps no writers apart, and another run wrote
    /// at the same time. Or why it is not known whether there are any.
    pub rivals: Vec<String>,
    /// What was kept of an interrupted dump.
    pub kept: Kept,
    /// How long the dump took.
    pub elapsed: Duration,
}

/// The part of a dump that was kept from an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Sealed segments.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// Records among them that their server, which failed, may or may not still have.
    pub unconfirmed_records: u64,
    /// Records sealed by the earlier dump that were dropped, since their server no longer
    /// has their whole segment unchanged.
    pub dropped_records: u64,
    /// When the earlier dump began, and how long before this run; `None` if there was
    /// none.
    pub since: Option<(UnixSecs, Duration)>,
}

impl Kept {
    /// Counts the kept part of the sealed segments.
    pub(super) fn of(sealed: &[ManifestSegment], kept: &[ManifestSegment]) -> Self {
        let (all, kept) = (Totals::of(sealed), Totals::of(kept));
        Self {
            segments: kept.segments,
            records: kept.records,
            dropped_records: all.records.saturating_sub(kept.records),
            ..Self::default()
        }
    }

    /// Adds when the dump that sealed them began; does nothing if there are no segments.
    pub(super) fn since(mut self, began_at: UnixSecs, age: Duration) -> Self {
        let had_any = self.records > 0 || self.dropped_records > 0;
        self.since = had_any.then_some((began_at, age));
        self
    }
}

impl DumpReport {
    /// Reports whether items or a part of a node are lost or not accounted for, or whether
    /// the name does not lead to this snapshot alone.
    pub fn has_losses(&self) -> bool {
        self.manifest.verdict != Verdict::Complete
            || self.unaccounted > 0
            || !self.rivals.is_empty()
    }

    /// Reports whether a part of a node is missing, items are not accounted for, the name
    /// does not lead to this snapshot alone, or more items are missing than a tolerance allows.
    pub fn exceeds(&self, tolerance: Tolerance) -> bool {
        let manifest = &self.manifest;
        if manifest.verdict == Verdict::Partial || self.unaccounted > 0 || !self.rivals.is_empty() {
            return true;
        }
        // Computed without a division, so that rounding cannot matter at 0.
        let is_above = |part: u64, percent: f64| {
            to_f64(part) * 100.0 > percent * to_f64(self.expected()) && part > 0
        };
        is_above(manifest.losses(), tolerance.lost_percent)
            || is_above(manifest.unsure(), tolerance.unsure_percent)
    }

    /// Returns how many items should be in the snapshot: those that are, those that were
    /// lost, and those that may have been.
    fn expected(&self) -> u64 {
        let manifest = &self.manifest;
        let known = manifest.counters().stored;
        let known = known.saturating_add(manifest.losses());
        known.saturating_add(manifest.unsure())
    }

    /// Returns how many of the items that should be in the snapshot are in it, in
    /// percent. If that is not certain, it is the least.
    ///
    /// For a partial snapshot this ignores what could not be listed.
    pub fn completeness(&self) -> f64 {
        percent(self.manifest.counters().stored, self.expected())
    }
}

/// How much of a dump may be missing, in percent of the items that should be there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tolerance {
    /// Items that were lost.
    pub lost_percent: f64,
    /// Items that may have been lost.
    pub unsure_percent: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::format::manifest::ManifestNode;
    use crate::words::counters::Counters;
    use crate::words::reasons::Reasons;

    fn report(stored: u64, unlisted: u64, unsure: u64) -> DumpReport {
        let mut manifest = crate::codecs::format::manifest::tests::manifest();
        manifest.nodes = vec![ManifestNode {
            address: "a:11211".to_owned(),
            server_version: "1.5.6".to_owned(),
            pid: 1,
            server_started_at: 0,
            clock_offset: "0".to_owned(),
            walk: "metadump-slabs".to_owned(),
            shard_bits: 0,
            items_start: stored,
            items_end: stored,
            unlisted,
            unsure,
            counters: Counters {
                taken: stored,
                stored,
                ..Counters::default()
            },
            reasons: Reasons::default(),
            failure: None,
            look_ups: Vec::new(),
        }];
        manifest.verdict = Verdict::of(&manifest.nodes);
        DumpReport {
            place: String::new(),
            manifest,
            win_tokens_returned: 0,
            win_tokens_kept: 0,
            unknown_kept: 0,
            unsettled: 0,
            walks_given_up: Vec::new(),
            rivals: Vec::new(),
            kept: Kept::default(),
            unaccounted: 0,
            elapsed: Duration::ZERO,
        }
    }

    #[test]
    fn what_is_missing_and_what_may_be_have_a_tolerance_each() {
        let exceeds = |report: &DumpReport, lost_percent, unsure_percent| {
            report.exceeds(Tolerance {
                lost_percent,
                unsure_percent,
            })
        };
        let whole = report(1000, 0, 0);
        assert_eq!(whole.manifest.verdict, Verdict::Complete);
        assert!(!exceeds(&whole, 0.0, 0.0));
        let lossy = report(999_999_999, 1, 0);
        assert_eq!(lossy.manifest.verdict, Verdict::Lossy);
        assert!(exceeds(&lossy, 0.0, 100.0) && !exceeds(&lossy, 0.1, 0.0));
        let unsure = report(990, 0, 10);
        assert_eq!(unsure.manifest.verdict, Verdict::Unsure);
        assert!(exceeds(&unsure, 100.0, 0.0) && exceeds(&unsure, 100.0, 0.99));
        assert!(!exceeds(&unsure, 0.0, 1.0));
        assert!((unsure.completeness() - 99.0).abs() < 1e-9);
        let both = report(900, 90, 10);
        assert_eq!(both.manifest.verdict, Verdict::Lossy);
        assert!(exceeds(&both, 9.0, 0.9) && exceeds(&both, 8.9, 1.0) && !exceeds(&both, 9.0, 1.0));
    }
}
