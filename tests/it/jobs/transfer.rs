//! Push and pull: whatever happens on the way, the copy is the snapshot, or there is none.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mcsnap::codecs::format::compression::Compression;
use mcsnap::engines::snapshot::write_verification;
use mcsnap::jobs::transfer::{
    Direction, Original, TransferOptions, TransferReport, plan_transfer, transfer,
};
use mcsnap::jobs::verify::{Depth, VerifyOptions, verify_snapshot};
use mcsnap::ports::store::{
    Fault, FaultyStore, LocalStore, MapChoice, MemoryStore, ObjectInfo, ObjectReader, ObjectWriter,
    Store, StoreLock,
};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::{Error, ErrorKind, Result};
use mcsnap::words::progress::{Event, NoProgress, Progress};

use crate::format::golden_valid::testdata;
use crate::format::snapshot_property::{Cut, Items, NAME, Owned, noise, write};

type Objects = BTreeMap<String, Vec<u8>>;

/// A snapshot of four shards and some twenty segments, with a record of a verification.
fn written() -> MemoryStore {
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
    let store = MemoryStore::new();
    write(Arc::new(store.clone()), &items, &cut);
    let record = verified(&store, NAME).record.unwrap();
    write_verification(&store, NAME, &record).unwrap();
    store
}

fn verified(store: &MemoryStore, name: &str) -> mcsnap::jobs::verify::VerifyReport {
    let options = VerifyOptions {
        depth: Depth::Deep,
        thread_count: 1,
    };
    let store: Arc<dyn Store> = Arc::new(store.clone());
    verify_snapshot(store, name, &options, &Cancel::new(), &NoProgress).unwrap()
}

fn objects(store: &dyn Store, name: &str) -> Objects {
    let read = |info: ObjectInfo| {
        let reader = store.open(&info.name).unwrap();
        let mut bytes = vec![0; usize::try_from(info.size).unwrap()];
        reader.read_at(0, &mut bytes).unwrap();
        let below = info.name.strip_prefix(name).unwrap().to_owned();
        (below, bytes)
    };
    store.list(name).unwrap().into_iter().map(read).collect()
}

fn options(connection_count: usize) -> TransferOptions {
    TransferOptions {
        direction: Direction::Push,
        connection_count,
        bytes_per_second: None,
    }
}

fn copy_with(
    from: &(impl Store + Clone + 'static),
    to: &(impl Store + Clone + 'static),
    name: &str,
    connections: usize,
    progress: &dyn Progress,
) -> Result<TransferReport> {
    let original = Original::open(Arc::new(from.clone()), NAME)?;
    let (store, options) = (Arc::new(to.clone()), options(connections));
    transfer(&original, store, name, &options, &Cancel::new(), progress)
}

/// One object after the other, so that operations come in one order.
fn copy(
    from: &(impl Store + Clone + 'static),
    to: &(impl Store + Clone + 'static),
) -> Result<TransferReport> {
    copy_with(from, to, NAME, 1, &NoProgress)
}

fn flip(store: &MemoryStore, name: &str, at: usize) {
    let mut bytes = objects(store, name_of(name)).remove(&name[name_of(name).len()..]);
    bytes.as_mut().unwrap()[at] ^= 1;
    store.remove(name).unwrap();
    store.put_new(name, &bytes.unwrap()).unwrap();
}

/// The name of the snapshot in that of an object.
fn name_of(object: &str) -> &str {
    object.split('/').next().unwrap()
}

fn first(store: &MemoryStore, folder: &str) -> String {
    let objects = store.list(&format!("{NAME}/{folder}")).unwrap();
    objects[0].name.clone()
}

#[test]
fn a_copy_has_every_object_of_the_snapshot_byte_for_byte() {
    let from = written();
    for connections in [1, 4] {
        let to = MemoryStore::new();
        let seen = Seen::default();
        let report = copy_with(&from, &to, "other", connections, &seen).unwrap();
        assert_eq!(objects(&to, "other"), objects(&from, NAME));
        let wanted = objects(&from, NAME);
        let bytes: usize = wanted.values().map(Vec::len).sum();
        assert_eq!(report.objects, u64::try_from(wanted.len()).unwrap());
        assert_eq!(report.bytes, u64::try_from(bytes).unwrap());
        assert_eq!((report.verifications, report.objects_kept), (1, 0));
        assert_eq!((report.records, report.left_out.len()), (400, 0));
        // All was told that was announced; the manifest is not.
        let seen = seen.0.into_inner().unwrap();
        let root = wanted["/manifest.json"].len();
        let announced = (400, u64::try_from(bytes - root).unwrap());
        assert_eq!((seen.started, seen.advanced), (announced, announced));

        let again = copy_with(&from, &to, "other", connections, &NoProgress).unwrap();
        assert!(again.was_there && again.damage.is_empty() && again.objects == 0);
    }
}

#[derive(Default)]
struct Seen(Mutex<Sums>);

#[derive(Default)]
struct Sums {
    started: (u64, u64),
    advanced: (u64, u64),
}

impl Progress for Seen {
    fn event(&self, event: Event) {
        let mut sums = self.0.lock().unwrap();
        if let Event::Started {
            items_total,
            bytes_total,
            ..
        } = event
        {
            sums.started = (items_total, bytes_total);
        }
        if let Event::Advanced { items, bytes, .. } = event {
            sums.advanced.0 += items;
            sums.advanced.1 += bytes;
        }
    }
}

#[test]
fn every_golden_snapshot_survives_a_push_and_a_pull() {
    let mut count = 0;
    for entry in std::fs::read_dir(testdata("valid")).unwrap() {
        let entry = entry.unwrap();
        if !entry.path().join("manifest.json").exists() {
            continue;
        }
        count += 1;
        let name = entry.file_name().into_string().unwrap();
        let stored = LocalStore::open(&testdata("valid")).unwrap();
        let stored: Arc<dyn Store> = Arc::new(stored.with_map(MapChoice::Never));
        let pushed = MemoryStore::new();
        let pulled = tempfile::tempdir().unwrap();
        let pulled = LocalStore::open(pulled.path()).unwrap();
        let go = |from: Arc<dyn Store>, to: Arc<dyn Store>| {
            let original = Original::open(from, &name).unwrap();
            let report = transfer(
                &original,
                to,
                &name,
                &options(2),
                &Cancel::new(),
                &NoProgress,
            );
            let report = report.unwrap();
            assert_eq!(report.damage, [], "{name}");
        };
        go(Arc::clone(&stored), Arc::new(pushed.clone()));
        go(Arc::new(pushed.clone()), Arc::new(pulled.clone()));
        let wanted = objects(&*stored, &name);
        assert!(wanted.len() >= 2 || name == "nothing", "{name}");
        assert_eq!(objects(&pushed, &name), wanted, "{name}");
        assert_eq!(objects(&pulled, &name), wanted, "{name}");
    }
    assert!(count >= 7, "{count}");
}

/// Whatever a verification of the stored bytes finds keeps a snapshot from being copied.
#[test]
fn no_golden_snapshot_that_is_damaged_is_published() {
    let mut count = 0;
    for entry in std::fs::read_dir(testdata("corrupt")).unwrap() {
        let entry = entry.unwrap();
        if !entry.path().join("manifest.json").exists() {
            continue;
        }
        let name = entry.file_name().into_string().unwrap();
        let stored = LocalStore::open(&testdata("corrupt")).unwrap();
        let stored: Arc<dyn Store> = Arc::new(stored.with_map(MapChoice::Never));
        let verify = VerifyOptions {
            depth: Depth::Data,
            thread_count: 1,
        };
        let cancel = Cancel::new();
        let verified = verify_snapshot(Arc::clone(&stored), &name, &verify, &cancel, &NoProgress);
        let is_damaged = verified.map_or(true, |report| report.has_errors());
        let to = MemoryStore::new();
        let copied = Original::open(stored, &name).and_then(|original| {
            let to = Arc::new(to.clone());
            transfer(&original, to, &name, &options(1), &cancel, &NoProgress)
        });
        let is_refused = copied.map_or(true, |report| !report.is_published());
        assert_eq!(is_refused, is_damaged, "{name}");
        assert_eq!(
            to.open(&format!("{name}/manifest.json")).is_err(),
            is_damaged
        );
        count += usize::from(is_damaged);
    }
    assert!(count > 50, "{count}");
}

const FAULTS: [Fault; 4] = [
    Fault::Once,
    Fault::Freeze,
    Fault::LostReply,
    Fault::LostReplies,
];

#[test]
fn whatever_fails_at_the_destination_is_told_and_the_same_copy_goes_on() {
    let from = written();
    let wanted = objects(&from, NAME);
    let counting = FaultyStore::counting(MemoryStore::new());
    copy(&from, &counting).unwrap();
    let mut failed = 0;
    for fault in FAULTS {
        for fail_at in 0..counting.operation_count() {
            let what = format!("{fault:?} {fail_at}");
            let to = MemoryStore::new();
            let copied = copy(&from, &FaultyStore::new(to.clone(), fail_at, fault));
            failed += usize::from(copied.is_err());
            let left = objects(&to, NAME);
            let is_whole = left.contains_key("/manifest.json");
            // What is not a snapshot is not called one.
            assert!(!is_whole || left == wanted, "{what}");
            assert!(is_whole || copied.is_err(), "{what}");
            let report = copy(&from, &to).unwrap();
            assert_eq!(report.was_there, is_whole, "{what}");
            assert!(report.damage.is_empty(), "{what}");
            assert_eq!(objects(&to, NAME), wanted, "{what}");
            assert_eq!(to.list_unfinished("").unwrap(), [], "{what}");
        }
    }
    assert!(failed > 500, "{failed}");
    let to = MemoryStore::new();
    copy(&from, &FaultyStore::new(to.clone(), 60, Fault::Freeze)).unwrap_err();
    let report = copy(&from, &to).unwrap();
    assert!(report.objects_kept > 0 && report.objects > 0);
    assert_eq!(verified(&to, NAME).findings, []);
}

#[test]
fn whatever_fails_at_the_source_is_told_and_the_same_copy_goes_on() {
    let from = written();
    let wanted = objects(&from, NAME);
    let counting = FaultyStore::counting(from.clone());
    copy(&counting, &MemoryStore::new()).unwrap();
    for fault in FAULTS {
        // Many reads are alike.
        for fail_at in (0..counting.operation_count()).step_by(5) {
            let what = format!("{fault:?} {fail_at}");
            let to = MemoryStore::new();
            let copied = copy(&FaultyStore::new(from.clone(), fail_at, fault), &to);
            let error = copied.unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Io { .. }),
                "{what}: {error}"
            );
            assert!(!objects(&to, NAME).contains_key("/manifest.json"), "{what}");
            assert_eq!(to.list_unfinished("").unwrap(), [], "{what}");
            copy(&from, &to).unwrap();
            assert_eq!(objects(&to, NAME), wanted, "{what}");
        }
    }
}

#[test]
fn a_damaged_original_is_not_published_and_the_object_is_named() {
    for (folder, at) in [("segments", 700), ("segments", 20), ("look-ups", 500)] {
        let from = written();
        let object = first(&from, folder);
        flip(&from, &object, at);
        for connections in [1, 3] {
            let to = MemoryStore::new();
            let report = copy_with(&from, &to, NAME, connections, &NoProgress).unwrap();
            let finding = report.damage[0].to_string();
            assert!(finding.contains(&object), "{finding}");
            assert!(!report.is_published());
            assert!(!objects(&to, NAME).contains_key("/manifest.json"));
            assert!(!objects(&to, NAME).contains_key(&object[NAME.len()..]));
        }
    }
    let from = written();
    let object = first(&from, "segments");
    from.remove(&object).unwrap();
    let report = copy(&from, &MemoryStore::new()).unwrap();
    assert_eq!(report.damage[0].defect.code(), "MCS017");
}

/// Changes a byte of the first objects that are written.
#[derive(Clone, Debug)]
struct Bending {
    inner: MemoryStore,
    left: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct BendingWriter(Box<dyn ObjectWriter>, bool);

impl ObjectWriter for BendingWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut bytes = bytes.to_vec();
        if std::mem::take(&mut self.1) {
            let last = bytes.len() / 2;
            bytes[last] ^= 4;
        }
        self.0.write(&bytes)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.0.finish()
    }
}

impl Store for Bending {
    fn describe(&self, name: &str) -> String {
        self.inner.describe(name)
    }

    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>> {
        let bends = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        Ok(Box::new(BendingWriter(
            self.inner.create(name)?,
            bends.is_ok(),
        )))
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.inner.put_new(name, bytes)
    }

    fn replace(&self, name: &str, expected: &[u8], bytes: &[u8]) -> Result<bool> {
        self.inner.replace(name, expected, bytes)
    }

    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>> {
        self.inner.open(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.inner.list(prefix)
    }

    fn list_unfinished(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.inner.list_unfinished(prefix)
    }

    fn open_unfinished(&self, name: &str) -> Result<Box<dyn ObjectReader>> {
        self.inner.open_unfinished(name)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.inner.remove(name)
    }

    fn remove_unfinished(&self, name: &str) -> Result<()> {
        self.inner.remove_unfinished(name)
    }

    fn lock_prefix(&self, prefix: &str) -> Result<Box<dyn StoreLock>> {
        self.inner.lock_prefix(prefix)
    }
}

#[test]
fn what_comes_out_wrong_is_removed_and_sent_once_more() {
    let from = written();
    let bending = |left| Bending {
        inner: MemoryStore::new(),
        left: Arc::new(AtomicUsize::new(left)),
    };
    let to = bending(1);
    let report = copy(&from, &to).unwrap();
    assert_eq!(report.objects_again, 1);
    assert_eq!(objects(&to, NAME), objects(&from, NAME));

    let to = bending(2);
    let error = copy(&from, &to).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
    assert!(error.to_chain().contains("was wrong 2 times"), "{error}");
    assert_eq!(objects(&to, NAME), Objects::new());
}

#[test]
fn what_an_earlier_run_left_is_kept_if_it_is_right_and_else_sent_again() {
    let from = written();
    let to = MemoryStore::new();
    copy(&from, &to).unwrap();
    to.remove(&format!("{NAME}/manifest.json")).unwrap();
    for (folder, at) in [("segments", 700), ("look-ups", 500), ("verifications", 9)] {
        flip(&to, &first(&to, folder), at);
    }
    let cut = to.list(&format!("{NAME}/segments")).unwrap()[1]
        .name
        .clone();
    to.remove(&cut).unwrap();
    to.put_new(&cut, b"short").unwrap();
    let report = copy(&from, &to).unwrap();
    assert_eq!(objects(&to, NAME), objects(&from, NAME));
    // With the manifest.
    assert_eq!(report.objects, 5);
    assert!(report.objects_kept > 10, "{}", report.objects_kept);
}

#[test]
fn a_name_that_is_taken_is_refused_and_nothing_is_touched() {
    let from = written();
    let refused = |to: &MemoryStore, words: &str| {
        let before = objects(to, NAME);
        let unfinished = to.list_unfinished("").unwrap();
        let error = copy(&from, to).unwrap_err();
        let is_taken = matches!(error.kind(), ErrorKind::AlreadyExists { .. });
        assert!(is_taken && error.to_string().contains(words), "{error}");
        let original = Original::open(Arc::new(from.clone()), NAME).unwrap();
        let planned = plan_transfer(&original, Some(to), NAME).unwrap_err();
        assert_eq!(planned.to_string(), error.to_string());
        assert_eq!(objects(to, NAME), before);
        assert_eq!(to.list_unfinished("").unwrap(), unfinished);
    };
    // Another snapshot, if only by its manifest.
    refused(&written(), &format!("snapshot memory:{NAME} already"));
    let to = MemoryStore::new();
    to.put_new(&format!("{NAME}/dump.json"), b"{}").unwrap();
    refused(&to, "a dump that has not finished");
    let to = MemoryStore::new();
    to.put_new(&format!("{NAME}/segments/other.mcs"), b"")
        .unwrap();
    refused(&to, "with 1 file that");
    let to = MemoryStore::new();
    let _other = to.create(&format!("{NAME}/segments/other.mcs")).unwrap();
    refused(&to, "such as segments/other.mcs");

    let to = MemoryStore::new();
    let _lock = to.lock_prefix(NAME).unwrap();
    let error = copy(&from, &to).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Locked { .. }), "{error}");
}

#[test]
fn a_copy_that_is_there_is_looked_at_and_gets_records_that_are_new() {
    let from = written();
    let to = MemoryStore::new();
    copy(&from, &to).unwrap();
    to.remove(&first(&to, "verifications")).unwrap();
    let report = copy(&from, &to).unwrap();
    assert!(report.was_there && report.objects == 1, "{report:?}");
    assert_eq!(objects(&to, NAME), objects(&from, NAME));

    let gone = first(&to, "segments");
    to.remove(&gone).unwrap();
    let report = copy(&from, &to).unwrap();
    assert!(report.was_there && report.damage.len() == 1, "{report:?}");
    assert!(report.damage[0].to_string().contains(&gone));
    assert!(to.open(&gone).is_err());
}

#[test]
fn what_is_no_part_of_the_snapshot_stays_and_is_told() {
    let from = written();
    let wanted = objects(&from, NAME);
    for stray in ["segments/stray.mcs", "notes.txt", "verifications/bad.json"] {
        from.put_new(&format!("{NAME}/{stray}"), b"{}").unwrap();
    }
    from.put_new(&format!("{NAME}/dump.json"), b"{}").unwrap();
    let to = MemoryStore::new();
    let report = copy(&from, &to).unwrap();
    assert_eq!(objects(&to, NAME), wanted);
    let told: Vec<&str> = report
        .left_out
        .iter()
        .map(|out| out.place.as_str())
        .collect();
    let place = |object: &str| format!("memory:{NAME}/{object}");
    let mut told = told;
    told.sort_unstable();
    assert_eq!(
        told,
        [
            place("notes.txt"),
            place("segments/stray.mcs"),
            place("verifications/bad.json")
        ]
    );
}

/// Does something when the first bytes have been copied.
struct Meanwhile<F: Fn() + Sync>(AtomicUsize, F);

impl<F: Fn() + Sync> Progress for Meanwhile<F> {
    fn event(&self, event: Event) {
        let is_first =
            matches!(event, Event::Advanced { .. }) && self.0.fetch_add(1, Ordering::SeqCst) == 0;
        if is_first {
            (self.1)();
        }
    }
}

#[test]
fn an_original_that_goes_meanwhile_is_told_as_that_and_not_as_damage() {
    let root = format!("{NAME}/manifest.json");
    let changed = |change: &(dyn Fn(&MemoryStore) + Sync)| -> Error {
        let (from, to) = (written(), MemoryStore::new());
        let meanwhile = Meanwhile(AtomicUsize::new(0), || change(&from));
        let error = copy_with(&from, &to, NAME, 1, &meanwhile).unwrap_err();
        assert!(to.open(&root).is_err());
        error
    };
    let error = changed(&|from| {
        for info in from.list(NAME).unwrap() {
            from.remove(&info.name).unwrap();
        }
    });
    assert!(error.to_string().contains("was removed while"), "{error}");
    let error = changed(&|from| from.remove(&root).unwrap());
    assert!(error.to_string().contains("was removed while"), "{error}");
    let error = changed(&|from| {
        from.remove(&root).unwrap();
        from.put_new(&root, b"{}").unwrap();
    });
    assert!(error.to_string().contains("was replaced while"), "{error}");
}

#[test]
fn a_copy_that_is_stopped_leaves_what_it_has_for_the_next() {
    let (from, to) = (written(), MemoryStore::new());
    let cancel = Cancel::new();
    let stop = Meanwhile(AtomicUsize::new(0), || cancel.cancel());
    let original = Original::open(Arc::new(from.clone()), NAME).unwrap();
    let store = Arc::new(to.clone());
    let copied = transfer(&original, store, NAME, &options(2), &cancel, &stop);
    assert!(copied.unwrap_err().is_canceled());
    assert!(to.open(&format!("{NAME}/manifest.json")).is_err());
    assert_eq!(to.list_unfinished("").unwrap(), []);
    copy(&from, &to).unwrap();
    assert_eq!(objects(&to, NAME), objects(&from, NAME));
}

#[test]
fn an_option_out_of_its_range_is_refused() {
    let from = written();
    let original = Original::open(Arc::new(from), NAME).unwrap();
    let to: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let copied = transfer(
        &original,
        Arc::clone(&to),
        NAME,
        &options(0),
        &Cancel::new(),
        &NoProgress,
    );
    assert!(
        copied
            .unwrap_err()
            .to_string()
            .starts_with("connections \"0\"")
    );
    assert_eq!(to.list("").unwrap(), []);
}
