//! Reads a value in parts, piece by piece.

use std::fmt;
use std::ops::Range;

use crate::codecs::format::compression::SectionReader;
use crate::codecs::format::frame::FrameType;
use crate::codecs::format::value_part::{PartChain, PartedValue, ValuePartHeader};
use crate::words::defect::Defect;
use crate::words::error::{Error, Result};
use crate::words::location::Location;
use crate::words::pieces::Pieces;

/// The operations on a segment that reading values in parts needs. Frames are identified
/// by number.
pub(super) trait PartSource: fmt::Debug + Sync {
    /// Returns the frames that may contain the parts of a block's values (P6).
    fn part_frames(&self, block: usize) -> Range<usize>;

    /// Returns the frame of a value's first part (P6).
    fn first_part(&self, block: usize, value: &PartedValue) -> std::result::Result<usize, Defect>;

    /// Returns the type of a frame; `None` if there is no such frame.
    fn frame_type(&self, number: usize) -> Option<FrameType>;

    /// Reports whether a frame is a part of a value.
    fn is_part(&self, number: usize) -> bool {
        self.frame_type(number) == Some(FrameType::ValuePart)
    }

    /// Reads a part into `raw`. The record, given by its block and its number there, is
    /// used to locate errors.
    fn read_part_of(
        &self,
        number: usize,
        record: Option<(usize, usize)>,
        sections: &mut SectionReader,
        raw: &mut Vec<u8>,
    ) -> Result<ValuePartHeader>;

    /// Returns the location of a record.
    fn record_location(&self, block: usize, record: usize) -> Location;

    /// Returns the location of a frame, with that of its record if it is known.
    fn frame_location(&self, number: usize, record: Option<(usize, usize)>) -> Location;
}

/// Reads the value of one record of a segment. Each part is checked before its bytes are
/// returned, and the whole value before the last part is returned.
///
/// # Memory
///
/// One part, both stored and decompressed.
#[derive(Debug)]
pub struct PartsReader<'a> {
    segment: &'a dyn PartSource,
    /// Numbers of the record's block, and of the record in it.
    record: (usize, usize),
    value: PartedValue,
    chain: PartChain,
    /// Numbers of the frames that were read, or that reading failed at.
    frames: Range<usize>,
    sections: SectionReader,
    raw: Vec<u8>,
    has_failed: bool,
}

impl<'a> PartsReader<'a> {
    pub(super) fn new(
        segment: &'a dyn PartSource,
        block: usize,
        record: usize,
        value: PartedValue,
    ) -> Self {
        Self {
            segment,
            record: (block, record),
            value,
            chain: PartChain::new(value),
            frames: 0..0,
            sections: SectionReader::default(),
            raw: Vec::new(),
            has_failed: false,
        }
    }

    /// Returns the value as its record describes it.
    pub fn value(&self) -> PartedValue {
        self.value
    }

    /// Returns the numbers of the frames read so far, including the one where reading
    /// ended.
    pub fn frames(&self) -> Range<usize> {
        self.frames.clone()
    }

    fn read_next(&mut self) -> Result<()> {
        let (block, record) = self.record;
        let at_record =
            |defect| Error::corrupt(defect).at(self.segment.record_location(block, record));
        let parts = self.segment.part_frames(block);
        let number = if self.frames.is_empty() {
            let first = self
                .segment
                .first_part(block, &self.value)
                .map_err(at_record)?;
            self.frames = first..first;
            first
        } else if parts.contains(&self.frames.end) && self.segment.is_part(self.frames.end) {
            self.frames.end
        } else {
            let next = match self.segment.frame_type(self.frames.end) {
                Some(frame_type) => format!("a frame of type {}", frame_type.to_raw()),
                None => "no further frame".to_owned(),
            };
            return Err(at_record(self.chain.cut_short(next)));
        };
        self.frames.end = number.saturating_add(1);
        let header = self.segment.read_part_of(
            number,
            Some(self.record),
            &mut self.sections,
            &mut self.raw,
        )?;
        self.chain.take(&header, &self.raw).map_err(|defect| {
            // A wrong hash concerns the whole value; any other defect concerns this part.
            let is_whole = self.chain.is_complete();
            if is_whole {
                return at_record(defect);
            }
            let location = self.segment.frame_location(number, Some(self.record));
            Error::corrupt(defect).at(location)
        })
    }
}

impl Pieces for PartsReader<'_> {
    fn next_piece(&mut self) -> Result<Option<&[u8]>> {
        if self.has_failed || self.chain.is_complete() {
            return Ok(None);
        }
        if let Err(error) = self.read_next() {
            self.has_failed = true;
            return Err(error);
        }
        Ok(Some(&self.raw))
    }
}
