//! Stores that take conditional writes and do them unconditionally, as several do that
//! speak S3.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use mcsnap::codecs::format::manifest::Need;
use mcsnap::engines::snapshot::{
    Leftover, SnapshotDraft, SnapshotReader, check_not_finished, find_latest, list_unfinished_dumps,
};
use mcsnap::jobs::transfer::{Direction, Original, TransferOptions, transfer};
use mcsnap::jobs::verify::{Depth, VerifyOptions, verify_snapshot};
use mcsnap::ports::store::{CloudStore, MemoryStore, Store};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::ErrorKind;
use mcsnap::words::progress::NoProgress;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::store::two_runs::{NAME, journal, publish, seal};

/// Does as it is told, whether the name is taken or not.
#[derive(Debug, Default)]
struct Heedless(InMemory);

impl fmt::Display for Heedless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("heedless")
    }
}

#[async_trait]
impl ObjectStore for Heedless {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        options.mode = PutMode::Overwrite;
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

/// Two hosts share a bucket, and nothing else.
fn host(bucket: &Arc<Heedless>) -> Arc<dyn Store> {
    let client = Arc::<Heedless>::clone(bucket);
    Arc::new(CloudStore::with_client(client, "s3://bucket/backups").unwrap())
}

fn begin(store: &Arc<dyn Store>) -> SnapshotDraft {
    let draft = SnapshotDraft::begin(Arc::clone(store), NAME).unwrap();
    draft.write_journal(&journal(&draft)).unwrap();
    draft
}

fn assert_sound(store: &Arc<dyn Store>, name: &str, records: u64) {
    let options = VerifyOptions {
        depth: Depth::Deep,
        thread_count: 1,
    };
    let (store, cancel) = (Arc::clone(store), Cancel::new());
    let report = verify_snapshot(store, name, &options, &cancel, &NoProgress).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.records, records);
}

/// Returns the name in the store of what a message names.
fn home(draft: &SnapshotDraft) -> String {
    let place = draft.describe();
    let name = place.strip_prefix("s3://bucket/backups/").unwrap();
    name.to_owned()
}

#[test]
fn two_runs_at_once_do_each_other_no_harm_and_the_later_one_says_so() {
    let bucket = Arc::new(Heedless::default());
    let (one, other) = (host(&bucket), host(&bucket));
    let first = SnapshotDraft::begin(Arc::clone(&one), NAME).unwrap();
    let second = begin(&other);
    first.write_journal(&journal(&first)).unwrap();
    assert_ne!(home(&first), home(&second));
    let of_first = seal(&first, 0, &["a", "b"]);
    let of_second = seal(&second, 0, &["c"]);
    publish(&first, of_first).unwrap();
    assert_eq!(first.find_rivals(), [""; 0]);
    publish(&second, of_second).unwrap();
    assert_eq!(second.find_rivals(), [first.describe()]);

    assert_sound(&one, &home(&first), 2);
    assert_sound(&one, &home(&second), 1);
    // The name alone does not say which.
    let error = SnapshotReader::open(Arc::clone(&one), NAME, Need::Read).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&first.describe()) && text.contains(&second.describe()),
        "{text}"
    );
}

#[test]
fn a_snapshot_of_such_a_store_is_found_by_its_name() {
    let bucket = Arc::new(Heedless::default());
    let store = host(&bucket);
    let draft = begin(&store);
    assert_ne!(home(&draft), NAME);
    let segments = seal(&draft, 0, &["a", "b"]);
    publish(&draft, segments).unwrap();
    drop(draft);
    assert_sound(&store, NAME, 2);
    let latest = find_latest(&store).unwrap();
    assert_eq!(latest.name, NAME);
    assert_eq!(latest.passed_over, [""; 0]);
    let reader = SnapshotReader::open(Arc::clone(&store), NAME, Need::Read).unwrap();
    assert_eq!(reader.manifest().name, NAME);
    let error = check_not_finished(&*store, NAME).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::AlreadyExists { .. }));
    let error = SnapshotDraft::begin(Arc::clone(&store), NAME).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::AlreadyExists { .. }));
}

#[test]
fn an_unfinished_dump_of_such_a_store_is_resumed_by_its_name() {
    let bucket = Arc::new(Heedless::default());
    let store = host(&bucket);
    let killed = begin(&store);
    let kept = seal(&killed, 0, &["a", "b"]);
    drop(killed);
    let unfinished = list_unfinished_dumps(&*store).unwrap();
    assert_eq!(unfinished.len(), 1);
    assert_eq!(unfinished[0].0, NAME);
    let found = Leftover::find(Arc::clone(&store), NAME).unwrap();
    let Leftover::Unfinished(unfinished) = found else {
        panic!("there is nothing to resume");
    };
    unfinished.take_over().unwrap();
    assert_eq!(unfinished.kept, kept);
    let mut segments = kept;
    segments.extend(seal(&unfinished.draft, 2, &["c"]));
    publish(&unfinished.draft, segments).unwrap();
    assert_eq!(unfinished.draft.find_rivals(), [""; 0]);
    drop(unfinished);
    assert_sound(&store, NAME, 3);
}

#[test]
fn a_copy_into_such_a_store_has_a_home_of_its_own_and_goes_on_there() {
    let bucket = Arc::new(Heedless::default());
    let store = host(&bucket);
    let copy = |from: &Arc<dyn Store>| {
        let original = Original::open(Arc::clone(from), NAME).unwrap();
        let options = TransferOptions {
            direction: Direction::Push,
            connection_count: 2,
            bytes_per_second: None,
        };
        let (store, cancel) = (Arc::clone(&store), Cancel::new());
        transfer(&original, store, NAME, &options, &cancel, &NoProgress)
    };
    let made = |keys: &[&str]| -> Arc<dyn Store> {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let draft = begin(&store);
        let segments = seal(&draft, 0, keys);
        publish(&draft, segments).unwrap();
        store
    };
    let (one, other) = (made(&["a", "b"]), made(&["c"]));
    let report = copy(&one).unwrap();
    assert!(report.place.contains("/night/run-"), "{}", report.place);
    assert_eq!(report.rivals, [""; 0]);
    assert_sound(&store, NAME, 2);
    assert!(copy(&one).unwrap().was_there);
    let error = copy(&other).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::AlreadyExists { .. }));
}
