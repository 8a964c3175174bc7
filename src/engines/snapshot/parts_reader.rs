//! A value in parts, read piece by piece.

use std::ops::Range;

use crate::codecs::format::compression::SectionReader;
use crate::codecs::format::value_part::{PartChain, PartedValue};
use crate::engines::snapshot::segment_reader::SegmentReader;
use crate::words::error::{Error, Result};
use crate::words::pieces::Pieces;

/// Reads the value of one record of a segment, each part checked before its
/// bytes are handed out, and the whole before the last part is.
///
/// # Memory
///
/// One part as stored and decompressed.
#[derive(Debug)]
pub struct PartsReader<'a> {
    segment: &'a SegmentReader,
    /// Numbers of the record's block, and of the record in it.
    record: (usize, usize),
    value: PartedValue,
    chain: PartChain,
    /// Numbers of the frames that were read, or tried.
    frames: Range<usize>,
    sections: SectionReader,
    raw: Vec<u8>,
    has_failed: bool,
}

impl<'a> PartsReader<'a> {
    pub(super) fn new(
        segment: &'a SegmentReader,
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

    /// Returns the numbers of the frames that have been read, the one with
    /// which reading ended included.
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
            return Err(at_record(self.chain.cut_short()));
        };
        self.frames.end = number.saturating_add(1);
        let header = self.segment.read_part_of(
            number,
            Some(self.record),
            &mut self.sections,
            &mut self.raw,
        )?;
        self.chain.take(&header, &self.raw).map_err(|defect| {
            // A wrong hash is that of the whole; all else is about this part.
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
