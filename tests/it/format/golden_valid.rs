//! Files that every later release must read: small segments and snapshots, with
//! what a reader must find in them.
//!
//! Each run makes them anew and compares them with the stored ones, so that the
//! writer stays as it is; and reads the stored ones with all readers.
//! `MCSNAP_BLESS=1` writes them; the difference is then for a person to judge.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mcsnap::codecs::format::checksum::shard_of;
use mcsnap::codecs::format::compression::{Compression, SectionReader};
use mcsnap::codecs::format::encoder::{EncoderOptions, SegmentEncoder, SegmentSummary};
use mcsnap::codecs::format::ids::{LookUpId, SegmentId, SnapshotId, SyncMarker};
use mcsnap::codecs::format::layout::{TOC_ENTRY_SIZE, TOC_HEADER_SIZE, VERSION_MINOR};
use mcsnap::codecs::format::look_up::{LookUpBlock, LookUpHeader};
use mcsnap::codecs::format::manifest::{
    Digest128, Features, LookUpName, Manifest, ManifestNode, ManifestSegment, ShardHash, Totals,
    Verdict, Version,
};
use mcsnap::codecs::format::manifest_part::ManifestPart;
use mcsnap::codecs::format::segment_meta::{SegmentMeta, dumping_host};
use mcsnap::engines::snapshot::SegmentReader;
use mcsnap::ports::store::{MemoryStore, Store as _};
use mcsnap::words::counters::Counters;
use mcsnap::words::item::{Attribute, Attributes, Cas, Exptime, ItemMeta, Record, SlabClass};
use mcsnap::words::limits::Limits;
use mcsnap::words::reasons::Reasons;
use mcsnap::words::units::UnixSecs;
use sha2::{Digest as _, Sha256};

use crate::format::golden;
use crate::format::golden_newer::{digest_of, open};
use crate::format::golden_records::record_of;
use crate::format::independent_reader::{
    check_agreement, list_by_library, read_snapshot, verify_by_library,
};
use crate::harness::forge::{BLOCK, CRITICAL, Forge, HAS_PAYLOAD_CRC, PLAIN, Place, Side};
use crate::harness::sound_segments;

pub(crate) fn testdata(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .canonicalize()
        .unwrap();
    root.join("testdata").join(name)
}

pub(crate) fn is_blessed() -> bool {
    std::env::var_os("MCSNAP_BLESS").is_some()
}

/// Compares with a file of testdata, or writes it.
pub(crate) fn check(name: &str, found: &[u8]) {
    let path = testdata(name);
    if is_blessed() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
    }
    let stored = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        stored == found,
        "testdata/{name} is not what this build makes; see MCSNAP_BLESS"
    );
}

/// As [`check`], for what depends on how zstd compresses: another version of it
/// may do so better, and what is stored must be read all the same.
pub(crate) fn check_or_keep(name: &str, found: &[u8]) {
    if is_blessed() {
        check(name, found);
    }
}

/// What a golden file holds.
type Rows = Vec<(Vec<u8>, Vec<u8>, ItemMeta)>;

/// All the server can tell.
pub(crate) fn told() -> ItemMeta {
    let mut attributes = Attributes::default();
    attributes.set(Attribute::Fetched, true);
    attributes.set(Attribute::Stale, false);
    attributes.set(Attribute::WinSent, false);
    ItemMeta {
        client_flags: Some(7),
        exptime: Some(Exptime::At(UnixSecs(1_800_000_000))),
        last_access: Some(UnixSecs(1_700_000_000)),
        cas: Some(Cas(42)),
        slab_class: Some(SlabClass(3)),
        attributes,
    }
}

pub(crate) fn row(
    key: impl AsRef<[u8]>,
    value: impl AsRef<[u8]>,
    meta: ItemMeta,
) -> (Vec<u8>, Vec<u8>, ItemMeta) {
    (key.as_ref().to_vec(), value.as_ref().to_vec(), meta)
}

/// Every column; all marks in all states; the greatest and least numbers; and
/// blocks of which the server told nothing, and only the marks.
fn columns() -> Rows {
    let mut all_marks = Attributes::default();
    for mark in Attribute::ALL {
        all_marks.set(mark, true);
    }
    let most = ItemMeta {
        client_flags: Some(u64::MAX),
        exptime: Some(Exptime::At(UnixSecs(u64::MAX - 1))),
        last_access: Some(UnixSecs(u64::MAX)),
        cas: Some(Cas(u64::MAX)),
        slab_class: Some(SlabClass(u8::MAX)),
        attributes: all_marks,
    };
    let least = ItemMeta {
        client_flags: Some(0),
        exptime: Some(Exptime::At(UnixSecs(0))),
        last_access: Some(UnixSecs(0)),
        cas: Some(Cas(0)),
        slab_class: Some(SlabClass(0)),
        attributes: told().attributes,
    };
    let never = ItemMeta {
        exptime: Some(Exptime::Never),
        ..told()
    };
    let marks_alone = ItemMeta {
        attributes: all_marks,
        ..ItemMeta::default()
    };
    vec![
        row("user:1", "Ada", told()),
        row("most", [0xff; 20], most),
        row("least", "", least),
        row("never", "\r\n", never),
        row([b'k'; 250], "the longest key", told()),
        row(b"\x00 \"\\\x7f\xff", b"\x00", told()),
        row("unknown:1", "the server told nothing", ItemMeta::default()),
        row("unknown:2", "", ItemMeta::default()),
        row("marks", "and here the marks alone", marks_alone),
    ]
}

/// Two blocks that compress well.
fn compressible() -> Rows {
    let session = |number: u64| {
        let meta = ItemMeta {
            client_flags: Some(number / 20),
            cas: (number >= 20).then_some(Cas(number)),
            ..ItemMeta::default()
        };
        let value = "lorem ipsum ".repeat(4);
        row(format!("user:session:{number:04}"), value, meta)
    };
    (0..40).map(session).collect()
}

fn meta(number: u8) -> SegmentMeta {
    SegmentMeta {
        segment_id: SegmentId([number; 16]),
        snapshot_id: SnapshotId([0xaa; 16]),
        sync_marker: SyncMarker([0x55 ^ number; 8]),
        features: Features::default(),
        snapshot_name: "golden".to_owned(),
        node: "cache1:11211".to_owned(),
        node_index: 0,
        worker: 0,
        attempt: 0,
        shard_index: 0,
        shard_bits: 0,
        sequence: 0,
        clock_offset: "-3".to_owned(),
        clock: dumping_host(),
        compression: "none".to_owned(),
        server_version: "1.6.18".to_owned(),
        tool: "mcsnap 0.1.0".to_owned(),
        created_at: "2026-11-20T02:00:00Z".to_owned(),
    }
}

fn encode(
    meta: &SegmentMeta,
    compression: Compression,
    block_raw_len: usize,
    rows: &Rows,
) -> (Vec<u8>, SegmentSummary) {
    let meta = SegmentMeta {
        compression: compression.to_string(),
        ..meta.clone()
    };
    let options = EncoderOptions {
        compression,
        block_raw_len,
        part_raw_len: EncoderOptions::PART_RAW_LEN,
        index_seed: 0x0123_4567_89ab_cdef,
    };
    let mut encoder = SegmentEncoder::new(&meta, options).unwrap();
    for (key, value, meta) in rows {
        let record = Record {
            key,
            value,
            meta: *meta,
        };
        encoder.push(&record).unwrap();
    }
    let finished = encoder.finish().unwrap();
    (finished.rest, finished.summary)
}

fn plain(number: u8, rows: &Rows) -> Vec<u8> {
    encode(
        &meta(number),
        Compression::None,
        EncoderOptions::BLOCK_RAW_LEN,
        rows,
    )
    .0
}

/// A segment with a checkpoint: after 64 frames, most of them a block of one
/// record without a value.
pub(crate) fn with_checkpoint() -> Vec<u8> {
    let rows = (0..66).map(|number| row(format!("k{number}"), "", ItemMeta::default()));
    encode(&meta(4), Compression::None, 1, &rows.collect()).0
}

/// The segment of all columns, from which those of later versions are forged.
pub(crate) fn of_columns() -> Vec<u8> {
    plain(2, &columns())
}

pub(crate) fn compressed() -> Vec<u8> {
    let options = (Compression::Zstd(1), EncoderOptions::BLOCK_RAW_LEN);
    encode(&meta(3), options.0, options.1, &compressible()).0
}

/// A segment with values in parts, of 7 bytes each so that it stays small.
pub(crate) fn in_parts() -> Vec<u8> {
    let options = EncoderOptions {
        compression: Compression::None,
        block_raw_len: EncoderOptions::BLOCK_RAW_LEN,
        part_raw_len: sound_segments::PART_LEN,
        index_seed: 0x0123_4567_89ab_cdef,
    };
    sound_segments::in_parts_of(&meta(6), options)
}

/// Changes a sound segment and computes its checksums anew.
pub(crate) fn forged(segment: &[u8], change: impl FnOnce(&mut Forge)) -> Vec<u8> {
    let mut forge = Forge::new(segment);
    change(&mut forge);
    forge.seal()
}

/// What a later minor version of the format may add to [`of_columns`], one
/// thing each; a reader of 1.0 finds the same records.
fn later() -> Vec<(&'static str, Vec<u8>)> {
    let base = of_columns();
    let unknown_frames = forged(&base, |forge| {
        forge.insert_frame(2, 200, HAS_PAYLOAD_CRC, b"a private frame");
        forge.insert_frame(4, 10, 0, b"a later frame, without a checksum");
        forge.insert_frame(forge.frame_count() - 1, 99, HAS_PAYLOAD_CRC, b"");
    });
    let unknown_columns = forged(&base, |forge| {
        let raw = raw_keys(forge, 0);
        let raw = with_column(&raw, 200, 0, 9, b"in an encoding of its own");
        forge.set_section(0, Side::Keys, PLAIN, &raw, &raw);
    });
    let unused_bits = forged(&base, |forge| {
        forge.set(Place::FileHeader, "unused", 0xdead_beef);
        for frame in 0..forge.frame_count() {
            let flags = forge.get(Place::Frame(frame), "flags") | 0b1111_0000;
            forge.set(Place::Frame(frame), "flags", flags);
            if frame + 1 < forge.frame_count() {
                forge.set(Place::TocEntry(frame), "flags", flags);
                forge.set(Place::TocEntry(frame), "unused", 0xdead_beef);
                forge.set(Place::TocEntry(frame), "temperature", 9);
            }
        }
    });
    let unknown_members = forged(&base, |forge| {
        let payload = forge.payload(0);
        let text = String::from_utf8(forge.bytes()[payload].to_vec()).unwrap();
        let text = text.replacen('{', "{ \"later\": {\"node\": [1, null, \"\u{e9}\"]}, ", 1);
        forge.set_payload(0, text.as_bytes());
    });
    let minor = forged(&base, |forge| {
        forge.set(Place::FileHeader, "minor", 7);
        forge.set(Place::Tail, "minor", 7);
    });
    let no_key_index = forged(&base, |forge| {
        forge.remove_frame(forge.frame_count() - 3);
    });
    let no_statistics = forged(&base, |forge| {
        forge.remove_frame(forge.frame_count() - 2);
    });
    let more_statistics = forged(&base, |forge| {
        let frame = forge.frame_count() - 2;
        let payload = with_section(&forge.bytes()[forge.payload(frame)], 500, b"more to count");
        forge.set_payload(frame, &payload);
    });
    vec![
        ("later-minor", minor),
        ("later-frames", unknown_frames),
        ("later-column", unknown_columns),
        ("later-unused-bits", unused_bits),
        ("later-meta", unknown_members),
        ("later-toc-entries", with_longer_entries(&base)),
        ("no-key-index", no_key_index),
        ("no-statistics", no_statistics),
        ("later-statistics", more_statistics),
    ]
}

/// The raw key section of a block that is stored plain.
pub(crate) fn raw_keys(forge: &Forge, block: usize) -> Vec<u8> {
    let start = forge.range(Place::Columns(block)).start;
    let len = forge.get(Place::Section(block, Side::Keys), "raw_len");
    forge.bytes()[start..][..usize::try_from(len).unwrap()].to_vec()
}

/// Adds a column behind all others.
pub(crate) fn with_column(raw: &[u8], id: u8, flags: u8, encoding: u16, column: &[u8]) -> Vec<u8> {
    let count = u16::from_le_bytes([raw[0], raw[1]]);
    let (directory, columns) = raw.split_at(4 + 8 * usize::from(count));
    let mut with = (count + 1).to_le_bytes().to_vec();
    with.extend_from_slice(&directory[2..]);
    with.extend_from_slice(&[id, flags]);
    with.extend_from_slice(&encoding.to_le_bytes());
    with.extend_from_slice(&u32::try_from(column.len()).unwrap().to_le_bytes());
    with.extend_from_slice(columns);
    with.extend_from_slice(column);
    with
}

/// Adds a section behind all others to statistics.
pub(crate) fn with_section(payload: &[u8], id: u16, section: &[u8]) -> Vec<u8> {
    let count = u16::from_le_bytes([payload[0], payload[1]]);
    let (directory, sections) = payload.split_at(4 + 8 * usize::from(count));
    let mut with = (count + 1).to_le_bytes().to_vec();
    with.extend_from_slice(&directory[2..]);
    with.extend_from_slice(&id.to_le_bytes());
    with.extend_from_slice(&[0; 2]);
    with.extend_from_slice(&u32::try_from(section.len()).unwrap().to_le_bytes());
    with.extend_from_slice(sections);
    with.extend_from_slice(section);
    with
}

/// Makes the entries of the table of contents 16 bytes longer.
fn with_longer_entries(segment: &[u8]) -> Vec<u8> {
    const MORE: usize = 16;
    let forge = Forge::new(segment);
    let toc = forge.payload(forge.frame_count() - 1);
    let mut bytes = segment[..toc.start + TOC_HEADER_SIZE].to_vec();
    for entry in segment[toc.start + TOC_HEADER_SIZE..toc.end].chunks(TOC_ENTRY_SIZE) {
        bytes.extend_from_slice(entry);
        bytes.extend_from_slice(&[0xee; MORE]);
    }
    let grown = u64::try_from(bytes.len() - toc.end).unwrap();
    bytes.extend_from_slice(&segment[toc.end..]);
    // The length first: by it the forger finds the end of the frame.
    let toc_frame = Place::Frame(forge.frame_count() - 1);
    let stored_len = forge.get(toc_frame, "stored_len") + grown;
    let at = forge.range(toc_frame).start + 32;
    bytes[at..at + 8].copy_from_slice(&stored_len.to_le_bytes());
    forged(&bytes, |longer| {
        longer.set(
            Place::Toc,
            "entry_size",
            u64::try_from(TOC_ENTRY_SIZE + MORE).unwrap(),
        );
        for field in ["toc_len", "file_len"] {
            longer.set(Place::Tail, field, forge.get(Place::Tail, field) + grown);
        }
    })
}

/// Compares the listing of a golden file with the stored one, by all readers.
pub(crate) fn check_listing(place: &str, listing: &str) {
    let path = testdata(&format!("valid/{place}"));
    let found = list_by_library(&path, false);
    check(&format!("valid/{listing}.jsonl"), found.as_bytes());
    check_agreement(&path);
    assert_eq!(verify_by_library(&path), Some(BTreeSet::new()), "{place}");
}

#[test]
fn golden_segments_are_written_as_ever_and_read() {
    check("valid/columns.mcs", &of_columns());
    check("valid/checkpoint.mcs", &with_checkpoint());
    check("valid/empty.mcs", &plain(5, &Rows::new()));
    check("valid/parts.mcs", &in_parts());
    check_or_keep("valid/zstd.mcs", &compressed());
    for name in ["tiny", "columns", "checkpoint", "empty", "parts", "zstd"] {
        check_listing(&format!("{name}.mcs"), name);
    }
    assert_eq!(
        golden::tiny(),
        fs::read(testdata("valid/tiny.mcs")).unwrap()
    );
    let forge = Forge::new(&fs::read(testdata("valid/zstd.mcs")).unwrap());
    for block in 0..2 {
        for side in [Side::Keys, Side::Values] {
            assert_eq!(forge.get(Place::Section(block, side), "codec"), 1);
        }
    }
}

#[test]
fn what_a_later_minor_version_may_add_is_passed_over() {
    for (name, segment) in later() {
        check(&format!("valid/{name}.mcs"), &segment);
        check_listing(&format!("{name}.mcs"), "columns");
    }
}

/// Puts segments into a snapshot with fixed ids.
pub(crate) struct Snapshot {
    pub(crate) manifest: Manifest,
    /// Names and bytes of the segments.
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

impl Snapshot {
    pub(crate) fn new(nodes: &[(&str, u8)]) -> Self {
        let nodes = nodes.iter().map(|(address, shard_bits)| ManifestNode {
            address: (*address).to_owned(),
            server_version: "1.6.18".to_owned(),
            pid: 4711,
            server_started_at: 1_790_000_000,
            clock_offset: "-3".to_owned(),
            walk: "metadump-hash".to_owned(),
            shard_bits: *shard_bits,
            items_start: 0,
            items_end: 0,
            unlisted: 0,
            look_ups: Vec::new(),
            unsure: 0,
            counters: Counters::default(),
            reasons: Reasons::default(),
            failure: None,
        });
        Self {
            manifest: Manifest {
                format: "mcsnap".to_owned(),
                version: Version::default(),
                features: Features::default(),
                snapshot_id: SnapshotId([0xaa; 16]),
                name: "golden".to_owned(),
                token: "00000000000000000000000000000000".to_owned(),
                tool: "mcsnap 0.1.0".to_owned(),
                started_at: "2026-11-20T02:00:00Z".to_owned(),
                finished_at: "2026-11-20T02:00:09Z".to_owned(),
                ring: Some("ketama".to_owned()),
                select: None,
                shard_hash: ShardHash::default(),
                nodes: nodes.collect(),
                segments: Vec::new(),
                parts: Vec::new(),
                totals: Totals::default(),
                content_digest: Digest128(0),
                content_digest_exptime: Digest128(0),
                verdict: Verdict::Complete,
            },
            files: Vec::new(),
        }
    }

    /// Adds a segment of one node.
    pub(crate) fn add(
        &mut self,
        node: u32,
        shard: u64,
        sequence: u32,
        compression: Compression,
        rows: &Rows,
    ) {
        let named = &mut self.manifest.nodes[usize::try_from(node).unwrap()];
        let number = u8::try_from(0x10 + self.files.len()).unwrap();
        let meta = SegmentMeta {
            node: named.address.clone(),
            node_index: node,
            shard_index: shard,
            shard_bits: named.shard_bits,
            sequence,
            ..meta(number)
        };
        let (bytes, summary) = encode(&meta, compression, EncoderOptions::BLOCK_RAW_LEN, rows);
        let start = format!("{number:02x}").repeat(4);
        let object = format!("segments/n{node:04}-s{shard:03}-{sequence:05}-{start}.mcs");
        named.items_start += summary.records;
        named.items_end += summary.records;
        named.counters.taken += summary.records;
        named.counters.stored += summary.records;
        self.manifest.segments.push(ManifestSegment {
            object: object.clone(),
            segment_id: summary.ids.segment,
            size: summary.size,
            digest: summary.digest,
            node_index: node,
            shard_index: shard,
            sequence,
            records: summary.records,
            blocks: summary.blocks,
            key_bytes: summary.key_bytes,
            value_bytes: summary.value_bytes,
            content_digest: Digest128(summary.digests.content),
            content_digest_exptime: Digest128(summary.digests.content_exptime),
        });
        self.files.push((object, bytes));
        self.add_up();
    }

    /// Puts another segment into the place of one of the first node.
    pub(crate) fn set_segment(&mut self, number: usize, bytes: Vec<u8>) {
        let segment = open(&bytes).unwrap();
        let (toc, blocks) = (segment.toc(), segment.block_count());
        let named = &mut self.manifest.segments[number];
        let before = named.records;
        named.size = u64::try_from(bytes.len()).unwrap();
        named.digest = digest_of(&bytes);
        named.records = toc.record_count;
        named.blocks = u64::try_from(blocks).unwrap();
        named.key_bytes = toc.key_bytes;
        named.value_bytes = toc.value_bytes;
        named.content_digest = Digest128(toc.digests.content);
        named.content_digest_exptime = Digest128(toc.digests.content_exptime);
        let node = &mut self.manifest.nodes[0];
        for count in [&mut node.counters.taken, &mut node.counters.stored] {
            *count = *count - before + toc.record_count;
        }
        node.items_start = node.counters.stored;
        node.items_end = node.counters.stored;
        self.files[number].1 = bytes;
        self.add_up();
    }

    /// Makes the sums of the manifest those of its segments.
    pub(crate) fn add_up(&mut self) {
        let manifest = &mut self.manifest;
        manifest.totals = Totals::of(&manifest.segments);
        let digests = Manifest::digests(&manifest.segments);
        manifest.content_digest = Digest128(digests.content);
        manifest.content_digest_exptime = Digest128(digests.content_exptime);
    }

    /// Adds the look-up object of each shard, with ids from 0xb0 on.
    pub(crate) fn look_up(mut self) -> Self {
        let mut objects = Vec::new();
        for (node_index, node) in (0_u32..).zip(&mut self.manifest.nodes) {
            for shard_index in 0..1_u64 << node.shard_bits {
                let id = LookUpId([0xb0 + u8::try_from(objects.len()).unwrap(); 16]);
                let of_shard = self.manifest.segments.iter().filter(|segment| {
                    (segment.node_index, segment.shard_index) == (node_index, shard_index)
                });
                let (name, bytes) = made_look_up(id, of_shard, &self.files);
                node.look_ups.push(name);
                objects.push((name.object(), bytes));
            }
        }
        self.files
            .extend(objects.into_iter().filter(|(_, bytes)| !bytes.is_empty()));
        self
    }

    /// Moves the segments into parts of the manifest.
    pub(crate) fn split(mut self, segment_count: usize) -> Self {
        let segments = std::mem::take(&mut self.manifest.segments);
        for (number, segments) in segments.chunks(segment_count).enumerate() {
            let part = ManifestPart::new(self.manifest.snapshot_id, segments.to_vec());
            let (bytes, name) = part.encode(number);
            self.files.push((name.object.clone(), bytes));
            self.manifest.parts.push(name);
        }
        self
    }

    /// All files, the manifest last.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = self.files.clone();
        files.push(("manifest.json".to_owned(), self.manifest.encode()));
        files
    }
}

/// Makes a look-up object of one page.
fn made_look_up<'a>(
    id: LookUpId,
    segments: impl Iterator<Item = &'a ManifestSegment>,
    files: &[(String, Vec<u8>)],
) -> (LookUpName, Vec<u8>) {
    let mut name = LookUpName {
        id,
        pages: 0,
        blocks: 0,
    };
    let (mut keys, mut entries, mut header) = (Vec::new(), Vec::new(), None);
    for named in segments {
        let (_, bytes) = files
            .iter()
            .find(|(file, _)| *file == named.object)
            .unwrap();
        let store = MemoryStore::new();
        store.put_new("s", bytes).unwrap();
        let object = store.open("s").unwrap();
        let segment = SegmentReader::open_object(object, String::new(), &Limits::default());
        let segment = segment.unwrap();
        for (number, entry) in (0_u32..).zip(segment.toc().blocks()) {
            let block = usize::try_from(number).unwrap();
            let columns = segment
                .read_keys(block, &mut SectionReader::default())
                .unwrap();
            keys.extend(
                columns
                    .iter()
                    .map(|record| (record.key.to_vec(), name.blocks)),
            );
            let block = LookUpBlock {
                segment: named.segment_id,
                sequence: named.sequence,
                block: number,
                offset: entry.offset,
                key_stored_len: entry.key_stored_len,
            };
            block.encode(id, name.blocks, &mut entries);
            name.blocks += 1;
        }
        name.pages = 1;
        header = Some(LookUpHeader {
            minor: VERSION_MINOR,
            id,
            snapshot: segment.ids().snapshot,
            node_index: named.node_index,
            shard_index: named.shard_index,
            entry_count: u64::try_from(keys.len()).unwrap(),
            page_count: name.pages,
            block_count: name.blocks,
        });
    }
    let Some(header) = header else {
        return (name, Vec::new());
    };
    let mut bytes = header.encode();
    let table = name.table();
    let mut page: Vec<_> = keys
        .iter()
        .map(|(key, block)| (table.place(key).1, *block))
        .collect();
    page.sort_unstable();
    assert!(table.encode_page(0, &page, &mut bytes));
    bytes.extend(entries);
    assert_eq!(u64::try_from(bytes.len()).unwrap(), name.len());
    (name, bytes)
}

/// Two nodes; of the first two shards, one of them in two segments; of the
/// second one segment, compressed.
pub(crate) fn cluster() -> Snapshot {
    let mut snapshot = Snapshot::new(&[("cache1:11211", 1), ("[::1]:11212*2@\u{e9}", 0)]);
    let rows: Rows = (0..8_u64)
        .map(|number| row(format!("key:{number}"), number.to_string(), told()))
        .collect();
    for shard in 0..2 {
        let mut of_shard = rows.clone();
        of_shard.retain(|(key, ..)| shard_of(key, 1) == shard);
        let rest = of_shard.split_off(2);
        snapshot.add(0, shard, 0, Compression::None, &of_shard);
        if shard == 0 {
            snapshot.add(0, shard, 1, Compression::None, &rest);
        } else {
            // These vanished before they were read.
            snapshot.manifest.nodes[0].counters.taken += u64::try_from(rest.len()).unwrap();
            snapshot.manifest.nodes[0].counters.vanished += u64::try_from(rest.len()).unwrap();
        }
    }
    snapshot.add(1, 0, 0, Compression::Zstd(1), &compressible());
    snapshot
}

/// A snapshot of one small segment.
pub(crate) fn of_one() -> Snapshot {
    let mut snapshot = Snapshot::new(&[("cache1:11211", 1)]);
    snapshot.add(0, 1, 0, Compression::None, &rows_of_one());
    snapshot
}

/// The records of that segment.
pub(crate) fn rows_of_one() -> Rows {
    ["a", "b", "c", "d"]
        .map(|key| row(key, "value", told()))
        .into_iter()
        .filter(|(key, ..)| shard_of(key, 1) == 1)
        .collect()
}

/// Makes the checksum of a changed manifest right again.
pub(crate) fn resealed(text: &str) -> Vec<u8> {
    let start = ",\n  \"checksum\": \"sha256:";
    let (body, _) = text.split_once(start).unwrap();
    let blank = format!("{body}{start}{}\"\n}}\n", "0".repeat(64));
    let digits: String = Sha256::digest(blank.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{body}{start}{digits}\"\n}}\n").into_bytes()
}

pub(crate) fn text_of(manifest: &Manifest) -> String {
    String::from_utf8(manifest.encode()).unwrap()
}

#[test]
fn golden_snapshots_are_written_as_ever_and_read() {
    // The manifest has the digest of a compressed segment, so that is kept, too.
    for (file, bytes) in cluster().files() {
        check_or_keep(&format!("valid/cluster/{file}"), &bytes);
    }
    check_listing("cluster", "cluster");
    for (file, bytes) in cluster().split(2).files() {
        check_or_keep(&format!("valid/parts/{file}"), &bytes);
    }
    check_listing("parts", "cluster");
    let looked_up = cluster().look_up();
    for (file, bytes) in looked_up.files() {
        check_or_keep(&format!("valid/looked-up/{file}"), &bytes);
    }
    let (record, object) = record_of(&looked_up).encode();
    check_or_keep(&format!("valid/looked-up/{object}"), &record);
    check_listing("looked-up", "cluster");
    // No server has kept anything.
    let mut nothing = Snapshot::new(&[("cache1:11211", 1), ("cache2:11211", 1)]);
    nothing.add_up();
    for (file, bytes) in nothing.files() {
        check(&format!("valid/nothing/{file}"), &bytes);
    }
    check_listing("nothing", "nothing");

    let mut selected = of_one();
    selected.manifest.select = Some("regex=\"^[ab d]$\" and size>=1KiB".to_owned());
    let node = &mut selected.manifest.nodes[0];
    node.items_start += 9;
    node.items_end += 9;
    node.counters.taken += 9;
    node.counters.filtered = 9;
    for (file, bytes) in selected.files() {
        check(&format!("valid/selected/{file}"), &bytes);
    }
    check_listing("selected", "selected");

    let one = of_one();
    for (file, bytes) in &one.files {
        check(&format!("valid/later/{file}"), bytes);
    }
    let text = text_of(&one.manifest)
        .replace("\"minor\": 0", "\"minor\": 7, \"patch\": \"new\"")
        .replace(
            "\"restore\": []",
            "\"restore\": [\"time-travel\"], \"fly\": [\"wings\"]",
        )
        .replace(
            "\"ring\": \"ketama\"",
            "\"ring\": \"ketama\",\n  \"later\": {\"a\": [1, null]}",
        )
        .replace("\"address\"", "\"zone\": -1.5e3, \"address\"")
        .replace("\"object\"", "\"heat\": true, \"object\"");
    check("valid/later/manifest.json", &resealed(&text));
    check_listing("later", "later");
}

#[test]
fn a_feature_is_refused_by_the_job_that_needs_it_and_by_no_other() {
    // The golden snapshot of a later version needs one to be restored.
    let workdir = crate::harness::workdir::Workdir::new("feature");
    let place = testdata("valid/later");
    let (code, ..) = read_snapshot(&place, &[]);
    assert_eq!(code, 0);
    workdir
        .mcsnap(&["verify", "--quiet"])
        .arg(&place)
        .succeeds();
    let run = workdir
        .mcsnap(&["restore", "--quiet", "--to=127.0.0.1:1"])
        .arg(&place);
    let errors = String::from_utf8(run.exits(2).stderr).unwrap();
    assert!(
        errors.contains("feature \"time-travel\": made by a newer mcsnap; upgrade"),
        "{errors}"
    );
}

#[test]
fn keys_are_found_where_there_is_no_key_index() {
    let workdir = crate::harness::workdir::Workdir::new("no-key-index");
    let place = testdata("valid/no-key-index.mcs");
    for (key, value) in [("user:1", "Ada"), ("marks", "and here the marks alone")] {
        let output = workdir
            .mcsnap(&["get", "--raw"])
            .arg(&place)
            .arg(key)
            .succeeds();
        assert_eq!(String::from_utf8_lossy(&output.stdout), value);
    }
    workdir.mcsnap(&["get"]).arg(&place).arg("gone").exits(4);
}

#[test]
fn golden_files_hold_what_they_are_for() {
    let kinds = |name: &str| {
        let forge = Forge::new(&fs::read(testdata(&format!("valid/{name}.mcs"))).unwrap());
        (0..forge.frame_count())
            .map(|frame| forge.kind(frame))
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds("columns"), [1, BLOCK, BLOCK, BLOCK, 5, 6, 7]);
    assert_eq!(
        kinds("later-frames"),
        [1, BLOCK, 200, BLOCK, 10, BLOCK, 5, 6, 99, 7]
    );
    assert_eq!(kinds("empty"), [1, 5, 6, 7]);
    // Four parts, three of a value that was abandoned, two, one.
    let parts = [3; 4 + 3 + 2];
    let kinds_of_parts = [&[1][..], &parts, &[BLOCK, 3, BLOCK, 5, 6, 7]].concat();
    assert_eq!(kinds("parts"), kinds_of_parts);
    assert_eq!(kinds("no-statistics"), [1, BLOCK, BLOCK, BLOCK, 5, 7]);
    assert_eq!(kinds("no-key-index"), [1, BLOCK, BLOCK, BLOCK, 6, 7]);
    let checkpoint = kinds("checkpoint");
    assert_eq!(checkpoint.iter().filter(|kind| **kind == 4).count(), 1);
    assert_eq!(kinds("zstd"), [1, BLOCK, BLOCK, 5, 6, 7]);
    let forge = Forge::new(&fs::read(testdata("valid/later-unused-bits.mcs")).unwrap());
    let flags = forge.get(Place::Frame(1), "flags");
    assert_eq!(flags, u64::from(CRITICAL) | 0b1111_0000);
}
