//! Where keys were found, and what a ring explains of it.

use crate::codecs::ring::spec::RingSpec;
use crate::words::node::NodeSpec;

/// A key, and the index of the node that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The key as it is stored.
    pub key: Vec<u8>,
    /// Its node, in the list of nodes.
    pub node: usize,
}

/// How sure it is that a ring is the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sureness {
    /// It explains no more keys than chance would.
    No,
    /// It explains more keys than chance would, but many it does not.
    Partly,
    /// It explains nine keys of ten, and chance would not.
    Likely,
    /// It explains 999 keys of 1,000, and chance would not.
    Certain,
}

impl Sureness {
    /// Its word in reports.
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
    /// Its nodes, as they have to be written for it: perhaps in another order,
    /// with other weights, or under other names than given.
    pub nodes: Vec<NodeSpec>,
    /// What differs from the nodes that were given.
    pub changes: Vec<NodeChange>,
    /// Other names of this ring: they place every key as it does, whatever the
    /// nodes.
    pub same: Vec<RingSpec>,
    /// Other rings that place every key that was seen as this one does, but may not
    /// on nodes of other numbers, names, ports or weights.
    pub alike: Vec<RingSpec>,
    /// Keys where it places them.
    pub agreeing: u64,
    /// Share of the keys that a ring of the same shares, but unrelated, would
    /// place right: 0 to 1.
    pub by_chance: f64,
    /// How sure it is.
    pub sureness: Sureness,
    /// For each sighting, in their order, whether it is elsewhere.
    pub(super) strays: Vec<Option<usize>>,
}

impl Explanation {
    /// Returns the keys that lie elsewhere: the index of each sighting, and the
    /// index (in the list that was given) of the node where it should be.
    pub fn strays(&self) -> impl Iterator<Item = (usize, usize)> {
        let strays = self.strays.iter().enumerate();
        strays.filter_map(|(sighting, wanted)| wanted.map(|node| (sighting, node)))
    }
}

/// What was changed of the nodes that were given.
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

/// Counts what lies on each node.
pub fn count_by_node(found: impl Iterator<Item = usize>, node_count: usize) -> Vec<u64> {
    let mut counts = vec![0_u64; node_count];
    for node in found {
        if let Some(count) = counts.get_mut(node) {
            *count += 1;
        }
    }
    counts
}
