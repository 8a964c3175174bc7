//! Everything but the nodes that decides where a key goes.

use crate::codecs::ring::hash::{CharSign, KeyHash};
use crate::codecs::ring::label::{LabelRule, SocketName};
use crate::codecs::ring::order::NodeOrder;
use crate::codecs::ring::point_rule::{PointHash, PointRule};
use crate::codecs::ring::rendezvous::Score;
use crate::codecs::ring::routed_part::RoutedPart;

/// Everything but the nodes that decides where a key goes. The default is libmemcached's
/// behaviour without any options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingRule {
    /// How hashes are distributed over the nodes.
    pub distribution: Distribution,
    /// The hash function for keys.
    pub key_hash: KeyHash,
    /// How the client's machine reads a byte above 127.
    pub char_sign: CharSign,
    /// Which part of a stored key is hashed.
    pub routed_part: RoutedPart,
    /// How the client orders the given nodes.
    pub node_order: NodeOrder,
    /// How nodes are named, if names matter.
    pub labels: LabelRule,
}

/// How hashes are distributed over the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// The hash modulo the number of buckets.
    Modula(BucketWeights),
    /// The low bits of the hash select a bucket.
    VirtualBucket {
        /// The node of each bucket, as an index into the ordered list of nodes; `None` uses the
        /// nodes themselves as buckets.
        buckets: Option<Vec<usize>>,
    },
    /// A ring of points.
    Points(PointRule),
    /// A ring of points that is searched only for equally spaced hashes; the key's hash
    /// modulo their number selects one of these (PHP's memcache).
    Slots {
        /// The ring.
        points: PointRule,
        /// The number of such hashes.
        count: u32,
    },
    /// A ring of points that are whole MD5 digests (python-binary-memcached).
    WidePoints,
    /// The node with the highest score.
    Rendezvous(Score),
    /// mcrouter's Ch3, which descends a tree of bits.
    Furc(FurcWeights),
    /// Jump consistent hash.
    Jump,
}

impl Default for Distribution {
    fn default() -> Self {
        Self::Modula(BucketWeights::Ignored)
    }
}

impl Distribution {
    /// Returns whether the names of nodes decide where keys go.
    pub fn uses_names(&self) -> bool {
        match self {
            Self::Points(_) | Self::Slots { .. } | Self::WidePoints | Self::Rendezvous(_) => true,
            Self::Modula(_) | Self::VirtualBucket { .. } | Self::Furc(_) | Self::Jump => false,
        }
    }

    /// Returns whether the weights of nodes decide where keys go.
    pub fn uses_weights(&self) -> bool {
        use crate::codecs::ring::point_rule::PointWeights;
        match self {
            Self::Modula(weights) => *weights == BucketWeights::Repeat,
            Self::Points(points) | Self::Slots { points, .. } => {
                points.weights != PointWeights::Ignored
            }
            Self::Rendezvous(score) => {
                matches!(score, Score::McrouterWeighted | Score::Md5Election)
            }
            Self::Furc(weights) => *weights != FurcWeights::Ignored,
            Self::VirtualBucket { .. } | Self::WidePoints | Self::Jump => false,
        }
    }

    /// Returns whether the keys of all other nodes stay in place when a node, or only the
    /// last one, is removed.
    pub fn keeps_keys_of_others(&self) -> bool {
        match self {
            Self::Points(_)
            | Self::WidePoints
            | Self::Rendezvous(_)
            | Self::Furc(_)
            | Self::Jump => true,
            Self::Modula(_) | Self::VirtualBucket { .. } | Self::Slots { .. } => false,
        }
    }

    /// Returns the rule for points, if the distribution has points.
    pub(super) fn points_mut(&mut self) -> Option<&mut PointRule> {
        match self {
            Self::Points(points) | Self::Slots { points, .. } => Some(points),
            Self::Modula(_)
            | Self::VirtualBucket { .. }
            | Self::WidePoints
            | Self::Rendezvous(_)
            | Self::Furc(_)
            | Self::Jump => None,
        }
    }
}

/// How weights change the buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BucketWeights {
    /// Not at all: one bucket per node.
    #[default]
    Ignored,
    /// A node has as many adjacent buckets as its weight.
    Repeat,
}

impl BucketWeights {
    /// Every kind with its name in a ring's text.
    pub const NAMES: [(&'static str, Self); 2] =
        [("ignored", Self::Ignored), ("repeat", Self::Repeat)];
}

/// How weights change mcrouter's Ch3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FurcWeights {
    /// Not at all.
    Ignored,
    /// A node takes this share of the keys that it is offered: WeightedCh3.
    PartOf {
        /// The weight that stands for 1.0; `None` means that of the heaviest node.
        full: Option<u32>,
    },
}

impl RingRule {
    /// Returns whether the names of nodes decide where keys go, or in which order the
    /// client keeps the nodes.
    pub fn uses_names(&self) -> bool {
        self.distribution.uses_names() || self.node_order == NodeOrder::ByNameLength
    }

    /// Returns whether labels that a user gives nodes decide where keys go.
    pub(super) fn uses_labels(&self) -> bool {
        let has_own_names = match &self.distribution {
            Distribution::Points(points) | Distribution::Slots { points, .. } => {
                points.hash == PointHash::Crc32Chain
            }
            Distribution::Modula(_)
            | Distribution::VirtualBucket { .. }
            | Distribution::WidePoints
            | Distribution::Rendezvous(_)
            | Distribution::Furc(_)
            | Distribution::Jump => false,
        };
        self.uses_names() && !has_own_names
    }

    /// Returns whether the hash function for keys can be replaced.
    pub(super) fn uses_key_hash(&self) -> bool {
        !matches!(
            self.distribution,
            Distribution::WidePoints | Distribution::Rendezvous(_) | Distribution::Furc(_)
        )
    }

    /// Returns whether two rules are the same ring for all nodes. Without sockets among
    /// the nodes, the names of sockets do not count.
    pub(super) fn is_same_ring(&self, other: &Self, has_sockets: bool) -> bool {
        let bare = |rule: &Self| {
            let mut rule = rule.clone();
            if !rule.uses_names() {
                rule.labels = LabelRule::default();
            }
            if !has_sockets {
                rule.labels.socket = SocketName::default();
            }
            if !rule.uses_key_hash() {
                rule.key_hash = KeyHash::default();
            }
            rule
        };
        bare(self) == bare(other)
    }

    /// Returns whether the client hashes characters, so that its keys are always UTF-8.
    pub fn hashes_text(&self) -> bool {
        match self.distribution {
            Distribution::WidePoints => true,
            Distribution::Rendezvous(score) => score == Score::Murmur3Text,
            Distribution::Modula(_)
            | Distribution::VirtualBucket { .. }
            | Distribution::Points(_)
            | Distribution::Slots { .. }
            | Distribution::Furc(_)
            | Distribution::Jump => self.key_hash.is_of_text(),
        }
    }

    /// Returns the rule of libmemcached's CONSISTENT and KETAMA.
    pub fn ketama() -> Self {
        Self {
            distribution: Distribution::Points(PointRule::CONSISTENT),
            ..Self::default()
        }
    }

    /// Returns the rule of libmemcached's KETAMA_WEIGHTED.
    pub fn ketama_weighted() -> Self {
        Self {
            distribution: Distribution::Points(PointRule::KETAMA),
            key_hash: KeyHash::Md5,
            ..Self::default()
        }
    }
}
