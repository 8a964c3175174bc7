//! Files that every later release must read, byte for byte.
//!
//! `MCSNAP_BLESS=1` writes them anew; the difference is then for a person to
//! judge.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use mcsnap::format::compression::{Compression, SectionReader};
use mcsnap::format::encoder::{EncoderOptions, SegmentEncoder};
use mcsnap::format::frame::FrameType;
use mcsnap::format::ids::{SegmentId, SnapshotId, SyncMarker};
use mcsnap::format::layout::{
    BLOCK_HEADER, BLOCK_HEADER_SIZE, COLUMN_ENTRY, COLUMN_ENTRY_SIZE, COLUMNS_HEADER,
    COLUMNS_HEADER_SIZE, FILE_HEADER, FILE_HEADER_SIZE, FRAME_HEADER, FRAME_HEADER_SIZE, Field,
    KEY_INDEX_HEADER, KEY_INDEX_HEADER_SIZE, PAGE_HEADER, PAGE_HEADER_SIZE, SECTION, TAIL,
    TAIL_SIZE, TOC_ENTRY, TOC_ENTRY_SIZE, TOC_HEADER, TOC_HEADER_SIZE,
};
use mcsnap::format::segment_meta::SegmentMeta;
use mcsnap::item::{Cas, Exptime, ItemMeta, Record};
use mcsnap::limits::Limits;
use mcsnap::snapshot::SegmentReader;
use mcsnap::store::{MemoryStore, Store as _};
use mcsnap::units::UnixSecs;

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name)
}

/// Compares with a file of testdata, or writes it.
fn check(name: &str, found: &[u8]) {
    let path = testdata(name);
    if std::env::var_os("MCSNAP_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
    }
    let stored = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        stored == found,
        "{name} is not what this build writes; see MCSNAP_BLESS"
    );
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

fn tiny() -> Vec<u8> {
    let meta = SegmentMeta {
        segment_id: SegmentId([0x11; 16]),
        snapshot_id: SnapshotId([0x22; 16]),
        sync_marker: SyncMarker([0x33; 8]),
        snapshot_name: "tiny".to_owned(),
        node: "a:1".to_owned(),
        node_index: 0,
        worker: 0,
        attempt: 0,
        shard_index: 0,
        shard_bits: 0,
        sequence: 0,
        clock_offset: "0".to_owned(),
        compression: "none".to_owned(),
        server_version: "1.6.18".to_owned(),
        tool: "mcsnap 0.1.0".to_owned(),
        created_at: "2026-11-20T02:00:00Z".to_owned(),
    };
    let options = EncoderOptions {
        compression: Compression::None,
        block_raw_len: EncoderOptions::BLOCK_RAW_LEN,
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

#[test]
fn the_tiny_segment_is_written_as_ever_and_its_annotation_fits() {
    let bytes = tiny();
    check("valid/tiny.mcs", &bytes);
    check("valid/tiny.txt", annotate(&bytes).as_bytes());
}

#[test]
fn the_tiny_segment_is_read() {
    let store = MemoryStore::new();
    store
        .put_new("tiny.mcs", &fs::read(testdata("valid/tiny.mcs")).unwrap())
        .unwrap();
    let object = store.open("tiny.mcs").unwrap();
    let segment =
        SegmentReader::open_object(object, "tiny.mcs".to_owned(), &Limits::default()).unwrap();
    assert_eq!(segment.read_meta().unwrap().node, "a:1");
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
        assert_eq!(block.record(index).unwrap().unwrap(), record);
    }
    assert_eq!((block.len(), segment.block_count()), (2, 1));
}

/// Draws the segment field by field, from the tables that the codecs are
/// checked against.
fn annotate(bytes: &[u8]) -> String {
    let mut drawing = Drawing {
        bytes,
        at: 0,
        text: String::new(),
    };
    drawing.title("file header (5.1)");
    drawing.fields(FILE_HEADER, FILE_HEADER_SIZE);
    let tail_start = bytes.len() - TAIL_SIZE;
    while drawing.at < tail_start {
        let frame_type = FrameType::from_raw(bytes[drawing.at + 12]);
        let stored_len = usize::try_from(drawing.number(32, 8)).unwrap();
        drawing.title(&format!("frame header (5.2): {frame_type:?}"));
        drawing.fields(FRAME_HEADER, FRAME_HEADER_SIZE);
        let end = drawing.at + stored_len;
        match frame_type {
            FrameType::Block => drawing.block(),
            FrameType::KeyIndex => {
                drawing.title("key index header (5.8)");
                drawing.fields(KEY_INDEX_HEADER, KEY_INDEX_HEADER_SIZE);
                drawing.title("page 0 (5.8)");
                drawing.fields(PAGE_HEADER, PAGE_HEADER_SIZE);
                drawing.field("entry", 4);
                drawing.field("entry", 4);
                drawing.zeros("padding", end - drawing.at);
            }
            FrameType::Toc => {
                drawing.title("table of contents (5.10)");
                drawing.fields(TOC_HEADER, TOC_HEADER_SIZE);
                while drawing.at < end {
                    drawing.title("entry (5.10)");
                    drawing.fields(TOC_ENTRY, TOC_ENTRY_SIZE);
                }
            }
            FrameType::Meta
            | FrameType::ValuePart
            | FrameType::Checkpoint
            | FrameType::Stat
            | FrameType::Other(_) => drawing.prose("description (5.4)", stored_len),
        }
        assert_eq!(drawing.at, end);
    }
    drawing.title("tail (5.11)");
    drawing.fields(TAIL, TAIL_SIZE);
    assert_eq!(drawing.at, bytes.len());
    drawing.text
}

struct Drawing<'a> {
    bytes: &'a [u8],
    at: usize,
    text: String,
}

impl Drawing<'_> {
    fn title(&mut self, title: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        writeln!(self.text, "{gap}{title}").unwrap();
    }

    fn number(&self, offset: usize, size: usize) -> u64 {
        let start = self.at + offset;
        let bytes = &self.bytes[start..start + size];
        bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn field(&mut self, name: &str, size: usize) {
        let hex: Vec<String> = self.bytes[self.at..self.at + size]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let (at, hex) = (self.at, hex.join(" "));
        writeln!(self.text, "{at:6}  {name:24} {hex}").unwrap();
        self.at += size;
    }

    fn fields(&mut self, fields: &[Field], size: usize) {
        let end = self.at + size;
        for field in fields {
            self.field(field.name, field.size);
        }
        assert_eq!(self.at, end);
    }

    fn zeros(&mut self, name: &str, size: usize) {
        assert!(
            self.bytes[self.at..self.at + size]
                .iter()
                .all(|byte| *byte == 0)
        );
        let at = self.at;
        writeln!(self.text, "{at:6}  {name:24} {size} times 00").unwrap();
        self.at += size;
    }

    fn prose(&mut self, name: &str, size: usize) {
        let text = std::str::from_utf8(&self.bytes[self.at..self.at + size]).unwrap();
        let at = self.at;
        writeln!(self.text, "{at:6}  {name:24} {text}").unwrap();
        self.at += size;
    }

    fn block(&mut self) {
        self.title("block header (5.5)");
        let key_len = usize::try_from(self.number(44, 4)).unwrap();
        let value_len = usize::try_from(self.number(64, 4)).unwrap();
        let end = self.at + BLOCK_HEADER_SIZE;
        for field in BLOCK_HEADER {
            if field.name.ends_with("_section") {
                for part in SECTION {
                    self.field(&format!("{}.{}", field.name, part.name), part.size);
                }
            } else {
                self.field(field.name, field.size);
            }
        }
        assert_eq!(self.at, end);
        self.title("key section (5.6)");
        let key_end = self.at + key_len;
        let column_count = self.number(0, 2);
        self.fields(COLUMNS_HEADER, COLUMNS_HEADER_SIZE);
        let mut columns = Vec::new();
        for _ in 0..column_count {
            let len = usize::try_from(self.number(4, 4)).unwrap();
            columns.push((format!("column {}", self.number(0, 1)), len));
            self.fields(COLUMN_ENTRY, COLUMN_ENTRY_SIZE);
        }
        for (name, len) in columns {
            self.field(&name, len);
        }
        assert_eq!(self.at, key_end);
        self.title("value section (5.7)");
        self.field("values", value_len);
    }
}
