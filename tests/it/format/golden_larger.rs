//! The larger example, `testdata/valid/larger`, and what FORMAT.md 14 draws of it: what the
//! small file does not have.
//!
//! It is compressed, and another version of zstd may do so better: what is stored stays
//! until `MCSNAP_BLESS=1` makes it anew, and the drawing is of what is stored.

use std::fmt::Write as _;
use std::fs;

use mcsnap::codecs::format::checkpoint::Checkpoint;
use mcsnap::codecs::format::compression::Compression;
use mcsnap::codecs::format::encoder::{EncoderOptions, SegmentEncoder};
use mcsnap::codecs::format::frame::FrameType;
use mcsnap::codecs::format::layout::{
    CHECKPOINT_ENTRY, CHECKPOINT_HEADER, FILE_HEADER, FRAME_HEADER, FRAME_HEADER_SIZE,
    LOOK_UP_BLOCK, LOOK_UP_HEADER, LOOK_UP_HEADER_SIZE, PAGE_HEADER, PAGE_SIZE,
};
use mcsnap::codecs::format::manifest::LookUpName;
use mcsnap::codecs::format::segment_meta::SegmentMeta;
use mcsnap::engines::snapshot::SegmentReader;
use mcsnap::words::item::{ItemMeta, Record};

use crate::format::golden::{
    Drawing, LINE_LEN, bytes_of_line, fence_of, frame_name, in_project, replace_fence,
};
use crate::format::golden_newer::open;
use crate::format::golden_records::record_of;
use crate::format::golden_valid::{
    Snapshot, check_listing, check_or_keep, forged, is_blessed, row, testdata, told,
};
use crate::harness::forge::{CHECKPOINT, Forge, HAS_PAYLOAD_CRC};

const CHAPTER: &str = "14. A larger example";

/// Bytes of a part of a value, few so that the file stays small.
const PART_LEN: usize = 32;

fn meta_of(flags: u64) -> ItemMeta {
    ItemMeta {
        client_flags: Some(flags),
        ..ItemMeta::default()
    }
}

/// One shard of two segments: compressed sections, a value in parts, a checkpoint, and a
/// look-up object.
fn larger() -> Snapshot {
    let mut snapshot = Snapshot::new(&[("cache1:11211", 0)]);
    snapshot.manifest.name = "larger".to_owned();
    let compression = Compression::Zstd(1);
    snapshot.add(0, 0, 0, compression, &vec![row("replaced", "", meta_of(0))]);
    let rows = vec![row("user:8", "Edsger", told())];
    snapshot.add(0, 0, 1, compression, &rows);
    let first = Forge::new(&snapshot.files[0].1);
    let meta: SegmentMeta = serde_json::from_slice(&first.bytes()[first.payload(0)]).unwrap();
    snapshot.set_segment(0, with_checkpoint(&first_segment(&meta)));
    snapshot.look_up()
}

fn first_segment(meta: &SegmentMeta) -> Vec<u8> {
    let options = EncoderOptions {
        compression: Compression::Zstd(1),
        block_raw_len: EncoderOptions::BLOCK_RAW_LEN,
        part_raw_len: PART_LEN,
        index_seed: 5,
    };
    let mut encoder = SegmentEncoder::new(meta, options).unwrap();
    let push = |encoder: &mut SegmentEncoder, key: &str, value: &str| {
        let (key, value, meta) = (key.as_bytes(), value.as_bytes(), meta_of(7));
        encoder.push(&Record { key, value, meta }).unwrap();
    };
    push(&mut encoder, "page:1", &"<p>Hello</p>".repeat(12));
    let parted = "0123456789".repeat(4);
    let len = u64::try_from(parted.len()).unwrap();
    encoder.begin_value(b"page:2", &meta_of(7), len).unwrap();
    encoder.push_piece(parted.as_bytes());
    encoder.end_value();
    push(&mut encoder, "user:7", "Grace");
    encoder.finish().unwrap().rest
}

/// Puts a checkpoint behind the last block.
fn with_checkpoint(segment: &[u8]) -> Vec<u8> {
    let reader: SegmentReader = open(segment).unwrap();
    let entries = &reader.toc().entries;
    let is_index = |kind: FrameType| kind == FrameType::KeyIndex;
    let at = entries
        .iter()
        .position(|entry| is_index(entry.frame_type))
        .unwrap();
    let checkpoint = Checkpoint {
        ids: *reader.ids(),
        previous_offset: 0,
        record_count: reader.toc().record_count,
        entries: entries[..at].to_vec(),
    };
    forged(segment, |forge| {
        forge.insert_frame(at, CHECKPOINT, HAS_PAYLOAD_CRC, &checkpoint.encode());
    })
}

fn stored(name: &str) -> Vec<u8> {
    fs::read(testdata("valid/larger").join(name)).unwrap()
}

/// Draws what the small file does not have.
fn draw(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    let named = &snapshot.manifest.segments[0];
    writeln!(text, "{}", named.object).unwrap();
    text.push_str(&drawn_segment(&stored(&named.object)));
    let named = &snapshot.manifest.segments[1];
    writeln!(text, "\n{}", named.object).unwrap();
    text.push_str(&drawn_segment(&stored(&named.object)));
    let look_up = snapshot.manifest.nodes[0].look_ups[0];
    writeln!(text, "\n{}", look_up.object()).unwrap();
    text.push_str(&drawn_look_up(&stored(&look_up.object()), &look_up));
    writeln!(text, "\nmanifest.json\n").unwrap();
    text.push_str(&String::from_utf8(stored("manifest.json")).unwrap());
    let (record, object) = record_of(snapshot).encode();
    writeln!(text, "\n{object}\n").unwrap();
    text.push_str(&String::from_utf8(record).unwrap());
    text
}

/// File header, META, parts, block and checkpoint of a segment.
fn drawn_segment(bytes: &[u8]) -> String {
    let mut drawing = Drawing::new(bytes);
    let segment = open(bytes).unwrap();
    drawing.title("file header (5.1)");
    drawing.fields(FILE_HEADER);
    for entry in &segment.toc().entries {
        drawing.at = usize::try_from(entry.offset).unwrap();
        let end = drawing.at + FRAME_HEADER_SIZE + usize::try_from(entry.stored_len).unwrap();
        let is_part = entry.frame_type == FrameType::ValuePart;
        let is_checkpoint = entry.frame_type == FrameType::Checkpoint;
        let is_meta = entry.frame_type == FrameType::Meta;
        if !is_meta && !is_part && !is_checkpoint && !entry.is_block() {
            continue;
        }
        let name = frame_name(entry.frame_type);
        drawing.title(&format!("frame header (5.2) of the {name} frame"));
        drawing.fields(FRAME_HEADER);
        if is_meta {
            drawing.title("META (5.4), text");
            drawing.texts(end);
        } else if is_part {
            drawing.part();
        } else if is_checkpoint {
            drawing.title("checkpoint (5.9)");
            drawing.fields(CHECKPOINT_HEADER);
            while drawing.at < end {
                drawing.fields(CHECKPOINT_ENTRY);
            }
        } else {
            drawing.block();
        }
        assert_eq!(drawing.at, end);
    }
    drawing.text
}

fn drawn_look_up(bytes: &[u8], name: &LookUpName) -> String {
    let mut drawing = Drawing::new(bytes);
    drawing.title("look-up object (5.15)");
    drawing.fields(LOOK_UP_HEADER);
    let table = name.table();
    let page = &bytes[LOOK_UP_HEADER_SIZE..LOOK_UP_HEADER_SIZE + PAGE_SIZE];
    let page = table.decode_page(0, page).unwrap();
    drawing.title("page 0 (5.8, with 19 bits)");
    drawing.fields(PAGE_HEADER);
    drawing.page_entries(&page, table.number_bits(), LOOK_UP_HEADER_SIZE + PAGE_SIZE);
    drawing.title("entries of the blocks (5.15)");
    while drawing.at < bytes.len() {
        drawing.fields(LOOK_UP_BLOCK);
    }
    drawing.text
}

#[test]
fn the_larger_example_is_read_and_drawn_in_the_document() {
    let snapshot = larger();
    for (file, bytes) in snapshot.files() {
        check_or_keep(&format!("valid/larger/{file}"), &bytes);
    }
    let (record, object) = record_of(&snapshot).encode();
    check_or_keep(&format!("valid/larger/{object}"), &record);
    check_listing("larger", "larger");
    let drawn = draw(&snapshot);
    let path = in_project("FORMAT.md");
    let document = fs::read_to_string(&path).unwrap();
    if is_blessed() {
        fs::write(&path, replace_fence(&document, CHAPTER, &drawn)).unwrap();
        return;
    }
    assert!(
        fence_of(&document, CHAPTER) == drawn,
        "the drawing in FORMAT.md is not that of the larger example; see MCSNAP_BLESS"
    );
}

#[test]
fn each_line_of_the_larger_drawing_is_what_the_file_has_there() {
    let document = fs::read_to_string(in_project("FORMAT.md")).unwrap();
    let snapshot = larger();
    let look_up = snapshot.manifest.nodes[0].look_ups[0].object();
    let mut bytes = Vec::new();
    let mut count = 0;
    for line in fence_of(&document, CHAPTER).lines() {
        if line.starts_with("segments/") || line == look_up {
            bytes = stored(line);
        } else if line == "manifest.json" {
            break;
        }
        let Some((offset, found)) = bytes_of_line(line) else {
            continue;
        };
        assert!(found.len() <= LINE_LEN || found.iter().all(|byte| *byte == 0));
        assert_eq!(bytes[offset..offset + found.len()], found, "{line}");
        count += 1;
    }
    assert!(count > 100, "{count}");
}
