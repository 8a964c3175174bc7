//! Reads a segment from front to back, once: checks each byte, and hands it on.

use crate::codecs::format::checksum::SegmentDigest;
use crate::codecs::format::frame::{FrameHeader, FrameType};
use crate::codecs::format::layout::{FRAME_HEADER_SIZE, PAGE_SIZE};
use crate::engines::snapshot::object_range::read_range;
use crate::engines::snapshot::parts_reader::PartSource as _;
use crate::engines::snapshot::segment_digest::covered_len;
use crate::engines::snapshot::segment_reader::{FramePayload, SegmentReader};
use crate::words::defect::Defect;
use crate::words::error::Result;
use crate::words::location::Location;
use crate::words::units::to_u64;

/// Takes the bytes of an object, piece by piece, in their order.
pub type TakeBytes<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

impl SegmentReader {
    /// Passes all bytes of the segment to `take`, in their order, each frame once its
    /// stored bytes are checked; returns the segment digest. Nothing is decompressed, so
    /// that this finds what a verification of the stored bytes finds.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Newer`, `Io`, and those of `take`.
    ///
    /// # Memory
    ///
    /// A frame, and the stored table of contents.
    pub(super) fn pass(&self, take: TakeBytes<'_>) -> Result<String> {
        let mut digest = SegmentDigest::new();
        let header = self.check_file_header()?;
        digest.update(&header);
        take(&header)?;
        drop(header);
        for (number, entry) in self.toc.entries.iter().enumerate() {
            let (frame, bytes) = self.read_frame_bytes(number, None)?;
            let payload = bytes.get(FRAME_HEADER_SIZE..).unwrap_or_default();
            self.check_stored_frame(number, &frame, payload)?;
            let covered = usize::try_from(covered_len(entry)).unwrap_or(usize::MAX);
            let head_len = FRAME_HEADER_SIZE.saturating_add(covered);
            let (head, rest) = bytes.split_at_checked(head_len).unwrap_or_default();
            digest.update(head);
            if entry.frame_type == FrameType::KeyIndex {
                for page in rest.chunks_exact(PAGE_SIZE) {
                    digest.update(page.get(..4).unwrap_or_default());
                }
            }
            take(&bytes)?;
        }
        let len = to_u64(FRAME_HEADER_SIZE).saturating_add(self.toc_frame.stored_len);
        let bytes = read_range(&*self.object, self.toc_frame.offset, len)?;
        self.check_toc_again(&bytes)
            .map_err(|defect| self.fault(defect).at(self.toc_location()))?;
        digest.update(bytes.get(..FRAME_HEADER_SIZE).unwrap_or_default());
        take(&bytes)?;
        drop(bytes);
        digest.update(&self.tail_bytes);
        take(&self.tail_bytes)?;
        Ok(digest.finish())
    }

    /// Checks the stored bytes of a frame, by its type.
    fn check_stored_frame(&self, number: usize, frame: &FrameHeader, payload: &[u8]) -> Result<()> {
        let at = |defect| self.fault(defect).at(self.frame_location(number, None));
        if frame.frame_type == FrameType::Block {
            let block = self.block_frame(number, frame, FramePayload::bare(payload));
            return block.and_then(|block| block.check_stored()).map_err(at);
        }
        // Another frame of this type is read by nobody.
        if self.key_index_entry() == Some(number) {
            return self.decode_key_index(payload).map(drop);
        }
        self.check_other_frame(number, frame, payload)
    }

    /// Checks the frame of the table of contents, which was read once before.
    fn check_toc_again(&self, bytes: &[u8]) -> std::result::Result<(), Defect> {
        let frame = FrameHeader::decode(bytes, &self.ids, self.toc_frame.offset)?;
        let payload = bytes.get(FRAME_HEADER_SIZE..).unwrap_or_default();
        frame.check_payload(&self.ids, payload)
    }

    fn toc_location(&self) -> Location {
        Location::offset(&self.place, self.toc_frame.offset)
    }
}
