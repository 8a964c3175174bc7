//! How much each node has, and how much of it moves.

use std::time::Duration;

use crate::codecs::ring::RingSpec;
use crate::engines::sink::NotText;
use crate::words::finding::Finding;
use crate::words::node::NodeSpec;
use crate::words::units::{UnixSecs, to_f64, to_u64};

/// A number of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Number of keys.
    pub keys: u64,
    /// Length of keys and values.
    pub bytes: u64,
}

impl Amount {
    /// Adds another amount.
    pub fn merge(&mut self, other: Self) {
        self.keys = self.keys.saturating_add(other.keys);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    fn sum(amounts: impl Iterator<Item = Self>) -> Self {
        let mut sum = Self::default();
        amounts.for_each(|amount| sum.merge(amount));
        sum
    }
}

/// A node that has keys now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromNode {
    /// Its address.
    pub address: String,
    /// What it has.
    pub has: Amount,
    /// How much of that moves to other nodes.
    pub leaves: Amount,
    /// Its index among the new nodes, if it is one of them.
    pub stays_as: Option<usize>,
}

/// A node of the new ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToNode {
    /// The node as the user wrote it.
    pub node: NodeSpec,
    /// What it will have.
    pub gets: Amount,
    /// How much of that is on other nodes now.
    pub comes: Amount,
}

/// How much moves from one node to another, or stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Index of the node that has it.
    pub from: usize,
    /// Index of the node that gets it.
    pub to: usize,
    /// How much it is.
    pub amount: Amount,
}

/// A change of the ring, computed from the keys of a snapshot.
#[derive(Clone, Debug)]
pub struct ReshardingReport {
    /// The ring that places keys now; `None` if keys are taken to be on the nodes of the
    /// snapshot.
    pub from_ring: Option<RingSpec>,
    /// The new ring.
    pub to_ring: RingSpec,
    /// The nodes that have keys now, from the manifest or as given, in that order.
    pub from: Vec<FromNode>,
    /// The nodes that will have the keys, in the given order.
    pub to: Vec<ToNode>,
    /// All flows of at least one key, by the indexes of their nodes; `None` if the rings
    /// have more than [`FLOW_COUNT_MAX`](crate::jobs::ring_plan::FLOW_COUNT_MAX) pairs of
    /// nodes.
    pub flows: Option<Vec<Flow>>,
    /// The selection with its rings; `None` if every record counts.
    pub selection: Option<String>,
    /// The moment that the selection's times are relative to.
    pub at: UnixSecs,
    /// Records that were read, but are not selected. No other figure includes them.
    pub filtered: Amount,
    /// Records counted although the snapshot does not decide whether they are selected.
    pub unknown_kept: u64,
    /// Keys counted although no client of the new ring can have them, or no client of the
    /// old ring if that one accepts fewer keys.
    pub not_text: Option<NotText>,
    /// Records that could not be read, as far as they are counted.
    pub unreadable: u64,
    /// What could not be read, and why. At most
    /// [`KeyDamage::FINDING_COUNT_MAX`](crate::engines::snapshot::KeyDamage::FINDING_COUNT_MAX).
    pub findings: Vec<Finding>,
    /// Number of further findings.
    pub finding_count_dropped: u64,
    /// How long the computation took.
    pub elapsed: Duration,
}

impl ReshardingReport {
    /// Returns everything that is counted.
    pub fn total(&self) -> Amount {
        Amount::sum(self.to.iter().map(|node| node.gets))
    }

    /// Returns how much moves to another node than it is on.
    pub fn moved(&self) -> Amount {
        Amount::sum(self.to.iter().map(|node| node.comes))
    }

    /// Returns how many times the average the fullest new node has, in keys and in bytes;
    /// 1 is even. `None` if there are no keys.
    pub fn fullest(&self) -> Option<(f64, f64)> {
        let total = self.total();
        let ratio = |of: fn(&Amount) -> u64| {
            let most = self.to.iter().map(|node| of(&node.gets)).max()?;
            let average = to_f64(of(&total)) / to_f64(to_u64(self.to.len()));
            (average > 0.0).then(|| to_f64(most) / average)
        };
        Some((ratio(|amount| amount.keys)?, ratio(|amount| amount.bytes)?))
    }
}
