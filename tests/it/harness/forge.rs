//! Segments that lie: fields changed by name, and every checksum made right
//! again.
//!
//! All structures are under checksums, so a flipped bit never gets past the
//! first of them. A forged segment does: a [`Forge`] takes a sound one apart,
//! content is replaced ([`Forge::set_payload`] and its like, which keep all
//! places and lengths true), fields are set to lies ([`Forge::set`]), and
//! [`Forge::seal`] computes the checksums over what is there then. Content
//! first, then lies: the former writes places and lengths anew.
//!
//! Knows only the tables of `mcsnap::codecs::format::layout` and section 6 of
//! FORMAT.md; none of the decoders under test.

use std::ops::Range;

use byteorder::{ByteOrder as _, LittleEndian};
use mcsnap::codecs::format::layout::{
    BLOCK_HEADER, BLOCK_HEADER_SIZE, CHECKPOINT_ENTRY, CHECKPOINT_ENTRY_SIZE, CHECKPOINT_HEADER,
    CHECKPOINT_HEADER_SIZE, COLUMN_ENTRY, COLUMN_ENTRY_SIZE, COLUMNS_HEADER, COLUMNS_HEADER_SIZE,
    FILE_HEADER, FILE_HEADER_SIZE, FRAME_HEADER, FRAME_HEADER_SIZE, FRAME_MARKER, Field,
    KEY_INDEX_HEADER, KEY_INDEX_HEADER_SIZE, PAGE_HEADER, PAGE_SIZE, SECTION, STAT_HEADER,
    STAT_HEADER_SIZE, STAT_SECTION, STAT_SECTION_SIZE, TAIL, TAIL_SIZE, TOC_ENTRY, TOC_ENTRY_SIZE,
    TOC_HEADER, TOC_HEADER_SIZE, VALUE_PART_HEADER, VALUE_PART_HEADER_SIZE,
};

/// Frame types, FORMAT.md 5.3.
pub(crate) const META: u8 = 1;
pub(crate) const BLOCK: u8 = 2;
pub(crate) const VALUE_PART: u8 = 3;
pub(crate) const CHECKPOINT: u8 = 4;
pub(crate) const KEY_INDEX: u8 = 5;
pub(crate) const STAT: u8 = 6;
pub(crate) const TOC: u8 = 7;

/// Flag bits of a frame, FORMAT.md 5.2.
pub(crate) const CRITICAL: u8 = 1;
pub(crate) const HAS_PAYLOAD_CRC: u8 = 2;

/// Codecs of a section, FORMAT.md 5.5.
pub(crate) const PLAIN: u8 = 0;

/// One of the two sections of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Keys and metadata.
    Keys,
    /// Values.
    Values,
}

/// A structure of the segment; numbers count from 0 in file order, those of
/// blocks, parts and checkpoints among their kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// 5.1.
    FileHeader,
    /// 5.2, of any frame; the last is the table of contents.
    Frame(usize),
    /// 5.5, of a block.
    Block(usize),
    /// 5.5, a descriptor in the header of a block.
    Section(usize, Side),
    /// 5.6, in a block whose key section is plain.
    Columns(usize),
    /// 5.6, in a block whose key section is plain: block, column.
    Column(usize, usize),
    /// 5.7.
    Part(usize),
    /// 5.7, the descriptor in the header of a part.
    PartSection(usize),
    /// 5.8.
    KeyIndex,
    /// 5.8.
    Page(usize),
    /// 5.9.
    Checkpoint(usize),
    /// 5.9: checkpoint, entry.
    CheckpointEntry(usize, usize),
    /// 5.16, where there is one.
    Stat,
    /// 5.16, an entry of the directory.
    StatSection(usize),
    /// 5.10.
    Toc,
    /// 5.10, one a frame.
    TocEntry(usize),
    /// 5.11.
    Tail,
}

/// Where a frame really is, whatever the tables say later.
#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: u8,
    start: usize,
    end: usize,
    /// The times of a block, which stand in the table of contents alone.
    times: [u8; TIMES_SIZE],
}

/// Bytes of `exptime_min` to `never_count` in an entry of the table of contents.
const TIMES_SIZE: usize = 36;

/// The times of a block of which none are known.
fn no_times() -> [u8; TIMES_SIZE] {
    let mut times = [0; TIMES_SIZE];
    times[..8].fill(0xff);
    times[16..24].fill(0xff);
    times
}

impl Frame {
    fn payload(&self) -> Range<usize> {
        self.start + FRAME_HEADER_SIZE..self.end
    }
}

/// A segment being forged.
#[derive(Clone, Debug)]
pub(crate) struct Forge {
    bytes: Vec<u8>,
    frames: Vec<Frame>,
}

impl Forge {
    /// Takes a sound segment.
    pub(crate) fn new(segment: &[u8]) -> Self {
        Self::of_any(segment).expect("a sound segment is needed")
    }

    /// Takes any bytes whose frames, by the lengths they claim, lead from the
    /// file header to a table of contents in front of the tail.
    pub(crate) fn of_any(bytes: &[u8]) -> Option<Self> {
        let mut forge = Self {
            bytes: bytes.to_vec(),
            frames: Vec::new(),
        };
        if !forge.find_frames() {
            return None;
        }
        for number in 0..entry_count(forge.toc(), TOC_HEADER_SIZE, TOC_ENTRY_SIZE) {
            let times = forge.times_range(number);
            if let Some(frame) = forge.frames.get_mut(number) {
                frame.times.copy_from_slice(&forge.bytes[times]);
            }
        }
        Some(forge)
    }

    /// Returns the segment as it is, checksums and all.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Every structure there is.
    pub(crate) fn places(&self) -> Vec<Place> {
        let mut places = vec![Place::FileHeader];
        places.extend((0..self.frames.len()).map(Place::Frame));
        for (block, (_, frame)) in self.of_kind(BLOCK).enumerate() {
            places.push(Place::Block(block));
            places.push(Place::Section(block, Side::Keys));
            places.push(Place::Section(block, Side::Values));
            let room = frame.payload().len() - BLOCK_HEADER_SIZE;
            let is_plain = self.get(Place::Section(block, Side::Keys), "codec") == u64::from(PLAIN);
            if is_plain && let Some(room) = room.checked_sub(COLUMNS_HEADER_SIZE) {
                places.push(Place::Columns(block));
                let columns = to_usize(self.get(Place::Columns(block), "column_count"));
                let columns = columns.min(room / COLUMN_ENTRY_SIZE);
                places.extend((0..columns).map(|column| Place::Column(block, column)));
            }
        }
        for part in 0..self.count_of(VALUE_PART) {
            places.extend([Place::Part(part), Place::PartSection(part)]);
        }
        for checkpoint in 0..self.count_of(CHECKPOINT) {
            places.push(Place::Checkpoint(checkpoint));
            let frame = self.nth(CHECKPOINT, checkpoint);
            let entries = entry_count(frame, CHECKPOINT_HEADER_SIZE, CHECKPOINT_ENTRY_SIZE);
            places.extend((0..entries).map(|entry| Place::CheckpointEntry(checkpoint, entry)));
        }
        if self.count_of(KEY_INDEX) > 0 {
            places.push(Place::KeyIndex);
            places.extend((0..self.page_count()).map(Place::Page));
        }
        if self.count_of(STAT) > 0 {
            places.push(Place::Stat);
            let payload = self.nth(STAT, 0).payload();
            let room = payload.len().saturating_sub(STAT_HEADER_SIZE) / STAT_SECTION_SIZE;
            let sections = to_usize(self.get(Place::Stat, "section_count")).min(room);
            places.extend((0..sections).map(Place::StatSection));
        }
        places.push(Place::Toc);
        let entries = entry_count(self.toc(), TOC_HEADER_SIZE, TOC_ENTRY_SIZE);
        places.extend((0..entries).map(Place::TocEntry));
        places.push(Place::Tail);
        places
    }

    /// The fields of a structure.
    pub(crate) fn fields(place: Place) -> &'static [Field] {
        match place {
            Place::FileHeader => FILE_HEADER,
            Place::Frame(_) => FRAME_HEADER,
            Place::Block(_) => BLOCK_HEADER,
            Place::Section(..) | Place::PartSection(_) => SECTION,
            Place::Part(_) => VALUE_PART_HEADER,
            Place::Columns(_) => COLUMNS_HEADER,
            Place::Column(..) => COLUMN_ENTRY,
            Place::KeyIndex => KEY_INDEX_HEADER,
            Place::Page(_) => PAGE_HEADER,
            Place::Checkpoint(_) => CHECKPOINT_HEADER,
            Place::Stat => STAT_HEADER,
            Place::StatSection(_) => STAT_SECTION,
            Place::Toc => TOC_HEADER,
            Place::TocEntry(_) => TOC_ENTRY,
            Place::CheckpointEntry(..) => CHECKPOINT_ENTRY,
            Place::Tail => TAIL,
        }
    }

    /// Where a structure starts and ends in the file.
    pub(crate) fn range(&self, place: Place) -> Range<usize> {
        let start = match place {
            Place::FileHeader => 0,
            Place::Frame(frame) => self.frames[frame].start,
            Place::Block(block) => self.nth(BLOCK, block).payload().start,
            Place::Section(block, side) => {
                let name = match side {
                    Side::Keys => "key_section",
                    Side::Values => "value_section",
                };
                let header = Place::Block(block);
                self.range(header).start + field_of(header, name).offset
            }
            Place::Columns(block) => self.range(Place::Block(block)).end,
            Place::Column(block, column) => {
                self.range(Place::Columns(block)).end + column * COLUMN_ENTRY_SIZE
            }
            Place::Part(part) => self.nth(VALUE_PART, part).payload().start,
            Place::PartSection(part) => {
                let header = Place::Part(part);
                self.range(header).start + field_of(header, "section").offset
            }
            Place::KeyIndex => self.nth(KEY_INDEX, 0).payload().start,
            Place::Page(page) => self.range(Place::KeyIndex).end + page * PAGE_SIZE,
            Place::Checkpoint(checkpoint) => self.nth(CHECKPOINT, checkpoint).payload().start,
            Place::CheckpointEntry(checkpoint, entry) => {
                self.range(Place::Checkpoint(checkpoint)).end + entry * CHECKPOINT_ENTRY_SIZE
            }
            Place::Stat => self.nth(STAT, 0).payload().start,
            Place::StatSection(section) => {
                self.range(Place::Stat).end + section * STAT_SECTION_SIZE
            }
            Place::Toc => self.toc().payload().start,
            Place::TocEntry(entry) => self.range(Place::Toc).end + entry * TOC_ENTRY_SIZE,
            Place::Tail => self.bytes.len() - TAIL_SIZE,
        };
        let last = Self::fields(place).last().expect("no structure is empty");
        start..start + last.offset + last.size
    }

    /// Where the payload of a frame is, for changes that no field names.
    pub(crate) fn payload(&self, frame: usize) -> Range<usize> {
        self.frames[frame].payload()
    }

    /// Where the stored bytes of a section are, by the length it claims and as
    /// far as its block reaches.
    pub(crate) fn section_range(&self, block: usize, side: Side) -> Range<usize> {
        let payload = self.nth(BLOCK, block).payload();
        let key_start = payload.start + BLOCK_HEADER_SIZE;
        let key_len = to_usize(self.get(Place::Section(block, Side::Keys), "stored_len"));
        let key_end = key_start.saturating_add(key_len).min(payload.end);
        match side {
            Side::Keys => key_start..key_end,
            Side::Values => key_end..payload.end,
        }
    }

    /// Overwrites bytes anywhere.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) -> &mut Self {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Returns a number by the name of its field.
    pub(crate) fn get(&self, place: Place, name: &str) -> u64 {
        self.get_field(place, field_of(place, name))
    }

    /// Returns a number, of a longer field its first 8 bytes.
    pub(crate) fn get_field(&self, place: Place, field: Field) -> u64 {
        let start = self.range(place).start + field.offset;
        LittleEndian::read_uint(&self.bytes[start..], field.size.min(8))
    }

    /// Sets a number by the name of its field, the first of that name.
    pub(crate) fn set(&mut self, place: Place, name: &str, value: u64) -> &mut Self {
        self.set_field(place, field_of(place, name), value)
    }

    /// Sets a number, of a longer field its first 8 bytes; it must fit.
    pub(crate) fn set_field(&mut self, place: Place, field: Field, value: u64) -> &mut Self {
        let bytes = value.to_le_bytes();
        let (kept, cut) = bytes.split_at(field.size.min(bytes.len()));
        assert!(
            cut.iter().all(|&byte| byte == 0),
            "{value} does not fit {} of {place:?}",
            field.name
        );
        let start = self.range(place).start + field.offset;
        self.write(start, kept)
    }

    /// Frames, the table of contents among them.
    pub(crate) fn frame_count(&self) -> usize {
        self.frames.len()
    }

    /// Blocks, as far as they are long enough for a header.
    pub(crate) fn block_count(&self) -> usize {
        self.count_of(BLOCK)
    }

    /// The type of a frame, as it was before any lie.
    pub(crate) fn kind(&self, frame: usize) -> u8 {
        self.frames[frame].kind
    }

    /// Puts another payload into a frame.
    pub(crate) fn set_payload(&mut self, frame: usize, payload: &[u8]) -> &mut Self {
        let range = self.payload(frame);
        replace(&mut self.bytes, range, payload);
        let new_len = payload.len();
        self.frames[frame].end = self.frames[frame].start + FRAME_HEADER_SIZE + new_len;
        self.link()
    }

    /// Inserts a frame before another one.
    pub(crate) fn insert_frame(
        &mut self,
        at: usize,
        kind: u8,
        flags: u8,
        payload: &[u8],
    ) -> &mut Self {
        let start = self.frames[at].start;
        let mut header = vec![0; FRAME_HEADER_SIZE];
        header[..FRAME_MARKER.len()].copy_from_slice(&FRAME_MARKER);
        let sync = field_of(Place::FileHeader, "sync_marker");
        let sync = self.bytes[sync.offset..sync.offset + sync.size].to_vec();
        let frame = Frame {
            kind,
            start,
            end: start + header.len() + payload.len(),
            times: no_times(),
        };
        let whole = [&header, payload].concat();
        replace(&mut self.bytes, start..start, &whole);
        self.frames.insert(at, frame);
        let place = Place::Frame(at);
        self.set(place, "type", kind.into());
        self.set(place, "flags", flags.into());
        self.write(start + field_of(place, "sync_marker").offset, &sync);
        self.link()
    }

    /// Takes a frame out, but not the table of contents.
    pub(crate) fn remove_frame(&mut self, at: usize) -> &mut Self {
        let Frame { start, end, .. } = self.frames.remove(at);
        self.bytes.drain(start..end);
        self.link()
    }

    /// Replaces a section of a block: its codec, its bytes in the file, and
    /// what they decompress to.
    pub(crate) fn set_section(
        &mut self,
        block: usize,
        side: Side,
        codec: u8,
        stored: &[u8],
        raw: &[u8],
    ) -> &mut Self {
        let frame = self.frame_of_block(block);
        let start = self.payload(frame).start;
        let range = self.section_range(block, side);
        let mut payload = self.bytes[self.payload(frame)].to_vec();
        let range = range.start - start..range.end - start;
        replace(&mut payload, range, stored);
        self.set_payload(frame, &payload);
        let place = Place::Section(block, side);
        self.set(place, "codec", codec.into());
        self.set(place, "stored_len", to_u64(stored.len()));
        self.set(place, "raw_len", to_u64(raw.len()));
        self.set(place, "raw_crc", crc32(&[raw]).into());
        // The table of contents repeats the lengths.
        self.link()
    }

    /// Computes every checksum over what is there, the inner ones first. A
    /// length that lies counts: a reader believes it, too. One that reaches
    /// past the end of the file leaves its checksum as it was.
    pub(crate) fn seal(mut self) -> Vec<u8> {
        for number in 0..self.count_of(BLOCK) {
            self.seal_block(number);
        }
        for number in 0..self.count_of(VALUE_PART) {
            self.seal_part(number);
        }
        if self.count_of(KEY_INDEX) > 0 {
            self.seal_key_index();
        }
        for number in 0..self.frames.len() {
            self.seal_frame(number);
        }
        for (place, name) in [(Place::FileHeader, "header_crc"), (Place::Tail, "tail_crc")] {
            let crc = crc32(&[self.before_crc(place)]);
            self.set(place, name, crc.into());
        }
        self.bytes
    }

    /// Finds the frames by the lengths they claim; false when these do not fit
    /// the file.
    fn find_frames(&mut self) -> bool {
        let Some(tail_start) = self.bytes.len().checked_sub(TAIL_SIZE) else {
            return false;
        };
        let mut start = FILE_HEADER_SIZE;
        while start.saturating_add(FRAME_HEADER_SIZE) <= tail_start {
            self.frames.push(Frame {
                kind: 0,
                start,
                end: start,
                times: no_times(),
            });
            let place = Place::Frame(self.frames.len() - 1);
            let [kind, ..] = self.get(place, "type").to_le_bytes();
            let payload_start = start + FRAME_HEADER_SIZE;
            let end = payload_start.saturating_add(to_usize(self.get(place, "stored_len")));
            let frame = self.frames.last_mut().expect("it was just pushed");
            (frame.kind, frame.end) = (kind, end);
            start = end;
        }
        let has_toc = self
            .frames
            .last()
            .is_some_and(|frame| frame.kind == TOC && frame.payload().len() >= TOC_HEADER_SIZE);
        start == tail_start && has_toc
    }

    /// Makes every place, length and count of frames true: in their headers,
    /// the table of contents and the tail. What a block's header says of the
    /// block is repeated, be it true or not.
    pub(crate) fn link(&mut self) -> &mut Self {
        let mut start = FILE_HEADER_SIZE;
        for number in 0..self.frames.len() {
            let frame = &mut self.frames[number];
            let len = frame.end - frame.start;
            (frame.start, frame.end) = (start, start + len);
            start = frame.end;
            let place = Place::Frame(number);
            self.set(place, "sequence", to_u64(number));
            self.set(place, "offset", to_u64(start - len));
            self.set(place, "stored_len", to_u64(len - FRAME_HEADER_SIZE));
        }
        self.link_toc();
        let toc = *self.toc();
        let file_len = to_u64(self.bytes.len());
        self.set(Place::Tail, "toc_offset", to_u64(toc.start));
        self.set(Place::Tail, "toc_len", to_u64(toc.end - toc.start));
        self.set(Place::Tail, "file_len", file_len)
    }

    fn link_toc(&mut self) {
        let entry_count = self.frames.len() - 1;
        let payload = self.payload(entry_count);
        let entries = payload.start + TOC_HEADER_SIZE..payload.end;
        let blank = vec![0; entry_count * TOC_ENTRY_SIZE];
        replace(&mut self.bytes, entries, &blank);
        let toc = &mut self.frames[entry_count];
        toc.end = toc.payload().start + TOC_HEADER_SIZE + entry_count * TOC_ENTRY_SIZE;
        let stored_len = to_u64(toc.payload().len());
        self.set(Place::Frame(entry_count), "stored_len", stored_len);
        let (mut block, mut part, mut record_count, mut key_index_offset) = (0, 0, 0, 0);
        for number in 0..entry_count {
            let entry = Place::TocEntry(number);
            for name in ["type", "flags", "offset", "stored_len"] {
                self.set(entry, name, self.get(Place::Frame(number), name));
            }
            let Frame { kind, start, .. } = self.frames[number];
            if kind == KEY_INDEX && key_index_offset == 0 {
                key_index_offset = to_u64(start);
            }
            if kind == BLOCK && self.payload(number).len() >= BLOCK_HEADER_SIZE {
                self.link_block(entry, block);
                let times = self.times_range(number);
                let known = self.frames[number].times;
                self.bytes[times].copy_from_slice(&known);
                record_count += self.get(entry, "record_count");
                block += 1;
            }
            if kind == VALUE_PART && self.payload(number).len() >= VALUE_PART_HEADER_SIZE {
                let section = Place::PartSection(part);
                let (stored_len, raw_len) = ("value_stored_len", "value_raw_len");
                self.set(entry, stored_len, self.get(section, "stored_len"));
                self.set(entry, raw_len, self.get(section, "raw_len"));
                part += 1;
            }
        }
        self.set(Place::Toc, "entry_count", to_u64(entry_count));
        self.set(Place::Toc, "entry_size", to_u64(TOC_ENTRY_SIZE));
        self.set(Place::Toc, "record_count", record_count);
        self.set(Place::Toc, "key_index_offset", key_index_offset);
    }

    fn times_range(&self, entry: usize) -> Range<usize> {
        let place = Place::TocEntry(entry);
        let start = self.range(place).start + field_of(place, "exptime_min").offset;
        start..start + TIMES_SIZE
    }

    fn link_block(&mut self, entry: Place, block: usize) {
        let record_count = self.get(Place::Block(block), "record_count");
        self.set(entry, "record_count", record_count);
        for (side, stored_len, raw_len) in [
            (Side::Keys, "key_stored_len", "key_raw_len"),
            (Side::Values, "value_stored_len", "value_raw_len"),
        ] {
            let section = Place::Section(block, side);
            self.set(entry, stored_len, self.get(section, "stored_len"));
            self.set(entry, raw_len, self.get(section, "raw_len"));
        }
    }

    fn seal_block(&mut self, block: usize) {
        let mut start = self.range(Place::Block(block)).end;
        for side in [Side::Keys, Side::Values] {
            let section = Place::Section(block, side);
            let end = start.saturating_add(to_usize(self.get(section, "stored_len")));
            if let Some(stored) = self.bytes.get(start..end) {
                let crc = crc32(&[stored]).into();
                self.set(section, "stored_crc", crc);
                if self.get(section, "codec") == u64::from(PLAIN) {
                    self.set(section, "raw_crc", crc);
                }
            }
            start = end;
        }
        let frame = Place::Frame(self.frame_of_block(block));
        let sequence = self.get(frame, "sequence").to_le_bytes();
        let place = Place::Block(block);
        let crc = self.seeded_crc32(&[&sequence, self.before_crc(place)]);
        self.set(place, "header_crc", crc.into());
    }

    fn seal_part(&mut self, part: usize) {
        let place = Place::Part(part);
        let start = self.range(place).end;
        let section = Place::PartSection(part);
        let end = start.saturating_add(to_usize(self.get(section, "stored_len")));
        if let Some(stored) = self.bytes.get(start..end) {
            let crc = crc32(&[stored]).into();
            self.set(section, "stored_crc", crc);
            if self.get(section, "codec") == u64::from(PLAIN) {
                self.set(section, "raw_crc", crc);
            }
        }
        let found = self.of_kind(VALUE_PART).nth(part);
        let frame = Place::Frame(found.expect("there is no such part").0);
        let sequence = self.get(frame, "sequence").to_le_bytes();
        let crc = self.seeded_crc32(&[&sequence, self.before_crc(place)]);
        self.set(place, "header_crc", crc.into());
    }

    fn seal_key_index(&mut self) {
        let crc = self.seeded_crc32(&[self.before_crc(Place::KeyIndex)]);
        self.set(Place::KeyIndex, "header_crc", crc.into());
        for page in 0..self.page_count() {
            let start = self.range(Place::Page(page)).start;
            let covered = &self.bytes[start + 4..start + PAGE_SIZE];
            let number = u32::try_from(page).expect("few pages").to_le_bytes();
            let crc = self.seeded_crc32(&[&number, covered]);
            self.set(Place::Page(page), "page_crc", crc.into());
        }
    }

    fn seal_frame(&mut self, number: usize) {
        let place = Place::Frame(number);
        let start = self.payload(number).start;
        let end = start.saturating_add(to_usize(self.get(place, "stored_len")));
        let has_crc = self.get(place, "flags") & u64::from(HAS_PAYLOAD_CRC) != 0;
        if has_crc && let Some(payload) = self.bytes.get(start..end) {
            let crc = self.seeded_crc32(&[payload]);
            self.set(place, "payload_crc", crc.into());
        }
        let crc = self.seeded_crc32(&[self.before_crc(place)]);
        self.set(place, "header_crc", crc.into());
    }

    /// The bytes of a structure before the checksum that ends it.
    fn before_crc(&self, place: Place) -> &[u8] {
        let Range { start, end } = self.range(place);
        &self.bytes[start..end - 4]
    }

    fn seeded_crc32(&self, parts: &[&[u8]]) -> u32 {
        let id = field_of(Place::FileHeader, "segment_id");
        let id = &self.bytes[id.offset..id.offset + id.size];
        let seeded: Vec<&[u8]> = std::iter::once(id).chain(parts.iter().copied()).collect();
        crc32(&seeded)
    }

    /// Frames of a kind that are at least as long as its fixed part.
    fn of_kind(&self, kind: u8) -> impl Iterator<Item = (usize, &Frame)> {
        let least = match kind {
            BLOCK => BLOCK_HEADER_SIZE,
            VALUE_PART => VALUE_PART_HEADER_SIZE,
            CHECKPOINT => CHECKPOINT_HEADER_SIZE,
            KEY_INDEX => KEY_INDEX_HEADER_SIZE,
            _ => 0,
        };
        self.frames
            .iter()
            .enumerate()
            .filter(move |(_, frame)| frame.kind == kind && frame.payload().len() >= least)
    }

    fn count_of(&self, kind: u8) -> usize {
        self.of_kind(kind).count()
    }

    fn nth(&self, kind: u8, number: usize) -> &Frame {
        let found = self.of_kind(kind).nth(number);
        found.expect("there is no such structure").1
    }

    fn frame_of_block(&self, block: usize) -> usize {
        let found = self.of_kind(BLOCK).nth(block);
        found.expect("there is no such block").0
    }

    fn toc(&self) -> &Frame {
        self.frames.last().expect("a segment ends with its TOC")
    }

    fn page_count(&self) -> usize {
        let payload = self.nth(KEY_INDEX, 0).payload();
        payload.len().saturating_sub(KEY_INDEX_HEADER_SIZE) / PAGE_SIZE
    }
}

/// Puts other bytes in the place of some; `splice` would move them one by one.
fn replace(bytes: &mut Vec<u8>, range: Range<usize>, new: &[u8]) {
    let rest = bytes.split_off(range.end);
    bytes.truncate(range.start);
    bytes.extend_from_slice(new);
    bytes.extend_from_slice(&rest);
}

/// Entries of a table of contents or a checkpoint.
fn entry_count(frame: &Frame, header_size: usize, entry_size: usize) -> usize {
    frame.payload().len().saturating_sub(header_size) / entry_size
}

fn field_of(place: Place, name: &str) -> Field {
    let found = Forge::fields(place).iter().find(|field| field.name == name);
    *found.unwrap_or_else(|| panic!("{place:?} has no field {name}"))
}

fn crc32(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("tests run on 64 bits")
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).expect("no length is above 64 bits")
}
