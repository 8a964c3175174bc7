//! Keys that several nodes of the snapshot have: one of their records is restored,
//! and always the same.

use std::sync::{Mutex, PoisonError};

use crate::codecs::ring::{Placement, RingSpec};
use crate::jobs::restore::cursor::Damage;
use crate::jobs::restore::plan::RestorePlan;
use crate::ports::store::KeyTable;
use crate::words::cancel::Cancel;
use crate::words::error::Result;
use crate::words::node::NodeSpec;

/// Tells which record of a key is restored: that of the node where the ring that the
/// snapshot records places the key, else that of the first node in the snapshot.
///
/// # Memory
///
/// Where the ring is recorded, that of a [`KeyTable`] of the keys that lie elsewhere;
/// else of all keys, if there are several nodes.
#[derive(Debug)]
pub(super) struct Doubles {
    /// Where clients of the dumped nodes looked for keys.
    ring: Option<Placement>,
    /// The best rank of each key that several nodes may have; none where there is no
    /// such key.
    ranks: Option<Mutex<KeyTable>>,
}

/// The rank of a record on the node where the ring places its key; others have one
/// more than the number of their node.
const AT_HOME: u16 = 0;

impl Doubles {
    /// Goes through the keys, if some can be on several nodes.
    ///
    /// # Errors
    ///
    /// - `Io`: of the snapshot, or the temporary file has no room.
    /// - `Canceled`.
    pub(super) fn find(plan: &RestorePlan, cancel: &Cancel) -> Result<Self> {
        let mut doubles = Self {
            ring: None,
            ranks: None,
        };
        let mut segments = plan.segments.iter();
        let first = segments.next().map(|segment| segment.node_index);
        let is_one_node = segments.all(|segment| Some(segment.node_index) == first);
        // Node for node, each record has a place of its own.
        if is_one_node || matches!(plan.placement, Placement::NodeForNode) {
            return Ok(doubles);
        }
        doubles.ring = find_ring(plan);
        let records = plan.totals.records;
        let expected = if doubles.ring.is_some() { 0 } else { records };
        let table = KeyTable::create(&plan.options.scratch_directory, expected)?;
        let table = Mutex::new(table);
        // What is damaged is told when it is read again.
        let damage = Mutex::new(Damage::default());
        let lock = || table.lock().unwrap_or_else(PoisonError::into_inner);
        plan.scan_keys(
            &damage,
            cancel,
            || (),
            |(), record, task| {
                let rank = doubles.rank(record.key, task.source_index);
                // Of those at home, a few have a double elsewhere.
                if rank != AT_HOME || doubles.ring.is_none() {
                    lock().put(record.key, |best| best.unwrap_or(rank).min(rank))?;
                }
                Ok(())
            },
        )?;
        if doubles.ring.is_some() && lock().count() > 0 {
            plan.scan_keys(
                &damage,
                cancel,
                || (),
                |(), record, task| {
                    if doubles.rank(record.key, task.source_index) == AT_HOME {
                        let mut table = lock();
                        if table.get(record.key).is_some() {
                            table.put(record.key, |_| AT_HOME)?;
                        }
                    }
                    Ok(())
                },
            )?;
        }
        if lock().count() > 0 {
            doubles.ranks = Some(table);
        }
        Ok(doubles)
    }

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

    fn rank(&self, key: &[u8], node: usize) -> u16 {
        if let Some(ring) = &self.ring
            && ring.locate(key, node) == node
        {
            return AT_HOME;
        }
        u16::try_from(node.saturating_add(1)).unwrap_or(u16::MAX)
    }
}

/// Returns where the recorded ring places keys on the nodes of the snapshot; none
/// where it records none or several, or one that hashes what it does not tell.
fn find_ring(plan: &RestorePlan) -> Option<Placement> {
    let manifest = plan.snapshot.manifest();
    let rings = RingSpec::from_record(manifest.ring.as_deref()?).ok()?;
    let [ring] = rings.as_slice() else {
        return None;
    };
    let nodes = manifest.nodes.iter().map(|node| node.address.parse());
    let nodes: Vec<NodeSpec> = nodes.collect::<Result<_>>().ok()?;
    match Placement::new(ring, &nodes) {
        Ok(Placement::NodeForNode) => None,
        Ok(placement) => Some(placement),
        Err(error) => {
            tracing::info!("which node's record of a key is restored: {error}");
            None
        }
    }
}
