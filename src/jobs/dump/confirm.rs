//! Finds which segments of an unfinished dump still match their server.

use std::sync::Mutex;

use crate::codecs::format::column::KeyRecord;
use crate::codecs::format::manifest::{ManifestSegment, Totals};
use crate::engines::snapshot::{read_segment_meta, visit_records};
use crate::engines::source::{
    FetchJob, FetcherOptions, ItemVersion, KeptItems, ReadStrategy, Spool, Walk, WalkKind,
    WalkReport, compare_listing,
};
use crate::jobs::dump::node::NodeJob;
use crate::ports::net::{Asked, Brake, Connection, ServerReport, ask_server};
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};
use crate::words::item::Exptime;
use crate::words::progress::Progress;
use crate::words::units::{UnixSecs, counted};

/// The result of checking kept segments.
#[derive(Debug)]
pub(super) enum Confirmation {
    /// The server still has every record of these segments unchanged. The other segments
    /// only hold what it had once.
    Confirmed(Vec<ManifestSegment>),
    /// The server could not be listed or asked, so nothing is known about the segments.
    Unlisted(Error),
}

/// The most walks over lists. One walk leaves items out, and different ones each time.
const PASS_COUNT_MAX: u32 = 3;

impl NodeJob<'_> {
    /// Lists the node, and returns the kept segments of which it has every record with
    /// the same CAS and exptime. If the node reports no CAS, there are none.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Io` of the store or of a temporary file, `Canceled`.
    pub(super) fn confirm_kept(
        &self,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Confirmation> {
        let node = self.node.address();
        let all = Totals::of(self.kept);
        if !self.strategy.walk.needs_crawler() || !self.server.settings.has_cas {
            if let Err(error) = self.ask(cancel) {
                return unlisted(error, cancel);
            }
            let records = counted(all.records, "record");
            tracing::warn!(
                node,
                "nothing can be kept of the dump that did not finish: the listing of this server \
                 tells no CAS, by which an item that has changed would show; {records} are read \
                 anew"
            );
            return Ok(Confirmation::Confirmed(Vec::new()));
        }
        let mut items = KeptItems::create(&self.options.spool_directory, all.records)?;
        let mut candidates = Vec::new();
        let mut is_clock_set = false;
        for segment in self.kept {
            cancel.check()?;
            let meta = read_segment_meta(self.snapshot, segment)?;
            let offset = meta.clock_offset.parse().ok();
            let offset_now = self.server.clock_offset;
            let offset = offset.filter(|&offset| is_same_clock(offset, offset_now));
            is_clock_set |= offset.is_none();
            if let Some(offset) = offset
                && self.all_records(segment, offset, &mut |version| {
                    items.insert(version).map(|()| true)
                })?
            {
                candidates.push((segment, offset));
            }
        }
        if is_clock_set {
            tracing::warn!(
                node,
                "this host's clock, or the server's, was set since the dump that did not finish \
                 began; what it read then is read anew"
            );
        }
        let listed = if candidates.is_empty() {
            self.ask(cancel)
        } else {
            self.list_until_seen(&mut items, cancel, progress)
        };
        if let Err(error) = listed {
            return unlisted(error, cancel);
        }
        let mut confirmed = Vec::new();
        for (segment, offset) in candidates {
            cancel.check()?;
            if self.all_records(segment, offset, &mut |version| items.claim(version))? {
                confirmed.push(segment.clone());
            }
        }
        let kept = Totals::of(&confirmed);
        tracing::info!(
            node,
            kept_segments = kept.segments,
            kept_records = kept.records,
            dropped_segments = all.segments.saturating_sub(kept.segments),
            dropped_records = all.records.saturating_sub(kept.records),
            "compared what the dump that did not finish has sealed"
        );
        Ok(Confirmation::Confirmed(confirmed))
    }

    /// Asks the server anything. If it does not answer, the sealed segments may be all
    /// that is left of it, so they are not given up before it has answered.
    fn ask(&self, cancel: &Cancel) -> Result<()> {
        let mut connection = Connection::connect(self.node, &self.options.net, cancel)?;
        ask_server(&mut connection).map(drop)
    }

    /// Reports whether `take` accepts every record of a segment, and every record has the
    /// fields that identify its version.
    fn all_records(
        &self,
        segment: &ManifestSegment,
        offset: i64,
        take: &mut dyn FnMut(&ItemVersion<'_>) -> Result<bool>,
    ) -> Result<bool> {
        let mut is_so = true;
        visit_records(self.snapshot, segment, &mut |record| {
            if is_so {
                is_so = match version_of(record, offset) {
                    Some(version) => take(&version)?,
                    None => false,
                };
            }
            Ok(())
        })?;
        Ok(is_so)
    }

    /// Lists the node. Lists are walked again as long as that finds more of the kept
    /// items, and by slab classes if there was no room for all lines.
    fn list_until_seen(
        &self,
        items: &mut KeptItems,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut walk = self.strategy.walk;
        for _ in 0..PASS_COUNT_MAX {
            let before = items.waiting();
            let listed = self.list_once(walk, items, cancel, progress)?;
            if items.waiting() == 0 {
                break;
            }
            if listed.is_given_up {
                let node = self.node.address();
                tracing::info!(
                    node,
                    "no room for the whole listing; listed by slab classes"
                );
                // Each class is walked when there is room.
                walk = WalkKind::SlabsSerial;
            } else if items.waiting() == before || !walk.can_repeat() {
                break;
            }
        }
        Ok(())
    }

    fn list_once(
        &self,
        walk: WalkKind,
        items: &mut KeptItems,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<WalkReport> {
        let stop = cancel.child();
        let strategy = ReadStrategy {
            walk,
            ..self.strategy
        };
        let spool = Spool::new(
            self.spool_memory.clone(),
            self.options.spool_directory.clone(),
        );
        let walk = Walk {
            node: self.node,
            net: &self.options.net,
            strategy,
            spool: &spool,
            seen: None,
            is_for_all: false,
            cancel: &stop,
            busy_timeout: self.options.busy_timeout,
            idle: Mutex::default(),
        };
        let options = FetcherOptions::default();
        // No value is read, and a walk is never held back.
        let brake = Brake::full_speed().node(&self.node.address(), Asked::Gets);
        let job = FetchJob {
            node: self.node,
            server: self.server,
            strategy,
            options: &options,
            selection: &self.options.selection,
            seen: None,
            brake: &brake,
            cancel: &stop,
        };
        self.watched(&walk, progress, || {
            compare_listing(&walk, &job, items, &stop)
        })
    }
}

fn unlisted(error: Error, cancel: &Cancel) -> Result<Confirmation> {
    cancel.check()?;
    if error.is_internal() {
        return Err(error);
    }
    Ok(Confirmation::Unlisted(error))
}

/// Reports whether exptimes of a segment still mean the same: the snapshot has them on
/// this host's clock, which may have been set since. Two measurements of the same offset
/// differ by at most this much.
fn is_same_clock(offset: i64, offset_now: i64) -> bool {
    offset.abs_diff(offset_now) <= ServerReport::CLOCK_TOLERANCE.unsigned_abs()
}

/// Returns the version of a record on its server's clock.
fn version_of<'a>(record: &KeyRecord<'a>, offset: i64) -> Option<ItemVersion<'a>> {
    let exptime = match record.meta.exptime? {
        Exptime::Never => Exptime::Never,
        Exptime::At(UnixSecs(at)) => {
            Exptime::At(UnixSecs(at).saturating_add_signed(offset.saturating_neg()))
        }
    };
    Some(ItemVersion {
        key: record.key,
        cas: record.meta.cas?.0,
        exptime,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::item::{Cas, ItemMeta};

    #[test]
    fn a_clock_that_was_set_meanwhile_is_another_one() {
        for (offset, now, is_same) in [
            (0, 0, true),
            (-10_799, -10_800, true),
            (5, 3, true),
            (0, 3, false),
            (-3600, 3600, false),
            (i64::MIN, i64::MAX, false),
        ] {
            assert_eq!(is_same_clock(offset, now), is_same, "{offset} {now}");
        }
    }

    #[test]
    fn a_record_that_lacks_what_tells_versions_apart_is_of_none() {
        let record = |cas: Option<u64>, exptime| KeyRecord {
            key: b"key",
            value_len: 0,
            value_hash: 0,
            meta: ItemMeta {
                cas: cas.map(Cas),
                exptime,
                ..ItemMeta::default()
            },
        };
        let at = Some(Exptime::At(UnixSecs(1000)));
        let version = version_of(&record(Some(7), at), -30).unwrap();
        assert_eq!(version.exptime, Exptime::At(UnixSecs(1030)));
        assert_eq!((version.key, version.cas), (&b"key"[..], 7));
        let never = version_of(&record(Some(7), Some(Exptime::Never)), 30).unwrap();
        assert_eq!(never.exptime, Exptime::Never);
        assert_eq!(version_of(&record(None, at), 0), None);
        assert_eq!(version_of(&record(Some(7), None), 0), None);
    }
}
