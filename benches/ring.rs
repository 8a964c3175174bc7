//! How many keys a second does a ring place, beside the hash of the key alone?
//!
//! - `look-up/<ring>/node`: the node of each key, on a ring of 100 nodes.
//! - `look-up/<ring>/hash`: the least that it must do, the hash of each key; of
//!   a rendezvous a hash for each node, of text that is there already. Rings
//!   whose hash is no one's but theirs have none.
//! - `build/<ring>/<nodes>`: all nodes are put on the ring, which a job does once.
//!
//! All is on one thread. The keys lie one after the other, and there are enough
//! of them to come by every part of a ring.
//!
//! `tools/bench ring` runs it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench ends at the first surprise"
)]

use std::hint::black_box;
use std::ops::Range;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use mcsnap::codecs::ring::{CharSign, Distribution, KeyHash, Placement, RingSpec};
use mcsnap::words::node::NodeSpec;
use mcsnap::words::units::to_u64;

const RINGS: [&str; 9] = [
    "ketama-weighted",
    "twemproxy",
    "libmemcached:consistent",
    "dalli",
    "pymemcache",
    "pymemcache:bytes-keys",
    "mcrouter",
    "memcached-proxy",
    "modula",
];

const KEY_COUNT: usize = 16_384;

/// Keys, one after the other in memory, as a block of a snapshot has them.
struct Keys {
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
}

impl Keys {
    fn new() -> Self {
        let mut keys = Self {
            bytes: Vec::new(),
            ranges: Vec::new(),
        };
        for number in 0..KEY_COUNT {
            let start = keys.bytes.len();
            let kind = ["profile", "session", "feed"][number % 3];
            // An odd factor, so that all are different.
            let id = number * 7_919 % 1_000_000;
            keys.bytes
                .extend_from_slice(format!("user:{id}:{kind}").as_bytes());
            keys.ranges.push(start..keys.bytes.len());
        }
        keys
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.ranges.iter().map(|range| &self.bytes[range.clone()])
    }
}

fn nodes(count: usize) -> Vec<NodeSpec> {
    (0..count)
        .map(|number| NodeSpec::new(format!("10.0.{}.{}", number / 250, number % 250), 11211))
        .collect()
}

/// What a ring hashes of a key, where anyone can.
enum Floor {
    Hash(KeyHash),
    /// Text of each node and the key.
    HashOfEachNode(Vec<Vec<u8>>),
    None,
}

impl Floor {
    fn of(spec: &RingSpec, nodes: &[NodeSpec]) -> Self {
        let rule = spec.rule().unwrap();
        match rule.distribution {
            Distribution::Rendezvous(_) => {
                let text = |node: &NodeSpec| format!("{}-user:123456:profile", node.host);
                let texts = nodes.iter().map(|node| text(node).into_bytes());
                Self::HashOfEachNode(texts.collect())
            }
            Distribution::Furc { .. } => Self::None,
            Distribution::WidePoints => Self::Hash(KeyHash::Md5),
            Distribution::Modula(_)
            | Distribution::VirtualBucket { .. }
            | Distribution::Points(_)
            | Distribution::Slots { .. }
            | Distribution::Jump => Self::Hash(rule.key_hash),
        }
    }
}

fn bench_look_up(criterion: &mut Criterion) {
    let keys = Keys::new();
    let nodes = nodes(100);
    let mut group = criterion.benchmark_group("look-up");
    group.throughput(Throughput::Elements(to_u64(KEY_COUNT)));
    for name in RINGS {
        let spec: RingSpec = name.parse().unwrap();
        let ring = Placement::new(&spec, &nodes).unwrap();
        group.bench_function(BenchmarkId::new(name, "node"), |bencher| {
            bencher.iter(|| {
                let located = keys.iter().map(|key| ring.locate(black_box(key), 0));
                located.sum::<usize>()
            });
        });
        let sign = CharSign::default();
        let id = BenchmarkId::new(name, "hash");
        match Floor::of(&spec, &nodes) {
            Floor::Hash(hash) => group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    let hashed = keys.iter().map(|key| hash.hash_wide(black_box(key), sign));
                    hashed.fold(0, |sum: u64, hash| sum ^ hash)
                });
            }),
            Floor::HashOfEachNode(texts) => group.bench_function(id, |bencher| {
                let hash = KeyHash::Murmur3;
                bencher.iter(|| {
                    let of_key = |_| {
                        let hashed = texts.iter().map(|text| hash.hash(black_box(text), sign));
                        hashed.max().unwrap()
                    };
                    let best = keys.iter().map(of_key);
                    best.fold(0, |sum: u32, hash| sum ^ hash)
                });
            }),
            Floor::None => continue,
        };
    }
    group.finish();
}

fn bench_build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build");
    for name in RINGS {
        let spec: RingSpec = name.parse().unwrap();
        for count in [100, 1_000] {
            let nodes = nodes(count);
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| Placement::new(&spec, black_box(&nodes)).unwrap());
            });
        }
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    bench_look_up(&mut criterion);
    bench_build(&mut criterion);
    criterion.final_summary();
}
