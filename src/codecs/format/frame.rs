//! Frames, which enclose everything in a segment. FORMAT.md 5.2 and 5.3.

use crate::codecs::format::bytes::ByteReader;
use crate::codecs::format::checksum::{check_crc, seeded_crc32};
use crate::codecs::format::ids::SegmentIds;
use crate::codecs::format::layout::{FRAME_HEADER_SIZE, FRAME_MARKER};
use crate::words::defect::{Defect, Structure};

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameType {
    /// The description of the segment.
    Meta,
    /// Records.
    Block,
    /// Part of a value that is stored outside its block.
    ValuePart,
    /// Part of the table of contents.
    Checkpoint,
    /// The index from keys to blocks.
    KeyIndex,
    /// Statistics of the records.
    Stat,
    /// The table of contents.
    Toc,
    /// Any other type, by its number.
    Other(u8),
}

impl FrameType {
    /// Returns the number used in the file.
    pub fn to_raw(self) -> u8 {
        match self {
            Self::Meta => 1,
            Self::Block => 2,
            Self::ValuePart => 3,
            Self::Checkpoint => 4,
            Self::KeyIndex => 5,
            Self::Stat => 6,
            Self::Toc => 7,
            Self::Other(raw) => raw,
        }
    }

    /// Returns the type for a number in the file.
    pub fn from_raw(raw: u8) -> Self {
        match raw {
            1 => Self::Meta,
            2 => Self::Block,
            3 => Self::ValuePart,
            4 => Self::Checkpoint,
            5 => Self::KeyIndex,
            6 => Self::Stat,
            7 => Self::Toc,
            _ => Self::Other(raw),
        }
    }

    /// Returns whether this build can read such a frame, or may skip it regardless of its
    /// critical bit.
    pub fn is_known(self) -> bool {
        match self {
            Self::Meta
            | Self::Block
            | Self::ValuePart
            | Self::Checkpoint
            | Self::KeyIndex
            | Self::Stat
            | Self::Toc => true,
            Self::Other(_) => false,
        }
    }
}

/// The flag bits of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameFlags(u8);

impl FrameFlags {
    const CRITICAL: u8 = 1;
    const PAYLOAD_CRC: u8 = 1 << 1;
    const RESERVED: u8 = 0b1100;

    /// Returns the flags that this build writes for a type.
    pub fn of(frame_type: FrameType) -> Self {
        match frame_type {
            FrameType::Block | FrameType::ValuePart | FrameType::KeyIndex => Self(Self::CRITICAL),
            FrameType::Meta | FrameType::Toc => Self(Self::CRITICAL | Self::PAYLOAD_CRC),
            FrameType::Checkpoint | FrameType::Stat | FrameType::Other(_) => {
                Self(Self::PAYLOAD_CRC)
            }
        }
    }

    /// Returns the flags as a byte of the file.
    pub fn to_raw(self) -> u8 {
        self.0
    }

    /// Makes flags from a byte of the file.
    pub fn from_raw(raw: u8) -> Self {
        Self(raw)
    }

    /// Returns whether a reader that does not know the type must refuse the frame.
    pub fn is_critical(self) -> bool {
        self.0 & Self::CRITICAL != 0
    }

    /// Returns whether the header carries a checksum of the payload.
    pub fn has_payload_crc(self) -> bool {
        self.0 & Self::PAYLOAD_CRC != 0
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The type of the payload.
    pub frame_type: FrameType,
    /// Its flag bits.
    pub flags: FrameFlags,
    /// Zero-based number of the frame in the segment.
    pub sequence: u64,
    /// Offset of the header from the start of the file, in bytes.
    pub offset: u64,
    /// Length of the payload in bytes.
    pub stored_len: u64,
    /// CRC32 of the payload; 0 unless the flag is set.
    pub payload_crc: u32,
}

impl FrameHeader {
    /// Makes the header of a payload that is about to be written at `offset`.
    pub fn new(
        ids: &SegmentIds,
        frame_type: FrameType,
        sequence: u64,
        offset: u64,
        payload: &[u8],
    ) -> Self {
        let flags = FrameFlags::of(frame_type);
        let payload_crc = if flags.has_payload_crc() {
            seeded_crc32(ids.segment, &[payload])
        } else {
            0
        };
        let stored_len = crate::words::units::to_u64(payload.len());
        Self {
            frame_type,
            flags,
            sequence,
            offset,
            stored_len,
            payload_crc,
        }
    }

    /// Returns the offset at which the frame ends.
    pub fn end(&self) -> u64 {
        self.payload_offset().saturating_add(self.stored_len)
    }

    /// Returns the offset at which the payload starts.
    pub fn payload_offset(&self) -> u64 {
        self.offset
            .saturating_add(crate::words::units::to_u64(FRAME_HEADER_SIZE))
    }

    /// Returns the header's bytes.
    pub fn encode(&self, ids: &SegmentIds) -> Vec<u8> {
        let mut header = Vec::with_capacity(FRAME_HEADER_SIZE);
        header.extend_from_slice(&FRAME_MARKER);
        header.extend_from_slice(&ids.sync.0);
        header.push(self.frame_type.to_raw());
        header.push(self.flags.to_raw());
        header.extend_from_slice(&[0; 2]);
        header.extend_from_slice(&self.sequence.to_le_bytes());
        header.extend_from_slice(&self.offset.to_le_bytes());
        header.extend_from_slice(&self.stored_len.to_le_bytes());
        header.extend_from_slice(&self.payload_crc.to_le_bytes());
        let crc = seeded_crc32(ids.segment, &[&header]);
        header.extend_from_slice(&crc.to_le_bytes());
        header
    }

    /// Parses and checks a header at `offset`.
    ///
    /// # Errors
    ///
    /// - The defect for a broken rule F1, F2, F3 or F5, as far as it concerns the header
    ///   alone. The caller checks the sequence number.
    pub fn decode(bytes: &[u8], ids: &SegmentIds, offset: u64) -> Result<Self, Defect> {
        const COVERED: usize = FRAME_HEADER_SIZE.saturating_sub(4);
        let structure = Structure::FrameHeader;
        let mut reader = ByteReader::new(bytes, structure);
        let covered = ByteReader::new(bytes, structure).bytes(COVERED)?;
        reader.magic(&FRAME_MARKER)?;
        let sync = crate::codecs::format::ids::SyncMarker(reader.array()?);
        ids.check(&SegmentIds { sync, ..*ids }, structure)?;
        let frame_type = FrameType::from_raw(reader.u8()?);
        let flags = FrameFlags(reader.u8()?);
        let reserved = reader.u16()?;
        let header = Self {
            frame_type,
            flags,
            sequence: reader.u64()?,
            offset: reader.u64()?,
            stored_len: reader.u64()?,
            payload_crc: reader.u32()?,
        };
        check_crc(
            structure,
            reader.u32()?,
            seeded_crc32(ids.segment, &[covered]),
        )?;
        if reserved != 0 {
            return Err(Defect::ReservedNotZero {
                structure,
                field: "field at offset 14",
            });
        }
        if flags.0 & FrameFlags::RESERVED != 0 {
            return Err(Defect::ReservedNotZero {
                structure,
                field: "flag bits",
            });
        }
        if header.offset != offset {
            return Err(Defect::WrongPlace {
                structure,
                field: "offset",
                stored: header.offset,
                computed: offset,
            });
        }
        if flags.is_critical() && !frame_type.is_known() {
            return Err(Defect::UnknownCritical {
                structure,
                what: "frame type",
                stored: frame_type.to_raw().to_string(),
            });
        }
        Ok(header)
    }

    /// Checks the payload against the header's checksum, if there is one.
    ///
    /// # Errors
    ///
    /// - `ChecksumMismatch`: they do not match (F4).
    pub fn check_payload(&self, ids: &SegmentIds, payload: &[u8]) -> Result<(), Defect> {
        if !self.flags.has_payload_crc() {
            return Ok(());
        }
        let structure = match self.frame_type {
            FrameType::Meta => Structure::Meta,
            FrameType::Toc => Structure::Toc,
            FrameType::Checkpoint => Structure::Checkpoint,
            FrameType::Stat => Structure::Stat,
            FrameType::Block | FrameType::ValuePart | FrameType::KeyIndex | FrameType::Other(_) => {
                Structure::FramePayload
            }
        };
        check_crc(
            structure,
            self.payload_crc,
            seeded_crc32(ids.segment, &[payload]),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::format::ids::{SegmentId, SnapshotId, SyncMarker};

    const IDS: SegmentIds = SegmentIds {
        segment: SegmentId([1; 16]),
        snapshot: SnapshotId([2; 16]),
        sync: SyncMarker([3; 8]),
    };

    #[test]
    fn every_flipped_bit_and_every_prefix_is_refused() {
        let bytes = FrameHeader::new(&IDS, FrameType::Meta, 5, 64, b"{}").encode(&IDS);
        assert_eq!(bytes.len(), FRAME_HEADER_SIZE);
        assert_eq!(FrameHeader::decode(&bytes, &IDS, 64).unwrap().sequence, 5);
        for len in 0..bytes.len() {
            assert!(
                FrameHeader::decode(&bytes[..len], &IDS, 64).is_err(),
                "prefix of {len}"
            );
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                FrameHeader::decode(&flipped, &IDS, 64).is_err(),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_frame_of_another_segment_or_place_is_refused() {
        let bytes = FrameHeader::new(&IDS, FrameType::Block, 5, 64, b"x").encode(&IDS);
        let other = SegmentIds {
            segment: SegmentId([9; 16]),
            ..IDS
        };
        let defect = FrameHeader::decode(&bytes, &other, 64).unwrap_err();
        assert_eq!(defect.code(), "MCS003");
        assert_eq!(
            FrameHeader::decode(&bytes, &IDS, 65).unwrap_err().code(),
            "MCS006"
        );
    }

    #[test]
    fn an_unknown_frame_is_refused_if_critical_and_kept_if_not() {
        let mut header = FrameHeader::new(&IDS, FrameType::Other(200), 1, 64, b"x");
        assert!(FrameHeader::decode(&header.encode(&IDS), &IDS, 64).is_ok());
        header.flags = FrameFlags(FrameFlags::CRITICAL);
        let defect = FrameHeader::decode(&header.encode(&IDS), &IDS, 64).unwrap_err();
        assert_eq!(defect.code(), "MCS009");
        // Unused bits are ignored, but reserved bits are not.
        header.flags = FrameFlags(0b1000_0000);
        assert!(FrameHeader::decode(&header.encode(&IDS), &IDS, 64).is_ok());
        header.flags = FrameFlags(0b0000_0100);
        let defect = FrameHeader::decode(&header.encode(&IDS), &IDS, 64).unwrap_err();
        assert_eq!(defect.code(), "MCS004");
    }
}
