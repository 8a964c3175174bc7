//! Look-up objects that are missing, damaged or of no use are made anew.

use std::fs;
use std::sync::Arc;

use mcsnap::codecs::format::compression::Compression;
use mcsnap::codecs::format::manifest::Need;
use mcsnap::engines::snapshot::SnapshotReader;
use mcsnap::jobs::repack::{RepackOptions, repack_look_ups};
use mcsnap::jobs::verify::{Depth, VerifyOptions, verify_snapshot};
use mcsnap::ports::store::{Fault, FaultyStore, MemoryStore, Store};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::{ErrorKind, Result};
use mcsnap::words::finding::Finding;
use mcsnap::words::progress::NoProgress;

use crate::format::snapshot_property::{Cut, Items, NAME, Owned, noise, write};
use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::sound_segments;
use crate::harness::workdir::Workdir;

/// A snapshot of four shards.
fn written(store: &MemoryStore) {
    let items: Items = (0..400_u64)
        .map(|number| {
            let owned = Owned {
                value: noise(number, 30),
                meta: Default::default(),
            };
            (format!("key:{number}").into_bytes(), owned)
        })
        .collect();
    let cut = Cut {
        segment_size_max: u64::MAX,
        segment_record_count_max: 30,
        compression: Compression::None,
        shard_bits: 2,
    };
    write(Arc::new(store.clone()), &items, &cut);
}

fn repack(store: &(impl Store + Clone + 'static)) -> Result<u64> {
    let options = RepackOptions {
        scratch_directory: std::env::temp_dir(),
    };
    let store = Arc::new(store.clone());
    repack_look_ups(store, NAME, &options, &Cancel::new()).map(|report| report.look_ups)
}

fn verify(store: &MemoryStore) -> Vec<Finding> {
    let options = VerifyOptions {
        depth: Depth::Deep,
        thread_count: 1,
    };
    let store: Arc<dyn Store> = Arc::new(store.clone());
    let report = verify_snapshot(store, NAME, &options, &Cancel::new(), &NoProgress);
    report.unwrap().findings
}

fn look_ups(store: &MemoryStore) -> Vec<String> {
    let objects = store.list(&format!("{NAME}/look-ups")).unwrap();
    objects.into_iter().map(|object| object.name).collect()
}

#[test]
fn what_is_missing_is_made_and_what_was_there_is_taken_away() {
    let store = MemoryStore::new();
    written(&store);
    let before = look_ups(&store);
    assert_eq!(before.len(), 4);
    store.remove(&before[0]).unwrap();
    assert_eq!(verify(&store).len(), 1);
    assert_eq!(repack(&store).unwrap(), 4);
    assert_eq!(verify(&store), []);
    let after = look_ups(&store);
    assert!(after.len() == 4 && after.iter().all(|name| !before.contains(name)));

    let lock = store.lock_prefix(NAME).unwrap();
    let error = repack(&store).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Locked { .. }), "{error}");
    drop(lock);
    assert_eq!(look_ups(&store), after);
}

#[test]
fn whatever_operation_fails_the_manifest_names_what_is_there() {
    let base = MemoryStore::new();
    written(&base);
    let copy = || {
        let store = MemoryStore::new();
        for object in base.list(NAME).unwrap() {
            let reader = base.open(&object.name).unwrap();
            let mut bytes = vec![0; usize::try_from(object.size).unwrap()];
            reader.read_at(0, &mut bytes).unwrap();
            store.put_new(&object.name, &bytes).unwrap();
        }
        store
    };
    let counting = FaultyStore::counting(copy());
    repack(&counting).unwrap();
    let mut failed = 0;
    let faults = [
        Fault::Once,
        Fault::Freeze,
        Fault::LostReply,
        Fault::LostReplies,
    ];
    for fault in faults {
        for fail_at in 0..counting.operation_count() {
            let store = copy();
            let repacked = repack(&FaultyStore::new(store.clone(), fail_at, fault));
            failed += usize::from(repacked.is_err());
            let what = format!("{fault:?} {fail_at}");
            // Nothing but what a kill leaves may be too much, and nothing is missing.
            let findings = verify(&store);
            let is_left = |finding: &Finding| finding.defect.code() == "MCS019";
            assert!(findings.iter().all(is_left), "{what}: {findings:?}");
            if fault == Fault::Once && repacked.is_err() {
                assert_eq!(findings, [], "{what}");
            }
            let snapshot = SnapshotReader::open(Arc::new(store), NAME, Need::Read).unwrap();
            assert_eq!(snapshot.manifest().nodes[0].look_ups.len(), 4, "{what}");
        }
    }
    assert!(failed > 100, "{failed}");
}

#[test]
fn the_program_makes_look_up_objects_anew() {
    let server = Memcached::start();
    server
        .client()
        .load((0..50).map(|number| Item::new(format!("key:{number}"), "v")));
    let workdir = Workdir::new("repack");
    workdir
        .mcsnap(&["dump", "--to", "s", "--name", "n", &server.address()])
        .succeeds();
    fs::remove_dir_all(workdir.join("s/n/look-ups")).unwrap();
    // Every segment is asked instead, and that is said.
    let output = workdir.mcsnap(&["get", "s/n", "key:7", "--raw"]).succeeds();
    assert_eq!(output.stdout, b"v");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("but it is missing"), "{told}");
    let output = workdir.mcsnap(&["repack", "s/n"]).exits(2);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("pass --look-ups"), "{told}");
    let output = workdir.mcsnap(&["repack", "s/n", "--look-ups"]).succeeds();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("look-up object"), "{told}");
    workdir.mcsnap(&["verify", "--deep", "s/n"]).succeeds();
    let output = workdir.mcsnap(&["get", "s/n", "key:7", "--raw"]).succeeds();
    assert_eq!(
        (&output.stdout[..], &output.stderr[..]),
        (&b"v"[..], &b""[..])
    );
    fs::write(workdir.join("s.mcs"), sound_segments::plain()).unwrap();
    let output = workdir.mcsnap(&["repack", "--look-ups", "s.mcs"]).exits(2);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("a segment has no look-up object"), "{told}");
}
