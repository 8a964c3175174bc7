//! Reads a segment that is open: its frames by number, and its blocks.

use std::ops::{Deref, Range};
use std::sync::OnceLock;

use crate::codecs::format::block::{Block, BlockHeader};
use crate::codecs::format::bytes::check_bound;
use crate::codecs::format::column::Columns;
use crate::codecs::format::compression::SectionReader;
use crate::codecs::format::frame::{FrameHeader, FrameType};
use crate::codecs::format::ids::SegmentIds;
use crate::codecs::format::layout::{BLOCK_HEADER_SIZE, FILE_HEADER_SIZE, FRAME_HEADER_SIZE};
use crate::codecs::format::manifest::{Digest128, ManifestSegment, Need};
use crate::codecs::format::segment_meta::SegmentMeta;
use crate::codecs::format::stat::decode_stat;
use crate::codecs::format::stated_place::StatedPlace;
use crate::codecs::format::toc::{Toc, TocEntry};
use crate::codecs::format::version::judge;
use crate::codecs::statistics::SegmentStatistics;
use crate::engines::snapshot::keys_ahead::KeysAhead;
use crate::engines::snapshot::object_range::{read_range, read_range_by_call};
use crate::engines::snapshot::parts_reader::PartSource as _;
use crate::ports::store::{ObjectReader, RangeBytes};
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, Result};
use crate::words::limits::Limits;
use crate::words::location::Location;
use crate::words::units::to_u64;

/// Reads a segment; many threads may share it.
#[derive(Debug)]
pub struct SegmentReader {
    pub(super) object: Box<dyn ObjectReader>,
    pub(super) place: String,
    pub(super) ids: SegmentIds,
    /// Minor version of the writer.
    pub(super) minor: u16,
    pub(super) toc: Toc,
    pub(super) limits: Limits,
    /// Indexes of the blocks' entries, in order.
    pub(super) blocks: Vec<usize>,
    pub(super) tail_bytes: Vec<u8>,
    pub(super) toc_frame: FrameHeader,
    /// What the digest covers of each frame that was read; empty if reading is cheap.
    pub(super) covered: Vec<OnceLock<Box<[u8]>>>,
    /// Keys of blocks that are likely to be asked for next.
    pub(super) keys_ahead: KeysAhead,
}

/// The payload of a frame that was read with its header: taking that away would move all of
/// it.
#[derive(Debug, Default)]
pub struct FramePayload<'a> {
    bytes: RangeBytes<'a>,
    start: usize,
}

impl<'a> FramePayload<'a> {
    /// Takes a payload without its header.
    pub(super) fn bare(payload: &'a [u8]) -> Self {
        Self {
            bytes: RangeBytes::Mapped(payload),
            start: 0,
        }
    }
}

impl Deref for FramePayload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

/// A block's frame. Its header has been checked; its sections are still as stored.
#[derive(Debug)]
pub struct BlockFrame<'a> {
    /// The block's header.
    pub header: BlockHeader,
    payload: FramePayload<'a>,
    minor: u16,
}

impl BlockFrame<'_> {
    /// Decompresses and checks keys, metadata and values.
    ///
    /// # Errors
    ///
    /// - The defect, if a rule is broken.
    pub fn decode(&self, sections: &mut SectionReader) -> std::result::Result<Block, Defect> {
        Block::decode(&self.header, &self.payload, sections).map_err(|defect| self.judge(defect))
    }

    /// Decompresses and checks the values of a block whose keys are already decoded.
    ///
    /// # Errors
    ///
    /// - The defect, if a rule is broken.
    pub fn decode_with(
        &self,
        columns: Columns,
        sections: &mut SectionReader,
    ) -> std::result::Result<Block, Defect> {
        Block::with_keys(columns, &self.header, &self.payload, sections)
            .map_err(|defect| self.judge(defect))
    }

    fn judge(&self, defect: Defect) -> Defect {
        judge(defect, self.minor.into())
    }

    /// Checks the stored bytes of both sections, without decompressing.
    ///
    /// # Errors
    ///
    /// - `ChecksumMismatch`.
    pub fn check_stored(&self) -> std::result::Result<(), Defect> {
        let keys = self.header.key_section(&self.payload)?;
        self.header.keys.check_stored(keys, Structure::KeySection)?;
        let values = self.header.value_section(&self.payload)?;
        self.header
            .values
            .check_stored(values, Structure::ValueSection)
    }
}

impl SegmentReader {
    /// Returns the segment's manifest entry, made from its own description.
    pub(super) fn to_manifest(
        &self,
        object: String,
        size: u64,
        digest: String,
        meta: &SegmentMeta,
    ) -> ManifestSegment {
        let toc = self.toc();
        ManifestSegment {
            object,
            segment_id: meta.segment_id,
            size,
            digest,
            node_index: meta.node_index,
            shard_index: meta.shard_index,
            sequence: meta.sequence,
            records: toc.record_count,
            blocks: to_u64(self.block_count()),
            key_bytes: toc.key_bytes,
            value_bytes: toc.value_bytes,
            content_digest: Digest128(toc.digests.content),
            content_digest_exptime: Digest128(toc.digests.content_exptime),
        }
    }

    /// Makes the error of a defect; in a segment of a later minor version it may be no
    /// damage.
    pub(super) fn fault(&self, defect: Defect) -> Error {
        Error::corrupt(judge(defect, self.minor.into()))
    }

    /// Returns the name of the segment for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns the ids that the segment's parts repeat.
    pub fn ids(&self) -> &SegmentIds {
        &self.ids
    }

    /// Returns the table of contents.
    pub fn toc(&self) -> &Toc {
        &self.toc
    }

    /// Returns the number of blocks.
    pub fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// Reports whether each read asks a store, since the segment is not mapped.
    pub fn is_far(&self) -> bool {
        self.object.as_bytes().is_none()
    }

    /// Says that the segment is about to be read from front to back.
    pub fn expect_whole(&self) {
        self.object.expect_reads_from(0);
    }

    /// Says that it is not read on: what a store has read ahead is dropped.
    pub fn forget_ahead(&self) {
        self.object.forget_ahead();
    }

    /// Returns how many bytes of the segment are left from the start of this block on; 0 if
    /// there is no such block.
    pub fn len_from(&self, block: usize) -> u64 {
        let entry = self.block_entry(block);
        entry.map_or(0, |entry| self.object.size().saturating_sub(entry.offset))
    }

    /// Returns a block's entry in the table of contents.
    pub fn block_entry(&self, block: usize) -> Option<&TocEntry> {
        self.toc.entries.get(*self.blocks.get(block)?)
    }

    /// Returns the location of a block for messages.
    pub fn block_location(&self, block: usize) -> Location {
        Location::Object {
            object: self.place.clone(),
            block: Some(to_u64(block)),
            record: None,
            offset: self.block_entry(block).map(|entry| entry.offset),
        }
    }

    /// Returns the location of a record for messages.
    pub fn record_location(&self, block: usize, record: usize) -> Location {
        Location::Object {
            object: self.place.clone(),
            block: Some(to_u64(block)),
            record: Some(to_u64(record)),
            offset: self.block_entry(block).map(|entry| entry.offset),
        }
    }

    /// Reads a block's frame and checks its header.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Newer`, with the block's location; `Io`.
    pub fn read_block(&self, block: usize) -> Result<BlockFrame<'_>> {
        let corrupt = |defect| self.fault(defect).at(self.block_location(block));
        let Some(&number) = self.blocks.get(block) else {
            return Err(Error::invalid_input(
                "block",
                block.to_string(),
                "no such block",
            ));
        };
        let (frame, payload) = self.read_frame(number)?;
        self.block_frame(number, &frame, payload).map_err(corrupt)
    }

    /// Checks the header of a block whose frame has been read, and compares it with its
    /// entry.
    pub(super) fn block_frame<'a>(
        &self,
        number: usize,
        frame: &FrameHeader,
        payload: FramePayload<'a>,
    ) -> std::result::Result<BlockFrame<'a>, Defect> {
        let (len, sequence) = (frame.stored_len, frame.sequence);
        let header = BlockHeader::decode(&payload, len, &self.ids, sequence, &self.limits)?;
        self.check_block_entry(number, frame, &header)?;
        Ok(BlockFrame {
            header,
            payload,
            minor: self.minor,
        })
    }

    /// Reads only the keys and metadata of a block.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Newer`, with the block's location; `Io`.
    pub fn read_keys(&self, block: usize, sections: &mut SectionReader) -> Result<Columns> {
        self.read_header_and_keys(block, sections)
            .map(|(_, columns)| columns)
    }

    pub(super) fn read_header_and_keys(
        &self,
        block: usize,
        sections: &mut SectionReader,
    ) -> Result<(BlockHeader, Columns)> {
        let corrupt = |defect| self.fault(defect).at(self.block_location(block));
        let Some(&number) = self.blocks.get(block) else {
            return Err(Error::invalid_input(
                "block",
                block.to_string(),
                "no such block",
            ));
        };
        let Some(entry) = self.toc.entries.get(number) else {
            return Err(Error::invalid_input(
                "block",
                block.to_string(),
                "no such block",
            ));
        };
        check_bound(
            Structure::Toc,
            "key_stored_len",
            entry.key_stored_len.into(),
            self.limits.key_section_len_max,
        )
        .map_err(corrupt)?;
        let range_of = |block| self.block_entry(block).map(key_range);
        let bytes = (self.keys_ahead).read(&*self.object, block, key_range(entry), range_of)?;
        let mut decoded = || {
            let frame = FrameHeader::decode(&bytes, &self.ids, entry.offset)?;
            self.check_entry(number, &frame)?;
            let payload = bytes.get(FRAME_HEADER_SIZE..).unwrap_or_default();
            let stored_len = frame.stored_len;
            let header =
                BlockHeader::decode(payload, stored_len, &self.ids, frame.sequence, &self.limits)?;
            self.check_block_entry(number, &frame, &header)?;
            let columns = header.decode_keys(header.key_section(payload)?, sections)?;
            Ok((header, columns))
        };
        decoded().map_err(corrupt)
    }

    /// Reads and checks the segment's description of itself.
    ///
    /// # Errors
    ///
    /// - `Newer`: the job needs a feature that this build does not know.
    /// - `Corrupt`, `Io`.
    pub fn read_meta(&self, need: Need) -> Result<SegmentMeta> {
        self.read_described(need).map(|(meta, _)| meta)
    }

    /// Reads the description as [`SegmentReader::read_meta`] does, and what it says of the
    /// segment's place.
    ///
    /// # Errors
    ///
    /// - As [`SegmentReader::read_meta`].
    pub fn read_described(&self, need: Need) -> Result<(SegmentMeta, StatedPlace)> {
        let corrupt = |defect| {
            self.fault(defect)
                .at(Location::offset(&self.place, to_u64(FILE_HEADER_SIZE)))
        };
        let first = self.toc.entries.first().map(|entry| entry.frame_type);
        if first != Some(FrameType::Meta) {
            return Err(corrupt(Defect::IllegalValue {
                structure: Structure::Toc,
                field: "type of the first frame",
                stored: first.map_or(0, FrameType::to_raw).into(),
            }));
        }
        let (_, payload) = self.read_frame(0)?;
        let meta = SegmentMeta::decode(&payload, &self.ids, need, &self.limits);
        let place = StatedPlace::of_text(&payload);
        meta.map(|meta| (meta, place)).map_err(corrupt)
    }

    /// Reads the payload of the key index, for [`SegmentReader::decode_key_index`].
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Io`.
    pub fn read_key_index(&self) -> Result<FramePayload<'_>> {
        match self.key_index_entry() {
            Some(number) => self.read_frame(number).map(|(_, payload)| payload),
            None => Ok(FramePayload::default()),
        }
    }

    /// Reads the statistics of the records; `None` if the segment has none.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Io`.
    pub fn read_statistics(&self) -> Result<Option<SegmentStatistics>> {
        let Some(number) = self.stat_entry() else {
            return Ok(None);
        };
        let corrupt = |defect| self.fault(defect).at(self.frame_location(number, None));
        let entry = self.toc.entries.get(number);
        let stored_len = entry.map_or(0, |entry| entry.stored_len);
        let bound = self.limits.stat_len_max;
        check_bound(Structure::Stat, "length", stored_len, bound).map_err(corrupt)?;
        let (_, payload) = self.read_frame(number)?;
        let decoded = decode_stat(&payload, &self.limits);
        decoded.map(Some).map_err(corrupt)
    }

    /// Returns where the statistics are, for messages.
    pub fn statistics_location(&self) -> Location {
        match self.stat_entry() {
            Some(number) => self.frame_location(number, None),
            None => Location::object(&self.place),
        }
    }

    /// Reports whether the frame with this number holds the statistics.
    pub fn is_statistics(&self, number: usize) -> bool {
        self.stat_entry() == Some(number)
    }

    /// Returns the number of the STAT frame: the first one, if there are several.
    pub(super) fn stat_entry(&self) -> Option<usize> {
        let mut entries = self.toc.entries.iter();
        entries.position(|entry| entry.frame_type == FrameType::Stat)
    }

    pub(super) fn key_index_entry(&self) -> Option<usize> {
        if self.toc.key_index_offset == 0 {
            return None;
        }
        self.toc
            .entries
            .iter()
            .position(|entry| entry.offset == self.toc.key_index_offset)
    }

    /// Reads a frame by its number and checks header and payload checksum.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Io`.
    pub fn read_frame(&self, number: usize) -> Result<(FrameHeader, FramePayload<'_>)> {
        self.read_frame_of(number, None)
    }

    pub(super) fn read_frame_of(
        &self,
        number: usize,
        record: Option<(usize, usize)>,
    ) -> Result<(FrameHeader, FramePayload<'_>)> {
        let (frame, bytes) = self.read_frame_bytes(number, record)?;
        let start = FRAME_HEADER_SIZE;
        Ok((frame, FramePayload { bytes, start }))
    }

    /// Reads a frame as [`SegmentReader::read_frame`] does; returns its header once more,
    /// in front of the payload.
    pub(super) fn read_frame_bytes(
        &self,
        number: usize,
        record: Option<(usize, usize)>,
    ) -> Result<(FrameHeader, RangeBytes<'_>)> {
        let Some(entry) = self.toc.entries.get(number) else {
            return Err(Error::invalid_input(
                "frame",
                number.to_string(),
                "no such frame",
            ));
        };
        let corrupt = |defect| self.fault(defect).at(self.frame_location(number, record));
        // The length is limited by the file size, since decoding the TOC has checked its
        // offsets. A frame that is read whole is held whole, so the memory limits apply
        // as well.
        let bound = self
            .limits
            .value_section_len_max
            .saturating_add(self.limits.key_section_len_max)
            .max(self.toc.key_index.pages_len())
            .saturating_add(to_u64(FRAME_HEADER_SIZE + BLOCK_HEADER_SIZE));
        check_bound(Structure::Toc, "stored_len", entry.stored_len, bound).map_err(corrupt)?;
        let len = to_u64(FRAME_HEADER_SIZE).saturating_add(entry.stored_len);
        // When a value of a gibibyte is read through a map, each part that was touched
        // would stay in memory until the file is closed.
        let bytes = if entry.is_part() {
            RangeBytes::Own(read_range_by_call(&*self.object, entry.offset, len)?)
        } else {
            read_range(&*self.object, entry.offset, len)?
        };
        let frame = FrameHeader::decode(&bytes, &self.ids, entry.offset).map_err(corrupt)?;
        self.check_entry(number, &frame).map_err(corrupt)?;
        let payload = bytes.get(FRAME_HEADER_SIZE..).unwrap_or_default();
        frame.check_payload(&self.ids, payload).map_err(corrupt)?;
        self.note_covered(number, &bytes);
        Ok((frame, bytes))
    }
}

/// Returns where the headers of a block and its key section are.
fn key_range(entry: &TocEntry) -> Range<u64> {
    let head_len = to_u64(FRAME_HEADER_SIZE + BLOCK_HEADER_SIZE);
    let len = head_len.saturating_add(entry.key_stored_len.into());
    entry.offset..entry.offset.saturating_add(len)
}
