//! What a restore would send to each node, from keys and metadata only.

use crate::engines::sink::NotText;
use crate::jobs::restore::capacity::{Capacity, ChunkCounts};
use crate::jobs::restore::unheld::{UnheldCounts, UnheldGroup};
use crate::words::finding::Finding;

/// What one node would get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeEstimate {
    /// Keys.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Keys that have expired, and are not sent.
    pub expired: u64,
    /// Which properties of these keys the node cannot hold.
    pub unheld: UnheldCounts,
    /// Whether the node has room for them.
    pub capacity: Capacity,
    pub(super) chunks: ChunkCounts,
}

impl NodeEstimate {
    pub(super) fn merge(&mut self, other: &Self) {
        self.keys = self.keys.saturating_add(other.keys);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.expired = self.expired.saturating_add(other.expired);
        self.unheld.merge(&other.unheld);
        self.chunks.merge(&other.chunks);
    }
}

/// What a restore would do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreEstimate {
    /// The target nodes, in the given order.
    pub nodes: Vec<NodeEstimate>,
    /// What some nodes cannot hold.
    pub unheld: Vec<UnheldGroup>,
    /// Records that cannot be read.
    pub damaged: u64,
    /// What is damaged, and where.
    pub findings: Vec<Finding>,
    /// Records that are not selected.
    pub filtered: u64,
    /// Records of keys that are restored from another node.
    pub duplicates: u64,
    /// Records kept although the snapshot does not decide whether they are selected.
    pub unknown_kept: u64,
    /// Keys that are placed although no client of the ring can have them.
    pub not_text: Option<NotText>,
}
