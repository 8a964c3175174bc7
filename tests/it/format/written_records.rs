//! Whoever brings records gets a sound snapshot of them, or none at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use mcsnap::codecs::format::compression::{Compression, SectionReader};
use mcsnap::codecs::format::manifest::{Manifest, Need, Verdict};
use mcsnap::engines::snapshot::{SnapshotReader, SnapshotWriter, WriterOptions, WrittenSnapshot};
use mcsnap::jobs::verify::{Depth, VerifyOptions, verify_snapshot};
use mcsnap::ports::store::{Fault, FaultyStore, LocalStore, MemoryStore, Store};
use mcsnap::words::budget::MemoryLimit;
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::{Error, ErrorKind, Result};
use mcsnap::words::item::{Exptime, ItemMeta, Record};
use mcsnap::words::limits::VALUE_INLINE_LEN_MAX;
use mcsnap::words::progress::NoProgress;
use mcsnap::words::units::UnixSecs;

use crate::format::snapshot_property::{bytes_of, noise};

const NAME: &str = "import";

/// The records of a snapshot: a value by node and key.
type Values = BTreeMap<(String, Vec<u8>), Vec<u8>>;

fn record<'a>(key: &'a str, value: &'a [u8]) -> Record<'a> {
    Record {
        key: key.as_bytes(),
        value,
        meta: ItemMeta {
            client_flags: Some(5),
            exptime: Some(Exptime::At(UnixSecs(1_900_000_000))),
            ..ItemMeta::default()
        },
    }
}

fn begin(store: &MemoryStore, options: WriterOptions) -> SnapshotWriter {
    SnapshotWriter::begin(Arc::new(store.clone()), NAME, options).unwrap()
}

/// Verifies the snapshot to its last byte; returns its manifest and all that it has.
fn read(store: &MemoryStore) -> (Manifest, Values) {
    let shared = || -> Arc<dyn Store> { Arc::new(store.clone()) };
    let options = VerifyOptions {
        depth: Depth::Deep,
        thread_count: 1,
    };
    let report = verify_snapshot(shared(), NAME, &options, &Cancel::new(), &NoProgress).unwrap();
    assert_eq!(report.findings, []);
    let snapshot = SnapshotReader::open(shared(), NAME, Need::Read).unwrap();
    let mut values = Values::new();
    let mut sections = SectionReader::default();
    for named in &snapshot.manifest().segments {
        let segment = snapshot.open_segment(named).unwrap();
        for number in 0..segment.block_count() {
            let frame = segment.read_block(number).unwrap();
            let block = frame.decode(&mut sections).unwrap();
            for index in 0..block.len() {
                let found = block.record(index).unwrap().unwrap();
                assert_eq!(found.meta, record("", b"").meta);
                let value = segment.whole_value(number, index, found.value).unwrap();
                let place = (snapshot.node(named).to_owned(), found.key.to_vec());
                let before = values.insert(place, value.into_owned());
                assert_eq!(before, None, "a key stands twice");
            }
        }
    }
    for node in &snapshot.manifest().nodes {
        assert_eq!(node.look_ups.len(), 1 << node.shard_bits, "each shard");
    }
    (snapshot.manifest().clone(), values)
}

/// Writes records to nodes, each in place of the one before; checks what is read back.
fn check(options: WriterOptions, records: &[(&str, String, Vec<u8>)]) -> WrittenSnapshot {
    let store = MemoryStore::new();
    let mut writer = begin(&store, options);
    let mut wanted = Values::new();
    for (node, key, value) in records {
        writer.push_to(node, &record(key, value)).unwrap();
        wanted.insert(((*node).to_owned(), key.clone().into()), value.clone());
    }
    let written = writer.finish().unwrap();
    let (manifest, found) = read(&store);
    assert!(found == wanted, "{:?}", found.keys());
    let count = u64::try_from(found.len()).unwrap();
    let all = u64::try_from(records.len()).unwrap();
    let totals = manifest.totals;
    let expected = WrittenSnapshot {
        place: format!("memory:{NAME}"),
        records: count,
        replaced: all - count,
        segments: totals.segments,
        size: totals.size,
        verdict: Verdict::Complete,
    };
    assert_eq!((&written, totals.records), (&expected, count));
    written
}

fn many(count: u64, value_len: usize) -> Vec<(&'static str, String, Vec<u8>)> {
    let record = |number| ("import", format!("key:{number}"), noise(number, value_len));
    (0..count).map(record).collect()
}

#[test]
fn each_option_is_kept() {
    let records = many(1000, 100);
    let default = WriterOptions::default;
    let whole = check(default(), &records);
    assert_eq!(whole.segments, 1);
    let plain = WriterOptions {
        compression: Compression::None,
        ..default()
    };
    assert!(check(plain, &records).size > whole.size);
    let by_size = WriterOptions {
        segment_size_max: 64 << 10,
        ..default()
    };
    assert!(check(by_size, &records).segments > 1);
    let by_count = WriterOptions {
        segment_record_count_max: 300,
        ..default()
    };
    assert_eq!(check(by_count, &records).segments, 4);
    let in_shards = WriterOptions {
        shard_bits: 3,
        scratch_directory: Some(std::env::temp_dir()),
        ..default()
    };
    assert_eq!(check(in_shards, &records).segments, 8);
    let in_little_memory = WriterOptions {
        memory_limit: MemoryLimit::OfHost(1),
        ..default()
    };
    assert_eq!(check(in_little_memory, &many(2500, 1)).segments, 3);

    let store = MemoryStore::new();
    let of_old = WriterOptions {
        taken_at: Some(UnixSecs(1_700_000_000)),
        ..default()
    };
    begin(&store, of_old).finish().unwrap();
    let (manifest, _) = read(&store);
    let times = [&manifest.started_at, &manifest.finished_at];
    assert_eq!(times, ["2023-11-14T22:13:20Z"; 2]);
}

#[test]
fn wrong_options_are_refused_before_anything_is_written() {
    let default = WriterOptions::default;
    let nodes = |names: &[&str]| WriterOptions {
        nodes: names.iter().map(ToString::to_string).collect(),
        ..default()
    };
    let store = MemoryStore::new();
    for wrong in [
        nodes(&[]),
        nodes(&[""]),
        nodes(&["a", "b", "a"]),
        nodes(&[&"x".repeat(4097)]),
        WriterOptions {
            shard_bits: 9,
            ..default()
        },
        WriterOptions {
            segment_size_max: 0,
            ..default()
        },
        WriterOptions {
            segment_record_count_max: 0,
            ..default()
        },
        WriterOptions {
            memory_limit: MemoryLimit::Asked(1 << 20),
            ..default()
        },
    ] {
        let begun = SnapshotWriter::begin(Arc::new(store.clone()), NAME, wrong);
        let error = begun.unwrap_err();
        let is_of_input = matches!(
            error.kind(),
            ErrorKind::InvalidInput { .. } | ErrorKind::LimitExceeded { .. }
        );
        assert!(is_of_input, "{error}");
    }
    for name in ["", "a/b", "latest", ".a"] {
        SnapshotWriter::begin(Arc::new(store.clone()), name, default()).unwrap_err();
    }
    assert_eq!(store.list("").unwrap(), []);
}

#[test]
fn each_node_has_its_own_record_of_a_key() {
    let options = WriterOptions {
        nodes: vec!["a:1".to_owned(), "b:1".to_owned(), "idle:1".to_owned()],
        shard_bits: 1,
        ..WriterOptions::default()
    };
    let mut records = Vec::new();
    for number in 0..100_u8 {
        for node in ["b:1", "a:1"] {
            let value = [node.as_bytes(), &[number]].concat();
            records.push((node, format!("key:{number}"), value));
        }
    }
    let written = check(options.clone(), &records);
    assert_eq!((written.records, written.segments), (200, 4));

    let store = MemoryStore::new();
    let mut writer = begin(&store, options);
    let error = writer.push_to("c:1", &record("k", b"")).unwrap_err();
    assert!(error.to_string().contains("c:1"), "{error}");
    writer.push(&record("k", b"to the first")).unwrap();
    writer.finish().unwrap();
    let (manifest, found) = read(&store);
    assert_eq!(
        found.into_keys().next().unwrap(),
        ("a:1".to_owned(), b"k".to_vec())
    );
    let stored = manifest.nodes.iter().map(|node| node.counters.stored);
    assert_eq!(stored.collect::<Vec<_>>(), [1, 0, 0]);
}

/// In one segment, in another one, and time and again.
#[test]
fn the_last_record_of_a_key_stays() {
    let value = |round: u8, len| vec![round; len];
    let mut records = Vec::new();
    for round in 0..5_u8 {
        for number in 0..40_u8 {
            let key = format!("key:{}", number % 30);
            records.push(("import", key, value(round, 20 + usize::from(number))));
        }
    }
    for segment_record_count_max in [1, 7, 30, 1000] {
        let options = WriterOptions {
            segment_record_count_max,
            ..WriterOptions::default()
        };
        check(options, &records);
    }
    // One segment for those that came once more, however often they came.
    let written = check(WriterOptions::default(), &records);
    assert_eq!((written.replaced, written.segments), (170, 1));
}

/// More of them than are sorted in memory at a time.
#[test]
fn every_key_can_come_twice() {
    const KEYS: u64 = 110_000;
    let options = WriterOptions {
        segment_record_count_max: 40_000,
        ..WriterOptions::default()
    };
    let round = |round: u8| {
        let record = move |number| ("import", format!("{number}"), vec![round]);
        (0..KEYS).map(record)
    };
    let records: Vec<_> = round(1).chain(round(2)).collect();
    let written = check(options, &records);
    assert_eq!((written.records, written.replaced), (KEYS, KEYS));
}

/// More than is held back, and some that are too long for that.
#[test]
fn the_last_of_many_long_records_of_a_key_stays() {
    let mib = 1 << 20;
    let mut records = Vec::new();
    for round in 0..3_u64 {
        for number in 0..6_u64 {
            // Around what is held back at most, and what stands in its block.
            let lens = [mib, 4 * mib - 1000, 4 * mib, 9 * mib, 10, mib];
            let len = lens[usize::try_from((number + round) % 6).unwrap()];
            let value = noise(round * 7 + number, len);
            records.push(("import", format!("key:{number}"), value));
        }
    }
    let options = WriterOptions {
        compression: Compression::None,
        ..WriterOptions::default()
    };
    check(options, &records);
}

#[test]
fn a_snapshot_without_records_is_one() {
    for shard_bits in [0, 8] {
        let options = WriterOptions {
            shard_bits,
            ..WriterOptions::default()
        };
        assert_eq!(check(options, &[]).segments, 0);
    }
}

#[test]
fn a_record_that_cannot_be_stored_leaves_the_others() {
    let store = MemoryStore::new();
    let mut writer = begin(&store, WriterOptions::default());
    writer.push(&record("first", b"1")).unwrap();
    let long = "k".repeat(251);
    for wrong in ["", &long] {
        writer.push(&record(wrong, b"")).unwrap_err();
    }
    writer.push(&record("last", b"2")).unwrap();
    assert_eq!(writer.finish().unwrap().records, 2);
    read(&store);
}

#[test]
fn a_long_value_goes_into_parts() {
    let long = usize::try_from(VALUE_INLINE_LEN_MAX).unwrap() + 1;
    let store = MemoryStore::new();
    let mut writer = begin(&store, WriterOptions::default());
    let value = noise(1, long);
    writer.push(&record("long", &value)).unwrap();
    writer.finish().unwrap();
    let (_, found) = read(&store);
    assert!(found.into_values().eq([value]));
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(LocalStore::create(directory.path()).unwrap());
    for count in [0, 1, 2500] {
        let options = WriterOptions {
            segment_record_count_max: 1000,
            ..WriterOptions::default()
        };
        let mut writer = SnapshotWriter::begin(Arc::clone(&store), NAME, options).unwrap();
        for (_, key, value) in many(count, 10) {
            writer.push(&record(&key, &value)).unwrap();
        }
        drop(writer);
        let names = |objects: Result<Vec<_>>| objects.unwrap().len();
        assert_eq!(names(store.list("")), 0);
        assert_eq!(names(store.list_unfinished("")), 0);
    }
    // The name is free, too.
    let again = SnapshotWriter::begin(store, NAME, WriterOptions::default()).unwrap();
    assert_eq!(again.finish().unwrap().records, 0);
}

/// As where a store has no locks, or somebody copies a snapshot there.
#[test]
fn who_finishes_second_leaves_the_first_alone() {
    let (elsewhere, store) = (MemoryStore::new(), MemoryStore::new());
    let mut first = begin(&elsewhere, WriterOptions::default());
    first.push(&record("k", b"first")).unwrap();
    first.finish().unwrap();
    let mut second = begin(&store, WriterOptions::default());
    second.push(&record("k", b"second")).unwrap();
    let objects = elsewhere.list("").unwrap();
    for object in &objects {
        let bytes = bytes_of(&elsewhere, &object.name);
        store.put_new(&object.name, &bytes).unwrap();
    }
    let is_taken = |error: Error| matches!(error.kind(), ErrorKind::AlreadyExists { .. });
    assert!(is_taken(second.finish().unwrap_err()));
    assert_eq!(store.list("").unwrap(), objects, "nothing of the second");
    let (_, found) = read(&store);
    assert!(found.into_values().eq([b"first".to_vec()]));
    let again = SnapshotWriter::begin(Arc::new(store), NAME, WriterOptions::default());
    assert!(is_taken(again.unwrap_err()));
}

/// Writes a snapshot with everything in it: shards, several segments, keys that come
/// again in the same and in another segment.
fn write_mixed(store: Arc<dyn Store>) -> Result<WrittenSnapshot> {
    let options = WriterOptions {
        segment_record_count_max: 20,
        shard_bits: 1,
        ..WriterOptions::default()
    };
    let mut writer = SnapshotWriter::begin(store, NAME, options)?;
    for number in 0..120_u32 {
        let key = format!("key:{}", (number * 7) % 90);
        writer.push(&record(&key, &number.to_le_bytes()))?;
        if number == 30 {
            writer.push(&record(&key, b"again"))?;
        }
    }
    writer.finish()
}

/// Whatever operation of the store fails: either all is there, or nothing is.
#[test]
fn a_failing_store_gives_a_whole_snapshot_or_none() {
    let counting = FaultyStore::counting(MemoryStore::new());
    write_mixed(Arc::new(counting.clone())).unwrap();
    let mut outcomes = [0; 2];
    let faults = [
        Fault::Once,
        Fault::Freeze,
        Fault::LostReply,
        Fault::LostReplies,
    ];
    for fault in faults {
        for fail_at in 0..counting.operation_count() {
            let store = MemoryStore::new();
            let faulty = FaultyStore::new(store.clone(), fail_at, fault);
            let written = write_mixed(Arc::new(faulty));
            let is_there = store.open(&format!("{NAME}/manifest.json")).is_ok();
            if is_there {
                let (manifest, _) = read(&store);
                assert_eq!(manifest.totals.records, 90, "{fault:?} {fail_at}");
            } else if fault != Fault::Freeze {
                assert_eq!(store.list("").unwrap(), [], "{fault:?} {fail_at}");
            }
            assert!(is_there || written.is_err(), "{fault:?} {fail_at}");
            outcomes[usize::from(is_there)] += 1;
        }
    }
    // Only the replies to the last write can be lost in vain.
    assert!(outcomes[0] > 200 && outcomes[1] == 2, "{outcomes:?}");
}

/// Even if whoever pushes does not look at the error.
#[test]
fn after_a_lost_record_there_is_no_snapshot() {
    let store = MemoryStore::new();
    let counting = FaultyStore::counting(MemoryStore::new());
    let begun = SnapshotWriter::begin(Arc::new(counting.clone()), NAME, WriterOptions::default());
    drop(begun.unwrap());
    let faulty = FaultyStore::new(store.clone(), counting.operation_count(), Fault::Once);
    let mut writer =
        SnapshotWriter::begin(Arc::new(faulty), NAME, WriterOptions::default()).unwrap();
    let error = writer.push(&record("lost", b"")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
    for error in [
        writer.push(&record("k", b"")).unwrap_err(),
        writer.finish().unwrap_err(),
    ] {
        let text = error.to_chain();
        assert!(text.contains("an earlier record could not"), "{text}");
    }
    assert_eq!(store.list("").unwrap(), []);
}
