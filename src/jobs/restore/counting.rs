//! Counts what a restore would send to each node, from keys and metadata only.

use crate::codecs::format::column::KeyRecord;
use crate::codecs::format::manifest::ManifestNode;
use crate::codecs::protocol::exptime::TEXT_EXPTIME_MAX;
use crate::codecs::protocol::stats::ServerVersion;
use crate::codecs::warm_file::ItemLengths;
use crate::engines::sink::TextCheck;
use crate::engines::sink::{Unheld, WriteStrategy};
use crate::jobs::restore::cursor::Damage;
use crate::jobs::restore::duplicates::DuplicateKeys;
use crate::jobs::restore::estimate::{NodeEstimate, RestoreEstimate};
use crate::jobs::restore::filter::RecordFilter;
use crate::jobs::restore::plan::RestorePlan;
use crate::jobs::restore::unheld::{UnheldCounts, UnheldGroup};
use crate::ports::host;
use crate::words::cancel::Cancel;
use crate::words::error::Result;
use crate::words::item::{Exptime, ItemMeta};
use crate::words::units::{UnixSecs, to_u64};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

impl RestorePlan {
    /// Routes every key without sending anything. The result is computed once.
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
        let duplicate_keys = self.duplicate_keys(cancel)?;
        let duplicates = AtomicU64::new(0);
        let is_duplicate = |key: &[u8], source| {
            let is_duplicate = duplicate_keys.drops(key, source);
            duplicates.fetch_add(u64::from(is_duplicate), Ordering::Relaxed);
            is_duplicate
        };
        let mut nodes = self.survey(&filter, &is_duplicate, &look, &damage, cancel)?;
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

    /// Finds in advance what the nodes cannot hold. The keys are read only if there may
    /// be something that a node refuses; what only loses its CAS is counted as it is read.
    ///
    /// # Errors
    ///
    /// - As [`RestorePlan::estimate`].
    pub(super) fn find_unheld(
        &self,
        duplicate_keys: &DuplicateKeys,
        cancel: &Cancel,
    ) -> Result<Vec<UnheldGroup>> {
        if let Some(estimate) = self.estimated.get() {
            return Ok(estimate.unheld.clone());
        }
        if !self.may_refuse() {
            return Ok(Vec::new());
        }
        // Damage is reported when the block is read again.
        let damage = Mutex::new(Damage::default());
        let filter = RecordFilter::new(&self.options.selection, self.at);
        let is_duplicate = |key: &[u8], source| duplicate_keys.drops(key, source);
        let nodes = self.survey(&filter, &is_duplicate, &|_| {}, &damage, cancel)?;
        Ok(self.group_unheld(nodes.iter().map(|node| node.unheld)))
    }

    fn survey(
        &self,
        filter: &RecordFilter<'_>,
        is_duplicate: &(dyn Fn(&[u8], usize) -> bool + Sync),
        look: &(dyn Fn(&[u8]) + Sync),
        damage: &Mutex<Damage>,
        cancel: &Cancel,
    ) -> Result<Vec<NodeEstimate>> {
        let now = host::now();
        let empty = || vec![NodeEstimate::default(); self.options.nodes.len()];
        let parts = self.scan_keys(damage, cancel, empty, |nodes, record, task| {
            let source = task.source_index;
            if filter.keeps(record) && !is_duplicate(record.key, source) {
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

impl RestorePlan {
    /// Reports whether the snapshot may contain what some node refuses.
    pub(super) fn may_refuse(&self) -> bool {
        let sources = &self.snapshot.manifest().nodes;
        let may_have = |what| match what {
            Unheld::Cas => false,
            Unheld::StaleMark => may_be_of(sources, ServerVersion::META_GET),
            Unheld::WideFlags => may_be_of(sources, ServerVersion::WIDE_CLIENT_FLAGS),
        };
        [Unheld::StaleMark, Unheld::WideFlags]
            .into_iter()
            .filter(|&what| may_have(what))
            .any(|what| !self.strategies().all(|strategy| strategy.holds(what)))
    }

    /// Makes counters of the records of each node that lose their CAS; none if no node
    /// takes it from one, or if that has been counted.
    pub(super) fn count_without_cas(&self) -> Vec<AtomicU64> {
        let is_counted = self.estimated.get().is_some() || self.may_refuse();
        let all_hold = self
            .strategies()
            .all(|strategy| strategy.holds(Unheld::Cas));
        let count = match is_counted || all_hold {
            true => 0,
            false => self.options.nodes.len(),
        };
        (0..count).map(|_| AtomicU64::new(0)).collect()
    }

    /// Reports whether a record loses its CAS on a node; `meta` is as it is sent.
    pub(super) fn loses_cas(
        &self,
        key: &[u8],
        meta: &ItemMeta,
        node: usize,
        now: UnixSecs,
    ) -> bool {
        if matches!(meta.exptime, Some(Exptime::At(at)) if at <= now) {
            return false;
        }
        let Some(target) = self.target(node) else {
            return false;
        };
        let exptime = meta.exptime.or(self.options.exptime_if_unknown);
        let is_beyond_text = matches!(exptime, Some(Exptime::At(at))
            if target.server.to_server_time(at).0 > TEXT_EXPTIME_MAX);
        target.strategy.unheld(key, meta, is_beyond_text) == Some(Unheld::Cas)
    }

    fn strategies(&self) -> impl Iterator<Item = &WriteStrategy> {
        let targets = self
            .targets
            .iter()
            .filter_map(|plan| plan.target.as_ref().ok());
        targets.map(|target| &target.strategy)
    }

    /// Groups the nodes that cannot hold the same property for the same reason.
    pub(super) fn group_unheld(
        &self,
        counts: impl Iterator<Item = UnheldCounts>,
    ) -> Vec<UnheldGroup> {
        let mut groups: BTreeMap<(Unheld, &'static str), UnheldGroup> = BTreeMap::new();
        for (plan, counts) in self.targets.iter().zip(counts) {
            let Ok(target) = &plan.target else { continue };
            let lacking = counts.all().into_iter();
            for (what, records) in lacking.filter(|&(_, records)| records > 0) {
                let why = target.strategy.why_not(what, &target.server);
                let group = groups.entry((what, why)).or_insert_with(|| UnheldGroup {
                    what,
                    why,
                    records: 0,
                    nodes: Vec::new(),
                });
                group.records = group.records.saturating_add(records);
                group.nodes.push(plan.node.address());
            }
        }
        groups.into_values().collect()
    }
}

/// Reports whether some node of the snapshot may have had this version or a later one.
/// The version of a stopped server is not known, and some services have none that is a
/// number.
fn may_be_of(sources: &[ManifestNode], least: ServerVersion) -> bool {
    let versions = sources
        .iter()
        .map(|node| ServerVersion::parse(&node.server_version));
    versions
        .into_iter()
        .any(|version| version >= least || version == ServerVersion::default())
        || sources.is_empty()
}
