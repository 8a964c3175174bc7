//! A snapshot that is being written and does not exist yet.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::codecs::format::ids::SnapshotId;
use crate::codecs::format::journal::{JOURNAL_LEN_MAX, Journal, JournalOwner};
use crate::codecs::format::manifest::{LookUpName, Manifest, ManifestSegment, Need, Verdict};
use crate::codecs::format::manifest_part::ManifestPart;
use crate::engines::snapshot::files::{JOURNAL, MANIFEST, SEGMENTS};
use crate::engines::snapshot::home::{Stage, name_of, new_home, rivals_of, stage_of};
use crate::engines::snapshot::known_look_up::{KnownLookUp, ShardPlace};
use crate::engines::snapshot::object_range::holds;
use crate::ports::host;
use crate::ports::store::{ObjectWriter, Store, StoreLock};
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, ErrorKind, Operation, Result};
use crate::words::limits::{Limits, check_limit};
use crate::words::location::Location;
use crate::words::units::{counted, to_u64};

/// A snapshot without a manifest: holds its name's lock, creates its segments and look-up
/// objects, keeps its journal, and publishes the manifest last.
///
/// A dump that can be resumed has a journal, and the journal names the run that writes
/// it. Another run that resumes the dump puts its own name there. From then on this run
/// removes nothing and publishes nothing, since what it has sealed may be part of the
/// other run's snapshot. The lock prevents this while this run lives; the name in the
/// journal also works in stores without locks.
#[derive(Debug)]
pub struct SnapshotDraft {
    store: Arc<dyn Store>,
    name: String,
    /// Where its objects are: the name, or one that this run alone has.
    home: String,
    id: SnapshotId,
    token: String,
    owner: JournalOwner,
    /// Objects that this run created, for [`SnapshotDraft::discard`].
    started: Mutex<Vec<String>>,
    /// Where what does not fit in memory goes.
    pub(super) scratch_directory: PathBuf,
    /// The look-up objects that are written so far; `None` for one that cannot be.
    pub(super) look_ups: Mutex<BTreeMap<ShardPlace, Option<KnownLookUp>>>,
    /// Whether a manifest that names them is there, or may come back.
    is_manifest_left: AtomicBool,
    /// Whether this run has written a journal, or tried to.
    has_journal: AtomicBool,
    lock: Box<dyn StoreLock>,
}

/// The owner of the journal in the store.
enum Holder {
    /// This run's.
    Own(Vec<u8>),
    /// Another run's.
    Other(Option<JournalOwner>),
    /// There is no journal.
    Nobody,
}

/// Checks that no finished snapshot has a name; an unfinished dump may.
///
/// # Errors
///
/// - `AlreadyExists`: there is one.
/// - `InvalidInput`: no snapshot can have this name.
/// - `Io`.
pub fn check_not_finished(store: &dyn Store, name: &str) -> Result<()> {
    if stage_of(store, name)? == Stage::Finished {
        let what = format!("snapshot {}", store.describe(name));
        return Err(Error::new(ErrorKind::AlreadyExists { what }));
    }
    Ok(())
}

/// Checks that a name is not used, neither by a snapshot nor by an unfinished dump.
///
/// # Errors
///
/// - `AlreadyExists`: a snapshot, or what an interrupted dump left.
/// - `InvalidInput`: no snapshot can have this name.
/// - `Io`.
pub fn check_name_is_free(store: &dyn Store, name: &str) -> Result<()> {
    let mut objects = store.list(name)?;
    objects.extend(store.list_unfinished(name)?);
    if objects.is_empty() {
        return Ok(());
    }
    check_not_finished(store, name)?;
    let place = store.describe(name);
    let files = counted(to_u64(objects.len()), "file");
    let what = format!("{place}, with {files} and no manifest,");
    Err(Error::new(ErrorKind::AlreadyExists { what }))
}

impl SnapshotDraft {
    /// Checks that the name is free, and starts a snapshot. Nothing is written yet.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists`: a snapshot, or what an interrupted dump left.
    /// - `Locked`: a dump of this name is running.
    /// - `Io`.
    pub fn begin(store: Arc<dyn Store>, name: &str) -> Result<Self> {
        let lock = store.lock_prefix(name)?;
        check_name_is_free(&*store, name)?;
        let id = new_snapshot_id();
        let home = new_home(&*store, name, id)?;
        Ok(Self::new(store, home, id, lock))
    }

    /// Prepares to write into a snapshot that exists: a dump that is resumed, which belongs
    /// to the other run until [`SnapshotDraft::take_over`], or a published snapshot that
    /// gets other look-up objects.
    pub(super) fn new(
        store: Arc<dyn Store>,
        home: String,
        id: SnapshotId,
        lock: Box<dyn StoreLock>,
    ) -> Self {
        Self {
            store,
            name: name_of(&home).to_owned(),
            home,
            id,
            token: uuid::Uuid::new_v4().simple().to_string(),
            owner: JournalOwner {
                id: uuid::Uuid::new_v4().simple().to_string(),
                host: host::name(),
                pid: std::process::id(),
            },
            started: Mutex::default(),
            scratch_directory: host::temporary_directory(),
            look_ups: Mutex::default(),
            is_manifest_left: AtomicBool::new(false),
            has_journal: AtomicBool::new(false),
            lock,
        }
    }

    /// Chooses the directory for nameless files with what does not fit in memory; without
    /// that it is the system's.
    #[must_use]
    pub fn with_scratch_directory(self, scratch_directory: PathBuf) -> Self {
        Self {
            scratch_directory,
            ..self
        }
    }

    /// Writes the journal: how the dump begins, so that it can be resumed after a kill,
    /// and that this run writes it. The journal is removed once the manifest is there.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists`, `Io`.
    pub fn write_journal(&self, journal: &Journal) -> Result<()> {
        let path = self.path_of(JOURNAL);
        let bytes = self.with_owner(journal);
        // Set before the attempt, since a failure may be reported although the file was
        // written.
        self.has_journal.store(true, Ordering::Relaxed);
        match self.store.put_new(&path, &bytes) {
            // The journal was written and only the answer was lost. A failed sync is
            // another matter.
            Err(error) if !lacks_sync(&error) && self.holds(&path, &bytes) => Ok(()),
            written => written,
        }
    }

    /// Replaces the journal in one step: whenever the process is killed, the dump has the
    /// old journal or the new one.
    ///
    /// # Errors
    ///
    /// - `Superseded`: the journal no longer belongs to this run.
    /// - `Io`.
    pub fn rewrite_journal(&self, journal: &Journal) -> Result<()> {
        match self.find_holder()? {
            Holder::Own(before) => self.replace_journal(&before, journal),
            holder @ (Holder::Other(_) | Holder::Nobody) => Err(self.superseded(&holder)),
        }
    }

    /// Takes over a dump that another run has begun. The journal must be unchanged since
    /// it was read.
    ///
    /// # Errors
    ///
    /// - `Superseded`: another run has resumed it, or finished it, meanwhile.
    /// - `Io`.
    pub(super) fn take_over(&self, before: &[u8], journal: &Journal) -> Result<()> {
        self.replace_journal(before, journal)?;
        self.has_journal.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn replace_journal(&self, before: &[u8], journal: &Journal) -> Result<()> {
        let path = self.path_of(JOURNAL);
        let bytes = self.with_owner(journal);
        match self.store.replace(&path, before, &bytes) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.superseded(&self.find_holder()?)),
            Err(error) if !lacks_sync(&error) && self.holds(&path, &bytes) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn with_owner(&self, journal: &Journal) -> Vec<u8> {
        let owner = Some(self.owner.clone());
        let journal = journal.clone();
        Journal { owner, ..journal }.encode()
    }

    /// Finds out which run owns the dump.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `LimitExceeded`, `Io`: the owner cannot be determined.
    fn find_holder(&self) -> Result<Holder> {
        let path = self.path_of(JOURNAL);
        let bytes = match read_journal_bytes(&*self.store, &path) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {
                return Ok(Holder::Nobody);
            }
            Err(error) => return Err(error),
        };
        let journal = Journal::decode(&bytes)
            .map_err(|error| error.at(Location::object(self.store.describe(&path))))?;
        Ok(match journal.owner {
            Some(owner) if owner.id == self.owner.id => Holder::Own(bytes),
            owner => Holder::Other(owner),
        })
    }

    fn superseded(&self, holder: &Holder) -> Error {
        let why = match holder {
            Holder::Other(Some(JournalOwner { host, pid, .. })) => {
                format!("a run on host \"{host}\", process {pid}, has taken it over")
            }
            Holder::Other(None) => "another run has taken it over".to_owned(),
            Holder::Own(_) | Holder::Nobody => {
                "its dump.json was removed, or another run has finished it".to_owned()
            }
        };
        let what = format!("the dump {}", self.describe());
        Error::new(ErrorKind::Superseded { what, why })
    }

    /// Reports whether the lock alone keeps every other run from taking the dump over, so
    /// that nobody needs to look into the journal.
    ///
    /// # Errors
    ///
    /// - `Superseded`: the lock is lost.
    fn is_alone(&self) -> Result<bool> {
        self.lock.check()?;
        Ok(self.lock.keeps_all_out())
    }

    /// Checks that no other run has taken the dump over. A dump without a journal cannot
    /// be taken over.
    ///
    /// # Errors
    ///
    /// - `Superseded`.
    /// - `Corrupt`, `LimitExceeded`, `Io`: the owner cannot be determined.
    fn check_own(&self) -> Result<()> {
        self.lock.check()?;
        if !self.has_journal.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.find_holder()? {
            Holder::Own(_) => Ok(()),
            holder @ (Holder::Other(_) | Holder::Nobody) => Err(self.superseded(&holder)),
        }
    }

    /// Returns an error if it is certain that another run has taken this dump over.
    pub fn find_successor(&self) -> Option<Error> {
        let error = self.check_own().err()?;
        matches!(error.kind(), ErrorKind::Superseded { .. }).then_some(error)
    }

    /// Removes the journal, which nobody needs once the manifest is there.
    fn remove_journal(&self, is_published: bool) {
        if !self.has_journal.load(Ordering::Relaxed) {
            return;
        }
        let path = self.path_of(JOURNAL);
        let removed = if is_published && matches!(self.is_alone(), Ok(true)) {
            self.store.remove(&path)
        } else {
            match self.find_holder() {
                Ok(Holder::Own(_)) => self.store.remove(&path),
                Ok(Holder::Other(_) | Holder::Nobody) => Ok(()),
                Err(error) => Err(error),
            }
        };
        match removed {
            Ok(()) => {}
            // The journal is not read if there is a manifest.
            Err(error) => tracing::warn!("leftover of a dump: {}", error.to_chain()),
        }
    }

    /// Returns the store.
    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Returns the full name of one of the snapshot's objects in the store.
    pub(super) fn path_of(&self, object: &str) -> String {
        format!("{}/{object}", self.home)
    }

    /// Returns how many bytes the store holds of each segment that is being written.
    pub fn writing_memory(&self) -> u64 {
        self.store.writing_memory()
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

    /// Returns the name of the snapshot for messages.
    pub fn describe(&self) -> String {
        self.store.describe(&self.home)
    }

    /// Creates a segment; returns its name below the snapshot's, and its writer.
    pub(super) fn create_segment(&self, file: &str) -> Result<(String, Box<dyn ObjectWriter>)> {
        let object = format!("{SEGMENTS}/{file}");
        let path = self.path_of(&object);
        // A run that has lost its dump should not read to the end of it. If the owner
        // cannot be determined now, publishing checks it again.
        if !self.is_alone()?
            && let Some(error) = self.find_successor()
        {
            return Err(error);
        }
        let writer = self.create(path)?;
        Ok((object, writer))
    }

    /// Creates a look-up object.
    pub(super) fn create_look_up(&self, name: &LookUpName) -> Result<Box<dyn ObjectWriter>> {
        self.create(self.path_of(&name.object()))
    }

    /// Creates an object that goes when the snapshot is discarded.
    fn create(&self, path: String) -> Result<Box<dyn ObjectWriter>> {
        let writer = self.store.create(&path)?;
        self.started
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(path);
        Ok(writer)
    }

    /// Removes sealed segments of this dump, which no manifest names yet. If the process
    /// is killed meanwhile, the remaining segments are as valid as before.
    ///
    /// # Errors
    ///
    /// - `Superseded`: another run has taken the dump over, and relies on them.
    /// - `Corrupt`, `LimitExceeded`, `Io`.
    pub fn remove_segments(&self, segments: &[ManifestSegment]) -> Result<()> {
        let mut objects = segments.iter().map(|segment| &segment.object);
        objects.try_for_each(|object| self.remove_object(&self.path_of(object)))
    }

    /// Removes an object of this dump, by its name in the store, if it is there.
    ///
    /// # Errors
    ///
    /// - As [`SnapshotDraft::remove_segments`].
    pub(super) fn remove_object(&self, path: &str) -> Result<()> {
        // Checked each time, as in `discard`.
        self.check_own()?;
        self.store.remove(path)
    }

    /// Removes an object that no manifest will name, by its name below the snapshot's.
    pub(super) fn remove_leftover(&self, object: &str) {
        if let Err(error) = self.remove_object(&self.path_of(object)) {
            tracing::warn!("leftover of a failed dump: {}", error.to_chain());
        }
    }

    /// Gives the snapshot another id, as long as nothing contains the old one.
    pub(super) fn renew_id(&mut self) -> SnapshotId {
        self.id = new_snapshot_id();
        self.id
    }

    /// Publishes the manifest of `node_count` nodes. From then on the snapshot exists.
    ///
    /// # Errors
    ///
    /// - `Internal`: no reader would accept the manifest, or it does not account for all
    ///   nodes and records.
    /// - `Corrupt`: a segment is no longer there as it was sealed.
    /// - `Superseded`: another run has taken the dump over.
    /// - `AlreadyExists`: another dump was faster; its snapshot is untouched.
    /// - `Io`: a manifest that cannot be made durable is removed again.
    pub fn publish(&self, manifest: &Manifest, node_count: usize) -> Result<()> {
        self.check_sound(manifest, node_count)?;
        // In any store: a machine that was suspended does not know for how long, and so not
        // that its lock is lost.
        self.check_own()?;
        let mut root = self.with_look_ups(manifest)?;
        let published = self
            .publish_parts(&mut root)
            .and_then(|()| self.publish_root(&root));
        if let Err(error) = &published
            && self.is_certainly_unpublished(error)
        {
            // Another try would have parts of its own.
            for part in &root.parts {
                self.remove_leftover(&part.object);
            }
        }
        published
    }

    /// Returns other snapshots of this name, which other runs have written at the same time
    /// into a store that keeps no writers apart. Of two runs, at least the one that ends
    /// last finds the other one's. If they cannot be looked for, the list says so.
    pub fn find_rivals(&self) -> Vec<String> {
        rivals_of(&*self.store, &self.home)
    }

    /// Reports whether this run's manifest is not there, after it could not be published.
    fn is_certainly_unpublished(&self, error: &Error) -> bool {
        if matches!(error.kind(), ErrorKind::AlreadyExists { .. }) {
            return true;
        }
        let found = self.store.open(&self.path_of(MANIFEST));
        let is_absent =
            found.is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound { .. }));
        is_absent && !self.is_manifest_left.load(Ordering::Relaxed)
    }

    fn publish_root(&self, root: &Manifest) -> Result<()> {
        let path = self.path_of(MANIFEST);
        let bytes = root.encode();
        self.check_readable(&bytes)?;
        // Look-ups and parts of the manifest may have taken long.
        self.lock.check()?;
        let Err(error) = self.store.put_new(&path, &bytes) else {
            self.remove_journal(true);
            return Ok(());
        };
        // The answer may have been lost, so that a retry found this run's own manifest.
        // The token in it shows that.
        let is_there = holds(&*self.store, &path, &bytes).unwrap_or_else(|unread| {
            // It may be there: what it names must stay.
            tracing::warn!(
                "whether it was published is not known: {}",
                unread.to_chain()
            );
            self.is_manifest_left.store(true, Ordering::Relaxed);
            false
        });
        if is_there {
            // The manifest is there, but it failed to become durable: after a power
            // failure it may be gone.
            if lacks_sync(&error) {
                self.take_back(&path);
                return Err(error);
            }
            self.remove_journal(true);
            return Ok(());
        }
        if matches!(error.kind(), ErrorKind::AlreadyExists { .. }) {
            let what = format!("snapshot {}", self.describe());
            return Err(Error::new(ErrorKind::AlreadyExists { what }));
        }
        Err(error)
    }

    /// Moves the segments of a large manifest into parts, and writes these. After an error
    /// the manifest names those that may be there.
    fn publish_parts(&self, root: &mut Manifest) -> Result<()> {
        if root.segments.len() <= ManifestPart::SEGMENTS {
            return Ok(());
        }
        let segments = std::mem::take(&mut root.segments);
        for (number, segments) in segments.chunks(ManifestPart::SEGMENTS).enumerate() {
            let part = ManifestPart::new(root.snapshot_id, segments.to_vec());
            let (bytes, name) = part.encode(number);
            let path = self.path_of(&name.object);
            root.parts.push(name);
            self.store.put_new(&path, &bytes).or_else(|error| {
                // The answer was lost, or a run that was killed here has left it.
                let is_there = !lacks_sync(&error) && self.holds(&path, &bytes);
                if is_there { Ok(()) } else { Err(error) }
            })?;
        }
        Ok(())
    }

    /// Checks that readers of this build take these bytes for a manifest: its version,
    /// features and length are known only now.
    fn check_readable(&self, bytes: &[u8]) -> Result<()> {
        let read = Manifest::decode(bytes, Need::Rewrite, &Limits::default());
        read.map(drop).map_err(|error| {
            let what = format!("no reader would take the manifest: {}", error.to_chain());
            Error::internal(what).at(Location::object(self.describe()))
        })
    }

    /// Checks that the manifest adds up, that it is this snapshot's, and that its segments
    /// are there.
    fn check_sound(&self, manifest: &Manifest, node_count: usize) -> Result<()> {
        let check = |is_so: bool, what: &dyn Fn() -> String| {
            if is_so {
                return Ok(());
            }
            Err(Error::internal(what()).at(Location::object(self.describe())))
        };
        check(manifest.nodes.len() == node_count, &|| {
            let found = manifest.nodes.len();
            format!("the manifest has {found} nodes, but {node_count} were to be dumped")
        })?;
        let defect = manifest.check(&Limits::default()).err();
        check(defect.is_none(), &|| {
            let defect = defect.as_ref().map(ToString::to_string);
            format!(
                "no reader would take the manifest: {}",
                defect.unwrap_or_default()
            )
        })?;
        check(manifest.snapshot_id == self.id, &|| {
            let (found, own) = (manifest.snapshot_id, self.id);
            format!("the manifest is of snapshot {found}, and this is {own}")
        })?;
        let verdict = Verdict::of(&manifest.nodes);
        check(manifest.verdict == verdict, &|| {
            let (found, of_nodes) = (manifest.verdict.as_str(), verdict.as_str());
            format!("the manifest is {found}, but by its nodes it is {of_nodes}")
        })?;
        for (index, node) in (0_u32..).zip(&manifest.nodes) {
            let of_node = manifest.segments.iter();
            let of_node = of_node.filter(|segment| segment.node_index == index);
            let records = of_node.fold(0, |sum: u64, segment| sum.saturating_add(segment.records));
            let stored = node.counters.stored;
            check(records == stored, &|| {
                let address = &node.address;
                format!("segments of {address} have {records} records, and {stored} were stored")
            })?;
        }
        self.check_segments(manifest)
    }

    /// Checks that each segment is in the store as it was sealed. If one is not,
    /// something else has removed it.
    fn check_segments(&self, manifest: &Manifest) -> Result<()> {
        let objects = self.store.list(&self.path_of(SEGMENTS))?;
        let sizes: BTreeMap<&str, u64> = objects
            .iter()
            .map(|object| (object.name.as_str(), object.size))
            .collect();
        for segment in &manifest.segments {
            let path = self.path_of(&segment.object);
            let place = Location::object(self.store.describe(&path));
            let defect = match sizes.get(path.as_str()) {
                None => Defect::SegmentMissing,
                Some(&size) if size != segment.size => Defect::CountMismatch {
                    structure: Structure::Manifest,
                    field: "size",
                    stored: segment.size,
                    computed: size,
                },
                Some(_) => continue,
            };
            return Err(Error::corrupt(defect).at(place));
        }
        Ok(())
    }

    /// Removes the manifest. Until the removal is durable, the segments stay: if the
    /// manifest comes back, it finds them.
    fn take_back(&self, path: &str) {
        if let Err(error) = self.store.remove(path) {
            self.is_manifest_left.store(true, Ordering::Relaxed);
            tracing::warn!("leftover of a failed dump: {}", error.to_chain());
        }
    }

    fn holds(&self, path: &str, bytes: &[u8]) -> bool {
        holds(&*self.store, path, bytes).unwrap_or(false)
    }

    /// Reports whether there is a segment that another dump could keep; true if that
    /// cannot be determined.
    pub fn has_sealed(&self) -> bool {
        let segments = self.store.list(&self.path_of(SEGMENTS));
        segments.map_or(true, |segments| !segments.is_empty())
    }

    /// Removes the objects that this run created, and its journal, and nothing else.
    /// Files that cannot be removed are not a snapshot, unless the manifest is among
    /// them: then the whole snapshot stays.
    ///
    /// If another run has taken the dump over, nothing is removed.
    pub fn discard(&self) {
        if self.is_manifest_left.load(Ordering::Relaxed) {
            return;
        }
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        for path in started.iter() {
            // Checked each time: without a lock, another run may take over at any moment,
            // and from then on it relies on what is there.
            match self.check_own() {
                Ok(()) => {}
                // The run's own error already says so.
                Err(error) if matches!(error.kind(), ErrorKind::Superseded { .. }) => return,
                Err(error) => {
                    tracing::warn!("leftover of a failed dump: {}", error.to_chain());
                    return;
                }
            }
            // One that was never finished is not there: its writer has removed it.
            if let Err(error) = self.store.remove(path) {
                tracing::warn!("leftover of a failed dump: {}", error.to_chain());
            }
        }
        self.remove_journal(false);
    }
}

fn new_snapshot_id() -> SnapshotId {
    SnapshotId(*uuid::Uuid::now_v7().as_bytes())
}

/// Reads the stored bytes of a journal.
///
/// # Errors
///
/// - `NotFound`, `LimitExceeded`, `Io`.
pub(super) fn read_journal_bytes(store: &dyn Store, path: &str) -> Result<Vec<u8>> {
    let object = store.open(path)?;
    check_limit("journal length", object.size(), JOURNAL_LEN_MAX)?;
    let mut bytes = vec![0; usize::try_from(object.size()).unwrap_or(usize::MAX)];
    object.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// Reports whether an object was written, but may be gone after a power failure.
pub(super) fn lacks_sync(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Io {
            operation: Operation::Sync | Operation::Remove
        }
    )
}
