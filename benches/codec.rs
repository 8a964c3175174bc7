//! What does the file format cost, by the size of values and with or without
//! compression, beside the least that any such format must do?
//!
//! - `encode`: records become the bytes of a segment.
//! - `decode`: a segment's blocks become records, each value checked.
//! - `verify`: a deep verification of a snapshot of one segment.
//! - `look-up`: one key's value, by the key index; the keys in turn.
//!
//! An id is `<op>/<codec>/<value size>`. The codec `floor` is the least: for the
//! first three a copy, a CRC32 and an XXH3 of the same bytes, for a look-up a
//! hash map of all keys in memory and a copy of the value. All is in memory, on
//! one thread. Throughput is of keys and values, not compressed.
//!
//! `tools/bench codec` runs it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench ends at the first surprise"
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use mcsnap::codecs::format::checksum::{crc32, value_hash};
use mcsnap::codecs::format::compression::{Compression, SectionReader};
use mcsnap::codecs::format::encoder::{EncoderOptions, SegmentEncoder};
use mcsnap::codecs::format::features::Features;
use mcsnap::codecs::format::ids::{SegmentId, SnapshotId, SyncMarker};
use mcsnap::codecs::format::manifest::Need;
use mcsnap::codecs::format::segment_meta::{SegmentMeta, dumping_host};
use mcsnap::engines::snapshot::{SegmentReader, SnapshotReader, SnapshotWriter, WriterOptions};
use mcsnap::jobs::verify::{Depth, VerifyOptions, verify};
use mcsnap::ports::store::{MemoryStore, Store};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::item::{Cas, Exptime, ItemMeta, Record, SlabClass};
use mcsnap::words::progress::NoProgress;
use mcsnap::words::units::{UnixSecs, to_u64};

/// With their names in ids.
const VALUE_SIZES: [(usize, &str); 6] = [
    (10, "10B"),
    (100, "100B"),
    (1 << 10, "1KiB"),
    (10 << 10, "10KiB"),
    (100 << 10, "100KiB"),
    (1 << 20, "1MiB"),
];
const CODECS: [Compression; 2] = [Compression::None, Compression::Zstd(1)];

/// Values of one size, in all: more than the caches of a processor.
const VALUE_BYTES: usize = 32 << 20;
/// Small values do not fill that: enough records for hundreds of blocks.
const RECORD_COUNT_MAX: usize = 100_000;

/// Records with values of one size.
struct Records {
    keys: Vec<Vec<u8>>,
    /// What values are cut from.
    source: Vec<u8>,
    values: Vec<Range<usize>>,
}

impl Records {
    /// Text of words and, for three in ten, noise, as in `pipeline.rs`.
    fn new(value_len: usize) -> Self {
        const SOURCE_LEN: usize = 8 << 20;
        let mut state = 7_u64;
        let mut next = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap()
        };
        let words: Vec<Vec<u8>> = (0..2000)
            .map(|_| {
                let len = 2 + next() % 9;
                (0..len).map(|_| b"etaoinshrdlucmfw"[next() % 16]).collect()
            })
            .collect();
        let mut source = Vec::with_capacity(SOURCE_LEN * 2);
        while source.len() < SOURCE_LEN {
            source.extend_from_slice(&words[next() % words.len()]);
            source.push(b' ');
        }
        source.truncate(SOURCE_LEN);
        source.extend((0..SOURCE_LEN).map(|_| next().to_le_bytes()[1]));
        let count = (VALUE_BYTES / value_len).min(RECORD_COUNT_MAX);
        let values = (0..count).map(|_| {
            let half = if next() % 10 < 7 { 0 } else { SOURCE_LEN };
            let start = half + next() % (SOURCE_LEN - value_len);
            start..start + value_len
        });
        let values = values.collect();
        let keys = (0..count).map(|number| format!("user:{number}:profile").into_bytes());
        Self {
            keys: keys.collect(),
            source,
            values,
        }
    }

    fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        let meta = ItemMeta {
            client_flags: Some(4),
            exptime: Some(Exptime::At(UnixSecs(1_800_000_000))),
            last_access: Some(UnixSecs(1_795_140_000)),
            cas: Some(Cas(1)),
            slab_class: Some(SlabClass(9)),
            ..ItemMeta::default()
        };
        let values = self.values.iter();
        self.keys
            .iter()
            .zip(values)
            .map(move |(key, value)| Record {
                key,
                value: &self.source[value.clone()],
                meta,
            })
    }

    fn byte_count(&self) -> u64 {
        self.iter()
            .map(|record| to_u64(record.key.len() + record.value.len()))
            .sum()
    }

    /// Writes them as a snapshot of one segment.
    fn write(&self, compression: Compression) -> SnapshotReader {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let options = WriterOptions {
            segment_size_max: u64::MAX,
            segment_record_count_max: 1 << 32,
            compression,
            ..WriterOptions::default()
        };
        let mut writer = SnapshotWriter::begin(Arc::clone(&store), "bench", options).unwrap();
        for record in self.iter() {
            writer.push(&record).unwrap();
        }
        assert_eq!(writer.finish().unwrap().segments, 1);
        SnapshotReader::open(store, "bench", Need::Verify).unwrap()
    }
}

/// Encodes all records; returns the bytes of the segment, of which the last are
/// in `last`.
fn encode(records: &Records, compression: Compression, last: &mut Vec<u8>) -> u64 {
    let meta = SegmentMeta {
        segment_id: SegmentId([1; 16]),
        snapshot_id: SnapshotId([2; 16]),
        sync_marker: SyncMarker([3; 8]),
        features: Features::default(),
        snapshot_name: String::new(),
        node: String::new(),
        node_index: 0,
        worker: 0,
        attempt: 0,
        shard_index: 0,
        shard_bits: 0,
        sequence: 0,
        clock_offset: String::new(),
        clock: dumping_host(),
        compression: String::new(),
        server_version: String::new(),
        tool: String::new(),
        created_at: String::new(),
    };
    let options = EncoderOptions {
        compression,
        block_raw_len: EncoderOptions::BLOCK_RAW_LEN,
        part_raw_len: EncoderOptions::PART_RAW_LEN,
        index_seed: 5,
    };
    let mut encoder = SegmentEncoder::new(&meta, options).unwrap();
    for record in records.iter() {
        encoder.push(&record).unwrap();
        // As a dump does, which writes them.
        if encoder.pending().len() >= 1 << 20 {
            encoder.clear_pending();
        }
    }
    let finished = encoder.finish().unwrap();
    *last = finished.rest;
    finished.summary.size
}

/// Decodes all blocks; returns the bytes of the values.
fn decode(segment: &SegmentReader, sections: &mut SectionReader) -> u64 {
    let mut byte_count = 0;
    for number in 0..segment.block_count() {
        let block = segment.read_block(number).unwrap();
        let block = block.decode(sections).unwrap();
        for index in 0..block.len() {
            let record = block.record(index).unwrap().unwrap().inline();
            let record = black_box(record.unwrap());
            byte_count += to_u64(record.value.len());
        }
    }
    byte_count
}

/// Copies, sums and hashes all records, a block's worth at a time: what stays in
/// the processor's caches is not slowed down by memory.
fn copy_and_hash(records: &Records, copy: &mut Vec<u8>) -> u64 {
    let mut sum = 0;
    copy.clear();
    for record in records.iter() {
        copy.extend_from_slice(record.key);
        copy.extend_from_slice(record.value);
        if copy.len() >= EncoderOptions::BLOCK_RAW_LEN {
            sum ^= u64::from(crc32(copy)) ^ value_hash(copy);
            copy.clear();
        }
    }
    sum ^ u64::from(crc32(copy)) ^ value_hash(copy)
}

/// Finds a key by the index, then its value.
fn look_up(segment: &SegmentReader, key: &[u8], sections: &mut SectionReader) -> Option<Vec<u8>> {
    let found = segment.find(key, sections).unwrap()?;
    Some(segment.read_value(&found, sections).unwrap())
}

fn bench_throughput(criterion: &mut Criterion) {
    let sizes = || VALUE_SIZES.into_iter();
    for op in ["encode", "decode", "verify"] {
        let mut group = criterion.benchmark_group(op);
        for (value_len, size) in sizes() {
            let records = Records::new(value_len);
            group.throughput(Throughput::Bytes(records.byte_count()));
            let mut copy = Vec::new();
            group.bench_function(BenchmarkId::new("floor", size), |bencher| {
                bencher.iter(|| copy_and_hash(&records, &mut copy));
            });
            for codec in CODECS {
                let id = BenchmarkId::new(codec.to_string(), size);
                bench_op(&mut group, id, op, &records, codec);
            }
        }
        group.finish();
    }
}

fn bench_op(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    op: &str,
    records: &Records,
    codec: Compression,
) {
    if op == "encode" {
        let mut last = Vec::new();
        group.bench_function(id, |bencher| {
            bencher.iter(|| encode(records, codec, &mut last));
        });
        return;
    }
    let snapshot = records.write(codec);
    let segment = snapshot
        .open_segment(&snapshot.manifest().segments[0])
        .unwrap();
    if op == "decode" {
        let mut sections = SectionReader::default();
        group.bench_function(id, |bencher| {
            bencher.iter(|| decode(&segment, &mut sections));
        });
        return;
    }
    let options = VerifyOptions {
        depth: Depth::Deep,
        thread_count: 1,
    };
    group.bench_function(id, |bencher| {
        bencher.iter(|| {
            let report = verify(&snapshot, &options, &Cancel::new(), &NoProgress).unwrap();
            assert!(!report.has_errors());
        });
    });
}

fn bench_look_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("look-up");
    group.throughput(Throughput::Elements(1));
    for (value_len, size) in VALUE_SIZES {
        let records = Records::new(value_len);
        // A stride without a common divisor comes by all keys, far apart.
        let stride = 7919;
        let mut at = 0;
        let mut next_key = || {
            at = (at + stride) % records.keys.len();
            records.keys[at].as_slice()
        };
        let map: HashMap<&[u8], &[u8]> = records
            .iter()
            .map(|record| (record.key, record.value))
            .collect();
        group.bench_function(BenchmarkId::new("floor", size), |bencher| {
            bencher.iter(|| map.get(next_key()).unwrap().to_vec());
        });
        for codec in CODECS {
            let snapshot = records.write(codec);
            let segment = snapshot
                .open_segment(&snapshot.manifest().segments[0])
                .unwrap();
            let mut sections = SectionReader::default();
            group.bench_function(BenchmarkId::new(codec.to_string(), size), |bencher| {
                bencher.iter(|| look_up(&segment, next_key(), &mut sections).unwrap());
            });
        }
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    bench_throughput(&mut criterion);
    bench_look_up(&mut criterion);
    criterion.final_summary();
}
