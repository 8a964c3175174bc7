//! Salvages shard by shard, many at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codecs::format::compression::Compression;
use crate::engines::pump::PumpOptions;
use crate::engines::snapshot::{ShardOptions, SnapshotDraft, writer_memory};
use crate::jobs::salvage::publish::publish;
use crate::jobs::salvage::report::SalvageReport;
use crate::jobs::salvage::shard::{ShardJob, ShardSalvage};
use crate::jobs::salvage::sources::{Source, Sources, find_sources};
use crate::ports::host;
use crate::ports::host::Stopwatch;
use crate::ports::store::{DamagedPlace, Store};
use crate::ports::threads::side_by_side;
use crate::words::budget::{MemoryLimit, Need};
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};
use crate::words::finding::Finding;
use crate::words::limits::{Limits, SEGMENT_RECORD_COUNTS, SIZES, THREAD_COUNTS, check_range};
use crate::words::progress::{Event, Progress};
use crate::words::units::to_u64;

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
    /// How much memory the job may take. Fewer shards are processed at a time if that is
    /// needed, and less waits between threads.
    pub memory_limit: MemoryLimit,
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

    /// Decides how many shards are processed at a time.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the memory limit is too low for a single shard.
    fn width(&self, writing_memory: u64) -> Result<SalvageWidth> {
        let records = self.segment_record_count_max;
        let writer = writer_memory(self.memory_limit, self.compression, records)?;
        let writer = writer.saturating_add(writing_memory);
        let shard = Need {
            memory: READER.saturating_add(writer),
            files: 2,
        };
        let process = Need {
            memory: Need::PROCESS_MEMORY,
            files: RESERVED_FILES,
        };
        let budget = host::budget(self.memory_limit);
        let (wanted, most) = (self.thread_count, PumpOptions::MEMORY_MAX);
        let fit = budget.fit_with_queues(process, shard, wanted, most)?;
        Ok(SalvageWidth {
            shards_at_once: fit.count,
            pump_memory: PumpOptions::memory_within(fit.memory_left),
        })
    }
}

/// How wide a salvage is.
#[derive(Clone, Copy, Debug)]
struct SalvageWidth {
    shards_at_once: usize,
    /// Bytes of records on their way to the segments, for all shards together.
    pump_memory: u64,
}

/// Memory of a thread that reads a damaged segment: a block as stored and as records, both
/// of which may have a value of the longest kind; five parts of a value; and what the file
/// says of its blocks.
const READER: u64 = (24 << 20) + Need::THREAD_MEMORY;

/// Files for all but the shards: the lock, the journal, the log.
const RESERVED_FILES: u64 = 32;

/// Writes a new snapshot of every record that can still be proved. The input is only
/// read.
///
/// # Errors
///
/// - `AlreadyExists`: the new name is already used.
/// - `NotFound`, `InvalidInput`: there is no segment, or no segment has anything in it;
///   an option is out of its range, or the memory limit too low.
/// - `Newer`: a sound part needs a newer build, which could read what this one would leave
///   out. Nothing is written.
/// - `Io`: the new snapshot cannot be written; what was written of it is removed.
///   Unreadable input is a loss, and in the report.
/// - `Canceled`.
///
/// # Memory
///
/// [`SalvageOptions::memory_limit`]. Without one, 64 MiB of records on their way,
/// whatever the number of shards. For each shard that is processed one block, the table of contents of a segment, the key index of the segment
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
    let width = options.width(output.writing_memory())?;
    let snapshot = SnapshotDraft::begin(output, &options.name)?;
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
    let writing = Writing {
        snapshot: &snapshot,
        options,
        width,
        cancel,
        progress,
    };
    let result = write_in_shards(&mut sources, writing)
        .and_then(|shards| publish(&snapshot, input, sources, shards, cancel, clock));
    if result.is_err() {
        snapshot.discard();
    }
    progress.event(Event::Finished);
    result
}

/// Where and how the new snapshot is written.
#[derive(Clone, Copy)]
struct Writing<'a> {
    snapshot: &'a SnapshotDraft,
    options: &'a SalvageOptions,
    width: SalvageWidth,
    cancel: &'a Cancel,
    progress: &'a dyn Progress,
}

/// Writes every node with the number of shards that it should have. If that turns out to
/// be wrong, writes all of it again as one shard.
fn write_in_shards(sources: &mut Sources, writing: Writing<'_>) -> Result<Vec<ShardSalvage>> {
    let shards = write_all(sources, writing)?;
    let misplaced: BTreeMap<usize, Finding> = shards
        .iter()
        .filter_map(|shard| Some((shard.node, shard.first_misplaced.clone()?)))
        .collect();
    if misplaced.is_empty() {
        return Ok(shards);
    }
    writing.snapshot.discard();
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
    write_all(sources, writing)
}

fn write_all(sources: &Sources, writing: Writing<'_>) -> Result<Vec<ShardSalvage>> {
    let Writing {
        snapshot,
        options,
        width,
        cancel,
        progress,
    } = writing;
    // Each shard has one reader and one writer, since of two records of a key the first
    // is kept, and segments are numbered in sequence.
    let mut shards: BTreeMap<(usize, u64), Vec<&Source>> = BTreeMap::new();
    for source in &sources.sources {
        let shard = (source.node, source.shard_index);
        shards.entry(shard).or_default().push(source);
    }
    let now = host::now();
    let stop = cancel.child();
    let at_once = width.shards_at_once.min(shards.len()).max(1);
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
            memory_max: width.pump_memory / to_u64(at_once),
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
