//! Whatever goes into a snapshot comes out, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mcsnap::codecs::format::compression::{Compression, SectionReader};
use mcsnap::codecs::format::encoder::Pushed;
use mcsnap::codecs::format::manifest::{Manifest, ManifestNode, ManifestSegment, Need, Totals};
use mcsnap::engines::snapshot::{
    ShardOptions, ShardWriter, SnapshotDraft, SnapshotReader, SnapshotWriter, WriterOptions,
};
use mcsnap::jobs::verify::{Depth, VerifyOptions, VerifyReport, verify_snapshot};
use mcsnap::ports::store::{MemoryStore, Store};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::counters::Counters;
use mcsnap::words::item::{Attribute, Attributes, Cas, Exptime, ItemMeta, Record, SlabClass};
use mcsnap::words::progress::NoProgress;
use mcsnap::words::reasons::Reasons;
use mcsnap::words::units::UnixSecs;
use proptest::prelude::*;

pub(crate) const NAME: &str = "night";

/// 2026-11-20T02:00:00Z.
const TAKEN_AT: UnixSecs = UnixSecs(1_795_140_000);

/// An item with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) value: Vec<u8>,
    pub(crate) meta: ItemMeta,
}

pub(crate) type Items = BTreeMap<Vec<u8>, Owned>;

fn metas() -> impl Strategy<Value = ItemMeta> {
    let exptimes = prop_oneof![
        Just(None),
        Just(Some(Exptime::Never)),
        (0..u64::MAX).prop_map(|at| Some(Exptime::At(UnixSecs(at)))),
    ];
    (
        prop::option::of(any::<u64>()),
        exptimes,
        prop::option::of(any::<u64>()),
        prop::option::of(any::<u64>()),
        prop::option::of(any::<u8>()),
        any::<bool>(),
    )
        .prop_map(|(client_flags, exptime, last_access, cas, class, stale)| {
            let mut attributes = Attributes::default();
            attributes.set(Attribute::Stale, stale);
            ItemMeta {
                client_flags,
                exptime,
                last_access: last_access.map(UnixSecs),
                cas: cas.map(Cas),
                slab_class: class.map(SlabClass),
                attributes,
            }
        })
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..300),
        1 => (any::<u8>(), 0..400_000_usize).prop_map(|(byte, len)| vec![byte; len]),
        1 => (any::<u64>(), 0..100_000_usize).prop_map(|(seed, len)| noise(seed, len)),
    ]
}

/// Bytes that do not compress.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_le_bytes()[7]
    };
    (0..len).map(|_| next()).collect()
}

fn items() -> impl Strategy<Value = Items> {
    let keys = prop::collection::vec(any::<u8>(), 1..=250);
    let owned = (values(), metas()).prop_map(|(value, meta)| Owned { value, meta });
    prop::collection::btree_map(keys, owned, 0..40)
}

/// How the small snapshot is cut.
pub(crate) struct Cut {
    pub(crate) segment_size_max: u64,
    pub(crate) segment_record_count_max: u64,
    pub(crate) compression: Compression,
    pub(crate) shard_bits: u8,
}

/// One of the node's shards.
pub(crate) fn shard_options(cut: &Cut, shard: u64) -> ShardOptions {
    ShardOptions {
        segment_size_max: cut.segment_size_max,
        segment_record_count_max: cut.segment_record_count_max,
        compression: cut.compression,
        node: "a:1".to_owned(),
        node_index: 0,
        shard_index: shard,
        shard_bits: cut.shard_bits,
        clock_offset: 0,
        server_version: "1.6.18".to_owned(),
        created_at: UnixSecs(1_700_000_000),
        first_sequence: 0,
    }
}

/// Writes items as a snapshot of one node.
pub(crate) fn write(store: Arc<dyn Store>, items: &Items, cut: &Cut) -> Vec<ManifestSegment> {
    let options = WriterOptions {
        nodes: vec!["a:1".to_owned()],
        segment_size_max: cut.segment_size_max,
        segment_record_count_max: cut.segment_record_count_max,
        compression: cut.compression,
        shard_bits: cut.shard_bits,
        taken_at: Some(TAKEN_AT),
        ..WriterOptions::default()
    };
    let mut writer = SnapshotWriter::begin(Arc::clone(&store), NAME, options).unwrap();
    for (key, Owned { value, meta }) in items {
        let (value, meta) = (value.as_slice(), *meta);
        writer.push(&Record { key, value, meta }).unwrap();
    }
    writer.finish().unwrap();
    let snapshot = SnapshotReader::open(store, NAME, Need::Read).unwrap();
    snapshot.manifest().segments.clone()
}

/// The manifest of one node for segments that were written by hand.
pub(crate) fn manifest(
    snapshot: &SnapshotDraft,
    segments: Vec<ManifestSegment>,
    shard_bits: u8,
) -> Manifest {
    let stored = Totals::of(&segments).records;
    let node = ManifestNode {
        address: "a:1".to_owned(),
        server_version: "1.6.18".to_owned(),
        pid: 1,
        server_started_at: 1,
        clock_offset: "0".to_owned(),
        walk: "metadump-hash".to_owned(),
        shard_bits,
        items_start: stored,
        items_end: stored,
        unlisted: 0,
        look_ups: Vec::new(),
        unsure: 0,
        counters: Counters {
            taken: stored,
            stored,
            ..Counters::default()
        },
        reasons: Reasons::default(),
        failure: None,
    };
    snapshot.assemble([TAKEN_AT; 2], vec![node], segments)
}

/// Reads everything back, block by block.
pub(crate) fn read_all(store: Arc<dyn Store>, name: &str) -> Items {
    let snapshot = SnapshotReader::open(store, name, Need::Read).unwrap();
    let mut items = Items::new();
    let mut sections = SectionReader::default();
    for named in &snapshot.manifest().segments {
        let segment = snapshot.open_segment(named).unwrap();
        for number in 0..segment.block_count() {
            let frame = segment.read_block(number).unwrap();
            let block = frame.decode(&mut sections).unwrap();
            let columns = segment.read_keys(number, &mut sections).unwrap();
            for index in 0..block.len() {
                let record = block.record(index).unwrap().unwrap();
                assert_eq!(columns.get(index).unwrap().key, record.key);
                let value = segment.whole_value(number, index, record.value);
                let owned = Owned {
                    value: value.unwrap().into_owned(),
                    meta: record.meta,
                };
                assert_eq!(items.insert(record.key.to_vec(), owned), None);
                let candidates = segment.candidate_blocks(record.key).unwrap();
                assert!(candidates.contains(&u32::try_from(number).unwrap()));
            }
        }
    }
    items
}

fn deep(store: Arc<dyn Store>) -> VerifyReport {
    let options = VerifyOptions {
        depth: Depth::Deep,
        thread_count: 1,
    };
    verify_snapshot(store, NAME, &options, &Cancel::new(), &NoProgress).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_goes_in_comes_out_and_no_segment_exceeds_its_caps(
        items in items(),
        size_kib in 64_u64..600,
        records in 1_u64..20,
        level in 0..3,
        shard_bits in 0_u8..3,
    ) {
        let cut = Cut {
            segment_size_max: size_kib << 10,
            segment_record_count_max: records,
            compression: if level == 0 { Compression::None } else { Compression::Zstd(level) },
            shard_bits,
        };
        let store = MemoryStore::new();
        let segments = write(Arc::new(store.clone()), &items, &cut);
        for segment in &segments {
            prop_assert!(segment.records <= cut.segment_record_count_max);
            prop_assert!(segment.size <= cut.segment_size_max || segment.records == 1);
            prop_assert!(segment.records > 0);
        }
        prop_assert_eq!(read_all(Arc::new(store.clone()), NAME), items);
        let report = deep(Arc::new(store));
        prop_assert_eq!(report.findings, []);
    }
}

/// Two blocks, a few records, one shard.
fn small_items() -> Items {
    let meta = ItemMeta {
        client_flags: Some(7),
        exptime: Some(Exptime::Never),
        ..ItemMeta::default()
    };
    // The second presence of columns makes a second block.
    let other = ItemMeta {
        cas: Some(Cas(9)),
        ..meta
    };
    [
        ("alpha", "one", meta),
        ("beta", "two", meta),
        ("gamma", "three", other),
    ]
    .into_iter()
    .map(|(key, value, meta)| {
        (
            key.into(),
            Owned {
                value: value.into(),
                meta,
            },
        )
    })
    .collect()
}

const SMALL: Cut = Cut {
    segment_size_max: 1 << 20,
    segment_record_count_max: 100,
    compression: Compression::Zstd(1),
    shard_bits: 0,
};

/// Puts other bytes under a name.
pub(crate) fn replace(store: &MemoryStore, name: &str, bytes: &[u8]) {
    store.remove(name).unwrap();
    store.put_new(name, bytes).unwrap();
}

pub(crate) fn bytes_of(store: &MemoryStore, name: &str) -> Vec<u8> {
    store.open(name).unwrap().as_bytes().unwrap().to_vec()
}

#[test]
fn every_flipped_bit_of_a_segment_is_found_at_its_place() {
    let store = MemoryStore::new();
    let segments = write(Arc::new(store.clone()), &small_items(), &SMALL);
    assert_eq!((segments.len(), segments[0].blocks), (1, 2));
    let name = format!("{NAME}/{}", segments[0].object);
    let whole = bytes_of(&store, &name);
    let mut codes = BTreeSet::new();
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        replace(&store, &name, &flipped);
        match verify_quietly(&store) {
            Ok(report) => {
                assert!(report.has_errors(), "bit {bit} was not found");
                let first = report.findings[0].to_string();
                assert!(
                    first.contains(".mcs"),
                    "bit {bit}: {first} names no segment"
                );
                codes.extend(report.findings.iter().map(|finding| finding.defect.code()));
            }
            // The major version: there is nothing to be found in such a file.
            Err(error) => assert!((64..80).contains(&bit), "bit {bit}: {error}"),
        }
    }
    assert!(
        codes.len() >= 4,
        "all bits gave the same few findings: {codes:?}"
    );
}

fn verify_quietly(store: &MemoryStore) -> mcsnap::words::error::Result<VerifyReport> {
    let options = VerifyOptions {
        depth: Depth::Data,
        thread_count: 1,
    };
    verify_snapshot(
        Arc::new(store.clone()),
        NAME,
        &options,
        &Cancel::new(),
        &NoProgress,
    )
}

#[test]
fn every_cut_segment_and_a_missing_one_is_found() {
    let store = MemoryStore::new();
    let segments = write(Arc::new(store.clone()), &small_items(), &SMALL);
    let name = format!("{NAME}/{}", segments[0].object);
    let whole = bytes_of(&store, &name);
    for len in 0..whole.len() {
        replace(&store, &name, &whole[..len]);
        let report = verify_quietly(&store).unwrap();
        assert_eq!(report.findings[0].defect.code(), "MCS018", "cut to {len}");
    }
    store.remove(&name).unwrap();
    assert_eq!(
        verify_quietly(&store).unwrap().findings[0].defect.code(),
        "MCS017"
    );
}

#[test]
fn a_segment_of_another_snapshot_is_refused() {
    let (mine, other) = (MemoryStore::new(), MemoryStore::new());
    let here = write(Arc::new(mine.clone()), &small_items(), &SMALL);
    let there = write(Arc::new(other.clone()), &small_items(), &SMALL);
    let foreign = bytes_of(&other, &format!("{NAME}/{}", there[0].object));
    replace(&mine, &format!("{NAME}/{}", here[0].object), &foreign);
    let report = verify_quietly(&mine).unwrap();
    assert!(
        report
            .findings
            .iter()
            .all(|finding| finding.defect.code() == "MCS005"),
        "{:?}",
        report.findings
    );
}

#[test]
fn a_repeated_key_is_kept_once() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let snapshot = SnapshotDraft::begin(store, NAME).unwrap();
    let options = ShardOptions {
        segment_size_max: 1 << 20,
        segment_record_count_max: 100,
        compression: Compression::None,
        node: String::new(),
        node_index: 0,
        shard_index: 0,
        shard_bits: 0,
        clock_offset: 0,
        server_version: String::new(),
        created_at: UnixSecs(0),
        first_sequence: 0,
    };
    let mut writer = ShardWriter::new(&snapshot, options);
    let record = Record {
        key: b"k",
        value: b"v",
        meta: ItemMeta::default(),
    };
    assert_eq!(writer.push(&record).unwrap(), Pushed::Stored);
    assert_eq!(writer.push(&record).unwrap(), Pushed::Duplicate);
    assert_eq!(writer.finish().unwrap()[0].records, 1);
}
