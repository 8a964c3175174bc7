//! One writer's share of one node's keys: segments, one after the other.

use crate::error::Result;
use crate::format::compression::Compression;
use crate::format::encoder::{EncoderOptions, FinishedSegment, Pushed, SegmentEncoder};
use crate::format::ids::{SegmentId, SyncMarker};
use crate::format::key_index::KeyIndexBuilder;
use crate::format::manifest::{Digest128, ManifestSegment};
use crate::format::segment_meta::SegmentMeta;
use crate::item::Record;
use crate::snapshot::writer::{SnapshotWriter, segment_file_name};
use crate::store::ObjectWriter;
use crate::units::UnixSecs;

/// How a shard is cut into segments.
#[derive(Clone, Debug)]
pub struct ShardOptions {
    /// Most bytes of a segment, unless one record alone has more.
    pub segment_size_max: u64,
    /// Most records of a segment; bounds the memory for its key index.
    pub segment_record_count_max: u64,
    /// How sections are compressed.
    pub compression: Compression,
    /// Of the node, for the segments' description.
    pub node: String,
    /// Zero-based place of the node.
    pub node_index: u32,
    /// Zero-based place of the shard.
    pub shard_index: u64,
    /// The node has 2^bits shards.
    pub shard_bits: u8,
    /// Seconds added to the server's times.
    pub clock_offset: i64,
    /// memcached's version.
    pub server_version: String,
    /// For the segments' description.
    pub created_at: UnixSecs,
    /// Place of the first segment in its shard; above 0 where some are there.
    pub first_sequence: u32,
}

/// Writes records into segments, each under the caps.
///
/// Dropped without [`ShardWriter::finish`], it leaves no open segment behind.
#[derive(Debug)]
pub struct ShardWriter<'a> {
    snapshot: &'a SnapshotWriter,
    options: ShardOptions,
    open: Option<OpenSegment>,
    finished: Vec<ManifestSegment>,
    /// Of the last finished segment, for the next.
    memory: KeyIndexBuilder,
}

#[derive(Debug)]
struct OpenSegment {
    encoder: SegmentEncoder,
    object: String,
    writer: Box<dyn ObjectWriter>,
}

impl<'a> ShardWriter<'a> {
    /// Bytes gathered before they are written.
    const WRITE_LEN: usize = 1 << 20;

    /// Starts a shard; no segment is made before the first record.
    pub fn new(snapshot: &'a SnapshotWriter, options: ShardOptions) -> Self {
        Self {
            snapshot,
            options,
            open: None,
            finished: Vec::new(),
            memory: KeyIndexBuilder::new(0),
        }
    }

    /// Adds a record.
    ///
    /// # Errors
    ///
    /// - `LimitExceeded`: the key or value is too long; nothing has changed.
    /// - `Io`: the shard is of no use any more.
    pub fn push(&mut self, record: &Record<'_>) -> Result<Pushed> {
        let is_full = self.open.as_ref().is_some_and(|open| {
            let bound = open
                .encoder
                .size_bound_with(record.key.len(), record.value.len());
            let count = open.encoder.record_count();
            count >= self.options.segment_record_count_max
                || (count > 0 && bound > self.options.segment_size_max)
        });
        if is_full {
            self.seal()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let open = self.start()?;
                self.open.insert(open)
            }
        };
        let pushed = open.encoder.push(record)?;
        if open.encoder.pending().len() >= Self::WRITE_LEN {
            open.writer.write(open.encoder.pending())?;
            open.encoder.clear_pending();
        }
        Ok(pushed)
    }

    /// Ends the shard; returns its segments.
    ///
    /// # Errors
    ///
    /// - `Io`.
    pub fn finish(mut self) -> Result<Vec<ManifestSegment>> {
        self.seal()?;
        Ok(self.finished)
    }

    fn next_sequence(&self) -> u32 {
        let count = u32::try_from(self.finished.len()).unwrap_or(u32::MAX);
        self.options.first_sequence.saturating_add(count)
    }

    fn start(&mut self) -> Result<OpenSegment> {
        let options = &self.options;
        let random = || *uuid::Uuid::new_v4().as_bytes();
        let segment_id = SegmentId(random());
        let sequence = self.next_sequence();
        let created_at = i64::try_from(options.created_at.0).unwrap_or(i64::MAX);
        let created_at = jiff::Timestamp::from_second(created_at).unwrap_or(jiff::Timestamp::MAX);
        let meta = SegmentMeta {
            segment_id,
            snapshot_id: self.snapshot.id(),
            sync_marker: SyncMarker(first_eight(random())),
            snapshot_name: self.snapshot.name().to_owned(),
            node: options.node.clone(),
            node_index: options.node_index,
            worker: 0,
            attempt: 0,
            shard_index: options.shard_index,
            shard_bits: options.shard_bits,
            sequence,
            clock_offset: options.clock_offset.to_string(),
            compression: options.compression.to_string(),
            server_version: options.server_version.clone(),
            tool: concat!("mcsnap ", env!("CARGO_PKG_VERSION")).to_owned(),
            created_at: created_at.to_string(),
        };
        let encoder_options = EncoderOptions {
            compression: options.compression,
            block_raw_len: EncoderOptions::BLOCK_RAW_LEN,
            index_seed: u64::from_le_bytes(first_eight(random())),
        };
        let file = segment_file_name(
            options.node_index,
            options.shard_index,
            sequence,
            segment_id,
        );
        let memory = std::mem::replace(&mut self.memory, KeyIndexBuilder::new(0));
        let encoder = SegmentEncoder::with_memory(&meta, encoder_options, memory)?;
        let (object, writer) = self.snapshot.create_segment(&file)?;
        Ok(OpenSegment {
            encoder,
            object,
            writer,
        })
    }

    fn seal(&mut self) -> Result<()> {
        let Some(OpenSegment {
            encoder,
            object,
            mut writer,
        }) = self.open.take()
        else {
            return Ok(());
        };
        let FinishedSegment {
            rest,
            summary,
            memory,
        } = encoder.finish()?;
        self.memory = memory;
        writer.write(&rest)?;
        writer.finish()?;
        tracing::debug!(
            object,
            records = summary.records,
            size = summary.size,
            "segment sealed"
        );
        self.finished.push(ManifestSegment {
            object,
            segment_id: summary.ids.segment,
            size: summary.size,
            digest: summary.digest,
            node_index: self.options.node_index,
            shard_index: self.options.shard_index,
            sequence: self.next_sequence(),
            records: summary.records,
            blocks: summary.blocks,
            key_bytes: summary.key_bytes,
            value_bytes: summary.value_bytes,
            content_digest: Digest128(summary.digests.content),
            content_digest_exptime: Digest128(summary.digests.content_exptime),
        });
        Ok(())
    }
}

fn first_eight(bytes: [u8; 16]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = bytes;
    [a, b, c, d, e, f, g, h]
}
