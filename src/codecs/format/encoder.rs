//! Encodes a segment from records, from front to back.

use crate::codecs::format::block::{BlockHeader, TimeRanges};
use crate::codecs::format::checkpoint::Checkpoint;
use crate::codecs::format::checksum::{ContentDigests, SegmentDigest, ValueHasher, value_hash};
use crate::codecs::format::column::ColumnsBuilder;
use crate::codecs::format::compression::{Compression, SectionWriter};
use crate::codecs::format::file_header::FileHeader;
use crate::codecs::format::frame::{FrameHeader, FrameType};
use crate::codecs::format::ids::SegmentIds;
use crate::codecs::format::key_index::KeyIndexBuilder;
use crate::codecs::format::layout::{
    BLOCK_HEADER_SIZE, CHECKPOINT_ENTRY_SIZE, CHECKPOINT_HEADER_SIZE, FRAME_HEADER_SIZE,
    KEY_INDEX_HEADER_SIZE, PAGE_SIZE, TAIL_SIZE, TOC_ENTRY_SIZE, TOC_HEADER_SIZE,
    VALUE_PART_HEADER_SIZE,
};
use crate::codecs::format::moment::parse_moment;
use crate::codecs::format::segment_meta::SegmentMeta;
use crate::codecs::format::stat::{encode_stat, stat_len_bound};
use crate::codecs::format::tail::Tail;
use crate::codecs::format::toc::{Toc, TocEntry};
use crate::codecs::format::value_part::{PartedValue, ValuePartHeader};
use crate::codecs::statistics::{RecordFacts, StatCounter};
use crate::words::error::{Error, Result};
use crate::words::item::{ItemMeta, KEY_LEN_MAX, Record};
use crate::words::limits::{LARGE_VALUE_LEN_MAX, Limits, VALUE_INLINE_LEN_MAX, check_limit};
use crate::words::units::to_u64;

/// How a segment is laid out.
#[derive(Clone, Copy, Debug)]
pub struct EncoderOptions {
    /// How sections are compressed.
    pub compression: Compression,
    /// A block is closed when its raw sections reach this many bytes.
    pub block_raw_len: usize,
    /// Raw bytes of each part of a value in parts, except the last.
    pub part_raw_len: usize,
    /// Seed of the index hash; random, so that nobody can prepare keys for it.
    pub index_seed: u64,
}

impl EncoderOptions {
    /// Default raw bytes of a block. FORMAT.md 8 (L4).
    pub const BLOCK_RAW_LEN: usize = 256 << 10;
    /// Default raw bytes of a part, which is what a reader and a writer of a large value
    /// hold in memory. FORMAT.md 5.7.
    pub const PART_RAW_LEN: usize = 1 << 20;
}

/// The result of pushing a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The record is in the segment.
    Stored,
    /// The segment already has a record with this key; the new one was dropped.
    Duplicate,
}

/// The result of pushing a value in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushedPieces {
    /// The value's record is in the segment.
    Stored,
    /// The segment already has a record with this key; the new one was dropped.
    Duplicate,
    /// The total length of the pieces was not the announced one. There is no record, and
    /// readers ignore the parts that were written.
    Abandoned,
}

/// What a finished segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// The ids of the segment.
    pub ids: SegmentIds,
    /// Size of the file in bytes.
    pub size: u64,
    /// `sha256:` and 64 hexadecimal digits. FORMAT.md 6.
    pub digest: String,
    /// Number of records.
    pub records: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// Total length of all keys in bytes.
    pub key_bytes: u64,
    /// Total length of all values in bytes.
    pub value_bytes: u64,
    /// Digests of the records' content.
    pub digests: ContentDigests,
}

/// The end of a segment.
#[derive(Debug)]
pub struct FinishedSegment {
    /// The last bytes to write.
    pub rest: Vec<u8>,
    /// What the segment holds.
    pub summary: SegmentSummary,
    /// Offset and stored length of the key section of each block.
    pub blocks: Vec<(u64, u32)>,
    /// Its keys, and memory to pass to [`SegmentEncoder::with_memory`].
    pub memory: KeyIndexBuilder,
}

/// Encodes records into the bytes of one segment.
///
/// The caller takes the bytes as they come ([`SegmentEncoder::pending`]) and writes them
/// in order; bytes that were handed out never change.
///
/// # Memory
///
/// One open block, one part of an open value, the bytes not taken yet, the statistics
/// ([`StatCounter`]), and the key index ([`KeyIndexBuilder`]).
#[derive(Debug)]
pub struct SegmentEncoder {
    ids: SegmentIds,
    options: EncoderOptions,
    sections: SectionWriter,
    pending: Vec<u8>,
    /// Bytes of the file so far, including pending ones.
    file_len: u64,
    digest: SegmentDigest,
    toc: Toc,
    block_count: u32,
    index: KeyIndexBuilder,
    statistics: StatCounter,
    columns: ColumnsBuilder,
    values: Vec<u8>,
    /// Bytes of the open block's values that are stored in parts.
    parted_len: u64,
    value: Option<OpenValue>,
    times: TimeRanges,
    raw: Vec<u8>,
    payload: Vec<u8>,
    scratch: Vec<u8>,
    checkpoint_offset: u64,
    checkpoint_entry: usize,
}

/// A value that is being pushed piece by piece.
#[derive(Debug)]
struct OpenValue {
    key: Vec<u8>,
    meta: ItemMeta,
    /// Announced length in bytes.
    len: u64,
    /// Bytes received so far, written or not.
    taken_len: u64,
    /// Offset of the frame of its first part; 0 before that is written.
    place: u64,
    /// Number of parts written.
    part_count: u32,
    written_len: u64,
    hasher: ValueHasher,
    /// Bytes that do not fill a part yet.
    rest: Vec<u8>,
}

impl SegmentEncoder {
    /// Blocks between two checkpoints: in a truncated file, at most some 16 MiB of raw
    /// records have to be found by scanning.
    const CHECKPOINT_BLOCKS: usize = 64;

    /// Starts a segment; its file header and description are pending.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: zstd does not support the compression level.
    pub fn new(meta: &SegmentMeta, options: EncoderOptions) -> Result<Self> {
        Self::with_memory(meta, options, KeyIndexBuilder::new(options.index_seed))
    }

    /// Like [`SegmentEncoder::new`], but reuses the memory of a finished segment.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: zstd does not support the compression level.
    pub fn with_memory(
        meta: &SegmentMeta,
        options: EncoderOptions,
        mut index: KeyIndexBuilder,
    ) -> Result<Self> {
        index.recycle(options.index_seed);
        let ids = meta.ids();
        let mut encoder = Self {
            ids,
            options,
            sections: SectionWriter::new(options.compression)?,
            pending: Vec::new(),
            file_len: 0,
            digest: SegmentDigest::new(),
            toc: Toc::default(),
            block_count: 0,
            index,
            statistics: StatCounter::new(parse_moment(&meta.created_at)),
            columns: ColumnsBuilder::default(),
            values: Vec::new(),
            parted_len: 0,
            value: None,
            times: TimeRanges::default(),
            raw: Vec::new(),
            payload: Vec::new(),
            scratch: Vec::new(),
            checkpoint_offset: 0,
            checkpoint_entry: 0,
        };
        let mut header = Vec::new();
        FileHeader::new(ids).encode(&mut header);
        encoder.digest.update(&header);
        encoder.emit(&header);
        encoder.emit_frame(FrameType::Meta, &meta.encode());
        Ok(encoder)
    }

    /// Returns the number of records so far.
    pub fn record_count(&self) -> u64 {
        self.toc.record_count
    }

    /// Returns an upper bound of the finished segment's size in bytes with one more
    /// record, for the size limit.
    pub fn size_bound_with(&self, key_len: usize, value_len: u64) -> u64 {
        self.size_bound(key_len, 0).saturating_add(value_len)
    }

    /// Like [`SegmentEncoder::size_bound_with`], for a record whose value is stored in
    /// parts.
    pub fn size_bound_with_parts(&self, key_len: usize, value_len: u64) -> u64 {
        const PART_OVERHEAD: u64 = 96;
        debug_assert!(to_u64(FRAME_HEADER_SIZE + VALUE_PART_HEADER_SIZE) <= PART_OVERHEAD);
        let part_count = value_len.div_ceil(to_u64(self.options.part_raw_len.max(1)));
        let overhead = part_count.saturating_mul(PART_OVERHEAD);
        let part_count = usize::try_from(part_count).unwrap_or(usize::MAX);
        self.size_bound(key_len, part_count)
            .saturating_add(value_len)
            .saturating_add(overhead)
    }

    /// Returns the same bound without the new record's value, whose parts add
    /// `part_count` frames.
    fn size_bound(&self, key_len: usize, part_count: usize) -> u64 {
        let record = key_len
            .saturating_add(ColumnsBuilder::RECORD_LEN_MAX)
            .saturating_add(ColumnsBuilder::HEADER_LEN_MAX);
        // The open block, and one more if the record starts another.
        const BLOCK_OVERHEAD: usize = (FRAME_HEADER_SIZE + BLOCK_HEADER_SIZE) * 2;
        let open = self.columns.raw_len().saturating_add(self.values.len());
        // Two blocks, a checkpoint, the key index and the statistics. Each is in the TOC,
        // and the next checkpoint also repeats all frames since the last one.
        let entries = self.toc.entries.len().saturating_add(5);
        let entries = entries.saturating_add(part_count);
        let unchecked = entries.saturating_sub(self.checkpoint_entry);
        let tables = entries
            .saturating_mul(TOC_ENTRY_SIZE)
            .saturating_add(unchecked.saturating_mul(CHECKPOINT_ENTRY_SIZE));
        const TABLES_OVERHEAD: usize =
            FRAME_HEADER_SIZE * 4 + CHECKPOINT_HEADER_SIZE + TOC_HEADER_SIZE + TAIL_SIZE;
        let memory = record
            .saturating_add(BLOCK_OVERHEAD)
            .saturating_add(open)
            .saturating_add(tables)
            .saturating_add(TABLES_OVERHEAD);
        let blocks = self.block_count.saturating_add(2);
        self.file_len
            .saturating_add(to_u64(memory))
            .saturating_add(self.index.payload_len_max(1, blocks))
            .saturating_add(stat_len_bound(self.record_count().saturating_add(1)))
    }

    /// Adds a record. A long value is stored in parts.
    ///
    /// # Errors
    ///
    /// - `LimitExceeded`: the key or value is too long. The segment is unchanged.
    /// - `InvalidInput`: the key is empty. The segment is unchanged.
    pub fn push(&mut self, record: &Record<'_>) -> Result<Pushed> {
        let value_len = to_u64(record.value.len());
        if value_len > VALUE_INLINE_LEN_MAX {
            return Ok(
                match self.begin_value(record.key, &record.meta, value_len)? {
                    Pushed::Stored => {
                        self.push_piece(record.value);
                        self.end_value();
                        Pushed::Stored
                    }
                    Pushed::Duplicate => Pushed::Duplicate,
                },
            );
        }
        check_record(record.key, value_len)?;
        if !self.columns.accepts(&record.meta) {
            self.flush_block();
        }
        if !self.index.insert(record.key, self.block_count) {
            return Ok(Pushed::Duplicate);
        }
        let hash = value_hash(record.value);
        // The limit checked above is far below 2^32.
        let value_len = u32::try_from(record.value.len()).unwrap_or(u32::MAX);
        self.columns.push(record.key, value_len, hash, &record.meta);
        self.values.extend_from_slice(record.value);
        self.count(record.key, value_len, hash, &record.meta);
        Ok(Pushed::Stored)
    }

    /// Starts a record whose value comes in pieces and is stored in parts as it comes.
    /// Push the pieces with [`SegmentEncoder::push_piece`], then add the record with
    /// [`SegmentEncoder::end_value`]. A value that was started earlier and not ended is
    /// abandoned.
    ///
    /// # Errors
    ///
    /// - `LimitExceeded`: the key or value is too long. The segment is unchanged.
    /// - `InvalidInput`: the key or value is empty. The segment is unchanged.
    pub fn begin_value(&mut self, key: &[u8], meta: &ItemMeta, value_len: u64) -> Result<Pushed> {
        self.abandon_value();
        check_record(key, value_len)?;
        if value_len == 0 {
            let allowed = "a value in parts has one byte at least";
            return Err(Error::invalid_input("value", "", allowed));
        }
        if self.index.contains(key) {
            return Ok(Pushed::Duplicate);
        }
        // The parts must come before the block of their record and after the previous block.
        if !self.columns.accepts(meta) {
            self.flush_block();
        }
        self.value = Some(OpenValue {
            key: key.to_vec(),
            meta: *meta,
            len: value_len,
            taken_len: 0,
            place: 0,
            part_count: 0,
            written_len: 0,
            hasher: ValueHasher::default(),
            rest: Vec::new(),
        });
        Ok(Pushed::Stored)
    }

    /// Takes the next bytes of the value in progress. Bytes beyond the announced length
    /// are dropped, and the value is then abandoned at its end.
    pub fn push_piece(&mut self, piece: &[u8]) {
        let Some(mut value) = self.value.take() else {
            return;
        };
        let left = value.len.saturating_sub(value.taken_len);
        value.taken_len = value.taken_len.saturating_add(to_u64(piece.len()));
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let mut piece = piece.get(..left).unwrap_or(piece);
        value.hasher.update(piece);
        let part_len = self.options.part_raw_len.max(1);
        while value.rest.len().saturating_add(piece.len()) >= part_len {
            if value.rest.is_empty() {
                let (part, after) = piece.split_at(part_len);
                piece = after;
                self.emit_part(&mut value, part);
            } else {
                let (head, after) = piece.split_at(part_len.saturating_sub(value.rest.len()));
                piece = after;
                value.rest.extend_from_slice(head);
                let mut part = std::mem::take(&mut value.rest);
                self.emit_part(&mut value, &part);
                part.clear();
                value.rest = part;
            }
        }
        value.rest.extend_from_slice(piece);
        self.value = Some(value);
    }

    /// Ends the value in progress, and adds its record if the pieces had the announced
    /// total length.
    pub fn end_value(&mut self) -> PushedPieces {
        let Some(mut value) = self.value.take() else {
            return PushedPieces::Abandoned;
        };
        if value.taken_len != value.len || self.index.contains(&value.key) {
            return PushedPieces::Abandoned;
        }
        if !value.rest.is_empty() {
            let part = std::mem::take(&mut value.rest);
            self.emit_part(&mut value, &part);
        }
        self.index.insert(&value.key, self.block_count);
        let hash = value.hasher.finish();
        let parted = PartedValue {
            place: value.place,
            // At most LARGE_VALUE_LEN_MAX, far below 2^32.
            len: u32::try_from(value.len).unwrap_or(u32::MAX),
            hash,
        };
        self.columns.push_parted(&value.key, &parted, &value.meta);
        self.parted_len = self.parted_len.saturating_add(value.len);
        self.count(&value.key, parted.len, hash, &value.meta);
        PushedPieces::Stored
    }

    /// Abandons the value in progress, if any. Readers ignore the parts that were
    /// written.
    pub fn abandon_value(&mut self) {
        self.value = None;
    }

    /// Returns whether there are frames besides the description.
    pub fn has_content(&self) -> bool {
        self.record_count() > 0 || self.toc.entries.len() > 1
    }

    fn count(&mut self, key: &[u8], value_len: u32, hash: u64, meta: &ItemMeta) {
        self.times.add(meta);
        self.statistics.add(&RecordFacts {
            key,
            value_len,
            meta,
        });
        self.toc.digests.add(key, meta, hash, &mut self.scratch);
        self.toc.record_count = self.toc.record_count.saturating_add(1);
        self.toc.key_bytes = self.toc.key_bytes.saturating_add(to_u64(key.len()));
        self.toc.value_bytes = self.toc.value_bytes.saturating_add(value_len.into());
        let raw_len = self.columns.raw_len().saturating_add(self.values.len());
        // Values in parts count too, so that their records are not lost together with data
        // written long after them.
        let raw_len = to_u64(raw_len).saturating_add(self.parted_len);
        let is_full = raw_len >= to_u64(self.options.block_raw_len)
            || u64::from(self.columns.record_count()) >= Limits::default().block_record_count_max;
        if is_full {
            self.flush_block();
        }
    }

    fn emit_part(&mut self, value: &mut OpenValue, raw: &[u8]) {
        self.payload.clear();
        // The header comes first but is known last.
        self.payload.resize(VALUE_PART_HEADER_SIZE, 0);
        let part = ValuePartHeader {
            value_len: value.len,
            value_offset: value.written_len,
            part_number: value.part_count,
            section: self.sections.write(raw, &mut self.payload),
        };
        let sequence = to_u64(self.toc.entries.len());
        let header = part.encode(&self.ids, sequence);
        if value.part_count == 0 {
            value.place = self.file_len;
        }
        value.part_count = value.part_count.saturating_add(1);
        value.written_len = value.written_len.saturating_add(to_u64(raw.len()));
        let frame = self.emit_payload(FrameType::ValuePart, &header);
        self.toc.entries.push(TocEntry::of_part(&frame, &part));
    }

    /// Returns the bytes to write next.
    pub fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// Drops the pending bytes, which have been written.
    pub fn clear_pending(&mut self) {
        self.pending.clear();
    }

    /// Ends the segment; returns its last bytes, a summary, and the memory for another
    /// segment.
    ///
    /// # Errors
    ///
    /// - `LimitExceeded`: as for [`KeyIndexBuilder::finish`].
    pub fn finish(mut self) -> Result<FinishedSegment> {
        self.abandon_value();
        self.flush_block();
        self.emit_key_index()?;
        let statistics = std::mem::replace(&mut self.statistics, StatCounter::new(None));
        let statistics = encode_stat(&statistics.finish());
        self.emit_frame(FrameType::Stat, &statistics);
        let toc_offset = self.file_len;
        let payload = self.toc.encode();
        self.emit_frame_bytes(FrameType::Toc, &payload);
        let toc = std::mem::take(&mut self.toc);
        let tail = Tail {
            ids: self.ids,
            toc_offset,
            toc_len: self.file_len.saturating_sub(toc_offset),
            file_len: self.file_len.saturating_add(to_u64(TAIL_SIZE)),
            minor: Tail::MINOR,
        };
        let tail = tail.encode();
        self.digest.update(&tail);
        self.emit(&tail);
        let summary = SegmentSummary {
            ids: self.ids,
            size: self.file_len,
            digest: self.digest.finish(),
            records: toc.record_count,
            blocks: self.block_count.into(),
            key_bytes: toc.key_bytes,
            value_bytes: toc.value_bytes,
            digests: toc.digests,
        };
        let blocks = toc
            .blocks()
            .map(|block| (block.offset, block.key_stored_len));
        Ok(FinishedSegment {
            rest: self.pending,
            summary,
            blocks: blocks.collect(),
            memory: self.index,
        })
    }

    fn flush_block(&mut self) {
        let record_count = self.columns.record_count();
        if record_count == 0 {
            return;
        }
        self.columns.finish(&mut self.raw);
        self.payload.clear();
        // The header comes first but is known last.
        self.payload.resize(BLOCK_HEADER_SIZE, 0);
        let keys = self.sections.write(&self.raw, &mut self.payload);
        let values = self.sections.write(&self.values, &mut self.payload);
        let block = BlockHeader {
            record_count,
            keys,
            values,
        };
        let sequence = to_u64(self.toc.entries.len());
        let header = block.encode(&self.ids, sequence);
        let frame = self.emit_payload(FrameType::Block, &header);
        self.toc
            .entries
            .push(TocEntry::of_block(&frame, &block, self.times));
        self.values.clear();
        self.parted_len = 0;
        self.times = TimeRanges::default();
        self.block_count = self.block_count.saturating_add(1);
        let since = self.toc.entries.len().saturating_sub(self.checkpoint_entry);
        if since >= Self::CHECKPOINT_BLOCKS {
            self.emit_checkpoint();
        }
    }

    /// Writes a frame with the payload in `self.payload`, which starts with `header`. The
    /// digest covers that header.
    fn emit_payload(&mut self, frame_type: FrameType, header: &[u8]) -> FrameHeader {
        for (slot, byte) in self.payload.iter_mut().zip(header) {
            *slot = *byte;
        }
        let sequence = to_u64(self.toc.entries.len());
        let payload = std::mem::take(&mut self.payload);
        let frame = FrameHeader::new(&self.ids, frame_type, sequence, self.file_len, &payload);
        let frame_bytes = frame.encode(&self.ids);
        self.digest.update(&frame_bytes);
        self.digest.update(header);
        self.emit(&frame_bytes);
        self.emit(&payload);
        self.payload = payload;
        frame
    }

    fn emit_checkpoint(&mut self) {
        let checkpoint = Checkpoint {
            ids: self.ids,
            previous_offset: self.checkpoint_offset,
            record_count: self.toc.record_count,
            entries: self
                .toc
                .entries
                .get(self.checkpoint_entry..)
                .unwrap_or_default()
                .to_vec(),
        };
        self.checkpoint_entry = self.toc.entries.len();
        self.checkpoint_offset = self.file_len;
        self.emit_frame(FrameType::Checkpoint, &checkpoint.encode());
    }

    fn emit_key_index(&mut self) -> Result<()> {
        let (header, payload) = self.index.finish(&self.ids, self.block_count)?;
        self.toc.key_index_offset = self.file_len;
        self.toc.key_index = header.shape;
        self.emit_frame(FrameType::KeyIndex, &payload);
        let (start, pages) = payload.split_at(KEY_INDEX_HEADER_SIZE.min(payload.len()));
        self.digest.update(start);
        for page in pages.chunks_exact(PAGE_SIZE) {
            self.digest.update(page.get(..4).unwrap_or_default());
        }
        Ok(())
    }

    /// Writes a frame that is not a block, a value part or the TOC, and adds it to the
    /// TOC.
    fn emit_frame(&mut self, frame_type: FrameType, payload: &[u8]) {
        let frame = self.emit_frame_bytes(frame_type, payload);
        self.toc.entries.push(TocEntry::of_frame(&frame));
    }

    fn emit_frame_bytes(&mut self, frame_type: FrameType, payload: &[u8]) -> FrameHeader {
        let sequence = to_u64(self.toc.entries.len());
        let frame = FrameHeader::new(&self.ids, frame_type, sequence, self.file_len, payload);
        let bytes = frame.encode(&self.ids);
        self.digest.update(&bytes);
        self.emit(&bytes);
        self.emit(payload);
        frame
    }

    fn emit(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        self.file_len = self.file_len.saturating_add(to_u64(bytes.len()));
    }
}

/// Refuses a key or value that no record can have.
fn check_record(key: &[u8], value_len: u64) -> Result<()> {
    check_limit("key length", to_u64(key.len()), to_u64(KEY_LEN_MAX))?;
    if key.is_empty() {
        return Err(Error::invalid_input("key", "", "a key has 1 to 250 bytes"));
    }
    check_limit("value length", value_len, LARGE_VALUE_LEN_MAX)
}
