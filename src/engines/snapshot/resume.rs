//! Finds an interrupted dump, and the part of it that is worth keeping.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::codecs::format::column::KeyRecord;
use crate::codecs::format::compression::SectionReader;
use crate::codecs::format::file_header::FileHeader;
use crate::codecs::format::ids::{SnapshotId, parse_hex};
use crate::codecs::format::journal::Journal;
use crate::codecs::format::layout::FILE_HEADER_SIZE;
use crate::codecs::format::manifest::{Manifest, ManifestSegment, Need};
use crate::codecs::format::segment_meta::SegmentMeta;
use crate::codecs::format::segment_name::{is_segment_file_name, node_of_file};
use crate::engines::snapshot::draft::{SnapshotDraft, read_journal_bytes};
use crate::engines::snapshot::files::{JOURNAL, LOOK_UPS, MANIFEST, PARTS, SEGMENTS};
use crate::engines::snapshot::home::{Stage, can_resume, home_of, stage_of};
use crate::engines::snapshot::reader::SnapshotReader;
use crate::engines::snapshot::segment_reader::SegmentReader;
use crate::ports::store::{ObjectInfo, ObjectReader, Store, StoreLock};
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::limits::Limits;
use crate::words::location::Location;
use crate::words::units::to_u64;

/// What exists under a name.
#[derive(Debug)]
pub enum Leftover {
    /// Nothing: the dump starts from the beginning.
    Nothing,
    /// A finished snapshot.
    Finished(Box<Manifest>),
    /// An unfinished dump.
    Unfinished(Box<Unfinished>),
}

/// An unfinished dump, ready to be resumed.
#[derive(Debug)]
pub struct Unfinished {
    /// Continues the dump.
    pub draft: SnapshotDraft,
    /// How the dump began.
    pub journal: Journal,
    /// Its sealed segments, in the order of node, shard and sequence.
    pub kept: Vec<ManifestSegment>,
    /// The journal as it was read.
    journal_bytes: Vec<u8>,
}

impl Unfinished {
    /// Takes the dump over for this run. The run that wrote it so far removes nothing of
    /// it from then on, and publishes nothing.
    ///
    /// # Errors
    ///
    /// - `Superseded`: another run was faster.
    /// - `Io`.
    pub fn take_over(&self) -> Result<()> {
        self.draft.take_over(&self.journal_bytes, &self.journal)
    }
}

impl Leftover {
    /// Looks at what exists under a name. Unsealed parts of an unfinished dump are
    /// removed, and never anything else.
    ///
    /// # Errors
    ///
    /// - `Locked`: a dump of this name is running.
    /// - `InvalidInput`: files that belong to no dump, or to another one.
    /// - `Corrupt`: the journal or a sealed segment is damaged.
    /// - `Io`.
    pub fn find(store: Arc<dyn Store>, name: &str) -> Result<Self> {
        let lock = store.lock_prefix(name)?;
        Self::look(store, name, lock, true)
    }

    /// Looks at what exists as [`Leftover::find`] does, but removes nothing.
    ///
    /// # Errors
    ///
    /// - As [`Leftover::find`].
    pub fn preview(store: Arc<dyn Store>, name: &str) -> Result<Self> {
        // Taking the lock would create the directory if there is none.
        if store.list(name)?.is_empty() && store.list_unfinished(name)?.is_empty() {
            return Ok(Self::Nothing);
        }
        let lock = store.look_at_lock(name)?;
        Self::look(store, name, lock, false)
    }

    fn look(
        store: Arc<dyn Store>,
        name: &str,
        lock: Box<dyn StoreLock>,
        is_to_remove: bool,
    ) -> Result<Self> {
        let home = home_of(&*store, name)?;
        let name = home.as_str();
        let objects = store.list(name)?;
        let unfinished = store.list_unfinished(name)?;
        if objects.is_empty() && unfinished.is_empty() {
            return Ok(Self::Nothing);
        }
        let is_cut_journal =
            |object: &ObjectInfo| is_attempt_at(&object.name, &format!("{name}/{JOURNAL}"));
        if objects.is_empty() && unfinished.iter().all(is_cut_journal) {
            for object in unfinished.iter().filter(|_| is_to_remove) {
                store.remove_unfinished(&object.name)?;
            }
            return Ok(Self::Nothing);
        }
        let manifest = format!("{name}/{MANIFEST}");
        if objects.iter().any(|object| object.name == manifest) {
            // A journal next to a manifest is not read.
            let manifest = read_manifest(Arc::clone(&store), name)?;
            return Ok(Self::Finished(Box::new(manifest)));
        }
        let (journal, journal_bytes) = read_journal(&*store, name)?;
        let mut kept = Vec::new();
        let segments = format!("{name}/{SEGMENTS}/");
        for object in &objects {
            if let Some(file) = object.name.strip_prefix(&segments)
                && is_segment_file_name(file)
            {
                kept.push(describe_segment(&*store, name, file, &journal)?);
            }
        }
        kept.sort_by_key(|segment| (segment.node_index, segment.shard_index, segment.sequence));
        check_sequence(&*store, name, &kept)?;
        if is_to_remove {
            remove_derived(&*store, name)?;
        }
        for object in unfinished.iter().filter(|_| is_to_remove) {
            if is_own(&*store, &object.name, &segments, &journal)? {
                store.remove_unfinished(&object.name)?;
            } else {
                tracing::warn!(
                    object = store.describe(&object.name),
                    "not a file of this dump; it stays"
                );
            }
        }
        let draft = SnapshotDraft::new(store, home, journal.snapshot_id, lock);
        Ok(Self::Unfinished(Box::new(Unfinished {
            draft,
            journal,
            kept,
            journal_bytes,
        })))
    }
}

/// Visits the records of a sealed segment, without their values.
///
/// # Errors
///
/// - `Corrupt`, `Io`, and what `visit` fails with.
pub fn visit_records(
    draft: &SnapshotDraft,
    segment: &ManifestSegment,
    visit: &mut dyn FnMut(&KeyRecord<'_>) -> Result<()>,
) -> Result<()> {
    let reader = open_segment(draft.store(), &draft.path_of(&segment.object))?;
    let mut sections = SectionReader::default();
    for block in 0..reader.block_count() {
        let columns = reader.read_keys(block, &mut sections)?;
        for record in columns.iter() {
            visit(&record)?;
        }
    }
    Ok(())
}

/// Reads the description in a sealed segment.
///
/// # Errors
///
/// - `Corrupt`, `Io`.
pub fn read_segment_meta(draft: &SnapshotDraft, segment: &ManifestSegment) -> Result<SegmentMeta> {
    open_segment(draft.store(), &draft.path_of(&segment.object))?.read_meta(Need::Rewrite)
}

/// Returns the manifest of the snapshot with this name, if there is one.
///
/// # Errors
///
/// - `Corrupt`, `Newer`, `Io`.
pub fn find_manifest(store: &Arc<dyn Store>, name: &str) -> Result<Option<Manifest>> {
    match stage_of(&**store, name)? {
        Stage::Finished => read_manifest(Arc::clone(store), name).map(Some),
        Stage::Unfinished | Stage::Neither => Ok(None),
    }
}

fn read_manifest(store: Arc<dyn Store>, name: &str) -> Result<Manifest> {
    let snapshot = SnapshotReader::open(store, name, Need::Read)?;
    Ok(snapshot.manifest().clone())
}

/// What an unfinished dump has sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Nodes with sealed segments.
    pub nodes: u64,
    /// Sealed segments.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
}

/// Counts the sealed segments of a name by their own descriptions. Those that cannot be
/// read are not counted.
///
/// # Errors
///
/// - `Io`: the store cannot be listed.
pub fn count_sealed(store: &dyn Store, name: &str) -> Result<Sealed> {
    let name = &home_of(store, name)?;
    let mut sealed = Sealed::default();
    let files = list_segment_files(store, name)?;
    for file in &files {
        if let Ok(segment) = open_segment(store, &format!("{name}/{SEGMENTS}/{file}")) {
            sealed.segments = sealed.segments.saturating_add(1);
            sealed.records = sealed.records.saturating_add(segment.toc().record_count);
        }
    }
    let nodes: BTreeSet<u32> = files.iter().filter_map(|file| node_of_file(file)).collect();
    sealed.nodes = to_u64(nodes.len());
    Ok(sealed)
}

/// Returns which nodes have sealed segments under a name, judging by file names.
///
/// # Errors
///
/// - `Io`: the store cannot be listed.
pub fn find_sealed_nodes(store: &dyn Store, name: &str) -> Result<BTreeSet<u32>> {
    let name = &home_of(store, name)?;
    let files = list_segment_files(store, name)?;
    Ok(files.iter().filter_map(|file| node_of_file(file)).collect())
}

fn list_segment_files(store: &dyn Store, name: &str) -> Result<Vec<String>> {
    let segments = format!("{name}/{SEGMENTS}/");
    let objects = store.list(&format!("{name}/{SEGMENTS}"))?;
    let files = objects
        .iter()
        .filter_map(|object| object.name.strip_prefix(&segments));
    Ok(files
        .filter(|file| is_segment_file_name(file))
        .map(str::to_owned)
        .collect())
}

/// Begins a new dump in place of an unfinished one. All files of the old dump are
/// removed, and no others are touched. If the process is killed meanwhile, either the old
/// dump or the new one remains.
///
/// `old` is the dump that was found there. Returns the new dump and its journal, which
/// `journal` makes for the new id.
///
/// # Errors
///
/// - `Locked`: a dump of this name is running.
/// - `Superseded`: another run was faster.
/// - `Corrupt`, `InvalidInput`: the journal is damaged, or gone.
/// - `Io`.
pub fn replace_unfinished(
    store: Arc<dyn Store>,
    name: &str,
    old: SnapshotId,
    journal: impl FnOnce(SnapshotId) -> Journal,
) -> Result<(SnapshotDraft, Journal)> {
    let lock = store.lock_prefix(name)?;
    let home = home_of(&*store, name)?;
    let name = home.as_str();
    let (before, before_bytes) = read_journal(&*store, name)?;
    if before.snapshot_id != old || store.open(&format!("{name}/{MANIFEST}")).is_ok() {
        let what = format!("the dump {}", store.describe(name));
        let why = "another run was faster".to_owned();
        return Err(Error::new(ErrorKind::Superseded { what, why }));
    }
    let mut draft = SnapshotDraft::new(Arc::clone(&store), home.clone(), old, lock);
    // A run that may still be writing the old dump must see first that it lost it.
    draft.take_over(&before_bytes, &before)?;
    let segments = format!("{name}/{SEGMENTS}/");
    for object in store.list_unfinished(name)? {
        if is_own(&*store, &object.name, &segments, &before)? {
            store.remove_unfinished(&object.name)?;
        }
    }
    remove_derived(&*store, name)?;
    for file in list_segment_files(&*store, name)? {
        let path = format!("{segments}{file}");
        if has_id(&*store.open(&path)?, old)? {
            draft.remove_object(&path)?;
        } else {
            tracing::warn!(
                object = store.describe(&path),
                "not a file of the dump that did not finish; it stays"
            );
        }
    }
    let journal = journal(draft.renew_id());
    draft.rewrite_journal(&journal)?;
    Ok((draft, journal))
}

/// Reports whether an object begins like a segment of a dump.
fn has_id(object: &dyn ObjectReader, id: SnapshotId) -> Result<bool> {
    let mut header = [0; FILE_HEADER_SIZE];
    if object.size() < to_u64(FILE_HEADER_SIZE) {
        return Ok(false);
    }
    object.read_at(0, &mut header)?;
    Ok(FileHeader::decode(&header).is_ok_and(|header| header.ids.snapshot == id))
}

/// Returns the names and journals of unfinished dumps.
///
/// # Errors
///
/// - `Io`.
pub fn list_unfinished_dumps(store: &dyn Store) -> Result<Vec<(String, Journal)>> {
    let mut found = Vec::new();
    for name in store.list_below("")? {
        if stage_of(store, &name)? != Stage::Unfinished {
            continue;
        }
        let read = home_of(store, &name).and_then(|home| read_journal(store, &home));
        match read {
            Ok((journal, _)) => found.push((name, journal)),
            Err(error) => {
                let reason = error.to_chain();
                tracing::warn!("an unfinished dump that no run can resume: {reason}");
            }
        }
    }
    Ok(found)
}

/// Returns the journal of the unfinished dump with this name, if there is one.
pub fn find_journal(store: &dyn Store, name: &str) -> Option<Journal> {
    let home = &home_of(store, name).ok()?;
    can_resume(store, home)
        .then(|| read_journal(store, home).ok())
        .flatten()
        .map(|(journal, _)| journal)
}

/// Reads a journal; returns its bytes as well.
fn read_journal(store: &dyn Store, name: &str) -> Result<(Journal, Vec<u8>)> {
    let path = format!("{name}/{JOURNAL}");
    let bytes = match read_journal_bytes(store, &path) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {
            let allowed = "there are files, but no dump.json, which is needed to resume a dump; pass \
                           another --name, or make a snapshot of them by mcsnap salvage";
            return Err(Error::invalid_input("name", store.describe(name), allowed));
        }
        Err(error) => return Err(error),
    };
    let journal = Journal::decode(&bytes);
    let journal = journal.map_err(|error| error.at(Location::object(store.describe(&path))))?;
    Ok((journal, bytes))
}

fn open_segment(store: &dyn Store, path: &str) -> Result<SegmentReader> {
    let object = store.open(path)?;
    SegmentReader::open_object(object, store.describe(path), &Limits::default())
}

/// Makes the manifest entry of a sealed segment, equal to the one made when it was
/// sealed.
fn describe_segment(
    store: &dyn Store,
    name: &str,
    file: &str,
    journal: &Journal,
) -> Result<ManifestSegment> {
    let object = format!("{SEGMENTS}/{file}");
    let path = format!("{name}/{object}");
    let size = store.open(&path)?.size();
    let segment = open_segment(store, &path)?;
    // The manifest to come lists no feature.
    let meta = segment.read_meta(Need::Rewrite)?;
    let node = usize::try_from(meta.node_index)
        .ok()
        .and_then(|index| journal.nodes.get(index));
    if meta.snapshot_id != journal.snapshot_id
        || meta.shard_bits != journal.shard_bits
        || node.is_none_or(|node| node.address != meta.node)
    {
        let place = store.describe(&path);
        let allowed = "it is no segment of the dump that dump.json tells of; move it away";
        return Err(Error::invalid_input("segment", place, allowed));
    }
    check_stored_bytes(&segment)?;
    let digest = segment.compute_digest()?;
    Ok(segment.to_manifest(object, size, digest, &meta))
}

/// Checks every stored byte, since the kept records are never read from the server again.
fn check_stored_bytes(segment: &SegmentReader) -> Result<()> {
    for block in 0..segment.block_count() {
        let stored = segment.read_block(block)?.check_stored();
        stored.map_err(|defect| Error::corrupt(defect).at(segment.block_location(block)))?;
    }
    (0..segment.toc().entries.len()).try_for_each(|number| segment.read_other_frame(number))
}

/// Checks that no two segments have the same place: they would have the same keys.
fn check_sequence(store: &dyn Store, name: &str, kept: &[ManifestSegment]) -> Result<()> {
    let place =
        |segment: &ManifestSegment| (segment.node_index, segment.shard_index, segment.sequence);
    for pair in kept.windows(2) {
        if let [one, other] = pair
            && place(one) == place(other)
        {
            let path = store.describe(&format!("{name}/{}", other.object));
            let allowed = format!(
                "it stands in the place of {}; move one of them away",
                one.object
            );
            return Err(Error::invalid_input("segment", path, allowed));
        }
    }
    Ok(())
}

/// Reports whether an unfinished object was written by this dump: it has the name of a
/// segment, and the dump's id as far as it was written.
fn is_own(store: &dyn Store, object: &str, segments: &str, journal: &Journal) -> Result<bool> {
    let is_named_so = object
        .strip_prefix(segments)
        .is_some_and(|file| file.contains(".mcs") && is_segment_file_name(start_of(file)));
    if !is_named_so {
        let name = segments
            .strip_suffix(&format!("{SEGMENTS}/"))
            .unwrap_or(segments);
        let is_attempt = |of| is_attempt_at(object, &format!("{name}{of}"));
        let is_part = object
            .strip_prefix(&format!("{name}{PARTS}/"))
            .is_some_and(|file| is_part_file_name(file.get(..PART_FILE_LEN).unwrap_or(file)));
        let is_look_up = object
            .strip_prefix(&format!("{name}{LOOK_UPS}/"))
            .is_some_and(|file| is_look_up_file_name(file.get(..36).unwrap_or(file)));
        let is_derived = is_part || is_look_up;
        return Ok(is_attempt(MANIFEST) || is_attempt(JOURNAL) || is_derived);
    }
    let reader = match store.open_unfinished(object) {
        Ok(reader) => reader,
        // The store has none of its bytes.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => return Ok(true),
        Err(error) => return Err(error),
    };
    Ok(reader.size() < to_u64(FILE_HEADER_SIZE) || has_id(&*reader, journal.snapshot_id)?)
}

/// Bytes of the name of a part's file.
const PART_FILE_LEN: usize = 19;

/// Reports whether a file is named as a part of a manifest: `00017-0123abcd.json`.
fn is_part_file_name(file: &str) -> bool {
    let parts = file
        .strip_suffix(".json")
        .and_then(|stem| stem.split_once('-'));
    parts.is_some_and(|(number, start)| {
        let is_number = number.len() == 5 && number.bytes().all(|byte| byte.is_ascii_digit());
        is_number && start.len() == 8 && start.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Reports whether a file is named as a look-up object: 32 hexadecimal digits and `.mcl`.
fn is_look_up_file_name(file: &str) -> bool {
    let id = file.strip_suffix(".mcl");
    id.is_some_and(|id| parse_hex::<16>(id).is_some())
}

/// Removes look-up objects, and parts of a manifest, that no manifest names; a run that was
/// killed before it could publish one has left them. All are made anew.
fn remove_derived(store: &dyn Store, name: &str) -> Result<()> {
    for folder in [PARTS, LOOK_UPS] {
        let prefix = format!("{name}/{folder}/");
        for object in store.list(&format!("{name}/{folder}"))? {
            let is_derived = object.name.strip_prefix(&prefix).is_some_and(|file| {
                let is_part = folder == PARTS && is_part_file_name(file);
                is_part || (folder == LOOK_UPS && is_look_up_file_name(file))
            });
            if is_derived {
                store.remove(&object.name)?;
            }
        }
    }
    Ok(())
}

/// Reports whether an unfinished object was to be renamed to `wanted`, and was
/// interrupted before it became visible.
fn is_attempt_at(object: &str, wanted: &str) -> bool {
    object
        .strip_prefix(wanted)
        .and_then(|rest| rest.strip_prefix('.'))
        .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Strips what a store appends to distinguish two attempts.
fn start_of(file: &str) -> &str {
    let end = file
        .find(".mcs")
        .map_or(file.len(), |at| at.saturating_add(4));
    file.get(..end).unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::store::MemoryStore;

    #[test]
    fn what_is_made_of_segments_is_removed_and_nothing_else() {
        let store = MemoryStore::new();
        let derived = [
            "n/parts/00000-0123abcd.json",
            "n/parts/00017-ffffffff.json",
            "n/look-ups/0123456789abcdef0123456789abcdef.mcl",
        ];
        let others = [
            "n/dump.json",
            "n/look-ups/0123.mcl",
            "n/look-ups/README",
            "n/parts/0-0123abcd.json",
            "n/parts/00000-0123abcd.json.bak",
            "n/parts/mine.json",
            "n/segments/n0000-s000-00000-01020304.mcs",
            "other/parts/00000-0123abcd.json",
        ];
        for name in derived.into_iter().chain(others) {
            store.put_new(name, b"x").unwrap();
        }
        remove_derived(&store, "n").unwrap();
        let left = store.list("").unwrap().into_iter();
        let left: Vec<String> = left.map(|object| object.name).collect();
        assert_eq!(left, others);
    }
}
