//! Computes the digest of a segment from its headers.

use std::borrow::Cow;

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
        for (number, entry) in self.toc.entries.iter().enumerate() {
            let header_len = covered_len(entry);
            let len = to_u64(FRAME_HEADER_SIZE).saturating_add(header_len);
            let bytes = read_range(&*self.object, entry.offset, len)?;
            let checked = FrameHeader::decode(&bytes, &self.ids, entry.offset)
                .and_then(|frame| self.check_entry(number, &frame));
            checked.map_err(|defect| {
                self.fault(defect)
                    .at(Location::offset(&self.place, entry.offset))
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
                    digest.update(&read_range(&*self.object, offset, 4)?);
                }
            }
        }
        digest.update(&self.toc_frame.encode(&self.ids));
        digest.update(&self.tail_bytes);
        Ok(digest.finish())
    }

    /// Reads the file header and compares it with the tail; returns its bytes.
    pub(super) fn check_file_header(&self) -> Result<Cow<'_, [u8]>> {
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
