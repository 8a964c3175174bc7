//! Snapshots of many segments, or of many keys.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mcsnap::codecs::format::checksum::shard_of;
use mcsnap::codecs::format::compression::Compression;
use mcsnap::codecs::format::manifest::{ManifestNode, ManifestSegment};
use mcsnap::engines::snapshot::{ShardOptions, ShardWriter, SnapshotDraft};
use mcsnap::ports::store::{LocalStore, Store};
use mcsnap::words::counters::Counters;
use mcsnap::words::item::{Exptime, ItemMeta, Record};
use mcsnap::words::reasons::Reasons;
use mcsnap::words::units::UnixSecs;

/// When all of them were made.
const MOMENT: UnixSecs = UnixSecs(1_795_140_000);

/// What a snapshot is like.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) nodes: u32,
    pub(crate) shard_bits: u8,
    /// Of each node.
    pub(crate) records: u64,
    pub(crate) records_of_segment: u64,
}

impl Shape {
    /// Three records a segment, and two shards a node, as a dump has it. Nearly every
    /// segment has prefixes of its own.
    pub(crate) fn of_segments(segments: u64, nodes: u32) -> Self {
        Self {
            name: "segments",
            nodes,
            shard_bits: 1,
            records: segments * 3 / u64::from(nodes),
            records_of_segment: 3,
        }
    }

    /// As large segments as those of a dump.
    pub(crate) fn of_keys(records: u64) -> Self {
        Self {
            name: "keys",
            nodes: 1,
            shard_bits: 1,
            records,
            records_of_segment: u64::MAX,
        }
    }
}

/// Returns the key of a record of a node, which begins with a word of its own.
pub(crate) fn key(node: u32, number: u64) -> String {
    let mut left = (u64::from(node) << 32 | number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut word = String::new();
    for _ in 0..8 {
        // Letters that are no digits of any number, so that the prefix is the word.
        word.extend("ghijklmnopqrstuv".chars().nth((left >> 60) as usize));
        left <<= 4;
    }
    format!("{word}:{number}")
}

/// Returns the address of a node.
pub(crate) fn address(node: u32) -> String {
    format!("10.0.{}.{}:11211", node / 256, node % 256)
}

/// Writes a snapshot into a directory; returns how many segments it has.
pub(crate) fn write(directory: &Path, shape: &Shape) -> usize {
    let store = LocalStore::create(directory).unwrap();
    write_into(Arc::new(store), shape)
}

/// Writes a snapshot into a store; returns how many segments it has.
pub(crate) fn write_into(store: Arc<dyn Store>, shape: &Shape) -> usize {
    let snapshot = SnapshotDraft::begin(store, shape.name).unwrap();
    let next = AtomicU32::new(0);
    let work = || {
        let mut written = Vec::new();
        loop {
            let node = next.fetch_add(1, Ordering::Relaxed);
            if node >= shape.nodes {
                return written;
            }
            written.push((node, write_node(&snapshot, shape, node)));
        }
    };
    let mut written = std::thread::scope(|scope| {
        let workers = [0; 2].map(|_| scope.spawn(work));
        workers.map(|worker| worker.join().unwrap()).concat()
    });
    written.sort_by_key(|(node, _)| *node);
    let nodes = (0..shape.nodes).map(|node| node_of(shape, node)).collect();
    let segments: Vec<_> = written
        .into_iter()
        .flat_map(|(_, of_node)| of_node)
        .collect();
    let count = segments.len();
    let manifest = snapshot.assemble([MOMENT, MOMENT], nodes, segments);
    let node_count = usize::try_from(shape.nodes).unwrap();
    snapshot.publish(&manifest, node_count).unwrap();
    count
}

fn write_node(snapshot: &SnapshotDraft, shape: &Shape, node: u32) -> Vec<ManifestSegment> {
    let shards = 0..1_u64 << shape.shard_bits;
    let mut writers: Vec<_> = shards
        .map(|shard_index| {
            let options = ShardOptions {
                segment_size_max: 256 << 20,
                segment_record_count_max: shape.records_of_segment,
                compression: Compression::None,
                node: address(node),
                node_index: node,
                shard_index,
                shard_bits: shape.shard_bits,
                clock_offset: 0,
                server_version: "1.6.18".to_owned(),
                created_at: MOMENT,
                first_sequence: 0,
            };
            ShardWriter::new(snapshot, options)
        })
        .collect();
    for number in 0..shape.records {
        let key = key(node, number);
        let meta = ItemMeta {
            client_flags: Some(0),
            exptime: Some(Exptime::At(UnixSecs(MOMENT.0 + number % 86_400))),
            last_access: Some(UnixSecs(MOMENT.0 - number % 3_600)),
            ..ItemMeta::default()
        };
        let record = Record {
            key: key.as_bytes(),
            value: b"twenty bytes of value",
            meta,
        };
        let shard = usize::try_from(shard_of(key.as_bytes(), shape.shard_bits)).unwrap();
        writers.get_mut(shard).unwrap().push(&record).unwrap();
    }
    let finished = writers.into_iter().map(|writer| writer.finish().unwrap());
    finished.flatten().collect()
}

fn node_of(shape: &Shape, node: u32) -> ManifestNode {
    ManifestNode {
        address: address(node),
        server_version: "1.6.18".to_owned(),
        pid: 1000 + u64::from(node),
        server_started_at: MOMENT.0 - 86_400,
        clock_offset: "0".to_owned(),
        walk: "metadump-hash".to_owned(),
        shard_bits: shape.shard_bits,
        items_start: shape.records,
        items_end: shape.records,
        unlisted: 0,
        unsure: 0,
        counters: Counters {
            taken: shape.records,
            stored: shape.records,
            ..Counters::default()
        },
        reasons: Reasons::default(),
        failure: None,
        look_ups: Vec::new(),
    }
}
