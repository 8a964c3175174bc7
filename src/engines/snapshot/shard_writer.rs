//! Writes one shard of one node's keys as a sequence of segments.

use std::ops::Deref;
use std::sync::Arc;

use crate::codecs::format::compression::Compression;
use crate::codecs::format::encoder::{
    EncoderOptions, FinishedSegment, Pushed, PushedPieces, SegmentEncoder,
};
use crate::codecs::format::features::Features;
use crate::codecs::format::ids::{SegmentId, SyncMarker};
use crate::codecs::format::key_index::KeyIndexBuilder;
use crate::codecs::format::manifest::{Digest128, ManifestSegment};
use crate::codecs::format::moment::moment_text;
use crate::codecs::format::segment_meta::{SegmentMeta, dumping_host};
use crate::codecs::format::segment_name::segment_file_name;
use crate::engines::snapshot::draft::SnapshotDraft;
use crate::engines::snapshot::known_look_up::{KnownLookUp, ShardPlace};
use crate::engines::snapshot::look_up_builder::{LookUpBuilder, LookUpOutcome};
use crate::ports::store::{Finishing, ObjectWriter};
use crate::words::error::Result;
use crate::words::item::{ItemMeta, Record};
use crate::words::limits::VALUE_INLINE_LEN_MAX;
use crate::words::pieces::Pieces;
use crate::words::units::{UnixSecs, to_u64};

/// How a shard is divided into segments.
#[derive(Clone, Debug)]
pub struct ShardOptions {
    /// The most bytes of a segment, unless a single record has more.
    pub segment_size_max: u64,
    /// The most records of a segment. This limits the memory for its key index.
    pub segment_record_count_max: u64,
    /// How sections are compressed.
    pub compression: Compression,
    /// The node's address, for the segments' descriptions.
    pub node: String,
    /// Zero-based index of the node.
    pub node_index: u32,
    /// Zero-based index of the shard.
    pub shard_index: u64,
    /// The node has 2^bits shards.
    pub shard_bits: u8,
    /// Seconds to add to the server's times.
    pub clock_offset: i64,
    /// memcached's version.
    pub server_version: String,
    /// Creation time, for the segments' descriptions.
    pub created_at: UnixSecs,
    /// Sequence number of the first segment in its shard; above 0 if there are earlier
    /// ones.
    pub first_sequence: u32,
}

impl ShardOptions {
    fn place(&self) -> ShardPlace {
        ShardPlace {
            node_index: self.node_index,
            shard_index: self.shard_index,
        }
    }
}

/// The snapshot that a shard is part of. Writers that work side by side borrow it; what
/// keeps it together with its writers shares it with them.
#[derive(Clone, Debug)]
pub(super) enum DraftOfShard<'a> {
    Borrowed(&'a SnapshotDraft),
    Shared(Arc<SnapshotDraft>),
}

impl Deref for DraftOfShard<'_> {
    type Target = SnapshotDraft;

    fn deref(&self) -> &SnapshotDraft {
        match self {
            Self::Borrowed(snapshot) => snapshot,
            Self::Shared(snapshot) => snapshot,
        }
    }
}

/// Bytes of a segment with its next record before the one before it is waited for, so that a
/// store far away holds no more of both than it may of one.
const SEALED_BEFORE: u64 = 8 << 20;

/// Records whose look-up object is short enough to be sent beside the last segment.
const RECORDS_OF_SHORT_LOOK_UP: u64 = 1_000_000;

/// Writes records into segments that each keep the limits.
///
/// If it is dropped without [`ShardWriter::finish`], it leaves no open segment behind.
#[derive(Debug)]
pub struct ShardWriter<'a> {
    pub(super) options: ShardOptions,
    open: Option<OpenSegment>,
    /// The segment before it, until the store has it.
    sealing: Option<SealingSegment>,
    pub(super) finished: Vec<ManifestSegment>,
    /// Collects all keys; `None` after a failure, or if nobody needs it.
    look_up: Option<LookUpBuilder>,
    /// Seed of the hash of keys, the same for all segments and the look-up object.
    pub(super) seed: u64,
    /// The key index builder of the last finished segment, reused for the next.
    memory: KeyIndexBuilder,
    /// Goes last: what is still being sealed is part of it.
    pub(super) snapshot: DraftOfShard<'a>,
}

#[derive(Debug)]
struct OpenSegment {
    encoder: SegmentEncoder,
    object: String,
    writer: Box<dyn ObjectWriter>,
}

/// A segment that is complete, and that a store far away makes visible meanwhile.
#[derive(Debug)]
struct SealingSegment {
    finishing: Finishing,
    segment: ManifestSegment,
}

impl OpenSegment {
    /// Bytes gathered before they are written.
    const WRITE_LEN: usize = 1 << 20;

    /// Adds a piece to the current value, and writes the parts that are complete.
    fn push_piece(&mut self, piece: &[u8]) -> Result<()> {
        for piece in piece.chunks(EncoderOptions::PART_RAW_LEN) {
            self.encoder.push_piece(piece);
            self.write_pending()?;
        }
        Ok(())
    }

    fn write_pending(&mut self) -> Result<()> {
        if self.encoder.pending().len() >= Self::WRITE_LEN {
            self.writer.write(self.encoder.pending())?;
            self.encoder.clear_pending();
        }
        Ok(())
    }
}

impl<'a> ShardWriter<'a> {
    /// Creates a shard. No segment is created before the first record.
    pub fn new(snapshot: &'a SnapshotDraft, options: ShardOptions) -> Self {
        Self::of(DraftOfShard::Borrowed(snapshot), options)
    }

    /// Creates a shard like [`ShardWriter::new`].
    pub(super) fn of(snapshot: DraftOfShard<'a>, options: ShardOptions) -> Self {
        // After segments of an earlier run the object is made when the snapshot is
        // published, from all of them.
        if options.first_sequence > 0 {
            return Self::without_look_up(snapshot, options);
        }
        let builder = LookUpBuilder::new(snapshot.scratch_directory.clone());
        Self {
            seed: builder.seed(),
            look_up: Some(builder),
            ..Self::without_look_up(snapshot, options)
        }
    }

    /// Creates a shard that makes no look-up object.
    pub(super) fn without_look_up(snapshot: DraftOfShard<'a>, options: ShardOptions) -> Self {
        Self {
            snapshot,
            options,
            open: None,
            sealing: None,
            finished: Vec::new(),
            look_up: None,
            seed: u64::from_le_bytes(first_eight(*uuid::Uuid::new_v4().as_bytes())),
            memory: KeyIndexBuilder::new(0),
        }
    }

    /// Adds a record; a long value is stored in parts.
    ///
    /// # Errors
    ///
    /// - `LimitExceeded`: the key or value is too long; nothing has changed.
    /// - `Io`: the shard cannot be used any more.
    pub fn push(&mut self, record: &Record<'_>) -> Result<Pushed> {
        let (key_len, value_len) = (record.key.len(), to_u64(record.value.len()));
        if value_len > VALUE_INLINE_LEN_MAX {
            let open =
                self.open_for(|encoder| encoder.size_bound_with_parts(key_len, value_len))?;
            let pushed = open
                .encoder
                .begin_value(record.key, &record.meta, value_len)?;
            if pushed == Pushed::Stored {
                open.push_piece(record.value)?;
                open.encoder.end_value();
                open.write_pending()?;
            }
            return Ok(pushed);
        }
        let open = self.open_for(|encoder| encoder.size_bound_with(key_len, value_len))?;
        let pushed = open.encoder.push(record)?;
        open.write_pending()?;
        Ok(pushed)
    }

    /// Adds a record whose value of `value_len` bytes is read in pieces of any length. It
    /// is stored in parts as it arrives. If the pieces are shorter or longer than
    /// `value_len` in total, the value is abandoned, and the shard is as before.
    ///
    /// All pieces are read, even those of a duplicate.
    ///
    /// # Errors
    ///
    /// - The errors of the pieces: the value is abandoned, and the shard is as before.
    /// - `LimitExceeded`: the key or value is too long; nothing has changed, and no piece
    ///   was read.
    /// - `Io`: the shard cannot be used any more.
    ///
    /// # Memory
    ///
    /// A piece, and three times [`EncoderOptions::PART_RAW_LEN`].
    pub fn push_large(
        &mut self,
        key: &[u8],
        meta: &ItemMeta,
        value_len: u64,
        pieces: &mut dyn Pieces,
    ) -> Result<PushedPieces> {
        if value_len == 0 {
            return self.push_empty(key, meta, pieces);
        }
        let open = self.open_for(|encoder| encoder.size_bound_with_parts(key.len(), value_len))?;
        if open.encoder.begin_value(key, meta, value_len)? == Pushed::Duplicate {
            while pieces.next_piece()?.is_some() {}
            return Ok(PushedPieces::Duplicate);
        }
        loop {
            match pieces.next_piece() {
                Ok(Some(piece)) => open.push_piece(piece)?,
                Ok(None) => break,
                Err(error) => {
                    open.encoder.abandon_value();
                    return Err(error);
                }
            }
        }
        let pushed = open.encoder.end_value();
        open.write_pending()?;
        Ok(pushed)
    }

    /// A part cannot be empty, so an empty value is not stored in parts.
    fn push_empty(
        &mut self,
        key: &[u8],
        meta: &ItemMeta,
        pieces: &mut dyn Pieces,
    ) -> Result<PushedPieces> {
        let mut is_empty = true;
        while let Some(piece) = pieces.next_piece()? {
            is_empty &= piece.is_empty();
        }
        if !is_empty {
            return Ok(PushedPieces::Abandoned);
        }
        let (value, meta) = (&[][..], *meta);
        Ok(match self.push(&Record { key, value, meta })? {
            Pushed::Stored => PushedPieces::Stored,
            Pushed::Duplicate => PushedPieces::Duplicate,
        })
    }

    /// Returns the segment for the next record: a new one if the record does not fit in
    /// the open one.
    fn open_for(&mut self, bound: impl Fn(&SegmentEncoder) -> u64) -> Result<&mut OpenSegment> {
        let is_full = self.open.as_ref().is_some_and(|open| {
            let count = open.encoder.record_count();
            // An open segment without a record holds only an abandoned value.
            count >= self.options.segment_record_count_max
                || (open.encoder.has_content()
                    && bound(&open.encoder) > self.options.segment_size_max)
        });
        if is_full {
            self.seal()?;
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => self.start()?,
        };
        if self.sealing.is_some() && bound(&open.encoder) >= SEALED_BEFORE {
            self.settle()?;
        }
        Ok(self.open.insert(open))
    }

    /// Finishes the shard and returns its segments.
    ///
    /// # Errors
    ///
    /// - As [`ShardWriter::finish_counting`].
    pub fn finish(self) -> Result<Vec<ManifestSegment>> {
        self.finish_counting().map(|(segments, _)| segments)
    }

    /// Finishes the shard; returns its segments, and how many records were taken out
    /// again: of keys that came once more in a later segment, where the newer record is.
    ///
    /// # Errors
    ///
    /// - `Corrupt`: a segment with such a record cannot be read back.
    /// - `Io`.
    pub fn finish_counting(mut self) -> Result<(Vec<ManifestSegment>, u64)> {
        self.seal()?;
        let Some(builder) = self.look_up.take() else {
            self.settle()?;
            return Ok((self.finished, 0));
        };
        let place = self.options.place();
        let records = self.finished.iter().map(|segment| segment.records);
        if records.sum::<u64>() > RECORDS_OF_SHORT_LOOK_UP {
            self.settle()?;
        }
        let look_up = builder.write(&self.snapshot, place);
        self.settle()?;
        match look_up? {
            LookUpOutcome::Written(name) => {
                let segments = builder.segments().to_vec();
                let known = KnownLookUp { name, segments };
                self.snapshot.know_look_up(place, Some(known));
                Ok((self.finished, 0))
            }
            LookUpOutcome::Repeated(keys) => self.without_repeated(&keys),
        }
    }

    fn next_sequence(&self) -> u32 {
        let count = self.finished.len();
        let count = count.saturating_add(self.sealing.iter().len());
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.options.first_sequence.saturating_add(count)
    }

    fn start(&mut self) -> Result<OpenSegment> {
        let options = &self.options;
        let random = || *uuid::Uuid::new_v4().as_bytes();
        let segment_id = SegmentId(random());
        let sequence = self.next_sequence();
        let meta = SegmentMeta {
            segment_id,
            snapshot_id: self.snapshot.id(),
            sync_marker: SyncMarker(first_eight(random())),
            features: Features::default(),
            snapshot_name: self.snapshot.name().to_owned(),
            node: options.node.clone(),
            node_index: options.node_index,
            worker: 0,
            attempt: 0,
            shard_index: options.shard_index,
            shard_bits: options.shard_bits,
            sequence,
            clock_offset: options.clock_offset.to_string(),
            clock: dumping_host(),
            compression: options.compression.to_string(),
            server_version: options.server_version.clone(),
            tool: concat!("mcsnap ", env!("CARGO_PKG_VERSION")).to_owned(),
            created_at: moment_text(options.created_at),
        };
        let encoder_options = EncoderOptions {
            compression: options.compression,
            block_raw_len: EncoderOptions::BLOCK_RAW_LEN,
            part_raw_len: EncoderOptions::PART_RAW_LEN,
            index_seed: self.seed,
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

    /// Waits until the store has the segment before the open one.
    fn settle(&mut self) -> Result<()> {
        let Some(SealingSegment { finishing, segment }) = self.sealing.take() else {
            return Ok(());
        };
        finishing.wait()?;
        tracing::debug!(
            object = segment.object,
            records = segment.records,
            size = segment.size,
            "segment sealed"
        );
        self.finished.push(segment);
        Ok(())
    }

    /// Seals the open segment, if there is one; the next record begins another. The store may
    /// still be at it: segments become visible in their order.
    ///
    /// # Errors
    ///
    /// - `Io`: the shard cannot be used any more.
    pub(super) fn seal(&mut self) -> Result<()> {
        let Some(OpenSegment {
            encoder,
            object,
            mut writer,
        }) = self.open.take()
        else {
            return Ok(());
        };
        if encoder.record_count() == 0 {
            // The segment's writer removes what it has written.
            return Ok(());
        }
        let FinishedSegment {
            rest,
            summary,
            blocks,
            memory,
        } = encoder.finish()?;
        writer.write(&rest)?;
        self.settle()?;
        let finishing = writer.begin_finish();
        let sequence = self.next_sequence();
        if let Some(look_up) = &mut self.look_up {
            let segment = summary.ids.segment;
            if let Err(error) = look_up.add(segment, sequence, &blocks, memory.hashes()) {
                // Nothing but the scratch file can have failed, and a reader can do without.
                tracing::warn!(
                    node = self.options.node,
                    "no look-up objects, so that mcsnap get has to ask every segment: {}",
                    error.to_chain()
                );
                self.look_up = None;
                self.snapshot.know_look_up(self.options.place(), None);
            }
        }
        self.memory = memory;
        let segment = ManifestSegment {
            object,
            segment_id: summary.ids.segment,
            size: summary.size,
            digest: summary.digest,
            node_index: self.options.node_index,
            shard_index: self.options.shard_index,
            sequence,
            records: summary.records,
            blocks: summary.blocks,
            key_bytes: summary.key_bytes,
            value_bytes: summary.value_bytes,
            content_digest: Digest128(summary.digests.content),
            content_digest_exptime: Digest128(summary.digests.content_exptime),
        };
        let is_done = finishing.is_done();
        self.sealing = Some(SealingSegment { finishing, segment });
        if is_done { self.settle() } else { Ok(()) }
    }
}

fn first_eight(bytes: [u8; 16]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = bytes;
    [a, b, c, d, e, f, g, h]
}
