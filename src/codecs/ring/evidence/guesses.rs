//! Guesses about a client's configuration: other names, weights and orders of its nodes,
//! other hashes, and prefixes that it does not hash.

use std::collections::HashSet;

use crate::codecs::ring::evidence::explanation::{NodeChange, Sighting};
use crate::codecs::ring::spec::RingSpec;
use crate::words::node::NodeSpec;
use crate::words::units::to_u64;

/// Most prefixes to try as unhashed.
const PREFIX_COUNT_MAX: usize = 4;

/// Greatest weight to guess.
pub(super) const WEIGHT_MAX: u32 = 32;

/// One way to write the nodes, and how it differs from the given one.
pub(super) type NodeForm = (Vec<NodeSpec>, Vec<NodeChange>);

/// Returns the nodes as given, then under other names that a client may have for them.
pub(super) fn node_forms(nodes: &[NodeSpec]) -> Vec<NodeForm> {
    let mut forms = vec![(nodes.to_vec(), Vec::new())];
    let by_address = |node: &NodeSpec| NodeSpec {
        host: node
            .ip
            .map_or_else(|| node.host.clone(), |ip| ip.to_string()),
        ..node.clone()
    };
    let as_localhost = |node: &NodeSpec| {
        let literal: Option<std::net::IpAddr> = node.host.parse().ok();
        match literal.filter(std::net::IpAddr::is_loopback) {
            Some(ip) => NodeSpec {
                host: "localhost".to_owned(),
                ip: Some(ip),
                ..node.clone()
            },
            None => node.clone(),
        }
    };
    let mut add = |changed: Vec<NodeSpec>, changes: &[NodeChange]| {
        if forms.iter().all(|(known, _)| *known != changed) {
            forms.push((changed, changes.to_vec()));
        }
    };
    add(
        nodes.iter().map(by_address).collect(),
        &[NodeChange::NamedByAddress],
    );
    add(
        nodes.iter().map(as_localhost).collect(),
        &[NodeChange::NamedLocalhost],
    );
    let without_weight = |node: &NodeSpec| NodeSpec {
        weight: 1,
        ..node.clone()
    };
    add(
        nodes.iter().map(without_weight).collect(),
        &[NodeChange::WeightsIgnored],
    );
    forms
}

pub(super) fn with_part(specs: &[RingSpec], part: &str, value: &str) -> Vec<RingSpec> {
    let specs = specs.iter().cloned();
    specs
        .filter_map(|spec| spec.with(part, value).ok())
        .collect()
}

/// Rings that clients are often configured with but that have no name of their own.
pub(super) fn variations() -> Vec<RingSpec> {
    const HASHES: [&str; 12] = [
        "one-at-a-time",
        "md5",
        "crc",
        "crc32-whole",
        "crc16",
        "fnv1-32",
        "fnv1a-32",
        "fnv1-64",
        "fnv1a-64",
        "murmur2",
        "murmur3",
        "jenkins",
    ];
    const HASHED_FREELY: [&str; 6] = [
        "libmemcached",
        "libmemcached:consistent",
        "libmemcached:ketama-weighted",
        "twemproxy",
        "twemproxy:modula",
        "memcached-proxy:ring-ketama",
    ];
    const OTHERS: [&str; 17] = [
        "twemproxy,tag={}",
        "twemproxy:modula,tag={}",
        "memcached-proxy,tag={}",
        "memcached-proxy,stop=|#|",
        "memcached-proxy:ring,points=100",
        "evcache,points=800",
        "evcache,points=320",
        "perl-cache-memcached-fast:ketama-150,points=160",
        "perl-cache-memcached-fast:ketama-150,points=100",
        "spymemcached:ketama,weights=f32",
        "spymemcached:ketama-libmemcached,weights=f32",
        "aws-elasticache-java:ketama,weights=f32",
        "spymemcached,hash=crc",
        "spymemcached,hash=java-fnv1-64",
        "spymemcached,hash=md5",
        "xmemcached,hash=crc",
        "mcrouter,route=skipped",
    ];
    let hashed = HASHED_FREELY.iter().flat_map(|name| {
        HASHES
            .iter()
            .filter_map(move |hash| format!("{name},hash={hash}").parse().ok())
    });
    let others = OTHERS.iter().filter_map(|text| text.parse().ok());
    hashed.chain(others).collect()
}

/// Returns the common beginnings of all keys that end at a delimiter, longest first, as
/// written in a ring's text.
pub(super) fn common_prefixes(sightings: &[Sighting]) -> Vec<String> {
    let mut keys = sightings.iter().map(|sighting| sighting.key.as_slice());
    let Some(first) = keys.next() else {
        return Vec::new();
    };
    let common = keys.fold(first, |common, key| {
        let len = common.iter().zip(key).take_while(|(a, b)| a == b).count();
        &common[..len]
    });
    let is_delimiter = |byte: &u8| !byte.is_ascii_alphanumeric();
    let ends = (1..=common.len()).rev();
    let ends = ends.filter(|&end| is_delimiter(&common[end - 1]));
    let text = |prefix: &[u8]| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":._-".contains(&byte);
        let escape = |&byte: &u8| match byte {
            _ if is_plain(byte) => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        prefix.iter().map(escape).collect::<String>()
    };
    ends.take(PREFIX_COUNT_MAX)
        .map(|end| text(&common[..end]))
        .collect()
}

/// Returns the nodes with whole weights that fit the number of items of each, smallest
/// weights first. Weights that are all equal, or as given, are left out.
///
/// For each plausible sum of weights, a node's weight is its share of that sum, rounded.
/// Dividing by the share of one node instead would not do, because shares on a ring of
/// points vary by a tenth and more.
pub(super) fn guess_weights(populations: &[u64], nodes: &[NodeSpec]) -> Vec<Vec<NodeSpec>> {
    /// Largest average weight of the nodes.
    const MEAN_MAX: usize = 8;
    if populations.contains(&0) || populations.len() != nodes.len() {
        return Vec::new();
    }
    let total: u128 = populations.iter().map(|&count| u128::from(count)).sum();
    let sums = nodes.len()..=nodes.len() * MEAN_MAX;
    let weights = |sum: usize| -> Vec<u32> {
        let nearest = |&count: &u64| {
            let doubled = 2 * u128::from(count) * u128::from(to_u64(sum));
            let weight = u32::try_from((doubled + total) / (2 * total));
            weight.unwrap_or(WEIGHT_MAX).clamp(1, WEIGHT_MAX)
        };
        populations.iter().map(nearest).collect()
    };
    let mut guesses: Vec<Vec<u32>> = sums.map(weights).collect();
    let is_new = |guess: &Vec<u32>| {
        guess.iter().any(|weight| Some(weight) != guess.first())
            && guess
                .iter()
                .zip(nodes)
                .any(|(&weight, node)| weight != node.weight)
    };
    guesses.retain(is_new);
    let mut known = HashSet::new();
    guesses.retain(|guess| known.insert(guess.clone()));
    let weighted = |guess: Vec<u32>| {
        let nodes = nodes.iter().zip(guess);
        let weighted = nodes.map(|(node, weight)| NodeSpec {
            weight,
            ..node.clone()
        });
        weighted.collect()
    };
    guesses.into_iter().map(weighted).collect()
}

/// Returns the nodes with the least weights in the same proportions.
pub(super) fn reduce_weights(nodes: &[NodeSpec]) -> Vec<NodeSpec> {
    let divides = |by: &u32| nodes.iter().all(|node| node.weight.is_multiple_of(*by));
    let common = (1..=WEIGHT_MAX).rev().find(divides).unwrap_or(1);
    let reduced = nodes.iter().map(|node| NodeSpec {
        weight: node.weight / common,
        ..node.clone()
    });
    reduced.collect()
}

/// Returns all permutations of the indexes below `count`, the identity first.
pub(super) fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![Vec::new()];
    for _ in 0..count {
        let longer = orders.iter().flat_map(|order: &Vec<usize>| {
            let unused = (0..count).filter(|index| !order.contains(index));
            unused.map(|index| order.iter().copied().chain([index]).collect::<Vec<_>>())
        });
        orders = longer.collect();
    }
    orders
}
