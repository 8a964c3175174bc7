//! The rule by which a ring of points is built and searched.

use crate::codecs::ring::hash::KeyHash;
use crate::words::node::NodeSpec;

/// How a ring of points is built and searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointRule {
    /// How points are made from a label.
    pub hash: PointHash,
    /// Points of a node of average weight. [`PointHash::Md5`] and similar ones make them
    /// in fours.
    pub count: u32,
    /// How weights change that number.
    pub weights: PointWeights,
    /// Which point a hash belongs to.
    pub search: Search,
    /// Which node gets a point that several nodes have.
    pub ties: Ties,
}

impl PointRule {
    /// libmemcached's weighted ring, which many others imitate.
    pub const KETAMA: Self = Self {
        hash: PointHash::Md5,
        count: 160,
        weights: PointWeights::Share32,
        search: Search::AtOrAfter,
        ties: Ties::First,
    };

    /// libmemcached's ring without weights.
    pub const CONSISTENT: Self = Self {
        hash: PointHash::KeyHash,
        count: 100,
        weights: PointWeights::Share32IfAnyAboveOne,
        ..Self::KETAMA
    };

    /// Returns the number of labels of a node of average weight.
    pub(super) fn label_count(&self) -> u32 {
        self.count / self.hash.points_of_label()
    }
}

/// How points are made from a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointHash {
    /// Four points: the words of its MD5 digest, little-endian.
    Md5,
    /// Three points: the first words of its MD5 digest, though as many labels as four
    /// points would need (node hashring's `hash_ring`).
    Md5Three,
    /// Four points: the first words of its SHA-384 digest, little-endian.
    Sha384,
    /// One point: the first word of its SHA-1 digest, big-endian.
    Sha1,
    /// One point: the key hash of the ring.
    KeyHash,
    /// One point: a hash of its own.
    Own(KeyHash),
    /// One point: FNV-1a, which starts from 0 for a node's first label and correctly for
    /// all others (Enyim).
    EnyimFnv32a,
    /// One point, without a label: a chain of CRC-32s that starts from host and port
    /// (Cache::Memcached::Fast, nginx).
    Crc32Chain,
}

impl PointHash {
    /// Every kind with its name in a ring's text. [`PointHash::Own`] goes by the name of
    /// its function.
    pub const NAMES: [(&'static str, Self); 7] = [
        ("md5", Self::Md5),
        ("md5-3", Self::Md5Three),
        ("sha384", Self::Sha384),
        ("sha1", Self::Sha1),
        ("key-hash", Self::KeyHash),
        ("enyim-fnv1a-32", Self::EnyimFnv32a),
        ("crc32-chain", Self::Crc32Chain),
    ];

    /// Returns how many points count as made from one label.
    pub(super) fn points_of_label(self) -> u32 {
        match self {
            Self::Md5 | Self::Md5Three | Self::Sha384 => 4,
            Self::Sha1 | Self::KeyHash | Self::Own(_) | Self::EnyimFnv32a | Self::Crc32Chain => 1,
        }
    }
}

/// How weights change the number of a node's points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointWeights {
    /// Not at all.
    Ignored,
    /// The number is multiplied by the weight.
    Multiply,
    /// Nodes share all points by weight, computed in 32-bit floats.
    Share32,
    /// Like [`PointWeights::Ignored`] while no node has a weight above 1. As soon as one
    /// has, libmemcached silently makes the points of [`PointRule::KETAMA`] instead, but
    /// continues to hash keys as before. A client that chose its distribution after it
    /// got the nodes forgot their weights; for such a client, give the nodes no weights.
    Share32IfAnyAboveOne,
    /// Nodes share all points by weight, computed in 64-bit floats as the share times the
    /// number (node memcached).
    Share64,
    /// The same, but multiplied first and then divided (Dalli).
    ShareProduct64,
}

impl PointWeights {
    /// Returns the client's value for a node's weight. libmemcached and its imitators
    /// take 0 for 1; for others it is 0.
    pub(super) fn weight_of(self, node: &NodeSpec) -> u32 {
        match self {
            Self::Ignored | Self::Share32 | Self::Share32IfAnyAboveOne | Self::Share64 => {
                node.weight.max(1)
            }
            Self::Multiply | Self::ShareProduct64 => node.weight,
        }
    }

    /// Every kind with its name in a ring's text.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("ignored", Self::Ignored),
        ("multiply", Self::Multiply),
        ("f32", Self::Share32),
        ("f32-if-any", Self::Share32IfAnyAboveOne),
        ("f64", Self::Share64),
        ("f64-product", Self::ShareProduct64),
    ];
}

/// Which point a hash belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// The first one at or after it; beyond the last one, the first.
    AtOrAfter,
    /// The last one at or before it; below the first one, the last (Dalli).
    AtOrBefore,
    /// The first one at or after it; beyond the last one, the first, but below the first
    /// one, the last (Enyim).
    AtOrAfterButLastBelow,
}

impl Search {
    /// Every kind with its name in a ring's text.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("at-or-after", Self::AtOrAfter),
        ("at-or-before", Self::AtOrBefore),
        ("enyim", Self::AtOrAfterButLastBelow),
    ];
}

/// Which node gets a point that several nodes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// The first of them: a stable sort, and a search that stops at the first.
    First,
    /// The last of them: it replaced the others in a map.
    Last,
    /// The one whose rank in the order of names is the point modulo their number
    /// (xmemcached).
    ByPoint,
}

impl Ties {
    /// Every kind with its name in a ring's text.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("first", Self::First),
        ("last", Self::Last),
        ("by-point", Self::ByPoint),
    ];
}
