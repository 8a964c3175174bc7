//! A ring with its nodes on it, ready to be asked.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::item::KEY_LEN_MAX;
use crate::limits::check_limit;
use crate::node::NodeSpec;
use crate::ring::hash::{CharSign, KeyHash};
use crate::ring::label::LabelFormat;
use crate::ring::modula::{Modula, Pick};
use crate::ring::points::{NumberedNode, PointRing};
use crate::ring::spec::{Distribution, KeyPrefix, NodeOrder, PointRule, RingRule, RingSpec};
use crate::units::to_u64;

/// Most nodes on one ring. Keeps a ring near 10 MB and a node's number in 16
/// bits.
pub const NODE_COUNT_MAX: u64 = 10_000;

/// Where items go: by hashing, or to the node with their source's number.
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
    /// - Those of [`Ring::new`], for `node-for-node` as well.
    pub fn new(spec: RingSpec, nodes: &[NodeSpec]) -> Result<Self> {
        if let Some(rule) = spec.rule() {
            return Ok(Self::Ring(Ring::new(&rule, nodes)?));
        }
        check_nodes(nodes)?;
        Ok(Self::NodeForNode)
    }

    /// Returns the index of the node that gets a key which lay on source node
    /// `source_index`. With [`Placement::NodeForNode`] that is the same index,
    /// and the caller makes sure that there are as many targets as sources.
    pub fn locate(&self, key: &[u8], source_index: usize) -> usize {
        match self {
            Self::Ring(ring) => ring.locate(key),
            Self::NodeForNode => source_index,
        }
    }
}

/// A rule from key to node.
///
/// It places every key as if all nodes were up. What a client did while one
/// was down cannot be told from the key.
///
/// # Memory
///
/// At most 160 points of 6 bytes for an average node.
///
/// # Examples
///
/// ```
/// use mcsnap::node::NodeSpec;
/// use mcsnap::ring::{Ring, RingRule};
///
/// let nodes = ["mc1", "mc2", "mc3"].map(|host| NodeSpec::new(host, 11211));
/// let ring = Ring::new(&RingRule::default(), &nodes)?;
/// // 2297466611, the one-at-a-time hash of "apple", leaves 2.
/// assert_eq!(ring.locate(b"apple"), 2);
/// # Ok::<(), mcsnap::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Ring {
    engine: Engine,
    key_hash: KeyHash,
    char_sign: CharSign,
    key_prefix: KeyPrefix,
}

#[derive(Debug)]
enum Engine {
    /// One node owns everything; clients do not even hash.
    Single,
    Modula(Modula),
    Points(PointRing),
}

impl Ring {
    /// Puts nodes on a ring.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` when there is no node, when two nodes have the same
    ///   address or label, or when a virtual bucket names a node that is not
    ///   there.
    /// - `LimitExceeded` when there are more than [`NODE_COUNT_MAX`] nodes.
    pub fn new(rule: &RingRule, nodes: &[NodeSpec]) -> Result<Self> {
        check_nodes(nodes)?;
        let engine = if nodes.len() == 1 {
            Engine::Single
        } else {
            build_engine(rule, &order_nodes(nodes, rule.node_order))?
        };
        Ok(Self {
            engine,
            key_hash: rule.key_hash,
            char_sign: rule.char_sign,
            key_prefix: rule.key_prefix.clone(),
        })
    }

    /// Returns the index of the node that owns a key, in the list of nodes as
    /// it was given.
    pub fn locate(&self, key: &[u8]) -> usize {
        let number = match &self.engine {
            Engine::Single => 0,
            Engine::Modula(modula) => modula.locate(self.hash(key)),
            Engine::Points(points) => points.locate(self.hash(key)),
        };
        usize::from(number)
    }

    fn hash(&self, key: &[u8]) -> u32 {
        let hashed = match &self.key_prefix {
            KeyPrefix::None => key,
            KeyPrefix::Unhashed(prefix) => match key.strip_prefix(prefix.as_slice()) {
                Some(rest) if !rest.is_empty() => rest,
                Some(_) | None => key,
            },
            KeyPrefix::Hashed if key.len() > KEY_LEN_MAX => return 0,
            KeyPrefix::Hashed => key,
        };
        self.key_hash.hash(hashed, self.char_sign)
    }
}

fn check_nodes(nodes: &[NodeSpec]) -> Result<()> {
    if nodes.is_empty() {
        let allowed = "wanted at least one node";
        return Err(Error::invalid_input("nodes", "", allowed));
    }
    // Checked before nodes are numbered: a number has 16 bits.
    check_limit("node_count_max", to_u64(nodes.len()), NODE_COUNT_MAX)?;
    check_unique(nodes, NodeSpec::address, "address")?;
    let name = |node: &NodeSpec| LabelFormat::PortUnlessDefault.name(node);
    check_unique(nodes, name, "name in the ring")
}

/// Nodes that share a name share all their points, so one of them would get
/// every key of both and the other none.
fn check_unique(
    nodes: &[NodeSpec],
    text: impl Fn(&NodeSpec) -> String,
    what: &'static str,
) -> Result<()> {
    let mut seen = HashMap::with_capacity(nodes.len());
    for node in nodes {
        if let Some(earlier) = seen.insert(text(node), node) {
            let allowed = format!("has the same {what} as node \"{earlier}\" before it");
            return Err(Error::invalid_input("node", node.to_string(), allowed));
        }
    }
    Ok(())
}

/// Numbers the nodes as given, then puts them in the client's order.
fn order_nodes(nodes: &[NodeSpec], order: NodeOrder) -> Vec<NumberedNode<'_>> {
    let mut numbered: Vec<_> = (0..).zip(nodes).collect();
    match order {
        NodeOrder::AsGiven => {}
        NodeOrder::ByHostAndPort => {
            numbered.sort_by_key(|(_, node)| (node.host.as_bytes(), node.port));
        }
    }
    numbered
}

fn build_engine(rule: &RingRule, nodes: &[NumberedNode<'_>]) -> Result<Engine> {
    let numbers = || nodes.iter().map(|&(number, _)| number).collect();
    Ok(match &rule.distribution {
        Distribution::Modula => Engine::Modula(Modula::new(numbers(), Pick::Remainder)),
        Distribution::VirtualBucket { buckets: None } => {
            Engine::Modula(Modula::new(numbers(), Pick::LowBits))
        }
        Distribution::VirtualBucket {
            buckets: Some(buckets),
        } => Engine::Modula(Modula::new(node_of_each(buckets, nodes)?, Pick::LowBits)),
        Distribution::Ketama { points, format } => {
            Engine::Points(build_points(rule, *points, *format, nodes))
        }
    })
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
            format!("wanted the index of one of {} nodes", nodes.len()),
        )),
    };
    buckets.iter().map(find).collect()
}

fn build_points(
    rule: &RingRule,
    points: PointRule,
    format: LabelFormat,
    nodes: &[NumberedNode<'_>],
) -> PointRing {
    let has_weights = nodes.iter().any(|(_, node)| node.weight > 1);
    match points {
        PointRule::Equal if !has_weights => PointRing::equal(nodes, format, |label| {
            rule.key_hash.hash(label, rule.char_sign)
        }),
        PointRule::Equal | PointRule::Weighted => PointRing::weighted(nodes, format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(texts: &[&str]) -> Vec<NodeSpec> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn refusal(texts: &[&str]) -> String {
        let results =
            RingSpec::ALL.map(|spec| Placement::new(spec, &nodes(texts)).unwrap_err().to_string());
        assert!(results.iter().all(|text| *text == results[0]));
        results[0].clone()
    }

    #[test]
    fn a_single_node_owns_every_key() {
        for spec in RingSpec::ALL {
            let placement = Placement::new(spec, &nodes(&["mc1:11212*3"])).unwrap();
            for key in [&b""[..], b"apple", b"\xff\x00"] {
                assert_eq!(placement.locate(key, 0), 0);
            }
        }
    }

    #[test]
    fn node_for_node_keeps_the_number_of_the_source() {
        let placement = Placement::new(RingSpec::NodeForNode, &nodes(&["a", "b"])).unwrap();
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
            "node \"b:11211@x\": has the same name in the ring as node \"a:11211@x\" before it"
        );
        assert_eq!(
            refusal(&["a", "b@a"]),
            "node \"b:11211@a\": has the same name in the ring as node \"a:11211\" before it"
        );
    }

    #[test]
    fn more_nodes_than_the_limit_are_refused() {
        let many: Vec<_> = (1..=10_001).map(|port| NodeSpec::new("a", port)).collect();
        let error = Placement::new(RingSpec::Modula, &many).unwrap_err();
        assert_eq!(
            error.to_string(),
            "node_count_max would be 10001; the limit is 10000"
        );
        assert!(Placement::new(RingSpec::Modula, &many[..10_000]).is_ok());
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
            key_prefix: KeyPrefix::Unhashed(b"app1:".to_vec()),
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
