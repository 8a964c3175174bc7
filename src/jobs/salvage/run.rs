//! Salvages shard by shard, many at a time, and publishes what was recovered.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::codecs::format::compression::Compression;
use crate::codecs::format::manifest::{
    Digest128, Features, Manifest, ManifestNode, ManifestSegment, ShardHash, Totals, Verdict,
    Version,
};
use crate::engines::pump::PumpOptions;
use crate::engines::snapshot::{ShardOptions, SnapshotWriter};
use crate::jobs::salvage::report::{SalvageReport, SalvagedSegment};
use crate::jobs::salvage::shard::{ShardJob, ShardSalvage};
use crate::jobs::salvage::sources::{Source, Sources, describe, find_sources};
use crate::ports::host;
use crate::ports::host::Stopwatch;
use crate::ports::store::{DamagedPlace, Store};
use crate::ports::threads::side_by_side;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};
use crate::words::finding::Finding;
use crate::words::limits::{Limits, SEGMENT_RECORD_COUNTS, SIZES, THREAD_COUNTS, check_range};
use crate::words::progress::{Event, Progress};
use crate::words::units::{counted, to_u64};

/// The options of a salvage.
#[derive(Clone, Debug)]
pub struct SalvageOptions {
    /// Name of the new snapshot.
    pub name: String,
    /// The most bytes of a segment, unless a single record has more.
    pub segment_size_max: u64,
    /// The most records of a segment; each takes up to 48 bytes of memory.
    pub segment_record_count_max: u64,
    /// How sections are compressed.
    pub compression: Compression,
    /// How many shards are processed at a time; each has a thread that reads and one that
    /// writes.
    pub thread_count: usize,
}

impl SalvageOptions {
    /// Checks that every number is in its range.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` with the name of the option.
    pub fn validate(&self) -> Result<()> {
        check_range("segment_size_max", self.segment_size_max, SIZES)?;
        let records = self.segment_record_count_max;
        check_range("segment_record_count_max", records, SEGMENT_RECORD_COUNTS)?;
        check_range("thread_count", to_u64(self.thread_count), THREAD_COUNTS)
    }
}

/// The reason recorded for records that a salvaged node has lost.
const REASON: &str = "damaged in the snapshot that was salvaged";

/// Writes a new snapshot of every record that can still be proved. The input is only
/// read.
///
/// # Errors
///
/// - `AlreadyExists`: the new name is already used.
/// - `NotFound`, `InvalidInput`: there is no segment, or no segment has anything in it;
///   an option is out of its range.
/// - `Unsupported`: a newer format.
/// - `Io`: the new snapshot cannot be written; what was written of it is removed.
///   Unreadable input is a loss, and in the report.
/// - `Canceled`.
///
/// # Memory
///
/// 64 MiB of records on their way, whatever the number of shards. For each shard that is
/// processed one block, the table of contents of a segment, the key index of the segment
/// being written, and where a value is in parts five of its parts.
pub fn salvage(
    input: &DamagedPlace,
    output: Arc<dyn Store>,
    options: &SalvageOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<SalvageReport> {
    let clock = Stopwatch::start();
    options.validate()?;
    let snapshot = SnapshotWriter::begin(output, &options.name)?;
    let mut sources = find_sources(input, &Limits::default(), cancel)?;
    let bytes_total = sources
        .sources
        .iter()
        .map(|source| source.size)
        .fold(0, u64::saturating_add);
    let items_total = sources
        .manifest
        .as_ref()
        .map_or(0, |manifest| manifest.totals.records);
    progress.event(Event::Started {
        job: "salvage",
        items_total,
        bytes_total,
    });
    let result = write_in_shards(&snapshot, &mut sources, options, cancel, progress)
        .and_then(|shards| publish(&snapshot, input, sources, shards, cancel, clock));
    if result.is_err() {
        snapshot.discard();
    }
    progress.event(Event::Finished);
    result
}

/// Writes every node with the number of shards that it should have. If that turns out to
/// be wrong, writes all of it again as one shard.
fn write_in_shards(
    snapshot: &SnapshotWriter,
    sources: &mut Sources,
    options: &SalvageOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Vec<ShardSalvage>> {
    let shards = write_all(snapshot, sources, options, cancel, progress)?;
    let misplaced: BTreeMap<usize, Finding> = shards
        .iter()
        .filter_map(|shard| Some((shard.node, shard.first_misplaced.clone()?)))
        .collect();
    if misplaced.is_empty() {
        return Ok(shards);
    }
    snapshot.discard();
    for (node, finding) in misplaced {
        sources.findings.push(finding);
        if let Some(node) = sources.nodes.get_mut(node) {
            node.shard_bits = 0;
        }
        for source in &mut sources.sources {
            if source.node == node {
                source.shard_index = 0;
            }
        }
    }
    write_all(snapshot, sources, options, cancel, progress)
}

fn write_all(
    snapshot: &SnapshotWriter,
    sources: &Sources,
    options: &SalvageOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Vec<ShardSalvage>> {
    // Each shard has one reader and one writer, since of two records of a key the first
    // is kept, and segments are numbered in sequence.
    let mut shards: BTreeMap<(usize, u64), Vec<&Source>> = BTreeMap::new();
    for source in &sources.sources {
        let shard = (source.node, source.shard_index);
        shards.entry(shard).or_default().push(source);
    }
    let now = host::now();
    let stop = cancel.child();
    let at_once = options.thread_count.min(shards.len()).max(1);
    let write = |((node, shard_index), mut files): ((usize, u64), Vec<&Source>)| {
        files.sort_by_key(|source| source.sequence);
        let described = sources.nodes.get(node);
        let shard_options = ShardOptions {
            segment_size_max: options.segment_size_max,
            segment_record_count_max: options.segment_record_count_max,
            compression: options.compression,
            node: described.map_or_else(String::new, |node| node.address.clone()),
            node_index: u32::try_from(node).unwrap_or(u32::MAX),
            shard_index,
            shard_bits: described.map_or(0, |node| node.shard_bits),
            clock_offset: described
                .and_then(|node| node.clock_offset.parse().ok())
                .unwrap_or(0),
            server_version: described.map_or_else(String::new, |node| node.server_version.clone()),
            created_at: now,
            first_sequence: 0,
        };
        let job = ShardJob {
            snapshot,
            store: &*sources.store,
            node,
            options: shard_options,
            files,
            memory_max: PumpOptions::MEMORY_MAX / to_u64(at_once),
            stop: &stop,
            progress,
        };
        job.run()
    };
    let shards = shards.into_iter().collect();
    let written = side_by_side("salvage", shards, at_once, &stop, write)?;
    let (shards, errors): (Vec<_>, Vec<_>) = written.into_iter().partition(Result::is_ok);
    match Error::first_cause(errors.into_iter().filter_map(Result::err)) {
        Some(error) => Err(error),
        None => shards.into_iter().collect(),
    }
}

fn publish(
    snapshot: &SnapshotWriter,
    input: &DamagedPlace,
    sources: Sources,
    shards: Vec<ShardSalvage>,
    cancel: &Cancel,
    clock: Stopwatch,
) -> Result<SalvageReport> {
    let Sources {
        manifest: original,
        mut nodes,
        findings,
        segments_missing,
        blocks_missing,
        records_missing,
        is_all_there,
        created_at,
        ..
    } = sources;
    let mut is_loss_unknown = !is_all_there;
    let mut records_lost = records_missing;
    let (mut segments, mut files) = (Vec::new(), Vec::<SalvagedSegment>::new());
    let mut duplicates: u64 = 0;
    let mut known_losses: BTreeMap<usize, u64> = BTreeMap::new();
    let mut node_duplicates: BTreeMap<usize, u64> = BTreeMap::new();
    for shard in shards {
        duplicates = duplicates.saturating_add(shard.duplicates);
        let of_node = node_duplicates.entry(shard.node).or_default();
        *of_node = of_node.saturating_add(shard.duplicates);
        let in_files = shard
            .files
            .iter()
            .map(|file| file.salvage.records_lost)
            .fold(0, u64::saturating_add);
        records_lost = records_lost.saturating_add(in_files);
        let known = known_losses.entry(shard.node).or_default();
        *known = known.saturating_add(in_files);
        is_loss_unknown |= shard.files.iter().any(|file| file.salvage.is_loss_unknown);
        segments.extend(shard.segments);
        files.extend(shard.files);
    }
    let totals = Totals::of(&segments);
    // A snapshot of an empty cache is complete without records.
    let is_empty_by_right = original
        .as_ref()
        .is_some_and(|manifest| manifest.totals.records == 0);
    if totals.records == 0 && !is_empty_by_right {
        let unreadable: u64 = files.iter().map(|file| file.salvage.bytes_unreadable).sum();
        let mut allowed = "no record in it can be proved to be sound".to_owned();
        if unreadable > 0 {
            allowed.push_str(&format!(
                "; {} of it cannot be read",
                counted(unreadable, "byte")
            ));
        }
        return Err(Error::invalid_input("damaged", describe(input), allowed));
    }
    let node_count = nodes.len();
    for (index, node) in nodes.iter_mut().enumerate() {
        let known = known_losses.get(&index).copied().unwrap_or(0);
        let duplicates = node_duplicates.get(&index).copied().unwrap_or(0);
        account(node, index, &segments, known, duplicates);
    }
    let digests = Manifest::digests(&segments);
    let now = Timestamp::now();
    let now = Timestamp::from_second(now.as_second())
        .unwrap_or(now)
        .to_string();
    // The times are those of the items, not of the salvage, since readers of the snapshot
    // compute with them.
    let (started_at, finished_at) = match &original {
        Some(manifest) => (manifest.started_at.clone(), manifest.finished_at.clone()),
        None => {
            let at = created_at.unwrap_or(now);
            (at.clone(), at)
        }
    };
    let manifest = Manifest {
        format: "mcsnap".to_owned(),
        version: Version::default(),
        features: Features::default(),
        snapshot_id: snapshot.id(),
        name: snapshot.name().to_owned(),
        parents: Vec::new(),
        token: snapshot.token().to_owned(),
        tool: concat!("mcsnap ", env!("CARGO_PKG_VERSION"), " salvage").to_owned(),
        started_at,
        finished_at,
        ring: original.as_ref().and_then(|manifest| manifest.ring.clone()),
        select: original
            .as_ref()
            .and_then(|manifest| manifest.select.clone()),
        shard_hash: ShardHash::default(),
        verdict: Verdict::of(&nodes),
        nodes,
        totals,
        content_digest: Digest128(digests.content),
        content_digest_exptime: Digest128(digests.content_exptime),
        segments,
    };
    cancel.check()?;
    snapshot.publish(&manifest, node_count)?;
    Ok(SalvageReport {
        place: snapshot.describe(),
        manifest,
        segments: files,
        findings,
        segments_missing,
        blocks_missing,
        records_lost,
        is_loss_unknown,
        duplicates,
        elapsed: clock.elapsed(),
    })
}

/// Corrects a node's counters: what is missing now is a loss.
fn account(
    node: &mut ManifestNode,
    index: usize,
    segments: &[ManifestSegment],
    known: u64,
    duplicates: u64,
) {
    let stored = segments
        .iter()
        .filter(|segment| usize::try_from(segment.node_index) == Ok(index))
        .map(|segment| segment.records)
        .fold(0, u64::saturating_add);
    let counters = &mut node.counters;
    // Without a manifest there are no counters, and those of the walk are not known.
    let kept = stored.saturating_add(duplicates);
    let lost = counters.stored.saturating_sub(kept).max(known);
    counters.stored = stored;
    counters.duplicate = counters.duplicate.saturating_add(duplicates);
    counters.failed = counters.failed.saturating_add(lost);
    counters.taken = counters.accounted();
    if lost > 0 {
        node.reasons.add_many(REASON, lost);
    }
}
