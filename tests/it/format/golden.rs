//! The complete small file: `testdata/valid/tiny.mcs`, and its drawing by field
//! at the end of FORMAT.md.
//!
//! `MCSNAP_BLESS=1` writes and draws it anew; the difference is then for a person to
//! judge. Nothing but a change of the format changes the file itself.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use mcsnap::codecs::format::column::known_columns;
use mcsnap::codecs::format::compression::{Compression, SectionReader};
use mcsnap::codecs::format::encoder::{EncoderOptions, SegmentEncoder};
use mcsnap::codecs::format::features::{Features, Need};
use mcsnap::codecs::format::frame::FrameType;
use mcsnap::codecs::format::hash_page::HashPage;
use mcsnap::codecs::format::ids::{SegmentId, SegmentIds, SnapshotId, SyncMarker};
use mcsnap::codecs::format::key_index::KeyIndexShape;
use mcsnap::codecs::format::layout::{
    BLOCK_HEADER, BLOCK_HEADER_SIZE, COLUMN_ENTRY, COLUMNS_HEADER, FILE_HEADER, FRAME_HEADER,
    Field, KEY_INDEX_HEADER, PAGE_HEADER, PAGE_SIZE, SECTION, STAT_HEADER, STAT_SECTION, TAIL,
    TAIL_SIZE, TOC_ENTRY, TOC_HEADER, VALUE_PART_HEADER,
};
use mcsnap::codecs::format::segment_meta::{SegmentMeta, dumping_host};
use mcsnap::codecs::format::stat::STAT_SECTIONS;
use mcsnap::engines::snapshot::SegmentReader;
use mcsnap::ports::store::{MemoryStore, Store as _};
use mcsnap::words::item::{Cas, Exptime, ItemMeta, Record, escape_bytes};
use mcsnap::words::limits::Limits;
use mcsnap::words::units::UnixSecs;

pub(crate) fn in_project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn stored() -> Vec<u8> {
    fs::read(in_project("testdata/valid/tiny.mcs")).unwrap()
}

const RECORDS: [(&[u8], &[u8], Exptime); 2] = [
    (b"user:1", b"Ada", Exptime::Never),
    (b"\x00\xff", b"", Exptime::At(UnixSecs(1_800_000_000))),
];

fn record_meta(exptime: Exptime) -> ItemMeta {
    ItemMeta {
        client_flags: Some(7),
        exptime: Some(exptime),
        cas: Some(Cas(42)),
        ..ItemMeta::default()
    }
}

pub(crate) fn tiny() -> Vec<u8> {
    let meta = SegmentMeta {
        segment_id: SegmentId([0x11; 16]),
        snapshot_id: SnapshotId([0x22; 16]),
        sync_marker: SyncMarker([0x33; 8]),
        features: Features::default(),
        snapshot_name: "tiny".to_owned(),
        node: "a:1".to_owned(),
        node_index: 0,
        worker: 0,
        attempt: 0,
        shard_index: 0,
        shard_bits: 0,
        sequence: 0,
        clock_offset: "0".to_owned(),
        clock: dumping_host(),
        compression: "none".to_owned(),
        server_version: "1.6.18".to_owned(),
        tool: "mcsnap 0.1.0".to_owned(),
        created_at: "2026-11-20T02:00:00Z".to_owned(),
    };
    let options = EncoderOptions {
        compression: Compression::None,
        block_raw_len: EncoderOptions::BLOCK_RAW_LEN,
        part_raw_len: EncoderOptions::PART_RAW_LEN,
        index_seed: 5,
    };
    let mut encoder = SegmentEncoder::new(&meta, options).unwrap();
    for (key, value, exptime) in RECORDS {
        encoder
            .push(&Record {
                key,
                value,
                meta: record_meta(exptime),
            })
            .unwrap();
    }
    encoder.finish().unwrap().rest
}

/// Splits FORMAT.md at the fence of a chapter's drawing: what is before it, in it and
/// behind it.
fn split_document<'a>(text: &'a str, chapter: &str) -> (&'a str, &'a str, &'a str) {
    let chapter = text.find(&format!("\n## {chapter}\n")).unwrap();
    let start = chapter + text[chapter..].find("\n```text\n").unwrap() + "\n```text\n".len();
    let end = start + text[start..].find("\n```").unwrap() + 1;
    (&text[..start], &text[start..end], &text[end..])
}

/// Returns the drawing of a chapter.
pub(crate) fn fence_of<'a>(text: &'a str, chapter: &str) -> &'a str {
    split_document(text, chapter).1
}

/// Returns the document with another drawing in a chapter.
pub(crate) fn replace_fence(text: &str, chapter: &str, drawing: &str) -> String {
    let (before, _, after) = split_document(text, chapter);
    format!("{before}{drawing}{after}")
}

#[test]
fn the_small_file_is_written_as_ever_and_the_document_has_its_drawing() {
    let bytes = tiny();
    let is_blessed = std::env::var_os("MCSNAP_BLESS").is_some();
    if is_blessed {
        fs::write(in_project("testdata/valid/tiny.mcs"), &bytes).unwrap();
    }
    assert!(
        bytes == stored(),
        "testdata/valid/tiny.mcs is not what this build writes"
    );
    let path = in_project("FORMAT.md");
    let text = fs::read_to_string(&path).unwrap();
    let drawn = draw(&bytes);
    if is_blessed {
        fs::write(&path, replace_fence(&text, CHAPTER, &drawn)).unwrap();
        return;
    }
    assert!(
        fence_of(&text, CHAPTER) == drawn,
        "the drawing in FORMAT.md is not that of the small file; see MCSNAP_BLESS"
    );
}

#[test]
fn the_drawing_alone_gives_the_small_file_back_and_its_records() {
    let text = fs::read_to_string(in_project("FORMAT.md")).unwrap();
    let bytes = bytes_of_drawing(fence_of(&text, CHAPTER));
    assert!(bytes == stored(), "the drawing has other bytes");

    let store = MemoryStore::new();
    store.put_new("tiny.mcs", &bytes).unwrap();
    let object = store.open("tiny.mcs").unwrap();
    let segment =
        SegmentReader::open_object(object, "tiny.mcs".to_owned(), &Limits::default()).unwrap();
    assert_eq!(segment.read_meta(Need::Verify).unwrap().node, "a:1");
    let block = segment
        .read_block(0)
        .unwrap()
        .decode(&mut SectionReader::default())
        .unwrap();
    for (index, (key, value, exptime)) in RECORDS.into_iter().enumerate() {
        let record = Record {
            key,
            value,
            meta: record_meta(exptime),
        };
        assert_eq!(block.record(index).unwrap().unwrap().inline(), Some(record));
    }
    assert_eq!((block.len(), segment.block_count()), (2, 1));
}

const CHAPTER: &str = "13. A complete small file";

/// Where the columns of the drawing start.
const NAME_AT: usize = 8;
const BYTES_AT: usize = 34;
const MEANING_AT: usize = 83;

/// Bytes on a line.
pub(crate) const LINE_LEN: usize = 16;

/// Reads the bytes off the drawing, and nothing else.
fn bytes_of_drawing(drawing: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in drawing.lines() {
        if let Some((offset, found)) = bytes_of_line(line) {
            assert_eq!(offset, bytes.len(), "{line}");
            bytes.extend(found);
        }
    }
    bytes
}

/// Reads offset and bytes off a line of a drawing, if it has any.
pub(crate) fn bytes_of_line(line: &str) -> Option<(usize, Vec<u8>)> {
    // Anything but an offset is a title, or not of the file.
    let offset = line.get(..6)?.trim().parse().ok()?;
    let column = line[BYTES_AT..line.len().min(MEANING_AT)].trim();
    if let Some(count) = column.strip_suffix(" times 00") {
        return Some((offset, vec![0; count.parse().unwrap()]));
    }
    let hex = column.split_whitespace();
    let bytes = hex.map(|pair| u8::from_str_radix(pair, 16).unwrap());
    Some((offset, bytes.collect()))
}

/// Draws a segment of one plain block field by field, from the tables that the
/// codecs are checked against.
fn draw(bytes: &[u8]) -> String {
    let mut drawing = Drawing::new(bytes);
    drawing.line("offset", "field", "bytes", "meaning");
    drawing.title("file header (5.1)");
    drawing.fields(FILE_HEADER);
    let tail_start = bytes.len() - TAIL_SIZE;
    while drawing.at < tail_start {
        let frame_type = FrameType::from_raw(bytes[drawing.at + 12]);
        let stored_len = usize::try_from(drawing.number(32, 8)).unwrap();
        let name = frame_name(frame_type);
        drawing.title(&format!("frame header (5.2) of the {name} frame"));
        drawing.fields(FRAME_HEADER);
        let end = drawing.at + stored_len;
        match frame_type {
            FrameType::Block => drawing.block(),
            FrameType::KeyIndex => drawing.key_index(end),
            FrameType::Toc => {
                drawing.title("table of contents (5.10)");
                drawing.fields(TOC_HEADER);
                while drawing.at < end {
                    let kind = FrameType::from_raw(bytes[drawing.at]);
                    drawing.title(&format!("entry of the {} frame (5.10)", frame_name(kind)));
                    drawing.fields(TOC_ENTRY);
                }
            }
            FrameType::Stat => drawing.statistics(end),
            FrameType::Meta
            | FrameType::ValuePart
            | FrameType::Checkpoint
            | FrameType::Other(_) => {
                drawing.title(&format!("{name} (5.4), text"));
                drawing.texts(end);
            }
        }
        assert_eq!(drawing.at, end);
    }
    drawing.title("tail (5.11)");
    drawing.fields(TAIL);
    assert_eq!(drawing.at, bytes.len());
    drawing.text
}

/// The name of a frame type in FORMAT.md.
pub(crate) fn frame_name(frame_type: FrameType) -> String {
    match frame_type {
        FrameType::Meta => "META".to_owned(),
        FrameType::Block => "BLOCK".to_owned(),
        FrameType::ValuePart => "VALUE_PART".to_owned(),
        FrameType::Checkpoint => "CHECKPOINT".to_owned(),
        FrameType::KeyIndex => "KEY_INDEX".to_owned(),
        FrameType::Stat => "STAT".to_owned(),
        FrameType::Toc => "TOC".to_owned(),
        FrameType::Other(raw) => raw.to_string(),
    }
}

/// A drawing of a file, as far as it has come.
pub(crate) struct Drawing<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
    pub(crate) text: String,
    /// What stands before offsets that are not of the file itself.
    prefix: &'static str,
}

impl<'a> Drawing<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            text: String::new(),
            prefix: "",
        }
    }

    pub(crate) fn title(&mut self, title: &str) {
        writeln!(self.text, "\n{title}").unwrap();
    }

    fn line(&mut self, offset: &str, name: &str, bytes: &str, meaning: &str) {
        let names = BYTES_AT - NAME_AT - 2;
        let hex = MEANING_AT - BYTES_AT - 2;
        let line = format!("{offset:>6}  {name:names$}  {bytes:hex$}  {meaning}");
        writeln!(self.text, "{}", line.trim_end()).unwrap();
    }

    /// A number some bytes ahead.
    fn number(&self, offset: usize, size: usize) -> u64 {
        let start = self.at + offset;
        little_endian(&self.bytes[start..start + size])
    }

    fn take(&mut self, size: usize) -> &[u8] {
        let start = self.at;
        self.at += size;
        &self.bytes[start..self.at]
    }

    /// Draws text up to an offset.
    pub(crate) fn texts(&mut self, end: usize) {
        while self.at < end {
            let len = LINE_LEN.min(end - self.at);
            let text = escape_bytes(&self.bytes[self.at..self.at + len]);
            self.field("", len, &text);
        }
    }

    /// Draws one field, on several lines if it is long.
    fn field(&mut self, name: &str, size: usize, meaning: &str) {
        let end = self.at + size;
        let (mut name, mut meaning) = (name, meaning);
        while self.at < end {
            let at = format!("{}{}", self.prefix, self.at);
            let hex: Vec<String> = self
                .take(LINE_LEN.min(end - self.at))
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            self.line(&at, name, &hex.join(" "), meaning);
            (name, meaning) = ("", "");
        }
    }

    pub(crate) fn fields(&mut self, fields: &[Field]) {
        for field in fields {
            let bytes = &self.bytes[self.at..self.at + field.size];
            self.field(field.name, field.size, &meaning(field.name, bytes));
        }
    }

    fn key_index(&mut self, end: usize) {
        self.title("key index (5.8)");
        self.fields(KEY_INDEX_HEADER);
        self.title("page 0 (5.8)");
        let ids = SegmentIds {
            segment: SegmentId([0x11; 16]),
            snapshot: SnapshotId([0x22; 16]),
            sync: SyncMarker([0x33; 8]),
        };
        let table = KeyIndexShape::default().table(&ids, 1);
        let page = &self.bytes[self.at..self.at + PAGE_SIZE];
        let page = table.decode_page(0, page).unwrap();
        self.fields(PAGE_HEADER);
        // One block has a number of no bits.
        self.page_entries(&page, 0, end);
    }

    /// Draws the entries of a page, whose header has been drawn, up to its end.
    pub(crate) fn page_entries(&mut self, page: &HashPage, number_bits: u32, end: usize) {
        let gap_bits = u32::from(self.bytes[self.at - 2]);
        let mut last = 0;
        let mut bits = 0_u32;
        let mut meaning = Vec::new();
        for &(fingerprint, block) in page.entries() {
            bits += ((fingerprint - last) >> gap_bits) + 1 + gap_bits + number_bits;
            last = fingerprint;
            meaning.push(format!("fingerprint {fingerprint}, block {block}"));
        }
        let size = usize::try_from(bits.div_ceil(8)).unwrap();
        self.field("entries", size, &meaning.join("; "));
        let (at, size) = (self.at.to_string(), end - self.at);
        assert!(self.take(size).iter().all(|byte| *byte == 0));
        self.line(&at, "the rest", &format!("{size} times 00"), "");
    }

    fn statistics(&mut self, end: usize) {
        self.title("statistics (5.16)");
        let count = self.number(0, 2);
        self.fields(STAT_HEADER);
        let mut sections = Vec::new();
        for _ in 0..count {
            let id = u16::try_from(self.number(0, 2)).unwrap();
            let (_, name) = STAT_SECTIONS
                .iter()
                .find(|(known, _)| *known == id)
                .unwrap();
            sections.push((*name, usize::try_from(self.number(4, 4)).unwrap()));
            self.field("id", 2, name);
            self.fields(&STAT_SECTION[1..]);
        }
        for (name, len) in sections {
            self.field(name, len, "");
        }
        assert_eq!(self.at, end);
    }

    pub(crate) fn block(&mut self) {
        self.title("block header (5.5)");
        let sections = [4, 24].map(|at| self.section(at));
        let end = self.at + BLOCK_HEADER_SIZE;
        self.fields_with_sections(BLOCK_HEADER);
        assert_eq!(self.at, end);
        self.title("key section (5.6)");
        self.contents(sections[0], |raw| raw.columns());
        self.title("value section (5.7)");
        self.contents(sections[1], |raw| {
            let values = escape_bytes(raw.bytes.get(raw.at..).unwrap_or_default());
            raw.field("values", raw.bytes.len() - raw.at, &values);
        });
    }

    /// Draws a part of a value.
    pub(crate) fn part(&mut self) {
        self.title("value part (5.7)");
        let section = self.section(24);
        self.fields_with_sections(VALUE_PART_HEADER);
        self.contents(section, |raw| {
            let value = escape_bytes(raw.bytes.get(raw.at..).unwrap_or_default());
            raw.field("part of the value", raw.bytes.len() - raw.at, &value);
        });
    }

    /// Codec, stored and raw length of the section whose descriptor is some bytes ahead.
    fn section(&self, at: usize) -> (u64, [usize; 2]) {
        let len = |at| usize::try_from(self.number(at, 4)).unwrap();
        (self.number(at, 1), [len(at + 4), len(at + 8)])
    }

    fn fields_with_sections(&mut self, fields: &[Field]) {
        for field in fields {
            if field.name == "section" || field.name.ends_with("_section") {
                for part in SECTION {
                    let bytes = &self.bytes[self.at..self.at + part.size];
                    let name = format!("{}.{}", field.name, part.name);
                    self.field(&name, part.size, &meaning(part.name, bytes));
                }
            } else {
                self.fields(std::slice::from_ref(field));
            }
        }
    }

    /// Draws the stored bytes of a section, and what they decompress to with offsets of
    /// its own, such as `r12`.
    fn contents(&mut self, section: (u64, [usize; 2]), draw: impl Fn(&mut Drawing<'_>)) {
        let (codec, [stored_len, raw_len]) = section;
        let stored = &self.bytes[self.at..self.at + stored_len];
        if codec == 0 {
            let mut plain = Drawing {
                bytes: &self.bytes[..self.at + stored_len],
                at: self.at,
                text: String::new(),
                prefix: "",
            };
            draw(&mut plain);
            assert_eq!(plain.at, self.at + stored_len);
            self.text.push_str(&plain.text);
            self.at = plain.at;
            return;
        }
        let raw = zstd::bulk::decompress(stored, raw_len).unwrap();
        self.field("zstd frame", stored_len, "");
        self.title("which is");
        let mut inner = Drawing {
            prefix: "r",
            ..Drawing::new(&raw)
        };
        draw(&mut inner);
        assert_eq!(inner.at, raw.len());
        self.text.push_str(&inner.text);
    }

    /// Draws a raw key section.
    fn columns(&mut self) {
        let column_count = self.number(0, 2);
        self.fields(COLUMNS_HEADER);
        let mut columns = Vec::new();
        for _ in 0..column_count {
            let id = u8::try_from(self.number(0, 1)).unwrap();
            let facts = known_columns().find(|column| column.id == id).unwrap();
            columns.push((facts, usize::try_from(self.number(4, 4)).unwrap()));
            self.field("id", 1, facts.name);
            self.fields(&COLUMN_ENTRY[1..]);
        }
        for (facts, len) in columns {
            let bytes = &self.bytes[self.at..self.at + len];
            let meaning = match facts.width {
                None => escape_bytes(bytes),
                Some(width) => bytes
                    .chunks(usize::try_from(width).unwrap())
                    .map(|cell| cell_meaning(facts.name, cell))
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            self.field(facts.name, len, &meaning);
        }
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    let bytes = bytes.iter().rev();
    bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What a number means to a reader of the document; nothing where the bytes
/// say it themselves.
fn meaning(name: &str, bytes: &[u8]) -> String {
    let number = if bytes.len() <= 8 {
        little_endian(bytes)
    } else {
        0
    };
    match name {
        "type" => frame_name(FrameType::from_raw(bytes[0])),
        "codec" => ["plain", "zstd"][usize::from(bytes[0])].to_owned(),
        "flags" => {
            let names = ["critical", "payload_crc is present"];
            let is_set = |bit: &usize| number >> bit & 1 == 1;
            let set: Vec<&str> = (0..2).filter(is_set).map(|bit| names[bit]).collect();
            set.join(", ")
        }
        "content_digest" | "content_digest_exptime" => {
            let digits = bytes.iter().rev().map(|byte| format!("{byte:02x}"));
            digits.collect()
        }
        "magic" | "marker" | "sync_marker" | "segment_id" | "snapshot_id" | "look_up_id"
        | "reserved" | "unused" => String::new(),
        _ if name.ends_with("_crc") => String::new(),
        _ if number == u64::MAX => "2^64-1".to_owned(),
        _ => number.to_string(),
    }
}

fn cell_meaning(column: &str, cell: &[u8]) -> String {
    let number = little_endian(cell);
    match column {
        "VALUE_HASH" => format!("{number:016x}"),
        "EXPTIME" if number == u64::MAX => "never".to_owned(),
        _ => number.to_string(),
    }
}
