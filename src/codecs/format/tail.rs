//! The fixed end of a segment. FORMAT.md 5.11.

use crate::codecs::format::bytes::{ByteReader, check_count};
use crate::codecs::format::checksum::{check_crc, crc32};
use crate::codecs::format::ids::SegmentIds;
use crate::codecs::format::layout::{
    FILE_HEADER_SIZE, FRAME_HEADER_SIZE, TAIL_MAGIC, TAIL_SIZE, VERSION_MAJOR, VERSION_MINOR,
};
use crate::codecs::format::version::check_major;
use crate::words::defect::{Defect, Structure};
use crate::words::units::to_u64;

/// The tail, where a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The ids of the segment.
    pub ids: SegmentIds,
    /// Offset of the TOC frame.
    pub toc_offset: u64,
    /// Length of the TOC frame in bytes, including its header.
    pub toc_len: u64,
    /// Length of the segment in bytes.
    pub file_len: u64,
    /// Minor version of the writer, as in the file header; any is readable.
    pub minor: u16,
}

impl Tail {
    /// The minor version of a tail that this build writes.
    pub const MINOR: u16 = VERSION_MINOR;

    /// Returns the tail's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut tail = Vec::with_capacity(TAIL_SIZE);
        tail.extend_from_slice(&TAIL_MAGIC);
        self.ids.encode(&mut tail);
        tail.extend_from_slice(&self.toc_offset.to_le_bytes());
        tail.extend_from_slice(&self.toc_len.to_le_bytes());
        tail.extend_from_slice(&self.file_len.to_le_bytes());
        tail.extend_from_slice(&VERSION_MAJOR.to_le_bytes());
        tail.extend_from_slice(&self.minor.to_le_bytes());
        let crc = crc32(&tail);
        tail.extend_from_slice(&crc.to_le_bytes());
        tail
    }

    /// Parses and checks the last bytes of a segment of `file_len` bytes (A2 to A5).
    ///
    /// # Errors
    ///
    /// - `Newer`: another major version.
    /// - The defect for another broken rule.
    pub fn decode(bytes: &[u8], file_len: u64) -> Result<Self, Defect> {
        const COVERED: usize = TAIL_SIZE.saturating_sub(4);
        let structure = Structure::Tail;
        let mut reader = ByteReader::new(bytes, structure);
        let covered = ByteReader::new(bytes, structure).bytes(COVERED)?;
        reader.magic(&TAIL_MAGIC)?;
        let ids = SegmentIds::decode(&mut reader)?;
        let (toc_offset, toc_len, file_len_stored) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (major, minor) = (reader.u16()?, reader.u16()?);
        let tail = Self {
            ids,
            toc_offset,
            toc_len,
            file_len: file_len_stored,
            minor,
        };
        check_crc(structure, reader.u32()?, crc32(covered))?;
        // The rest may have another layout in another version.
        check_major(structure, major.into(), minor.into())?;
        check_count(structure, "file_len", tail.file_len, file_len)?;
        let least_offset = to_u64(FILE_HEADER_SIZE);
        let least_len = to_u64(FRAME_HEADER_SIZE);
        if tail.toc_offset < least_offset || tail.toc_len < least_len {
            return Err(Defect::IllegalValue {
                structure,
                field: "toc_offset or toc_len",
                stored: tail.toc_offset.min(tail.toc_len),
            });
        }
        let end = file_len.saturating_sub(to_u64(TAIL_SIZE));
        if tail.toc_offset.checked_add(tail.toc_len) != Some(end) {
            return Err(Defect::WrongPlace {
                structure,
                field: "end of the TOC",
                stored: tail.toc_offset.saturating_add(tail.toc_len),
                computed: end,
            });
        }
        Ok(tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::format::ids::{SegmentId, SnapshotId, SyncMarker};

    #[test]
    fn a_newer_major_version_is_refused_whatever_else_the_tail_says() {
        let mut bytes = [0; TAIL_SIZE];
        bytes[..8].copy_from_slice(&TAIL_MAGIC);
        bytes[72] = 2;
        let crc = crc32(&bytes[..76]);
        bytes[76..].copy_from_slice(&crc.to_le_bytes());
        let defect = Tail::decode(&bytes, 80).unwrap_err();
        assert_eq!(
            defect.to_string(),
            "format version 2.0: made by a newer mcsnap; upgrade"
        );
    }

    #[test]
    fn every_flipped_bit_every_prefix_and_another_length_is_refused() {
        let ids = SegmentIds {
            segment: SegmentId([1; 16]),
            snapshot: SnapshotId([2; 16]),
            sync: SyncMarker([3; 8]),
        };
        let tail = Tail {
            ids,
            toc_offset: 64,
            toc_len: 100,
            file_len: 244,
            minor: 0,
        };
        let bytes = tail.encode();
        assert_eq!(bytes.len(), TAIL_SIZE);
        assert_eq!(Tail::decode(&bytes, 244), Ok(tail));
        assert_eq!(Tail::decode(&bytes, 243).unwrap_err().code(), "MCS010");
        for len in 0..bytes.len() {
            assert!(Tail::decode(&bytes[..len], 244).is_err(), "prefix of {len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Tail::decode(&flipped, 244).is_err(), "bit {bit}");
        }
    }
}
