//! Computes the digest of a segment from its headers.

use std::iter;
use std::ops::Range;
use std::sync::OnceLock;

use crate::codecs::format::checksum::SegmentDigest;
use crate::codecs::format::file_header::FileHeader;
use crate::codecs::format::frame::{FrameHeader, FrameType};
use crate::codecs::format::layout::{
    BLOCK_HEADER_SIZE, FILE_HEADER_SIZE, FRAME_HEADER_SIZE, KEY_INDEX_HEADER_SIZE, PAGE_SIZE,
    TAIL_SIZE, VALUE_PART_HEADER_SIZE,
};
use crate::codecs::format::toc::TocEntry;
use crate::engines::snapshot::object_range::read_range;
use crate::engines::snapshot::segment_reader::SegmentReader;
use crate::ports::store::RangeBytes;
use crate::words::error::Result;
use crate::words::location::Location;
use crate::words::units::to_u64;

impl SegmentReader {
    /// Computes the segment digest from the headers alone.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Io`.
    pub fn compute_digest(&self) -> Result<String> {
        let mut digest = SegmentDigest::new();
        digest.update(&self.check_file_header()?);
        let numbers: Vec<usize> = (0..self.toc.entries.len()).collect();
        for numbers in numbers.chunks(FRAMES_AT_ONCE) {
            self.add_frames(&mut digest, numbers)?;
        }
        digest.update(&self.toc_frame.encode(&self.ids));
        digest.update(&self.tail_bytes);
        Ok(digest.finish())
    }

    /// Adds what the digest covers of some frames that follow each other: as it was noted
    /// when they were read, or else read now.
    fn add_frames(&self, digest: &mut SegmentDigest, numbers: &[usize]) -> Result<()> {
        let noted = |number: usize| self.covered.get(number).and_then(OnceLock::get);
        let entries = || {
            let all = numbers.iter();
            all.filter_map(|number| Some((*number, self.toc.entries.get(*number)?)))
        };
        let ranges: Vec<Range<u64>> = entries()
            .filter(|(number, _)| noted(*number).is_none())
            .flat_map(|(_, entry)| covered_ranges(entry))
            .collect();
        let mut read = self.object.read_ranges(&ranges)?.into_iter();
        for (number, entry) in entries() {
            if let Some(bytes) = noted(number) {
                digest.update(bytes);
                continue;
            }
            for part in 0..covered_ranges(entry).len() {
                let bytes = read.next().unwrap_or_default();
                if part == 0 {
                    let checked = FrameHeader::decode(&bytes, &self.ids, entry.offset)
                        .and_then(|frame| self.check_entry(number, &frame));
                    checked.map_err(|defect| {
                        self.fault(defect)
                            .at(Location::offset(&self.place, entry.offset))
                    })?;
                }
                digest.update(&bytes);
            }
        }
        Ok(())
    }

    /// Notes what the digest covers of a frame that was read whole and is sound, if reading
    /// it again would cost a call.
    pub(super) fn note_covered(&self, number: usize, bytes: &[u8]) {
        let Some((noted, entry)) = self.covered.get(number).zip(self.toc.entries.get(number))
        else {
            return;
        };
        let at = |range: &Range<u64>| {
            let start = usize::try_from(range.start.saturating_sub(entry.offset)).ok()?;
            let end = usize::try_from(range.end.saturating_sub(entry.offset)).ok()?;
            bytes.get(start..end)
        };
        let covered: Option<Vec<&[u8]>> = covered_ranges(entry).iter().map(at).collect();
        if let Some(covered) = covered {
            let _ = noted.set(covered.concat().into_boxed_slice());
        }
    }

    /// Reads the file header and compares it with the tail; returns its bytes.
    pub(super) fn check_file_header(&self) -> Result<RangeBytes<'_>> {
        let bytes = read_range(&*self.object, 0, to_u64(FILE_HEADER_SIZE))?;
        let header = FileHeader::decode(&bytes)
            .map_err(|defect| self.fault(defect).at(Location::offset(&self.place, 0)))?;
        let tail_offset = self.object.size().saturating_sub(to_u64(TAIL_SIZE));
        header.check_tail(&self.ids, self.minor).map_err(|defect| {
            self.fault(defect)
                .at(Location::offset(&self.place, tail_offset))
        })?;
        Ok(bytes)
    }
}

/// Frames whose headers are read together, of a few thousand bytes each at most but for the
/// marks of an index's pages.
const FRAMES_AT_ONCE: usize = 256;

/// Returns what the digest covers of a frame: its header and what follows that, and the
/// mark of each page of an index.
fn covered_ranges(entry: &TocEntry) -> Vec<Range<u64>> {
    let len = to_u64(FRAME_HEADER_SIZE).saturating_add(covered_len(entry));
    let end = entry.offset.saturating_add(len);
    let pages_len = if entry.frame_type == FrameType::KeyIndex {
        entry
            .stored_len
            .saturating_sub(to_u64(KEY_INDEX_HEADER_SIZE))
    } else {
        0
    };
    let pages = (0..pages_len / to_u64(PAGE_SIZE)).map(|page| {
        let start = page.saturating_mul(to_u64(PAGE_SIZE)).saturating_add(end);
        start..start.saturating_add(4)
    });
    iter::once(entry.offset..end).chain(pages).collect()
}

/// Returns how many bytes at the start of a frame's payload the digest covers.
pub(super) fn covered_len(entry: &TocEntry) -> u64 {
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
    to_u64(header_len).min(entry.stored_len)
}
