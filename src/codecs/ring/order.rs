//! The order in which a client keeps its nodes.

use std::cmp::Ordering;

use crate::codecs::ring::label::LabelRule;
use crate::words::error::Result;
use crate::words::node::NodeSpec;

/// One node with the number that look-ups return for it.
pub(super) type NumberedNode<'a> = (u16, &'a NodeSpec);

/// How the client orders the nodes it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeOrder {
    /// In the given order.
    #[default]
    AsGiven,
    /// By host as bytes, then by port: libmemcached's SORT_HOSTS.
    ByHostAndPort,
    /// By the length of the name on the ring, then by its bytes: twemproxy.
    ByNameLength,
    /// By `host:port`, with digits compared as numbers: dskit, which Grafana's programs
    /// use.
    Natural,
}

impl NodeOrder {
    /// Every order with its name in a ring's text.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("given", Self::AsGiven),
        ("host-port", Self::ByHostAndPort),
        ("name-length", Self::ByNameLength),
        ("natural", Self::Natural),
    ];

    /// Numbers the nodes as given, then sorts them. The sort is stable.
    ///
    /// # Errors
    ///
    /// - As for [`LabelRule::name`].
    pub(super) fn sort(
        self,
        nodes: &[NodeSpec],
        labels: LabelRule,
    ) -> Result<Vec<NumberedNode<'_>>> {
        let mut numbered: Vec<_> = (0..).zip(nodes).collect();
        match self {
            Self::AsGiven => {}
            Self::ByHostAndPort => {
                numbered.sort_by_key(|(_, node)| (node.host.as_bytes(), node.port));
            }
            Self::ByNameLength => {
                let names: Vec<_> = nodes
                    .iter()
                    .map(|node| labels.name(node))
                    .collect::<Result<_>>()?;
                let name = |number: u16| &names[usize::from(number)];
                numbered.sort_by_key(|&(number, _)| (name(number).len(), name(number)));
            }
            Self::Natural => {
                let address = |node: &NodeSpec| match node.socket_path() {
                    Some(_) => node.host.clone(),
                    // Go's JoinHostPort puts brackets around IPv6.
                    None => node.address(),
                };
                numbered.sort_by(|(_, a), (_, b)| natural(&address(a), &address(b)));
            }
        }
        Ok(numbered)
    }
}

/// Compares run by run: runs of digits as numbers, others as bytes.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (runs(a), runs(b));
    loop {
        let ordering = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => match (a.parse::<i64>(), b.parse::<i64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_) | Err(_), _) => a.cmp(b),
            },
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
}

/// Splits a text into runs of digits and runs of others.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let is_digit = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_digit);
        let (run, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        Some(run)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(order: NodeOrder, nodes: &[&str]) -> Vec<u16> {
        let nodes: Vec<NodeSpec> = nodes.iter().map(|text| text.parse().unwrap()).collect();
        let sorted = order.sort(&nodes, LabelRule::default()).unwrap();
        sorted.into_iter().map(|(number, _)| number).collect()
    }

    #[test]
    fn nodes_are_sorted_and_keep_their_numbers() {
        let nodes = ["mc10:11211", "mc9:11212", "mc9:11211", "a-longer-name"];
        assert_eq!(sorted(NodeOrder::AsGiven, &nodes), [0, 1, 2, 3]);
        assert_eq!(sorted(NodeOrder::ByHostAndPort, &nodes), [3, 0, 2, 1]);
        // mc9, mc10, mc9:11212, a-longer-name.
        assert_eq!(sorted(NodeOrder::ByNameLength, &nodes), [2, 0, 1, 3]);
        assert_eq!(sorted(NodeOrder::Natural, &nodes), [3, 2, 1, 0]);
        // A bracket sorts after a colon.
        let bracketed = ["[fd00::1]:11211", "[fd00::1:a]:11211"];
        assert_eq!(sorted(NodeOrder::Natural, &bracketed), [1, 0]);
    }

    #[test]
    fn digits_are_compared_as_numbers_whatever_their_zeros() {
        assert_eq!(natural("a2", "a10"), Ordering::Less);
        assert_eq!(natural("a02b", "a2a"), Ordering::Greater);
        assert_eq!(natural("a", "a1"), Ordering::Less);
        assert_eq!(natural("10.0.0.9:1", "10.0.0.10:1"), Ordering::Less);
    }
}
