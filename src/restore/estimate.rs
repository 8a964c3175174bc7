//! What a restore would send where, from keys and metadata alone.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::cancel::Cancel;
use crate::defect::Finding;
use crate::error::Result;
use crate::format::compression::SectionReader;
use crate::item::Exptime;
use crate::restore::cursor::{Cursor, Damage};
use crate::restore::filter::RecordFilter;
use crate::restore::plan::RestorePlan;
use crate::target::{NotText, TextCheck};
use crate::units::{UnixSecs, to_u64};

/// What one node would get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeEstimate {
    /// Keys.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Keys that have expired, and are not sent.
    pub expired: u64,
}

/// What a restore would do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreEstimate {
    /// One a node, in the order given.
    pub nodes: Vec<NodeEstimate>,
    /// Records that cannot be read.
    pub damaged: u64,
    /// Why.
    pub findings: Vec<Finding>,
    /// Records that are not selected.
    pub filtered: u64,
    /// Records that are kept though nobody told what would decide it.
    pub unknown_kept: u64,
    /// Keys that are placed though no client of the ring can have them.
    pub not_text: Option<NotText>,
}

impl RestorePlan {
    /// Routes every key, and sends nothing.
    ///
    /// # Errors
    ///
    /// - `Io`, `Canceled`. Damage is in the result.
    pub fn estimate(&self, cancel: &Cancel) -> Result<RestoreEstimate> {
        let cursor = Cursor::new(&self.snapshot);
        let damage = Mutex::new(Damage::default());
        let now = UnixSecs::from_system_time(SystemTime::now());
        let mut nodes = vec![NodeEstimate::default(); self.options.nodes.len()];
        let mut sections = SectionReader::default();
        let filter = RecordFilter::new(&self.options.selection, self.at);
        let text_check = TextCheck::new(&self.options.ring);
        while let Some(task) = cursor.next(&damage)? {
            cancel.check()?;
            let columns = match task.segment.read_keys(task.block, &mut sections) {
                Ok(columns) => columns,
                Err(error) => {
                    let place = task.segment.block_location(task.block);
                    let entry = task.segment.block_entry(task.block);
                    let records = entry.map_or(0, |entry| entry.record_count.into());
                    let mut damage = damage.lock().unwrap_or_else(PoisonError::into_inner);
                    damage.add(error, place, records)?;
                    continue;
                }
            };
            for record in columns.iter().filter(|record| filter.keeps(record)) {
                text_check.look(record.key);
                let node = self.placement.locate(record.key, task.source_index);
                let Some(node) = nodes.get_mut(node) else {
                    continue;
                };
                if matches!(record.meta.exptime, Some(Exptime::At(at)) if at <= now) {
                    node.expired = node.expired.saturating_add(1);
                    continue;
                }
                node.keys = node.keys.saturating_add(1);
                let len = to_u64(record.key.len()).saturating_add(record.value_len.into());
                node.bytes = node.bytes.saturating_add(len);
            }
        }
        let damage = damage.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(RestoreEstimate {
            nodes,
            damaged: damage.records,
            findings: damage.findings,
            filtered: filter.filtered(),
            unknown_kept: filter.unknown_kept(),
            not_text: text_check.finish(),
        })
    }
}
