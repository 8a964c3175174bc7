//! What a restore would send where, from keys and metadata alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::codecs::format::column::KeyRecord;
use crate::codecs::protocol::exptime::TEXT_EXPTIME_MAX;
use crate::codecs::warm_file::ItemLengths;
use crate::engines::sink::{NotText, TextCheck};
use crate::jobs::restore::capacity::{Capacity, ChunkCounts};
use crate::jobs::restore::cursor::Damage;
use crate::jobs::restore::doubles::Doubles;
use crate::jobs::restore::filter::RecordFilter;
use crate::jobs::restore::plan::RestorePlan;
use crate::jobs::restore::unheld::{UnheldCounts, UnheldGroup};
use crate::words::cancel::Cancel;
use crate::words::error::Result;
use crate::words::finding::Finding;
use crate::words::item::Exptime;
use crate::words::units::{UnixSecs, to_u64};

/// What one node would get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeEstimate {
    /// Keys.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Keys that have expired, and are not sent.
    pub expired: u64,
    /// What the node cannot hold of the keys, which are counted above.
    pub unheld: UnheldCounts,
    /// Whether the node has room for them.
    pub capacity: Capacity,
    pub(super) chunks: ChunkCounts,
}

impl NodeEstimate {
    fn merge(&mut self, other: &Self) {
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
    /// Records of keys that are restored from another node.
    pub duplicates: u64,
    /// Records that are kept though nobody told what would decide it.
    pub unknown_kept: u64,
    /// Keys that are placed though no client of the ring can have them.
    pub not_text: Option<NotText>,
}

impl RestorePlan {
    /// Routes every key, and sends nothing; once, whatever happens later.
    ///
    /// # Errors
    ///
    /// - `Io`, `Canceled`. Damage is in the result.
    pub fn estimate(&self, cancel: &Cancel) -> Result<&RestoreEstimate> {
        if let Some(estimate) = self.estimated.get() {
            return Ok(estimate);
        }
        let counted = self.count_all(cancel)?;
        Ok(self.estimated.get_or_init(|| counted))
    }

    fn count_all(&self, cancel: &Cancel) -> Result<RestoreEstimate> {
        let damage = Mutex::new(Damage::default());
        let filter = RecordFilter::new(&self.options.selection, self.at);
        let text_check = TextCheck::new(&self.options.ring);
        let look = |key: &[u8]| text_check.look(key);
        let doubles = self.doubles(cancel)?;
        let duplicates = AtomicU64::new(0);
        let is_double = |key: &[u8], source| {
            let is_double = doubles.drops(key, source);
            duplicates.fetch_add(u64::from(is_double), Ordering::Relaxed);
            is_double
        };
        let mut nodes = self.survey(&filter, &is_double, &look, &damage, cancel)?;
        for (index, estimate) in nodes.iter_mut().enumerate() {
            if let Some(target) = self.target(index) {
                estimate.capacity = target.memory.judge(estimate.keys, &estimate.chunks);
            }
        }
        let damage = damage.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(RestoreEstimate {
            unheld: self.group_unheld(nodes.iter().map(|node| node.unheld)),
            nodes,
            duplicates: duplicates.into_inner(),
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
    pub(super) fn find_unheld(
        &self,
        doubles: &Doubles,
        cancel: &Cancel,
    ) -> Result<Vec<UnheldGroup>> {
        if let Some(estimate) = self.estimated.get() {
            return Ok(estimate.unheld.clone());
        }
        if !self.may_lack() {
            return Ok(Vec::new());
        }
        // What is damaged is told when it is read again.
        let damage = Mutex::new(Damage::default());
        let filter = RecordFilter::new(&self.options.selection, self.at);
        let is_double = |key: &[u8], source| doubles.drops(key, source);
        let nodes = self.survey(&filter, &is_double, &|_| {}, &damage, cancel)?;
        Ok(self.group_unheld(nodes.iter().map(|node| node.unheld)))
    }

    fn survey(
        &self,
        filter: &RecordFilter<'_>,
        is_double: &(dyn Fn(&[u8], usize) -> bool + Sync),
        look: &(dyn Fn(&[u8]) + Sync),
        damage: &Mutex<Damage>,
        cancel: &Cancel,
    ) -> Result<Vec<NodeEstimate>> {
        let now = UnixSecs::from_system_time(SystemTime::now());
        let empty = || vec![NodeEstimate::default(); self.options.nodes.len()];
        let parts = self.scan_keys(damage, cancel, empty, |nodes, record, task| {
            let source = task.source_index;
            if filter.keeps(record) && !is_double(record.key, source) {
                look(record.key);
                let node = self.locate(record.key, source);
                if let Some(estimate) = nodes.get_mut(node) {
                    self.count(record, task.clock_offset, node, now, estimate);
                }
            }
            Ok(())
        })?;
        let mut sum = empty();
        for part in parts {
            for (sum, part) in sum.iter_mut().zip(part) {
                sum.merge(&part);
            }
        }
        Ok(sum)
    }

    fn count(
        &self,
        record: &KeyRecord<'_>,
        clock_offset: i64,
        node: usize,
        now: UnixSecs,
        estimate: &mut NodeEstimate,
    ) {
        let meta = self.clocks.adjust(record.meta, clock_offset, node);
        if matches!(meta.exptime, Some(Exptime::At(at)) if at <= now) {
            estimate.expired = estimate.expired.saturating_add(1);
            return;
        }
        estimate.keys = estimate.keys.saturating_add(1);
        let len = to_u64(record.key.len()).saturating_add(record.value_len.into());
        estimate.bytes = estimate.bytes.saturating_add(len);
        let Some(target) = self.target(node) else {
            return;
        };
        let lengths = ItemLengths {
            key: to_u64(record.key.len()),
            value: record.value_len.into(),
            client_flags: meta.client_flags,
        };
        estimate.chunks.add(lengths, &target.memory.classes);
        let exptime = meta.exptime.or(self.options.exptime_if_unknown);
        let is_beyond_text = matches!(exptime, Some(Exptime::At(at))
            if target.server.to_server_time(at).0 > TEXT_EXPTIME_MAX);
        let unheld = target.strategy.unheld(record.key, &meta, is_beyond_text);
        if let Some(what) = unheld {
            let count = estimate.unheld.of(what);
            *count = count.saturating_add(1);
        }
    }
}
