//! The manifest of a snapshot of many segments: written in parts, of which readers read
//! those that they need.

use std::fs;
use std::sync::Arc;

use mcsnap::codecs::format::compression::Compression;
use mcsnap::codecs::format::manifest::{ManifestNode, ManifestSegment, Need};
use mcsnap::codecs::format::manifest_part::ManifestPart;
use mcsnap::engines::snapshot::{ShardOptions, ShardWriter, SnapshotDraft, SnapshotReader};
use mcsnap::jobs::verify::{Depth, VerifyOptions, verify_snapshot};
use mcsnap::ports::store::{Fault, FaultyStore, LocalStore, MemoryStore, Store};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::{ErrorKind, Result};
use mcsnap::words::item::{ItemMeta, Record};
use mcsnap::words::progress::NoProgress;
use mcsnap::words::units::UnixSecs;

use crate::format::snapshot_property::{Cut, NAME, manifest, shard_options};
use crate::harness::workdir::Workdir;

/// Segments of each of two nodes: together more than a part has.
const SEGMENTS: usize = 600;

/// Writes a segment a record, without a manifest.
fn segments_of(snapshot: &SnapshotDraft, node: u32) -> Vec<ManifestSegment> {
    let cut = Cut {
        segment_size_max: u64::MAX,
        segment_record_count_max: 1,
        compression: Compression::None,
        shard_bits: 0,
    };
    let options = ShardOptions {
        node: format!("n{node}:1"),
        node_index: node,
        ..shard_options(&cut, 0)
    };
    let mut writer = ShardWriter::new(snapshot, options);
    for number in 0..SEGMENTS {
        let key = format!("key:{number}");
        let record = Record {
            key: key.as_bytes(),
            value: b"",
            meta: ItemMeta::default(),
        };
        writer.push(&record).unwrap();
    }
    writer.finish().unwrap()
}

fn publish(snapshot: &SnapshotDraft, segments: &[ManifestSegment]) -> Result<()> {
    let of_node = |node: u32| {
        let of_node = segments.iter().filter(|segment| segment.node_index == node);
        let made = manifest(snapshot, of_node.cloned().collect(), 0);
        ManifestNode {
            address: format!("n{node}:1"),
            ..made.nodes[0].clone()
        }
    };
    let nodes = vec![of_node(0), of_node(1)];
    let manifest = snapshot.assemble([UnixSecs(0); 2], nodes, segments.to_vec());
    snapshot.publish(&manifest, 2)
}

/// Writes the segments of a snapshot.
fn written(store: &dyn Fn() -> Arc<dyn Store>) -> (SnapshotDraft, Vec<ManifestSegment>) {
    let snapshot = SnapshotDraft::begin(store(), NAME).unwrap();
    let segments = [segments_of(&snapshot, 0), segments_of(&snapshot, 1)].concat();
    (snapshot, segments)
}

fn names(store: &MemoryStore) -> Vec<String> {
    let objects = store.list(NAME).unwrap().into_iter();
    let names = objects.map(|object| object.name);
    names.filter(|name| !name.contains("/segments/")).collect()
}

#[test]
fn the_parts_of_the_wanted_nodes_are_read_and_no_others() {
    let store = MemoryStore::new();
    let (snapshot, segments) = written(&|| Arc::new(store.clone()));
    publish(&snapshot, &segments).unwrap();
    let count = |of: &str| {
        let names = names(&store);
        names.iter().filter(|name| name.contains(of)).count()
    };
    assert_eq!(
        [count("/parts/"), count("/look-ups/"), names(&store).len()],
        [2, 2, 5]
    );
    let counting = FaultyStore::counting(store.clone());
    let open = || SnapshotReader::open_root(Arc::new(counting.clone()), NAME, Need::Read).unwrap();
    let mut snapshot = open();
    let parts = snapshot.manifest().parts.clone();
    let nodes = |part: usize| (parts[part].first_node, parts[part].last_node);
    assert_eq!([nodes(0), nodes(1)], [(0, 1), (1, 1)]);
    assert!(snapshot.manifest().segments.is_empty());
    assert_eq!(snapshot.manifest().totals.segments, 1200);
    let read = counting.bytes_read();
    assert!(read < 4096, "{read} bytes");
    snapshot.read_parts(&["n0:1".to_owned()]).unwrap();
    assert_eq!(counting.bytes_read() - read, parts[0].size);
    let first = &segments[..ManifestPart::SEGMENTS];
    assert_eq!(snapshot.manifest().segments, first);
    assert_eq!(
        snapshot.segments_of(&["n0:1".to_owned()]).unwrap().len(),
        SEGMENTS
    );
    snapshot.read_parts(&[]).unwrap();
    assert_eq!(snapshot.manifest().segments, segments);
    let error = snapshot.read_parts(&["n2:1".to_owned()]).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::InvalidInput { .. }),
        "{error}"
    );

    let options = VerifyOptions {
        depth: Depth::Quick,
        thread_count: 2,
    };
    let verify = || {
        let store: Arc<dyn Store> = Arc::new(store.clone());
        verify_snapshot(store, NAME, &options, &Cancel::new(), &NoProgress).unwrap()
    };
    let report = verify();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!(report.segments, 1200);
    let path = format!("{NAME}/{}", parts[1].object);
    store.remove(&path).unwrap();
    let [finding] = &verify().findings[..] else {
        panic!("one finding is due");
    };
    assert!(finding.to_string().contains(&path), "{finding}");
    assert_eq!(finding.defect.code(), "MCS017");
    // What the first node has can still be listed.
    open().read_parts(&["n0:1".to_owned()]).unwrap();
    open().read_parts(&["n1:1".to_owned()]).unwrap_err();
}

/// What asks one node needs no part of another's.
#[test]
fn the_program_looks_at_a_node_without_the_parts_of_others() {
    let workdir = Workdir::new("parts");
    let local = LocalStore::open(workdir.path()).unwrap();
    let (snapshot, segments) = written(&|| Arc::new(local.clone()));
    publish(&snapshot, &segments).unwrap();
    let read = SnapshotReader::open_root(Arc::new(local), NAME, Need::Read).unwrap();
    let last = &read.manifest().parts[1].object;
    fs::remove_file(workdir.join(format!("{NAME}/{last}"))).unwrap();
    for arguments in [
        &["ls", NAME, "--keys"][..],
        &["inspect", NAME],
        &["inspect", NAME, "--exact"],
    ] {
        let of = |node| [arguments, &["--nodes", node]].concat();
        workdir.mcsnap(&of("n0:1")).succeeds();
        workdir.mcsnap(&of("n1:1")).exits(1);
    }
}

/// How many operations it takes to begin a snapshot and to publish it.
fn operation_count(base: &MemoryStore, segments: &[ManifestSegment]) -> u64 {
    let store = MemoryStore::new();
    let counting = FaultyStore::counting(store.clone());
    let snapshot = SnapshotDraft::begin(Arc::new(counting.clone()), NAME).unwrap();
    copy(base, &store);
    publish(&snapshot, segments).unwrap();
    counting.operation_count()
}

/// Whatever operation fails: if there is a manifest, its parts are there; if there is none,
/// nothing but a kill has left parts.
#[test]
fn a_snapshot_that_cannot_be_published_leaves_no_parts() {
    let base = MemoryStore::new();
    let (_, segments) = written(&|| Arc::new(base.clone()));
    let mut outcomes = [0; 2];
    let faults = [
        Fault::Once,
        Fault::Freeze,
        Fault::LostReply,
        Fault::LostReplies,
    ];
    for fault in faults {
        // All at the end, where things are written; of the many that read segments some.
        let total = operation_count(&base, &segments);
        let some = (0..total).step_by(211);
        for fail_at in some.chain(total.saturating_sub(40)..total) {
            let store = MemoryStore::new();
            let faulty = FaultyStore::new(store.clone(), fail_at, fault);
            let Ok(snapshot) = SnapshotDraft::begin(Arc::new(faulty.clone()), NAME) else {
                continue;
            };
            copy(&base, &store);
            let published = publish(&snapshot, &segments);
            if published.is_err() {
                snapshot.discard();
            }
            let is_there = store.open(&format!("{NAME}/manifest.json")).is_ok();
            let opened = SnapshotReader::open(Arc::new(store.clone()), NAME, Need::Read);
            assert_eq!(opened.is_ok(), is_there, "{fault:?} {fail_at}");
            if published.is_ok() {
                assert!(is_there, "{fault:?} {fail_at}");
            }
            if !is_there && fault != Fault::Freeze {
                assert_eq!(names(&store), [""; 0], "{fault:?} {fail_at}");
            }
            outcomes[usize::from(is_there)] += 1;
        }
    }
    assert!(outcomes.iter().all(|count| *count > 2), "{outcomes:?}");
}

fn copy(base: &MemoryStore, store: &MemoryStore) {
    for object in base.list(&format!("{NAME}/segments")).unwrap() {
        let reader = base.open(&object.name).unwrap();
        let mut bytes = vec![0; usize::try_from(object.size).unwrap()];
        reader.read_at(0, &mut bytes).unwrap();
        store.put_new(&object.name, &bytes).unwrap();
    }
}
