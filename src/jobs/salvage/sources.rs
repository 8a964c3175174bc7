//! Finds the files to salvage, and what is known about them.
//!
//! Files are examined one by one and closed again, since a snapshot may have more
//! segments than a process may have open files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::codecs::format::clock_offset::parse_offset;
use crate::codecs::format::ids::{SegmentId, SnapshotId};
use crate::codecs::format::manifest::{Manifest, ManifestNode, Need};
use crate::codecs::format::moment::parse_moment;
use crate::codecs::format::segment_meta::SegmentMeta;
use crate::engines::snapshot::{DamagedSegment, Identity, SnapshotReader, stated_identity};
use crate::engines::snapshot::{MANIFEST, SEGMENTS};
use crate::ports::store::{DamagedPlace, ObjectReader, Store};
use crate::words::cancel::Cancel;
use crate::words::counters::Counters;
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::finding::Finding;
use crate::words::limits::Limits;
use crate::words::location::Location;
use crate::words::reasons::Reasons;

/// The place of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct File {
    pub(super) object: String,
    /// Whether it never got its final name.
    pub(super) is_unfinished: bool,
}

impl File {
    pub(super) fn open(&self, store: &dyn Store) -> Result<Box<dyn ObjectReader>> {
        if self.is_unfinished {
            store.open_unfinished(&self.object)
        } else {
            store.open(&self.object)
        }
    }
}

/// A file to salvage, and where its records belong.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) file: File,
    pub(super) size: u64,
    /// The identity, if it is already known.
    pub(super) identity: Option<Identity>,
    /// The number of records that it had, if known.
    pub(super) records_total: Option<u64>,
    /// Index in [`Sources::nodes`].
    pub(super) node: usize,
    pub(super) shard_index: u64,
    pub(super) sequence: u32,
}

/// All files, and what is known about the whole.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) store: Arc<dyn Store>,
    pub(super) manifest: Option<Manifest>,
    pub(super) nodes: Vec<ManifestNode>,
    pub(super) sources: Vec<Source>,
    pub(super) findings: Vec<Finding>,
    /// Segments that are missing or cannot be read at all.
    pub(super) segments_missing: u64,
    /// Their blocks.
    pub(super) blocks_missing: u64,
    /// Their records.
    pub(super) records_missing: u64,
    /// Whether no segment is missing, except those that are counted as missing.
    pub(super) is_all_there: bool,
    /// When the last segment was begun, according to the segments.
    pub(super) created_at: Option<String>,
}

/// Returns the name of the input for messages.
pub(super) fn describe(input: &DamagedPlace) -> String {
    match input {
        DamagedPlace::Snapshot { store, name } => store.describe(name),
        DamagedPlace::Segment { store, object, .. } => store.describe(object),
    }
}

/// Examines all files.
pub(super) fn find_sources(
    input: &DamagedPlace,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<Sources> {
    match input {
        DamagedPlace::Snapshot { store, name } => find_in_snapshot(store, name, limits, cancel),
        DamagedPlace::Segment {
            store,
            object,
            is_unfinished,
        } => {
            let file = File {
                object: object.clone(),
                is_unfinished: *is_unfinished,
            };
            // Nothing else could be salvaged.
            stated_identity(&*file.open(&**store)?)
                .map_err(|error| error.at(Location::object(store.describe(object))))?;
            let mut sources = Sources::new(store, None);
            sources.is_all_there = true;
            sources.add_by_description(vec![file], limits, cancel)?;
            Ok(sources)
        }
    }
}

fn find_in_snapshot(
    store: &Arc<dyn Store>,
    name: &str,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<Sources> {
    let place = store.describe(&format!("{name}/{MANIFEST}"));
    let files = list_files(&**store, name)?;
    match SnapshotReader::open(Arc::clone(store), name, Need::Rewrite) {
        Ok(snapshot) => {
            let mut sources = Sources::new(store, Some(snapshot.manifest().clone()));
            sources.is_all_there = true;
            sources.add_named(&snapshot, files, limits, cancel)?;
            Ok(sources)
        }
        Err(error) => {
            let finding = manifest_finding(error, &place)?;
            if files.is_empty() {
                let place = store.describe(&format!("{name}/{SEGMENTS}"));
                return Err(Error::new(ErrorKind::NotFound {
                    what: format!("a segment in {place}"),
                }));
            }
            let mut sources = Sources::new(store, None);
            sources.findings.push(finding);
            sources.add_by_description(files, limits, cancel)?;
            Ok(sources)
        }
    }
}

/// Lists everything that may be a segment of a snapshot.
fn list_files(store: &dyn Store, name: &str) -> Result<Vec<File>> {
    let directory = format!("{name}/{SEGMENTS}");
    let finished = store.list(&directory)?.into_iter();
    let unfinished = store.list_unfinished(&directory)?.into_iter();
    let objects = finished
        .map(|object| (object.name, false))
        .chain(unfinished.map(|object| (object.name, true)));
    Ok(objects
        .map(|(object, is_unfinished)| File {
            object,
            is_unfinished,
        })
        .collect())
}

/// Makes the finding about a bad manifest.
fn manifest_finding(error: Error, place: &str) -> Result<Finding> {
    let kind = error.kind();
    if matches!(
        kind,
        ErrorKind::NotFound { .. }
            | ErrorKind::InvalidInput {
                field: "snapshot",
                ..
            }
    ) {
        return Ok(Finding::new(
            Location::object(place),
            Defect::ManifestMissing,
        ));
    }
    if matches!(kind, ErrorKind::InvalidInput { .. }) {
        // The file exists, and states that it is something else.
        let defect = Defect::Malformed {
            structure: Structure::Manifest,
            reason: error.to_string(),
        };
        return Ok(Finding::new(Location::object(place), defect));
    }
    Finding::from_any_error(error, place)
}

impl Sources {
    fn new(store: &Arc<dyn Store>, manifest: Option<Manifest>) -> Self {
        Self {
            store: Arc::clone(store),
            nodes: manifest
                .as_ref()
                .map_or_else(Vec::new, |manifest| manifest.nodes.clone()),
            manifest,
            sources: Vec::new(),
            findings: Vec::new(),
            segments_missing: 0,
            blocks_missing: 0,
            records_missing: 0,
            is_all_there: false,
            created_at: None,
        }
    }

    fn tell(&mut self, file: &File, defect: Defect) {
        let place = Location::object(self.store.describe(&file.object));
        self.findings.push(Finding::new(place, defect));
    }

    /// Adds the segments that a manifest names, wherever they are. A file is what its
    /// header and tail state, whatever its name is. If these are damaged, the name
    /// counts.
    fn add_named(
        &mut self,
        snapshot: &SnapshotReader,
        files: Vec<File>,
        limits: &Limits,
        cancel: &Cancel,
    ) -> Result<()> {
        let manifest = snapshot.manifest();
        let mut objects: BTreeSet<File> = files.into_iter().collect();
        // A segment may be named outside of the usual directory.
        objects.extend(manifest.segments.iter().map(|named| File {
            object: snapshot.segment_object(named),
            is_unfinished: false,
        }));
        let mut by_id: BTreeMap<SegmentId, (File, Option<Identity>, u64)> = BTreeMap::new();
        let mut unstated: BTreeMap<String, u64> = BTreeMap::new();
        let mut newer: BTreeMap<String, Error> = BTreeMap::new();
        for file in objects {
            cancel.check()?;
            let opened = file.open(&*self.store).and_then(|object| {
                let identity = stated_identity(&*object)?;
                Ok((identity, object.size()))
            });
            match opened {
                Ok((Some(identity), size)) => {
                    let known = by_id.entry(identity.segment);
                    let entry = (file, Some(identity), size);
                    known.or_insert(entry);
                }
                Ok((None, size)) => {
                    unstated.insert(file.object, size);
                }
                Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {}
                Err(error) if error.is_newer() => {
                    newer.insert(file.object, error);
                }
                Err(error) => {
                    let place = self.store.describe(&file.object);
                    self.findings.push(Finding::from_any_error(error, &place)?);
                }
            }
        }
        for named in &manifest.segments {
            let object = snapshot.segment_object(named);
            let found = by_id.remove(&named.segment_id).or_else(|| {
                let size = unstated.remove(&object)?;
                let file = File {
                    object: object.clone(),
                    is_unfinished: false,
                };
                Some((file, None, size))
            });
            let Some((file, _, size)) = found else {
                let place = Location::object(snapshot.segment_place(named));
                if let Some(error) = newer.remove(&object) {
                    // A newer build salvages all of it.
                    return Err(error.at(place));
                }
                let is_unreadable = self
                    .findings
                    .iter()
                    .any(|finding| finding.location == place);
                if !is_unreadable {
                    self.findings
                        .push(Finding::new(place, Defect::SegmentMissing));
                }
                self.segments_missing = self.segments_missing.saturating_add(1);
                self.blocks_missing = self.blocks_missing.saturating_add(named.blocks);
                self.records_missing = self.records_missing.saturating_add(named.records);
                continue;
            };
            if file.object != object {
                // The file is used where it is, under the name of another segment.
                let defect = Defect::Foreign {
                    structure: Structure::Segment,
                    field: "name",
                    stored: file.object.clone(),
                    computed: object,
                };
                self.tell(&file, defect);
            }
            self.sources.push(Source {
                file,
                size,
                identity: Some(Identity {
                    segment: named.segment_id,
                    snapshot: Some(manifest.snapshot_id),
                }),
                records_total: Some(named.records),
                // Decoding the manifest has checked the index.
                node: usize::try_from(named.node_index).unwrap_or(0),
                shard_index: named.shard_index,
                sequence: named.sequence,
            });
        }
        for (file, _, _) in by_id.into_values() {
            self.tell(&file, Defect::Stray);
        }
        for (object, error) in newer {
            let place = self.store.describe(&object);
            self.findings
                .push(Finding::from_any_version(error, &place)?);
        }
        // Nothing is known about the other files. They are used only if there is nothing
        // else.
        if self.sources.is_empty() && !manifest.segments.is_empty() {
            let left = unstated.into_keys().map(|object| File {
                object,
                is_unfinished: false,
            });
            self.manifest = None;
            self.nodes.clear();
            self.is_all_there = false;
            return self.add_by_description(left.collect(), limits, cancel);
        }
        Ok(())
    }

    /// Adds files by their own descriptions. Files of another snapshot than most are left
    /// out, and so is a second copy of a segment.
    fn add_by_description(
        &mut self,
        files: Vec<File>,
        limits: &Limits,
        cancel: &Cancel,
    ) -> Result<()> {
        let mut described = Vec::new();
        for file in files {
            let place = self.store.describe(&file.object);
            let opened = file
                .open(&*self.store)
                .and_then(|object| {
                    DamagedSegment::open(object, place.clone(), None, limits, cancel)
                })
                .and_then(|segment| {
                    let meta = segment.read_meta(cancel)?;
                    Ok((segment.identity(), segment.size(), meta))
                });
            match opened {
                Ok((Some(identity), size, meta)) => described.push(Described {
                    file,
                    identity,
                    size,
                    meta,
                }),
                Ok((None, _, _)) => {
                    let structure = Structure::Segment;
                    self.tell(&file, Defect::BadMagic { structure });
                }
                Err(error) => self.findings.push(Finding::from_any_error(error, &place)?),
            }
        }
        let mut sizes: BTreeMap<SnapshotId, u64> = BTreeMap::new();
        for described in &described {
            if let Some(id) = described.identity.snapshot {
                let size = sizes.entry(id).or_default();
                *size = size.saturating_add(described.size);
            }
        }
        let most = sizes.iter().max_by_key(|(_, size)| **size);
        let most = most.map(|(id, _)| *id);
        // Sorted by node, so that nodes keep their order; of two copies of a segment, the
        // larger one comes first.
        described.sort_by(|a, b| {
            let key = |described: &Described| {
                let meta = described.meta.as_ref();
                meta.map_or(u32::MAX, |meta| meta.node_index)
            };
            (key(a), std::cmp::Reverse(a.size)).cmp(&(key(b), std::cmp::Reverse(b.size)))
        });
        let mut nodes: BTreeMap<(u32, String, u8), usize> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for described in described {
            if let (Some(stored), Some(computed)) = (described.identity.snapshot, most)
                && stored != computed
            {
                let defect = Defect::Foreign {
                    structure: Structure::Segment,
                    field: "snapshot id",
                    stored: stored.to_string(),
                    computed: computed.to_string(),
                };
                self.tell(&described.file, defect);
                continue;
            }
            if !seen.insert(described.identity.segment) {
                self.tell(&described.file, Defect::Stray);
                continue;
            }
            self.add(described, &mut nodes);
        }
        Ok(())
    }

    fn add(&mut self, described: Described, nodes: &mut BTreeMap<(u32, String, u8), usize>) {
        let meta = described.meta.as_ref();
        // Times in RFC 3339 and UTC sort chronologically as text.
        let created_at = meta
            .map(|meta| meta.created_at.clone())
            .filter(|text| parse_moment(text).is_some());
        self.created_at = self.created_at.take().max(created_at);
        let key = meta.map_or((u32::MAX, String::new(), 0), |meta| {
            (meta.node_index, meta.node.clone(), meta.shard_bits)
        });
        let node = *nodes.entry(key).or_insert_with(|| {
            self.nodes.push(node_of(meta));
            self.nodes.len().saturating_sub(1)
        });
        let (shard_index, sequence) =
            meta.map_or((0, u32::MAX), |meta| (meta.shard_index, meta.sequence));
        self.sources.push(Source {
            file: described.file,
            size: described.size,
            identity: Some(described.identity),
            records_total: None,
            node,
            shard_index,
            sequence,
        });
    }
}

/// A file that is part of a segment, and its own description.
struct Described {
    file: File,
    identity: Identity,
    size: u64,
    meta: Option<SegmentMeta>,
}

/// Describes a node as far as a segment of it does.
fn node_of(meta: Option<&SegmentMeta>) -> ManifestNode {
    // The description has not been checked, and a manifest is.
    let clock_offset = meta.and_then(|meta| parse_offset(&meta.clock_offset));
    ManifestNode {
        address: meta.map_or_else(|| "unknown".to_owned(), |meta| meta.node.clone()),
        server_version: meta.map_or_else(String::new, |meta| meta.server_version.clone()),
        pid: 0,
        server_started_at: 0,
        clock_offset: clock_offset.unwrap_or(0).to_string(),
        walk: "unknown".to_owned(),
        shard_bits: meta.map_or(0, |meta| meta.shard_bits),
        items_start: 0,
        items_end: 0,
        unlisted: 0,
        look_ups: Vec::new(),
        unsure: 0,
        counters: Counters::default(),
        reasons: Reasons::default(),
        failure: Some("salvaged without a manifest: more segments may be missing".to_owned()),
    }
}
