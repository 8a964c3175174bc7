//! Where keys were found, and what a ring explains about it.

use crate::codecs::ring::spec::RingSpec;
use crate::words::node::NodeSpec;

/// A key, and the index of the node that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The key as stored.
    pub key: Vec<u8>,
    /// Index of its node in the list of nodes.
    pub node: usize,
}

/// How certain it is that a ring is the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sureness {
    /// It explains no more keys than chance would.
    No,
    /// It explains more keys than chance would, but leaves many unexplained.
    Partly,
    /// It explains nine of ten keys, which chance would not.
    Likely,
    /// It explains 999 of 1,000 keys, which chance would not.
    Certain,
}

impl Sureness {
    /// Returns its word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Partly => "partly",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

/// A ring that places keys where they were found.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The ring.
    pub ring: RingSpec,
    /// Its nodes, as this ring needs them: perhaps in another order, with other weights,
    /// or under other names than given.
    pub nodes: Vec<NodeSpec>,
    /// The differences from the given nodes.
    pub changes: Vec<NodeChange>,
    /// Other names of this ring: they place every key alike for all nodes.
    pub same: Vec<RingSpec>,
    /// Other rings that place every observed key alike, but may differ for nodes of
    /// another number, or with other names, ports or weights.
    pub alike: Vec<RingSpec>,
    /// Number of keys that are where the ring places them.
    pub agreeing: u64,
    /// Fraction of the keys that an unrelated ring with the same shares would place
    /// right, from 0 to 1.
    pub by_chance: f64,
    /// How certain it is.
    pub sureness: Sureness,
    /// For each sighting in order, the node where the key should be if it is elsewhere.
    pub(super) strays: Vec<Option<usize>>,
}

impl Explanation {
    /// Returns the keys that are elsewhere: the index of each sighting, and the index (in
    /// the given list) of the node where it should be.
    pub fn strays(&self) -> impl Iterator<Item = (usize, usize)> {
        let strays = self.strays.iter().enumerate();
        strays.filter_map(|(sighting, wanted)| wanted.map(|node| (sighting, node)))
    }
}

/// A change to the given nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeChange {
    /// They are in another order.
    Order,
    /// They have no weights.
    WeightsIgnored,
    /// They have weights that fit their shares of the keys.
    WeightsGuessed,
    /// They are named by their addresses.
    NamedByAddress,
    /// Those of this host are named `localhost`.
    NamedLocalhost,
}

/// Counts the keys on each node.
pub fn count_by_node(found: impl Iterator<Item = usize>, node_count: usize) -> Vec<u64> {
    let mut counts = vec![0_u64; node_count];
    for node in found {
        if let Some(count) = counts.get_mut(node) {
            *count += 1;
        }
    }
    counts
}
