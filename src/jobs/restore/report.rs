//! What a restore reports.

use std::time::Duration;

use crate::engines::sink::{LoadTally, NotText, Presence};
use crate::jobs::restore::unheld::UnheldGroup;
use crate::words::error::{Error, Result};
use crate::words::finding::Finding;
use crate::words::node::NodeSpec;

/// What became of the records of one target node.
#[derive(Clone, Debug)]
pub struct NodeRestore {
    /// The node.
    pub node: NodeSpec,
    /// What became of the records.
    pub tally: LoadTally,
    /// Items that the node evicted during the restore, by its own count. Some may have
    /// been there before, or come from other clients. `None` if the node did not report
    /// it at the end.
    pub evicted: Option<u64>,
    /// What was found of a sample of the stored keys, if they may be gone again.
    pub presence: Option<Presence>,
    /// The size of the node's largest possible item in bytes, header included.
    pub item_size_max: u64,
    /// Seconds to add to the node's time to get this host's.
    pub clock_offset: i64,
    /// Items on the node afterwards; `None` if the node did not report it.
    pub items_end: Option<u64>,
    /// Why the node went away or could not be reached, if so.
    pub failure: Option<String>,
}

/// A finished restore.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    /// Records of the nodes to be restored.
    pub records: u64,
    /// The target nodes, in the given order.
    pub nodes: Vec<NodeRestore>,
    /// Records that could not be read.
    pub damaged: u64,
    /// What is damaged, and where.
    pub findings: Vec<Finding>,
    /// Records not sent to any node because the restore was stopped: a loss.
    pub unsent: u64,
    /// Whether it was stopped because the nodes evicted too many items.
    pub is_stopped: bool,
    /// The most items that the nodes may evict, if there is a limit.
    pub evictions_max: Option<u64>,
    /// Records that were not selected: an outcome that belongs to no node.
    pub filtered: u64,
    /// Records of keys that were restored from another node: an outcome.
    pub duplicates: u64,
    /// Records kept although the snapshot does not decide whether they are selected; each
    /// also has its own outcome.
    pub unknown_kept: u64,
    /// Keys that were placed although no client of the ring can have them; each also has
    /// its own outcome.
    pub not_text: Option<NotText>,
    /// What the nodes cannot hold of the records.
    pub unheld: Vec<UnheldGroup>,
    /// How long the restore took.
    pub elapsed: Duration,
}

/// A restore that has ended, perhaps early.
#[derive(Debug)]
pub struct EndedRestore {
    /// What became of the records so far.
    pub report: RestoreReport,
    /// Why it ended before everything was sent; `None` if everything was.
    pub error: Option<Error>,
}

impl EndedRestore {
    /// Returns the report of a restore that was completed.
    ///
    /// # Errors
    ///
    /// - The reason why it was not.
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

    /// Returns how many items the nodes evicted during the restore.
    pub fn evicted(&self) -> u64 {
        self.nodes
            .iter()
            .fold(0, |sum, node| sum.saturating_add(node.evicted.unwrap_or(0)))
    }

    /// Reports whether the nodes evicted more items than allowed.
    pub fn has_evicted_too_many(&self) -> bool {
        let is_beyond = |most| self.evicted() > most;
        self.is_stopped || self.evictions_max.is_some_and(is_beyond)
    }

    /// Reports whether records, stored keys or a node are lost or not accounted for.
    /// Evicted items are not a loss by themselves: a cache in use evicts items that were
    /// not used for a long time.
    pub fn has_losses(&self) -> bool {
        // An unknown outcome is not a success either.
        let is_gone = |node: &NodeRestore| {
            let seen = node.presence;
            seen.is_some_and(|seen| seen.gone > 0 || seen.looked == 0)
        };
        self.unaccounted() > 0
            || self.damaged > 0
            || self.unsent > 0
            || self.totals().counters.losses() > 0
            || self.totals().counters.unsure > 0
            || self.has_evicted_too_many()
            || self
                .nodes
                .iter()
                .any(|node| node.failure.is_some() || is_gone(node))
    }

    /// Reports whether nothing was stored because everything had expired.
    pub fn is_all_expired(&self) -> bool {
        let totals = self.totals();
        let apart = self.filtered.saturating_add(self.duplicates);
        let selected = self.records.saturating_sub(apart);
        selected > 0 && totals.counters.expired == selected
    }

    /// Returns how many records have an outcome or are lost; equals `records` if every
    /// record is accounted for.
    pub fn accounted(&self) -> u64 {
        self.totals()
            .counters
            .accounted()
            .saturating_add(self.damaged)
            .saturating_add(self.unsent)
            .saturating_add(self.filtered)
            .saturating_add(self.duplicates)
    }

    /// Returns how many records have no outcome, or more than one. Above 0 it is a bug in
    /// mcsnap, and what became of them is not known.
    pub fn unaccounted(&self) -> u64 {
        self.records.abs_diff(self.accounted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::counters::Counters;

    #[test]
    fn a_record_without_an_outcome_or_with_two_is_a_loss() {
        for (stored, unaccounted) in [(7, 0), (6, 1), (9, 2)] {
            let tally = LoadTally {
                counters: Counters {
                    taken: 7,
                    stored,
                    ..Counters::default()
                },
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
