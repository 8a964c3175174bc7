//! The objects of a snapshot one by one, each read from front to back and checked against
//! what the manifest says.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codecs::format::layout::FILE_HEADER_SIZE;
use crate::codecs::format::manifest::{LookUpName, Need};
use crate::codecs::format::sealed_text::checksum_of;
use crate::codecs::format::verification;
use crate::engines::snapshot::files::MANIFEST;
use crate::engines::snapshot::object_range::read_range_by_call;
use crate::engines::snapshot::reader::SnapshotReader;
use crate::engines::snapshot::segment_opening::Opening;
use crate::engines::snapshot::segment_pass::TakeBytes;
use crate::ports::store::Store;
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, Result};
use crate::words::limits::check_limit;
use crate::words::location::Location;
use crate::words::units::to_u64;

/// An object that belongs to a snapshot, apart from its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotObject {
    /// Its name, relative to the manifest's directory.
    pub object: String,
    /// Its size in bytes.
    pub size: u64,
    /// The records of a segment; 0 for any other object.
    pub records: u64,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A segment, by its index in the manifest.
    Segment(usize),
    LookUp(LookUpOf),
    /// A part of the manifest, by its index.
    Part(usize),
    /// The record of a verification.
    Record,
}

/// A look-up object, and the shard that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LookUpOf {
    pub(super) name: LookUpName,
    pub(super) node_index: u32,
    pub(super) shard_index: u64,
    /// Records of the shard.
    pub(super) records: u64,
}

impl SnapshotObject {
    /// Describes the record of a verification that [`SnapshotReader::list_verifications`]
    /// names.
    pub fn of_record(object: String, size: u64) -> Self {
        Self {
            object,
            size,
            records: 0,
            kind: Kind::Record,
        }
    }

    /// Returns whether this is the record of a verification, which the manifest does not
    /// name.
    pub fn is_record(&self) -> bool {
        self.kind == Kind::Record
    }

    /// Returns what is wrong if the object is missing.
    pub fn missing(&self) -> Defect {
        match &self.kind {
            Kind::Segment(_) => Defect::SegmentMissing,
            Kind::LookUp(_) => Defect::LookUpMissing,
            Kind::Part(_) => Defect::PartMissing,
            Kind::Record => Defect::Malformed {
                structure: Structure::Verification,
                reason: "it is missing".to_owned(),
            },
        }
    }

    /// Returns what is wrong if the object has another size.
    pub fn wrong_size(&self, found: u64) -> Defect {
        let structure = match &self.kind {
            Kind::Segment(_) => {
                return Defect::SegmentSize {
                    stored: self.size,
                    computed: found,
                };
            }
            Kind::LookUp(_) => Structure::LookUp,
            Kind::Part(_) => Structure::ManifestPart,
            Kind::Record => Structure::Verification,
        };
        Defect::CountMismatch {
            structure,
            field: "size",
            stored: self.size,
            computed: found,
        }
    }
}

impl SnapshotReader {
    /// Returns a reader of the same manifest, with the objects elsewhere: of a copy that
    /// has no manifest yet.
    #[must_use]
    pub fn elsewhere(&self, store: Arc<dyn Store>, name: &str) -> Self {
        self.with_place(store, name.to_owned())
    }

    /// Lists what the manifest names, its parts last.
    pub fn list_objects(&self) -> Vec<SnapshotObject> {
        let manifest = self.manifest();
        let mut shards: BTreeMap<(u32, u64), u64> = BTreeMap::new();
        let mut objects = Vec::new();
        for (index, segment) in manifest.segments.iter().enumerate() {
            let shard = (segment.node_index, segment.shard_index);
            let records = shards.entry(shard).or_default();
            *records = records.saturating_add(segment.records);
            objects.push(SnapshotObject {
                object: segment.object.clone(),
                size: segment.size,
                records: segment.records,
                kind: Kind::Segment(index),
            });
        }
        for (node_index, node) in (0_u32..).zip(&manifest.nodes) {
            for (shard_index, name) in (0_u64..).zip(&node.look_ups) {
                if name.is_empty() {
                    continue;
                }
                let records = shards.get(&(node_index, shard_index));
                objects.push(SnapshotObject {
                    object: name.object(),
                    size: name.len(),
                    records: 0,
                    kind: Kind::LookUp(LookUpOf {
                        name: *name,
                        node_index,
                        shard_index,
                        records: records.copied().unwrap_or(0),
                    }),
                });
            }
        }
        for (index, part) in manifest.parts.iter().enumerate() {
            objects.push(SnapshotObject {
                object: part.object.clone(),
                size: part.size,
                records: 0,
                kind: Kind::Part(index),
            });
        }
        objects
    }

    /// Returns the name of an object in the store.
    pub fn object_path(&self, object: &SnapshotObject) -> String {
        self.path_of(&object.object)
    }

    /// Reads an object from front to back, and passes its bytes to `take` in their order:
    /// a segment as it is checked frame by frame, a look-up object page by page, any other
    /// at once. Where this succeeds, the bytes are those that the manifest stands for.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Newer`: it is missing, damaged, newer, or another one; `take` may have
    ///   got some of it.
    /// - `Io`, and those of `take`.
    ///
    /// # Memory
    ///
    /// A frame, and twice the table of contents; or a part of the manifest.
    pub fn pass_object(&self, object: &SnapshotObject, take: TakeBytes<'_>) -> Result<()> {
        let manifest = self.manifest();
        let unknown = || Error::internal(format!("the manifest does not have {}", object.object));
        match &object.kind {
            Kind::Segment(index) => {
                let named = manifest.segments.get(*index).ok_or_else(unknown)?;
                let segment = self.open_segment_as(named, Opening::Whole)?;
                let at_start = |defect| {
                    let offset = to_u64(FILE_HEADER_SIZE);
                    Error::corrupt(defect).at(Location::offset(segment.place(), offset))
                };
                let (_, stated) = segment.read_described(Need::Verify)?;
                let shard_bits = self.shard_bits(named);
                stated.check(named.place(), shard_bits).map_err(at_start)?;
                if let Some(defect) = segment.differences_from(named).into_iter().next() {
                    return Err(Error::corrupt(defect).at(Location::object(segment.place())));
                }
                let computed = segment.pass(take)?;
                if computed == named.digest {
                    return Ok(());
                }
                let defect = Defect::DigestMismatch {
                    structure: Structure::Segment,
                    field: "digest",
                    stored: named.digest.clone(),
                    computed,
                };
                Err(Error::corrupt(defect).at(Location::object(segment.place())))
            }
            Kind::LookUp(look_up) => self.pass_look_up(look_up, take),
            Kind::Part(index) => {
                let part = manifest.parts.get(*index).ok_or_else(unknown)?;
                take(&self.read_part_bytes(part)?.0)
            }
            Kind::Record => take(&self.read_verification_bytes(&self.object_path(object))?),
        }
    }

    /// Reads the manifest's bytes once more.
    ///
    /// # Errors
    ///
    /// - `NotFound`, `LimitExceeded`, `Io`.
    pub fn read_root_bytes(&self) -> Result<Vec<u8>> {
        let object = self.store().open(&self.path_of(MANIFEST))?;
        check_limit(
            "manifest length",
            object.size(),
            self.limits().manifest_len_max,
        )?;
        read_range_by_call(&*object, 0, object.size())
    }

    /// Reports whether these bytes are those of this manifest.
    pub fn is_root(&self, bytes: &[u8]) -> bool {
        checksum_of(bytes).is_some_and(|checksum| self.manifest_checksum() == Some(&checksum))
    }

    /// Returns the folder of the records of verifications, as a name in the store.
    pub fn verifications_path(&self) -> String {
        self.path_of(verification::FOLDER)
    }
}
