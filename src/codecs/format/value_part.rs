//! One part of a value that is stored outside its block. FORMAT.md 5.7.

use crate::codecs::format::bytes::{ByteReader, check_bound, check_count, slice};
use crate::codecs::format::checksum::{ValueHasher, check_crc, seeded_crc32};
use crate::codecs::format::compression::{SectionDescriptor, SectionReader};
use crate::codecs::format::ids::SegmentIds;
use crate::codecs::format::layout::VALUE_PART_HEADER_SIZE;
use crate::words::defect::{Defect, Structure};
use crate::words::limits::Limits;
use crate::words::units::to_u64;

const STRUCTURE: Structure = Structure::ValuePart;

/// The fixed start of a value part's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValuePartHeader {
    /// Length of the whole value in bytes; the same in all its parts.
    pub value_len: u64,
    /// Bytes of the value before this part.
    pub value_offset: u64,
    /// Zero-based number of the part within the value.
    pub part_number: u32,
    /// The section with the bytes of this part; at least one byte.
    pub section: SectionDescriptor,
}

impl ValuePartHeader {
    /// Returns the header's bytes, for the frame with this sequence number.
    pub fn encode(&self, ids: &SegmentIds, sequence: u64) -> Vec<u8> {
        let mut header = Vec::with_capacity(VALUE_PART_HEADER_SIZE);
        header.extend_from_slice(&self.value_len.to_le_bytes());
        header.extend_from_slice(&self.value_offset.to_le_bytes());
        header.extend_from_slice(&self.part_number.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        self.section.encode(&mut header);
        let crc = seeded_crc32(ids.segment, &[&sequence.to_le_bytes(), &header]);
        header.extend_from_slice(&crc.to_le_bytes());
        header
    }

    /// Parses and checks the header at the start of a payload (P1 to P4).
    ///
    /// # Errors
    ///
    /// - The defect for the broken rule.
    pub fn decode(
        payload: &[u8],
        stored_len: u64,
        ids: &SegmentIds,
        sequence: u64,
        limits: &Limits,
    ) -> Result<Self, Defect> {
        const COVERED: usize = VALUE_PART_HEADER_SIZE.saturating_sub(4);
        let mut reader = ByteReader::new(payload, STRUCTURE);
        let covered = ByteReader::new(payload, STRUCTURE).bytes(COVERED)?;
        let crc = payload.get(COVERED..).unwrap_or_default();
        let stored_crc = ByteReader::new(crc, STRUCTURE).u32()?;
        let computed = seeded_crc32(ids.segment, &[&sequence.to_le_bytes(), covered]);
        check_crc(STRUCTURE, stored_crc, computed)?;
        let (value_len, value_offset) = (reader.u64()?, reader.u64()?);
        let part_number = reader.u32()?;
        reader.reserved(4, "field at offset 20")?;
        let header = Self {
            value_len,
            value_offset,
            part_number,
            section: SectionDescriptor::decode(&mut reader, STRUCTURE, limits.value_part_len_max)?,
        };
        if header.section.raw_len == 0 {
            return Err(Defect::IllegalValue {
                structure: STRUCTURE,
                field: "raw_len",
                stored: 0,
            });
        }
        let bound = limits.large_value_len_max;
        check_bound(STRUCTURE, "value_len", value_len, bound)?;
        // The part must not reach past the end of the value.
        let raw_len = header.section.raw_len.into();
        check_bound(STRUCTURE, "raw_len", raw_len, value_len)?;
        let bound = value_len.saturating_sub(raw_len);
        check_bound(STRUCTURE, "value_offset", value_offset, bound)?;
        let payload_len = header.payload_len();
        check_count(STRUCTURE, "payload length", payload_len, stored_len)?;
        Ok(header)
    }

    /// Returns the length of the payload in bytes that its header claims, unchecked. For
    /// a payload whose frame header is lost.
    pub fn claimed_payload_len(payload: &[u8]) -> Option<u64> {
        let mut reader = ByteReader::new(payload, STRUCTURE);
        // Skip to the stored length of the section.
        reader.bytes(28).ok()?;
        let stored_len = reader.u32().ok()?;
        Some(to_u64(VALUE_PART_HEADER_SIZE).saturating_add(stored_len.into()))
    }

    /// Returns the length of the header and the section in bytes.
    pub fn payload_len(&self) -> u64 {
        to_u64(VALUE_PART_HEADER_SIZE).saturating_add(self.section.stored_len.into())
    }

    /// Returns the offset in the value at which this part ends.
    pub fn value_end(&self) -> u64 {
        self.value_offset
            .saturating_add(self.section.raw_len.into())
    }

    /// Returns the stored section of a payload.
    ///
    /// # Errors
    ///
    /// - `Truncated`: the payload ends before the section does.
    pub fn stored_section<'a>(&self, payload: &'a [u8]) -> Result<&'a [u8], Defect> {
        let start = to_u64(VALUE_PART_HEADER_SIZE);
        slice(payload, start, self.section.stored_len.into(), STRUCTURE)
    }

    /// Checks and decompresses the section of a payload into `raw`, which is overwritten
    /// (P5).
    ///
    /// # Errors
    ///
    /// - The defect for the broken rule.
    pub fn read(
        &self,
        payload: &[u8],
        sections: &mut SectionReader,
        raw: &mut Vec<u8>,
    ) -> Result<(), Defect> {
        let stored = self.stored_section(payload)?;
        sections.read(&self.section, stored, STRUCTURE, raw)
    }

    /// Checks the stored bytes of a payload without decompressing them.
    ///
    /// # Errors
    ///
    /// - `Truncated`, `ChecksumMismatch`: the stored bytes are incomplete or damaged.
    pub fn check_stored(&self, payload: &[u8]) -> Result<(), Defect> {
        let stored = self.stored_section(payload)?;
        self.section.check_stored(stored, STRUCTURE)
    }
}

/// A value in parts, as its record describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartedValue {
    /// Offset of the frame of its first part from the start of the file, in bytes.
    pub place: u64,
    /// Length of the value in bytes.
    pub len: u32,
    /// XXH3-64 of the value.
    pub hash: u64,
}

/// Checks the parts of one value as they come: each must follow the one before it, and
/// together they must be the value.
#[derive(Clone, Debug)]
pub struct PartChain {
    value: PartedValue,
    next_number: u32,
    len: u64,
    hasher: ValueHasher,
}

impl PartChain {
    /// Starts before the first part.
    pub fn new(value: PartedValue) -> Self {
        Self {
            value,
            next_number: 0,
            len: 0,
            hasher: ValueHasher::default(),
        }
    }

    /// Returns whether all parts have been taken; false before the first part.
    pub fn is_complete(&self) -> bool {
        self.next_number > 0 && self.len >= self.value.len.into()
    }

    /// Takes the next part (P7). Taking the last part also checks the whole value (V1).
    ///
    /// # Errors
    ///
    /// - `WrongPlace`, `CountMismatch`: this is not the next part of the value.
    /// - `ValueHashMismatch`: this is the last part, and the value does not match its
    ///   hash.
    pub fn take(&mut self, header: &ValuePartHeader, raw: &[u8]) -> Result<(), Defect> {
        let wrong_place = |field, stored, computed| {
            Err(Defect::WrongPlace {
                structure: STRUCTURE,
                field,
                stored,
                computed,
            })
        };
        if header.part_number != self.next_number {
            let (stored, computed) = (header.part_number.into(), self.next_number.into());
            return wrong_place("part_number", stored, computed);
        }
        let (stored, computed) = (header.value_len, self.value.len.into());
        check_count(STRUCTURE, "value_len", stored, computed)?;
        if header.value_offset != self.len {
            return wrong_place("value_offset", header.value_offset, self.len);
        }
        self.hasher.update(raw);
        self.len = self.len.saturating_add(to_u64(raw.len()));
        self.next_number = self.next_number.saturating_add(1);
        if self.is_complete() {
            let (stored, computed) = (self.value.hash, self.hasher.finish());
            if stored != computed {
                return Err(Defect::ValueHashMismatch { stored, computed });
            }
        }
        Ok(())
    }

    /// Returns the defect of a value that is not complete when there are no further
    /// parts; `next` is what stands in their place.
    pub fn cut_short(&self, next: String) -> Defect {
        Defect::ValueCutShort {
            needed: self.value.len.into(),
            found: self.len,
            next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::format::checksum::value_hash;
    use crate::codecs::format::compression::{Compression, SectionWriter};
    use crate::codecs::format::ids::{SegmentId, SnapshotId, SyncMarker};

    const IDS: SegmentIds = SegmentIds {
        segment: SegmentId([1; 16]),
        snapshot: SnapshotId([2; 16]),
        sync: SyncMarker([3; 8]),
    };

    fn header(raw: &[u8]) -> (ValuePartHeader, Vec<u8>) {
        let mut stored = Vec::new();
        let mut writer = SectionWriter::new(Compression::None).unwrap();
        let header = ValuePartHeader {
            value_len: 10,
            value_offset: 4,
            part_number: 1,
            section: writer.write(raw, &mut stored),
        };
        (header, stored)
    }

    fn payload() -> Vec<u8> {
        let (header, stored) = header(b"abc");
        let payload = [header.encode(&IDS, 7), stored].concat();
        assert_eq!(payload.len(), VALUE_PART_HEADER_SIZE + 3);
        payload
    }

    fn read(payload: &[u8], sequence: u64) -> Result<Vec<u8>, Defect> {
        let limits = Limits::default();
        let len = to_u64(payload.len());
        let header = ValuePartHeader::decode(payload, len, &IDS, sequence, &limits)?;
        let mut raw = Vec::new();
        header.read(payload, &mut SectionReader::default(), &mut raw)?;
        Ok(raw)
    }

    #[test]
    fn a_part_is_read_back_and_tells_its_length_by_itself() {
        let bytes = payload();
        assert_eq!(read(&bytes, 7).unwrap(), b"abc");
        let len = ValuePartHeader::claimed_payload_len(&bytes);
        assert_eq!(len, Some(to_u64(bytes.len())));
        assert_eq!(ValuePartHeader::claimed_payload_len(&bytes[..30]), None);
    }

    #[test]
    fn every_flipped_bit_every_prefix_and_every_other_place_is_refused() {
        let bytes = payload();
        assert_eq!(read(&bytes, 8).unwrap_err().code(), "MCS003");
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len], 7).is_err(), "prefix of {len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped, 7).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused_before_anything_is_read() {
        let code = |change: &dyn Fn(&mut ValuePartHeader)| {
            let (mut header, stored) = header(b"abc");
            change(&mut header);
            let payload = [header.encode(&IDS, 7), stored].concat();
            read(&payload, 7).map_err(|defect| defect.code())
        };
        assert_eq!(code(&|_| {}), Ok(b"abc".to_vec()));
        assert_eq!(code(&|header| header.value_len = 7), Ok(b"abc".to_vec()));
        assert_eq!(code(&|header| header.value_len = 6), Err("MCS008"));
        assert_eq!(code(&|header| header.value_len = 2), Err("MCS008"));
        assert_eq!(
            code(&|header| header.value_len = (1 << 30) + 1),
            Err("MCS008")
        );
        assert_eq!(
            code(&|header| header.value_offset = u64::MAX),
            Err("MCS008")
        );
        let with_len = |len: u32| {
            code(&move |header| {
                header.section.raw_len = len;
                header.section.stored_len = len;
            })
        };
        assert_eq!(with_len(0), Err("MCS007"));
        assert_eq!(with_len(4), Err("MCS010"));
        assert_eq!(with_len((4 << 20) + 1), Err("MCS008"));
    }

    #[test]
    fn a_chain_takes_the_parts_of_one_value_in_their_order() {
        let value = PartedValue {
            place: 64,
            len: 5,
            hash: value_hash(b"abcde"),
        };
        let part = |part_number, value_offset, raw: &[u8]| {
            let header = ValuePartHeader {
                value_len: 5,
                value_offset,
                part_number,
                ..header(raw).0
            };
            (header, raw.to_vec())
        };
        let first = part(0, 0, b"abc");
        let taken = |parts: &[(ValuePartHeader, Vec<u8>)]| {
            let mut chain = PartChain::new(value);
            assert!(!chain.is_complete());
            for (header, raw) in parts {
                chain.take(header, raw).map_err(|defect| defect.code())?;
            }
            Ok(chain.is_complete())
        };
        assert_eq!(taken(&[first.clone(), part(1, 3, b"de")]), Ok(true));
        assert_eq!(taken(&[part(0, 0, b"abcde")]), Ok(true));
        assert_eq!(taken(std::slice::from_ref(&first)), Ok(false));
        assert_eq!(
            taken(&[first.clone(), part(2, 3, b"de")]),
            Err("MCS006"),
            "a part is missing"
        );
        assert_eq!(taken(&[first.clone(), first.clone()]), Err("MCS006"));
        assert_eq!(taken(&[first.clone(), part(1, 2, b"de")]), Err("MCS006"));
        let mut longer = first.clone();
        longer.0.value_len = 6;
        assert_eq!(taken(&[longer]), Err("MCS010"), "of another value");
        assert_eq!(taken(&[first, part(1, 3, b"dx")]), Err("MCS012"));
        let mut empty = PartChain::new(PartedValue { len: 0, ..value });
        assert!(!empty.is_complete(), "no value in parts is empty");
        let (header, raw) = part(0, 0, b"a");
        assert_eq!(empty.take(&header, &raw).unwrap_err().code(), "MCS010");
    }
}
