//! The first bytes of a segment. FORMAT.md 5.1.

use crate::codecs::format::bytes::{ByteReader, check_count, prefix};
use crate::codecs::format::checksum::{check_crc, crc32};
use crate::codecs::format::ids::SegmentIds;
use crate::codecs::format::layout::{FILE_HEADER_SIZE, FILE_MAGIC, VERSION_MAJOR, VERSION_MINOR};
use crate::codecs::format::version::check_major;
use crate::words::defect::{Defect, Structure};

/// Identifies the file type, and the segment and snapshot that the file belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Minor version of the writer; any is readable.
    pub minor: u16,
    /// The ids that every part of the segment repeats.
    pub ids: SegmentIds,
}

impl FileHeader {
    /// Makes the header that this build writes.
    pub fn new(ids: SegmentIds) -> Self {
        Self {
            minor: VERSION_MINOR,
            ids,
        }
    }

    /// Writes the header, `FILE_HEADER_SIZE` bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut header = Vec::with_capacity(FILE_HEADER_SIZE);
        header.extend_from_slice(&FILE_MAGIC);
        header.extend_from_slice(&VERSION_MAJOR.to_le_bytes());
        header.extend_from_slice(&self.minor.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        self.ids.encode(&mut header);
        header.extend_from_slice(&[0; 4]);
        let crc = crc32(&header);
        header.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&header);
    }

    /// Parses and checks a header.
    ///
    /// # Errors
    ///
    /// - `Newer`: another major version (H3).
    /// - The defect for another broken rule (H1, H2).
    pub fn decode(bytes: &[u8]) -> Result<Self, Defect> {
        const CRC_OFFSET: usize = FILE_HEADER_SIZE.saturating_sub(4);
        let structure = Structure::FileHeader;
        let mut reader = ByteReader::new(bytes, structure);
        reader.magic(&FILE_MAGIC)?;
        let major = reader.u16()?;
        let minor = reader.u16()?;
        // Check the checksum before trusting the fields it covers.
        let covered = prefix(bytes, CRC_OFFSET, structure)?;
        let mut end = ByteReader::new(bytes, structure);
        end.bytes(CRC_OFFSET)?;
        check_crc(structure, end.u32()?, crc32(covered))?;
        // The rest may have another layout in another version.
        check_major(structure, major.into(), minor.into())?;
        // Unused: a look-up reads no file header, so that nothing that it had to know
        // could stand here.
        reader.bytes(4)?;
        let ids = SegmentIds::decode(&mut reader)?;
        Ok(Self { minor, ids })
    }

    /// Compares the header with what the tail repeats (H4, A5).
    ///
    /// # Errors
    ///
    /// - `Foreign`: the tail has other ids.
    /// - `CountMismatch`: it has another minor version.
    pub fn check_tail(&self, ids: &SegmentIds, minor: u16) -> Result<(), Defect> {
        self.ids.check(ids, Structure::Tail)?;
        check_count(Structure::Tail, "minor", minor.into(), self.minor.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::format::ids::{SegmentId, SnapshotId, SyncMarker};

    fn header_bytes() -> Vec<u8> {
        let ids = SegmentIds {
            segment: SegmentId([1; 16]),
            snapshot: SnapshotId([2; 16]),
            sync: SyncMarker([3; 8]),
        };
        let mut bytes = Vec::new();
        FileHeader::new(ids).encode(&mut bytes);
        bytes
    }

    #[test]
    fn the_bytes_are_those_of_the_document() {
        let bytes = header_bytes();
        assert_eq!(bytes.len(), FILE_HEADER_SIZE);
        assert_eq!(
            bytes[..16],
            [
                0x89, b'M', b'C', b'S', 13, 10, 26, 10, 1, 0, 0, 0, 0, 0, 0, 0
            ]
        );
        assert_eq!(bytes[16..32], [1; 16]);
        assert_eq!(bytes[32..48], [2; 16]);
        assert_eq!(bytes[48..56], [3; 8]);
        assert_eq!(bytes[56..60], [0; 4]);
        assert_eq!(bytes[60..], crc32(&bytes[..60]).to_le_bytes());
        assert_eq!(
            FileHeader::decode(&bytes).unwrap().ids.segment,
            SegmentId([1; 16])
        );
    }

    #[test]
    fn every_flipped_bit_and_every_prefix_is_refused() {
        let bytes = header_bytes();
        for len in 0..bytes.len() {
            assert!(
                FileHeader::decode(&bytes[..len]).is_err(),
                "prefix of {len}"
            );
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(FileHeader::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_major_version_is_refused_with_the_remedy_and_a_minor_one_is_read() {
        let with_version = |major, minor| {
            let mut bytes = header_bytes();
            bytes[8] = major;
            bytes[10] = minor;
            // Unused bytes.
            bytes[12] = 1;
            bytes[56] = 1;
            let crc = crc32(&bytes[..60]);
            bytes[60..].copy_from_slice(&crc.to_le_bytes());
            FileHeader::decode(&bytes)
        };
        assert_eq!(
            with_version(2, 0).unwrap_err().to_string(),
            "format version 2.0: made by a newer mcsnap; upgrade"
        );
        assert_eq!(with_version(0, 9).unwrap_err().code(), "MCS007");
        assert_eq!(with_version(1, 7).unwrap().minor, 7);
    }
}
