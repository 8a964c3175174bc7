//! How many times a look-up reads.

use std::path::Path;
use std::sync::Arc;

use mcsnap::codecs::format::manifest::Need;
use mcsnap::engines::snapshot::SnapshotReader;
use mcsnap::jobs::get::{LookupOptions, look_up};
use mcsnap::ports::store::{FaultyStore, LocalStore, MapChoice, MemoryStore, Store};
use mcsnap::words::cancel::Cancel;

use crate::made::{Shape, address, key, write_into};

/// Keys that are looked up of each kind.
const KEY_COUNT: u64 = 1000;
/// What look-up objects promise: manifest, page, entry, key section, value section, and
/// now and then a block in vain.
const READS_MOST: f64 = 5.1;
const ABSENT_MOST: f64 = 2.1;

/// Counts the reads of look-ups whose node is known, and tells them.
pub(crate) fn count(directory: &Path) {
    println!("\nreads of a look-up whose node is known, of {KEY_COUNT} keys each");
    println!(
        "{:>9} {:<9} {:>8} {:>8} {:>10} {:>8} {:>8}",
        "segments", "store", "mean", "most", "KB a key", "absent", "most"
    );
    for segments in [1_u64, 100, 20_000] {
        let shape = Shape {
            name: "reads",
            nodes: 2,
            shard_bits: 0,
            records: 20_000,
            records_of_segment: 20_000 / segments,
        };
        let memory = MemoryStore::new();
        assert_eq!(
            write_into(Arc::new(memory.clone()), &shape) as u64,
            2 * segments
        );
        tell(segments, "memory", FaultyStore::counting(memory));
        let folder = tempfile::tempdir_in(directory).unwrap();
        let local = LocalStore::create(folder.path()).unwrap();
        let local = local.with_map(MapChoice::Never);
        write_into(Arc::new(local.clone()), &shape);
        tell(segments, "directory", FaultyStore::counting(local));
    }
}

fn tell(segments: u64, kind: &str, store: FaultyStore) {
    let step = 20_000 / KEY_COUNT;
    let found = look_ups(&store, |number| key(1, number * step), 1);
    let absent = look_ups(&store, |number| format!("absent:{number}"), 0);
    println!(
        "{segments:>9} {kind:<9} {:>8.3} {:>8} {:>10.1} {:>8.3} {:>8}",
        found.mean, found.most, found.kilobytes, absent.mean, absent.most
    );
    assert!(found.mean <= READS_MOST && absent.mean <= ABSENT_MOST);
}

struct Cost {
    mean: f64,
    most: u64,
    kilobytes: f64,
}

/// Looks keys up, each as a new process would.
fn look_ups(store: &FaultyStore, key_of: impl Fn(u64) -> String, copies: usize) -> Cost {
    let options = LookupOptions {
        nodes: vec![address(1)],
        is_every_node_asked: false,
        is_value_wanted: true,
        thread_count: 2,
    };
    let (start, bytes) = (store.read_count(), store.bytes_read());
    let mut most = 0;
    for number in 0..KEY_COUNT {
        let before = store.read_count();
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let snapshot = SnapshotReader::open_root(shared, "reads", Need::Read).unwrap();
        let key = key_of(number);
        let report = look_up(&snapshot, key.as_bytes(), &options, &Cancel::new()).unwrap();
        assert_eq!((report.copies.len(), report.findings.len()), (copies, 0));
        most = most.max(store.read_count() - before);
    }
    let all = store.read_count() - start;
    Cost {
        mean: all as f64 / KEY_COUNT as f64,
        most,
        kilobytes: (store.bytes_read() - bytes) as f64 / KEY_COUNT as f64 / 1000.0,
    }
}
