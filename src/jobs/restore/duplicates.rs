//! Keys that several nodes of the snapshot have. One of their records is restored, and
//! always the same one.

use std::sync::{Mutex, PoisonError};

use crate::codecs::ring::Placement;
use crate::ports::store::KeyTable;

/// Decides which record of a key is restored: the one from the node where the recorded
/// ring places the key, otherwise the one from the first node in the snapshot.
///
/// # Memory
///
/// If a ring is recorded, that of a [`KeyTable`] of the keys that are on other nodes than
/// it says; otherwise of all keys, if there are several nodes.
#[derive(Debug)]
pub(super) struct DuplicateKeys {
    /// Where clients of the dumped nodes looked for keys.
    pub(super) ring: Option<Placement>,
    /// The best rank of each key that several nodes may have; `None` if there is no such
    /// key.
    pub(super) ranks: Option<Mutex<KeyTable>>,
}

/// The rank of a record on the node where the ring places its key. Any other record's
/// rank is the number of its node plus one.
pub(super) const AT_HOME: u16 = 0;

impl DuplicateKeys {
    /// Reports whether another node's record of the key is restored instead.
    pub(super) fn drops(&self, key: &[u8], node: usize) -> bool {
        let Some(ranks) = &self.ranks else {
            return false;
        };
        let rank = self.rank(key, node);
        if rank == AT_HOME {
            return false;
        }
        let best = {
            let ranks = ranks.lock().unwrap_or_else(PoisonError::into_inner);
            ranks.get(key)
        };
        best.is_some_and(|best| best < rank)
    }

    pub(super) fn rank(&self, key: &[u8], node: usize) -> u16 {
        if let Some(ring) = &self.ring
            && ring.locate(key, node) == node
        {
            return AT_HOME;
        }
        u16::try_from(node.saturating_add(1)).unwrap_or(u16::MAX)
    }
}
