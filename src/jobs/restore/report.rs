//! What a restore says it did.

use std::time::Duration;

use crate::engines::sink::{LoadTally, NotText, Presence};
use crate::jobs::restore::unheld::UnheldGroup;
use crate::words::error::{Error, Result};
use crate::words::finding::Finding;
use crate::words::node::NodeSpec;

/// What became of the records of one destination.
#[derive(Clone, Debug)]
pub struct NodeRestore {
    /// The node.
    pub node: NodeSpec,
    /// What became of the records.
    pub tally: LoadTally,
    /// Items the node threw out for want of memory meanwhile, by its own count;
    /// some may be what was there before, or what other clients stored. None where it
    /// did not tell at the end.
    pub evicted: Option<u64>,
    /// What was found of a sample of the stored keys, where they may be gone again.
    pub presence: Option<Presence>,
    /// The node's largest item, header included, in bytes.
    pub item_size_max: u64,
    /// Seconds to add to the node's time to get this host's.
    pub clock_offset: i64,
    /// Items on the node afterwards; none where it did not tell.
    pub items_end: Option<u64>,
    /// Why the node went away, or could not be reached, if so.
    pub failure: Option<String>,
}

/// A finished restore.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    /// Records of the nodes that were to be restored.
    pub records: u64,
    /// One a node, in the order given.
    pub nodes: Vec<NodeRestore>,
    /// Records that could not be read.
    pub damaged: u64,
    /// Why.
    pub findings: Vec<Finding>,
    /// Records that were not sent to any node, since the restore was stopped: a loss.
    pub unsent: u64,
    /// Whether it was stopped, since the nodes threw out more than they may.
    pub is_stopped: bool,
    /// Most items that the nodes may throw out, if there is a bound.
    pub evictions_max: Option<u64>,
    /// Records that were not selected: an outcome, and not of any node.
    pub filtered: u64,
    /// Records of keys that were restored from another node: an outcome.
    pub duplicates: u64,
    /// Records that were kept though nobody told what would decide it; each has
    /// an outcome of its own.
    pub unknown_kept: u64,
    /// Keys that were placed though no client of the ring can have them; each has
    /// an outcome of its own.
    pub not_text: Option<NotText>,
    /// What the nodes cannot hold of the records.
    pub unheld: Vec<UnheldGroup>,
    /// How long it took.
    pub elapsed: Duration,
}

/// A restore that has ended, perhaps early.
#[derive(Debug)]
pub struct EndedRestore {
    /// What became of the records so far.
    pub report: RestoreReport,
    /// Why it ended before all was sent; `None` where all was.
    pub error: Option<Error>,
}

impl EndedRestore {
    /// Returns the report of a restore that came to its end.
    ///
    /// # Errors
    ///
    /// - Why it did not.
    pub fn into_result(self) -> Result<RestoreReport> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.report),
        }
    }
}

impl RestoreReport {
    /// Returns the sums over all nodes.
    pub fn totals(&self) -> LoadTally {
        let mut totals = LoadTally::default();
        for node in &self.nodes {
            totals.merge(&node.tally);
        }
        totals
    }

    /// Returns the items that nodes threw out meanwhile.
    pub fn evicted(&self) -> u64 {
        self.nodes
            .iter()
            .fold(0, |sum, node| sum.saturating_add(node.evicted.unwrap_or(0)))
    }

    /// Says whether the nodes threw out more items than they may.
    pub fn has_evicted_too_many(&self) -> bool {
        let is_beyond = |most| self.evicted() > most;
        self.is_stopped || self.evictions_max.is_some_and(is_beyond)
    }

    /// Says whether anything was lost, or is not accounted for: records, stored keys
    /// that are gone again, or a node. What a node threw out is no loss by itself: a
    /// cache that is in use throws out what was not used for long.
    pub fn has_losses(&self) -> bool {
        // What nobody can tell is no success either.
        let is_gone = |node: &NodeRestore| {
            let seen = node.presence;
            seen.is_some_and(|seen| seen.gone > 0 || seen.looked == 0)
        };
        self.unaccounted() > 0
            || self.damaged > 0
            || self.unsent > 0
            || self.totals().losses() > 0
            || self.totals().unsure > 0
            || self.has_evicted_too_many()
            || self
                .nodes
                .iter()
                .any(|node| node.failure.is_some() || is_gone(node))
    }

    /// Says whether there was nothing to store, since all had expired.
    pub fn is_all_expired(&self) -> bool {
        let totals = self.totals();
        let apart = self.filtered.saturating_add(self.duplicates);
        let selected = self.records.saturating_sub(apart);
        selected > 0 && totals.expired == selected
    }

    /// Returns the records that have an outcome or are a loss; equal to
    /// `records` when every one is accounted for.
    pub fn accounted(&self) -> u64 {
        self.totals()
            .accounted()
            .saturating_add(self.damaged)
            .saturating_add(self.unsent)
            .saturating_add(self.filtered)
            .saturating_add(self.duplicates)
    }

    /// Returns how many records have no outcome, or more than one: above 0 it is a
    /// bug in mcsnap, and what became of them is not known.
    pub fn unaccounted(&self) -> u64 {
        self.records.abs_diff(self.accounted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_an_outcome_or_with_two_is_a_loss() {
        for (stored, unaccounted) in [(7, 0), (6, 1), (9, 2)] {
            let tally = LoadTally {
                taken: 7,
                stored,
                ..LoadTally::default()
            };
            let node = NodeRestore {
                node: "a:1".parse().unwrap(),
                tally,
                item_size_max: 1 << 20,
                clock_offset: 0,
                evicted: None,
                presence: None,
                items_end: None,
                failure: None,
            };
            let report = RestoreReport {
                records: 10,
                nodes: vec![node],
                damaged: 0,
                findings: Vec::new(),
                unsent: 0,
                is_stopped: false,
                evictions_max: None,
                filtered: 2,
                duplicates: 1,
                unknown_kept: 0,
                not_text: None,
                unheld: Vec::new(),
                elapsed: Duration::ZERO,
            };
            assert_eq!(report.unaccounted(), unaccounted);
            assert_eq!(report.has_losses(), unaccounted > 0);
        }
    }
}
