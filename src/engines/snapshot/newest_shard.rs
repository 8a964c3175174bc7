//! Writes one shard so that the newest record of each key stays.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codecs::format::encoder::Pushed;
use crate::codecs::format::manifest::ManifestSegment;
use crate::engines::snapshot::draft::SnapshotDraft;
use crate::engines::snapshot::shard_writer::{DraftOfShard, ShardOptions, ShardWriter};
use crate::words::error::Result;
use crate::words::item::{ItemMeta, Record};
use crate::words::units::to_u64;

/// A shard that takes a key any number of times.
///
/// A segment cannot have a key twice, and of keys in two segments the shard's writer keeps
/// the later one. So a record whose key the open segment has is held back: a newer one of
/// the key takes its place, and together they go into the next segment. To end the segment
/// instead with each such record would make as many segments as there are.
#[derive(Debug)]
pub(super) struct NewestShard {
    writer: ShardWriter<'static>,
    /// The newest records of keys that are in a segment with an older one.
    held: BTreeMap<Vec<u8>, HeldRecord>,
    held_len: u64,
    written: ShardCounts,
}

/// What became of the records of a shard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ShardCounts {
    /// Records that are in the shard.
    pub(super) stored: u64,
    /// Records that a newer one of the key has replaced.
    pub(super) replaced: u64,
}

impl ShardCounts {
    fn replace(&mut self, count: u64) {
        self.stored = self.stored.saturating_sub(count);
        self.replaced = self.replaced.saturating_add(count);
    }
}

#[derive(Debug)]
struct HeldRecord {
    value: Vec<u8>,
    meta: ItemMeta,
}

impl NewestShard {
    /// Bytes that are held back at most.
    const HELD_LEN_MAX: u64 = 4 << 20;
    /// What a record takes beside its key and value.
    const HELD_RECORD: u64 = 160;
    /// Memory beside that of the shard's writer.
    pub(super) const MEMORY: u64 = Self::HELD_LEN_MAX;

    /// Creates a shard. No segment is created before the first record.
    pub(super) fn new(snapshot: &Arc<SnapshotDraft>, options: ShardOptions) -> Self {
        Self {
            writer: ShardWriter::of(DraftOfShard::Shared(Arc::clone(snapshot)), options),
            held: BTreeMap::new(),
            held_len: 0,
            written: ShardCounts::default(),
        }
    }

    /// Takes a record, in place of all earlier ones of its key.
    ///
    /// # Errors
    ///
    /// - `LimitExceeded`, `InvalidInput`: key or value cannot be stored; nothing has
    ///   changed.
    /// - `Io`: the shard cannot be used any more.
    pub(super) fn push(&mut self, record: &Record<'_>) -> Result<()> {
        let is_in_segment =
            self.held.contains_key(record.key) || self.writer.push(record)? == Pushed::Duplicate;
        if is_in_segment {
            self.hold(record)?;
        }
        self.written.stored = self.written.stored.saturating_add(1);
        Ok(())
    }

    /// Finishes the shard; returns its segments, and what became of the records.
    ///
    /// # Errors
    ///
    /// - As [`ShardWriter::finish_counting`].
    pub(super) fn finish(mut self) -> Result<(Vec<ManifestSegment>, ShardCounts)> {
        self.release()?;
        let (segments, repeated) = self.writer.finish_counting()?;
        self.written.replace(repeated);
        Ok((segments, self.written))
    }

    fn hold(&mut self, record: &Record<'_>) -> Result<()> {
        let before = self.held.get(record.key);
        let before = before.map_or(0, |held| held_len(record.key, &held.value));
        let len = held_len(record.key, record.value);
        let held_len = self.held_len.saturating_sub(before).saturating_add(len);
        if held_len > Self::HELD_LEN_MAX {
            self.release()?;
            return self.push_anew(record);
        }
        let (value, meta) = (record.value.to_vec(), record.meta);
        let key = record.key.to_vec();
        if self.held.insert(key, HeldRecord { value, meta }).is_some() {
            self.written.replace(1);
        }
        self.held_len = held_len;
        Ok(())
    }

    /// Writes what is held back, into a new segment.
    fn release(&mut self) -> Result<()> {
        let held = std::mem::take(&mut self.held);
        self.held_len = 0;
        if held.is_empty() {
            return Ok(());
        }
        self.writer.seal()?;
        for (key, HeldRecord { value, meta }) in &held {
            let (key, value, meta) = (key.as_slice(), value.as_slice(), *meta);
            self.push_anew(&Record { key, value, meta })?;
        }
        Ok(())
    }

    /// Writes a record in any case: into a new segment if the open one has the key.
    fn push_anew(&mut self, record: &Record<'_>) -> Result<()> {
        if self.writer.push(record)? == Pushed::Duplicate {
            self.writer.seal()?;
            self.writer.push(record)?;
        }
        Ok(())
    }
}

fn held_len(key: &[u8], value: &[u8]) -> u64 {
    to_u64(key.len())
        .saturating_add(to_u64(value.len()))
        .saturating_add(NewestShard::HELD_RECORD)
}
