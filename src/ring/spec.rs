//! What the user asks for: a ring by name, and the rule behind the name.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::ring::hash::{CharSign, KeyHash};
use crate::ring::label::LabelFormat;

/// The value of `--ring`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingSpec {
    /// `modula`: libmemcached's own default, and that of php-memcached and
    /// pylibmc. The hash modulo the number of nodes; weights do not count.
    Modula,
    /// `ketama`: libmemcached's CONSISTENT and KETAMA, which are the same.
    Ketama,
    /// `ketama-weighted`: libmemcached's KETAMA_WEIGHTED, php-memcached's
    /// `OPT_LIBKETAMA_COMPATIBLE`, pylibmc's `ketama_weighted`.
    KetamaWeighted,
    /// `node-for-node`: no hashing; node i's items go to node i.
    NodeForNode,
}

impl RingSpec {
    /// Every ring, in the order in which messages list them.
    pub const ALL: [Self; 4] = [
        Self::Modula,
        Self::Ketama,
        Self::KetamaWeighted,
        Self::NodeForNode,
    ];

    /// Returns the name by which `--ring` asks for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Modula => "modula",
            Self::Ketama => "ketama",
            Self::KetamaWeighted => "ketama-weighted",
            Self::NodeForNode => "node-for-node",
        }
    }

    /// Returns the rule behind the name; `None` where there is nothing to
    /// hash.
    pub fn rule(self) -> Option<RingRule> {
        match self {
            Self::Modula => Some(RingRule::default()),
            Self::Ketama => Some(RingRule::ketama()),
            Self::KetamaWeighted => Some(RingRule::ketama_weighted()),
            Self::NodeForNode => None,
        }
    }
}

impl fmt::Display for RingSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for RingSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|spec| spec.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::invalid_input("ring", text, format!("wanted one of {names}"))
        })
    }
}

/// Everything but the nodes that decides where a key goes. The default is
/// what libmemcached does when no option is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingRule {
    /// How hashes are shared out among the nodes.
    pub distribution: Distribution,
    /// What hashes the key.
    pub key_hash: KeyHash,
    /// What a byte above 127 is on the client's machine.
    pub char_sign: CharSign,
    /// How the client orders the nodes it was given.
    pub node_order: NodeOrder,
    /// What part of a stored key is hashed.
    pub key_prefix: KeyPrefix,
}

impl RingRule {
    /// Returns the rule of libmemcached's CONSISTENT and KETAMA.
    pub fn ketama() -> Self {
        Self {
            distribution: Distribution::Ketama {
                points: PointRule::Equal,
                format: LabelFormat::PortUnlessDefault,
            },
            ..Self::default()
        }
    }

    /// Returns the rule of libmemcached's KETAMA_WEIGHTED.
    pub fn ketama_weighted() -> Self {
        Self {
            distribution: Distribution::Ketama {
                points: PointRule::Weighted,
                format: LabelFormat::PortUnlessDefault,
            },
            key_hash: KeyHash::Md5,
            ..Self::default()
        }
    }
}

/// How hashes are shared out among the nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Distribution {
    /// The hash modulo the number of nodes. Weights do not count.
    #[default]
    Modula,
    /// The low bits of the hash number a bucket.
    VirtualBucket {
        /// The node of each bucket, as an index into the ordered list of
        /// nodes; `None` takes the nodes themselves as buckets.
        buckets: Option<Vec<usize>>,
    },
    /// A ring of points.
    Ketama {
        /// How many points a node has, and what hashes them.
        points: PointRule,
        /// What a node is called on the ring.
        format: LabelFormat,
    },
}

/// How many points a node has, and what hashes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointRule {
    /// 100 for each node, by the key's hash function. As soon as one node has
    /// a weight above 1, libmemcached silently takes [`PointRule::Weighted`],
    /// but goes on to hash keys as before; so does this. A client that chose
    /// its distribution after it got the nodes forgot their weights; for such
    /// a client, give the nodes none.
    Equal,
    /// 160 for an average node, by MD5, in proportion to the weights.
    Weighted,
}

/// How the client orders the nodes it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeOrder {
    /// Not at all.
    #[default]
    AsGiven,
    /// By host as bytes, then by port: libmemcached's SORT_HOSTS.
    ByHostAndPort,
}

/// What part of a stored key is hashed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeyPrefix {
    /// All of it.
    #[default]
    None,
    /// What follows this prefix, as when libmemcached's PREFIX_KEY is set. A
    /// key that does not begin with it, or has nothing after it, was not
    /// stored by that client; all of it is hashed.
    Unhashed(Vec<u8>),
    /// All of it, as when HASH_WITH_PREFIX_KEY is set, too; but libmemcached
    /// then gives every key above 250 bytes the hash 0.
    Hashed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_and_written_back() {
        for spec in RingSpec::ALL {
            assert_eq!(spec.to_string().parse::<RingSpec>().unwrap(), spec);
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_list_of_known_ones() {
        for text in ["ketama2", "", "Modula", "modula "] {
            let error = text.parse::<RingSpec>().unwrap_err();
            let message = format!(
                "ring \"{text}\": wanted one of modula, ketama, ketama-weighted, node-for-node"
            );
            assert_eq!(error.to_string(), message);
        }
    }
}
