//! Which files there are to salvage, and what is known of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cancel::Cancel;
use crate::defect::{Defect, Finding};
use crate::error::{Error, ErrorKind, Location, Result};
use crate::format::ids::SnapshotId;
use crate::format::manifest::{Counters, Manifest, ManifestNode, Need};
use crate::limits::Limits;
use crate::reasons::Reasons;
use crate::snapshot::{DamagedSegment, Expected, MANIFEST, SEGMENTS, SnapshotReader};
use crate::store::{DamagedPlace, ObjectReader, Store};

/// A file to salvage, and where its records belong.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) segment: DamagedSegment,
    pub(super) expected: Expected,
    /// Place in [`Sources::nodes`].
    pub(super) node: usize,
    pub(super) shard_index: u64,
    pub(super) sequence: u32,
}

/// All files, and what is known of the whole.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) manifest: Option<Manifest>,
    pub(super) nodes: Vec<ManifestNode>,
    pub(super) sources: Vec<Source>,
    pub(super) findings: Vec<Finding>,
    /// Records of segments that are not there at all.
    pub(super) records_missing: u64,
    /// No segment is missing, but those that are counted so.
    pub(super) is_all_there: bool,
    /// When the last segment was begun, by the segments' own words.
    pub(super) created_at: Option<String>,
}

/// Returns what to call the input in a message.
pub(super) fn describe(input: &DamagedPlace) -> String {
    match input {
        DamagedPlace::Snapshot { store, name } => store.describe(name),
        DamagedPlace::Segment { store, object, .. } => store.describe(object),
    }
}

/// Opens all files that there are.
pub(super) fn open(input: &DamagedPlace, limits: &Limits, cancel: &Cancel) -> Result<Sources> {
    match input {
        DamagedPlace::Snapshot { store, name } => open_snapshot(store, name, limits, cancel),
        DamagedPlace::Segment {
            store,
            object,
            is_unfinished,
        } => {
            let reader = open_object(&**store, object, *is_unfinished)?;
            let expected = Expected::default();
            let place = store.describe(object);
            let segment = DamagedSegment::open(reader, place, &expected, limits, cancel)?;
            let mut sources = Sources::without_manifest();
            sources.is_all_there = true;
            sources.add_described(vec![segment]);
            Ok(sources)
        }
    }
}

fn open_object(
    store: &dyn Store,
    object: &str,
    is_unfinished: bool,
) -> Result<Box<dyn ObjectReader>> {
    if is_unfinished {
        store.open_unfinished(object)
    } else {
        store.open(object)
    }
}

fn open_snapshot(
    store: &Arc<dyn Store>,
    name: &str,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<Sources> {
    let place = store.describe(&format!("{name}/{MANIFEST}"));
    match SnapshotReader::open(Arc::clone(store), name, Need::Read) {
        Ok(snapshot) => open_named(&**store, &snapshot, limits, cancel),
        Err(error) => {
            let is_absent = matches!(
                error.kind(),
                ErrorKind::NotFound { .. } | ErrorKind::InvalidInput { .. }
            );
            let finding = if is_absent {
                Finding::new(Location::object(place), Defect::ManifestMissing)
            } else {
                Finding::from_error(error, &place)?
            };
            let mut sources = open_all(&**store, name, limits, cancel)?;
            sources.findings.insert(0, finding);
            Ok(sources)
        }
    }
}

/// Opens the segments that a manifest names.
fn open_named(
    store: &dyn Store,
    snapshot: &SnapshotReader,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<Sources> {
    let manifest = snapshot.manifest();
    let mut sources = Sources {
        manifest: Some(manifest.clone()),
        nodes: manifest.nodes.clone(),
        sources: Vec::new(),
        findings: Vec::new(),
        records_missing: 0,
        is_all_there: true,
        created_at: None,
    };
    for named in &manifest.segments {
        let place = snapshot.segment_place(named);
        let object = match store.open(&snapshot.segment_object(named)) {
            Ok(object) => object,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {
                let missing = Finding::new(Location::object(place), Defect::SegmentMissing);
                sources.findings.push(missing);
                sources.records_missing = sources.records_missing.saturating_add(named.records);
                continue;
            }
            Err(error) => return Err(error),
        };
        let expected = Expected {
            segment: Some(named.segment_id),
            records: Some(named.records),
        };
        sources.sources.push(Source {
            segment: DamagedSegment::open(object, place, &expected, limits, cancel)?,
            expected,
            // Decoding the manifest has checked the number.
            node: usize::try_from(named.node_index).unwrap_or(0),
            shard_index: named.shard_index,
            sequence: named.sequence,
        });
    }
    Ok(sources)
}

/// Opens whatever may be a segment below a name.
fn open_all(store: &dyn Store, name: &str, limits: &Limits, cancel: &Cancel) -> Result<Sources> {
    let directory = format!("{name}/{SEGMENTS}");
    let finished = store.list(&directory)?.into_iter();
    let unfinished = store.list_unfinished(&directory)?.into_iter();
    let objects = finished
        .map(|object| (object.name, false))
        .chain(unfinished.map(|object| (object.name, true)));
    let mut segments = Vec::new();
    for (object, is_unfinished) in objects {
        let reader = open_object(store, &object, is_unfinished)?;
        let place = store.describe(&object);
        let expected = Expected::default();
        segments.push(DamagedSegment::open(
            reader, place, &expected, limits, cancel,
        )?);
    }
    if segments.is_empty() {
        let place = store.describe(&directory);
        return Err(Error::new(ErrorKind::NotFound {
            what: format!("a segment in {place}"),
        }));
    }
    let mut sources = Sources::without_manifest();
    sources.add_described(segments);
    Ok(sources)
}

impl Sources {
    fn without_manifest() -> Self {
        Self {
            manifest: None,
            nodes: Vec::new(),
            sources: Vec::new(),
            findings: Vec::new(),
            records_missing: 0,
            is_all_there: false,
            created_at: None,
        }
    }

    /// Adds segments by what they say of themselves. Those of another snapshot
    /// than most are left out.
    fn add_described(&mut self, segments: Vec<DamagedSegment>) {
        let mut sizes: BTreeMap<SnapshotId, u64> = BTreeMap::new();
        for segment in &segments {
            if let Some(id) = segment.snapshot_id() {
                let size = sizes.entry(id).or_default();
                *size = size.saturating_add(segment.size());
            }
        }
        let most = sizes.iter().max_by_key(|(_, size)| **size);
        let most = most.map(|(id, _)| *id);
        let mut nodes: BTreeMap<(u32, String, u8), usize> = BTreeMap::new();
        for segment in segments {
            if let (Some(stored), Some(computed)) = (segment.snapshot_id(), most)
                && stored != computed
            {
                let defect = Defect::Foreign {
                    structure: crate::defect::Structure::Segment,
                    field: "snapshot id",
                    stored: stored.to_string(),
                    computed: computed.to_string(),
                };
                let place = Location::object(segment.place());
                self.findings.push(Finding::new(place, defect));
                continue;
            }
            let meta = segment.meta();
            // RFC 3339 in UTC sorts by time.
            let created_at = meta
                .map(|meta| meta.created_at.clone())
                .filter(|text| text.parse::<jiff::Timestamp>().is_ok());
            self.created_at = self.created_at.take().max(created_at);
            let key = meta.map_or((u32::MAX, String::new(), 0), |meta| {
                (meta.node_index, meta.node.clone(), meta.shard_bits)
            });
            let node = *nodes.entry(key).or_insert_with(|| {
                self.nodes.push(node_of(&segment));
                self.nodes.len().saturating_sub(1)
            });
            let (shard_index, sequence) =
                meta.map_or((0, u32::MAX), |meta| (meta.shard_index, meta.sequence));
            self.sources.push(Source {
                segment,
                expected: Expected::default(),
                node,
                shard_index,
                sequence,
            });
        }
    }
}

/// Describes a node as far as a segment of it does.
fn node_of(segment: &DamagedSegment) -> ManifestNode {
    let meta = segment.meta();
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    ManifestNode {
        address: meta.map_or_else(|| "unknown".to_owned(), |meta| meta.node.clone()),
        server_version: text(meta.map(|meta| &meta.server_version)),
        pid: 0,
        server_started_at: 0,
        clock_offset: meta.map_or_else(|| "0".to_owned(), |meta| meta.clock_offset.clone()),
        walk: "unknown".to_owned(),
        shard_bits: meta.map_or(0, |meta| meta.shard_bits),
        items_start: 0,
        items_end: 0,
        counters: Counters::default(),
        reasons: Reasons::default(),
        failure: Some("salvaged without a manifest: more segments may be missing".to_owned()),
    }
}
