//! A dump of a server in use misses no key that lives through it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mcsnap::codecs::format::compression::SectionReader;
use mcsnap::codecs::format::manifest::Need;
use mcsnap::engines::snapshot::SnapshotReader;
use mcsnap::ports::store::{MapChoice, open_snapshot_place};

use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::running_job::{RaiseOnDrop, wait_until};
use crate::harness::workdir::Workdir;

const KEY_COUNT: u64 = 100_000;

fn key(number: u64) -> String {
    format!("user:{number}:profile")
}

/// Every value tells whose it is and which write of it.
fn value(number: u64, version: u64) -> String {
    format!(
        "{number}/{version}/{}",
        "x".repeat(usize::try_from(number % 100).unwrap())
    )
}

// `metadump all` fails this test: measured with the same load on 1.6.18 and
// 1.6.45, it left out 5 to 15 percent of the keys, since it skips items that
// are locked or in use, and items that move between LRUs while it walks. Put
// "all" for "hash" in `METADUMP_HASH` to see it.
#[test]
fn no_key_is_missing_after_a_dump_under_gets_and_sets() {
    let server = Memcached::start_with(&["-m", "512", "-t", "2"]);
    let items = (0..KEY_COUNT).map(|number| Item::new(key(number), value(number, 0)));
    server.client().load(items);
    let workdir = Workdir::new("under-load");
    let is_over = AtomicBool::new(false);
    let (write_rounds, read_rounds) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let writer = || {
            let mut client = server.client();
            let mut version = 1;
            let mut state = 7_u64;
            while !is_over.load(Ordering::Relaxed) {
                let items = (0..500).map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    let number = (state >> 33) % KEY_COUNT;
                    Item::new(key(number), value(number, version))
                });
                client.load(items);
                version += 1;
                write_rounds.fetch_add(1, Ordering::Relaxed);
            }
        };
        let reader = || {
            let mut client = server.client();
            let mut state = 9_u64;
            while !is_over.load(Ordering::Relaxed) {
                let numbers = (0..500).map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    (state >> 33) % KEY_COUNT
                });
                let keys: Vec<String> = numbers.map(key).collect();
                client.fetch_all(&keys);
                read_rounds.fetch_add(1, Ordering::Relaxed);
            }
        };
        // Or a failure in here would wait for them for ever.
        let _end = RaiseOnDrop(&is_over);
        scope.spawn(writer);
        scope.spawn(reader);
        let rounds = || [&write_rounds, &read_rounds].map(|rounds| rounds.load(Ordering::Relaxed));
        wait_until("there is a load", || {
            rounds().iter().all(|&rounds| rounds > 1)
        });
        let before = rounds();
        let address = server.address();
        let dumped = workdir
            .mcsnap(&[
                "dump", "--to", "s", "--name", "a", "--format", "json", &address,
            ])
            // Not held back for the sake of the others, who get all that is left.
            .arg("--full-speed")
            .run();
        let after = rounds();
        is_over.store(true, Ordering::Relaxed);
        assert!(
            before
                .iter()
                .zip(after)
                .all(|(&before, after)| before < after),
            "there was no load"
        );
        assert_eq!(
            dumped.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&dumped.stderr)
        );
        let report: serde_json::Value = serde_json::from_slice(&dumped.stdout).unwrap();
        let number = |name: &str| report[name].as_u64().unwrap();
        let outcomes = [
            "stored",
            "vanished",
            "expired",
            "duplicate",
            "filtered",
            "refused",
            "failed",
            "missing",
        ];
        assert_eq!(
            number("listed"),
            outcomes.into_iter().map(number).sum::<u64>()
        );
        assert_eq!(number("stored"), KEY_COUNT);
    });

    let place = workdir.join("s/a");
    let (store, name) = open_snapshot_place(place.to_str().unwrap(), MapChoice::Auto).unwrap();
    let snapshot = SnapshotReader::open(store, &name, Need::Read).unwrap();
    let mut sections = SectionReader::default();
    let mut seen = BTreeSet::new();
    for named in &snapshot.manifest().segments {
        let segment = snapshot.open_segment(named).unwrap();
        for block in 0..segment.block_count() {
            let block = segment
                .read_block(block)
                .unwrap()
                .decode(&mut sections)
                .unwrap();
            for index in 0..block.len() {
                let record = block.record(index).unwrap().unwrap().inline().unwrap();
                let text = std::str::from_utf8(record.value).unwrap();
                let mut parts = text.split('/');
                let number: u64 = parts.next().unwrap().parse().unwrap();
                let version: u64 = parts.next().unwrap().parse().unwrap();
                // The value was that key's at some moment, whole.
                assert_eq!(record.key, key(number).as_bytes());
                assert_eq!(text, value(number, version));
                assert!(seen.insert(number), "{number} is there twice");
            }
        }
    }
    assert_eq!(seen.len(), usize::try_from(KEY_COUNT).unwrap());
}
