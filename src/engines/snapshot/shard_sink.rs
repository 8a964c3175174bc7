//! Writes items into the segments of a shard.

use crate::codecs::format::encoder::{Pushed, PushedPieces};
use crate::codecs::format::manifest::ManifestSegment;
use crate::engines::pump::{Load, Sink, Taken};
use crate::engines::snapshot::draft::SnapshotDraft;
use crate::engines::snapshot::shard_writer::{ShardOptions, ShardWriter};
use crate::words::error::Result;

/// Writes all items that arrive into one shard.
#[derive(Debug)]
pub struct ShardSink<'a> {
    writer: ShardWriter<'a>,
    written: ShardResult,
}

/// What was written.
#[derive(Debug, Default)]
pub struct ShardResult {
    /// The segments, in sequence.
    pub segments: Vec<ManifestSegment>,
    /// Items that are in them.
    pub stored: u64,
    /// Items that were dropped because the shard has another one of the key.
    pub duplicate: u64,
}

impl ShardResult {
    /// Adds what was written of another shard.
    pub fn merge(&mut self, other: Self) {
        self.segments.extend(other.segments);
        self.stored = self.stored.saturating_add(other.stored);
        self.duplicate = self.duplicate.saturating_add(other.duplicate);
    }
}

impl<'a> ShardSink<'a> {
    /// Creates a shard. No segment is created before the first item.
    pub fn new(snapshot: &'a SnapshotDraft, options: ShardOptions) -> Self {
        Self {
            writer: ShardWriter::new(snapshot, options),
            written: ShardResult::default(),
        }
    }

    fn count(&mut self, pushed: PushedPieces) {
        let count = match pushed {
            PushedPieces::Stored => &mut self.written.stored,
            PushedPieces::Duplicate => &mut self.written.duplicate,
            // The reader requests it again, or counts why it did not.
            PushedPieces::Abandoned => return,
        };
        *count = count.saturating_add(1);
    }
}

impl Sink for ShardSink<'_> {
    type Output = ShardResult;

    fn take(&mut self, load: &Load) -> Result<Taken> {
        match load {
            Load::Batch(batch) => {
                for record in batch.iter() {
                    let pushed = match self.writer.push(&record)? {
                        Pushed::Stored => PushedPieces::Stored,
                        Pushed::Duplicate => PushedPieces::Duplicate,
                    };
                    self.count(pushed);
                }
            }
            Load::Large(item) => {
                let mut pieces = item.value.open();
                let len = item.value.len();
                let pushed = self
                    .writer
                    .push_large(&item.key, &item.meta, len, &mut *pieces)?;
                self.count(pushed);
            }
        }
        Ok(Taken::More)
    }

    fn finish(mut self) -> Result<ShardResult> {
        let (segments, repeated) = self.writer.finish_counting()?;
        self.written.segments = segments;
        self.written.stored = self.written.stored.saturating_sub(repeated);
        self.written.duplicate = self.written.duplicate.saturating_add(repeated);
        Ok(self.written)
    }
}
