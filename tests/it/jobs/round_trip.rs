//! What a dump takes out of real servers, a restore puts back, to any number of
//! them.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use mcsnap::codecs::ring::{Placement, RingSpec};
use mcsnap::words::node::NodeSpec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::harness::client::{Fetched, Item};
use crate::harness::memcached::Memcached;
use crate::harness::workdir::Workdir;

const DAY: u64 = 24 * 60 * 60;

fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Keys that some text command can carry: any bytes up to 186, text up to 250.
fn keys() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 1..=186),
        prop::collection::vec(b'!'..=b'~', 1..=250),
        "[a-z]{1,8}:[0-9]{1,6}".prop_map(String::into_bytes),
    ]
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..2000),
        1 => (any::<u8>(), 0..1_300_000_usize).prop_map(|(byte, len)| {
            // Compressible in part, and with line ends in it.
            (0..len).map(|at| if at % 7 == 0 { byte } else { at.to_le_bytes()[0] }).collect()
        }),
    ]
}

/// None, a minute, an hour, and 40 days, which no relative TTL can say.
fn ttls() -> impl Strategy<Value = i64> {
    let forty_days = i64::try_from(unix_now() + 40 * DAY).unwrap();
    prop_oneof![Just(0), Just(60), Just(3600), Just(forty_days)]
}

fn items() -> impl Strategy<Value = BTreeMap<Vec<u8>, Item>> {
    let item = (values(), any::<u32>(), ttls());
    prop::collection::btree_map(keys(), item, 1..80).prop_map(|items| {
        let item = |(key, (value, flags, ttl)): (Vec<u8>, (Vec<u8>, u32, i64))| {
            (key.clone(), Item::new(key, value).flags(flags).ttl(ttl))
        };
        items.into_iter().map(item).collect()
    })
}

/// Seconds an item has left when it was stored with such a TTL just now.
fn seconds_left(ttl: i64) -> i64 {
    let thirty_days = i64::try_from(30 * DAY).unwrap();
    match ttl {
        0 => -1,
        ttl if ttl > thirty_days => ttl - i64::try_from(unix_now()).unwrap(),
        ttl => ttl,
    }
}

fn start(count: usize) -> Vec<Memcached> {
    (0..count)
        .map(|_| Memcached::start_with(&["-I", "8m", "-m", "256"]))
        .collect()
}

fn addresses(servers: &[Memcached]) -> Vec<String> {
    servers.iter().map(Memcached::address).collect()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn check_item(key: &[u8], found: &Fetched, item: &Item, ttl_at_start: i64) {
    assert_eq!(found.value, item.value, "value of {key:?}");
    assert_eq!(found.flags, item.flags, "client flags of {key:?}");
    if ttl_at_start < 0 {
        assert_eq!(found.ttl, -1, "TTL of {key:?}");
    } else {
        // The time that the test itself takes passes for the items, too.
        let spread = 2 + 20;
        assert!(
            found.ttl <= ttl_at_start + 2 && found.ttl >= ttl_at_start - spread,
            "TTL of {key:?} was {ttl_at_start}, is {}",
            found.ttl
        );
    }
}

#[test]
fn every_item_comes_back_on_the_node_that_its_ring_names() {
    let sources = start(2);
    let targets = start(5);
    let mut runner = TestRunner::new(Config {
        cases: 6,
        ..Config::default()
    });
    runner
        .run(&items(), |items| {
            for server in sources.iter().chain(&targets) {
                server.client().flush_all();
            }
            let halves = items.values().cloned().enumerate();
            let (even, odd): (Vec<_>, Vec<_>) = halves.partition(|(number, _)| number % 2 == 0);
            let stored_at = unix_now();
            sources[0]
                .client()
                .load(even.into_iter().map(|(_, item)| item));
            sources[1]
                .client()
                .load(odd.into_iter().map(|(_, item)| item));
            let lefts: BTreeMap<Vec<u8>, i64> = items
                .iter()
                .map(|(key, item)| (key.clone(), seconds_left(item.ttl)))
                .collect();

            let workdir = Workdir::new("round-trip");
            let from = addresses(&sources);
            let dump = workdir
                .mcsnap(&["dump", "--to", "s", "--name", "a", "--format", "json"])
                .arg(&from[0])
                .arg(&from[1])
                .succeeds();
            let dump = json(&dump.stdout);
            assert_eq!(dump["verdict"], "complete");
            assert_eq!(dump["stored"], items.len());
            workdir.mcsnap(&["verify", "s/a", "--deep"]).succeeds();

            for (count, ring) in [
                (1, "modula"),
                (3, "ketama-weighted"),
                (5, "ketama"),
                (3, "modula"),
            ] {
                let targets = &targets[..count];
                for target in targets {
                    target.client().flush_all();
                }
                let to = addresses(targets).join(",");
                let restored = workdir
                    .mcsnap(&["restore", "s/a", "--ring", ring, "--format", "json", "--to"])
                    .arg(&to)
                    .succeeds();
                assert_eq!(json(&restored.stdout)["stored"], items.len());
                let nodes: Vec<NodeSpec> = addresses(targets)
                    .iter()
                    .map(|address| address.parse().unwrap())
                    .collect();
                let spec: RingSpec = ring.parse().unwrap();
                let placement = Placement::new(&spec, &nodes).unwrap();
                let mut seen = 0;
                for (number, target) in targets.iter().enumerate() {
                    let mine: Vec<&Vec<u8>> = items
                        .keys()
                        .filter(|key| placement.locate(key, 0) == number)
                        .collect();
                    let found = target.client().fetch_all(&mine);
                    assert_eq!(
                        found.len(),
                        mine.len(),
                        "{ring} over {count}, node {number}"
                    );
                    for (key, fetched) in &found {
                        let passed = i64::try_from(unix_now() - stored_at).unwrap();
                        assert!(passed < 20, "the machine is too slow for this test's TTLs");
                        check_item(key, fetched, &items[key], lefts[key]);
                    }
                    let listed = target.client().keys();
                    assert_eq!(
                        listed.len(),
                        mine.len(),
                        "{ring} over {count}, node {number}"
                    );
                    seen += listed.len();
                }
                assert_eq!(seen, items.len());

                let again = workdir
                    .mcsnap(&["dump", "--to", "s", "--format", "json"])
                    .arg(&to)
                    .succeeds();
                assert_eq!(
                    json(&again.stdout)["content_digest"],
                    dump["content_digest"]
                );
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn node_for_node_keeps_each_key_where_it_was() {
    let (sources, targets) = (start(2), start(2));
    for (number, source) in sources.iter().enumerate() {
        let item = |at: usize| Item::new(format!("node{number}:{at}"), format!("{at}"));
        source.client().load((0..50).map(item));
    }
    let workdir = Workdir::new("node-for-node");
    let from = addresses(&sources).join(",");
    let to = addresses(&targets).join(",");
    workdir
        .mcsnap(&["dump", "--to", "s", "--name", "a", &from])
        .succeeds();
    workdir
        .mcsnap(&["restore", "s/a", "--ring", "node-for-node", "--to", &to])
        .succeeds();
    for (source, target) in sources.iter().zip(&targets) {
        let (before, after) = (source.client().keys(), target.client().keys());
        assert!(before.keys().eq(after.keys()));
    }
    let three = format!("{to},127.0.0.1:9");
    let output = workdir
        .mcsnap(&["restore", "s/a", "--ring", "node-for-node", "--to", &three])
        .exits(2);
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "mcsnap: ring \"node-for-node\": the snapshot has 2 nodes; given are 3\n"
    );
}
