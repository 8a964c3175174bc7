//! Writes a snapshot of records that come from elsewhere than a dump.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::codecs::format::checksum::shard_of;
use crate::codecs::format::manifest::{ManifestNode, ManifestSegment, Verdict};
use crate::engines::snapshot::draft::SnapshotDraft;
use crate::engines::snapshot::name::parse_name;
use crate::engines::snapshot::newest_shard::{NewestShard, ShardCounts};
use crate::engines::snapshot::shard_writer::ShardOptions;
use crate::engines::snapshot::writer_options::WriterOptions;
use crate::ports::host;
use crate::ports::store::Store;
use crate::words::counters::Counters;
use crate::words::error::{Error, ErrorKind, Operation, Result};
use crate::words::item::{Record, escape_controls};
use crate::words::reasons::Reasons;
use crate::words::units::UnixSecs;

/// Takes records, and makes a snapshot of them.
///
/// The snapshot exists once [`SnapshotWriter::finish`] has returned. Dropped before, the
/// writer removes what it has written, and there is no snapshot; so does a failed
/// `finish`. If the process is killed, what it has written stays as files without a
/// manifest, which are no snapshot, and the name stays taken until they are removed.
///
/// What is not known of a record stays `None` in its [`ItemMeta`]. That goes for the
/// exptime, too, but a restore stores no item without one unless it is told which to take;
/// [`Exptime::Never`] says that the item does not expire.
///
/// All is done on the caller's thread.
///
/// [`Exptime::Never`]: crate::words::item::Exptime::Never
/// [`ItemMeta`]: crate::words::item::ItemMeta
///
/// # Memory
///
/// [`WriterOptions::memory_limit`]. Without one, for each shard that has records: 8 MiB,
/// 80 bytes for each record of an open segment, and 4 MiB of records whose keys came
/// before. Beside that, some 350 bytes for each segment, whatever the limit.
#[derive(Debug)]
pub struct SnapshotWriter {
    draft: Arc<SnapshotDraft>,
    options: WriterOptions,
    segment_record_count_max: u64,
    nodes: BTreeMap<String, u32>,
    /// The shards that have records, by node and shard.
    shards: BTreeMap<(u32, u64), NewestShard>,
    started_at: UnixSecs,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Records can be added.
    Open,
    /// Records are lost: there must be no snapshot.
    Failed,
    /// The snapshot is there.
    Published,
}

/// A snapshot that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenSnapshot {
    /// Its place, for messages.
    pub place: String,
    /// Records in it.
    pub records: u64,
    /// Records that are not in it, since a newer one of the same key and node was written.
    pub replaced: u64,
    /// Its segments.
    pub segments: u64,
    /// Bytes of all segments.
    pub size: u64,
    /// How complete it is.
    pub verdict: Verdict,
}

impl SnapshotWriter {
    /// Starts a snapshot; nothing is written yet.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists`: a snapshot has the name, or what an interrupted job left.
    /// - `Locked`: another process writes a snapshot of this name.
    /// - `InvalidInput`, `LimitExceeded`: no snapshot can have this name; an option is out
    ///   of its range, or the memory limit too low.
    /// - `Io`.
    pub fn begin(store: Arc<dyn Store>, name: &str, options: WriterOptions) -> Result<Self> {
        options.validate()?;
        let segment_record_count_max = options.records_within_memory()?;
        let mut draft = SnapshotDraft::begin(store, &parse_name(name)?)?;
        if let Some(directory) = &options.scratch_directory {
            draft = draft.with_scratch_directory(directory.clone());
        }
        Ok(Self {
            draft: Arc::new(draft),
            segment_record_count_max,
            nodes: options.nodes.iter().cloned().zip(0..).collect(),
            shards: BTreeMap::new(),
            started_at: options.taken_at.unwrap_or_else(host::now),
            options,
            state: State::Open,
        })
    }

    /// Adds a record to the first node, in place of an earlier one of the key.
    ///
    /// # Errors
    ///
    /// - `LimitExceeded`, `InvalidInput`: no snapshot can have this key or value. Nothing
    ///   has changed, and other records can be added.
    /// - `Io`: records are lost, and there can be no snapshot.
    pub fn push(&mut self, record: &Record<'_>) -> Result<()> {
        self.push_at(0, record)
    }

    /// Adds a record to the node with this name. Each node can have the key.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: [`WriterOptions::nodes`] has no such node.
    /// - Those of [`SnapshotWriter::push`].
    pub fn push_to(&mut self, node: &str, record: &Record<'_>) -> Result<()> {
        let Some(&index) = self.nodes.get(node) else {
            let allowed = "wanted one of the nodes that the writer was begun with";
            let node = escape_controls(node);
            return Err(Error::invalid_input("node", node, allowed));
        };
        self.push_at(index, record)
    }

    fn push_at(&mut self, node_index: u32, record: &Record<'_>) -> Result<()> {
        self.check_open()?;
        let shard_index = shard_of(record.key, self.options.shard_bits);
        let place = (node_index, shard_index);
        let pushed = match self.shards.get_mut(&place) {
            Some(shard) => shard.push(record),
            None => {
                let options = self.shard_options(node_index, shard_index);
                let mut shard = NewestShard::new(&self.draft, options);
                let pushed = shard.push(record);
                self.shards.insert(place, shard);
                pushed
            }
        };
        if let Err(error) = &pushed
            && !is_refusal(error)
        {
            self.state = State::Failed;
        }
        pushed
    }

    /// Writes what is left, and publishes the snapshot.
    ///
    /// # Errors
    ///
    /// On any error there is no snapshot.
    ///
    /// - `AlreadyExists`: somebody else has published one of this name meanwhile, which is
    ///   untouched.
    /// - `Corrupt`: what was written cannot be read back.
    /// - `Io`; also if a record could not be written earlier.
    pub fn finish(mut self) -> Result<WrittenSnapshot> {
        self.check_open()?;
        // If this fails, dropping the writer removes what there is.
        let written = self.publish()?;
        self.state = State::Published;
        Ok(written)
    }

    fn publish(&mut self) -> Result<WrittenSnapshot> {
        let mut counters = vec![Counters::default(); self.options.nodes.len()];
        let mut segments: Vec<ManifestSegment> = Vec::new();
        for ((node_index, _), shard) in std::mem::take(&mut self.shards) {
            let (of_shard, ShardCounts { stored, replaced }) = shard.finish()?;
            let counts = usize::try_from(node_index).ok();
            if let Some(counts) = counts.and_then(|index| counters.get_mut(index)) {
                counts.merge(&Counters {
                    taken: stored.saturating_add(replaced),
                    stored,
                    duplicate: replaced,
                    ..Counters::default()
                });
            }
            segments.extend(of_shard);
        }
        let nodes = self.options.nodes.iter().zip(counters);
        let nodes: Vec<ManifestNode> = nodes
            .map(|(name, counters)| describe_node(name, self.options.shard_bits, counters))
            .collect();
        let finished_at = self.options.taken_at.unwrap_or_else(host::now);
        // The host's clock may have been set back meanwhile.
        let span = [self.started_at, finished_at.max(self.started_at)];
        let manifest = self.draft.assemble(span, nodes, segments);
        self.draft.publish(&manifest, self.options.nodes.len())?;
        Ok(WrittenSnapshot {
            place: self.draft.describe(),
            records: manifest.totals.records,
            replaced: manifest.counters().duplicate,
            segments: manifest.totals.segments,
            size: manifest.totals.size,
            verdict: manifest.verdict,
        })
    }

    fn check_open(&self) -> Result<()> {
        if self.state == State::Open {
            return Ok(());
        }
        let cause = io::Error::other("an earlier record could not be written");
        Err(Error::io(Operation::Write, self.draft.describe(), cause))
    }

    fn shard_options(&self, node_index: u32, shard_index: u64) -> ShardOptions {
        let options = &self.options;
        let index = usize::try_from(node_index).unwrap_or(usize::MAX);
        ShardOptions {
            segment_size_max: options.segment_size_max,
            segment_record_count_max: self.segment_record_count_max,
            compression: options.compression,
            node: options.nodes.get(index).cloned().unwrap_or_default(),
            node_index,
            shard_index,
            shard_bits: options.shard_bits,
            clock_offset: 0,
            server_version: String::new(),
            created_at: self.started_at,
            first_sequence: 0,
        }
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        // Open segments are removed by their writers.
        self.shards.clear();
        if self.state != State::Published {
            self.draft.discard();
        }
    }
}

/// Reports whether a record was refused before anything was done.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::LimitExceeded { .. } | ErrorKind::InvalidInput { .. }
    )
}

/// Describes a node that no server is known of.
fn describe_node(name: &str, shard_bits: u8, counters: Counters) -> ManifestNode {
    ManifestNode {
        address: name.to_owned(),
        server_version: String::new(),
        pid: 0,
        server_started_at: 0,
        clock_offset: "0".to_owned(),
        walk: "unknown".to_owned(),
        shard_bits,
        items_start: counters.stored,
        items_end: counters.stored,
        unlisted: 0,
        unsure: 0,
        counters,
        reasons: Reasons::default(),
        failure: None,
        look_ups: Vec::new(),
    }
}
