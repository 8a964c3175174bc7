//! Files that break a rule, at least one for each finding code, with what a
//! reader must find: never less, never something else.
//!
//! Each run makes them anew, compares them with the stored ones, and lets both
//! readers look. `MCSNAP_BLESS=1` writes them and what the library finds; the
//! other reader must then agree.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use mcsnap::codecs::format::checksum::seeded_crc32_of;
use mcsnap::codecs::format::compression::Compression;
use mcsnap::codecs::format::hash_page::HashTable;
use mcsnap::codecs::format::ids::{LookUpId, SnapshotId};
use mcsnap::codecs::format::layout::{LOOK_UP_BLOCK_SIZE, LOOK_UP_HEADER_SIZE, PAGE_SIZE};
use mcsnap::codecs::format::look_up::{LookUpBlock, LookUpHeader};
use mcsnap::codecs::format::manifest::{LookUpName, ManifestSegment, Verdict};
use mcsnap::codecs::format::sealed_text::check_seal;
use mcsnap::codecs::format::stat::{decode_stat, encode_stat};
use mcsnap::words::defect::{Defect, Structure};
use mcsnap::words::item::ItemMeta;
use mcsnap::words::limits::Limits;
use serde_json::{Value, json};

use crate::format::golden_valid::{
    Snapshot, check, compressed, forged, in_parts, is_blessed, of_columns, of_one, raw_keys,
    resealed, row, rows_of_one, testdata, text_of, told, with_checkpoint, with_column,
};
use crate::format::independent_reader::{Told, verify_by_library, verify_independently};
use crate::format::{golden, golden_records};
use crate::harness::forge::{CRITICAL, Forge, HAS_PAYLOAD_CRC, PLAIN, Place, Side};
use crate::harness::workdir::Workdir;

/// A damaged file or snapshot.
pub(crate) struct Case {
    name: &'static str,
    /// What is wrong with it.
    what: &'static str,
    /// The code that is there for it.
    code: &'static str,
    /// Names below `corrupt/`, and bytes.
    files: Vec<(String, Vec<u8>)>,
    /// The name below `corrupt/` by which it is opened.
    place: String,
}

impl Case {
    fn segment(name: &'static str, code: &'static str, what: &'static str, bytes: Vec<u8>) -> Self {
        let file = format!("{name}.mcs");
        Self {
            name,
            what,
            code,
            files: vec![(file.clone(), bytes)],
            place: file,
        }
    }

    /// The golden snapshot of one segment, with some of its files changed.
    fn snapshot(
        name: &'static str,
        code: &'static str,
        what: &'static str,
        change: impl FnOnce(&mut Snapshot),
    ) -> Self {
        let mut snapshot = of_one();
        change(&mut snapshot);
        Self::of_files(name, code, what, snapshot.files())
    }

    /// The same with the text of its manifest changed, and sealed again.
    fn manifest(
        name: &'static str,
        code: &'static str,
        what: &'static str,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let snapshot = of_one();
        let mut files = snapshot.files;
        let text = change(text_of(&snapshot.manifest));
        files.push(("manifest.json".to_owned(), resealed(&text)));
        Self::of_files(name, code, what, files)
    }

    pub(crate) fn of_files(
        name: &'static str,
        code: &'static str,
        what: &'static str,
        files: Vec<(String, Vec<u8>)>,
    ) -> Self {
        let within = |(file, bytes)| (format!("{name}/{file}"), bytes);
        Self {
            name,
            what,
            code,
            files: files.into_iter().map(within).collect(),
            place: name.to_owned(),
        }
    }
}

/// A record of another key.
fn rows_of_other() -> Vec<(Vec<u8>, Vec<u8>, ItemMeta)> {
    vec![row("other", "value", told())]
}

/// The golden snapshot of one segment with its look-up object changed; one that is left
/// empty is not there.
fn look_up_case(
    name: &'static str,
    code: &'static str,
    what: &'static str,
    change: impl FnOnce(&LookUpName, &mut Vec<u8>),
) -> Case {
    Case::snapshot(name, code, what, |snapshot| {
        *snapshot = of_one().look_up();
        let (_, bytes) = snapshot.files.last_mut().unwrap();
        change(&snapshot.manifest.nodes[0].look_ups[1], bytes);
        snapshot.files.retain(|(_, bytes)| !bytes.is_empty());
    })
}

/// The golden snapshot of one segment, which says another place than the manifest.
fn place_case(name: &'static str, said: &str, lie: &str) -> Case {
    let what = "a description of another place than the manifest says";
    Case::snapshot(name, "MCS010", what, |snapshot| {
        let bytes = with_meta(&snapshot.files[0].1, |text| {
            assert!(text.contains(said), "{text}");
            text.replace(said, lie)
        });
        snapshot.set_segment(0, bytes);
    })
}

/// Changes the text of the only part, and seals it again; the manifest may know.
fn with_part(snapshot: &mut Snapshot, change: impl FnOnce(String) -> String, is_known: bool) {
    *snapshot = of_one().split(1);
    let (_, bytes) = &mut snapshot.files[1];
    let text = change(String::from_utf8(bytes.clone()).unwrap());
    *bytes = resealed(&text);
    if is_known {
        let name = &mut snapshot.manifest.parts[0];
        name.checksum = check_seal(Structure::ManifestPart, bytes).unwrap();
        name.size = u64::try_from(bytes.len()).unwrap();
    }
}

/// Flips the lowest bit of the byte where a field starts; no checksum follows.
fn flip(segment: &[u8], place: Place, field: &str) -> Vec<u8> {
    let forge = Forge::new(segment);
    let found = Forge::fields(place)
        .iter()
        .find(|found| found.name == field);
    let at = forge.range(place).start + found.unwrap().offset;
    flip_at(segment, at)
}

fn flip_at(segment: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = segment.to_vec();
    bytes[at] ^= 1;
    bytes
}

/// Sets a field to a lie, and every checksum right.
fn lie(segment: &[u8], place: Place, field: &str, value: u64) -> Vec<u8> {
    forged(segment, |forge| {
        forge.set(place, field, value);
    })
}

/// Writes other bytes somewhere in a structure, and every checksum right.
fn overwrite(segment: &[u8], place: Place, offset: usize, bytes: &[u8]) -> Vec<u8> {
    forged(segment, |forge| {
        let at = forge.range(place).start + offset;
        forge.write(at, bytes);
    })
}

/// Makes a page for a segment of some hundred blocks at most, and more than 64.
fn encoded_page(entries: &[(u32, u32)]) -> Vec<u8> {
    let table = HashTable {
        id: [0; 16],
        seed: 0,
        page_count: 1,
        fingerprint_bits: 17,
        number_count: 100,
        structure: Structure::KeyIndexPage,
    };
    let mut page = Vec::new();
    assert!(table.encode_page(0, entries, &mut page));
    page
}

/// Puts other raw keys and metadata into the first block.
fn with_keys(segment: &[u8], change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    forged(segment, |forge| {
        let raw = change(raw_keys(forge, 0));
        forge.set_section(0, Side::Keys, PLAIN, &raw, &raw);
    })
}

/// Puts another description into the segment.
fn with_meta(segment: &[u8], change: impl FnOnce(String) -> String) -> Vec<u8> {
    forged(segment, |forge| {
        let text = forge.bytes()[forge.payload(0)].to_vec();
        let text = change(String::from_utf8(text).unwrap());
        forge.set_payload(0, text.as_bytes());
    })
}

/// Puts other bytes into a compressed section, which say to be `raw_len` long.
fn with_stored_values(segment: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    forged(segment, |forge| {
        let section = Place::Section(0, Side::Values);
        let keys = forge.get(Place::Section(0, Side::Keys), "stored_len");
        let start = forge.range(Place::Block(0)).end + usize::try_from(keys).unwrap();
        let len = usize::try_from(forge.get(section, "stored_len")).unwrap();
        let (raw_len, raw_crc) = (forge.get(section, "raw_len"), forge.get(section, "raw_crc"));
        let mut stored = forge.bytes()[start..start + len].to_vec();
        change(&mut stored);
        let raw = vec![0; usize::try_from(raw_len).unwrap()];
        forge.set_section(0, Side::Values, 1, &stored, &raw);
        forge.set(section, "raw_crc", raw_crc);
    })
}

/// Damage of the kind that disks and networks do: no checksum is right after it.
fn damaged() -> Vec<Case> {
    let tiny = golden::tiny();
    let frames = Forge::new(&tiny);
    let keys = frames.range(Place::Columns(0)).start;
    let values = frames.range(Place::Block(0)).end
        + usize::try_from(frames.get(Place::Section(0, Side::Keys), "stored_len")).unwrap();
    let toc_entry = frames.range(Place::TocEntry(0)).start;
    let meta = frames.payload(0).start;
    let statistics = frames.payload(3).start;
    vec![
        Case::segment("cut", "MCS001", "cut to 100 bytes", tiny[..100].to_vec()),
        Case::segment(
            "cut-end",
            "MCS002",
            "the last byte is missing",
            tiny[..tiny.len() - 1].to_vec(),
        ),
        Case::segment(
            "magic-file",
            "MCS002",
            "a bit of the file header's magic",
            flip(&tiny, Place::FileHeader, "magic"),
        ),
        Case::segment(
            "magic-tail",
            "MCS002",
            "a bit of the tail's magic",
            flip(&tiny, Place::Tail, "magic"),
        ),
        Case::segment(
            "magic-frame",
            "MCS002",
            "a bit of the block's marker",
            flip(&tiny, Place::Frame(1), "marker"),
        ),
        Case::segment(
            "sync-frame",
            "MCS005",
            "a bit of the block's sync marker",
            flip(&tiny, Place::Frame(1), "sync_marker"),
        ),
        Case::segment(
            "crc-file-header",
            "MCS003",
            "a bit of the minor version",
            flip(&tiny, Place::FileHeader, "minor"),
        ),
        Case::segment(
            "crc-tail",
            "MCS003",
            "a bit of the tail's toc_offset",
            flip(&tiny, Place::Tail, "toc_offset"),
        ),
        Case::segment(
            "crc-meta",
            "MCS003",
            "a bit of the description",
            flip_at(&tiny, meta + 20),
        ),
        Case::segment(
            "crc-statistics",
            "MCS003",
            "a bit of the statistics",
            flip_at(&tiny, statistics + 90),
        ),
        Case::segment(
            "crc-frame-header",
            "MCS003",
            "a bit of the block's frame header",
            flip(&tiny, Place::Frame(1), "stored_len"),
        ),
        Case::segment(
            "crc-block-header",
            "MCS003",
            "a bit of the block header",
            flip(&tiny, Place::Block(0), "record_count"),
        ),
        Case::segment(
            "crc-keys",
            "MCS003",
            "a bit of the key section",
            flip_at(&tiny, keys + 70),
        ),
        Case::segment(
            "crc-values",
            "MCS003",
            "a bit of the value section",
            flip_at(&tiny, values),
        ),
        Case::segment(
            "crc-key-index",
            "MCS003",
            "a bit of the key index's seed",
            flip(&tiny, Place::KeyIndex, "seed"),
        ),
        Case::segment(
            "crc-page",
            "MCS003",
            "a bit of a page",
            flip(&tiny, Place::Page(0), "entry_count"),
        ),
        Case::segment(
            "crc-toc",
            "MCS003",
            "a bit of an entry of the table of contents",
            flip_at(&tiny, toc_entry + 8),
        ),
    ]
}

/// Segments whose checksums are right and whose fields break a rule.
fn illegal() -> Vec<Case> {
    let tiny = golden::tiny();
    let columns = of_columns();
    let zstd = fs::read(testdata("valid/zstd.mcs")).unwrap_or_else(|_| compressed());
    let checkpoint = with_checkpoint();
    let keys = Place::Section(0, Side::Keys);
    let values = Place::Section(0, Side::Values);
    let page = |bytes: &[u8], at| overwrite(&tiny, Place::Page(0), at, bytes);
    let block_too_many = encoded_page(&[(5, 66)]);
    let out_of_order = encoded_page(&[(5, 9), (5, 3)]);
    vec![
        Case::segment(
            "cut-keys",
            "MCS001",
            "the key section ends within its directory",
            with_keys(&tiny, |raw| raw[..10].to_vec()),
        ),
        Case::segment(
            "cut-page",
            "MCS001",
            "a page of more entries than it has room for",
            lie(&tiny, Place::Page(0), "entry_count", 2100),
        ),
        Case::segment(
            "crc-raw",
            "MCS003",
            "another checksum of the raw values",
            lie(&zstd, values, "raw_crc", 1),
        ),
        Case::segment(
            "reserved-frame-flag",
            "MCS004",
            "a reserved flag of a frame",
            lie(&tiny, Place::Frame(1), "flags", 0b101),
        ),
        Case::segment(
            "reserved-section",
            "MCS004",
            "the flag of an encrypted section",
            lie(&tiny, keys, "flags", 1),
        ),
        Case::segment(
            "reserved-column",
            "MCS004",
            "a reserved flag of a column",
            lie(&tiny, Place::Column(0, 4), "flags", 2),
        ),
        Case::segment(
            "reserved-mark",
            "MCS004",
            "a mark of bit 5",
            with_keys(&columns, |mut raw| {
                let at = raw.len() - 2;
                raw[at..].copy_from_slice(&[1 << 5, 1 << 5]);
                raw
            }),
        ),
        Case::segment(
            "reserved-page",
            "MCS004",
            "a byte behind the entries of a page",
            page(&[1], 4000),
        ),
        Case::segment(
            "reserved-toc",
            "MCS004",
            "a reserved field of an entry",
            lie(&tiny, Place::TocEntry(1), "reserved", 1),
        ),
        Case::segment(
            "count-tail-minor",
            "MCS010",
            "a tail of another minor version than the file header",
            lie(&tiny, Place::Tail, "minor", 7),
        ),
        Case::segment(
            "illegal-major",
            "MCS007",
            "major version 0",
            forged(&tiny, |forge| {
                forge.set(Place::FileHeader, "major", 0);
                forge.set(Place::Tail, "major", 0);
            }),
        ),
        Case::segment(
            "foreign-tail",
            "MCS005",
            "the tail of another snapshot",
            lie(&tiny, Place::Tail, "snapshot_id", 1),
        ),
        Case::segment(
            "foreign-meta",
            "MCS005",
            "the description of another segment",
            with_meta(&tiny, |text| text.replace("1111", "1112")),
        ),
        Case::segment(
            "foreign-checkpoint",
            "MCS005",
            "a checkpoint of another segment",
            lie(&checkpoint, Place::Checkpoint(0), "segment_id", 1),
        ),
        Case::segment(
            "place-offset",
            "MCS006",
            "a frame that says another offset",
            lie(&tiny, Place::Frame(1), "offset", 484),
        ),
        Case::segment(
            "place-sequence",
            "MCS006",
            "a frame that says another sequence",
            lie(&tiny, Place::Frame(2), "sequence", 9),
        ),
        Case::segment(
            "place-entry",
            "MCS006",
            "a gap between two entries",
            lie(&tiny, Place::TocEntry(1), "offset", 486),
        ),
        Case::segment(
            "place-toc",
            "MCS006",
            "a table of contents that ends before the tail",
            lie(&tiny, Place::Tail, "toc_len", 48),
        ),
        Case::segment(
            "illegal-codec",
            "MCS007",
            "codec 2",
            lie(&tiny, keys, "codec", 2),
        ),
        Case::segment(
            "illegal-no-records",
            "MCS007",
            "a block of no records",
            forged(&tiny, |forge| {
                forge.set(Place::Block(0), "record_count", 0);
                forge.set(Place::TocEntry(1), "record_count", 0);
                forge.set(Place::Toc, "record_count", 0);
            }),
        ),
        Case::segment(
            "illegal-first-frame",
            "MCS007",
            "a private frame before META",
            forged(&tiny, |forge| {
                forge.insert_frame(0, 200, HAS_PAYLOAD_CRC, b"first");
            }),
        ),
        Case::segment(
            "illegal-column-order",
            "MCS007",
            "two columns of one id",
            lie(&tiny, Place::Column(0, 5), "id", 5),
        ),
        Case::segment(
            "illegal-encoding",
            "MCS007",
            "a known column in an unknown encoding",
            lie(&tiny, Place::Column(0, 5), "encoding", 1),
        ),
        Case::segment(
            "illegal-key-len",
            "MCS007",
            "a key of no bytes",
            with_keys(&tiny, |mut raw| {
                raw[4 + 7 * 8..][..2].copy_from_slice(&[8, 0]);
                raw
            }),
        ),
        Case::segment(
            "illegal-mark",
            "MCS007",
            "a mark that is set and not known",
            with_keys(&columns, |mut raw| {
                let at = raw.len() - 2;
                raw[at..].copy_from_slice(&[1, 0]);
                raw
            }),
        ),
        Case::segment(
            "illegal-page-order",
            "MCS007",
            "entries of a page out of order",
            overwrite(&checkpoint, Place::Page(0), 0, &out_of_order),
        ),
        Case::segment(
            "illegal-entry-size",
            "MCS007",
            "entries of 79 bytes",
            lie(&tiny, Place::Toc, "entry_size", 79),
        ),
        Case::segment(
            "illegal-key-index-offset",
            "MCS007",
            "a key index where there is a block",
            lie(&tiny, Place::Toc, "key_index_offset", 485),
        ),
        Case::segment(
            "illegal-previous-offset",
            "MCS007",
            "a checkpoint that names a later one",
            lie(
                &checkpoint,
                Place::Checkpoint(0),
                "previous_offset",
                1 << 20,
            ),
        ),
        Case::segment(
            "limit-raw-len",
            "MCS008",
            "values of 2 GiB",
            lie(&tiny, values, "raw_len", 1 << 31),
        ),
        Case::segment(
            "limit-stored-len",
            "MCS008",
            "a section longer in the file than raw",
            lie(&tiny, values, "stored_len", 4),
        ),
        Case::segment(
            "limit-records",
            "MCS008",
            "a block of 65,537 records",
            lie(&tiny, Place::Block(0), "record_count", 65_537),
        ),
        Case::segment(
            "limit-block-number",
            "MCS008",
            "a page that names a block too many",
            overwrite(&checkpoint, Place::Page(0), 0, &block_too_many),
        ),
        Case::segment(
            "limit-frames",
            "MCS008",
            "a table of contents of 4,000,001 entries",
            lie(&tiny, Place::Toc, "entry_count", 4_000_001),
        ),
        Case::segment(
            "unknown-frame",
            "MCS009",
            "an unknown frame that is critical",
            forged(&tiny, |forge| {
                forge.insert_frame(2, 8, CRITICAL | HAS_PAYLOAD_CRC, b"a dictionary");
            }),
        ),
        Case::segment(
            "unknown-private-frame",
            "MCS009",
            "a private frame that says to be critical",
            forged(&tiny, |forge| {
                forge.insert_frame(2, 200, CRITICAL, b"private");
            }),
        ),
        Case::segment(
            "unknown-column",
            "MCS009",
            "an unknown column that is critical",
            with_keys(&tiny, |raw| with_column(&raw, 12, 1, 0, b"elsewhere")),
        ),
        Case::segment(
            "count-payload",
            "MCS010",
            "a block longer than its sections",
            forged(&tiny, |forge| {
                forge.set(values, "stored_len", 2);
                forge.set(values, "raw_len", 2);
            }),
        ),
        Case::segment(
            "count-column",
            "MCS010",
            "a column too short for the records",
            with_keys(&tiny, |mut raw| {
                raw[4 + 6 * 8 + 4] = 8;
                raw.truncate(raw.len() - 8);
                raw
            }),
        ),
        Case::segment(
            "count-values",
            "MCS010",
            "values longer than their section",
            with_keys(&tiny, |mut raw| {
                raw[4 + 7 * 8 + 10] += 1;
                raw
            }),
        ),
        Case::segment(
            "count-bounds",
            "MCS010",
            "an exptime_min that no record has",
            forged(&tiny, |forge| {
                forge.set(Place::TocEntry(1), "exptime_min", 1_700_000_000);
            }),
        ),
        Case::segment(
            "count-entry",
            "MCS010",
            "an entry that is not as the block",
            lie(&tiny, Place::TocEntry(1), "value_raw_len", 4),
        ),
        Case::segment(
            "count-records",
            "MCS010",
            "more records than in the blocks",
            lie(&tiny, Place::Toc, "record_count", 3),
        ),
        Case::segment(
            "count-value-bytes",
            "MCS010",
            "more bytes of values than there are",
            lie(&tiny, Place::Toc, "value_bytes", 4),
        ),
        Case::segment(
            "count-key-index",
            "MCS010",
            "another seed than in the table of contents",
            lie(&tiny, Place::Toc, "key_index_seed", 6),
        ),
        Case::segment(
            "count-checkpoint",
            "MCS010",
            "a checkpoint of other counts than the TOC",
            lie(&checkpoint, Place::Checkpoint(0), "record_count", 62),
        ),
        Case::segment(
            "count-statistics",
            "MCS010",
            "statistics of more records than there are",
            forged(&tiny, |forge| {
                let total = forge.range(Place::StatSection(8)).end;
                forge.write(total, &[3]);
            }),
        ),
        Case::segment(
            "count-statistics-largest",
            "MCS010",
            "statistics that name another key as the one with the largest value",
            forged(&tiny, |forge| {
                let key = forge.payload(3).end - 19;
                forge.write(key, b"v");
            }),
        ),
        Case::segment(
            "count-statistics-unlisted",
            "MCS010",
            "statistics without the row of a prefix, which say that nothing is unlisted",
            forged(&tiny, |forge| {
                let payload = forge.bytes()[forge.payload(3)].to_vec();
                let mut statistics = decode_stat(&payload, &Limits::default()).unwrap();
                assert_eq!(statistics.prefixes.unlisted_max, 0);
                statistics.prefixes.rows.clear();
                forge.set_payload(3, &encode_stat(&statistics)).link();
            }),
        ),
        Case::segment(
            "illegal-statistics-order",
            "MCS007",
            "statistics with two sections of one id",
            lie(&tiny, Place::StatSection(1), "id", 1),
        ),
        Case::segment(
            "reserved-statistics",
            "MCS004",
            "statistics with a reserved field that is not zero",
            lie(&tiny, Place::Stat, "reserved", 1),
        ),
        Case::segment(
            "limit-statistics",
            "MCS008",
            "statistics that are too long",
            forged(&tiny, |forge| {
                forge.set_payload(3, &[0; (64 << 10) + 1]);
            }),
        ),
        Case::segment(
            "count-file-len",
            "MCS010",
            "a tail that says another length",
            lie(&tiny, Place::Tail, "file_len", 5403),
        ),
        Case::segment(
            "zstd-length",
            "MCS011",
            "a frame of another length than raw_len",
            forged(&zstd, |forge| {
                let raw_len = forge.get(keys, "raw_len") + 1;
                forge.set(keys, "raw_len", raw_len);
                forge.set(Place::TocEntry(1), "key_raw_len", raw_len);
            }),
        ),
        Case::segment(
            "zstd-garbage",
            "MCS011",
            "a frame that cannot be decompressed",
            with_stored_values(&zstd, |stored| {
                let end = stored.len() - 4;
                stored[end..].fill(0xff);
            }),
        ),
        Case::segment(
            "zstd-more",
            "MCS011",
            "a skippable frame behind the frame",
            with_stored_values(&zstd, |stored| {
                stored.extend_from_slice(b"\x50\x2a\x4d\x18\x00\x00\x00\x00");
            }),
        ),
        Case::segment(
            "value-hash",
            "MCS012",
            "another value, with right checksums",
            forged(&tiny, |forge| {
                forge.set_section(0, Side::Values, PLAIN, b"Eve", b"Eve");
            }),
        ),
        Case::segment(
            "key-not-indexed",
            "MCS013",
            "other fingerprints of the keys",
            page(&[0b11], 9),
        ),
        Case::segment(
            "meta-no-text",
            "MCS015",
            "a description that is no JSON",
            with_meta(&tiny, |text| text.replacen('{', "(", 1)),
        ),
        Case::segment(
            "meta-type",
            "MCS015",
            "a node_index that is text",
            with_meta(&tiny, |text| {
                text.replace("\"node_index\":0", "\"node_index\":\"0\"")
            }),
        ),
        Case::segment(
            "meta-moment",
            "MCS015",
            "a created_at that is no moment",
            with_meta(&tiny, |text| {
                text.replace("\"created_at\":\"2026", "\"created_at\":\"late")
            }),
        ),
        Case::segment(
            "meta-clock",
            "MCS015",
            "a clock_offset that is no number",
            with_meta(&tiny, |text| {
                text.replace("\"clock_offset\":\"0\"", "\"clock_offset\":\"+3\"")
            }),
        ),
        Case::segment(
            "digest-content",
            "MCS016",
            "another content digest than that of the records",
            lie(&tiny, Place::Toc, "content_digest", 1),
        ),
    ]
}

/// Overwrites a cell of VALUE_PLACE in the first block: 0, a place, a place, 0.
fn with_place(segment: &[u8], record: usize, place: u64) -> Vec<u8> {
    with_keys(segment, |mut raw| {
        let start = raw.len() - 4 * 8 + record * 8;
        raw[start..start + 8].copy_from_slice(&place.to_le_bytes());
        raw
    })
}

/// Segments whose values in parts break a rule, their checksums right but for
/// the first ones.
fn wrong_parts() -> Vec<Case> {
    let parts = in_parts();
    let forge = Forge::new(&parts);
    // META, nine parts, a block, the one part of the second block.
    let (last, block, single) = (9, 10, 11);
    let offset = |frame| forge.get(Place::Frame(frame), "offset");
    let payload = |part| forge.range(Place::Part(part)).end;
    vec![
        Case::segment(
            "crc-part",
            "MCS003",
            "a bit of a part's number",
            flip(&parts, Place::Part(1), "part_number"),
        ),
        Case::segment(
            "crc-part-value",
            "MCS003",
            "a bit of a value in parts",
            flip_at(&parts, payload(2) + 3),
        ),
        Case::segment(
            "crc-part-abandoned",
            "MCS003",
            "a bit of a value that was abandoned",
            flip_at(&parts, payload(5)),
        ),
        Case::segment(
            "reserved-part",
            "MCS004",
            "a reserved field of a part",
            lie(&parts, Place::Part(0), "reserved", 1),
        ),
        Case::segment(
            "place-part-number",
            "MCS006",
            "a part that says another number",
            lie(&parts, Place::Part(1), "part_number", 2),
        ),
        Case::segment(
            "place-part-offset",
            "MCS006",
            "a part that says another offset in the value",
            lie(&parts, Place::Part(2), "value_offset", 7),
        ),
        Case::segment(
            "illegal-part-empty",
            "MCS007",
            "a part of no bytes",
            forged(&parts, |forge| {
                let header = forge.bytes()[forge.range(Place::Part(9))].to_vec();
                forge.set_payload(single, &header);
                for field in ["stored_len", "raw_len"] {
                    forge.set(Place::PartSection(9), field, 0);
                }
                forge.link();
            }),
        ),
        Case::segment(
            "illegal-value-place",
            "MCS007",
            "a VALUE_PLACE where there is a block",
            with_place(&parts, 2, offset(block)),
        ),
        Case::segment(
            "illegal-value-place-behind",
            "MCS007",
            "a VALUE_PLACE behind the block",
            with_place(&parts, 2, offset(single)),
        ),
        Case::segment(
            "illegal-value-places",
            "MCS007",
            "two records of one VALUE_PLACE",
            with_place(&parts, 2, offset(1)),
        ),
        Case::segment(
            "limit-part",
            "MCS008",
            "a part of more than 4 MiB",
            lie(&parts, Place::PartSection(0), "raw_len", (4 << 20) + 1),
        ),
        Case::segment(
            "limit-value-len",
            "MCS008",
            "a value in parts of more than 1 GiB",
            lie(&parts, Place::Part(0), "value_len", (1 << 30) + 1),
        ),
        Case::segment(
            "limit-part-offset",
            "MCS008",
            "a part that reaches past the value's end",
            lie(&parts, Place::Part(3), "value_offset", 22),
        ),
        Case::segment(
            "count-part",
            "MCS010",
            "a part longer than its section",
            forged(&parts, |forge| {
                let mut longer = forge.bytes()[forge.payload(single)].to_vec();
                longer.push(0);
                forge.set_payload(single, &longer);
            }),
        ),
        Case::segment(
            "count-part-value-len",
            "MCS010",
            "a part of a value of another length",
            lie(&parts, Place::Part(1), "value_len", 23),
        ),
        Case::segment(
            "count-part-entry",
            "MCS010",
            "an entry that is not as the part",
            lie(&parts, Place::TocEntry(1), "value_raw_len", 8),
        ),
        Case::segment(
            "cut-parts",
            "MCS001",
            "a value whose last part is missing",
            forged(&parts, |forge| {
                let payload = forge.bytes()[forge.payload(last)].to_vec();
                forge.remove_frame(last);
                forge.insert_frame(last, 200, 0, &payload);
            }),
        ),
        Case::segment(
            "value-hash-parts",
            "MCS012",
            "another value in parts, with right checksums",
            forged(&parts, |forge| {
                let at = forge.range(Place::Part(0)).end;
                forge.write(at, b"A");
            }),
        ),
    ]
}

/// Snapshots with something wrong between the manifest and its segments.
fn snapshots() -> Vec<Case> {
    let swap = |from: &'static str, to: &'static str| {
        move |text: String| {
            assert!(text.contains(from), "{from} is not in the manifest");
            text.replacen(from, to, 1)
        }
    };
    vec![
        Case::snapshot(
            "segment-foreign",
            "MCS005",
            "a segment of another snapshot",
            |snapshot| {
                let (_, bytes) = &mut snapshot.files[0];
                let length = bytes.len();
                let text = |text: String| text.replace(&"aa".repeat(16), &"ab".repeat(16));
                *bytes = with_meta(bytes, text);
                *bytes = forged(bytes, |forge| {
                    for place in [Place::FileHeader, Place::Tail] {
                        forge.set(place, "snapshot_id", 0xabab_abab_abab_abab);
                    }
                    for place in [Place::FileHeader, Place::Tail] {
                        let at =
                            forge.range(place).start + if place == Place::Tail { 32 } else { 40 };
                        forge.write(at, &[0xab; 8]);
                    }
                });
                assert_eq!(bytes.len(), length);
            },
        ),
        Case::snapshot(
            "segment-missing",
            "MCS017",
            "a segment is not there",
            |snapshot| {
                snapshot.files.clear();
            },
        ),
        Case::snapshot("segment-size", "MCS018", "a segment is cut", |snapshot| {
            snapshot.files[0].1.truncate(1000);
        }),
        Case::snapshot(
            "segment-digest",
            "MCS016",
            "a segment of the same ids and length, but other content",
            |snapshot| {
                let (_, bytes) = &mut snapshot.files[0];
                *bytes = lie(bytes, Place::TocEntry(1), "temperature", 1);
            },
        ),
        Case::snapshot(
            "segment-counts",
            "MCS010",
            "a manifest of more blocks than in the segment",
            |snapshot| {
                snapshot.manifest.segments[0].blocks += 1;
            },
        ),
        Case::snapshot(
            "wrong-shard",
            "MCS014",
            "keys in another shard than their own",
            |snapshot| {
                snapshot.manifest.segments[0].shard_index = 0;
            },
        ),
        Case::snapshot(
            "stray",
            "MCS019",
            "a file that the manifest does not name",
            |snapshot| {
                snapshot
                    .files
                    .push(("segments/more.mcs".to_owned(), b"x".to_vec()));
            },
        ),
        look_up_case(
            "look-up-missing",
            "MCS017",
            "a look-up object is not there",
            |_, bytes| {
                bytes.clear();
            },
        ),
        look_up_case(
            "look-up-length",
            "MCS010",
            "a look-up object that is cut",
            |_, bytes| {
                bytes.pop();
            },
        ),
        look_up_case(
            "look-up-magic",
            "MCS002",
            "no look-up object",
            |_, bytes| bytes[0] ^= 1,
        ),
        look_up_case(
            "look-up-header",
            "MCS003",
            "a header with another bit",
            |_, bytes| {
                bytes[40] ^= 1;
            },
        ),
        look_up_case(
            "look-up-page",
            "MCS003",
            "a page with another bit",
            |_, bytes| {
                bytes[LOOK_UP_HEADER_SIZE + 100] ^= 1;
            },
        ),
        look_up_case(
            "look-up-entry",
            "MCS003",
            "an entry with another bit",
            |_, bytes| {
                let last = bytes.len() - 1;
                bytes[last - 8] ^= 1;
            },
        ),
        look_up_case(
            "look-up-other",
            "MCS005",
            "the look-up object of another shard",
            |name, bytes| {
                let mut header = LookUpHeader::decode(bytes).unwrap();
                header.id = LookUpId([0xcc; 16]);
                assert_ne!(header.id, name.id);
                bytes[..LOOK_UP_HEADER_SIZE].copy_from_slice(&header.encode());
            },
        ),
        look_up_case(
            "look-up-foreign",
            "MCS005",
            "a look-up object of another snapshot",
            |_, bytes| {
                let mut header = LookUpHeader::decode(bytes).unwrap();
                header.snapshot = SnapshotId([0xab; 16]);
                bytes[..LOOK_UP_HEADER_SIZE].copy_from_slice(&header.encode());
            },
        ),
        look_up_case(
            "look-up-stale",
            "MCS013",
            "a look-up object of other keys",
            |name, bytes| {
                let table = name.table();
                let page = LOOK_UP_HEADER_SIZE..LOOK_UP_HEADER_SIZE + PAGE_SIZE;
                let stored = table.decode_page(0, &bytes[page.clone()]).unwrap();
                let others: Vec<_> = stored
                    .entries()
                    .iter()
                    .map(|entry| (entry.0 ^ 1, entry.1))
                    .collect();
                let mut made = Vec::new();
                assert!(table.encode_page(0, &others, &mut made));
                bytes[page].copy_from_slice(&made);
            },
        ),
        look_up_case(
            "look-up-block",
            "MCS010",
            "an entry of another place",
            |name, bytes| {
                let at = LOOK_UP_HEADER_SIZE + PAGE_SIZE;
                let mut block = LookUpBlock::decode(name.id, 0, &bytes[at..]).unwrap();
                block.offset += 1;
                bytes.truncate(at);
                block.encode(name.id, 0, bytes);
            },
        ),
        look_up_case(
            "look-up-parent",
            "MCS004",
            "an entry that leads to another snapshot",
            |name, bytes| {
                let at = LOOK_UP_HEADER_SIZE + PAGE_SIZE;
                let entry = &mut bytes[at..at + LOOK_UP_BLOCK_SIZE];
                entry[36] = 1;
                let (covered, crc) = entry.split_at_mut(LOOK_UP_BLOCK_SIZE - 4);
                let number = 0_u32.to_le_bytes();
                let computed = seeded_crc32_of(name.id.0, &[&number, covered]);
                crc.copy_from_slice(&computed.to_le_bytes());
            },
        ),
        Case::snapshot(
            "look-up-blocks",
            "MCS010",
            "a look-up object of more blocks than the shard has",
            |snapshot| {
                *snapshot = of_one().look_up();
                let name = &mut snapshot.manifest.nodes[0].look_ups[1];
                let (_, bytes) = snapshot.files.last_mut().unwrap();
                let (page_end, mut header) = (
                    LOOK_UP_HEADER_SIZE + PAGE_SIZE,
                    LookUpHeader::decode(bytes).unwrap(),
                );
                let page = name
                    .table()
                    .decode_page(0, &bytes[LOOK_UP_HEADER_SIZE..page_end]);
                let block = LookUpBlock::decode(name.id, 0, &bytes[page_end..]).unwrap();
                name.blocks += 1;
                header.block_count += 1;
                *bytes = header.encode();
                let entries = page.unwrap();
                assert!(name.table().encode_page(0, entries.entries(), bytes));
                block.encode(name.id, 0, bytes);
                block.encode(name.id, 1, bytes);
            },
        ),
        Case::snapshot(
            "look-up-count",
            "MCS010",
            "fewer look-up objects than shards",
            |snapshot| {
                *snapshot = of_one().look_up();
                snapshot.manifest.nodes[0].look_ups.remove(0);
            },
        ),
        Case::snapshot(
            "look-up-no-blocks",
            "MCS010",
            "no look-up object of a shard that has keys",
            |snapshot| {
                *snapshot = of_one().look_up();
                snapshot.files.pop();
                let name = &mut snapshot.manifest.nodes[0].look_ups[1];
                (name.pages, name.blocks) = (0, 0);
            },
        ),
        Case::snapshot(
            "look-up-part-blocks",
            "MCS010",
            "the same, where the segments are in a part",
            |snapshot| {
                *snapshot = of_one().look_up().split(1);
                snapshot.files.retain(|(file, _)| !file.ends_with(".mcl"));
                let name = &mut snapshot.manifest.nodes[0].look_ups[1];
                (name.pages, name.blocks) = (0, 0);
            },
        ),
        Case::snapshot(
            "look-up-name",
            "MCS010",
            "a segment to whose name no look-up object leads",
            |snapshot| {
                *snapshot = of_one().look_up();
                "segments/one.mcs".clone_into(&mut snapshot.manifest.segments[0].object);
                "segments/one.mcs".clone_into(&mut snapshot.files[0].0);
            },
        ),
        Case::snapshot("part-name", "MCS010", "the same, in a part", |snapshot| {
            *snapshot = of_one().look_up();
            "segments/one.mcs".clone_into(&mut snapshot.manifest.segments[0].object);
            "segments/one.mcs".clone_into(&mut snapshot.files[0].0);
            let taken = std::mem::replace(snapshot, of_one());
            *snapshot = taken.split(1);
        }),
        place_case("place-node", "node_index\":0", "node_index\":1"),
        place_case("place-shard", "shard_index\":\"1", "shard_index\":\"0"),
        place_case("place-bits", "shard_bits\":1", "shard_bits\":7"),
        place_case("place-number", "sequence\":0", "sequence\":2"),
        Case::snapshot(
            "order-sequence",
            "MCS015",
            "segments that are not in order",
            |snapshot| {
                snapshot.add(0, 0, 0, Compression::None, &rows_of_other());
            },
        ),
        Case::snapshot(
            "order-parts",
            "MCS015",
            "segments that are not in order, in a part each",
            |snapshot| {
                snapshot.add(0, 0, 0, Compression::None, &rows_of_other());
                let taken = std::mem::replace(snapshot, of_one());
                *snapshot = taken.split(1);
            },
        ),
        Case::snapshot(
            "order-twice",
            "MCS015",
            "two segments of one sequence",
            |snapshot| {
                snapshot.add(0, 1, 0, Compression::None, &rows_of_other());
            },
        ),
        Case::snapshot(
            "segment-twice",
            "MCS015",
            "two segments of one id",
            |snapshot| {
                let again = ManifestSegment {
                    sequence: 1,
                    ..snapshot.manifest.segments[0].clone()
                };
                let counters = &mut snapshot.manifest.nodes[0].counters;
                counters.taken += again.records;
                counters.stored += again.records;
                snapshot.manifest.segments.push(again);
                snapshot.add_up();
            },
        ),
        Case::snapshot(
            "shard-beyond",
            "MCS015",
            "a segment of a shard that its node does not have",
            |snapshot| snapshot.manifest.segments[0].shard_index = 2,
        ),
        Case::snapshot(
            "look-up-stray",
            "MCS019",
            "a look-up object that the manifest does not name",
            |snapshot| {
                *snapshot = of_one().look_up();
                snapshot.manifest.nodes[0].look_ups.clear();
            },
        ),
        Case::snapshot(
            "unfinished-stray",
            "MCS019",
            "an unfinished segment that was left behind",
            |snapshot| {
                let name = "segments/n0000-s001-00007-17171717.mcs.partial";
                snapshot.files.push((name.to_owned(), b"left".to_vec()));
            },
        ),
        Case::manifest("digest-short", "MCS015", "a digest of 63 digits", |text| {
            let (front, back) = text.split_once("\"digest\": \"sha256:").unwrap();
            format!("{front}\"digest\": \"sha256:{}", &back[1..])
        }),
        Case::manifest(
            "digest-capitals",
            "MCS015",
            "a digest in capital letters",
            |text| {
                let (front, back) = text.split_once("\"digest\": \"sha256:").unwrap();
                let (digits, back) = back.split_at(64);
                let digits = digits.to_uppercase();
                format!("{front}\"digest\": \"sha256:{digits}{back}")
            },
        ),
        Case::snapshot(
            "key-twice",
            "MCS023",
            "keys that stand in two segments of a shard",
            |snapshot| snapshot.add(0, 1, 1, Compression::None, &rows_of_one()),
        ),
        Case::snapshot(
            "part-missing",
            "MCS017",
            "a part of the manifest is not there",
            |snapshot| {
                *snapshot = of_one().split(1);
                snapshot.files.pop();
            },
        ),
        Case::snapshot("part-size", "MCS010", "a part that is cut", |snapshot| {
            *snapshot = of_one().split(1);
            snapshot.files[1].1.pop();
        }),
        Case::snapshot(
            "part-checksum",
            "MCS016",
            "a part with another byte",
            |snapshot| {
                *snapshot = of_one().split(1);
                snapshot.files[1].1[20] ^= 1;
            },
        ),
        Case::snapshot(
            "part-other",
            "MCS016",
            "another part, sound by itself",
            |snapshot| {
                with_part(
                    snapshot,
                    |text| text.replace("\"blocks\": \"1\"", "\"blocks\": \"2\""),
                    false,
                );
            },
        ),
        Case::snapshot(
            "part-foreign",
            "MCS005",
            "a part of another snapshot",
            |snapshot| {
                with_part(
                    snapshot,
                    |text| text.replace(&"aa".repeat(16), &"ab".repeat(16)),
                    true,
                );
            },
        ),
        Case::snapshot(
            "part-major",
            "MCS007",
            "a part of major version 0",
            |snapshot| {
                with_part(
                    snapshot,
                    |text| text.replace("\"major\": 1", "\"major\": 0"),
                    true,
                );
            },
        ),
        Case::snapshot(
            "part-format",
            "MCS015",
            "a part of another format",
            |snapshot| {
                with_part(
                    snapshot,
                    |text| text.replace("mcsnap-part", "mcsnap-pant"),
                    true,
                );
            },
        ),
        Case::snapshot(
            "part-object",
            "MCS015",
            "a segment outside the snapshot, in a part",
            |snapshot| {
                with_part(
                    snapshot,
                    |text| text.replace("\"segments/", "\"../segments/"),
                    true,
                );
            },
        ),
        Case::snapshot(
            "part-node",
            "MCS010",
            "a part with a segment of another node",
            |snapshot| {
                with_part(
                    snapshot,
                    |text| text.replace("\"node_index\": 0", "\"node_index\": 1"),
                    true,
                );
            },
        ),
        Case::snapshot(
            "part-sums",
            "MCS010",
            "parts with fewer segments than the totals",
            |snapshot| {
                *snapshot = of_one();
                snapshot.manifest.totals.segments += 1;
                let taken = std::mem::replace(snapshot, of_one());
                *snapshot = taken.split(1);
            },
        ),
        Case::snapshot(
            "part-twice",
            "MCS015",
            "a part that is named twice",
            |snapshot| {
                *snapshot = of_one().split(1);
                let name = snapshot.manifest.parts[0].clone();
                snapshot.manifest.parts.push(name);
            },
        ),
        Case::snapshot(
            "part-outside",
            "MCS015",
            "a part outside the snapshot",
            |snapshot| {
                *snapshot = of_one().split(1);
                let name = &mut snapshot.manifest.parts[0].object;
                *name = format!("../{name}");
            },
        ),
        Case::snapshot(
            "part-nodes",
            "MCS015",
            "a part of more nodes than there are",
            |snapshot| {
                *snapshot = of_one().split(1);
                snapshot.manifest.parts[0].last_node = 1;
            },
        ),
        Case::snapshot(
            "part-and-segments",
            "MCS015",
            "segments beside a part",
            |snapshot| {
                let segments = snapshot.manifest.segments.clone();
                *snapshot = of_one().split(1);
                snapshot.manifest.segments = segments;
            },
        ),
        Case::snapshot(
            "part-stray",
            "MCS019",
            "a part that the manifest does not name",
            |snapshot| {
                *snapshot = of_one().split(1);
                let bytes = snapshot.files[1].1.clone();
                snapshot
                    .files
                    .push(("parts/00001-00000000.json".to_owned(), bytes));
            },
        ),
        Case::snapshot(
            "lossy",
            "MCS020",
            "a dump that lost two items",
            |snapshot| {
                let counters = &mut snapshot.manifest.nodes[0].counters;
                counters.taken += 2;
                counters.failed += 2;
                snapshot.manifest.nodes[0]
                    .reasons
                    .add("SERVER_ERROR out of memory");
                snapshot.manifest.verdict = Verdict::Lossy;
            },
        ),
        Case::snapshot(
            "verdict",
            "MCS010",
            "a complete snapshot that lost two items",
            |snapshot| {
                snapshot.manifest.nodes[0].unlisted = 2;
            },
        ),
        Case::snapshot(
            "verdict-unsure",
            "MCS010",
            "an unsure snapshot of which a node is missing",
            |snapshot| {
                let node = &mut snapshot.manifest.nodes[0];
                node.unsure = 1;
                node.failure = Some("timed out".to_owned());
                snapshot.manifest.verdict = Verdict::Unsure;
            },
        ),
        Case::snapshot(
            "verdict-worse",
            "MCS020",
            "a lossy snapshot, by no counter of a node",
            |snapshot| {
                snapshot.manifest.verdict = Verdict::Lossy;
            },
        ),
        Case::of_files("manifest-checksum", "MCS016", "a bit of the manifest", {
            let mut files = of_one().files();
            let (_, bytes) = files.last_mut().unwrap();
            let at = bytes
                .windows(6)
                .position(|window| window == b"golden")
                .unwrap();
            bytes[at] ^= 1;
            files
        }),
        Case::of_files(
            "manifest-end",
            "MCS015",
            "a manifest without its last line feed",
            {
                let mut files = of_one().files();
                let (_, bytes) = files.last_mut().unwrap();
                bytes.pop();
                files
            },
        ),
        Case::manifest(
            "manifest-member",
            "MCS015",
            "a manifest without a token",
            swap("\"token\"", "\"broken\""),
        ),
        Case::manifest(
            "manifest-type",
            "MCS015",
            "a shard_index that is a number",
            swap("\"shard_index\": \"1\"", "\"shard_index\": 1"),
        ),
        Case::manifest(
            "manifest-moment",
            "MCS015",
            "an end that is no moment",
            swap("\"finished_at\": \"2026", "\"finished_at\": \"later"),
        ),
        Case::manifest(
            "manifest-clock",
            "MCS015",
            "a clock_offset that is no number",
            swap("\"clock_offset\": \"-3\"", "\"clock_offset\": \"abc\""),
        ),
        Case::manifest(
            "manifest-twice",
            "MCS015",
            "a member that stands twice",
            swap("\"token\"", "\"name\": \"x\", \"token\""),
        ),
        Case::manifest(
            "manifest-path",
            "MCS015",
            "a segment outside of the snapshot",
            swap("\"segments/", "\"../segments/"),
        ),
        Case::manifest(
            "manifest-totals",
            "MCS010",
            "a wrong sum",
            swap("\"records\": \"", "\"records\": \"1"),
        ),
        Case::manifest(
            "manifest-counters",
            "MCS010",
            "lines of the walk that are in no counter",
            swap("\"listed\": \"", "\"listed\": \"1"),
        ),
    ]
}

/// What must be found, as it is stored.
fn expectation(case: &Case, told: &BTreeSet<Told>) -> Vec<u8> {
    let json = json!({"what": case.what, "findings": findings_json(told)});
    format!("{json:#}\n").into_bytes()
}

pub(crate) fn findings_json(told: &BTreeSet<Told>) -> Vec<Value> {
    let found = told
        .iter()
        .map(|(code, object, offset)| json!({"code": code, "object": object, "offset": offset}));
    found.collect()
}

#[test]
fn both_readers_find_in_corrupt_files_what_is_wrong_and_where() {
    let mut cases = damaged();
    cases.extend(illegal());
    cases.extend(wrong_parts());
    cases.extend(snapshots());
    cases.extend(golden_records::cases());
    // Files that no case makes any more would be read as if one did.
    if is_blessed() && testdata("corrupt").exists() {
        fs::remove_dir_all(testdata("corrupt")).unwrap();
    }
    for case in &cases {
        for (file, bytes) in &case.files {
            check(&format!("corrupt/{file}"), bytes);
        }
    }
    let places: Vec<_> = cases
        .iter()
        .map(|case| testdata(&format!("corrupt/{}", case.place)))
        .collect();
    let paths: Vec<&Path> = places.iter().map(|place| place.as_path()).collect();
    let independent = verify_independently(&paths);
    let mut table = "# Files that break a rule\n\nThe JSON file beside each says what a reader must find. Made by \
                     `tests/it/format/golden_corrupt.rs`.\n\n| file | what is wrong | finding |\n| --- | --- | --- |\n"
        .to_owned();
    let mut codes = BTreeSet::new();
    let mut names = BTreeSet::from(["README.md".to_owned()]);
    for (case, place) in cases.iter().zip(&places) {
        let told = verify_by_library(place);
        assert_eq!(told, independent[place], "{}: {}", case.name, case.what);
        let told = told.unwrap_or_else(|| panic!("{}: no snapshot", case.name));
        check(
            &format!("corrupt/{}.json", case.name),
            &expectation(case, &told),
        );
        let found: BTreeSet<&str> = told.iter().map(|(code, ..)| code.as_str()).collect();
        let code = case.code;
        assert!(found.contains(code), "{}: {found:?}", case.name);
        writeln!(table, "| `{}` | {} | {code} |", case.place, case.what).unwrap();
        codes.insert(code);
        names.extend([case.place.clone(), format!("{}.json", case.name)]);
    }
    check("corrupt/README.md", table.as_bytes());
    // No bytes of a file make a store unable to read it, and what is newer is no damage.
    codes.extend(["MCS021", "MCS022"]);
    assert_eq!(codes, BTreeSet::from(Defect::CODES));
    let stored = fs::read_dir(testdata("corrupt")).unwrap();
    let stored: Vec<String> = stored
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !names.contains(name))
        .collect();
    assert_eq!(stored, [""; 0], "no case makes these");
}

#[test]
fn no_record_is_taken_from_a_segment_with_an_unknown_critical_frame() {
    // Only the table of contents shows it to who reads blocks alone.
    let workdir = Workdir::new("unknown-frame");
    let place = testdata("corrupt/unknown-frame.mcs");
    let output = workdir.mcsnap(&["ls"]).arg(&place).run();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_ne!(output.status.code(), Some(0));
    let output = workdir
        .mcsnap(&["get", "--raw"])
        .arg(&place)
        .arg("user:1")
        .run();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_ne!(output.status.code(), Some(0));
    let restore = ["restore", "--quiet", "--to=127.0.0.1:1"];
    workdir.mcsnap(&restore).arg(&place).exits(1);
}

/// The look-up object leads to a name that only the part could have corrected.
#[test]
fn a_segment_of_another_name_is_not_told_to_be_missing() {
    let workdir = Workdir::new("segment-name");
    let get = workdir.mcsnap(&["get"]);
    let output = get.arg(testdata("corrupt/part-name")).arg("a").run();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("MCS010"), "{errors}");
    assert!(!errors.contains("missing"), "{errors}");
}

/// They read the parts one by one, and those of the wanted nodes alone.
#[test]
fn who_reads_parts_compares_them_with_the_manifest() {
    let workdir = Workdir::new("parts-together");
    for (case, told) in [
        ("look-up-part-blocks", "blocks of a look-up object is 0"),
        ("order-parts", "is not in the order of nodes"),
    ] {
        for words in [
            &["inspect"][..],
            &["inspect", "--nodes=cache1:11211"],
            &["ls", "--keys"],
            &["ls", "--keys", "--nodes=cache1:11211"],
        ] {
            let run = workdir.mcsnap(words);
            let output = run.arg(testdata(&format!("corrupt/{case}"))).run();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{words:?}: {errors}");
            assert!(errors.contains(told), "{words:?}: {errors}");
        }
    }
}
