//! Makes the manifest of a snapshot from what was written into it.

use crate::codecs::format::manifest::{
    Digest128, Features, Manifest, ManifestNode, ManifestSegment, ShardHash, Totals, Verdict,
    Version,
};
use crate::codecs::format::moment::moment_text;
use crate::engines::snapshot::SnapshotDraft;
use crate::words::units::UnixSecs;

impl SnapshotDraft {
    /// Makes the manifest of a snapshot of these nodes that consists of these segments,
    /// given when it was begun and ended. It names no ring and no selection, and no look-up
    /// objects, which are named when it is published.
    pub fn assemble(
        &self,
        [started_at, finished_at]: [UnixSecs; 2],
        mut nodes: Vec<ManifestNode>,
        segments: Vec<ManifestSegment>,
    ) -> Manifest {
        for node in &mut nodes {
            node.look_ups.clear();
        }
        let digests = Manifest::digests(&segments);
        Manifest {
            format: "mcsnap".to_owned(),
            version: Version::default(),
            features: Features::default(),
            snapshot_id: self.id(),
            name: self.name().to_owned(),
            token: self.token().to_owned(),
            tool: concat!("mcsnap ", env!("CARGO_PKG_VERSION")).to_owned(),
            started_at: moment_text(started_at),
            finished_at: moment_text(finished_at),
            ring: None,
            select: None,
            shard_hash: ShardHash::default(),
            verdict: Verdict::of(&nodes),
            totals: Totals::of(&segments),
            content_digest: Digest128(digests.content),
            content_digest_exptime: Digest128(digests.content_exptime),
            nodes,
            segments,
            parts: Vec::new(),
        }
    }
}
