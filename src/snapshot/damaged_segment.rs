//! A segment of which nothing is taken for granted: every block that can still
//! be proved to be one of it, wherever it stands.

use std::collections::{BTreeMap, BTreeSet};

use crate::cancel::Cancel;
use crate::defect::{Defect, Finding, Structure};
use crate::error::{ErrorKind, Location, Result};
use crate::format::block::{Block, BlockHeader};
use crate::format::bytes::{ByteReader, check_bound};
use crate::format::checkpoint::Checkpoint;
use crate::format::checksum::value_hash;
use crate::format::column::Columns;
use crate::format::compression::{SectionReader, salvage_section};
use crate::format::file_header::FileHeader;
use crate::format::frame::{FrameHeader, FrameType};
use crate::format::ids::{SegmentId, SegmentIds, SnapshotId, SyncMarker};
use crate::format::key_index::KeyIndex;
use crate::format::layout::{
    BLOCK_HEADER_SIZE, FILE_HEADER_SIZE, FRAME_HEADER_SIZE, FRAME_MARKER, TAIL_SIZE, TOC_ENTRY_SIZE,
};
use crate::format::salvage::{FrameClaim, decode_frame_anywhere, find_markers, surrogate_id};
use crate::format::segment_meta::SegmentMeta;
use crate::format::tail::Tail;
use crate::format::toc::{Toc, TocEntry};
use crate::item::{Record, escape_bytes};
use crate::limits::Limits;
use crate::snapshot::lossy_reader::LossyReader;
use crate::store::ObjectReader;
use crate::units::to_u64;

/// A segment that may be damaged, cut, without its head, or something else.
#[derive(Debug)]
pub struct DamagedSegment {
    object: Box<dyn ObjectReader>,
    place: String,
    limits: Limits,
    identity: Option<Identity>,
    meta: Option<SegmentMeta>,
}

/// What the frames of the segment are recognised by.
#[derive(Clone, Copy, Debug)]
struct Identity {
    segment: SegmentId,
    /// Unknown if nothing but blocks is left of the segment.
    snapshot: Option<SnapshotId>,
}

/// What was brought out of a segment, and what was not.
#[derive(Clone, Debug, Default)]
pub struct SegmentSalvage {
    /// Bytes of the file.
    pub size: u64,
    /// Blocks of which every record was brought out.
    pub blocks_whole: u64,
    /// Blocks that are known to have been there, and are damaged or missing.
    pub blocks_damaged: u64,
    /// Records brought out, those of damaged blocks included.
    pub records: u64,
    /// Records that are known to be lost.
    pub records_lost: u64,
    /// More may be lost than that: what told how much there was is lost, too.
    pub is_loss_unknown: bool,
    /// Blocks that stood in the file again.
    pub blocks_repeated: u64,
    /// Bytes of the file that are part of no sound structure.
    pub bytes_lost: u64,
    /// Bytes that the store could not read, among these.
    pub bytes_unreadable: u64,
    /// Keys of lost records, escaped; at most
    /// [`SegmentSalvage::LOST_KEY_COUNT_MAX`].
    pub lost_keys: Vec<String>,
    /// Lost records whose keys survived.
    pub lost_key_count: u64,
    /// What is damaged, at its place.
    pub findings: Vec<Finding>,
}

impl SegmentSalvage {
    /// Keys of lost records that are kept for each segment.
    pub const LOST_KEY_COUNT_MAX: usize = 10_000;
    /// Findings that are kept for each segment.
    pub const FINDING_COUNT_MAX: usize = 10_000;

    /// Says whether records are lost, or may be.
    pub fn has_loss(&self) -> bool {
        self.records_lost > 0 || self.is_loss_unknown
    }
}

/// What is known of a segment from elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    /// Its id.
    pub segment: Option<SegmentId>,
    /// How many records it had.
    pub records: Option<u64>,
}

impl DamagedSegment {
    /// Finds out which segment this is or was, and reads its description if
    /// there is one.
    ///
    /// # Errors
    ///
    /// - `Unsupported`: a sound file header says another major version.
    /// - `Canceled`.
    pub fn open(
        object: Box<dyn ObjectReader>,
        place: String,
        expected: &Expected,
        limits: &Limits,
        cancel: &Cancel,
    ) -> Result<Self> {
        let mut reader = LossyReader::random(&*object);
        let header = FileHeader::decode(reader.bytes(0, to_u64(FILE_HEADER_SIZE)));
        if let Err(error) = header
            && matches!(error.kind(), ErrorKind::Unsupported { .. })
        {
            return Err(error.at(Location::object(place)));
        }
        drop(reader);
        let mut segment = Self {
            object,
            place,
            limits: *limits,
            identity: None,
            meta: None,
        };
        segment.identity = segment.find_identity(expected, cancel)?;
        segment.meta = segment.find_meta(cancel)?;
        Ok(segment)
    }

    /// Returns what to call the segment in a message.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns the snapshot it is of, as far as it tells.
    pub fn snapshot_id(&self) -> Option<SnapshotId> {
        self.identity?.snapshot
    }

    /// Returns its description, if that survived.
    pub fn meta(&self) -> Option<&SegmentMeta> {
        self.meta.as_ref()
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.object.size()
    }

    /// Says whether anything in the file is part of a segment.
    pub fn is_segment(&self) -> bool {
        self.identity.is_some()
    }

    fn find_identity(&self, expected: &Expected, cancel: &Cancel) -> Result<Option<Identity>> {
        let mut reader = LossyReader::random(&*self.object);
        let of_ids = |ids: SegmentIds| Identity {
            segment: ids.segment,
            snapshot: Some(ids.snapshot),
        };
        let header = FileHeader::decode(reader.bytes(0, to_u64(FILE_HEADER_SIZE)))
            .ok()
            .map(|header| of_ids(header.ids));
        let tail = self
            .read_tail(&mut reader)
            .map(|(tail, _)| of_ids(tail.ids));
        if let Some(segment) = expected.segment {
            // The manifest is under a checksum of its own: it is believed first.
            let same = [header, tail].into_iter().flatten();
            let snapshot = same
                .filter(|identity| identity.segment == segment)
                .find_map(|identity| identity.snapshot);
            return Ok(Some(Identity { segment, snapshot }));
        }
        match (header, tail) {
            (Some(header), Some(tail)) if header.segment != tail.segment => {
                // Two segments in one file: that which has more frames in it.
                let found = self.find_identity_by_frames(cancel)?;
                Ok(found.or(Some(header)))
            }
            (Some(identity), _) | (None, Some(identity)) => Ok(Some(identity)),
            (None, None) => self.find_identity_by_frames(cancel),
        }
    }

    /// Reads the tail; returns it with the place where its table of contents
    /// starts now, should bytes be missing at the front.
    fn read_tail(&self, reader: &mut LossyReader<'_>) -> Option<(Tail, u64)> {
        let offset = self.object.size().checked_sub(to_u64(TAIL_SIZE))?;
        let bytes = reader.bytes(offset, to_u64(TAIL_SIZE));
        let claimed = bytes.get(64..72)?.first_chunk().copied()?;
        let tail = Tail::decode(bytes, u64::from_le_bytes(claimed)).ok()?;
        let toc_offset = offset.checked_sub(tail.toc_len)?;
        Some((tail, toc_offset))
    }

    /// Takes the ids from the frames: those of the segment with most of them.
    ///
    /// A value may itself be a segment. Its frames say a place before the one
    /// where they stand, which no frame of this file does unless bytes were put
    /// in front.
    fn find_identity_by_frames(&self, cancel: &Cancel) -> Result<Option<Identity>> {
        #[derive(Default)]
        struct Tally {
            in_place: u64,
            all: u64,
            header: Vec<u8>,
            ids: Option<SegmentIds>,
            confirmed: Option<SegmentId>,
        }
        let mut scan = LossyReader::sequential(&*self.object);
        let reader = &mut LossyReader::random(&*self.object);
        let mut tallies: BTreeMap<[u8; 8], Tally> = BTreeMap::new();
        let size = self.object.size();
        let mut from = 0;
        while let Some(at) = next_marker(&mut scan, from, size, cancel)? {
            from = at.saturating_add(1);
            let header = scan.bytes(at, to_u64(FRAME_HEADER_SIZE)).to_vec();
            let Some(claim) = FrameClaim::read(&header) else {
                continue;
            };
            // Noise that looks like frames cannot fill the memory.
            const TALLY_COUNT_MAX: usize = 100_000;
            if tallies.len() >= TALLY_COUNT_MAX && !tallies.contains_key(&claim.sync.0) {
                continue;
            }
            let tally = tallies.entry(claim.sync.0).or_default();
            tally.all = tally.all.saturating_add(1);
            if claim.offset >= at {
                tally.in_place = tally.in_place.saturating_add(1);
            }
            if tally.ids.is_none() {
                tally.ids = self.read_ids_of_frame(reader, at, &header, &claim);
            }
            if tally.confirmed.is_none() && !tally.header.is_empty() {
                tally.confirmed = surrogate_id(&tally.header)
                    .filter(|&id| decode_frame_anywhere(&header, id).is_ok());
            }
            if tally.confirmed.is_none() {
                tally.confirmed =
                    surrogate_id(&header).filter(|&id| self.is_block_of(reader, at, &header, id));
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

    /// Reads the ids out of a frame that repeats them, and proves them by its
    /// checksums.
    fn read_ids_of_frame(
        &self,
        reader: &mut LossyReader<'_>,
        at: u64,
        header: &[u8],
        claim: &FrameClaim,
    ) -> Option<SegmentIds> {
        let len = claim.stored_len.min(self.limits.meta_len_max);
        let payload = reader.bytes(at.saturating_add(to_u64(FRAME_HEADER_SIZE)), len);
        let ids = match FrameType::from_raw(claim.frame_type) {
            FrameType::Meta => serde_json::from_slice::<SegmentMeta>(payload).ok()?.ids(),
            FrameType::Checkpoint => {
                SegmentIds::decode(&mut ByteReader::new(payload, Structure::Checkpoint)).ok()?
            }
            FrameType::Block
            | FrameType::ValuePart
            | FrameType::KeyIndex
            | FrameType::Stat
            | FrameType::Toc
            | FrameType::Other(_) => return None,
        };
        decode_frame_anywhere(header, ids.segment).ok()?;
        Some(ids)
    }

    /// Says whether a frame is a block whose own header fits the id, too.
    fn is_block_of(
        &self,
        reader: &mut LossyReader<'_>,
        at: u64,
        header: &[u8],
        id: SegmentId,
    ) -> bool {
        let Ok(frame) = decode_frame_anywhere(header, id) else {
            return false;
        };
        let payload = at.saturating_add(to_u64(FRAME_HEADER_SIZE));
        let bytes = reader.bytes(payload, to_u64(BLOCK_HEADER_SIZE));
        frame.frame_type == FrameType::Block
            && BlockHeader::decode(
                bytes,
                frame.stored_len,
                &ids_of(id),
                frame.sequence,
                &self.limits,
            )
            .is_ok()
    }

    /// Reads the description, which stands right behind the file header unless
    /// the front is missing.
    fn find_meta(&self, cancel: &Cancel) -> Result<Option<SegmentMeta>> {
        let Some(identity) = self.identity else {
            return Ok(None);
        };
        let mut reader = LossyReader::random(&*self.object);
        let mut from = 0;
        // Farther behind it would only be by chance.
        let end = self.object.size().min(2 << 20);
        while let Some(at) = next_marker(&mut reader, from, end, cancel)? {
            from = at.saturating_add(1);
            let header = reader.bytes(at, to_u64(FRAME_HEADER_SIZE));
            let Ok(frame) = decode_frame_anywhere(header, identity.segment) else {
                continue;
            };
            if frame.frame_type == FrameType::Meta {
                let len = frame.stored_len.min(self.limits.meta_len_max);
                let payload = reader.bytes(at.saturating_add(to_u64(FRAME_HEADER_SIZE)), len);
                let checked = frame.check_payload(&ids_of(identity.segment), payload);
                if checked.is_ok() {
                    return Ok(serde_json::from_slice(payload).ok());
                }
            }
        }
        Ok(None)
    }

    /// Brings out every record that can be proved, in the order of the file;
    /// those of damaged blocks come last.
    ///
    /// # Errors
    ///
    /// - `Canceled`, and what `take` fails with. What is damaged is no error.
    ///
    /// # Memory
    ///
    /// One block as stored and decompressed, and the table of contents.
    pub fn salvage(
        &self,
        expected: &Expected,
        cancel: &Cancel,
        take: &mut dyn FnMut(&Record<'_>) -> Result<()>,
    ) -> Result<SegmentSalvage> {
        let Some(identity) = self.identity else {
            return Ok(self.nothing(expected));
        };
        let mut walk = Walk {
            segment: self,
            id: identity.segment,
            scan: LossyReader::sequential(&*self.object),
            reader: LossyReader::random(&*self.object),
            failed_len_max: self
                .object
                .size()
                .saturating_mul(4)
                .saturating_add(FAILED_LEN_FREE),
            sections: SectionReader::default(),
            cancel,
            tally: SegmentSalvage {
                size: self.object.size(),
                ..SegmentSalvage::default()
            },
            covered: 0,
            whole: BTreeSet::new(),
            sequences: BTreeSet::new(),
            damaged: BTreeMap::new(),
            shift: 0,
            shifts: BTreeMap::new(),
            known: BTreeMap::new(),
            records_total: expected.records,
            has_end: false,
        };
        walk.check_ends();
        walk.scan(take)?;
        walk.try_known_places(take)?;
        walk.bring_parts(take)?;
        Ok(walk.finish())
    }

    /// What is said of a file in which nothing is found.
    fn nothing(&self, expected: &Expected) -> SegmentSalvage {
        let size = self.object.size();
        let structure = Structure::Segment;
        let finding = Finding::new(
            Location::object(self.place.clone()),
            Defect::BadMagic { structure },
        );
        SegmentSalvage {
            size,
            bytes_lost: size,
            records_lost: expected.records.unwrap_or(0),
            is_loss_unknown: expected.records.is_none(),
            findings: vec![finding],
            ..SegmentSalvage::default()
        }
    }
}

/// Ids for checks that use the segment's alone.
fn ids_of(segment: SegmentId) -> SegmentIds {
    SegmentIds {
        segment,
        snapshot: SnapshotId([0; 16]),
        sync: SyncMarker([0; 8]),
    }
}

/// Returns the next place before `end` where a frame may start.
fn next_marker(
    reader: &mut LossyReader<'_>,
    from: u64,
    end: u64,
    cancel: &Cancel,
) -> Result<Option<u64>> {
    let marker_len = to_u64(FRAME_MARKER.len());
    let mut at = from;
    while at < end {
        cancel.check()?;
        let bytes = reader.bytes_at_hand(at, marker_len);
        if let Some(found) = find_markers(bytes).next() {
            let found = at.saturating_add(to_u64(found));
            return Ok((found < end).then_some(found));
        }
        let len = to_u64(bytes.len());
        if len < marker_len {
            break;
        }
        // A marker may lie across the end of what was at hand.
        at = at.saturating_add(len).saturating_sub(marker_len - 1);
    }
    Ok(None)
}

/// A block that is not whole, to be looked at again at the end.
#[derive(Clone, Copy, Debug)]
struct DamagedBlock {
    payload_offset: u64,
    stored_len: Option<u64>,
}

/// Bytes that may be looked at in vain, besides four times the file.
const FAILED_LEN_FREE: u64 = 64 << 20;

/// One walk through a damaged segment.
struct Walk<'a> {
    segment: &'a DamagedSegment,
    id: SegmentId,
    /// Goes through the file, once.
    scan: LossyReader<'a>,
    /// Looks at what the scan finds.
    reader: LossyReader<'a>,
    /// Bytes that may still be looked at in vain: structures that claim each
    /// other's bytes would otherwise be read again and again.
    failed_len_max: u64,
    sections: SectionReader,
    cancel: &'a Cancel,
    tally: SegmentSalvage,
    /// Bytes that are part of a sound structure.
    covered: u64,
    /// Sequence numbers of blocks that were brought out whole.
    whole: BTreeSet<u64>,
    /// Sequence numbers of all frames that were met.
    sequences: BTreeSet<u64>,
    /// By their sequence number.
    damaged: BTreeMap<u64, DamagedBlock>,
    /// How far before its own place the last frame stood.
    shift: i128,
    /// The same of each frame with which it changed, by its sequence number.
    shifts: BTreeMap<u64, i128>,
    /// Frames that a table of contents or a checkpoint knows, by their
    /// sequence numbers.
    known: BTreeMap<u64, TocEntry>,
    /// Records that there were, if anything tells.
    records_total: Option<u64>,
    /// The end of the segment was there: no frame can be missing behind.
    has_end: bool,
}

impl Walk<'_> {
    fn note(&mut self, offset: u64, defect: Defect) {
        if self.tally.findings.len() < SegmentSalvage::FINDING_COUNT_MAX {
            let location = Location::offset(&self.segment.place, offset);
            self.tally.findings.push(Finding::new(location, defect));
        }
    }

    /// Looks at file header and tail, which are no frames.
    fn check_ends(&mut self) {
        let header = self.reader.bytes(0, to_u64(FILE_HEADER_SIZE));
        match FileHeader::decode(header) {
            Ok(_) => self.covered = self.covered.saturating_add(to_u64(FILE_HEADER_SIZE)),
            Err(error) => {
                if let Ok(Finding { defect, .. }) = Finding::from_error(error, &self.segment.place)
                {
                    self.note(0, defect);
                }
            }
        }
        match self.segment.read_tail(&mut self.reader) {
            Some((tail, _)) if tail.ids.segment == self.id => {
                self.covered = self.covered.saturating_add(to_u64(TAIL_SIZE));
                self.has_end = true;
                if tail.file_len != self.tally.size {
                    let (stored, computed) = (tail.file_len, self.tally.size);
                    let offset = self.tally.size.saturating_sub(to_u64(TAIL_SIZE));
                    self.note(
                        offset,
                        Defect::CountMismatch {
                            structure: Structure::Tail,
                            field: "file_len",
                            stored,
                            computed,
                        },
                    );
                }
            }
            Some(_) | None => {
                let structure = Structure::Tail;
                let offset = self.tally.size.saturating_sub(to_u64(TAIL_SIZE));
                self.note(offset, Defect::BadMagic { structure });
            }
        }
    }

    /// Goes through the file from frame to frame, and from marker to marker
    /// where a frame is damaged.
    fn scan(&mut self, take: &mut dyn FnMut(&Record<'_>) -> Result<()>) -> Result<()> {
        let size = self.tally.size;
        // Without its head, the file starts anywhere.
        let mut from = 0;
        while let Some(at) = next_marker(&mut self.scan, from, size, self.cancel)? {
            from = at.saturating_add(1);
            let header = self.scan.bytes(at, to_u64(FRAME_HEADER_SIZE));
            match decode_frame_anywhere(header, self.id) {
                Ok(frame) => from = self.frame(at, &frame, take)?,
                // Its checksum is right, so that it is a frame of this segment.
                Err(defect @ Defect::UnknownCritical { .. }) => {
                    self.note(at, defect);
                    self.tally.is_loss_unknown = true;
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Takes blocks whose frame headers are damaged: they follow a frame whose
    /// end is known, by a block header that fits the next sequence number.
    /// Returns where they end.
    fn headless_blocks(
        &mut self,
        start: u64,
        sequence: u64,
        take: &mut dyn FnMut(&Record<'_>) -> Result<()>,
    ) -> Result<u64> {
        let (mut at, mut sequence) = (start, sequence);
        loop {
            let header = self.reader.bytes(at, to_u64(FRAME_HEADER_SIZE));
            if decode_frame_anywhere(header, self.id).is_ok() {
                return Ok(at);
            }
            let payload_offset = at.saturating_add(to_u64(FRAME_HEADER_SIZE));
            let Some(end) = self.try_block(payload_offset, None, sequence, take)? else {
                return Ok(at);
            };
            self.note_frame_header(at);
            at = end;
            sequence = sequence.saturating_add(1);
        }
    }

    fn note_frame_header(&mut self, at: u64) {
        let header = self.reader.bytes(at, to_u64(FRAME_HEADER_SIZE));
        if let Err(defect) = decode_frame_anywhere(header, self.id) {
            self.note(at, defect);
        }
    }

    /// Takes a frame whose header is sound; returns where to go on.
    fn frame(
        &mut self,
        at: u64,
        frame: &FrameHeader,
        take: &mut dyn FnMut(&Record<'_>) -> Result<()>,
    ) -> Result<u64> {
        let payload_offset = at.saturating_add(to_u64(FRAME_HEADER_SIZE));
        let bound = self.segment.limits.toc_entry_count_max;
        let checked = check_bound(Structure::FrameHeader, "sequence", frame.sequence, bound);
        if let Err(defect) = checked {
            self.note(at, defect);
            self.tally.is_loss_unknown = true;
            return Ok(payload_offset);
        }
        let is_new = self.sequences.insert(frame.sequence);
        // What is missing or too much in front moves all that follows: told
        // once, where it starts.
        let shift = i128::from(frame.offset).saturating_sub(at.into());
        if shift != self.shift {
            let (stored, computed) = (frame.offset, at);
            let structure = Structure::FrameHeader;
            let field = "offset";
            self.note(
                at,
                Defect::WrongPlace {
                    structure,
                    field,
                    stored,
                    computed,
                },
            );
        }
        if shift != self.shift || self.shifts.is_empty() {
            self.shifts.insert(frame.sequence, shift);
        }
        self.shift = shift;
        self.covered = self.covered.saturating_add(to_u64(FRAME_HEADER_SIZE));
        let end = payload_offset.saturating_add(frame.stored_len);
        let next = frame.sequence.saturating_add(1);
        if frame.frame_type == FrameType::Block {
            let stored_len = Some(frame.stored_len);
            if let Some(end) = self.try_block(payload_offset, stored_len, frame.sequence, take)? {
                return self.headless_blocks(end, next, take);
            }
            if !self.whole.contains(&frame.sequence) {
                self.damaged.entry(frame.sequence).or_insert(DamagedBlock {
                    payload_offset,
                    stored_len,
                });
            }
        } else if is_new {
            self.table(payload_offset, frame);
        }
        self.headless_blocks(end, next, take)?;
        // What a damaged payload has in it, or what took its place, may be
        // frames of this segment, too.
        Ok(payload_offset)
    }

    /// Reads a frame that is no block, for what it tells of the blocks.
    fn table(&mut self, payload_offset: u64, frame: &FrameHeader) {
        let size = self.tally.size;
        let entry_len = to_u64(TOC_ENTRY_SIZE);
        let bound = self
            .segment
            .limits
            .toc_entry_count_max
            .saturating_mul(entry_len);
        let structure = Structure::FramePayload;
        let left = self.failed_len_max.min(bound);
        let checked = check_bound(structure, "stored_len", frame.stored_len, left);
        let len = checked.as_ref().map_or(0, |()| frame.stored_len);
        let payload = self.reader.bytes(payload_offset, len);
        let ids = ids_of(self.id);
        let limits = &self.segment.limits;
        let mut entries = Vec::new();
        let mut records_total = None;
        let checked = checked
            .and_then(|()| frame.check_payload(&ids, payload))
            .and_then(|()| match frame.frame_type {
                FrameType::Toc => {
                    // It stands where it says, or the places in it are checked
                    // against where it was.
                    let toc = Toc::decode(payload, frame.offset, limits)?;
                    records_total = Some(toc.record_count);
                    entries = (0..).zip(toc.entries).collect();
                    Ok(())
                }
                FrameType::Checkpoint => {
                    let mut reader = ByteReader::new(payload, Structure::Checkpoint);
                    let stored = SegmentIds::decode(&mut reader)?;
                    let checkpoint = Checkpoint::decode(payload, &stored, frame.offset)?;
                    let count = to_u64(checkpoint.entries.len());
                    let first = frame.sequence.saturating_sub(count);
                    entries = (first..).zip(checkpoint.entries).collect();
                    Ok(())
                }
                FrameType::KeyIndex => {
                    // Which blocks there are is not known here.
                    let any = u32::MAX.into();
                    let decoded = KeyIndex::decode(payload, &ids, any);
                    decoded.map(|_| ()).map_err(|(_, defect)| defect)
                }
                FrameType::Meta
                | FrameType::Block
                | FrameType::ValuePart
                | FrameType::Stat
                | FrameType::Other(_) => Ok(()),
            });
        match checked {
            Ok(()) => {
                self.covered = self.covered.saturating_add(frame.stored_len);
                self.known.extend(entries);
                self.records_total = self.records_total.or(records_total);
                self.has_end |= frame.frame_type == FrameType::Toc;
            }
            Err(defect) => {
                self.failed_len_max = self
                    .failed_len_max
                    .saturating_sub(frame.stored_len.min(size));
                self.note(payload_offset, defect);
            }
        }
    }

    /// Takes a block if it is whole; returns where it ends.
    fn try_block(
        &mut self,
        payload_offset: u64,
        stored_len: Option<u64>,
        sequence: u64,
        take: &mut dyn FnMut(&Record<'_>) -> Result<()>,
    ) -> Result<Option<u64>> {
        let Some((header, payload_len)) = self.block_header(payload_offset, stored_len, sequence)
        else {
            return Ok(None);
        };
        if payload_len > self.failed_len_max {
            return Ok(None);
        }
        let payload = self.reader.bytes(payload_offset, payload_len);
        let whole = Block::decode(&header, payload, &mut self.sections)
            .ok()
            .filter(|block| {
                (0..block.len()).all(|index| matches!(block.record(index), Some(Ok(_))))
            });
        let Some(block) = whole else {
            self.failed_len_max = self
                .failed_len_max
                .saturating_sub(payload_len.min(self.tally.size));
            return Ok(None);
        };
        let end = payload_offset.saturating_add(payload_len);
        self.sequences.insert(sequence);
        self.damaged.remove(&sequence);
        self.covered = self.covered.saturating_add(payload_len);
        if !self.whole.insert(sequence) {
            self.tally.blocks_repeated = self.tally.blocks_repeated.saturating_add(1);
            return Ok(Some(end));
        }
        self.tally.blocks_whole = self.tally.blocks_whole.saturating_add(1);
        for index in 0..block.len() {
            if let Some(Ok(record)) = block.record(index) {
                take(&record)?;
                self.tally.records = self.tally.records.saturating_add(1);
            }
        }
        Ok(Some(end))
    }

    /// Reads the header of a block's payload; returns it with the length of the
    /// payload, which is bounded.
    fn block_header(
        &mut self,
        payload_offset: u64,
        stored_len: Option<u64>,
        sequence: u64,
    ) -> Option<(BlockHeader, u64)> {
        let bytes = self.reader.bytes(payload_offset, to_u64(BLOCK_HEADER_SIZE));
        let len = stored_len.or_else(|| BlockHeader::claimed_payload_len(bytes))?;
        let limits = &self.segment.limits;
        let header = BlockHeader::decode(bytes, len, &ids_of(self.id), sequence, limits).ok()?;
        Some((header, len))
    }

    /// Looks where the tables say a block is, for those that no scan can find
    /// because their frame header is damaged.
    fn try_known_places(&mut self, take: &mut dyn FnMut(&Record<'_>) -> Result<()>) -> Result<()> {
        let missed: Vec<(u64, TocEntry)> = self
            .known
            .iter()
            .filter(|(sequence, entry)| entry.is_block() && !self.whole.contains(sequence))
            .map(|(sequence, entry)| (*sequence, *entry))
            .collect();
        for (sequence, entry) in missed {
            self.cancel.check()?;
            let Some(place) = self.place_now(sequence, entry.offset) else {
                let structure = Structure::BlockHeader;
                let needed = to_u64(BLOCK_HEADER_SIZE);
                self.note(
                    0,
                    Defect::Truncated {
                        structure,
                        needed,
                        found: 0,
                    },
                );
                self.tally.blocks_damaged = self.tally.blocks_damaged.saturating_add(1);
                self.lose(Some(entry.record_count));
                continue;
            };
            let payload_offset = place.saturating_add(to_u64(FRAME_HEADER_SIZE));
            let stored_len = Some(entry.stored_len);
            if self
                .try_block(payload_offset, stored_len, sequence, take)?
                .is_some()
            {
                self.note_frame_header(place);
            } else {
                self.damaged.entry(sequence).or_insert(DamagedBlock {
                    payload_offset,
                    stored_len,
                });
            }
        }
        Ok(())
    }

    /// Returns where a frame is now that was written at `offset`, by the frames
    /// before it; `None` if that is before the file.
    fn place_now(&self, sequence: u64, offset: u64) -> Option<u64> {
        let before = self.shifts.range(..=sequence).next_back();
        let after = self.shifts.range(sequence..).next();
        let shift = before.or(after).map_or(0, |(_, shift)| *shift);
        u64::try_from(i128::from(offset).saturating_sub(shift)).ok()
    }

    /// Brings out what can be proved of the damaged blocks, record by record.
    fn bring_parts(&mut self, take: &mut dyn FnMut(&Record<'_>) -> Result<()>) -> Result<()> {
        for (sequence, block) in std::mem::take(&mut self.damaged) {
            self.cancel.check()?;
            self.tally.blocks_damaged = self.tally.blocks_damaged.saturating_add(1);
            let known = self.known.get(&sequence).map(|entry| entry.record_count);
            let Some((header, payload_len)) =
                self.block_header(block.payload_offset, block.stored_len, sequence)
            else {
                let defect = self.defect_of_header(&block, sequence);
                self.note(block.payload_offset, defect);
                self.lose(known);
                continue;
            };
            let payload = self.reader.bytes(block.payload_offset, payload_len);
            let whole = Block::decode(&header, payload, &mut self.sections);
            let keys = header
                .key_section(payload)
                .and_then(|stored| header.decode_keys(stored, &mut self.sections));
            let columns = match keys {
                Ok(columns) => columns,
                Err(defect) => {
                    self.note(block.payload_offset, defect);
                    self.lose(Some(header.record_count));
                    continue;
                }
            };
            let start = BLOCK_HEADER_SIZE
                .saturating_add(usize::try_from(header.keys.stored_len).unwrap_or(usize::MAX));
            let end = usize::try_from(payload_len).unwrap_or(usize::MAX);
            let stored = payload
                .get(start..end.min(payload.len()))
                .unwrap_or_default();
            let values = salvage_section(&header.values, stored);
            let defect = match whole {
                Err(defect) => defect,
                // Then it is a single value that is wrong.
                Ok(block) => (0..block.len())
                    .find_map(|index| block.record(index)?.err())
                    .unwrap_or(Defect::BadMagic {
                        structure: Structure::ValueSection,
                    }),
            };
            self.note(block.payload_offset, defect);
            self.bring_records(&columns, &values, take)?;
        }
        Ok(())
    }

    fn defect_of_header(&mut self, block: &DamagedBlock, sequence: u64) -> Defect {
        let bytes = self
            .reader
            .bytes(block.payload_offset, to_u64(BLOCK_HEADER_SIZE));
        let len = block.stored_len.unwrap_or(0);
        let limits = &self.segment.limits;
        let decoded = BlockHeader::decode(bytes, len, &ids_of(self.id), sequence, limits);
        decoded.err().unwrap_or(Defect::BadMagic {
            structure: Structure::BlockHeader,
        })
    }

    fn lose(&mut self, records: Option<u32>) {
        match records {
            Some(records) => {
                self.tally.records_lost = self.tally.records_lost.saturating_add(records.into());
            }
            None => self.tally.is_loss_unknown = true,
        }
    }

    /// Takes the records whose values are still those that their hashes say.
    fn bring_records(
        &mut self,
        columns: &Columns,
        values: &[u8],
        take: &mut dyn FnMut(&Record<'_>) -> Result<()>,
    ) -> Result<()> {
        for index in 0..columns.len() {
            let Some(found) = columns.get(index) else {
                continue;
            };
            let value = columns
                .value_range(index)
                .and_then(|range| values.get(range))
                .filter(|value| value_hash(value) == found.value_hash);
            if let Some(value) = value {
                let (key, meta) = (found.key, found.meta);
                take(&Record { key, value, meta })?;
                self.tally.records = self.tally.records.saturating_add(1);
                continue;
            }
            self.lose(Some(1));
            self.tally.lost_key_count = self.tally.lost_key_count.saturating_add(1);
            if self.tally.lost_keys.len() < SegmentSalvage::LOST_KEY_COUNT_MAX {
                self.tally.lost_keys.push(escape_bytes(found.key));
            }
        }
        Ok(())
    }

    /// Adds up what is lost.
    fn finish(mut self) -> SegmentSalvage {
        self.tally.bytes_unreadable = self.scan.unreadable_len();
        self.tally.bytes_lost = self.tally.size.saturating_sub(self.covered);
        if let Some(total) = self.records_total {
            let lost = total.saturating_sub(self.tally.records);
            if lost >= self.tally.records_lost {
                self.tally.records_lost = lost;
                self.tally.is_loss_unknown = false;
            }
            return self.tally;
        }
        // Nothing tells how many there were: frames that are missing between
        // others, or behind the last one, may have been blocks.
        let frame_count = to_u64(self.sequences.len());
        let last = self.sequences.last().copied();
        let has_gap = last.is_some_and(|last| last.saturating_add(1) != frame_count);
        self.tally.is_loss_unknown |= has_gap || !self.has_end;
        self.tally
    }
}
