//! Keys that several nodes of the snapshot have: one of their records is restored,
//! and always the same.

use std::sync::{Mutex, PoisonError};

use crate::codecs::ring::Placement;
use crate::ports::store::KeyTable;

/// Tells which record of a key is restored: that of the node where the ring that the
/// snapshot records places the key, else that of the first node in the snapshot.
///
/// # Memory
///
/// Where the ring is recorded, that of a [`KeyTable`] of the keys that lie elsewhere;
/// else of all keys, if there are several nodes.
#[derive(Debug)]
pub(super) struct DuplicateKeys {
    /// Where clients of the dumped nodes looked for keys.
    pub(super) ring: Option<Placement>,
    /// The best rank of each key that several nodes may have; none where there is no
    /// such key.
    pub(super) ranks: Option<Mutex<KeyTable>>,
}

/// The rank of a record on the node where the ring places its key; others have one
/// more than the number of their node.
pub(super) const AT_HOME: u16 = 0;

impl DuplicateKeys {
    /// Says whether another node's record of the key is restored.
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
