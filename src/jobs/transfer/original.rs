//! The snapshot that is copied: what belongs to it, and what does not.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::codecs::format::manifest::Need;
use crate::engines::snapshot::{JOURNAL, MANIFEST, SnapshotObject, SnapshotReader};
use crate::ports::store::{Store, unfinished_name};
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::units::to_u64;

/// An object that stays where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Where it is.
    pub place: String,
    /// Why it is not copied.
    pub reason: String,
}

/// A published snapshot that can be copied.
#[derive(Debug)]
pub struct Original {
    pub(super) snapshot: SnapshotReader,
    /// The bytes of the manifest.
    pub(super) root: Vec<u8>,
    /// Everything else: what the manifest names, and the records of verifications.
    pub(super) objects: Vec<SnapshotObject>,
    pub(super) left_out: Vec<LeftOut>,
}

impl Original {
    /// Reads the manifest with all its parts, and lists what there is beside it.
    ///
    /// # Errors
    ///
    /// - `NotFound`, `InvalidInput`: there is no snapshot, or it is a single segment.
    /// - `Corrupt`, `LimitExceeded`: the manifest is damaged, or a part of it.
    /// - `Newer`: a newer build is needed to check it.
    /// - `Changed`: somebody replaces it at this moment.
    /// - `Io`.
    pub fn open(store: Arc<dyn Store>, name: &str) -> Result<Self> {
        let snapshot = SnapshotReader::open(Arc::clone(&store), name, Need::Verify)?;
        if snapshot.is_lone_segment() {
            let allowed = "a segment by itself is no snapshot; pass the directory of a snapshot, or \
                           copy the file as any other";
            let place = snapshot.describe();
            return Err(Error::invalid_input("snapshot", place, allowed));
        }
        let root = snapshot.read_root_bytes()?;
        if !snapshot.is_root(&root) {
            return Err(changed(&snapshot, "replaced"));
        }
        let mut original = Self {
            objects: snapshot.list_objects(),
            snapshot,
            root,
            left_out: Vec::new(),
        };
        original.take_records(&*store, name)?;
        original.find_strays(&*store, name)?;
        Ok(original)
    }

    /// Returns when the dump of the snapshot ended, as its manifest says.
    pub fn finished_at(&self) -> &str {
        &self.snapshot.manifest().finished_at
    }

    /// Returns where it is, for messages.
    pub fn describe(&self) -> String {
        self.snapshot.describe()
    }

    /// Returns the bytes of all its objects, the manifest's included.
    pub fn size(&self) -> u64 {
        let sizes = self.objects.iter().map(|object| object.size);
        let root = to_u64(self.root.len());
        sizes.fold(root, u64::saturating_add)
    }

    /// Adds the records of verifications. One that cannot be understood proves nothing, and
    /// is left out.
    fn take_records(&mut self, store: &dyn Store, name: &str) -> Result<()> {
        let below = format!("{name}/");
        for info in store.list(&self.snapshot.verifications_path())? {
            let Some(object) = info.name.strip_prefix(&below) else {
                continue;
            };
            if !object.ends_with(".json") {
                continue;
            }
            let error = match self.snapshot.read_verification(&info.name) {
                Ok(_) => {
                    let object = SnapshotObject::of_record(object.to_owned(), info.size);
                    self.objects.push(object);
                    continue;
                }
                Err(error) => error,
            };
            let is_its_own = error.is_newer()
                || matches!(
                    error.kind(),
                    ErrorKind::Corrupt(_) | ErrorKind::LimitExceeded { .. }
                );
            if !is_its_own {
                return Err(error);
            }
            self.left_out.push(LeftOut {
                place: store.describe(&info.name),
                reason: error.to_reason(),
            });
        }
        Ok(())
    }

    /// Notes what lies below the snapshot and is no part of it.
    fn find_strays(&mut self, store: &dyn Store, name: &str) -> Result<()> {
        let mut known: BTreeSet<String> = self
            .objects
            .iter()
            .map(|object| self.snapshot.object_path(object))
            .collect();
        known.extend([MANIFEST, JOURNAL].map(|object| format!("{name}/{object}")));
        let told: BTreeSet<String> = self.left_out.iter().map(|out| out.place.clone()).collect();
        let unfinished = store.list_unfinished(name)?.into_iter();
        let unfinished = unfinished.map(|info| unfinished_name(&info.name));
        let finished = store.list(name)?.into_iter().map(|info| info.name);
        let strays = finished.filter(|name| !known.contains(name));
        let strays = strays.chain(unfinished).map(|name| store.describe(&name));
        let strays = strays.filter(|place| !told.contains(place));
        self.left_out.extend(strays.map(|place| LeftOut {
            place,
            reason: "no part of the snapshot".to_owned(),
        }));
        Ok(())
    }

    /// Checks that the snapshot is still the one that was opened.
    ///
    /// # Errors
    ///
    /// - `Changed`: it was removed or replaced.
    /// - `LimitExceeded`, `Io`.
    pub(super) fn check_unchanged(&self) -> Result<()> {
        match self.snapshot.read_root_bytes() {
            Ok(root) if root == self.root => Ok(()),
            Ok(_) => Err(changed(&self.snapshot, "replaced")),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {
                Err(changed(&self.snapshot, "removed"))
            }
            Err(error) => Err(error),
        }
    }

    /// Explains an error in reading an object: what was removed or replaced is not damaged.
    pub(super) fn explain(&self, error: Error) -> Error {
        match self.check_unchanged() {
            Err(changed) if matches!(changed.kind(), ErrorKind::Changed { .. }) => changed,
            Ok(()) | Err(_) => error,
        }
    }
}

fn changed(snapshot: &SnapshotReader, how: &'static str) -> Error {
    let what = format!("the snapshot {}", snapshot.describe());
    Error::new(ErrorKind::Changed { what, how })
}
