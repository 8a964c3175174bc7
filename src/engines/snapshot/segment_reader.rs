//! Reads a published segment: its tables, and its frames by position.

use std::borrow::Cow;
use std::ops::Range;

use crate::codecs::format::block::{Block, BlockHeader, StoredValue};
use crate::codecs::format::bytes::{check_bound, check_count, slice};
use crate::codecs::format::checkpoint::Checkpoint;
use crate::codecs::format::checksum::{SegmentDigest, value_hash};
use crate::codecs::format::column::Columns;
use crate::codecs::format::compression::{SectionDescriptor, SectionReader};
use crate::codecs::format::file_header::FileHeader;
use crate::codecs::format::frame::{FrameHeader, FrameType};
use crate::codecs::format::ids::{SegmentIds, SnapshotId};
use crate::codecs::format::key_index::{KeyIndex, KeyIndexPage};
use crate::codecs::format::layout::{
    BLOCK_HEADER_SIZE, FILE_HEADER_SIZE, FRAME_HEADER_SIZE, KEY_INDEX_HEADER_SIZE, PAGE_SIZE,
    TAIL_SIZE, TOC_ENTRY_SIZE, TOC_HEADER_SIZE, VALUE_PART_HEADER_SIZE,
};
use crate::codecs::format::manifest::{Digest128, ManifestSegment};
use crate::codecs::format::segment_meta::SegmentMeta;
use crate::codecs::format::tail::Tail;
use crate::codecs::format::toc::{Toc, TocEntry};
use crate::codecs::format::value_part::{PartedValue, ValuePartHeader};
use crate::engines::snapshot::parts_reader::{PartSource, PartsReader};
use crate::ports::store::{ObjectReader, Store};
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::item::ItemMeta;
use crate::words::limits::Limits;
use crate::words::location::Location;
use crate::words::pieces::Pieces as _;
use crate::words::units::to_u64;

/// Reads a segment; many threads may share it.
#[derive(Debug)]
pub struct SegmentReader {
    object: Box<dyn ObjectReader>,
    place: String,
    ids: SegmentIds,
    toc: Toc,
    limits: Limits,
    /// Indexes of the blocks' entries, in order.
    blocks: Vec<usize>,
    tail_bytes: Vec<u8>,
    toc_frame: FrameHeader,
}

/// A record found by a look-up, without its value.
#[derive(Debug)]
pub struct FoundRecord {
    /// Zero-based number of the block.
    pub block: usize,
    /// Zero-based number of the record in its block.
    pub record: usize,
    /// Everything but key and value.
    pub meta: ItemMeta,
    /// Length of the value.
    pub value_len: u32,
    /// XXH3-64 of the value.
    pub value_hash: u64,
    place: FoundPlace,
}

/// Where a found record's value is.
#[derive(Debug)]
enum FoundPlace {
    Inline {
        /// Its range in the raw value section.
        range: Range<usize>,
        values: SectionDescriptor,
        values_offset: u64,
    },
    Parts(PartedValue),
}

impl FoundRecord {
    /// Returns the value if it is stored in parts, for [`SegmentReader::open_parts`].
    pub fn parted_value(&self) -> Option<PartedValue> {
        match self.place {
            FoundPlace::Inline { .. } => None,
            FoundPlace::Parts(value) => Some(value),
        }
    }
}

/// How to open a segment that the manifest names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Read and compare the tail, the table of contents and the file header.
    Checked,
    /// Read only the tail and the table of contents, which have all that a look-up needs.
    /// That is a single read if the store does not map files.
    Lookup,
}

/// A block's frame. Its header has been checked; its sections are still as stored.
#[derive(Debug)]
pub struct BlockFrame<'a> {
    /// The block's header.
    pub header: BlockHeader,
    payload: Cow<'a, [u8]>,
}

impl BlockFrame<'_> {
    /// Decompresses and checks keys, metadata and values.
    ///
    /// # Errors
    ///
    /// - The defect, if a rule is broken.
    pub fn decode(&self, sections: &mut SectionReader) -> std::result::Result<Block, Defect> {
        Block::decode(&self.header, &self.payload, sections)
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
    /// Opens a segment and checks tail, file header and TOC.
    pub(super) fn open(
        store: &dyn Store,
        path: &str,
        segment: &ManifestSegment,
        snapshot: SnapshotId,
        opening: Opening,
        limits: &Limits,
    ) -> Result<Self> {
        let place = store.describe(path);
        let at_place = |defect| Error::corrupt(defect).at(Location::object(place.clone()));
        let object = store.open(path).map_err(|error| {
            if matches!(error.kind(), ErrorKind::NotFound { .. }) {
                return at_place(Defect::SegmentMissing);
            }
            error
        })?;
        if object.size() != segment.size {
            let (stored, computed) = (segment.size, object.size());
            return Err(at_place(Defect::SegmentSize { stored, computed }));
        }
        let tables_len = tables_len_guess(segment.blocks);
        let reader = match opening {
            Opening::Checked => Self::open_checked(object, place.clone(), tables_len, limits)?,
            Opening::Lookup => Self::open_tables(object, place.clone(), tables_len, None, limits)?,
        };
        // The manifest has only the ids of segment and snapshot.
        let named = SegmentIds {
            segment: segment.segment_id,
            snapshot,
            sync: reader.ids.sync,
        };
        named
            .check(&reader.ids, Structure::FileHeader)
            .map_err(at_place)?;
        Ok(reader)
    }

    /// Opens a segment on its own, whatever snapshot it belongs to.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Unsupported`, `Io`.
    pub fn open_object(
        object: Box<dyn ObjectReader>,
        place: String,
        limits: &Limits,
    ) -> Result<Self> {
        Self::open_checked(object, place, to_u64(TAIL_SIZE), limits)
    }

    /// Reads the file header first, and the tables afterwards: in another major version
    /// the tables may have another layout, and would look damaged.
    fn open_checked(
        object: Box<dyn ObjectReader>,
        place: String,
        tables_len: u64,
        limits: &Limits,
    ) -> Result<Self> {
        check_size(&*object, &place)?;
        let bytes = read(&*object, 0, to_u64(FILE_HEADER_SIZE))?;
        let header =
            FileHeader::decode(&bytes).map_err(|error| error.at(Location::offset(&place, 0)))?;
        drop(bytes);
        Self::open_tables(object, place, tables_len, Some(&header), limits)
    }

    /// Reads the tail and the table of contents, in a single read if the guess of their
    /// length is right. The ids are compared with those of the file header (H4), if there
    /// is one, before any checksum seeded by them is trusted.
    fn open_tables(
        object: Box<dyn ObjectReader>,
        place: String,
        tables_len: u64,
        header: Option<&FileHeader>,
        limits: &Limits,
    ) -> Result<Self> {
        let at = |offset: u64| {
            let place = place.clone();
            move |defect: Defect| Error::corrupt(defect).at(Location::offset(place, offset))
        };
        check_size(&*object, &place)?;
        let size = object.size();
        let tail_offset = size.saturating_sub(to_u64(TAIL_SIZE));
        let end_len = tables_len.clamp(to_u64(TAIL_SIZE), size);
        let end_offset = size.saturating_sub(end_len);
        let end = read(&*object, end_offset, end_len)?;
        let within_end = |offset: u64, len: u64| {
            let start = offset.checked_sub(end_offset)?;
            slice(&end, start, len, Structure::Segment).ok()
        };
        let tail_bytes = within_end(tail_offset, to_u64(TAIL_SIZE))
            .unwrap_or_default()
            .to_vec();
        let tail = Tail::decode(&tail_bytes, size).map_err(at(tail_offset))?;
        if let Some(header) = header {
            let checked = header.ids.check(&tail.ids, Structure::Tail);
            checked.map_err(at(tail_offset))?;
        }
        let toc_len_max = limits
            .toc_entry_count_max
            .saturating_mul(to_u64(TOC_ENTRY_SIZE) * 2);
        check_bound(Structure::Tail, "toc_len", tail.toc_len, toc_len_max)
            .map_err(at(tail_offset))?;
        let toc_bytes = match within_end(tail.toc_offset, tail.toc_len) {
            Some(bytes) => Cow::Borrowed(bytes),
            None => read(&*object, tail.toc_offset, tail.toc_len)?,
        };
        let (toc_frame, toc) =
            decode_toc(&toc_bytes, &tail.ids, &tail, limits).map_err(at(tail.toc_offset))?;
        drop(toc_bytes);
        drop(end);
        let entries = toc.entries.iter().enumerate();
        let blocks = entries
            .filter(|(_, entry)| entry.is_block())
            .map(|(index, _)| index)
            .collect();
        Ok(Self {
            object,
            place,
            ids: tail.ids,
            toc,
            limits: *limits,
            blocks,
            tail_bytes,
            toc_frame,
        })
    }

    /// Reads the file header and compares it with the tail; returns its bytes.
    fn check_file_header(&self) -> Result<Cow<'_, [u8]>> {
        let bytes = read(&*self.object, 0, to_u64(FILE_HEADER_SIZE))?;
        let header = FileHeader::decode(&bytes)
            .map_err(|error| error.at(Location::offset(&self.place, 0)))?;
        let tail_offset = self.object.size().saturating_sub(to_u64(TAIL_SIZE));
        header
            .ids
            .check(&self.ids, Structure::Tail)
            .map_err(|defect| {
                Error::corrupt(defect).at(Location::offset(&self.place, tail_offset))
            })?;
        Ok(bytes)
    }

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
    /// - `Corrupt`, with the block's location; `Io`.
    pub fn read_block(&self, block: usize) -> Result<BlockFrame<'_>> {
        let corrupt = |defect| Error::corrupt(defect).at(self.block_location(block));
        let Some(&number) = self.blocks.get(block) else {
            return Err(Error::invalid_input(
                "block",
                block.to_string(),
                "no such block",
            ));
        };
        let (frame, payload) = self.read_frame(number)?;
        let header = BlockHeader::decode(
            &payload,
            frame.stored_len,
            &self.ids,
            frame.sequence,
            &self.limits,
        )
        .map_err(corrupt)?;
        self.check_block_entry(number, &frame, &header)
            .map_err(corrupt)?;
        Ok(BlockFrame { header, payload })
    }

    /// Reads only the keys and metadata of a block.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, with the block's location; `Io`.
    pub fn read_keys(&self, block: usize, sections: &mut SectionReader) -> Result<Columns> {
        self.read_header_and_keys(block, sections)
            .map(|(_, columns)| columns)
    }

    fn read_header_and_keys(
        &self,
        block: usize,
        sections: &mut SectionReader,
    ) -> Result<(BlockHeader, Columns)> {
        let corrupt = |defect| Error::corrupt(defect).at(self.block_location(block));
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
        let head_len = to_u64(FRAME_HEADER_SIZE + BLOCK_HEADER_SIZE);
        check_bound(
            Structure::Toc,
            "key_stored_len",
            entry.key_stored_len.into(),
            self.limits.key_section_len_max,
        )
        .map_err(corrupt)?;
        let len = head_len.saturating_add(entry.key_stored_len.into());
        let bytes = read(&*self.object, entry.offset, len)?;
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

    /// Looks a key up. This reads one page of the key index, and the key section of each
    /// block that the key's fingerprint matches.
    ///
    /// # Errors
    ///
    /// - `Corrupt`: what had to be read is damaged, so it is unknown whether the key is
    ///   there; `Io`.
    pub fn find(&self, key: &[u8], sections: &mut SectionReader) -> Result<Option<FoundRecord>> {
        for number in self.candidate_blocks(key)? {
            let block = usize::try_from(number).unwrap_or(usize::MAX);
            let (header, columns) = self.read_header_and_keys(block, sections)?;
            let Some(record) = columns.position(key) else {
                continue;
            };
            let (Some(found), Some(value_range), Some(entry)) = (
                columns.get(record),
                columns.value_range(record),
                self.block_entry(block),
            ) else {
                continue;
            };
            let values_offset = entry
                .offset
                .saturating_add(to_u64(FRAME_HEADER_SIZE + BLOCK_HEADER_SIZE))
                .saturating_add(header.keys.stored_len.into());
            let place = match columns.parted_value(record) {
                Some(value) => FoundPlace::Parts(value),
                None => FoundPlace::Inline {
                    range: value_range,
                    values: header.values,
                    values_offset,
                },
            };
            return Ok(Some(FoundRecord {
                block,
                record,
                meta: found.meta,
                value_len: found.value_len,
                value_hash: found.value_hash,
                place,
            }));
        }
        Ok(None)
    }

    /// Reads the value of a record that [`SegmentReader::find`] found in this segment.
    /// This reads only the value section of its block, or its parts.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, with the record's location; `Io`.
    ///
    /// # Memory
    ///
    /// The value. A value in parts has up to 1 GiB; [`SegmentReader::open_parts`] avoids
    /// holding it.
    pub fn read_value(&self, found: &FoundRecord, sections: &mut SectionReader) -> Result<Vec<u8>> {
        let place = || self.record_location(found.block, found.record);
        let corrupt = |defect| Error::corrupt(defect).at(place());
        let (range, values, offset) = match &found.place {
            FoundPlace::Inline {
                range,
                values,
                values_offset,
            } => (range.clone(), values, *values_offset),
            FoundPlace::Parts(parted) => {
                let value = StoredValue::Parts(*parted);
                let whole = self.whole_value(found.block, found.record, value)?;
                return Ok(whole.into_owned());
            }
        };
        // The length was checked against the limits when the block's header was decoded.
        let stored = read(&*self.object, offset, values.stored_len.into())?;
        let mut raw = Vec::new();
        sections
            .read(values, &stored, Structure::ValueSection, &mut raw)
            .map_err(corrupt)?;
        let value = raw.get(range).unwrap_or_default();
        let (stored, computed) = (found.value_hash, value_hash(value));
        if stored != computed {
            return Err(corrupt(Defect::ValueHashMismatch { stored, computed }));
        }
        Ok(value.to_vec())
    }

    /// Returns the whole value of a record, given by the numbers of its block and of
    /// itself, whether it is in the block or in parts.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, with the record's location; `Io`.
    ///
    /// # Memory
    ///
    /// A value in parts, up to 1 GiB.
    pub fn whole_value<'v>(
        &self,
        block: usize,
        record: usize,
        value: StoredValue<'v>,
    ) -> Result<Cow<'v, [u8]>> {
        let value = match value {
            StoredValue::Inline(value) => return Ok(Cow::Borrowed(value)),
            StoredValue::Parts(value) => value,
        };
        let mut whole = Vec::new();
        let mut parts = self.open_parts(block, record, value);
        while let Some(piece) = parts.next_piece()? {
            whole.extend_from_slice(piece);
        }
        Ok(Cow::Owned(whole))
    }

    /// Starts reading the value of a record that is stored in parts.
    pub fn open_parts(&self, block: usize, record: usize, value: PartedValue) -> PartsReader<'_> {
        PartsReader::new(self, block, record, value)
    }

    /// Reports whether the frame with this number is part of a value.
    pub fn is_part(&self, number: usize) -> bool {
        self.toc.entries.get(number).is_some_and(TocEntry::is_part)
    }

    /// Reads a part of a value, whatever record it belongs to, and decompresses it into
    /// `raw`, which is overwritten.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, with the location of the part; `Io`.
    pub fn read_part(
        &self,
        number: usize,
        sections: &mut SectionReader,
        raw: &mut Vec<u8>,
    ) -> Result<ValuePartHeader> {
        self.read_part_of(number, None, sections, raw)
    }

    fn decode_part(
        &self,
        number: usize,
        frame: &FrameHeader,
        payload: &[u8],
    ) -> std::result::Result<ValuePartHeader, Defect> {
        let (len, sequence) = (frame.stored_len, frame.sequence);
        let header = ValuePartHeader::decode(payload, len, &self.ids, sequence, &self.limits)?;
        self.check_part_entry(number, frame, &header)?;
        Ok(header)
    }

    /// Reads and checks the segment's description of itself.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Io`.
    pub fn read_meta(&self) -> Result<SegmentMeta> {
        let corrupt = |defect| {
            Error::corrupt(defect).at(Location::offset(&self.place, to_u64(FILE_HEADER_SIZE)))
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
        SegmentMeta::decode(&payload, &self.ids, &self.limits).map_err(corrupt)
    }

    /// Reads the payload of the key index, for [`SegmentReader::decode_key_index`].
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Io`.
    pub fn read_key_index(&self) -> Result<Cow<'_, [u8]>> {
        match self.key_index_entry() {
            Some(number) => self.read_frame(number).map(|(_, payload)| payload),
            None => Ok(Cow::Borrowed(&[])),
        }
    }

    /// Checks the whole key index (X1 to X4).
    ///
    /// # Errors
    ///
    /// - `Corrupt`, with the location of the page.
    pub fn decode_key_index<'p>(&self, payload: &'p [u8]) -> Result<KeyIndex<'p>> {
        let start = self
            .toc
            .key_index_offset
            .saturating_add(to_u64(FRAME_HEADER_SIZE));
        let at = |(offset, defect): (u64, Defect)| {
            let location = Location::offset(&self.place, start.saturating_add(offset));
            Error::corrupt(defect).at(location)
        };
        let index = KeyIndex::decode(payload, &self.ids, to_u64(self.blocks.len())).map_err(at)?;
        if index.shape() != self.toc.key_index {
            return Err(at((
                0,
                Defect::CountMismatch {
                    structure: Structure::KeyIndex,
                    field: "shape in the TOC",
                    stored: self.toc.key_index.page_count.into(),
                    computed: index.shape().page_count.into(),
                },
            )));
        }
        let (entries, records) = (to_u64(index.len()), self.toc.record_count);
        check_count(Structure::KeyIndex, "entry_count", entries, records)
            .map_err(|defect| at((0, defect)))?;
        Ok(index)
    }

    /// Returns the blocks that may contain a key, according to one page of the key index.
    ///
    /// # Errors
    ///
    /// - `Corrupt`: the page is damaged; `Io`.
    pub fn candidate_blocks(&self, key: &[u8]) -> Result<Vec<u32>> {
        if self.key_index_entry().is_none() {
            // Without a key index, any block may contain it.
            return Ok((0..self.blocks.len())
                .filter_map(|block| u32::try_from(block).ok())
                .collect());
        }
        if self.toc.key_index.page_count == 0 {
            return Ok(Vec::new());
        }
        let (page_number, fingerprint) = self.toc.key_index.place(key);
        let offset = self
            .toc
            .key_index_offset
            .saturating_add(to_u64(FRAME_HEADER_SIZE + KEY_INDEX_HEADER_SIZE))
            .saturating_add(u64::from(page_number).saturating_mul(to_u64(PAGE_SIZE)));
        let page = read(&*self.object, offset, to_u64(PAGE_SIZE))?;
        let page = self
            .decode_page(&page, page_number)
            .map_err(|defect| Error::corrupt(defect).at(Location::offset(&self.place, offset)))?;
        Ok(page.candidates(fingerprint).collect())
    }

    fn decode_page<'a>(
        &self,
        page: &'a [u8],
        number: u32,
    ) -> std::result::Result<KeyIndexPage<'a>, Defect> {
        let block_count = to_u64(self.blocks.len());
        KeyIndexPage::decode(page, number, &self.toc.key_index, &self.ids, block_count)
    }

    fn key_index_entry(&self) -> Option<usize> {
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
    pub fn read_frame(&self, number: usize) -> Result<(FrameHeader, Cow<'_, [u8]>)> {
        self.read_frame_of(number, None)
    }

    fn read_frame_of(
        &self,
        number: usize,
        record: Option<(usize, usize)>,
    ) -> Result<(FrameHeader, Cow<'_, [u8]>)> {
        let Some(entry) = self.toc.entries.get(number) else {
            return Err(Error::invalid_input(
                "frame",
                number.to_string(),
                "no such frame",
            ));
        };
        let corrupt = |defect| Error::corrupt(defect).at(self.frame_location(number, record));
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
            Cow::Owned(read_by_call(&*self.object, entry.offset, len)?)
        } else {
            read(&*self.object, entry.offset, len)?
        };
        let frame = FrameHeader::decode(&bytes, &self.ids, entry.offset).map_err(corrupt)?;
        self.check_entry(number, &frame).map_err(corrupt)?;
        let payload = match bytes {
            Cow::Borrowed(bytes) => {
                Cow::Borrowed(bytes.get(FRAME_HEADER_SIZE..).unwrap_or_default())
            }
            Cow::Owned(mut bytes) => {
                bytes.drain(..FRAME_HEADER_SIZE.min(bytes.len()));
                Cow::Owned(bytes)
            }
        };
        frame.check_payload(&self.ids, &payload).map_err(corrupt)?;
        Ok((frame, payload))
    }

    /// Reads and checks a frame that is neither a block nor the key index. For a part of
    /// a value, the stored bytes are checked.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Io`.
    pub fn read_other_frame(&self, number: usize) -> Result<()> {
        let (frame, payload) = self.read_frame(number)?;
        if frame.frame_type == FrameType::ValuePart {
            return self
                .decode_part(number, &frame, &payload)
                .and_then(|header| header.check_stored(&payload))
                .map_err(|defect| Error::corrupt(defect).at(self.frame_location(number, None)));
        }
        if frame.frame_type == FrameType::Checkpoint {
            Checkpoint::decode(&payload, &self.ids, frame.offset)
                .and_then(|checkpoint| self.check_checkpoint(number, &checkpoint))
                .map_err(|defect| {
                    Error::corrupt(defect).at(Location::offset(&self.place, frame.offset))
                })?;
        }
        Ok(())
    }

    /// Compares a checkpoint with the table of contents (C4). Salvage of a truncated file
    /// depends on checkpoints.
    fn check_checkpoint(
        &self,
        number: usize,
        stored: &Checkpoint,
    ) -> std::result::Result<(), Defect> {
        let before = self.toc.entries.get(..number).unwrap_or_default();
        let previous = before
            .iter()
            .rposition(|entry| entry.frame_type == FrameType::Checkpoint);
        let offset = previous
            .and_then(|previous| before.get(previous))
            .map_or(0, |entry| entry.offset);
        let records = before.iter().fold(0, |sum: u64, entry| {
            sum.saturating_add(entry.record_count.into())
        });
        let since = before.get(previous.unwrap_or(0)..).unwrap_or_default();
        let pairs = [
            ("previous_offset", stored.previous_offset, offset),
            ("meta_offset", stored.meta_offset, to_u64(FILE_HEADER_SIZE)),
            ("record_count", stored.record_count, records),
            (
                "entry_count",
                to_u64(stored.entries.len()),
                to_u64(since.len()),
            ),
        ];
        for (field, stored, computed) in pairs {
            check_count(Structure::Checkpoint, field, stored, computed)?;
        }
        match stored
            .entries
            .iter()
            .zip(since)
            .find(|(stored, entry)| stored != entry)
        {
            Some((stored, entry)) => Err(Defect::CountMismatch {
                structure: Structure::Checkpoint,
                field: "entry of the frame at",
                stored: stored.offset,
                computed: entry.offset,
            }),
            None => Ok(()),
        }
    }

    /// Computes the segment digest from the headers alone.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Io`.
    pub fn compute_digest(&self) -> Result<String> {
        let mut digest = SegmentDigest::new();
        digest.update(&self.check_file_header()?);
        for (number, entry) in self.toc.entries.iter().enumerate() {
            let header_len = match entry.frame_type {
                FrameType::Block => BLOCK_HEADER_SIZE,
                FrameType::ValuePart => VALUE_PART_HEADER_SIZE,
                FrameType::KeyIndex => KEY_INDEX_HEADER_SIZE,
                FrameType::Meta
                | FrameType::Checkpoint
                | FrameType::Stat
                | FrameType::Toc
                | FrameType::Other(_) => 0,
            };
            // Uses the frame's own length: a wrong count would be trusted again for every
            // such frame.
            let header_len = to_u64(header_len).min(entry.stored_len);
            let len = to_u64(FRAME_HEADER_SIZE).saturating_add(header_len);
            let bytes = read(&*self.object, entry.offset, len)?;
            let checked = FrameHeader::decode(&bytes, &self.ids, entry.offset)
                .and_then(|frame| self.check_entry(number, &frame));
            checked.map_err(|defect| {
                Error::corrupt(defect).at(Location::offset(&self.place, entry.offset))
            })?;
            digest.update(&bytes);
            if entry.frame_type == FrameType::KeyIndex {
                let pages_len = entry
                    .stored_len
                    .saturating_sub(to_u64(KEY_INDEX_HEADER_SIZE));
                for page in 0..pages_len / to_u64(PAGE_SIZE) {
                    let offset = page
                        .saturating_mul(to_u64(PAGE_SIZE))
                        .saturating_add(entry.offset)
                        .saturating_add(len);
                    digest.update(&read(&*self.object, offset, 4)?);
                }
            }
        }
        digest.update(&self.toc_frame.encode(&self.ids));
        digest.update(&self.tail_bytes);
        Ok(digest.finish())
    }

    /// Compares a frame with its entry (T5, F3).
    fn check_entry(&self, number: usize, frame: &FrameHeader) -> std::result::Result<(), Defect> {
        let structure = Structure::FrameHeader;
        let Some(entry) = self.toc.entries.get(number) else {
            return Ok(());
        };
        if frame.sequence != to_u64(number) {
            let (stored, computed) = (frame.sequence, to_u64(number));
            return Err(Defect::WrongPlace {
                structure,
                field: "sequence",
                stored,
                computed,
            });
        }
        let types = (
            entry.frame_type.to_raw().into(),
            frame.frame_type.to_raw().into(),
        );
        check_count(Structure::Toc, "frame type", types.0, types.1)?;
        check_count(
            Structure::Toc,
            "frame flags",
            entry.flags.into(),
            frame.flags.to_raw().into(),
        )?;
        check_count(
            Structure::Toc,
            "stored_len",
            entry.stored_len,
            frame.stored_len,
        )
    }

    /// Compares a part of a value with its entry (T5).
    fn check_part_entry(
        &self,
        number: usize,
        frame: &FrameHeader,
        part: &ValuePartHeader,
    ) -> std::result::Result<(), Defect> {
        let Some(entry) = self.toc.entries.get(number) else {
            return Ok(());
        };
        let found = TocEntry::of_part(frame, part);
        let pairs = [
            (
                "value_stored_len",
                entry.value_stored_len,
                found.value_stored_len,
            ),
            ("value_raw_len", entry.value_raw_len, found.value_raw_len),
        ];
        for (field, stored, computed) in pairs {
            check_count(Structure::Toc, field, stored.into(), computed.into())?;
        }
        Ok(())
    }

    /// Compares a block with its entry (T5).
    fn check_block_entry(
        &self,
        number: usize,
        frame: &FrameHeader,
        block: &BlockHeader,
    ) -> std::result::Result<(), Defect> {
        let Some(entry) = self.toc.entries.get(number) else {
            return Ok(());
        };
        let found = TocEntry {
            temperature: entry.temperature,
            ..TocEntry::of_block(frame, block)
        };
        if *entry != found {
            return Err(Defect::CountMismatch {
                structure: Structure::Toc,
                field: "record_count, a section length or a time of a block",
                stored: entry.record_count.into(),
                computed: block.record_count.into(),
            });
        }
        Ok(())
    }
}

impl PartSource for SegmentReader {
    fn part_frames(&self, block: usize) -> Range<usize> {
        let before = block
            .checked_sub(1)
            .and_then(|block| self.blocks.get(block));
        let first = before.map_or(0, |number| number.saturating_add(1));
        first..self.blocks.get(block).copied().unwrap_or(first)
    }

    fn first_part(&self, block: usize, value: &PartedValue) -> std::result::Result<usize, Defect> {
        let frames = self.part_frames(block);
        let entries = self.toc.entries.get(frames.clone()).unwrap_or_default();
        // The entries are in file order, which decoding has checked.
        let found = entries.binary_search_by_key(&value.place, |entry| entry.offset);
        let number = found.ok().map(|at| frames.start.saturating_add(at));
        number
            .filter(|&number| self.is_part(number))
            .ok_or(Defect::IllegalValue {
                structure: Structure::KeySection,
                field: "VALUE_PLACE",
                stored: value.place,
            })
    }

    fn is_part(&self, number: usize) -> bool {
        self.is_part(number)
    }

    fn read_part_of(
        &self,
        number: usize,
        record: Option<(usize, usize)>,
        sections: &mut SectionReader,
        raw: &mut Vec<u8>,
    ) -> Result<ValuePartHeader> {
        let (frame, payload) = self.read_frame_of(number, record)?;
        self.decode_part(number, &frame, &payload)
            .and_then(|header| {
                header.read(&payload, sections, raw)?;
                Ok(header)
            })
            .map_err(|defect| Error::corrupt(defect).at(self.frame_location(number, record)))
    }

    fn record_location(&self, block: usize, record: usize) -> Location {
        self.record_location(block, record)
    }

    fn frame_location(&self, number: usize, record: Option<(usize, usize)>) -> Location {
        Location::Object {
            object: self.place.clone(),
            block: record.map(|(block, _)| to_u64(block)),
            record: record.map(|(_, record)| to_u64(record)),
            offset: self.toc.entries.get(number).map(|entry| entry.offset),
        }
    }
}

/// Refuses an object that has no room for file header and tail (A1).
fn check_size(object: &dyn ObjectReader, place: &str) -> Result<()> {
    let (needed, found) = (to_u64(FILE_HEADER_SIZE + TAIL_SIZE), object.size());
    if found >= needed {
        return Ok(());
    }
    let structure = Structure::Segment;
    let defect = Defect::Truncated {
        structure,
        needed,
        found,
    };
    Err(Error::corrupt(defect).at(Location::offset(place, 0)))
}

fn decode_toc(
    bytes: &[u8],
    ids: &SegmentIds,
    tail: &Tail,
    limits: &Limits,
) -> std::result::Result<(FrameHeader, Toc), Defect> {
    let frame = FrameHeader::decode(bytes, ids, tail.toc_offset)?;
    if frame.frame_type != FrameType::Toc {
        return Err(Defect::IllegalValue {
            structure: Structure::Toc,
            field: "frame type",
            stored: frame.frame_type.to_raw().into(),
        });
    }
    let payload = slice(
        bytes,
        to_u64(FRAME_HEADER_SIZE),
        frame.stored_len,
        Structure::Toc,
    )?;
    check_count(
        Structure::Tail,
        "toc_len",
        tail.toc_len,
        to_u64(FRAME_HEADER_SIZE).saturating_add(frame.stored_len),
    )?;
    frame.check_payload(ids, payload)?;
    let toc = Toc::decode(payload, tail.toc_offset, limits)?;
    if frame.sequence != to_u64(toc.entries.len()) {
        return Err(Defect::WrongPlace {
            structure: Structure::Toc,
            field: "sequence",
            stored: frame.sequence,
            computed: to_u64(toc.entries.len()),
        });
    }
    Ok((frame, toc))
}

/// Returns the length of the table of contents and the tail of a segment with this many
/// blocks, or slightly more.
fn tables_len_guess(block_count: u64) -> u64 {
    // Besides the blocks there are the description, the key index, and the checkpoints,
    // of which there is fewer than one for 32 blocks.
    let entries = block_count
        .saturating_add(block_count / 32)
        .saturating_add(4);
    entries
        .saturating_mul(to_u64(TOC_ENTRY_SIZE))
        .saturating_add(to_u64(FRAME_HEADER_SIZE + TOC_HEADER_SIZE + TAIL_SIZE))
}

/// Returns a range of an object, borrowed if it is mapped. The caller has limited the
/// length.
fn read(object: &dyn ObjectReader, offset: u64, len: u64) -> Result<Cow<'_, [u8]>> {
    if let Some(bytes) = object.as_bytes() {
        let bytes = slice(bytes, offset, len, Structure::Segment).map_err(Error::corrupt)?;
        return Ok(Cow::Borrowed(bytes));
    }
    read_by_call(object, offset, len).map(Cow::Owned)
}

/// Returns a copy of a range of an object.
fn read_by_call(object: &dyn ObjectReader, offset: u64, len: u64) -> Result<Vec<u8>> {
    // A length beyond the object is refused before memory is allocated for it.
    let end = offset.saturating_add(len);
    if end > object.size() {
        let (needed, found) = (end, object.size());
        let defect = Defect::Truncated {
            structure: Structure::Segment,
            needed,
            found,
        };
        return Err(Error::corrupt(defect));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    object.read_at(offset, &mut bytes)?;
    Ok(bytes)
}
