//! What can be learned about a damaged segment from its bytes alone. FORMAT.md 9.

use memchr::memmem;

use crate::codecs::format::bytes::ByteReader;
use crate::codecs::format::frame::FrameHeader;
use crate::codecs::format::ids::{SegmentId, SegmentIds, SnapshotId, SyncMarker};
use crate::codecs::format::layout::{FRAME_HEADER_SIZE, FRAME_MARKER};
use crate::words::defect::{Defect, Structure};

/// Visits the positions in `bytes` where a frame may start, which are those of its
/// marker.
pub fn find_markers(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    memmem::find_iter(bytes, &FRAME_MARKER)
}

/// A frame header found somewhere; none of its claims are checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameClaim {
    /// The sync marker it carries.
    pub sync: SyncMarker,
    /// Its type as stored.
    pub frame_type: u8,
    /// The offset at which it claims to be.
    pub offset: u64,
    /// Length of the payload in bytes as stored.
    pub stored_len: u64,
}

impl FrameClaim {
    /// Parses 48 bytes if they start with the marker and may be a header.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = ByteReader::new(bytes, Structure::FrameHeader);
        reader.magic(&FRAME_MARKER).ok()?;
        let sync = SyncMarker(reader.array().ok()?);
        let frame_type = reader.u8().ok()?;
        // Flags, a reserved field, and the sequence number.
        reader.bytes(1 + 2 + 8).ok()?;
        let offset = reader.u64().ok()?;
        let stored_len = reader.u64().ok()?;
        Some(Self {
            sync,
            frame_type,
            offset,
            stored_len,
        })
    }
}

/// Parses and checks a frame header at any position: salvaging also accepts a frame of
/// the segment that is in the wrong place.
///
/// # Errors
///
/// - As for [`FrameHeader::decode`], except for the place. The checksum, which is seeded
///   with the segment's id, shows whether the frame belongs to the segment.
pub fn decode_frame_anywhere(bytes: &[u8], segment: SegmentId) -> Result<FrameHeader, Defect> {
    let Some(claim) = FrameClaim::read(bytes) else {
        let structure = Structure::FrameHeader;
        return Err(Defect::BadMagic { structure });
    };
    let ids = SegmentIds {
        segment,
        // A frame header does not contain it.
        snapshot: SnapshotId([0; 16]),
        sync: claim.sync,
    };
    FrameHeader::decode(bytes, &ids, claim.offset)
}

/// Returns a segment id under which the checksum of a frame header is right, for a
/// segment whose own id is lost.
///
/// The id seeds the checksums, and a seed affects a CRC32 only through the 32 bits of
/// state it leaves. One header and its checksum determine this state, and any id that
/// leaves the same state verifies the same headers. The last four bytes of the id can
/// produce any state. Since such an id exists for every header, a second checksum of the
/// same segment is needed to confirm it.
pub fn surrogate_id(header: &[u8]) -> Option<SegmentId> {
    const COVERED: usize = FRAME_HEADER_SIZE.saturating_sub(4);
    let (covered, rest) = header.split_at_checked(COVERED)?;
    let stored = u32::from_le_bytes(rest.first_chunk().copied()?);
    let after_id = covered
        .iter()
        .rev()
        .fold(!stored, |state, &byte| step_back(state, byte));
    let before_end = (0..4).fold(after_id, |state, _| step_back(state, 0));
    let after_zeros = [0; 12]
        .iter()
        .fold(u32::MAX, |state, &byte| step(state, byte));
    let mut id = [0; 16];
    let end = (after_zeros ^ before_end).to_le_bytes();
    for (slot, byte) in id.iter_mut().skip(12).zip(end) {
        *slot = byte;
    }
    Some(SegmentId(id))
}

/// The polynomial of the CRC32, 0x04c11db7, with its bits reflected.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// Returns the state of a CRC32 after one more byte.
fn step(state: u32, byte: u8) -> u32 {
    (0..8).fold(state ^ u32::from(byte), |state, _| {
        if state & 1 == 1 {
            (state >> 1) ^ POLYNOMIAL
        } else {
            state >> 1
        }
    })
}

/// Undoes [`step`]; the highest bit shows whether the polynomial was added.
fn step_back(state: u32, byte: u8) -> u32 {
    let before = (0..8).fold(state, |state, _| {
        if state & (1 << 31) == 0 {
            state << 1
        } else {
            ((state ^ POLYNOMIAL) << 1) | 1
        }
    });
    before ^ u32::from(byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::format::frame::FrameType;

    const IDS: SegmentIds = SegmentIds {
        segment: SegmentId(*b"a random segment"),
        snapshot: SnapshotId([2; 16]),
        sync: SyncMarker([3; 8]),
    };

    #[test]
    fn a_step_back_undoes_a_step() {
        for byte in 0..=u8::MAX {
            let state = 0x0123_4567_u32.rotate_left(byte.into());
            assert_eq!(step_back(step(state, byte), byte), state);
        }
        let state = b"123456789"
            .iter()
            .fold(u32::MAX, |state, &byte| step(state, byte));
        assert_eq!(!state, crc32fast::hash(b"123456789"));
    }

    #[test]
    fn an_id_made_of_one_header_fits_all_others() {
        let headers: Vec<Vec<u8>> = (0..5)
            .map(|number| {
                let at = 64 + number * 1000;
                FrameHeader::new(&IDS, FrameType::Block, number, at, b"payload").encode(&IDS)
            })
            .collect();
        let id = surrogate_id(&headers[0]).unwrap();
        for header in &headers {
            assert!(decode_frame_anywhere(header, id).is_ok());
        }
        let other = SegmentIds {
            segment: SegmentId([9; 16]),
            ..IDS
        };
        let foreign = FrameHeader::new(&other, FrameType::Block, 1, 64, b"payload").encode(&other);
        assert!(decode_frame_anywhere(&foreign, id).is_err());
    }

    #[test]
    fn markers_are_found_and_claims_read_without_belief() {
        let header = FrameHeader::new(&IDS, FrameType::Meta, 0, 64, b"{}").encode(&IDS);
        let bytes = [b"noise".as_slice(), &header, b"more", &header].concat();
        let found: Vec<usize> = find_markers(&bytes).collect();
        assert_eq!(found, [5, 5 + header.len() + 4]);
        let claim = FrameClaim::read(&bytes[5..]).unwrap();
        assert_eq!(
            (claim.sync, claim.offset, claim.stored_len),
            (IDS.sync, 64, 2)
        );
        assert_eq!(FrameClaim::read(&bytes), None);
        assert_eq!(FrameClaim::read(&header[..20]), None);
    }
}
