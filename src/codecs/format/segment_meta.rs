//! The description that a segment carries of itself. FORMAT.md 5.4.

use serde::{Deserialize, Serialize};

use crate::codecs::format::bytes::{check_bound, check_word};
use crate::codecs::format::clock_offset::check_offset;
use crate::codecs::format::features::{Features, Need};
use crate::codecs::format::ids::{SegmentId, SegmentIds, SnapshotId, SyncMarker};
use crate::codecs::format::moment::check_moment;
use crate::words::decimal;
use crate::words::defect::{Defect, Structure};
use crate::words::limits::Limits;
use crate::words::units::to_u64;

/// The clock of the host that dumped.
const DUMPING_HOST: &str = "dumping-host";

/// Returns the word for the clock that exptimes are on.
pub fn dumping_host() -> String {
    DUMPING_HOST.to_owned()
}

/// The data needed to rebuild a lost manifest. A reader requires only the ids; every
/// other member may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentMeta {
    /// Id of the segment.
    pub segment_id: SegmentId,
    /// Id of its snapshot.
    pub snapshot_id: SnapshotId,
    /// The sync marker of its frames.
    pub sync_marker: SyncMarker,
    /// Features that a reader of the segment must know, by job.
    #[serde(default, skip_serializing_if = "Features::is_empty")]
    pub features: Features,
    /// The name that the snapshot was to have.
    #[serde(default)]
    pub snapshot_name: String,
    /// The node's address as the user wrote it.
    #[serde(default)]
    pub node: String,
    /// Zero-based index of the node in the node list.
    #[serde(default)]
    pub node_index: u32,
    /// Which of several processes wrote the segment, from 0.
    #[serde(default)]
    pub worker: u32,
    /// Which attempt of that process, from 0.
    #[serde(default)]
    pub attempt: u32,
    /// Number of the shard within the node, from 0.
    #[serde(default, with = "decimal")]
    pub shard_index: u64,
    /// The node has 2^bits shards.
    #[serde(default)]
    pub shard_bits: u8,
    /// Zero-based number of the segment within its shard.
    #[serde(default)]
    pub sequence: u32,
    /// Seconds to add to a server time to get the dumping host's time; empty if unknown.
    #[serde(default)]
    pub clock_offset: String,
    /// The clock that exptimes and times of last access are on. FORMAT.md 5.4.
    #[serde(default = "dumping_host")]
    pub clock: String,
    /// `none` or `zstd:LEVEL`.
    #[serde(default)]
    pub compression: String,
    /// memcached's version.
    #[serde(default)]
    pub server_version: String,
    /// Name and version of the writer.
    #[serde(default)]
    pub tool: String,
    /// When the segment was created. A moment, FORMAT.md 2; empty if unknown.
    #[serde(default)]
    pub created_at: String,
}

impl SegmentMeta {
    /// Makes a description with nothing but the ids, for a segment whose own description
    /// is lost.
    pub fn nameless(ids: &SegmentIds) -> Self {
        Self {
            segment_id: ids.segment,
            snapshot_id: ids.snapshot,
            sync_marker: ids.sync,
            features: Features::default(),
            snapshot_name: String::new(),
            node: String::new(),
            node_index: 0,
            worker: 0,
            attempt: 0,
            shard_index: 0,
            shard_bits: 0,
            sequence: 0,
            clock_offset: String::new(),
            clock: dumping_host(),
            compression: String::new(),
            server_version: String::new(),
            tool: String::new(),
            created_at: String::new(),
        }
    }

    /// Returns the ids.
    pub fn ids(&self) -> SegmentIds {
        SegmentIds {
            segment: self.segment_id,
            snapshot: self.snapshot_id,
            sync: self.sync_marker,
        }
    }

    /// Returns the payload of the frame.
    pub fn encode(&self) -> Vec<u8> {
        // Plain structs of text and numbers can always be serialised.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Parses and checks a payload (M2 to M8).
    ///
    /// # Errors
    ///
    /// - `Newer`: the job needs a feature that this build does not know.
    /// - `AboveLimit`: the payload or the address is too long.
    /// - `Malformed`, `IllegalValue`: a member is malformed or out of range.
    /// - `Foreign`: the ids differ from `ids`.
    pub fn decode(
        payload: &[u8],
        ids: &SegmentIds,
        need: Need,
        limits: &Limits,
    ) -> Result<Self, Defect> {
        let structure = Structure::Meta;
        check_bound(
            structure,
            "length",
            to_u64(payload.len()),
            limits.meta_len_max,
        )?;
        Features::check_in(payload, need)?;
        let meta: Self = serde_json::from_slice(payload).map_err(|error| Defect::Malformed {
            structure,
            reason: error.to_string(),
        })?;
        check_address(structure, "node", &meta.node, limits)?;
        check_shard_bits(structure, meta.shard_bits)?;
        check_word(structure, "clock", &meta.clock, &[DUMPING_HOST])?;
        check_offset(structure, "clock_offset", &meta.clock_offset)?;
        if !meta.created_at.is_empty() {
            check_moment(structure, "created_at", &meta.created_at)?;
        }
        ids.check(&meta.ids(), structure)?;
        Ok(meta)
    }
}

/// Refuses an address that would bloat a listing (L13).
///
/// # Errors
///
/// - `AboveLimit`: the address is too long.
pub fn check_address(
    structure: Structure,
    field: &'static str,
    address: &str,
    limits: &Limits,
) -> Result<(), Defect> {
    let len = to_u64(address.len());
    check_bound(structure, field, len, limits.node_address_len_max)
}

/// Refuses more shards than a hash can distinguish.
///
/// # Errors
///
/// - `IllegalValue`: there are too many.
pub fn check_shard_bits(structure: Structure, shard_bits: u8) -> Result<(), Defect> {
    if u32::from(shard_bits) > u64::BITS {
        return Err(Defect::IllegalValue {
            structure,
            field: "shard_bits",
            stored: shard_bits.into(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_as_long_as_the_limit_and_no_longer() {
        let limits = Limits::default();
        let ids = SegmentIds {
            segment: SegmentId([1; 16]),
            snapshot: SnapshotId([2; 16]),
            sync: SyncMarker([3; 8]),
        };
        let mut meta = SegmentMeta::nameless(&ids);
        meta.node = "x".repeat(4096);
        let decoded = SegmentMeta::decode(&meta.encode(), &ids, Need::Read, &limits);
        assert_eq!(decoded.as_ref(), Ok(&meta));
        meta.node.push('x');
        let refused = SegmentMeta::decode(&meta.encode(), &ids, Need::Read, &limits).unwrap_err();
        assert_eq!(refused.code(), "MCS008");
    }

    #[test]
    fn a_clock_that_is_not_known_may_be_a_later_versions() {
        let ids = SegmentIds {
            segment: SegmentId([1; 16]),
            snapshot: SnapshotId([2; 16]),
            sync: SyncMarker([3; 8]),
        };
        let mut meta = SegmentMeta::nameless(&ids);
        meta.clock = "true-time".to_owned();
        let decode =
            |bytes: &[u8]| SegmentMeta::decode(bytes, &ids, Need::Read, &Limits::default());
        let refused = decode(&meta.encode()).unwrap_err();
        assert_eq!(refused.code(), "MCS015");
        assert!(refused.may_be_newer());
        // Without the member it is the host that dumped.
        let text = String::from_utf8(meta.encode()).unwrap();
        let text = text.replace("\"clock\":\"true-time\",", "");
        assert_eq!(decode(text.as_bytes()).unwrap().clock, DUMPING_HOST);
    }
}
