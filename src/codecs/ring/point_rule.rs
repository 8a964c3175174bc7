//! How a ring of points is made and read, as a rule.

use crate::codecs::ring::hash::KeyHash;
use crate::words::node::NodeSpec;

/// How a ring of points is made and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointRule {
    /// What makes points of a label.
    pub hash: PointHash,
    /// Points of a node of average weight. Those of [`PointHash::Md5`] and its
    /// kin come by the four.
    pub count: u32,
    /// What weights do to that number.
    pub weights: PointWeights,
    /// Which point has a hash.
    pub search: Search,
    /// Which node has a point that several have.
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

    /// Returns how many labels a node of average weight has.
    pub(super) fn label_count(&self) -> u32 {
        self.count / self.hash.points_of_label()
    }
}

/// What makes points of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointHash {
    /// Four points: the words of its MD5 digest, little-endian.
    Md5,
    /// Three points: the first words of its MD5 digest, though as many labels as
    /// four would need (node hashring's `hash_ring`).
    Md5Three,
    /// Four points: the first words of its SHA-384 digest, little-endian.
    Sha384,
    /// One point: the first word of its SHA-1 digest, big-endian.
    Sha1,
    /// One point: the function that hashes keys.
    KeyHash,
    /// One point: a function of its own.
    Own(KeyHash),
    /// One point: FNV-1a, which starts from 0 for a node's first label and as it
    /// should for all others (Enyim).
    EnyimFnv32a,
    /// One point without a label: a chain of CRC-32s that starts from host and
    /// port (Cache::Memcached::Fast, nginx).
    Crc32Chain,
}

impl PointHash {
    /// Every way under the name that a ring's text gives it. That of
    /// [`PointHash::Own`] is the name of the function.
    pub const NAMES: [(&'static str, Self); 7] = [
        ("md5", Self::Md5),
        ("md5-3", Self::Md5Three),
        ("sha384", Self::Sha384),
        ("sha1", Self::Sha1),
        ("key-hash", Self::KeyHash),
        ("enyim-fnv1a-32", Self::EnyimFnv32a),
        ("crc32-chain", Self::Crc32Chain),
    ];

    /// Returns how many points a label is counted for.
    pub(super) fn points_of_label(self) -> u32 {
        match self {
            Self::Md5 | Self::Md5Three | Self::Sha384 => 4,
            Self::Sha1 | Self::KeyHash | Self::Own(_) | Self::EnyimFnv32a | Self::Crc32Chain => 1,
        }
    }
}

/// What weights do to the number of a node's points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointWeights {
    /// Nothing.
    Ignored,
    /// They multiply it.
    Multiply,
    /// Nodes share all points by weight, counted with floats of 32 bits.
    Share32,
    /// As [`PointWeights::Ignored`] for as long as no node has a weight above 1.
    /// As soon as one has, libmemcached silently makes the points of
    /// [`PointRule::KETAMA`] instead, but goes on to hash keys as before. A
    /// client that chose its distribution after it got the nodes forgot their
    /// weights; for such a client, give the nodes none.
    Share32IfAnyAboveOne,
    /// Nodes share all points by weight, counted with floats of 64 bits: the
    /// share times the number (node memcached).
    Share64,
    /// The same, but first multiplied, then divided (Dalli).
    ShareProduct64,
}

impl PointWeights {
    /// Returns what the client makes of a node's weight. libmemcached and those
    /// that imitate it take 0 for 1; to others it is none.
    pub(super) fn weight_of(self, node: &NodeSpec) -> u32 {
        match self {
            Self::Ignored | Self::Share32 | Self::Share32IfAnyAboveOne | Self::Share64 => {
                node.weight.max(1)
            }
            Self::Multiply | Self::ShareProduct64 => node.weight,
        }
    }

    /// Every way under the name that a ring's text gives it.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("ignored", Self::Ignored),
        ("multiply", Self::Multiply),
        ("f32", Self::Share32),
        ("f32-if-any", Self::Share32IfAnyAboveOne),
        ("f64", Self::Share64),
        ("f64-product", Self::ShareProduct64),
    ];
}

/// Which point has a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// The first one at or after it; beyond the last the first.
    AtOrAfter,
    /// The last one at or before it; below the first the last (Dalli).
    AtOrBefore,
    /// The first one at or after it; beyond the last the first, but below the
    /// first the last (Enyim).
    AtOrAfterButLastBelow,
}

impl Search {
    /// Every way under the name that a ring's text gives it.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("at-or-after", Self::AtOrAfter),
        ("at-or-before", Self::AtOrBefore),
        ("enyim", Self::AtOrAfterButLastBelow),
    ];
}

/// Which node has a point that several have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// The first of them: a stable sort, and a search that stops at the first.
    First,
    /// The last of them: a map in which it replaced the others.
    Last,
    /// The one whose place in the order of names is the point modulo their
    /// number (xmemcached).
    ByPoint,
}

impl Ties {
    /// Every way under the name that a ring's text gives it.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("first", Self::First),
        ("last", Self::Last),
        ("by-point", Self::ByPoint),
    ];
}
