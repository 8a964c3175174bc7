//! What a restore would send where, from keys and metadata alone.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rayon::ThreadPoolBuilder;

use crate::cancel::Cancel;
use crate::defect::Finding;
use crate::error::{Error, Operation, Result};
use crate::format::column::KeyRecord;
use crate::format::compression::SectionReader;
use crate::item::Exptime;
use crate::protocol::exptime::TEXT_EXPTIME_MAX;
use crate::restore::cursor::{Cursor, Damage};
use crate::restore::filter::RecordFilter;
use crate::restore::plan::RestorePlan;
use crate::restore::unheld::{UnheldCounts, UnheldGroup};
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
    /// Of the keys: what the node cannot hold of them.
    pub unheld: UnheldCounts,
}

impl NodeEstimate {
    fn merge(&mut self, other: &Self) {
        self.keys = self.keys.saturating_add(other.keys);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.expired = self.expired.saturating_add(other.expired);
        self.unheld.merge(&other.unheld);
    }
}

/// What a restore would do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreEstimate {
    /// One a node, in the order given.
    pub nodes: Vec<NodeEstimate>,
    /// What some nodes cannot hold.
    pub unheld: Vec<UnheldGroup>,
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
        let damage = Mutex::new(Damage::default());
        let filter = RecordFilter::new(&self.options.selection, self.at);
        let text_check = TextCheck::new(&self.options.ring);
        let look = |key: &[u8]| text_check.look(key);
        let nodes = self.survey(&filter, &look, &damage, cancel)?;
        let damage = damage.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(RestoreEstimate {
            unheld: self.group_unheld(&nodes),
            nodes,
            damaged: damage.records,
            findings: damage.findings,
            filtered: filter.filtered(),
            unknown_kept: filter.unknown_kept(),
            not_text: text_check.finish(),
        })
    }

    /// Says beforehand what the nodes cannot hold. Only where there may be something
    /// are the keys gone through for it.
    ///
    /// # Errors
    ///
    /// - As [`RestorePlan::estimate`].
    pub(super) fn find_unheld(&self, cancel: &Cancel) -> Result<Vec<UnheldGroup>> {
        if !self.may_lack() {
            return Ok(Vec::new());
        }
        // What is damaged is told when it is read again.
        let damage = Mutex::new(Damage::default());
        let filter = RecordFilter::new(&self.options.selection, self.at);
        let nodes = self.survey(&filter, &|_| {}, &damage, cancel)?;
        Ok(self.group_unheld(&nodes))
    }

    fn survey(
        &self,
        filter: &RecordFilter<'_>,
        look: &(dyn Fn(&[u8]) + Sync),
        damage: &Mutex<Damage>,
        cancel: &Cancel,
    ) -> Result<Vec<NodeEstimate>> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(self.options.thread_count)
            .thread_name(|number| format!("survey-{number}"))
            .build()
            .map_err(|error| {
                let cause = std::io::Error::other(error);
                Error::io(Operation::Spawn, "reading threads", cause)
            })?;
        let cursor = Cursor::new(&self.snapshot);
        let now = UnixSecs::from_system_time(SystemTime::now());
        let parts = pool.broadcast(|_| {
            let mut nodes = vec![NodeEstimate::default(); self.options.nodes.len()];
            let mut sections = SectionReader::default();
            while let Some(task) = cursor.next(damage)? {
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
                    look(record.key);
                    let node = self.placement.locate(record.key, task.source_index);
                    if let Some(estimate) = nodes.get_mut(node) {
                        self.count(&record, node, now, estimate);
                    }
                }
            }
            Ok(nodes)
        });
        let mut sum = vec![NodeEstimate::default(); self.options.nodes.len()];
        for part in parts {
            let part: Vec<NodeEstimate> = part?;
            for (sum, part) in sum.iter_mut().zip(part) {
                sum.merge(&part);
            }
        }
        Ok(sum)
    }

    fn count(
        &self,
        record: &KeyRecord<'_>,
        node: usize,
        now: UnixSecs,
        estimate: &mut NodeEstimate,
    ) {
        if matches!(record.meta.exptime, Some(Exptime::At(at)) if at <= now) {
            estimate.expired = estimate.expired.saturating_add(1);
            return;
        }
        estimate.keys = estimate.keys.saturating_add(1);
        let len = to_u64(record.key.len()).saturating_add(record.value_len.into());
        estimate.bytes = estimate.bytes.saturating_add(len);
        let (Some(strategy), Some(server)) = (self.strategies.get(node), self.servers.get(node))
        else {
            return;
        };
        let exptime = record.meta.exptime.or(self.options.exptime_if_unknown);
        let is_beyond_text = matches!(exptime, Some(Exptime::At(at))
            if server.to_server_time(at).0 > TEXT_EXPTIME_MAX);
        if let Some(what) = strategy.unheld(record.key, &record.meta, is_beyond_text) {
            let count = estimate.unheld.of(what);
            *count = count.saturating_add(1);
        }
    }
}
