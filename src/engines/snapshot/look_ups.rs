//! Sees to it that a snapshot has a look-up object for each shard.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use crate::codecs::format::ids::LookUpId;
use crate::codecs::format::manifest::{LookUpName, Manifest, ManifestSegment};
use crate::engines::snapshot::draft::SnapshotDraft;
use crate::engines::snapshot::known_look_up::{KnownLookUp, ShardPlace};
use crate::engines::snapshot::look_up_builder::{LookUpBuilder, LookUpOutcome};
use crate::engines::snapshot::segment_reader::SegmentReader;
use crate::words::error::{Error, Result};
use crate::words::limits::{Limits, SHARD_BITS};
use crate::words::location::Location;

impl SnapshotDraft {
    /// Remembers the look-up object of a shard for the manifest, or that there is to be
    /// none.
    pub(super) fn know_look_up(&self, shard: ShardPlace, known: Option<KnownLookUp>) {
        let mut look_ups = self.look_ups.lock().unwrap_or_else(PoisonError::into_inner);
        look_ups.insert(shard, known);
    }

    /// Returns the manifest with the look-up objects of all nodes. Those that no writer of
    /// a shard has made are made now, from the key sections: of shards that were written in
    /// several runs. A node for which that is not possible has none.
    ///
    /// # Errors
    ///
    /// - `Internal`: a key stands twice in a shard.
    /// - `Corrupt`: a segment cannot be read back; `Io`.
    pub(super) fn with_look_ups(&self, manifest: &Manifest) -> Result<Manifest> {
        let mut of_shards: BTreeMap<ShardPlace, Vec<&ManifestSegment>> = BTreeMap::new();
        for segment in &manifest.segments {
            let place = ShardPlace {
                node_index: segment.node_index,
                shard_index: segment.shard_index,
            };
            of_shards.entry(place).or_default().push(segment);
        }
        let mut manifest = manifest.clone();
        for (node_index, node) in (0_u32..).zip(&mut manifest.nodes) {
            if !SHARD_BITS.contains(&node.shard_bits.into()) {
                continue;
            }
            let shards = 0..1_u64 << node.shard_bits;
            let names = shards.map(|shard_index| {
                let place = ShardPlace {
                    node_index,
                    shard_index,
                };
                let segments = of_shards.get(&place).map_or(&[][..], Vec::as_slice);
                self.look_up_of(place, segments)
            });
            let names = names.collect::<Result<Option<Vec<LookUpName>>>>()?;
            node.look_ups = names.unwrap_or_default();
        }
        Ok(manifest)
    }

    /// Opens a segment of this snapshot that was sealed.
    pub(super) fn open_sealed(&self, named: &ManifestSegment) -> Result<SegmentReader> {
        let path = self.path_of(&named.object);
        let (object, place) = (self.store().open(&path)?, self.store().describe(&path));
        SegmentReader::open_object(object, place, &Limits::default())
    }

    fn look_up_of(
        &self,
        place: ShardPlace,
        segments: &[&ManifestSegment],
    ) -> Result<Option<LookUpName>> {
        if segments.is_empty() {
            return Ok(Some(LookUpName {
                id: LookUpId([0; 16]),
                pages: 0,
                blocks: 0,
            }));
        }
        let known = {
            let look_ups = self.look_ups.lock().unwrap_or_else(PoisonError::into_inner);
            look_ups.get(&place).cloned()
        };
        match known {
            Some(Some(known)) => {
                let ids = segments.iter().map(|segment| segment.segment_id);
                if ids.eq(known.segments.iter().copied()) {
                    return Ok(Some(known.name));
                }
                // Segments were removed since, or others were kept.
                self.remove_object(&self.path_of(&known.name.object()))?;
            }
            Some(None) => return Ok(None),
            None => {}
        }
        self.build_look_up(place, segments)
    }

    fn build_look_up(
        &self,
        place: ShardPlace,
        segments: &[&ManifestSegment],
    ) -> Result<Option<LookUpName>> {
        let mut builder = LookUpBuilder::new(self.scratch_directory.clone());
        for named in segments {
            // A look-up object cannot lead to files with other names.
            if named.object != named.look_up_object() {
                return Ok(None);
            }
            builder.add_written(&self.open_sealed(named)?, named.sequence)?;
        }
        match builder.write(self, place)? {
            LookUpOutcome::Written(name) => Ok(Some(name)),
            LookUpOutcome::Repeated(keys) => {
                let what = format!("{} records of a shard have a newer one", keys.len());
                Err(Error::internal(what).at(Location::object(self.describe())))
            }
        }
    }
}
