//! What a writer knows of the look-up object of a shard.

use crate::codecs::format::ids::SegmentId;
use crate::codecs::format::manifest::LookUpName;

/// The place of a shard in its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ShardPlace {
    /// Index of the node in the manifest.
    pub(super) node_index: u32,
    /// Number of the shard within the node.
    pub(super) shard_index: u64,
}

/// A look-up object that was written, and the segments that it covers.
#[derive(Clone, Debug)]
pub(super) struct KnownLookUp {
    pub(super) name: LookUpName,
    pub(super) segments: Vec<SegmentId>,
}
