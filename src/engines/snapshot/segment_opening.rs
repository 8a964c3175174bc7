//! Opens segments: reads tail and table of contents, and checks that they belong together.

use std::sync::OnceLock;

use crate::codecs::format::bytes::{check_bound, check_count, slice};
use crate::codecs::format::file_header::FileHeader;
use crate::codecs::format::frame::{FrameHeader, FrameType};
use crate::codecs::format::ids::{SegmentIds, SnapshotId};
use crate::codecs::format::layout::{
    FILE_HEADER_SIZE, FRAME_HEADER_SIZE, TAIL_SIZE, TOC_ENTRY_SIZE, TOC_HEADER_SIZE,
};
use crate::codecs::format::manifest::ManifestSegment;
use crate::codecs::format::tail::Tail;
use crate::codecs::format::toc::Toc;
use crate::codecs::format::version::judge;
use crate::engines::snapshot::keys_ahead::KeysAhead;
use crate::engines::snapshot::object_range::read_range;
use crate::engines::snapshot::segment_reader::SegmentReader;
use crate::ports::store::{ObjectReader, RangeBytes, Store};
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::limits::Limits;
use crate::words::location::Location;
use crate::words::units::to_u64;

/// What is read before the tables when a segment is opened: statistics lie there, of about
/// this length.
const STATISTICS_LEN: u64 = 8 << 10;

/// How to open a segment that the manifest names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Read and compare the tail, the table of contents and the file header.
    Checked,
    /// As [`Opening::Checked`], of a segment that is then read from front to back: a store
    /// that is far away is asked for its first blocks at once.
    Whole,
    /// Read only the tail and the table of contents, which have all that a look-up needs,
    /// the version included. That is a single read if the store does not map files.
    Lookup,
}

impl SegmentReader {
    /// Opens a segment and checks tail, file header and TOC.
    ///
    /// # Errors
    ///
    /// - `Newer`: another major version, or an unknown part that must be known.
    /// - `Corrupt`, `Io`.
    pub(super) fn open(
        store: &dyn Store,
        path: &str,
        segment: &ManifestSegment,
        snapshot: SnapshotId,
        opening: Opening,
        limits: &Limits,
    ) -> Result<Self> {
        let place = store.describe(path);
        let at_place = |defect| Error::corrupt(defect).at(Location::object(place.clone()));
        let tables_len = tables_len_guess(segment.blocks);
        let first = segment
            .size
            .saturating_sub(tables_len.saturating_add(STATISTICS_LEN));
        let first = first..segment.size;
        let object = store.open_at(path, first).map_err(|error| {
            if matches!(error.kind(), ErrorKind::NotFound { .. }) {
                return at_place(Defect::SegmentMissing);
            }
            error
        })?;
        if object.size() != segment.size {
            let (stored, computed) = (segment.size, object.size());
            return Err(at_place(Defect::SegmentSize { stored, computed }));
        }
        if opening == Opening::Whole {
            object.expect_reads_from(0);
        }
        let reader = match opening {
            Opening::Checked | Opening::Whole => {
                Self::open_checked(object, place.clone(), tables_len, limits)?
            }
            Opening::Lookup => Self::open_tables(object, place.clone(), tables_len, None, limits)?,
        };
        // The manifest has only the ids of segment and snapshot.
        let named = SegmentIds {
            segment: segment.segment_id,
            snapshot,
            sync: reader.ids.sync,
        };
        named
            .check(&reader.ids, Structure::FileHeader)
            .map_err(at_place)?;
        Ok(reader)
    }

    /// Opens a segment on its own, whatever snapshot it belongs to.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Newer`, `Io`.
    pub fn open_object(
        object: Box<dyn ObjectReader>,
        place: String,
        limits: &Limits,
    ) -> Result<Self> {
        Self::open_checked(object, place, to_u64(TAIL_SIZE), limits)
    }

    /// Reads the file header first, and the tables afterwards: in another major version
    /// the tables may have another layout, and would look damaged.
    fn open_checked(
        object: Box<dyn ObjectReader>,
        place: String,
        tables_len: u64,
        limits: &Limits,
    ) -> Result<Self> {
        check_size(&*object, &place)?;
        let bytes = read_range(&*object, 0, to_u64(FILE_HEADER_SIZE))?;
        let header = FileHeader::decode(&bytes)
            .map_err(|defect| Error::corrupt(defect).at(Location::offset(&place, 0)))?;
        drop(bytes);
        Self::open_tables(object, place, tables_len, Some(&header), limits)
    }

    /// Reads the tail and the table of contents, in a single read if the guess of their
    /// length is right. Ids and version are compared with those of the file header (H4,
    /// A5), if there is one, before any checksum seeded by the ids is trusted.
    fn open_tables(
        object: Box<dyn ObjectReader>,
        place: String,
        tables_len: u64,
        header: Option<&FileHeader>,
        limits: &Limits,
    ) -> Result<Self> {
        let at = |offset: u64| {
            let place = place.clone();
            move |defect: Defect| Error::corrupt(defect).at(Location::offset(place, offset))
        };
        check_size(&*object, &place)?;
        let size = object.size();
        let tail_offset = size.saturating_sub(to_u64(TAIL_SIZE));
        let end_len = tables_len.clamp(to_u64(TAIL_SIZE), size);
        let end_offset = size.saturating_sub(end_len);
        let end = read_range(&*object, end_offset, end_len)?;
        let within_end = |offset: u64, len: u64| {
            let start = offset.checked_sub(end_offset)?;
            slice(&end, start, len, Structure::Segment).ok()
        };
        let tail_bytes = within_end(tail_offset, to_u64(TAIL_SIZE))
            .unwrap_or_default()
            .to_vec();
        let tail = Tail::decode(&tail_bytes, size).map_err(at(tail_offset))?;
        if let Some(header) = header {
            let checked = header.check_tail(&tail.ids, tail.minor);
            checked.map_err(at(tail_offset))?;
        }
        let toc_len_max = limits
            .toc_entry_count_max
            .saturating_mul(to_u64(TOC_ENTRY_SIZE) * 2);
        check_bound(Structure::Tail, "toc_len", tail.toc_len, toc_len_max)
            .map_err(at(tail_offset))?;
        let toc_bytes = match within_end(tail.toc_offset, tail.toc_len) {
            Some(bytes) => RangeBytes::Mapped(bytes),
            None => read_range(&*object, tail.toc_offset, tail.toc_len)?,
        };
        let (toc_frame, toc) = decode_toc(&toc_bytes, &tail.ids, &tail, limits)
            .map_err(|defect| judge(defect, tail.minor.into()))
            .map_err(at(tail.toc_offset))?;
        drop(toc_bytes);
        drop(end);
        let entries = toc.entries.iter().enumerate();
        let blocks = entries
            .filter(|(_, entry)| entry.is_block())
            .map(|(index, _)| index)
            .collect();
        let is_far = object.as_bytes().is_none();
        let far = toc.entries.iter().filter(|_| is_far);
        let covered = far.map(|_| OnceLock::new()).collect();
        Ok(Self {
            object,
            place,
            ids: tail.ids,
            minor: tail.minor,
            toc,
            limits: *limits,
            blocks,
            tail_bytes,
            toc_frame,
            covered,
            keys_ahead: KeysAhead::default(),
        })
    }
}

/// Refuses an object that has no room for file header and tail (A1).
fn check_size(object: &dyn ObjectReader, place: &str) -> Result<()> {
    let (needed, found) = (to_u64(FILE_HEADER_SIZE + TAIL_SIZE), object.size());
    if found >= needed {
        return Ok(());
    }
    let structure = Structure::Segment;
    let defect = Defect::Truncated {
        structure,
        needed,
        found,
    };
    Err(Error::corrupt(defect).at(Location::offset(place, 0)))
}

fn decode_toc(
    bytes: &[u8],
    ids: &SegmentIds,
    tail: &Tail,
    limits: &Limits,
) -> std::result::Result<(FrameHeader, Toc), Defect> {
    let frame = FrameHeader::decode(bytes, ids, tail.toc_offset)?;
    if frame.frame_type != FrameType::Toc {
        return Err(Defect::IllegalValue {
            structure: Structure::Toc,
            field: "frame type",
            stored: frame.frame_type.to_raw().into(),
        });
    }
    let payload = slice(
        bytes,
        to_u64(FRAME_HEADER_SIZE),
        frame.stored_len,
        Structure::Toc,
    )?;
    check_count(
        Structure::Tail,
        "toc_len",
        tail.toc_len,
        to_u64(FRAME_HEADER_SIZE).saturating_add(frame.stored_len),
    )?;
    frame.check_payload(ids, payload)?;
    let toc = Toc::decode(payload, tail.toc_offset, limits)?;
    if frame.sequence != to_u64(toc.entries.len()) {
        return Err(Defect::WrongPlace {
            structure: Structure::Toc,
            field: "sequence",
            stored: frame.sequence,
            computed: to_u64(toc.entries.len()),
        });
    }
    Ok((frame, toc))
}

/// Returns the length of the table of contents and the tail of a segment with this many
/// blocks, or slightly more.
fn tables_len_guess(block_count: u64) -> u64 {
    // Besides the blocks there are the description, the key index, the statistics, and the
    // checkpoints, of which there is fewer than one for 32 blocks.
    let entries = block_count
        .saturating_add(block_count / 32)
        .saturating_add(5);
    entries
        .saturating_mul(to_u64(TOC_ENTRY_SIZE))
        .saturating_add(to_u64(FRAME_HEADER_SIZE + TOC_HEADER_SIZE + TAIL_SIZE))
}
