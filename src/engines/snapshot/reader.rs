//! Reads a published snapshot.

use std::sync::Arc;

use crate::codecs::format::bytes::{check_bound, check_count};
use crate::codecs::format::manifest::{
    Digest128, LookUpName, Manifest, ManifestNode, ManifestSegment, Need, PartName, SegmentSums,
    ShardHash, Totals, Verdict, Version,
};
use crate::codecs::format::manifest_part::ManifestPart;
use crate::codecs::format::moment::parse_moment;
use crate::codecs::format::sealed_text::checksum_of;
use crate::codecs::format::segment_meta::SegmentMeta;
use crate::codecs::format::segment_order::SegmentOrder;
use crate::engines::snapshot::files::{LOOK_UPS, MANIFEST, PARTS, SEGMENTS};
use crate::engines::snapshot::home::{can_resume, home_of};
use crate::engines::snapshot::segment_opening::Opening;
use crate::engines::snapshot::segment_reader::SegmentReader;
use crate::ports::store::{ObjectInfo, Store, unfinished_name};
use crate::words::counters::Counters;
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::limits::{Limits, check_limit};
use crate::words::location::Location;
use crate::words::node::NodeSpec;
use crate::words::reasons::Reasons;
use crate::words::units::UnixSecs;

/// What is read of a manifest with the request that opens it: all of most.
const ROOT_LEN: u64 = 1 << 20;

/// Reads the segments that a manifest names.
#[derive(Debug)]
pub struct SnapshotReader {
    store: Arc<dyn Store>,
    name: String,
    /// Whether the name is that of a single segment, with a manifest made for it.
    is_lone_segment: bool,
    manifest: Manifest,
    /// The manifest's own checksum; `None` of a lone segment.
    checksum: Option<String>,
    limits: Limits,
}

impl SnapshotReader {
    /// Reads and checks the manifest and all its parts; opens no segment. The name of a
    /// segment stands for a snapshot that consists of it alone.
    ///
    /// # Errors
    ///
    /// - `NotFound`, or `InvalidInput` if the name is not a snapshot's.
    /// - `Newer`, `Corrupt`, `LimitExceeded`: from [`Manifest::decode`].
    /// - `Io`.
    pub fn open(store: Arc<dyn Store>, name: &str, need: Need) -> Result<Self> {
        let mut snapshot = Self::open_root(store, name, need)?;
        snapshot.read_parts(&[])?;
        Ok(snapshot)
    }

    /// Reads and checks the manifest, but none of its parts: if it has some, no segment is
    /// known yet.
    ///
    /// # Errors
    ///
    /// - As [`SnapshotReader::open`].
    pub fn open_root(store: Arc<dyn Store>, name: &str, need: Need) -> Result<Self> {
        let limits = Limits::default();
        let path = format!("{name}/{MANIFEST}");
        let place = store.describe(&path);
        let object = match store.open_at(&path, 0..ROOT_LEN) {
            Ok(object) => object,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {
                let home = home_of(&*store, name)?;
                if home != name {
                    return Self::open_root(store, &home, need);
                }
                if let Some(manifest) = describe_lone_segment(&*store, name, need, &limits)? {
                    return Ok(Self {
                        store,
                        name: name.to_owned(),
                        is_lone_segment: true,
                        manifest,
                        checksum: None,
                        limits,
                    });
                }
                return Err(not_a_snapshot(&*store, name).unwrap_or(error));
            }
            Err(error) => return Err(error),
        };
        check_limit("manifest length", object.size(), limits.manifest_len_max)?;
        let len = usize::try_from(object.size()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        object.read_at(0, &mut bytes)?;
        let manifest = Manifest::decode(&bytes, need, &limits)
            .map_err(|error| error.at(Location::object(place)))?;
        Ok(Self {
            store,
            name: name.to_owned(),
            is_lone_segment: false,
            manifest,
            checksum: checksum_of(&bytes),
            limits,
        })
    }

    /// Reads those parts of the manifest that have segments of the wanted nodes; all of
    /// them if none is wanted. Other segments are not known afterwards.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: an address that is not in the snapshot.
    /// - `Corrupt`: a part is missing or damaged, or it is another one; `Io`.
    ///
    /// # Memory
    ///
    /// One part, and some 350 bytes for each segment.
    pub fn read_parts(&mut self, wanted: &[String]) -> Result<()> {
        let selected = self.select_nodes(wanted)?;
        let is_selected = |node: u32| {
            let node = usize::try_from(node).unwrap_or(usize::MAX);
            selected.get(node) == Some(&true)
        };
        let mut segments = Vec::new();
        for part in &self.manifest.parts {
            if (part.first_node..=part.last_node).any(is_selected) {
                segments.append(&mut self.read_part(part)?.segments);
            }
        }
        if self.manifest.parts.is_empty() {
            return Ok(());
        }
        let mut listed = Listed::new(&selected);
        listed
            .add(&segments)
            .and_then(|()| listed.check(&self.manifest))
            .map_err(|defect| self.manifest_fault(defect))?;
        self.manifest.segments = segments;
        Ok(())
    }

    /// Passes the segments of the wanted nodes to `take`, of all nodes if none is wanted, in
    /// their order: part by part, if the manifest is in parts that have not been read.
    ///
    /// Gets an error in the end if they do not add up to what the manifest says: all
    /// together, or those of a shard.
    ///
    /// # Errors
    ///
    /// - As [`SnapshotReader::read_parts`], and those of `take`.
    ///
    /// # Memory
    ///
    /// One part, of some 350 bytes for each segment; some 30 bytes for each segment of all,
    /// if all nodes are wanted, and for each shard.
    pub fn each_part(
        &self,
        wanted: &[String],
        mut take: impl FnMut(&[&ManifestSegment]) -> Result<()>,
    ) -> Result<()> {
        if !self.manifest.segments.is_empty() || self.manifest.parts.is_empty() {
            return take(&self.segments_of(wanted)?);
        }
        let selected = self.select_nodes(wanted)?;
        let is_selected = |node: u32| {
            let node = usize::try_from(node).unwrap_or(usize::MAX);
            selected.get(node) == Some(&true)
        };
        let mut listed = Listed::new(&selected);
        for part in &self.manifest.parts {
            if !(part.first_node..=part.last_node).any(is_selected) {
                continue;
            }
            let segments = self.read_part(part)?.segments;
            let added = listed.add(&segments);
            added.map_err(|defect| self.manifest_fault(defect))?;
            let of_nodes = segments.iter();
            let of_nodes = of_nodes.filter(|segment| is_selected(segment.node_index));
            take(&of_nodes.collect::<Vec<_>>())?;
        }
        let checked = listed.check(&self.manifest);
        checked.map_err(|defect| self.manifest_fault(defect))
    }

    fn manifest_fault(&self, defect: Defect) -> Error {
        Error::corrupt(defect).at(Location::object(self.store.describe(&self.manifest_path())))
    }

    fn read_part(&self, part: &PartName) -> Result<ManifestPart> {
        self.read_part_bytes(part).map(|(_, decoded)| decoded)
    }

    /// Reads and checks a part of the manifest; returns its bytes, too.
    pub(super) fn read_part_bytes(&self, part: &PartName) -> Result<(Vec<u8>, ManifestPart)> {
        let path = format!("{}/{}", self.name, part.object);
        let at = |defect| Error::corrupt(defect).at(Location::object(self.store.describe(&path)));
        let object = match self.store.open_at(&path, 0..part.size.min(ROOT_LEN)) {
            Ok(object) => object,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {
                return Err(at(Defect::PartMissing));
            }
            Err(error) => return Err(error),
        };
        let structure = Structure::ManifestPart;
        check_count(structure, "size", part.size, object.size()).map_err(at)?;
        let bound = self.limits.manifest_part_len_max;
        check_bound(structure, "length", part.size, bound).map_err(at)?;
        let mut bytes = vec![0; usize::try_from(part.size).unwrap_or(usize::MAX)];
        object.read_at(0, &mut bytes)?;
        let decoded = ManifestPart::decode(&bytes, part, &self.manifest, &self.limits);
        decoded.map(|decoded| (bytes, decoded)).map_err(at)
    }

    /// Returns a reader of the same manifest whose objects are in another place.
    pub(super) fn with_place(&self, store: Arc<dyn Store>, name: String) -> Self {
        Self {
            store,
            name,
            is_lone_segment: self.is_lone_segment,
            manifest: self.manifest.clone(),
            checksum: self.checksum.clone(),
            limits: self.limits,
        }
    }

    /// Returns the store.
    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Returns the name below which the objects are.
    pub(super) fn home(&self) -> &str {
        &self.name
    }

    /// Returns the full name of one of the snapshot's objects in the store.
    pub(super) fn path_of(&self, object: &str) -> String {
        format!("{}/{object}", self.name)
    }

    /// Returns the segments of a shard, from the parts of the manifest if these have not
    /// been read.
    ///
    /// # Errors
    ///
    /// - `Corrupt`: a part is missing or damaged; `Io`.
    pub fn segments_of_shard(
        &self,
        node_index: u32,
        shard_index: u64,
    ) -> Result<Vec<ManifestSegment>> {
        let is_of_shard = |segment: &ManifestSegment| {
            segment.node_index == node_index && segment.shard_index == shard_index
        };
        let known = &self.manifest.segments;
        if !known.is_empty() || self.manifest.parts.is_empty() {
            let of_shard = known.iter().filter(|segment| is_of_shard(segment));
            return Ok(of_shard.cloned().collect());
        }
        let mut found = Vec::new();
        for part in &self.manifest.parts {
            if (part.first_node..=part.last_node).contains(&node_index) {
                let segments = self.read_part(part)?.segments.into_iter();
                found.extend(segments.filter(is_of_shard));
            }
        }
        Ok(found)
    }

    fn manifest_path(&self) -> String {
        format!("{}/{MANIFEST}", self.name)
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reports whether this is a single segment, from a snapshot whose manifest is not
    /// known.
    pub fn is_lone_segment(&self) -> bool {
        self.is_lone_segment
    }

    /// Returns the manifest's own checksum; `None` of a lone segment.
    pub fn manifest_checksum(&self) -> Option<&str> {
        self.checksum.as_deref()
    }

    /// Returns the name of the snapshot for messages.
    pub fn describe(&self) -> String {
        self.store.describe(&self.name)
    }

    /// Returns the limits that readers keep.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the name of a segment in the store.
    pub fn segment_object(&self, segment: &ManifestSegment) -> String {
        if self.is_lone_segment {
            return self.name.clone();
        }
        format!("{}/{}", self.name, segment.object)
    }

    /// Returns the name of a segment for messages.
    pub fn segment_place(&self, segment: &ManifestSegment) -> String {
        self.store.describe(&self.segment_object(segment))
    }

    /// Returns when the dump ended.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: a single segment that does not state when it was made.
    pub fn finished_at(&self) -> Result<UnixSecs> {
        // A manifest's time has been checked when it was read.
        parse_moment(&self.manifest.finished_at).ok_or_else(|| {
            let wanted = "this segment does not say when it was made; give a moment";
            Error::invalid_input("at", "the end of the dump", wanted)
                .at(Location::object(self.describe()))
        })
    }

    /// Reports for each node of the manifest whether its address is among those wanted.
    /// If none is wanted, all nodes are.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: an address that is not in the snapshot.
    pub fn select_nodes(&self, wanted: &[String]) -> Result<Vec<bool>> {
        const NAMED_COUNT_MAX: usize = 20;
        let nodes = &self.manifest.nodes;
        let mut selected = vec![wanted.is_empty(); nodes.len()];
        for text in wanted {
            // The user may have written the address in a shorter form.
            let address = text.parse().map(|node: NodeSpec| node.address());
            let is_same = |node: &ManifestNode| {
                node.address == *text || address.as_ref().is_ok_and(|full| node.address == *full)
            };
            if !nodes.iter().any(is_same) {
                let known = nodes.iter().map(|node| node.address.as_str());
                let mut named: Vec<&str> = known.take(NAMED_COUNT_MAX).collect();
                if nodes.len() > NAMED_COUNT_MAX {
                    named.push("...");
                }
                let allowed = format!("wanted a node of the snapshot: {}", named.join(", "));
                return Err(Error::invalid_input("node", text, allowed));
            }
            for (slot, node) in selected.iter_mut().zip(nodes) {
                *slot |= is_same(node);
            }
        }
        Ok(selected)
    }

    /// Returns the segments of the wanted nodes; see [`SnapshotReader::select_nodes`].
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: an address that is not in the snapshot.
    pub fn segments_of(&self, wanted: &[String]) -> Result<Vec<&ManifestSegment>> {
        let selected = self.select_nodes(wanted)?;
        let is_wanted = |segment: &&ManifestSegment| {
            let node = usize::try_from(segment.node_index).unwrap_or(usize::MAX);
            selected.get(node) == Some(&true)
        };
        Ok(self.manifest.segments.iter().filter(is_wanted).collect())
    }

    /// Returns the address of a segment's node.
    pub fn node(&self, segment: &ManifestSegment) -> &str {
        usize::try_from(segment.node_index)
            .ok()
            .and_then(|index| self.manifest.nodes.get(index))
            .map_or("", |node| node.address.as_str())
    }

    /// Returns the shard bits of a segment's node: it has 2^bits shards.
    pub fn shard_bits(&self, segment: &ManifestSegment) -> u8 {
        usize::try_from(segment.node_index)
            .ok()
            .and_then(|index| self.manifest.nodes.get(index))
            .map_or(0, |node| node.shard_bits)
    }

    /// Opens a segment of the manifest and checks that it is the one named there.
    ///
    /// # Errors
    ///
    /// - `Corrupt`: the segment is missing, has another size, is damaged, or is another
    ///   one.
    /// - `Newer`, `Io`.
    pub fn open_segment(&self, segment: &ManifestSegment) -> Result<SegmentReader> {
        self.open_segment_as(segment, Opening::Checked)
    }

    /// Returns how many bytes the store holds of each segment that is read from front to back.
    pub fn reading_memory(&self) -> u64 {
        self.store.reading_memory()
    }

    /// Opens a segment as [`SnapshotReader::open_segment`] does, but reads only what
    /// `opening` requires.
    ///
    /// # Errors
    ///
    /// - As [`SnapshotReader::open_segment`].
    pub fn open_segment_as(
        &self,
        segment: &ManifestSegment,
        opening: Opening,
    ) -> Result<SegmentReader> {
        SegmentReader::open(
            &*self.store,
            &self.segment_object(segment),
            segment,
            self.manifest.snapshot_id,
            opening,
            &self.limits,
        )
    }

    /// Lists the objects below the snapshot that the manifest does not name.
    ///
    /// # Errors
    ///
    /// - `Io`.
    pub fn list_strays(&self) -> Result<Vec<ObjectInfo>> {
        if self.is_lone_segment {
            return Ok(Vec::new());
        }
        let mut objects = Vec::new();
        for folder in [SEGMENTS, PARTS, LOOK_UPS] {
            let place = format!("{}/{folder}", self.name);
            objects.extend(self.store.list(&place)?);
            let unfinished = self.store.list_unfinished(&place)?.into_iter();
            objects.extend(unfinished.map(|object| ObjectInfo {
                name: unfinished_name(&object.name),
                ..object
            }));
        }
        let segments = self.manifest.segments.iter().map(|segment| &segment.object);
        let parts = self.manifest.parts.iter().map(|part| &part.object);
        let look_ups = self.manifest.nodes.iter().flat_map(|node| &node.look_ups);
        let look_ups = look_ups.filter(|name| !name.is_empty());
        let named: std::collections::HashSet<String> = segments
            .chain(parts)
            .cloned()
            .chain(look_ups.map(LookUpName::object))
            .map(|object| format!("{}/{object}", self.name))
            .collect();
        objects.retain(|object| !named.contains(&object.name));
        Ok(objects)
    }
}

/// The segments of parts, one after the other. What they are together is checked as far as
/// the parts of the selected nodes tell.
struct Listed<'a> {
    selected: &'a [bool],
    order: SegmentOrder,
    sums: SegmentSums,
}

impl<'a> Listed<'a> {
    fn new(selected: &'a [bool]) -> Self {
        let is_whole = selected.iter().all(|is_selected| *is_selected);
        Self {
            selected,
            order: SegmentOrder::new(Structure::Manifest, is_whole),
            sums: SegmentSums::default(),
        }
    }

    /// Takes the segments of the next part, which are sound by themselves (N18).
    fn add(&mut self, segments: &[ManifestSegment]) -> std::result::Result<(), Defect> {
        segments.iter().try_for_each(|segment| {
            self.sums.add(segment);
            self.order.add(segment.place(), segment.segment_id)
        })
    }

    /// Compares with the manifest what only all segments tell, of a shard or of all (N7,
    /// N17).
    fn check(&self, manifest: &Manifest) -> std::result::Result<(), Defect> {
        manifest.check_look_up_blocks(&self.sums, |node| {
            let node = usize::try_from(node).unwrap_or(usize::MAX);
            self.selected.get(node) == Some(&true)
        })?;
        if self.selected.iter().all(|is_selected| *is_selected) {
            manifest.check_sums(&self.sums)?;
        }
        Ok(())
    }
}

/// Makes the manifest of a snapshot that is a single segment, if there is a segment of
/// this name.
fn describe_lone_segment(
    store: &dyn Store,
    name: &str,
    need: Need,
    limits: &Limits,
) -> Result<Option<Manifest>> {
    let object = match store.open(name) {
        Ok(object) => object,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = object.size();
    let segment = SegmentReader::open_object(object, store.describe(name), limits)?;
    // A damaged description or frame costs no block; reading it returns the error.
    let meta = match segment.read_meta(need) {
        Ok(meta) => meta,
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt(_)) => {
            SegmentMeta::nameless(segment.ids())
        }
        Err(error) => return Err(error),
    };
    let digest = match segment.compute_digest() {
        Ok(digest) => digest,
        Err(error) if error.is_newer() || matches!(error.kind(), ErrorKind::Corrupt(_)) => {
            String::new()
        }
        Err(error) => return Err(error),
    };
    let toc = segment.toc();
    // A single segment belongs to the only node there is.
    let segments = vec![ManifestSegment {
        node_index: 0,
        ..segment.to_manifest(name.to_owned(), size, digest, &meta)
    }];
    Ok(Some(Manifest {
        format: "mcsnap".to_owned(),
        version: Version::default(),
        features: meta.features,
        snapshot_id: meta.snapshot_id,
        name: meta.snapshot_name,
        token: String::new(),
        tool: meta.tool,
        started_at: meta.created_at.clone(),
        finished_at: meta.created_at,
        ring: None,
        select: None,
        shard_hash: ShardHash::default(),
        nodes: vec![ManifestNode {
            address: meta.node,
            server_version: meta.server_version,
            pid: 0,
            server_started_at: 0,
            clock_offset: meta.clock_offset,
            walk: "unknown".to_owned(),
            shard_bits: meta.shard_bits,
            items_start: toc.record_count,
            items_end: toc.record_count,
            unlisted: 0,
            look_ups: Vec::new(),
            unsure: 0,
            counters: Counters {
                taken: toc.record_count,
                stored: toc.record_count,
                ..Counters::default()
            },
            reasons: Reasons::default(),
            failure: None,
        }],
        totals: Totals::of(&segments),
        content_digest: Digest128(toc.digests.content),
        content_digest_exptime: Digest128(toc.digests.content_exptime),
        segments,
        parts: Vec::new(),
        verdict: Verdict::Complete,
    }))
}

/// Explains better than "not found" why there is no manifest, if possible.
fn not_a_snapshot(store: &dyn Store, name: &str) -> Option<Error> {
    let place = store.describe(name);
    let mut objects = store.list(name).ok()?;
    objects.extend(store.list_unfinished(name).ok()?);
    if objects.is_empty() {
        return Some(Error::new(ErrorKind::NotFound {
            what: format!("snapshot {place}"),
        }));
    }
    let can_go_on = can_resume(store, name);
    let last = name.rsplit('/').next().unwrap_or(name);
    let allowed = if can_go_on {
        format!(
            "a dump that has not finished: mcsnap dump of the same servers with --resume --name \
             {last} goes on with it, and mcsnap salvage makes a snapshot of what is there"
        )
    } else {
        "it has no manifest.json: no snapshot, a push or pull that did not finish, or a dump that did \
         not finish, of which mcsnap salvage makes a snapshot"
            .to_owned()
    };
    Some(Error::invalid_input("snapshot", place, allowed))
}
