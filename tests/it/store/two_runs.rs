//! Two runs at one snapshot, where no lock keeps them apart: what one of them
//! publishes is whole, whatever the other does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcsnap::codecs::format::compression::Compression;
use mcsnap::codecs::format::ids::SnapshotId;
use mcsnap::codecs::format::journal::{Journal, JournalNode};
use mcsnap::codecs::format::manifest::{Digest128, Manifest, ManifestSegment, Totals, Verdict};
use mcsnap::engines::snapshot::{Leftover, ShardOptions, ShardWriter, SnapshotDraft, Unfinished};
use mcsnap::jobs::dump::{DumpOptions, DumpPlan, ResumeOptions};
use mcsnap::jobs::verify::{Depth, VerifyOptions, verify_snapshot};
use mcsnap::ports::store::{
    Fault, FaultyStore, MemoryStore, ObjectInfo, ObjectReader, ObjectWriter, Store, StoreLock,
};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::defect::Defect;
use mcsnap::words::error::{Error, ErrorKind, Result};
use mcsnap::words::item::{ItemMeta, Record};
use mcsnap::words::progress::{Event, NoProgress, Progress};
use mcsnap::words::units::UnixSecs;

use crate::format::snapshot_property::manifest;
use crate::harness::client::Item;
use crate::harness::memcached::Memcached;

pub(super) const NAME: &str = "night";

/// A store in memory that grants every lock, as a file system without locks.
#[derive(Clone, Debug, Default)]
struct Lockless(MemoryStore);

#[derive(Debug)]
struct NoLock;

impl StoreLock for NoLock {}

impl Store for Lockless {
    fn describe(&self, name: &str) -> String {
        self.0.describe(name)
    }

    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>> {
        self.0.create(name)
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.0.put_new(name, bytes)
    }

    fn replace(&self, name: &str, expected: &[u8], bytes: &[u8]) -> Result<bool> {
        self.0.replace(name, expected, bytes)
    }

    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>> {
        self.0.open(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.0.list(prefix)
    }

    fn list_unfinished(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.0.list_unfinished(prefix)
    }

    fn open_unfinished(&self, name: &str) -> Result<Box<dyn ObjectReader>> {
        self.0.open_unfinished(name)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.0.remove(name)
    }

    fn remove_unfinished(&self, name: &str) -> Result<()> {
        self.0.remove_unfinished(name)
    }

    fn lock_prefix(&self, _: &str) -> Result<Box<dyn StoreLock>> {
        Ok(Box::new(NoLock))
    }
}

impl Lockless {
    fn shared(&self) -> Arc<dyn Store> {
        Arc::new(self.clone())
    }

    fn names(&self) -> Vec<String> {
        let objects = self.list("").unwrap();
        objects.into_iter().map(|object| object.name).collect()
    }

    /// Every byte of the snapshot is as it should be, and this many records.
    fn assert_sound(&self, records: u64) {
        let options = VerifyOptions {
            depth: Depth::Deep,
            thread_count: 1,
        };
        let (store, cancel) = (self.shared(), Cancel::new());
        let report = verify_snapshot(store, NAME, &options, &cancel, &NoProgress).unwrap();
        assert_eq!(report.findings, []);
        assert_eq!(report.records, records);
    }
}

pub(super) fn journal(draft: &SnapshotDraft) -> Journal {
    let mut journal = Journal::new(draft.id(), "2026-11-20T02:00:00Z".to_owned());
    journal.nodes.push(JournalNode {
        is_crawler_off: false,
        address: "a:1".to_owned(),
        pid: 1,
        server_started_at: 1,
        flushes: 0,
        flushed_until: None,
        is_flush_ahead: false,
    });
    journal
}

/// Starts a dump as a run does.
fn begin(store: &Lockless) -> SnapshotDraft {
    let draft = SnapshotDraft::begin(store.shared(), NAME).unwrap();
    draft.write_journal(&journal(&draft)).unwrap();
    draft
}

/// Resumes a dump as another run does.
fn resume(store: &Lockless) -> Unfinished {
    let Leftover::Unfinished(unfinished) = Leftover::find(store.shared(), NAME).unwrap() else {
        panic!("there is nothing to resume");
    };
    unfinished.take_over().unwrap();
    *unfinished
}

/// Seals segments of one record each.
pub(super) fn seal(draft: &SnapshotDraft, first: u32, keys: &[&str]) -> Vec<ManifestSegment> {
    let options = ShardOptions {
        segment_size_max: 1 << 20,
        segment_record_count_max: 1,
        compression: Compression::None,
        node: "a:1".to_owned(),
        node_index: 0,
        shard_index: 0,
        shard_bits: 0,
        clock_offset: 0,
        server_version: "1.6.18".to_owned(),
        created_at: UnixSecs(1_700_000_000),
        first_sequence: first,
    };
    let mut shard = ShardWriter::new(draft, options);
    for key in keys {
        let (key, value, meta) = (key.as_bytes(), &b"value"[..], ItemMeta::default());
        shard.push(&Record { key, value, meta }).unwrap();
    }
    shard.finish().unwrap()
}

pub(super) fn publish(draft: &SnapshotDraft, segments: Vec<ManifestSegment>) -> Result<()> {
    draft.publish(&manifest(draft, segments, 0), 1)
}

fn assert_superseded(error: &Error) {
    let is_so = matches!(error.kind(), ErrorKind::Superseded { .. });
    assert!(is_so, "{error}");
}

#[test]
fn a_run_that_lost_its_dump_removes_nothing_of_it_when_it_fails() {
    for is_published_first in [false, true] {
        let store = Lockless::default();
        let first = begin(&store);
        assert_eq!(seal(&first, 0, &["a", "b"]).len(), 2);
        let second = resume(&store);
        assert_eq!(second.kept.len(), 2);
        let segments = [second.kept, seal(&second.draft, 2, &["c"])].concat();
        if is_published_first {
            publish(&second.draft, segments).unwrap();
            first.discard();
        } else {
            first.discard();
            publish(&second.draft, segments).unwrap();
        }
        store.assert_sound(3);
        assert_eq!(store.names().len(), 5, "{:?}", store.names());
    }
}

#[test]
fn a_run_that_lost_its_dump_publishes_nothing_and_says_who_has_it() {
    let store = Lockless::default();
    let first = begin(&store);
    let segments = seal(&first, 0, &["a", "b"]);
    let second = resume(&store);
    let error = publish(&first, segments.clone()).unwrap_err();
    assert_superseded(&error);
    let pid = std::process::id();
    let text = error.to_string();
    assert!(
        text.contains(&format!("process {pid}, has taken it over")),
        "{text}"
    );
    // It starts no segment either, and leaves the journal as it is.
    assert_superseded(&first.rewrite_journal(&journal(&first)).unwrap_err());
    let mut shard = None;
    let started = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        shard = Some(seal(&first, 2, &["c"]));
    }));
    assert!(started.is_err() && shard.is_none());
    publish(&second.draft, second.kept).unwrap();
    store.assert_sound(2);
    // Nor after that.
    assert_superseded(&publish(&first, segments).unwrap_err());
    store.assert_sound(2);
}

#[test]
fn a_run_that_resumes_and_fails_removes_what_is_its_own_alone() {
    let store = Lockless::default();
    let first = begin(&store);
    let kept = seal(&first, 0, &["a", "b"]);
    let second = resume(&store);
    seal(&second.draft, 2, &["c"]);
    second.draft.discard();
    let left: Vec<String> = kept
        .iter()
        .map(|segment| format!("{NAME}/{}", segment.object))
        .collect();
    assert_eq!(store.names(), left);
}

#[test]
fn of_two_runs_that_resume_one_dump_the_slower_one_is_refused() {
    let store = Lockless::default();
    let first = begin(&store);
    seal(&first, 0, &["a"]);
    let found = || Leftover::find(store.shared(), NAME).unwrap();
    let (Leftover::Unfinished(one), Leftover::Unfinished(other)) = (found(), found()) else {
        panic!("there is nothing to resume");
    };
    other.take_over().unwrap();
    assert_superseded(&one.take_over().unwrap_err());
    publish(&other.draft, other.kept).unwrap();
    store.assert_sound(1);
}

#[test]
fn a_second_run_that_cannot_begin_leaves_the_journal_of_the_first() {
    let store = Lockless::default();
    // Both find the name free.
    let second = SnapshotDraft::begin(store.shared(), NAME).unwrap();
    let first = begin(&store);
    second.write_journal(&journal(&second)).unwrap_err();
    second.discard();
    let segments = seal(&first, 0, &["a"]);
    publish(&first, segments).unwrap();
    store.assert_sound(1);
}

#[test]
fn whenever_a_run_dies_its_journal_is_there() {
    let counting = FaultyStore::counting(MemoryStore::new());
    let rewrite = |store: Arc<dyn Store>| {
        let draft = SnapshotDraft::begin(store, NAME)?;
        draft.write_journal(&journal(&draft))?;
        let mut again = journal(&draft);
        again.nodes[0].pid = 2;
        draft.rewrite_journal(&again)
    };
    rewrite(Arc::new(counting.clone())).unwrap();
    let mut had_one = false;
    for fail_at in 0..counting.operation_count() {
        let inner = MemoryStore::new();
        let faulty = FaultyStore::new(inner.clone(), fail_at, Fault::Freeze);
        rewrite(Arc::new(faulty)).unwrap_err();
        let is_there = inner.open(&format!("{NAME}/dump.json")).is_ok();
        assert!(is_there || !had_one, "lost at operation {fail_at}");
        had_one |= is_there;
    }
    assert!(had_one);
}

/// Does something once, when a dump has read its node.
struct Meanwhile<F>(AtomicBool, F);

impl<F: Fn() + Sync> Progress for Meanwhile<F> {
    fn event(&self, event: Event) {
        if matches!(event, Event::NodeFinished { .. }) && !self.0.swap(true, Ordering::SeqCst) {
            (self.1)();
        }
    }
}

fn plan(server: &Memcached, is_resumable: bool) -> DumpPlan {
    let options = DumpOptions {
        resume: is_resumable.then_some(ResumeOptions {
            age_max: Duration::from_secs(3600),
            is_any_name: false,
            takes_shard_bits: false,
        }),
        nodes: vec![server.address().parse().unwrap()],
        name: NAME.to_owned(),
        segment_size_max: 1 << 20,
        segment_record_count_max: 20,
        compression: Compression::None,
        connection_count: 1,
        parallel_node_count: 1,
        spool_memory_max: 1 << 20,
        ..DumpOptions::default()
    };
    DumpPlan::make(options, &Cancel::new()).unwrap()
}

#[test]
fn a_dump_that_another_one_finishes_meanwhile_leaves_its_snapshot_whole() {
    let server = Memcached::start();
    let items = (0..100).map(|at| Item::new(format!("key:{at}"), "value"));
    server.client().load(items);
    let store = Lockless::default();
    let other = Mutex::new(None);
    let meanwhile = Meanwhile(AtomicBool::new(false), || {
        let resumed = plan(&server, true).run(store.shared(), &Cancel::new(), &NoProgress);
        *other.lock().unwrap() = Some(resumed.unwrap());
    });
    let first = plan(&server, false).run(store.shared(), &Cancel::new(), &meanwhile);
    assert_superseded(&first.unwrap_err());
    let other = other.into_inner().unwrap().unwrap();
    assert_eq!(other.kept.segments, 5);
    store.assert_sound(100);
}

#[test]
fn what_does_not_add_up_is_not_published() {
    type Harm = fn(&mut Manifest);
    let cases: [(&str, Harm); 13] = [
        ("has 0 nodes, but 1 were to be dumped", |manifest| {
            manifest.nodes.clear();
        }),
        ("no reader would take the manifest", |manifest| {
            manifest.totals.size += 1;
        }),
        ("no reader would take the manifest", |manifest| {
            manifest.nodes[0].counters.taken += 1;
        }),
        ("has 2 nodes, but 1 were to be dumped", |manifest| {
            manifest.nodes.push(manifest.nodes[0].clone());
        }),
        ("no reader would take the manifest", |manifest| {
            manifest.segments[0].node_index = 7;
        }),
        ("no reader would take the manifest", |manifest| {
            manifest.features.read.push("later".to_owned());
        }),
        ("no reader would take the manifest", |manifest| {
            manifest.nodes[0].walk = "x".repeat(64 << 20);
        }),
        ("the manifest is of snapshot", |manifest| {
            manifest.snapshot_id = SnapshotId([1; 16]);
        }),
        ("verdict is \"complete\", not \"partial\"", |manifest| {
            manifest.nodes[0].failure = Some("gone".to_owned());
        }),
        ("is lossy, but by its nodes it is complete", |manifest| {
            manifest.verdict = Verdict::Lossy;
        }),
        ("is not in the order of nodes, shards", |manifest| {
            manifest.segments.swap(0, 1);
        }),
        ("is not in the order of nodes, shards", |manifest| {
            // One of the two twice, so that the sums are right.
            manifest.segments[1] = manifest.segments[0].clone();
            manifest.totals = Totals::of(&manifest.segments);
            let digests = Manifest::digests(&manifest.segments);
            manifest.content_digest = Digest128(digests.content);
            manifest.content_digest_exptime = Digest128(digests.content_exptime);
        }),
        ("its node has no shard 1", |manifest| {
            manifest.segments[1].shard_index = 1;
        }),
    ];
    for (what, harm) in cases {
        let store = Lockless::default();
        let draft = begin(&store);
        let segments = seal(&draft, 0, &["a", "b"]);
        let mut wrong = manifest(&draft, segments.clone(), 0);
        harm(&mut wrong);
        let error = draft.publish(&wrong, 1).unwrap_err();
        assert!(error.is_internal(), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("this is a bug in mcsnap; please report it: "),
            "{text}"
        );
        assert!(text.contains(what), "{text}");
        // What is sealed stays.
        publish(&draft, segments).unwrap();
        store.assert_sound(2);
    }
    // The sum is right, and yet not every node's.
    let store = Lockless::default();
    let draft = begin(&store);
    let mut wrong = manifest(&draft, seal(&draft, 0, &["a", "b"]), 0);
    wrong.nodes.push(wrong.nodes[0].clone());
    for node in &mut wrong.nodes {
        (node.counters.taken, node.counters.stored) = (1, 1);
    }
    let error = draft.publish(&wrong, 2).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("have 2 records, and 1 were stored"),
        "{error}"
    );
}

#[test]
fn a_segment_that_is_not_there_any_more_is_not_published() {
    for (is_cut, what) in [(false, "it is missing"), (true, "size")] {
        let store = Lockless::default();
        let draft = begin(&store);
        let segments = seal(&draft, 0, &["a", "b"]);
        let path = format!("{NAME}/{}", segments[1].object);
        store.remove(&path).unwrap();
        if is_cut {
            store.put_new(&path, b"cut").unwrap();
        }
        let error = publish(&draft, segments).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error.kind(), ErrorKind::Corrupt(_)), "{text}");
        assert!(
            text.starts_with(&store.describe(&path)) && text.contains(what),
            "{text}"
        );
        assert!(store.open(&format!("{NAME}/manifest.json")).is_err());
    }
}

#[test]
fn a_dump_whose_segment_was_taken_away_keeps_the_others_to_be_resumed() {
    let server = Memcached::start();
    let items = (0..100).map(|at| Item::new(format!("key:{at}"), "value"));
    server.client().load(items);
    let store = Lockless::default();
    let segment = || {
        let names = store.names();
        names.into_iter().find(|name| name.ends_with(".mcs"))
    };
    let meanwhile = Meanwhile(AtomicBool::new(false), || {
        store.remove(&segment().unwrap()).unwrap();
    });
    let first = plan(&server, false).run(store.shared(), &Cancel::new(), &meanwhile);
    let error = first.unwrap_err();
    let missing = ErrorKind::Corrupt(Defect::SegmentMissing);
    assert_eq!(*error.kind(), missing, "{error}");
    let resumed = plan(&server, true).run(store.shared(), &Cancel::new(), &NoProgress);
    assert_eq!(resumed.unwrap().kept.segments, 4);
    store.assert_sound(100);
}
