//! Finds out which segment a file is or was, from whatever is left of it.

use std::collections::BTreeMap;

use crate::codecs::format::block::BlockHeader;
use crate::codecs::format::bytes::ByteReader;
use crate::codecs::format::file_header::FileHeader;
use crate::codecs::format::frame::FrameType;
use crate::codecs::format::ids::{SegmentId, SegmentIds, SnapshotId, SyncMarker};
use crate::codecs::format::layout::{
    BLOCK_HEADER_SIZE, CHECKPOINT_HEADER_SIZE, FILE_HEADER_SIZE, FRAME_HEADER_SIZE, TAIL_SIZE,
};
use crate::codecs::format::salvage::{FrameClaim, decode_frame_anywhere, surrogate_id};
use crate::codecs::format::segment_meta::SegmentMeta;
use crate::codecs::format::tail::Tail;
use crate::engines::snapshot::lossy_reader::{LossyReader, failed_len_max};
use crate::ports::store::ObjectReader;
use crate::words::cancel::Cancel;
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, Result};
use crate::words::limits::Limits;
use crate::words::units::to_u64;

/// The ids by which the frames of a segment are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The segment's id, or another id that gives all its checksums.
    pub segment: SegmentId,
    /// `None` if only blocks are left of the segment.
    pub snapshot: Option<SnapshotId>,
}

impl Identity {
    fn of(ids: &SegmentIds) -> Self {
        Self {
            segment: ids.segment,
            snapshot: Some(ids.snapshot),
        }
    }
}

/// What file header and tail state: nothing, one identity, or two.
#[derive(Debug, PartialEq, Eq)]
enum Stated {
    Nothing,
    One(Identity),
    /// The file header's identity.
    Two(Identity),
}

fn stated(object: &dyn ObjectReader) -> Result<Stated> {
    let mut reader = LossyReader::random(object);
    let header = match FileHeader::decode(reader.bytes(0, to_u64(FILE_HEADER_SIZE))) {
        Ok(header) => Some(Identity::of(&header.ids)),
        Err(defect @ Defect::Newer { .. }) => return Err(Error::corrupt(defect)),
        Err(_) => None,
    };
    let tail = read_tail(&mut reader, object.size()).map_err(Error::corrupt)?;
    let tail = tail.map(|(tail, _)| Identity::of(&tail.ids));
    Ok(match (header, tail) {
        (Some(header), Some(tail)) if header.segment != tail.segment => Stated::Two(header),
        (Some(identity), _) | (None, Some(identity)) => Stated::One(identity),
        (None, None) => Stated::Nothing,
    })
}

/// Returns the identity that file header and tail state, unless they disagree.
///
/// # Errors
///
/// - `Newer`: a sound file header or tail needs a newer build.
pub fn stated_identity(object: &dyn ObjectReader) -> Result<Option<Identity>> {
    Ok(match stated(object)? {
        Stated::One(identity) => Some(identity),
        Stated::Nothing | Stated::Two(_) => None,
    })
}

/// Finds out which segment a file is: by file header and tail, otherwise by its frames.
///
/// # Errors
///
/// - `Newer`: a sound file header or tail needs a newer build.
/// - `Canceled`.
pub(super) fn find_identity(
    object: &dyn ObjectReader,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<Option<Identity>> {
    match stated(object)? {
        Stated::One(identity) => Ok(Some(identity)),
        Stated::Nothing => by_frames(object, limits, cancel),
        // The file contains two segments; the one with more frames counts.
        Stated::Two(header) => Ok(by_frames(object, limits, cancel)?.or(Some(header))),
    }
}

/// Reads the tail; returns it with the position where its table of contents starts now,
/// in case bytes are missing at the front, or `None` if it is damaged.
///
/// # Errors
///
/// - `Newer`: a sound tail has another major version.
pub(super) fn read_tail(
    reader: &mut LossyReader<'_>,
    size: u64,
) -> std::result::Result<Option<(Tail, u64)>, Defect> {
    let Some(offset) = size.checked_sub(to_u64(TAIL_SIZE)) else {
        return Ok(None);
    };
    let bytes = reader.bytes(offset, to_u64(TAIL_SIZE));
    let Some(claimed) = bytes.get(64..72).and_then(|bytes| bytes.first_chunk()) else {
        return Ok(None);
    };
    match Tail::decode(bytes, u64::from_le_bytes(*claimed)) {
        Ok(tail) => {
            let toc_offset = offset.checked_sub(tail.toc_len);
            Ok(toc_offset.map(|toc_offset| (tail, toc_offset)))
        }
        Err(defect @ Defect::Newer { .. }) => Err(defect),
        Err(_) => Ok(None),
    }
}

/// Reads the segment's description of itself, which directly follows the file header
/// unless the front is missing.
///
/// # Errors
///
/// - `Canceled`.
pub(super) fn read_meta(
    object: &dyn ObjectReader,
    segment: SegmentId,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<Option<SegmentMeta>> {
    let mut reader = LossyReader::random(object);
    let mut left = failed_len_max(object.size());
    let mut from = 0;
    // Further away from the file header, a match would be a coincidence.
    let end = object.size().min(2 << 20);
    while let Some(at) = reader.next_marker(from, end, cancel)? {
        from = at.saturating_add(1);
        let header = reader.bytes(at, to_u64(FRAME_HEADER_SIZE));
        let Ok(frame) = decode_frame_anywhere(header, segment) else {
            continue;
        };
        let len = frame.stored_len;
        if frame.frame_type == FrameType::Meta && len <= limits.meta_len_max.min(left) {
            left = left.saturating_sub(len);
            let payload = reader.bytes(at.saturating_add(to_u64(FRAME_HEADER_SIZE)), len);
            if frame.check_payload(&ids_of(segment), payload).is_ok() {
                return Ok(serde_json::from_slice(payload).ok());
            }
        }
    }
    Ok(None)
}

/// Takes the ids from the frames; the segment with the most frames counts.
///
/// A value may itself be a segment. The offsets in its frames are lower than their actual
/// positions, which is never so for a frame of this file unless bytes were inserted in
/// front.
fn by_frames(
    object: &dyn ObjectReader,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<Option<Identity>> {
    #[derive(Default)]
    struct Tally {
        in_place: u64,
        all: u64,
        header: Vec<u8>,
        ids: Option<SegmentIds>,
        confirmed: Option<SegmentId>,
    }
    let mut scan = LossyReader::sequential(object);
    let reader = &mut LossyReader::random(object);
    let mut tallies: BTreeMap<[u8; 8], Tally> = BTreeMap::new();
    let size = object.size();
    let mut left = failed_len_max(size);
    let mut from = 0;
    while let Some(at) = scan.next_marker(from, size, cancel)? {
        from = at.saturating_add(1);
        let header = scan.bytes(at, to_u64(FRAME_HEADER_SIZE)).to_vec();
        let Some(claim) = FrameClaim::read(&header) else {
            continue;
        };
        // Keeps noise that looks like frames from filling the memory.
        const TALLY_COUNT_MAX: usize = 100_000;
        if tallies.len() >= TALLY_COUNT_MAX && !tallies.contains_key(&claim.sync.0) {
            continue;
        }
        let tally = tallies.entry(claim.sync.0).or_default();
        tally.all = tally.all.saturating_add(1);
        if claim.offset >= at {
            tally.in_place = tally.in_place.saturating_add(1);
        }
        let len = ids_len(&claim, limits).filter(|&len| len <= left);
        if let Some(len) = len
            && tally.ids.is_none()
        {
            left = left.saturating_sub(len);
            tally.ids = read_ids_of_frame(reader, at, &header, &claim, len);
        }
        if tally.confirmed.is_none() && !tally.header.is_empty() {
            tally.confirmed = surrogate_id(&tally.header)
                .filter(|&id| decode_frame_anywhere(&header, id).is_ok());
        }
        if tally.confirmed.is_none() {
            tally.confirmed =
                surrogate_id(&header).filter(|&id| is_block_of(reader, at, &header, id, limits));
        }
        tally.header = header;
    }
    let best = tallies
        .into_values()
        .filter(|tally| tally.ids.is_some() || tally.confirmed.is_some())
        .max_by_key(|tally| (tally.in_place, tally.all));
    Ok(best.and_then(|tally| {
        let known = tally.ids.map(|ids| Identity {
            segment: ids.segment,
            snapshot: Some(ids.snapshot),
        });
        let surrogate = tally.confirmed.map(|segment| Identity {
            segment,
            snapshot: None,
        });
        known.or(surrogate)
    }))
}

/// Returns how much of a frame's payload must be read to get the ids, if it repeats them.
fn ids_len(claim: &FrameClaim, limits: &Limits) -> Option<u64> {
    match FrameType::from_raw(claim.frame_type) {
        FrameType::Meta => Some(claim.stored_len).filter(|&len| len <= limits.meta_len_max),
        FrameType::Checkpoint => Some(to_u64(CHECKPOINT_HEADER_SIZE)),
        FrameType::Block
        | FrameType::ValuePart
        | FrameType::KeyIndex
        | FrameType::Stat
        | FrameType::Toc
        | FrameType::Other(_) => None,
    }
}

/// Reads the ids from that much of a frame that repeats them, and verifies them by its
/// checksums.
fn read_ids_of_frame(
    reader: &mut LossyReader<'_>,
    at: u64,
    header: &[u8],
    claim: &FrameClaim,
    len: u64,
) -> Option<SegmentIds> {
    let payload = reader.bytes(at.saturating_add(to_u64(FRAME_HEADER_SIZE)), len);
    let ids = if FrameType::from_raw(claim.frame_type) == FrameType::Meta {
        serde_json::from_slice::<SegmentMeta>(payload).ok()?.ids()
    } else {
        SegmentIds::decode(&mut ByteReader::new(payload, Structure::Checkpoint)).ok()?
    };
    decode_frame_anywhere(header, ids.segment).ok()?;
    Some(ids)
}

/// Reports whether a frame is a block whose own header matches the id too.
fn is_block_of(
    reader: &mut LossyReader<'_>,
    at: u64,
    header: &[u8],
    id: SegmentId,
    limits: &Limits,
) -> bool {
    let Ok(frame) = decode_frame_anywhere(header, id) else {
        return false;
    };
    let payload = at.saturating_add(to_u64(FRAME_HEADER_SIZE));
    let bytes = reader.bytes(payload, to_u64(BLOCK_HEADER_SIZE));
    frame.frame_type == FrameType::Block
        && BlockHeader::decode(bytes, frame.stored_len, &ids_of(id), frame.sequence, limits).is_ok()
}

/// Returns ids for checks that use only the segment's id.
pub(super) fn ids_of(segment: SegmentId) -> SegmentIds {
    SegmentIds {
        segment,
        snapshot: SnapshotId([0; 16]),
        sync: SyncMarker([0; 8]),
    }
}
