//! Reads the statistics of segments, or the keys and metadata of all blocks, many at a
//! time.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::codecs::format::column::KeyRecord;
use crate::codecs::format::compression::SectionReader;
use crate::codecs::format::manifest::ManifestSegment;
use crate::codecs::select::{Candidate, Judgement, Selection};
use crate::codecs::statistics::{SegmentStatistics, Tally};
use crate::engines::sink::{OwnerDefaults, bind_owners};
use crate::engines::snapshot::{Opening, SegmentPool, SegmentReader, SnapshotReader};
use crate::jobs::inspect::key_prefix::{KeyPrefixTable, PrefixDepth};
use crate::jobs::inspect::report::{
    InspectReport, LastVerification, NodeShare, Sources, Storage, WhyKeys,
};
use crate::jobs::inspect::statistics::Statistics;
use crate::ports::host::Stopwatch;
use crate::words::cancel::Cancel;
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, Result};
use crate::words::finding::Finding;
use crate::words::location::Location;
use crate::words::progress::{Event, Progress, RunningJob};
use crate::words::units::{UnixSecs, to_u64};

/// The options of an inspection.
#[derive(Clone, Debug)]
pub struct InspectOptions {
    /// The moment that times are relative to; `None` for the end of the dump.
    pub at: Option<UnixSecs>,
    /// Addresses of the nodes to inspect; empty for all.
    pub nodes: Vec<String>,
    /// The delimiters that end the prefix of a key; the first is tried first. See
    /// [`KeyPrefixTable`].
    pub delimiters: Vec<u8>,
    /// How much of a key is its prefix.
    pub depth: PrefixDepth,
    /// How many of the largest values to list.
    pub largest_count: usize,
    /// Number of threads.
    pub thread_count: usize,
    /// Which records to count.
    pub selection: Selection,
    /// Count the keys of all segments, whatever their statistics say.
    pub is_exact: bool,
}

impl InspectOptions {
    /// Returns why the statistics of segments do not answer what is asked; `None` if they
    /// do.
    fn why_keys(&self) -> Option<WhyKeys> {
        if self.is_exact {
            Some(WhyKeys::Exact)
        } else if !self.selection.is_everything() {
            Some(WhyKeys::Selection)
        } else if !KeyPrefixTable::fits_segments(&self.delimiters, self.depth) {
            Some(WhyKeys::Prefixes)
        } else if self.largest_count > SegmentStatistics::LARGEST_COUNT_MAX {
            Some(WhyKeys::Largest)
        } else {
            None
        }
    }
}

/// Counts the records of a snapshot, by the statistics of its segments or by their keys.
///
/// Values are not read, and the counts are the same for any number of threads. If the
/// keys have more prefixes than [`KeyPrefixTable::VALUE_COUNT_MAX`], they are read twice.
/// [`Statistics`] says which figures are not exact.
///
/// # Errors
///
/// - `InvalidInput`: a node that is not in the snapshot, or a selection of owners without
///   their ring.
/// - `Corrupt`: the manifest does not record when the dump ended, and no moment is given.
///   Whatever else is damaged or unreadable is in the report.
/// - `Canceled`.
///
/// # Memory
///
/// One part of the manifest, and one [`Statistics`]; for each thread one segment's table of
/// contents, a decompressed key section, the prefixes in it and some 2 MiB more, and a
/// [`NodeShare`] for each node.
pub fn inspect(
    snapshot: &SnapshotReader,
    options: &InspectOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<InspectReport> {
    let clock = Stopwatch::start();
    let manifest = snapshot.manifest();
    let is_selected = snapshot.select_nodes(&options.nodes)?;
    // A snapshot has no labels and weights of its nodes.
    let selection = bind_owners(&options.selection, OwnerDefaults::default())?;
    let at = match options.at {
        Some(at) => at,
        None => snapshot.finished_at()?,
    };
    let records = manifest.nodes.iter().zip(&is_selected);
    let records = records.filter(|(_, is_selected)| **is_selected);
    let records = records.map(|(node, _)| node.counters.stored);
    // A manifest may claim more than a number can hold.
    let records = records.fold(0, u64::saturating_add);
    let _running = RunningJob::start(progress, "inspect", records, 0);
    let pool = SegmentPool::new("inspect", options.thread_count)?;
    let new_part = || Part {
        statistics: Statistics::new(
            at,
            &options.delimiters,
            options.depth,
            options.largest_count,
        ),
        shares: vec![NodeShare::default(); manifest.nodes.len()],
        filtered: Tally::default(),
        unknown_kept: 0,
        sources: Sources::default(),
    };
    let inspection = Inspection {
        snapshot,
        selection: &selection,
        why_keys: options.why_keys(),
        at,
        cancel,
        progress,
        pool: &pool,
        parts: (0..pool.blocks().thread_count())
            .map(|_| Mutex::new(new_part()))
            .collect(),
        key_prefixes: Mutex::new(new_part().statistics.key_prefixes),
        found: Mutex::default(),
    };
    inspection.each_segment(&options.nodes, |number, named| {
        // Decoding the manifest has checked that the node exists.
        let node_index = usize::try_from(named.node_index).unwrap_or(usize::MAX);
        inspection.segment(number, named, node_index)
    })?;
    let mut whole = new_part();
    for part in &inspection.parts {
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
        whole.merge(std::mem::replace(&mut *part, new_part()));
    }
    {
        let shared = inspection.key_prefixes.lock();
        let mut shared = shared.unwrap_or_else(PoisonError::into_inner);
        shared.move_prefixes_into(&mut whole.statistics.key_prefixes);
    }
    if let Some(empty) = whole.statistics.key_prefixes.to_recount() {
        // The first count is of no use any more, and takes memory.
        whole.statistics.key_prefixes = empty.clone();
        whole.statistics.key_prefixes = inspection.recount_prefixes(&options.nodes, empty)?;
    }
    let found = inspection.found.into_inner();
    let found = found.unwrap_or_else(PoisonError::into_inner);
    let shares = whole.shares.into_iter().zip(is_selected);
    Ok(InspectReport {
        at,
        nodes: shares
            .map(|(share, is_selected)| is_selected.then_some(share))
            .collect(),
        statistics: whole.statistics,
        sources: Sources {
            why_keys: inspection.why_keys,
            ..whole.sources
        },
        selection: (!selection.is_everything()).then(|| selection.to_string()),
        filtered: whole.filtered,
        unknown_kept: whole.unknown_kept,
        findings: found.kept.into_values().collect(),
        finding_count_dropped: found.dropped,
        verification: last_verification(snapshot),
        elapsed: clock.elapsed(),
    })
}

/// Finds the last verification. What is wrong with a record is told, but is not wrong with
/// the snapshot.
fn last_verification(snapshot: &SnapshotReader) -> Option<LastVerification> {
    let tell =
        |error: Error| tracing::warn!("what was verified is not known: {}", error.to_chain());
    let names = snapshot.list_verifications().map_err(tell).ok()?;
    let records = names.iter().rev();
    let mut records =
        records.filter_map(|name| snapshot.read_verification(name).map_err(tell).ok());
    let record = records.next()?;
    Some(LastVerification {
        is_of_this_manifest: snapshot.manifest_checksum() == Some(&record.manifest),
        record,
    })
}

/// The counts of one thread.
struct Part {
    statistics: Statistics,
    /// One share for each node of the manifest.
    shares: Vec<NodeShare>,
    filtered: Tally,
    unknown_kept: u64,
    /// Without the reason, which is that of all.
    sources: Sources,
}

impl Part {
    fn merge(&mut self, other: Self) {
        self.statistics.merge(other.statistics);
        self.filtered.merge(&other.filtered);
        self.unknown_kept = self.unknown_kept.saturating_add(other.unknown_kept);
        let (sources, more) = (&mut self.sources, other.sources);
        sources.by_statistics = sources.by_statistics.saturating_add(more.by_statistics);
        sources.by_keys = sources.by_keys.saturating_add(more.by_keys);
        for (sum, share) in self.shares.iter_mut().zip(&other.shares) {
            sum.merge(share);
        }
    }
}

/// The first findings in the order of the segments and their blocks. The result does not
/// depend on the order in which they were found.
#[derive(Debug, Default)]
struct Found {
    kept: BTreeMap<(usize, usize), Finding>,
    dropped: u64,
}

impl Found {
    fn add(&mut self, place: (usize, usize), finding: Finding) {
        self.kept.insert(place, finding);
        if self.kept.len() > InspectReport::FINDING_COUNT_MAX {
            self.kept.pop_last();
            self.dropped = self.dropped.saturating_add(1);
        }
    }
}

/// What was read of a segment or of a part of it.
#[derive(Clone, Copy, Debug, Default)]
struct SegmentRead {
    tally: Tally,
    is_damaged: bool,
}

impl SegmentRead {
    fn merge(mut self, other: Self) -> Self {
        self.tally.merge(&other.tally);
        self.is_damaged |= other.is_damaged;
        self
    }
}

struct Inspection<'a> {
    snapshot: &'a SnapshotReader,
    selection: &'a Selection,
    why_keys: Option<WhyKeys>,
    at: UnixSecs,
    cancel: &'a Cancel,
    progress: &'a dyn Progress,
    pool: &'a SegmentPool,
    /// One part for each thread of the pool, so that threads do not wait for each other.
    parts: Vec<Mutex<Part>>,
    /// What the threads have found of prefixes, but for the last few.
    key_prefixes: Mutex<KeyPrefixTable>,
    found: Mutex<Found>,
}

impl Inspection<'_> {
    /// Calls `call` for each segment of the wanted nodes, many at a time, with its number
    /// among these.
    fn each_segment(
        &self,
        nodes: &[String],
        call: impl Fn(usize, &ManifestSegment) -> Result<()> + Sync,
    ) -> Result<()> {
        let mut done = 0_usize;
        self.snapshot.each_part(nodes, |segments| {
            let call =
                |number: usize, named: &&ManifestSegment| call(done.saturating_add(number), named);
            self.pool.each_segment(segments, call)?;
            done = done.saturating_add(segments.len());
            Ok(())
        })
    }

    fn segment(&self, number: usize, named: &ManifestSegment, node_index: usize) -> Result<()> {
        self.cancel.check()?;
        let mut share = NodeShare {
            storage: Storage {
                segments: 1,
                blocks: named.blocks,
                size: named.size,
                ..Storage::default()
            },
            ..NodeShare::default()
        };
        let place = || Location::object(self.snapshot.segment_place(named));
        if self.why_keys.is_none() && self.by_statistics(number, named, node_index, share)? {
            return Ok(());
        }
        let opened = self.snapshot.open_segment(named);
        let Some(segment) = self.note((number, 0), place, opened)? else {
            share.unreadable = named.records;
            self.add_share(node_index, &share);
            self.advance(named.records, 0);
            return Ok(());
        };
        share.storage.merge(&stored_sizes(&segment));
        self.add_share(node_index, &share);
        self.with_part(|part| {
            part.sources.by_keys = part.sources.by_keys.saturating_add(1);
        });
        let blocks = self.pool.blocks();
        let read = |sections: &mut SectionReader, block| {
            self.cancel.check()?;
            self.block(number, node_index, &segment, block, sections)
        };
        let read = blocks.try_map(segment.block_count(), SectionReader::default, read)?;
        let read = read
            .into_iter()
            .fold(SegmentRead::default(), SegmentRead::merge);
        // If a block is damaged, the sums differ, and the damage is already known.
        if !read.is_damaged {
            self.compare_counts(number, named, &segment, &read.tally);
        }
        Ok(())
    }

    /// Counts a segment by its own statistics; returns false if it has none that are
    /// sound.
    fn by_statistics(
        &self,
        number: usize,
        named: &ManifestSegment,
        node_index: usize,
        mut share: NodeShare,
    ) -> Result<bool> {
        // What is wrong with the tables is found again, and told, where keys are read.
        let Ok(segment) = self.snapshot.open_segment_as(named, Opening::Lookup) else {
            return Ok(false);
        };
        let place = || Location::object(segment.place());
        let read = self.note((number, 0), place, segment.read_statistics())?;
        let Some(stored) = read.flatten() else {
            return Ok(false);
        };
        share.storage.merge(&stored_sizes(&segment));
        share.tally = stored.total;
        self.add_share(node_index, &share);
        self.with_part(|part| {
            part.statistics.add_segment(&stored, node_index);
            part.sources.by_statistics = part.sources.by_statistics.saturating_add(1);
        });
        self.compare_counts(number, named, &segment, &stored.total);
        self.advance(named.records, 0);
        Ok(true)
    }

    fn block(
        &self,
        number: usize,
        node_index: usize,
        segment: &SegmentReader,
        block: usize,
        sections: &mut SectionReader,
    ) -> Result<SegmentRead> {
        let place = || segment.block_location(block);
        let columns = segment.read_keys(block, sections);
        let columns = self.note((number, block.saturating_add(1)), place, columns)?;
        let mut read = SegmentRead::default();
        let mut kept = Tally::default();
        let entry = segment.block_entry(block);
        let records = entry.map_or(0, |entry| entry.record_count.into());
        if let Some(columns) = columns {
            self.with_part(|part| {
                for record in columns.iter() {
                    let tally = Tally::of(&record.facts());
                    read.tally.merge(&tally);
                    let judgement = self.judge(&record);
                    if judgement == Judgement::Unknown {
                        part.unknown_kept = part.unknown_kept.saturating_add(1);
                    }
                    if judgement.keeps() {
                        part.statistics.add(&record, node_index);
                        kept.merge(&tally);
                    } else {
                        part.filtered.merge(&tally);
                    }
                }
            });
            self.add_share(
                node_index,
                &NodeShare {
                    tally: kept,
                    ..NodeShare::default()
                },
            );
        } else {
            read.is_damaged = true;
            self.add_share(
                node_index,
                &NodeShare {
                    unreadable: records,
                    ..NodeShare::default()
                },
            );
        }
        let bytes = entry.map_or(0, |entry| entry.key_stored_len.into());
        self.advance(records, bytes);
        Ok(read)
    }

    /// Counts the prefixes of all keys once more, with a table that knows which of them
    /// are heavy. Unreadable blocks have already been found.
    fn recount_prefixes(&self, nodes: &[String], empty: KeyPrefixTable) -> Result<KeyPrefixTable> {
        let parts: Vec<_> = (0..self.pool.blocks().thread_count())
            .map(|_| Mutex::new(empty.clone()))
            .collect();
        let shared = Mutex::new(empty);
        self.each_segment(nodes, |_, named| {
            self.cancel.check()?;
            let blocks = self.pool.blocks();
            if self.why_keys.is_none()
                && let Ok(segment) = self.snapshot.open_segment_as(named, Opening::Lookup)
                && let Ok(Some(stored)) = segment.read_statistics()
            {
                if let Some(own) = parts.get(blocks.own_number()) {
                    let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
                    own.add_segment(&stored);
                    move_if_large(&mut own, &shared);
                }
                return Ok(());
            }
            let Ok(segment) = self.snapshot.open_segment(named) else {
                return Ok(());
            };
            let count = |sections: &mut SectionReader, block| {
                self.cancel.check()?;
                let Ok(columns) = segment.read_keys(block, sections) else {
                    return Ok(());
                };
                let Some(own) = parts.get(blocks.own_number()) else {
                    return Ok(());
                };
                let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
                for record in columns.iter() {
                    if self.judge(&record).keeps() {
                        own.add(record.key, &Tally::of(&record.facts()));
                    }
                }
                move_if_large(&mut own, &shared);
                Ok(())
            };
            blocks
                .try_map(segment.block_count(), SectionReader::default, count)
                .map(drop)
        })?;
        let mut whole = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        for part in parts {
            whole.merge(part.into_inner().unwrap_or_else(PoisonError::into_inner));
        }
        Ok(whole)
    }

    /// Judges whether a record counts.
    fn judge(&self, record: &KeyRecord<'_>) -> Judgement {
        let value_len = Some(record.value_len.into());
        let candidate = Candidate::new(record.key, value_len, &record.meta, self.at);
        self.selection.judge(&candidate)
    }

    /// Compares what was read with the manifest.
    fn compare_counts(
        &self,
        number: usize,
        named: &ManifestSegment,
        segment: &SegmentReader,
        read: &Tally,
    ) {
        let pairs = [
            ("records", named.records, read.records),
            ("blocks", named.blocks, to_u64(segment.block_count())),
            ("key_bytes", named.key_bytes, read.key_bytes),
            ("value_bytes", named.value_bytes, read.value_bytes),
        ];
        for (at, (field, stored, computed)) in (1_usize..).zip(pairs) {
            if stored != computed {
                let defect = Defect::CountMismatch {
                    structure: Structure::Manifest,
                    field,
                    stored,
                    computed,
                };
                let finding = Finding::new(Location::object(segment.place()), defect);
                // Sorts after the findings of the blocks.
                self.add_finding((number, segment.block_count().saturating_add(at)), finding);
            }
        }
    }

    /// Turns unreadable or damaged data into a finding; any other error ends the job.
    fn note<T>(
        &self,
        order: (usize, usize),
        place: impl FnOnce() -> Location,
        result: Result<T>,
    ) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                let place = error.location().cloned().unwrap_or_else(place);
                let finding = Finding::from_any_error(error.at(place), "")?;
                self.add_finding(order, finding);
                Ok(None)
            }
        }
    }

    fn add_finding(&self, order: (usize, usize), finding: Finding) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.add(order, finding);
    }

    fn add_share(&self, node_index: usize, share: &NodeShare) {
        self.with_part(|part| {
            if let Some(sum) = part.shares.get_mut(node_index) {
                sum.merge(share);
            }
        });
    }

    /// Calls `call` with the part of this thread.
    fn with_part(&self, call: impl FnOnce(&mut Part)) {
        let own = self.pool.blocks().own_number();
        if let Some(part) = self.parts.get(own) {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            call(&mut part);
            move_if_large(&mut part.statistics.key_prefixes, &self.key_prefixes);
        }
    }

    fn advance(&self, items: u64, bytes: u64) {
        self.progress.event(Event::Advanced {
            node_index: None,
            items,
            bytes,
        });
    }
}

/// Moves the prefixes that a thread has found, if there are many, to those of all threads.
fn move_if_large(own: &mut KeyPrefixTable, shared: &Mutex<KeyPrefixTable>) {
    if own.is_large() {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        own.move_prefixes_into(&mut shared);
    }
}

/// Adds up the sizes of the sections by the table of contents.
fn stored_sizes(segment: &SegmentReader) -> Storage {
    let mut sizes = Storage::default();
    let entries = segment.toc().entries.iter();
    for entry in entries.filter(|entry| entry.is_block() || entry.is_part()) {
        sizes.merge(&Storage {
            key_stored: entry.key_stored_len.into(),
            key_raw: entry.key_raw_len.into(),
            value_stored: entry.value_stored_len.into(),
            value_raw: entry.value_raw_len.into(),
            ..Storage::default()
        });
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_findings_the_first_are_kept_whatever_the_order() {
        let finding = || Finding::new(Location::object("s"), Defect::SegmentMissing);
        let max = InspectReport::FINDING_COUNT_MAX;
        let numbers: Vec<usize> = (0..max + 50).collect();
        let mut forward = Found::default();
        let mut backward = Found::default();
        for (one, other) in numbers.iter().zip(numbers.iter().rev()) {
            forward.add((*one, 0), finding());
            backward.add((*other, 0), finding());
        }
        for found in [&forward, &backward] {
            assert_eq!((found.kept.len(), found.dropped), (max, 50));
            assert!(found.kept.keys().map(|(number, _)| *number).eq(0..max));
        }
    }
}
