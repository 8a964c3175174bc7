//! A published segment: its tables, and its frames by their place.

use std::borrow::Cow;

use crate::defect::{Defect, Structure};
use crate::error::{Error, ErrorKind, Location, Result};
use crate::format::block::{Block, BlockHeader};
use crate::format::bytes::{check_bound, check_count, slice};
use crate::format::checkpoint::Checkpoint;
use crate::format::checksum::SegmentDigest;
use crate::format::column::Columns;
use crate::format::compression::SectionReader;
use crate::format::file_header::FileHeader;
use crate::format::frame::{FrameHeader, FrameType};
use crate::format::ids::{SegmentIds, SnapshotId};
use crate::format::key_index::{KeyIndex, KeyIndexPage};
use crate::format::layout::{
    BLOCK_HEADER_SIZE, FILE_HEADER_SIZE, FRAME_HEADER_SIZE, KEY_INDEX_HEADER_SIZE, PAGE_SIZE,
    TAIL_SIZE, TOC_ENTRY_SIZE,
};
use crate::format::manifest::ManifestSegment;
use crate::format::segment_meta::SegmentMeta;
use crate::format::tail::Tail;
use crate::format::toc::{Toc, TocEntry};
use crate::limits::Limits;
use crate::store::{ObjectReader, Store};
use crate::units::to_u64;

/// Reads a segment; many threads may share it.
#[derive(Debug)]
pub struct SegmentReader {
    object: Box<dyn ObjectReader>,
    place: String,
    ids: SegmentIds,
    toc: Toc,
    limits: Limits,
    /// Entry numbers of the blocks, in order.
    blocks: Vec<usize>,
    header_bytes: Vec<u8>,
    tail_bytes: Vec<u8>,
    toc_frame: FrameHeader,
}

/// A block's frame, its header checked, its sections still as stored.
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
    /// - The defect of the broken rule.
    pub fn decode(&self, sections: &mut SectionReader) -> std::result::Result<Block, Defect> {
        Block::decode(&self.header, &self.payload, sections)
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
        let reader = Self::open_object(object, place.clone(), limits)?;
        // Only the ids of segment and snapshot stand in the manifest.
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

    /// Opens a segment by itself, whatever snapshot it belongs to.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Unsupported`, `Io`.
    pub fn open_object(
        object: Box<dyn ObjectReader>,
        place: String,
        limits: &Limits,
    ) -> Result<Self> {
        let at = |offset: u64| {
            let place = place.clone();
            move |defect: Defect| Error::corrupt(defect).at(Location::offset(place, offset))
        };
        let size = object.size();
        let least = to_u64(FILE_HEADER_SIZE + TAIL_SIZE);
        if size < least {
            let structure = Structure::Segment;
            return Err(at(0)(Defect::Truncated {
                structure,
                needed: least,
                found: size,
            }));
        }
        let tail_offset = size.saturating_sub(to_u64(TAIL_SIZE));
        let tail_bytes = read(&*object, tail_offset, to_u64(TAIL_SIZE))?.into_owned();
        let tail = Tail::decode(&tail_bytes, size).map_err(at(tail_offset))?;
        let header_bytes = read(&*object, 0, to_u64(FILE_HEADER_SIZE))?.into_owned();
        let header = FileHeader::decode(&header_bytes)
            .map_err(|error| error.at(Location::offset(place.clone(), 0)))?;
        header
            .ids
            .check(&tail.ids, Structure::Tail)
            .map_err(at(tail_offset))?;
        let toc_len_max = limits
            .toc_entry_count_max
            .saturating_mul(to_u64(TOC_ENTRY_SIZE) * 2);
        check_bound(Structure::Tail, "toc_len", tail.toc_len, toc_len_max)
            .map_err(at(tail_offset))?;
        let toc_bytes = read(&*object, tail.toc_offset, tail.toc_len)?;
        let (toc_frame, toc) =
            decode_toc(&toc_bytes, &header.ids, &tail, limits).map_err(at(tail.toc_offset))?;
        drop(toc_bytes);
        let entries = toc.entries.iter().enumerate();
        let blocks = entries
            .filter(|(_, entry)| entry.is_block())
            .map(|(index, _)| index)
            .collect();
        Ok(Self {
            object,
            place,
            ids: header.ids,
            toc,
            limits: *limits,
            blocks,
            header_bytes,
            tail_bytes,
            toc_frame,
        })
    }

    /// Returns what to call the segment in a message.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns the table of contents.
    pub fn toc(&self) -> &Toc {
        &self.toc
    }

    /// Returns the number of blocks.
    pub fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// Returns the TOC's entry of a block.
    pub fn block_entry(&self, block: usize) -> Option<&TocEntry> {
        self.toc.entries.get(*self.blocks.get(block)?)
    }

    /// Returns where a block is, for messages.
    pub fn block_location(&self, block: usize) -> Location {
        Location::Object {
            object: self.place.clone(),
            block: Some(to_u64(block)),
            record: None,
            offset: self.block_entry(block).map(|entry| entry.offset),
        }
    }

    /// Reads a block's frame and checks its header.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, with the block's place; `Io`.
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

    /// Reads the keys and metadata of a block, and nothing else of it.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, with the block's place; `Io`.
    pub fn read_keys(&self, block: usize, sections: &mut SectionReader) -> Result<Columns> {
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
            header.decode_keys(header.key_section(payload)?, sections)
        };
        decoded().map_err(corrupt)
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
        if self.toc.entries.is_empty() {
            return Err(corrupt(Defect::IllegalValue {
                structure: Structure::Toc,
                field: "entry_count",
                stored: 0,
            }));
        }
        let (frame, payload) = self.read_frame(0)?;
        if frame.frame_type != FrameType::Meta {
            return Err(corrupt(Defect::IllegalValue {
                structure: Structure::Toc,
                field: "type of the first frame",
                stored: frame.frame_type.to_raw().into(),
            }));
        }
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

    /// Checks the key index as a whole (X1 to X3).
    ///
    /// # Errors
    ///
    /// - `Corrupt`, with the page's place.
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

    /// Returns the blocks that may hold a key, by one page of the key index.
    ///
    /// # Errors
    ///
    /// - `Corrupt`: the page is damaged; `Io`.
    pub fn candidate_blocks(&self, key: &[u8]) -> Result<Vec<u32>> {
        if self.key_index_entry().is_none() || self.toc.key_index.page_count == 0 {
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
        let Some(entry) = self.toc.entries.get(number) else {
            return Err(Error::invalid_input(
                "frame",
                number.to_string(),
                "no such frame",
            ));
        };
        let corrupt =
            |defect| Error::corrupt(defect).at(Location::offset(&self.place, entry.offset));
        // Bounded by the file, whose places the TOC's decoding has checked;
        // and a frame that is read whole is held whole, so by the limits, too.
        let bound = self
            .limits
            .value_section_len_max
            .saturating_add(self.limits.key_section_len_max)
            .max(self.toc.key_index.pages_len())
            .saturating_add(to_u64(FRAME_HEADER_SIZE + BLOCK_HEADER_SIZE));
        check_bound(Structure::Toc, "stored_len", entry.stored_len, bound).map_err(corrupt)?;
        let len = to_u64(FRAME_HEADER_SIZE).saturating_add(entry.stored_len);
        let bytes = read(&*self.object, entry.offset, len)?;
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

    /// Reads and checks a frame that is neither a block nor the key index.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Io`.
    pub fn read_other_frame(&self, number: usize) -> Result<()> {
        let (frame, payload) = self.read_frame(number)?;
        if frame.frame_type == FrameType::Checkpoint {
            Checkpoint::decode(&payload, &self.ids, frame.offset).map_err(|defect| {
                Error::corrupt(defect).at(Location::offset(&self.place, frame.offset))
            })?;
        }
        Ok(())
    }

    /// Computes the segment digest from the headers alone.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Io`.
    pub fn compute_digest(&self) -> Result<String> {
        let mut digest = SegmentDigest::new();
        digest.update(&self.header_bytes);
        for (number, entry) in self.toc.entries.iter().enumerate() {
            let header_len = match entry.frame_type {
                FrameType::Block => BLOCK_HEADER_SIZE,
                FrameType::KeyIndex => KEY_INDEX_HEADER_SIZE,
                FrameType::Meta
                | FrameType::ValuePart
                | FrameType::Checkpoint
                | FrameType::Stat
                | FrameType::Toc
                | FrameType::Other(_) => 0,
            };
            // By the frame's own length: a count that lies would be believed
            // once for every such frame.
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
                let pages_len = entry.stored_len.saturating_sub(header_len);
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

    /// Compares a frame with its entry (T2, F3).
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

    /// Compares a block with its entry (T2).
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

/// Returns a range of an object, borrowed where it is mapped. The caller has
/// bounded the length.
fn read(object: &dyn ObjectReader, offset: u64, len: u64) -> Result<Cow<'_, [u8]>> {
    if let Some(bytes) = object.as_bytes() {
        let bytes = slice(bytes, offset, len, Structure::Segment).map_err(Error::corrupt)?;
        return Ok(Cow::Borrowed(bytes));
    }
    // A length beyond the object is refused before memory is taken for it.
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
    Ok(Cow::Owned(bytes))
}
