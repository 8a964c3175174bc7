//! A snapshot in the making.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::format::ids::{SegmentId, SnapshotId};
use crate::format::journal::Journal;
use crate::format::manifest::Manifest;
use crate::snapshot::{JOURNAL, MANIFEST, SEGMENTS};
use crate::store::{ObjectWriter, Store, StoreLock};

/// Writes segments, and last the manifest.
#[derive(Debug)]
pub struct SnapshotWriter {
    store: Arc<dyn Store>,
    name: String,
    id: SnapshotId,
    token: String,
    /// Segments that this writer started, for [`SnapshotWriter::discard`].
    started: Mutex<Vec<String>>,
    /// A manifest that names them is there, or may come back.
    is_manifest_left: AtomicBool,
    /// A journal is there.
    has_journal: AtomicBool,
    _lock: Box<dyn StoreLock>,
}

impl SnapshotWriter {
    /// Checks that the name is free, and starts. Nothing is written yet.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists`: a snapshot, or what an interrupted dump left.
    /// - `Locked`: a dump of this name is running.
    /// - `Io`.
    pub fn begin(store: Arc<dyn Store>, name: &str) -> Result<Self> {
        let lock = store.lock_prefix(name)?;
        let mut objects = store.list(name)?;
        objects.extend(store.list_unfinished(name)?);
        let manifest = format!("{name}/{MANIFEST}");
        if objects.iter().any(|object| object.name == manifest) {
            let what = format!("snapshot {}", store.describe(name));
            return Err(Error::new(ErrorKind::AlreadyExists { what }));
        }
        if !objects.is_empty() {
            let place = store.describe(name);
            let what = format!("{place}, with {} files and no manifest,", objects.len());
            return Err(Error::new(ErrorKind::AlreadyExists { what }));
        }
        let id = SnapshotId(*uuid::Uuid::now_v7().as_bytes());
        Ok(Self::new(store, name, id, lock))
    }

    /// Goes on with a dump that has a journal.
    pub(super) fn resume(
        store: Arc<dyn Store>,
        name: &str,
        id: SnapshotId,
        lock: Box<dyn StoreLock>,
    ) -> Self {
        let writer = Self::new(store, name, id, lock);
        writer.has_journal.store(true, Ordering::Relaxed);
        writer
    }

    fn new(store: Arc<dyn Store>, name: &str, id: SnapshotId, lock: Box<dyn StoreLock>) -> Self {
        Self {
            store,
            name: name.to_owned(),
            id,
            token: uuid::Uuid::new_v4().simple().to_string(),
            started: Mutex::default(),
            is_manifest_left: AtomicBool::new(false),
            has_journal: AtomicBool::new(false),
            _lock: lock,
        }
    }

    /// Writes down how the dump begins, so that it can go on after a kill. The
    /// journal goes when the manifest is there.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists`, `Io`.
    pub fn write_journal(&self, journal: &Journal) -> Result<()> {
        let path = self.path_of(JOURNAL);
        let bytes = journal.encode();
        // Before, since a failure can be reported of what was done.
        self.has_journal.store(true, Ordering::Relaxed);
        match self.store.put_new(&path, &bytes) {
            // The answer was lost on its way; a failed sync is none of that.
            Err(error) if !lacks_sync(&error) && self.holds(&path, &bytes) => Ok(()),
            written => written,
        }
    }

    /// Writes it down anew. A process that is killed between the removal of the
    /// old journal and the new one leaves segments that nothing goes on with.
    ///
    /// # Errors
    ///
    /// - `Io`.
    pub fn rewrite_journal(&self, journal: &Journal) -> Result<()> {
        self.store.remove(&self.path_of(JOURNAL))?;
        self.write_journal(journal)
    }

    fn remove_journal(&self) {
        if !self.has_journal.load(Ordering::Relaxed) {
            return;
        }
        match self.store.remove(&self.path_of(JOURNAL)) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {}
            // Nobody reads it beside a manifest.
            Err(error) => tracing::warn!("leftover of a dump: {}", error.to_chain()),
        }
    }

    /// Returns the store.
    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Returns the name in the store of an object of the snapshot.
    pub(super) fn path_of(&self, object: &str) -> String {
        format!("{}/{object}", self.name)
    }

    /// Returns the snapshot's id.
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// Returns the snapshot's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the token for the manifest.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns what to call the snapshot in a message.
    pub fn describe(&self) -> String {
        self.store.describe(&self.name)
    }

    /// Starts a segment; returns its name below the snapshot's, and its writer.
    pub(super) fn create_segment(&self, file: &str) -> Result<(String, Box<dyn ObjectWriter>)> {
        let object = format!("{SEGMENTS}/{file}");
        let path = format!("{}/{object}", self.name);
        let writer = self.store.create(&path)?;
        self.started
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(path);
        Ok((object, writer))
    }

    /// Publishes the manifest: from here on the snapshot exists.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists`: another dump was faster; its snapshot is untouched.
    /// - `Io`; what cannot be made durable is taken back.
    pub fn publish(&self, manifest: &Manifest) -> Result<()> {
        let path = format!("{}/{MANIFEST}", self.name);
        let bytes = manifest.encode();
        let Err(error) = self.store.put_new(&path, &bytes) else {
            self.remove_journal();
            return Ok(());
        };
        // The answer may have been lost on its way, and a retry then finds our
        // own manifest: the token in it tells.
        if self.holds(&path, &bytes) {
            // It is there, but failed to become durable: after a loss of power
            // it may be gone.
            if lacks_sync(&error) {
                self.take_back(&path);
                return Err(error);
            }
            self.remove_journal();
            return Ok(());
        }
        if matches!(error.kind(), ErrorKind::AlreadyExists { .. }) {
            let what = format!("snapshot {}", self.describe());
            return Err(Error::new(ErrorKind::AlreadyExists { what }));
        }
        Err(error)
    }

    /// Removes the manifest. As long as that is not durable either, the segments
    /// stay: should the manifest come back, it finds them.
    fn take_back(&self, path: &str) {
        match self.store.remove(path) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {}
            Err(error) => {
                self.is_manifest_left.store(true, Ordering::Relaxed);
                tracing::warn!("leftover of a failed dump: {}", error.to_chain());
            }
        }
    }

    fn holds(&self, path: &str, bytes: &[u8]) -> bool {
        let Ok(object) = self.store.open(path) else {
            return false;
        };
        let mut found = vec![0; bytes.len()];
        object.size() == crate::units::to_u64(bytes.len())
            && object.read_at(0, &mut found).is_ok()
            && found == bytes
    }

    /// Says whether there is a segment that another dump could keep; if it cannot
    /// be told, there may be.
    pub fn has_sealed(&self) -> bool {
        let segments = self.store.list(&self.path_of(SEGMENTS));
        segments.map_or(true, |segments| !segments.is_empty())
    }

    /// Removes the segments that this writer made, and its journal, and nothing
    /// else; what
    /// cannot be removed stays, and is no snapshot; where the manifest could not
    /// be removed, it is a whole one.
    pub fn discard(&self) {
        if self.is_manifest_left.load(Ordering::Relaxed) {
            return;
        }
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        for path in started.iter() {
            match self.store.remove(path) {
                Ok(()) => {}
                // Never finished; its writer has cleaned up.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {}
                Err(error) => tracing::warn!("leftover of a failed dump: {}", error.to_chain()),
            }
        }
        self.remove_journal();
    }
}

/// Says whether an object is there, but may be gone after a loss of power.
fn lacks_sync(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Io {
            operation: Operation::Sync | Operation::Remove
        }
    )
}

/// Makes the name of a segment's file, below [`SEGMENTS`].
pub(super) fn segment_file_name(node: u32, shard: u64, sequence: u32, id: SegmentId) -> String {
    let id = id.to_string();
    let id = id.get(..8).unwrap_or(&id);
    format!("n{node:04}-s{shard:03}-{sequence:05}-{id}.mcs")
}

/// Says whether a file is named as [`segment_file_name`] names them.
pub(super) fn is_segment_file_name(file: &str) -> bool {
    let is_number = |text: &str, least: usize| {
        text.len() >= least && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let parts: Vec<&str> = file
        .strip_suffix(".mcs")
        .map(|stem| stem.split('-').collect())
        .unwrap_or_default();
    let &[node, shard, sequence, id] = parts.as_slice() else {
        return false;
    };
    node.strip_prefix('n')
        .is_some_and(|node| is_number(node, 4))
        && shard
            .strip_prefix('s')
            .is_some_and(|shard| is_number(shard, 3))
        && is_number(sequence, 5)
        && id.len() == 8
        && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_a_segment_is_one() {
        let name = segment_file_name(3, 1, 12, SegmentId([0xab; 16]));
        assert_eq!(name, "n0003-s001-00012-abababab.mcs");
        assert!(is_segment_file_name(&name));
        assert!(is_segment_file_name("n12345-s1000-123456-00000000.mcs"));
        for other in [
            "manifest.json",
            "n0003-s001-00012-abababab",
            "n0003-s001-00012-abababax.mcs",
            "n003-s001-00012-abababab.mcs",
            "0003-s001-00012-abababab.mcs",
            "n0003-s001-00012-abababab-x.mcs",
        ] {
            assert!(!is_segment_file_name(other), "{other}");
        }
    }
}
