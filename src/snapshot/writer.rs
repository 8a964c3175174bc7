//! A snapshot in the making.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::format::ids::SnapshotId;
use crate::format::manifest::Manifest;
use crate::snapshot::{MANIFEST, SEGMENTS};
use crate::store::{ObjectWriter, Store};

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
}

impl SnapshotWriter {
    /// Checks that the name is free, and starts. Nothing is written yet.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists`: a snapshot, or what an interrupted dump left.
    /// - `Io`.
    pub fn begin(store: Arc<dyn Store>, name: &str) -> Result<Self> {
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
        Ok(Self {
            store,
            name: name.to_owned(),
            id: SnapshotId(*uuid::Uuid::now_v7().as_bytes()),
            token: uuid::Uuid::new_v4().simple().to_string(),
            started: Mutex::default(),
            is_manifest_left: AtomicBool::new(false),
        })
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
            return Ok(());
        };
        // The answer may have been lost on its way, and a retry then finds our
        // own manifest: the token in it tells.
        if self.holds(&path, &bytes) {
            // It is there, but failed to become durable: after a loss of power
            // it may be gone.
            let lacks_sync = matches!(
                error.kind(),
                ErrorKind::Io {
                    operation: Operation::Sync | Operation::Remove
                }
            );
            if lacks_sync {
                self.take_back(&path);
                return Err(error);
            }
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

    /// Removes the segments that this writer made, and nothing else; what
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
    }
}
