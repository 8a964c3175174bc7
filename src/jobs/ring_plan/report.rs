//! How much is where, and how much of it moves.

use std::time::Duration;

use crate::codecs::ring::RingSpec;
use crate::engines::sink::NotText;
use crate::words::finding::Finding;
use crate::words::node::NodeSpec;
use crate::words::units::{UnixSecs, to_f64, to_u64};

/// A number of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Keys.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

impl Amount {
    /// Adds another one.
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

/// A node on which keys are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromNode {
    /// Its address.
    pub address: String,
    /// What it has.
    pub has: Amount,
    /// What of that goes to other nodes.
    pub leaves: Amount,
    /// Its index among the new nodes, where it is one.
    pub stays_as: Option<usize>,
}

/// A node of the new ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToNode {
    /// As the user wrote it.
    pub node: NodeSpec,
    /// What it will have.
    pub gets: Amount,
    /// What of that is on other nodes now.
    pub comes: Amount,
}

/// What goes from one node to another, or stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Index of the node that has it.
    pub from: usize,
    /// Index of the node that gets it.
    pub to: usize,
    /// How much.
    pub amount: Amount,
}

/// A change of the ring, told by the keys of a snapshot.
#[derive(Clone, Debug)]
pub struct ReshardingReport {
    /// The ring that places keys now; none where they are taken to be on the
    /// nodes of the snapshot.
    pub from_ring: Option<RingSpec>,
    /// The new ring.
    pub to_ring: RingSpec,
    /// Where keys are now: nodes of the manifest, or those given, in that order.
    pub from: Vec<FromNode>,
    /// Where they will be, in the order given.
    pub to: Vec<ToNode>,
    /// All flows of at least one key, by the indexes of their nodes; none where
    /// the rings have more than [`FLOW_COUNT_MAX`](crate::jobs::ring_plan::FLOW_COUNT_MAX)
    /// pairs of nodes.
    pub flows: Option<Vec<Flow>>,
    /// The selection with its rings; none if every record counts.
    pub selection: Option<String>,
    /// The moment that times of the selection are relative to.
    pub at: UnixSecs,
    /// Records that were read, and are not selected; no other figure has them.
    pub filtered: Amount,
    /// Records that are counted though nobody told what would decide it.
    pub unknown_kept: u64,
    /// Keys that are counted though no client of the new ring, or of the old one
    /// where that takes fewer keys, can have them.
    pub not_text: Option<NotText>,
    /// Records that could not be read, as far as they are counted.
    pub unreadable: u64,
    /// What could not be read, and why. At most
    /// [`KeyDamage::FINDING_COUNT_MAX`](crate::engines::snapshot::KeyDamage::FINDING_COUNT_MAX).
    pub findings: Vec<Finding>,
    /// Findings beyond that.
    pub finding_count_dropped: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl ReshardingReport {
    /// Returns all that is counted.
    pub fn total(&self) -> Amount {
        Amount::sum(self.to.iter().map(|node| node.gets))
    }

    /// Returns what goes to another node than it is on.
    pub fn moved(&self) -> Amount {
        Amount::sum(self.to.iter().map(|node| node.comes))
    }

    /// Says how many times the average the fullest new node has, in keys and in
    /// bytes: 1 is even. None without any key.
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
