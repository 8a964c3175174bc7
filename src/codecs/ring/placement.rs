//! A ring with its nodes, ready for look-ups.

use std::collections::HashMap;

use crate::codecs::ring::arcs::Arcs;
use crate::codecs::ring::buckets::{Buckets, Pick};
use crate::codecs::ring::furc::Furc;
use crate::codecs::ring::hash::{CharSign, KeyHash};
use crate::codecs::ring::order::NumberedNode;
use crate::codecs::ring::points;
use crate::codecs::ring::rendezvous::Rendezvous;
use crate::codecs::ring::routed_part::RoutedPart;
use crate::codecs::ring::rule::{BucketWeights, Distribution, FurcWeights, RingRule};
use crate::codecs::ring::spec::RingSpec;
use crate::codecs::ring::weights::{POINT_COUNT_MAX, check_any_weight, check_weights};
use crate::codecs::ring::wide_points::WidePoints;
use crate::words::error::{Error, Result};
use crate::words::limits::check_limit;
use crate::words::node::NodeSpec;
use crate::words::units::{counted, to_u64};

/// Most nodes on one ring. This keeps a ring near 10 MB, and a node's number within 16
/// bits.
pub const NODE_COUNT_MAX: u64 = 10_000;

/// Where items go: by hashing, or to the node with the same number as their source.
#[derive(Debug)]
pub enum Placement {
    /// The ring decides, from the key alone.
    Ring(Ring),
    /// The items of source node i go to target node i.
    NodeForNode,
}

impl Placement {
    /// Puts the nodes on the ring that the user named.
    ///
    /// # Errors
    ///
    /// - As for [`Ring::new`], also for `node-for-node`.
    /// - `InvalidInput`: two nodes have the same name on the ring, so that one would get
    ///   every key of both and the other none.
    pub fn new(spec: &RingSpec, nodes: &[NodeSpec]) -> Result<Self> {
        check_nodes(nodes)?;
        let Some(rule) = spec.rule() else {
            return Ok(Self::NodeForNode);
        };
        check_names(rule, nodes)?;
        Ok(Self::Ring(Ring::new(rule, nodes)?))
    }

    /// Returns the index of the node that gets a key from source node `source_index`.
    /// With [`Placement::NodeForNode`] it is the same index; the caller makes sure that
    /// there are as many targets as sources.
    pub fn locate(&self, key: &[u8], source_index: usize) -> usize {
        match self {
            Self::Ring(ring) => ring.locate(key),
            Self::NodeForNode => source_index,
        }
    }
}

/// A rule from key to node.
///
/// It places every key as if all nodes were up. A key does not show what a client did
/// while a node was down.
///
/// # Memory
///
/// At most 160 points of 10 bytes for an average node, unless the rule has more; 32 bytes
/// per point if points are whole digests.
///
/// # Examples
///
/// ```
/// use mcsnap::words::node::NodeSpec;
/// use mcsnap::codecs::ring::{Ring, RingRule};
///
/// let nodes = ["mc1", "mc2", "mc3"].map(|host| NodeSpec::new(host, 11211));
/// let ring = Ring::new(&RingRule::default(), &nodes)?;
/// // 2297466611, the one-at-a-time hash of "apple", leaves 2.
/// assert_eq!(ring.locate(b"apple"), 2);
/// # Ok::<(), mcsnap::words::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Ring {
    engine: Engine,
    key_hash: KeyHash,
    char_sign: CharSign,
    /// `None` if all of a key is hashed.
    routed_part: Option<RoutedPart>,
}

#[derive(Debug)]
enum Engine {
    /// One node owns everything; clients do not even hash.
    Single,
    Buckets(Buckets),
    Arcs(Arcs),
    WidePoints(WidePoints),
    Rendezvous(Rendezvous),
    Furc(Furc),
}

impl Ring {
    /// Puts nodes on a ring. If two nodes have the same name on it, the result is what
    /// the client makes of that.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: there are no nodes, two nodes have the same address, the address
    ///   of a node is hashed but unknown, or a virtual bucket names a missing node.
    /// - `InvalidInput`: weights make more than [`POINT_COUNT_MAX`] points.
    /// - `LimitExceeded`: there are more than [`NODE_COUNT_MAX`] nodes.
    pub fn new(rule: &RingRule, nodes: &[NodeSpec]) -> Result<Self> {
        check_nodes(nodes)?;
        let engine = if nodes.len() == 1 {
            Engine::Single
        } else {
            let sorted = rule.node_order.sort(nodes, rule.labels)?;
            build_engine(rule, &sorted)?
        };
        Ok(Self {
            engine,
            key_hash: rule.key_hash,
            char_sign: rule.char_sign,
            routed_part: (!rule.routed_part.is_whole()).then(|| rule.routed_part.clone()),
        })
    }

    /// Returns the index of the node that owns a key, in the list of nodes as given.
    pub fn locate(&self, key: &[u8]) -> usize {
        let number = match &self.routed_part {
            None => self.locate_part(Some(key)),
            Some(part) => self.locate_part(part.of(key).as_deref()),
        };
        usize::from(number)
    }

    /// Returns the node for the hashed part of a key; without one, the hash is 0.
    fn locate_part(&self, part: Option<&[u8]>) -> u16 {
        match &self.engine {
            Engine::Single => 0,
            Engine::Buckets(buckets) => buckets.locate(self.wide_hash(part)),
            Engine::Arcs(arcs) => {
                arcs.locate(part.map_or(0, |part| self.key_hash.hash(part, self.char_sign)))
            }
            Engine::WidePoints(points) => points.locate(part.unwrap_or_default()),
            Engine::Rendezvous(rendezvous) => rendezvous.locate(part.unwrap_or_default()),
            Engine::Furc(furc) => furc.locate(part.unwrap_or_default()),
        }
    }

    fn wide_hash(&self, part: Option<&[u8]>) -> u64 {
        part.map_or(0, |part| self.key_hash.hash_wide(part, self.char_sign))
    }
}

fn check_nodes(nodes: &[NodeSpec]) -> Result<()> {
    if nodes.is_empty() {
        let allowed = "wanted at least one node";
        return Err(Error::invalid_input("nodes", "", allowed));
    }
    // Check this before nodes are numbered, since a number has 16 bits.
    check_limit("the number of nodes", to_u64(nodes.len()), NODE_COUNT_MAX)?;
    check_unique(nodes, |node| Ok(node.address()), "address")?;
    let label = |node: &NodeSpec| Ok(node.label.clone().unwrap_or_else(|| node.address()));
    check_unique(nodes, label, "label")
}

pub(super) fn check_names(rule: &RingRule, nodes: &[NodeSpec]) -> Result<()> {
    if nodes.len() > 1 && rule.distribution.uses_names() {
        check_unique(nodes, |node| rule.labels.name(node), "name in the ring")?;
    }
    Ok(())
}

/// Refuses nodes that share a text. With the same name they would share all their points,
/// so that one would get every key of both and the other none.
fn check_unique(
    nodes: &[NodeSpec],
    text: impl Fn(&NodeSpec) -> Result<String>,
    what: &'static str,
) -> Result<()> {
    let mut seen = HashMap::with_capacity(nodes.len());
    for node in nodes {
        if let Some(earlier) = seen.insert(text(node)?, node) {
            let allowed = format!("has the same {what} as node \"{earlier}\" before it");
            return Err(Error::invalid_input("node", node.to_string(), allowed));
        }
    }
    Ok(())
}

fn build_engine(rule: &RingRule, nodes: &[NumberedNode<'_>]) -> Result<Engine> {
    let numbers = || nodes.iter().map(|&(number, _)| number).collect();
    Ok(match &rule.distribution {
        Distribution::Modula(weights) => {
            let owners = match weights {
                BucketWeights::Ignored => numbers(),
                BucketWeights::Repeat => repeat(nodes)?,
            };
            Engine::Buckets(Buckets::new(owners, Pick::Remainder))
        }
        Distribution::VirtualBucket { buckets: None } => {
            Engine::Buckets(Buckets::new(numbers(), Pick::LowBits))
        }
        Distribution::VirtualBucket {
            buckets: Some(buckets),
        } => Engine::Buckets(Buckets::new(node_of_each(buckets, nodes)?, Pick::LowBits)),
        Distribution::Points(points) => Engine::Arcs(points::build(
            nodes,
            *points,
            rule.labels,
            rule.key_hash,
            rule.char_sign,
        )?),
        Distribution::Slots { points, count } => {
            let arcs = points::build(nodes, *points, rule.labels, rule.key_hash, rule.char_sign)?;
            let count = (*count).max(1);
            let step = u32::MAX / count;
            let owners = (0..count).map(|slot| arcs.locate(slot * step)).collect();
            Engine::Buckets(Buckets::new(owners, Pick::Remainder))
        }
        Distribution::WidePoints => Engine::WidePoints(WidePoints::new(nodes, rule.labels)?),
        Distribution::Rendezvous(score) => {
            Engine::Rendezvous(Rendezvous::new(nodes, rule.labels, *score)?)
        }
        Distribution::Furc(FurcWeights::Ignored) => Engine::Furc(Furc::equal(numbers())),
        Distribution::Furc(FurcWeights::PartOf { full }) => {
            let weights = nodes.iter().map(|&(number, node)| (number, node.weight));
            Engine::Furc(Furc::weighted(weights, *full))
        }
        Distribution::Jump => Engine::Buckets(Buckets::new(numbers(), Pick::Jump)),
    })
}

/// Returns as many buckets for each node as its weight.
fn repeat(nodes: &[NumberedNode<'_>]) -> Result<Vec<u16>> {
    let total = nodes.iter().map(|(_, node)| u64::from(node.weight)).sum();
    check_any_weight(total)?;
    check_weights("buckets", total, POINT_COUNT_MAX)?;
    let repeat = |&(number, node): &NumberedNode<'_>| {
        let count = usize::try_from(node.weight).unwrap_or(usize::MAX);
        std::iter::repeat_n(number, count)
    };
    Ok(nodes.iter().flat_map(repeat).collect())
}

fn node_of_each(buckets: &[usize], nodes: &[NumberedNode<'_>]) -> Result<Vec<u16>> {
    if buckets.is_empty() {
        let allowed = "wanted at least one bucket";
        return Err(Error::invalid_input("virtual buckets", "", allowed));
    }
    let find = |&index: &usize| match nodes.get(index) {
        Some(&(number, _)) => Ok(number),
        None => Err(Error::invalid_input(
            "virtual bucket",
            index.to_string(),
            format!(
                "wanted the index of one of {}",
                counted(to_u64(nodes.len()), "node")
            ),
        )),
    };
    buckets.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::ring::{KeyPrefix, NodeOrder, Preset};

    fn nodes(texts: &[&str]) -> Vec<NodeSpec> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn all() -> impl Iterator<Item = RingSpec> {
        Preset::ALL.iter().map(RingSpec::of)
    }

    fn refusal(texts: &[&str]) -> String {
        let mut results: Vec<_> = all()
            .map(|spec| {
                Placement::new(&spec, &nodes(texts))
                    .unwrap_err()
                    .to_string()
            })
            .collect();
        results.dedup();
        assert_eq!(results.len(), 1, "{results:?}");
        results[0].clone()
    }

    #[test]
    fn a_single_node_owns_every_key() {
        for spec in all() {
            let placement = Placement::new(&spec, &nodes(&["mc1:11212*3"])).unwrap();
            for key in [&b""[..], b"apple", b"\xff\x00"] {
                assert_eq!(placement.locate(key, 0), 0);
            }
        }
    }

    #[test]
    fn node_for_node_keeps_the_number_of_the_source() {
        let spec = "node-for-node".parse().unwrap();
        let placement = Placement::new(&spec, &nodes(&["a", "b"])).unwrap();
        assert_eq!(placement.locate(b"apple", 0), 0);
        assert_eq!(placement.locate(b"apple", 1), 1);
    }

    #[test]
    fn an_empty_list_of_nodes_is_refused() {
        assert_eq!(refusal(&[]), "nodes \"\": wanted at least one node");
    }

    #[test]
    fn a_node_listed_twice_is_refused_by_name() {
        assert_eq!(
            refusal(&["a", "b:1", "b:1*2"]),
            "node \"b:1*2\": has the same address as node \"b:1\" before it"
        );
        assert_eq!(
            refusal(&["a@x", "b@x"]),
            "node \"b:11211@x\": has the same label as node \"a:11211@x\" before it"
        );
    }

    #[test]
    fn nodes_of_one_name_on_the_ring_are_refused_by_name() {
        let refusal = |ring: &str, texts: &[&str]| {
            let spec = ring.parse().unwrap();
            Placement::new(&spec, &nodes(texts))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refusal("ketama", &["a", "b@a"]),
            "node \"b:11211@a\": has the same name in the ring as node \"a:11211\" before it"
        );
        assert_eq!(
            refusal("evcache", &["10.0.0.1:1", "10.0.0.1:2"]),
            "node \"10.0.0.1:2\": has the same name in the ring as node \"10.0.0.1:1\" before it"
        );
        // On a ring without names, labels may equal addresses.
        let spec = "modula".parse().unwrap();
        assert!(Placement::new(&spec, &nodes(&["a", "b@a"])).is_ok());
    }

    #[test]
    fn more_nodes_than_the_limit_are_refused() {
        let modula = "modula".parse().unwrap();
        let many: Vec<_> = (1..=10_001).map(|port| NodeSpec::new("a", port)).collect();
        let error = Placement::new(&modula, &many).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the number of nodes would be 10001; the limit is 10000"
        );
        assert!(Placement::new(&modula, &many[..10_000]).is_ok());
    }

    #[test]
    fn an_order_of_the_clients_own_does_not_change_what_an_index_means() {
        let rule = RingRule {
            node_order: NodeOrder::ByHostAndPort,
            ..RingRule::default()
        };
        let sorted = Ring::new(&RingRule::default(), &nodes(&["a", "b", "c"])).unwrap();
        let shuffled = Ring::new(&rule, &nodes(&["c", "a", "b"])).unwrap();
        for key in [&b"apple"[..], b"pear", b"plum", b"fig"] {
            assert_eq!((sorted.locate(key) + 1) % 3, shuffled.locate(key));
        }
    }

    #[test]
    fn a_prefix_that_the_client_adds_is_not_hashed() {
        let rule = RingRule {
            routed_part: RoutedPart {
                prefix: KeyPrefix::Unhashed(b"app1:".to_vec()),
                ..RoutedPart::default()
            },
            ..RingRule::default()
        };
        let nodes = nodes(&["a", "b", "c", "d", "e"]);
        let plain = Ring::new(&RingRule::default(), &nodes).unwrap();
        let ring = Ring::new(&rule, &nodes).unwrap();
        assert_eq!(ring.locate(b"app1:apple"), plain.locate(b"apple"));
        assert_eq!(ring.locate(b"apple"), plain.locate(b"apple"));
        assert_eq!(ring.locate(b"app1:"), plain.locate(b"app1:"));
    }

    #[test]
    fn a_weight_of_0_is_1_to_libmemcached_alone() {
        for (ring, is_one) in [
            ("ketama-weighted", true),
            ("twemproxy", true),
            ("node-memcached", true),
            ("dalli", false),
            ("python-memcached", false),
            ("perl-cache-memcached-fast:ketama-150", false),
        ] {
            let spec: RingSpec = ring.parse().unwrap();
            let has_keys = |texts: &[&str]| {
                let ring = Ring::new(spec.rule().unwrap(), &nodes(texts)).unwrap();
                let mut keys = (0..500).map(|number| format!("key:{number}"));
                keys.any(|key| ring.locate(key.as_bytes()) == 1)
            };
            assert!(has_keys(&["a", "b", "c"]), "{ring}");
            assert_eq!(has_keys(&["a", "b*0", "c"]), is_one, "{ring}");
        }
    }

    #[test]
    fn a_virtual_bucket_of_a_missing_node_is_refused() {
        let rule = |buckets| RingRule {
            distribution: Distribution::VirtualBucket {
                buckets: Some(buckets),
            },
            ..RingRule::default()
        };
        let nodes = nodes(&["a", "b"]);
        assert!(Ring::new(&rule(vec![0, 1, 1, 0]), &nodes).is_ok());
        assert_eq!(
            Ring::new(&rule(vec![0, 2]), &nodes)
                .unwrap_err()
                .to_string(),
            "virtual bucket \"2\": wanted the index of one of 2 nodes"
        );
        assert!(Ring::new(&rule(Vec::new()), &nodes).is_err());
    }
}
