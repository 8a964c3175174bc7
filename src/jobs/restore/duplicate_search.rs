//! Finds keys that several nodes of the snapshot have.

use std::sync::{Mutex, PoisonError};

use crate::codecs::ring::Placement;
use crate::engines::snapshot::recorded_placement;
use crate::jobs::restore::cursor::Damage;
use crate::jobs::restore::duplicates::{AT_HOME, DuplicateKeys};
use crate::jobs::restore::plan::RestorePlan;
use crate::ports::store::KeyTable;
use crate::words::cancel::Cancel;
use crate::words::error::Result;

impl RestorePlan {
    /// Returns which record of each key is restored. This is computed once.
    ///
    /// # Errors
    ///
    /// - `Io`: of the snapshot, or the temporary file has no room.
    /// - `Canceled`.
    pub(super) fn duplicate_keys(&self, cancel: &Cancel) -> Result<&DuplicateKeys> {
        if let Some(duplicate_keys) = self.duplicate_keys.get() {
            return Ok(duplicate_keys);
        }
        let found = self.find_duplicates(cancel)?;
        Ok(self.duplicate_keys.get_or_init(|| found))
    }

    /// Reads the keys, if some can be on several nodes.
    ///
    /// # Errors
    ///
    /// - `Io`: of the snapshot, or the temporary file has no room.
    /// - `Canceled`.
    fn find_duplicates(&self, cancel: &Cancel) -> Result<DuplicateKeys> {
        let mut duplicate_keys = DuplicateKeys {
            ring: None,
            ranks: None,
        };
        let mut segments = self.segments.iter();
        let first = segments.next().map(|segment| segment.node_index);
        let is_one_node = segments.all(|segment| Some(segment.node_index) == first);
        // With node-for-node, each record has a place of its own.
        if is_one_node || matches!(self.placement, Placement::NodeForNode) {
            return Ok(duplicate_keys);
        }
        duplicate_keys.ring = recorded_placement(self.snapshot.manifest());
        let records = self.totals.records;
        let expected = if duplicate_keys.ring.is_some() {
            0
        } else {
            records
        };
        let table = KeyTable::create(&self.options.scratch_directory, expected)?;
        let table = Mutex::new(table);
        // Damage is reported when the block is read again.
        let damage = Mutex::new(Damage::default());
        let lock = || table.lock().unwrap_or_else(PoisonError::into_inner);
        self.scan_keys(
            &damage,
            cancel,
            || (),
            |(), record, task| {
                let rank = duplicate_keys.rank(record.key, task.source_index);
                // Only few of the keys that are where the ring places them are on another
                // node too.
                if rank != AT_HOME || duplicate_keys.ring.is_none() {
                    lock().put(record.key, |best| best.unwrap_or(rank).min(rank))?;
                }
                Ok(())
            },
        )?;
        if duplicate_keys.ring.is_some() && lock().count() > 0 {
            self.scan_keys(
                &damage,
                cancel,
                || (),
                |(), record, task| {
                    if duplicate_keys.rank(record.key, task.source_index) == AT_HOME {
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
            duplicate_keys.ranks = Some(table);
        }
        Ok(duplicate_keys)
    }
}
