//! A walk through a damaged segment that recovers what can be proved and counts what is
//! lost.

use std::collections::{BTreeMap, BTreeSet};

use crate::codecs::format::block::{Block, BlockHeader, StoredValue};
use crate::codecs::format::bytes::{ByteReader, check_bound};
use crate::codecs::format::checkpoint::Checkpoint;
use crate::codecs::format::checksum::value_hash;
use crate::codecs::format::column::Columns;
use crate::codecs::format::compression::{SectionReader, salvage_section};
use crate::codecs::format::features::{Features, Need};
use crate::codecs::format::file_header::FileHeader;
use crate::codecs::format::frame::{FrameHeader, FrameType};
use crate::codecs::format::ids::{SegmentId, SegmentIds};
use crate::codecs::format::key_index::KeyIndex;
use crate::codecs::format::layout::{
    BLOCK_HEADER_SIZE, FILE_HEADER_SIZE, FRAME_HEADER_SIZE, TAIL_SIZE, TOC_ENTRY_SIZE,
    VALUE_PART_HEADER_SIZE,
};
use crate::codecs::format::salvage::decode_frame_anywhere;
use crate::codecs::format::toc::{Toc, TocEntry};
use crate::codecs::format::value_part::ValuePartHeader;
use crate::codecs::format::version::judge;
use crate::engines::snapshot::coverage::Coverage;
use crate::engines::snapshot::lossy_reader::{LossyReader, failed_len_max};
use crate::engines::snapshot::salvage_parts::{
    FoundPart, PartedRecord, SalvageParts, SalvagedPieces, parted_record,
};
use crate::engines::snapshot::salvaged::{SalvagedRecord, SalvagedValue, SegmentSalvage, Take};
use crate::engines::snapshot::segment_identity::{ids_of, read_tail};
use crate::ports::store::ObjectReader;
use crate::words::cancel::Cancel;
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, Result};
use crate::words::finding::Finding;
use crate::words::item::escape_bytes;
use crate::words::limits::Limits;
use crate::words::location::Location;
use crate::words::units::to_u64;

/// A block that is not whole; examined again at the end.
#[derive(Clone, Copy, Debug)]
struct DamagedBlock {
    payload_offset: u64,
    stored_len: Option<u64>,
}

/// One walk through a damaged segment.
pub(super) struct Walk<'a> {
    place: &'a str,
    limits: &'a Limits,
    id: SegmentId,
    /// Reads through the file once.
    scan: LossyReader<'a>,
    /// Reads what the scan finds.
    reader: LossyReader<'a>,
    /// Bytes that may still be examined without success. Without this limit, structures
    /// that claim each other's bytes would be read again and again.
    failed_len_max: u64,
    sections: SectionReader,
    cancel: &'a Cancel,
    tally: SegmentSalvage,
    /// Bytes that belong to a sound structure.
    covered: Coverage,
    /// Sequence numbers of blocks that were recovered completely.
    whole: BTreeSet<u64>,
    /// Those of them that lost a value in parts after all.
    spoiled: BTreeSet<u64>,
    /// Sequence numbers of all frames found.
    sequences: BTreeSet<u64>,
    /// Damaged blocks by sequence number.
    damaged: BTreeMap<u64, DamagedBlock>,
    /// The parts of values found.
    parts: SalvageParts,
    /// How far before its proper position the last frame was.
    shift: i128,
    /// The shift at each frame where it changed, by sequence number.
    shifts: BTreeMap<u64, i128>,
    /// Frames listed in a table of contents or a checkpoint, by sequence number.
    known: BTreeMap<u64, TocEntry>,
    /// The number of records that the segment had, if any structure has it.
    records_total: Option<u64>,
    /// Where the table of contents starts now, according to the tail.
    toc_offset: Option<u64>,
    /// Sequence number and end of the frame with the highest sequence number.
    last_end: (u64, u64),
    /// Whether the table of contents, which is the last frame, was found.
    has_toc: bool,
    /// Whether there are frames that this reader does not understand.
    has_unknown_frames: bool,
    /// The minor version, if file header or tail still has it.
    minor: Option<u16>,
    /// The first sound part that needs a newer build.
    newer: Option<Error>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        object: &'a dyn ObjectReader,
        place: &'a str,
        limits: &'a Limits,
        id: SegmentId,
        records_total: Option<u64>,
        cancel: &'a Cancel,
    ) -> Self {
        let size = object.size();
        Self {
            place,
            limits,
            id,
            scan: LossyReader::sequential(object),
            reader: LossyReader::random(object),
            failed_len_max: failed_len_max(size),
            sections: SectionReader::default(),
            cancel,
            tally: SegmentSalvage {
                size,
                ..SegmentSalvage::default()
            },
            covered: Coverage::default(),
            whole: BTreeSet::new(),
            spoiled: BTreeSet::new(),
            sequences: BTreeSet::new(),
            damaged: BTreeMap::new(),
            parts: SalvageParts::new(size, limits),
            shift: 0,
            shifts: BTreeMap::new(),
            known: BTreeMap::new(),
            records_total,
            toc_offset: None,
            last_end: (0, 0),
            has_toc: false,
            has_unknown_frames: false,
            minor: None,
            newer: None,
        }
    }

    /// Recovers the records and counts what is lost.
    pub(super) fn run(mut self, take: &mut Take<'_>) -> Result<SegmentSalvage> {
        self.check_ends();
        self.refuse_newer()?;
        self.scan(take)?;
        self.refuse_newer()?;
        self.try_known_places(take)?;
        self.recover_remains(take)?;
        self.recover_parted(take)?;
        self.refuse_newer()?;
        Ok(self.finish())
    }

    /// Ends the walk if a newer build could read more than this one.
    fn refuse_newer(&mut self) -> Result<()> {
        self.newer.take().map_or(Ok(()), Err)
    }

    /// Looks whether the part at an offset, whose checksum is right, is of a newer build
    /// rather than damaged. A part that no version 1.0 wrote is so, too, if nothing tells
    /// the version.
    fn look(&mut self, offset: u64, defect: &Defect) {
        let judged = match self.minor {
            Some(minor) => judge(defect.clone(), minor.into()),
            None if defect.may_be_newer() => Defect::Newer {
                what: format!("{defect}, in an unknown format version"),
            },
            None => return,
        };
        if matches!(judged, Defect::Newer { .. }) && self.newer.is_none() {
            let location = Location::offset(self.place, offset);
            self.newer = Some(Error::corrupt(judged).at(location));
        }
    }

    fn note(&mut self, offset: u64, defect: Defect) {
        self.look(offset, &defect);
        if self.tally.findings.len() < SegmentSalvage::FINDING_COUNT_MAX {
            let location = Location::offset(self.place, offset);
            self.tally.findings.push(Finding::new(location, defect));
        } else {
            self.tally.finding_count_dropped = self.tally.finding_count_dropped.saturating_add(1);
        }
    }

    /// Checks file header and tail, which are not frames.
    fn check_ends(&mut self) {
        let header = self.reader.bytes(0, to_u64(FILE_HEADER_SIZE));
        match FileHeader::decode(header) {
            Ok(header) => {
                self.covered.add(0, to_u64(FILE_HEADER_SIZE));
                self.minor = (header.ids.segment == self.id).then_some(header.minor);
            }
            Err(defect) => self.note(0, defect),
        }
        let tail_offset = self.tally.size.saturating_sub(to_u64(TAIL_SIZE));
        match read_tail(&mut self.reader, self.tally.size) {
            Err(defect) => self.note(tail_offset, defect),
            Ok(Some((tail, toc_offset))) if tail.ids.segment == self.id => {
                self.minor = self.minor.or(Some(tail.minor));
                self.covered.add(tail_offset, self.tally.size);
                self.toc_offset = Some(toc_offset);
                if tail.file_len != self.tally.size {
                    let (stored, computed) = (tail.file_len, self.tally.size);
                    self.note(
                        tail_offset,
                        Defect::CountMismatch {
                            structure: Structure::Tail,
                            field: "file_len",
                            stored,
                            computed,
                        },
                    );
                }
            }
            Ok(Some((tail, _))) => {
                let defect = Defect::Foreign {
                    structure: Structure::Tail,
                    field: "segment id",
                    stored: tail.ids.segment.to_string(),
                    computed: self.id.to_string(),
                };
                self.note(tail_offset, defect);
            }
            Ok(None) => {
                let structure = Structure::Tail;
                self.note(tail_offset, Defect::BadMagic { structure });
            }
        }
    }

    /// Scans the file from frame to frame, and from marker to marker where a frame is
    /// damaged.
    fn scan(&mut self, take: &mut Take<'_>) -> Result<()> {
        let size = self.tally.size;
        // Without its head, the file can start at any byte of the segment.
        let mut from = 0;
        while let Some(at) = self.scan.next_marker(from, size, self.cancel)? {
            from = at.saturating_add(1);
            let header = self.scan.bytes(at, to_u64(FRAME_HEADER_SIZE));
            match decode_frame_anywhere(header, self.id) {
                Ok(frame) => from = self.frame(at, &frame, take)?,
                // The checksum is right, so this is a frame of this segment.
                Err(defect @ Defect::UnknownCritical { .. }) => {
                    self.note(at, defect);
                    self.has_unknown_frames = true;
                }
                Err(defect) => self.look(at, &defect),
            }
        }
        Ok(())
    }

    /// Takes blocks and parts whose frame headers are damaged. They follow a frame whose
    /// end is known, and have a header of their own that matches the next sequence
    /// number. Returns where they end.
    fn headless_frames(&mut self, start: u64, sequence: u64, take: &mut Take<'_>) -> Result<u64> {
        let (mut at, mut sequence) = (start, sequence);
        loop {
            let header = self.reader.bytes(at, to_u64(FRAME_HEADER_SIZE));
            if decode_frame_anywhere(header, self.id).is_ok() {
                return Ok(at);
            }
            let payload_offset = at.saturating_add(to_u64(FRAME_HEADER_SIZE));
            let mut end = self.try_block(payload_offset, None, sequence, take)?;
            if end.is_none() {
                let offset = i128::from(at).saturating_add(self.shift);
                let offset = u64::try_from(offset).unwrap_or(at);
                end = self.try_part(payload_offset, None, sequence, offset).ok();
            }
            let Some(end) = end else {
                self.note_missing_frame(at);
                return Ok(at);
            };
            self.note_frame_header(at);
            at = end;
            sequence = sequence.saturating_add(1);
        }
    }

    /// Records that a frame should start here, unless this is the end.
    fn note_missing_frame(&mut self, at: u64) {
        let tail_offset = self.tally.size.saturating_sub(to_u64(TAIL_SIZE));
        let is_tail = self.toc_offset.is_some() && at == tail_offset;
        if !is_tail && at < self.tally.size {
            self.note_frame_header(at);
        }
    }

    fn note_frame_header(&mut self, at: u64) {
        let header = self.reader.bytes(at, to_u64(FRAME_HEADER_SIZE));
        match decode_frame_anywhere(header, self.id) {
            // The scan will get here and record it.
            Ok(_) | Err(Defect::UnknownCritical { .. }) => {}
            Err(defect) => self.note(at, defect),
        }
    }

    /// Takes a frame whose header is sound; returns the position where the scan resumes.
    fn frame(&mut self, at: u64, frame: &FrameHeader, take: &mut Take<'_>) -> Result<u64> {
        let payload_offset = at.saturating_add(to_u64(FRAME_HEADER_SIZE));
        let bound = self.limits.toc_entry_count_max;
        let checked = check_bound(Structure::FrameHeader, "sequence", frame.sequence, bound);
        if let Err(defect) = checked {
            self.note(at, defect);
            self.has_unknown_frames = true;
            return Ok(payload_offset);
        }
        let is_new = self.sequences.insert(frame.sequence);
        // Missing or extra bytes move all frames after them. This is recorded once, at
        // the place where it starts.
        let shift = i128::from(frame.offset).saturating_sub(at.into());
        if shift != self.shift {
            let (stored, computed) = (frame.offset, at);
            let structure = Structure::FrameHeader;
            let field = "offset";
            self.note(
                at,
                Defect::WrongPlace {
                    structure,
                    field,
                    stored,
                    computed,
                },
            );
        }
        if shift != self.shift || self.shifts.is_empty() {
            self.shifts.insert(frame.sequence, shift);
        }
        self.shift = shift;
        self.covered.add(at, payload_offset);
        let end = payload_offset.saturating_add(frame.stored_len);
        self.last_end = self.last_end.max((frame.sequence, end));
        self.has_toc |= frame.frame_type == FrameType::Toc;
        let next = frame.sequence.saturating_add(1);
        if frame.frame_type == FrameType::Block {
            let stored_len = Some(frame.stored_len);
            if let Some(end) = self.try_block(payload_offset, stored_len, frame.sequence, take)? {
                return self.headless_frames(end, next, take);
            }
            if !self.whole.contains(&frame.sequence) {
                self.damaged.entry(frame.sequence).or_insert(DamagedBlock {
                    payload_offset,
                    stored_len,
                });
            }
        } else if frame.frame_type == FrameType::ValuePart {
            let stored_len = Some(frame.stored_len);
            match self.try_part(payload_offset, stored_len, frame.sequence, frame.offset) {
                Ok(end) => return self.headless_frames(end, next, take),
                Err(defect) if is_new => self.note(payload_offset, defect),
                Err(_) => {}
            }
        } else if is_new {
            self.table(payload_offset, frame);
        }
        self.headless_frames(end, next, take)?;
        // A damaged payload, or whatever replaced it, may contain frames of this segment
        // as well.
        Ok(payload_offset)
    }

    /// Reads a frame that is not a block, for what it says about the blocks.
    fn table(&mut self, payload_offset: u64, frame: &FrameHeader) {
        let size = self.tally.size;
        let entry_len = to_u64(TOC_ENTRY_SIZE);
        let bound = self.limits.toc_entry_count_max.saturating_mul(entry_len);
        let structure = Structure::FramePayload;
        let left = self.failed_len_max.min(bound);
        let checked = check_bound(structure, "stored_len", frame.stored_len, left);
        let len = checked.as_ref().map_or(0, |()| frame.stored_len);
        let payload = self.reader.bytes(payload_offset, len);
        let ids = ids_of(self.id);
        let limits = self.limits;
        let mut entries = Vec::new();
        let mut records_total = None;
        let checked = checked
            .and_then(|()| frame.check_payload(&ids, payload))
            .and_then(|()| match frame.frame_type {
                FrameType::Toc if frame.flags.has_payload_crc() => {
                    // The frame is at its proper position, or the positions in it are
                    // checked against where it was.
                    let toc = Toc::decode(payload, frame.offset, limits)?;
                    records_total = Some(toc.record_count);
                    entries = (0..).zip(toc.entries).collect();
                    Ok(())
                }
                // Without the checksum that it was written with, nothing in it can be
                // trusted.
                FrameType::Checkpoint if frame.flags.has_payload_crc() => {
                    let mut reader = ByteReader::new(payload, Structure::Checkpoint);
                    let stored = SegmentIds::decode(&mut reader)?;
                    let checkpoint = Checkpoint::decode(payload, &stored, frame.offset)?;
                    let count = to_u64(checkpoint.entries.len());
                    let first = frame.sequence.saturating_sub(count);
                    entries = (first..).zip(checkpoint.entries).collect();
                    Ok(())
                }
                FrameType::KeyIndex => {
                    let decoded = KeyIndex::decode(payload, &ids);
                    decoded.map(|_| ()).map_err(|(_, defect)| defect)
                }
                // Records that are written anew lose the list of what their reader must know.
                FrameType::Meta if frame.flags.has_payload_crc() => {
                    Features::check_in(payload, Need::Rewrite)
                }
                FrameType::Meta
                | FrameType::Block
                | FrameType::Checkpoint
                | FrameType::ValuePart
                | FrameType::Stat
                | FrameType::Toc
                | FrameType::Other(_) => Ok(()),
            });
        match checked {
            Ok(()) => {
                let end = payload_offset.saturating_add(frame.stored_len);
                self.covered.add(payload_offset, end.min(size));
                // A frame takes more than half an entry.
                let most = usize::try_from(size / (entry_len / 2)).unwrap_or(usize::MAX);
                if self.known.len().saturating_add(entries.len()) <= most {
                    self.known.extend(entries);
                }
                self.records_total = self.records_total.or(records_total);
            }
            Err(defect) => {
                self.failed_len_max = self
                    .failed_len_max
                    .saturating_sub(frame.stored_len.min(size));
                self.note(payload_offset, defect);
            }
        }
    }

    /// Takes a block if it is whole; returns where it ends.
    fn try_block(
        &mut self,
        payload_offset: u64,
        stored_len: Option<u64>,
        sequence: u64,
        take: &mut Take<'_>,
    ) -> Result<Option<u64>> {
        let Some((header, payload_len)) = self.block_header(payload_offset, stored_len, sequence)
        else {
            return Ok(None);
        };
        if payload_len > self.failed_len_max {
            return Ok(None);
        }
        let payload = self.reader.bytes(payload_offset, payload_len);
        let decoded = Block::decode(&header, payload, &mut self.sections);
        if let Err(defect) = &decoded {
            let defect = defect.clone();
            self.look(payload_offset, &defect);
        }
        let whole = decoded.ok().filter(|block| {
            (0..block.len()).all(|index| matches!(block.record(index), Some(Ok(_))))
        });
        let Some(block) = whole else {
            self.failed_len_max = self
                .failed_len_max
                .saturating_sub(payload_len.min(self.tally.size));
            return Ok(None);
        };
        let end = payload_offset.saturating_add(payload_len);
        self.sequences.insert(sequence);
        self.damaged.remove(&sequence);
        self.covered.add(payload_offset, end);
        self.last_end = self.last_end.max((sequence, end));
        if !self.whole.insert(sequence) {
            self.tally.blocks_repeated = self.tally.blocks_repeated.saturating_add(1);
            return Ok(Some(end));
        }
        self.tally.blocks_whole = self.tally.blocks_whole.saturating_add(1);
        for index in 0..block.len() {
            if let Some(record) = parted_record(block.columns(), index, Some(sequence)) {
                self.keep_parted(record);
            } else if let Some(record) = block.unhashed_record(index)
                && let StoredValue::Inline(value) = record.value
            {
                take(SalvagedRecord {
                    key: record.key,
                    meta: record.meta,
                    value: SalvagedValue::Whole(value),
                })?;
                self.tally.records = self.tally.records.saturating_add(1);
            }
        }
        Ok(Some(end))
    }

    /// Takes a part of a value if its stored bytes are sound; returns where it ends.
    /// `offset` is where its frame was written.
    fn try_part(
        &mut self,
        payload_offset: u64,
        stored_len: Option<u64>,
        sequence: u64,
        offset: u64,
    ) -> std::result::Result<u64, Defect> {
        let header_len = to_u64(VALUE_PART_HEADER_SIZE);
        let bytes = self.reader.bytes(payload_offset, header_len);
        let claimed = ValuePartHeader::claimed_payload_len(bytes);
        let stored_len = stored_len.or(claimed).unwrap_or(header_len);
        let (ids, limits) = (ids_of(self.id), self.limits);
        let header = ValuePartHeader::decode(bytes, stored_len, &ids, sequence, limits)
            .inspect_err(|defect| self.look(payload_offset, defect))?;
        let left = self.failed_len_max;
        check_bound(Structure::ValuePart, "stored_len", stored_len, left)?;
        let payload = self.reader.bytes(payload_offset, stored_len);
        if let Err(defect) = header.check_stored(payload) {
            let len = stored_len.min(self.tally.size);
            self.failed_len_max = left.saturating_sub(len);
            return Err(defect);
        }
        let end = payload_offset.saturating_add(stored_len);
        self.sequences.insert(sequence);
        self.covered.add(payload_offset, end);
        self.last_end = self.last_end.max((sequence, end));
        let part = FoundPart {
            payload_offset,
            stored_len,
            sequence,
        };
        self.parts.add_part(offset, part);
        Ok(end)
    }

    /// Keeps a record whose value is stored in parts until all parts are found.
    fn keep_parted(&mut self, record: PartedRecord) {
        if let Some(record) = self.parts.add_record(record) {
            self.count_lost_parted(&record);
        }
    }

    /// Counts a record whose value in parts is lost. If its block was counted as whole,
    /// it is not any more.
    fn count_lost_parted(&mut self, record: &PartedRecord) {
        let whole_block = record.whole_block;
        if whole_block.is_some_and(|sequence| self.spoiled.insert(sequence)) {
            self.tally.blocks_whole = self.tally.blocks_whole.saturating_sub(1);
            self.tally.blocks_damaged = self.tally.blocks_damaged.saturating_add(1);
        }
        self.count_lost_key(&record.key);
    }

    /// Recovers the records whose values are stored in parts, piece by piece.
    fn recover_parted(&mut self, take: &mut Take<'_>) -> Result<()> {
        for record in self.parts.take_records() {
            let mut pieces = SalvagedPieces::new(
                &self.parts,
                &mut self.reader,
                &mut self.sections,
                self.limits,
                self.cancel,
                self.id,
                record.value,
            );
            take(SalvagedRecord {
                key: &record.key,
                meta: record.meta,
                value: SalvagedValue::Pieces {
                    len: record.value.len.into(),
                    pieces: &mut pieces,
                },
            })?;
            match pieces.finish()? {
                None => self.tally.records = self.tally.records.saturating_add(1),
                Some(defect) => {
                    let offset = self.parts.first_offset(record.value);
                    self.note(offset.unwrap_or(0), defect);
                    self.count_lost_parted(&record);
                }
            }
        }
        Ok(())
    }

    /// Reads the header of a block's payload; returns it with the length of the payload,
    /// which is limited.
    fn block_header(
        &mut self,
        payload_offset: u64,
        stored_len: Option<u64>,
        sequence: u64,
    ) -> Option<(BlockHeader, u64)> {
        let bytes = self.reader.bytes(payload_offset, to_u64(BLOCK_HEADER_SIZE));
        let len = stored_len.or_else(|| BlockHeader::claimed_payload_len(bytes))?;
        let limits = self.limits;
        let header = BlockHeader::decode(bytes, len, &ids_of(self.id), sequence, limits)
            .inspect_err(|defect| self.look(payload_offset, defect))
            .ok()?;
        Some((header, len))
    }

    /// Examines the positions of blocks in the tables, for blocks that no scan can find
    /// because their frame header is damaged.
    fn try_known_places(&mut self, take: &mut Take<'_>) -> Result<()> {
        let is_missed = |sequence: u64, entry: &TocEntry| {
            let is_block = entry.is_block() && !self.whole.contains(&sequence);
            is_block || (entry.is_part() && !self.parts.has_part(entry.offset))
        };
        let missed: Vec<(u64, TocEntry)> = self
            .known
            .iter()
            .filter(|(sequence, entry)| is_missed(**sequence, entry))
            .map(|(sequence, entry)| (*sequence, *entry))
            .collect();
        for (sequence, entry) in missed {
            self.cancel.check()?;
            if entry.is_part() {
                self.try_known_part(sequence, &entry);
                continue;
            }
            let Some(place) = self.place_now(sequence, entry.offset) else {
                let structure = Structure::BlockHeader;
                let needed = to_u64(BLOCK_HEADER_SIZE);
                self.note(
                    0,
                    Defect::Truncated {
                        structure,
                        needed,
                        found: 0,
                    },
                );
                self.tally.blocks_damaged = self.tally.blocks_damaged.saturating_add(1);
                self.lose(Some(entry.record_count));
                continue;
            };
            let payload_offset = place.saturating_add(to_u64(FRAME_HEADER_SIZE));
            let stored_len = Some(entry.stored_len);
            if self
                .try_block(payload_offset, stored_len, sequence, take)?
                .is_some()
            {
                self.note_frame_header(place);
            } else {
                self.damaged.entry(sequence).or_insert(DamagedBlock {
                    payload_offset,
                    stored_len,
                });
            }
        }
        Ok(())
    }

    /// Examines the position of a part in the tables. Bytes examined without success are
    /// counted for the part's record.
    fn try_known_part(&mut self, sequence: u64, entry: &TocEntry) {
        let Some(place) = self.place_now(sequence, entry.offset) else {
            return;
        };
        let payload_offset = place.saturating_add(to_u64(FRAME_HEADER_SIZE));
        let (stored_len, offset) = (Some(entry.stored_len), entry.offset);
        if self
            .try_part(payload_offset, stored_len, sequence, offset)
            .is_ok()
        {
            self.note_frame_header(place);
        }
    }

    /// Returns where a frame written at `offset` is now, judging by the frames before it;
    /// `None` if that is before the start of the file.
    fn place_now(&self, sequence: u64, offset: u64) -> Option<u64> {
        let before = self.shifts.range(..=sequence).next_back();
        let after = self.shifts.range(sequence..).next();
        let shift = before.or(after).map_or(0, |(_, shift)| *shift);
        u64::try_from(i128::from(offset).saturating_sub(shift)).ok()
    }

    /// Recovers what can be proved of the damaged blocks, record by record.
    fn recover_remains(&mut self, take: &mut Take<'_>) -> Result<()> {
        for (sequence, block) in std::mem::take(&mut self.damaged) {
            self.cancel.check()?;
            self.tally.blocks_damaged = self.tally.blocks_damaged.saturating_add(1);
            let known = self.known.get(&sequence).map(|entry| entry.record_count);
            let Some((header, payload_len)) =
                self.block_header(block.payload_offset, block.stored_len, sequence)
            else {
                let defect = self.defect_of_header(&block, sequence);
                self.note(block.payload_offset, defect);
                self.lose(known);
                continue;
            };
            let payload = self.reader.bytes(block.payload_offset, payload_len);
            let whole = Block::decode(&header, payload, &mut self.sections);
            let keys = header
                .key_section(payload)
                .and_then(|stored| header.decode_keys(stored, &mut self.sections));
            let columns = match keys {
                Ok(columns) => columns,
                Err(defect) => {
                    self.note(block.payload_offset, defect);
                    self.lose(Some(header.record_count));
                    continue;
                }
            };
            let start = BLOCK_HEADER_SIZE
                .saturating_add(usize::try_from(header.keys.stored_len).unwrap_or(usize::MAX));
            let end = usize::try_from(payload_len).unwrap_or(usize::MAX);
            let stored = payload
                .get(start..end.min(payload.len()))
                .unwrap_or_default();
            let values = salvage_section(&header.values, stored);
            let defect = match whole {
                Err(defect) => defect,
                // In this case only a value is wrong.
                Ok(block) => (0..block.len())
                    .find_map(|index| block.record(index)?.err())
                    .unwrap_or(Defect::BadMagic {
                        structure: Structure::ValueSection,
                    }),
            };
            self.note(block.payload_offset, defect);
            self.recover_records(&columns, &values, take)?;
        }
        Ok(())
    }

    fn defect_of_header(&mut self, block: &DamagedBlock, sequence: u64) -> Defect {
        let bytes = self
            .reader
            .bytes(block.payload_offset, to_u64(BLOCK_HEADER_SIZE));
        let len = block.stored_len.unwrap_or(0);
        let limits = self.limits;
        let decoded = BlockHeader::decode(bytes, len, &ids_of(self.id), sequence, limits);
        decoded.err().unwrap_or(Defect::BadMagic {
            structure: Structure::BlockHeader,
        })
    }

    fn lose(&mut self, records: Option<u32>) {
        match records {
            Some(records) => {
                self.tally.records_lost = self.tally.records_lost.saturating_add(records.into());
            }
            None => self.tally.is_loss_unknown = true,
        }
    }

    /// Recovers the records whose values still match their hashes.
    fn recover_records(
        &mut self,
        columns: &Columns,
        values: &[u8],
        take: &mut Take<'_>,
    ) -> Result<()> {
        for index in 0..columns.len() {
            let Some(found) = columns.get(index) else {
                continue;
            };
            if let Some(record) = parted_record(columns, index, None) {
                self.keep_parted(record);
                continue;
            }
            let value = columns
                .value_range(index)
                .and_then(|range| values.get(range))
                .filter(|value| value_hash(value) == found.value_hash);
            if let Some(value) = value {
                take(SalvagedRecord {
                    key: found.key,
                    meta: found.meta,
                    value: SalvagedValue::Whole(value),
                })?;
                self.tally.records = self.tally.records.saturating_add(1);
                continue;
            }
            self.count_lost_key(found.key);
        }
        Ok(())
    }

    /// Counts a record whose key is known as lost.
    fn count_lost_key(&mut self, key: &[u8]) {
        self.lose(Some(1));
        self.tally.lost_key_count = self.tally.lost_key_count.saturating_add(1);
        if self.tally.lost_keys.len() < SegmentSalvage::LOST_KEY_COUNT_MAX {
            self.tally.lost_keys.push(escape_bytes(key));
        }
    }

    /// Sums up what is lost.
    fn finish(mut self) -> SegmentSalvage {
        self.tally.bytes_unreadable = self.scan.unreadable_len();
        self.tally.bytes_lost = self.tally.size.saturating_sub(self.covered.len());
        if let Some(total) = self.records_total {
            let lost = total.saturating_sub(self.tally.records);
            self.tally.records_lost = self.tally.records_lost.max(lost);
            self.tally.is_loss_unknown = false;
        } else {
            // The number of blocks is unknown: frames missing between others, or after
            // the last one, may have been blocks.
            let frame_count = to_u64(self.sequences.len());
            let last = self.sequences.last().copied();
            let has_gap = last.is_none_or(|last| last.saturating_add(1) != frame_count);
            // The table of contents is the last frame, and the frame before it ends where
            // the table starts.
            let (_, last_end) = self.last_end;
            let has_end = self.has_toc || self.toc_offset == Some(last_end);
            self.tally.is_loss_unknown |= has_gap || !has_end;
        }
        self.tally.is_loss_unknown |= self.has_unknown_frames;
        self.tally
    }
}
