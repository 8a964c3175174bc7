//! Reads the values of a segment that are stored in parts.

use std::borrow::Cow;
use std::ops::Range;

use crate::codecs::format::block::StoredValue;
use crate::codecs::format::compression::SectionReader;
use crate::codecs::format::frame::{FrameHeader, FrameType};
use crate::codecs::format::toc::TocEntry;
use crate::codecs::format::value_part::{PartedValue, ValuePartHeader};
use crate::engines::snapshot::parts_reader::{PartSource, PartsReader};
use crate::engines::snapshot::segment_reader::SegmentReader;
use crate::words::defect::{Defect, Structure};
use crate::words::error::Result;
use crate::words::location::Location;
use crate::words::pieces::Pieces as _;
use crate::words::units::to_u64;

impl SegmentReader {
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

    pub(super) fn decode_part(
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

    fn frame_type(&self, number: usize) -> Option<FrameType> {
        let entry = self.toc.entries.get(number);
        entry.map(|entry| entry.frame_type)
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
            .map_err(|defect| self.fault(defect).at(self.frame_location(number, record)))
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
