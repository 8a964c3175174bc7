//! Samples keys and the nodes that have them.

use std::collections::HashMap;
use std::time::Duration;

use crate::codecs::format::compression::SectionReader;
use crate::codecs::format::manifest::ManifestSegment;
use crate::codecs::ring::Sighting;
use crate::engines::snapshot::{Opening, SnapshotReader};
use crate::engines::source::{WalkKind, sample_keys, survey};
use crate::ports::net::{NetOptions, with_address};
use crate::ports::threads::side_by_side;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};
use crate::words::finding::Finding;
use crate::words::node::{NodeIndex, NodeSpec};

/// The options of a sample.
#[derive(Clone, Debug)]
pub struct SampleOptions {
    /// The most keys of each node.
    pub count_per_node: usize,
    /// How keys are listed; `None` to choose by the server's version.
    pub walk: Option<WalkKind>,
    /// Connection options.
    pub net: NetOptions,
    /// How long to wait for the end of another crawl.
    pub busy_timeout: Duration,
}

/// A sample of keys from several nodes.
#[derive(Clone, Debug, Default)]
pub struct KeySample {
    /// The nodes, in the order of the client's configuration, with the addresses that
    /// their names resolve to, if known.
    pub nodes: Vec<NodeSpec>,
    /// The same nodes as the user named them.
    pub named: Vec<NodeSpec>,
    /// How many items each node has.
    pub populations: Vec<u64>,
    /// Keys, and the node that each one is on.
    pub sightings: Vec<Sighting>,
    /// What is damaged in a snapshot.
    pub findings: Vec<Finding>,
}

/// How many nodes are asked at a time.
const PARALLEL_NODES: usize = 16;

/// The number of items of a node, and some keys.
type NodeSample = (u64, Vec<Vec<u8>>);

/// Lists some keys of each node, sixteen nodes at a time.
///
/// # Errors
///
/// - `InvalidInput`: fewer than two nodes, or one of them twice.
/// - A node's error: rings can only be distinguished with the keys of all nodes.
pub fn sample_nodes(
    nodes: &[NodeSpec],
    options: &SampleOptions,
    cancel: &Cancel,
) -> Result<KeySample> {
    let resolved: Vec<NodeSpec> = nodes
        .iter()
        .map(|node| with_address(node, &options.net, cancel))
        .collect();
    check_nodes(nodes, &resolved)?;
    let ask = |node: &NodeSpec| {
        cancel.check()?;
        sample_node(node, options, cancel)
    };
    let all = nodes.iter().collect();
    let sampled = side_by_side("sample", all, PARALLEL_NODES, cancel, ask)?;
    let mut sample = KeySample {
        nodes: resolved,
        named: nodes.to_vec(),
        ..KeySample::default()
    };
    for (node, sampled) in sampled.into_iter().enumerate() {
        let (population, keys) = sampled?;
        sample.populations.push(population);
        let sightings = keys.into_iter().map(|key| Sighting { key, node });
        sample.sightings.extend(sightings);
    }
    Ok(sample)
}

fn sample_node(node: &NodeSpec, options: &SampleOptions, cancel: &Cancel) -> Result<NodeSample> {
    let source = survey(node, &options.net, options.walk, cancel)?;
    let keys = sample_keys(
        node,
        &options.net,
        source.strategy,
        options.busy_timeout,
        options.count_per_node,
        cancel,
    )?;
    Ok((source.server.stats.curr_items, keys))
}

/// Reads some keys of each node of a snapshot, from blocks spread over its segments.
/// `nodes` are the snapshot's nodes, matched by address, in the client's order, and with
/// the client's names, labels and weights. If it is empty, the snapshot's addresses and
/// order are used.
///
/// # Errors
///
/// - `InvalidInput`: a node is not in the snapshot, two are the same one, or one of the
///   snapshot's nodes is missing.
/// - `Canceled`. What is damaged is in the sample.
pub fn sample_snapshot(
    snapshot: &SnapshotReader,
    nodes: &[NodeSpec],
    count_per_node: usize,
    cancel: &Cancel,
) -> Result<KeySample> {
    let manifest = snapshot.manifest();
    let addresses = manifest.nodes.iter().map(|node| node.address.as_str());
    let (named, numbers) = if nodes.is_empty() {
        let named = addresses.map(str::parse).collect::<Result<Vec<_>>>()?;
        let numbers = (0..named.len()).collect();
        (named, numbers)
    } else {
        let addresses: Vec<&str> = addresses.collect();
        (nodes.to_vec(), pair_nodes(nodes, &addresses)?)
    };
    check_nodes(&named, &named)?;
    let mut sample = KeySample {
        populations: vec![0; named.len()],
        nodes: named.clone(),
        named,
        ..KeySample::default()
    };
    for (number, &node) in numbers.iter().enumerate() {
        let is_of_node =
            |segment: &&ManifestSegment| usize::try_from(segment.node_index) == Ok(number);
        let segments: Vec<_> = manifest.segments.iter().filter(is_of_node).collect();
        let records = segments.iter().map(|segment| segment.records);
        if let Some(population) = sample.populations.get_mut(node) {
            *population = records.fold(0, u64::saturating_add);
        }
        let share = count_per_node.div_ceil(segments.len().max(1));
        for segment in segments {
            cancel.check()?;
            let place = snapshot.segment_place(segment);
            if let Err(error) = sample_segment(snapshot, segment, node, share, &mut sample) {
                sample
                    .findings
                    .push(Finding::from_any_error(error, &place)?);
            }
        }
    }
    Ok(sample)
}

/// Returns for each of the snapshot's nodes its index among the named nodes. The client's
/// order may differ, and a wrong pair would suggest a wrong ring.
fn pair_nodes(named: &[NodeSpec], addresses: &[&str]) -> Result<Vec<usize>> {
    let refuse = |node: &str, reason: String| {
        let how = "write NAME=IP for a node under another name, such as cache1:11211=10.0.0.1";
        let allowed = format!("{reason}; {how}");
        Err(Error::invalid_input("node", node, allowed))
    };
    let all = || some_addresses(addresses);
    // The node of a restart file may have no address.
    let parsed = addresses.iter().enumerate();
    let parsed = parsed.filter_map(|(number, address)| Some((number, address.parse().ok()?)));
    let index = NodeIndex::new(parsed);
    let mut numbers: Vec<Option<usize>> = vec![None; addresses.len()];
    for (node, spec) in named.iter().enumerate() {
        let found = index.find(spec).and_then(|number| numbers.get_mut(number));
        let Some(found) = found else {
            let reason = format!("none of the snapshot's nodes {}", all());
            return refuse(&spec.to_string(), reason);
        };
        if let Some(earlier) = found.replace(node).and_then(|earlier| named.get(earlier)) {
            let reason = format!(
                "is the same node of the snapshot as \"{earlier}\" before it; name each of {} \
                 once",
                all()
            );
            return refuse(&spec.to_string(), reason);
        }
    }
    let missing = numbers
        .iter()
        .zip(addresses)
        .find(|(node, _)| node.is_none());
    if let Some((_, address)) = missing {
        let reason = format!(
            "not named; name all nodes of the snapshot, or none: {}",
            all()
        );
        return refuse(address, reason);
    }
    Ok(numbers.into_iter().flatten().collect())
}

/// Formats the addresses of a snapshot's nodes for a message.
fn some_addresses(addresses: &[&str]) -> String {
    const SHOWN_MAX: usize = 12;
    match addresses.get(..SHOWN_MAX) {
        Some(shown) if addresses.len() > SHOWN_MAX => {
            let more = addresses.len().saturating_sub(SHOWN_MAX);
            format!("{} and {more} more", shown.join(", "))
        }
        Some(_) | None => addresses.join(", "),
    }
}

fn sample_segment(
    snapshot: &SnapshotReader,
    named: &ManifestSegment,
    node: usize,
    count: usize,
    sample: &mut KeySample,
) -> Result<()> {
    /// The most blocks of a segment that are read.
    const BLOCK_COUNT_MAX: usize = 8;
    let segment = snapshot.open_segment_as(named, Opening::Lookup)?;
    let blocks = segment.block_count();
    let step = blocks.div_ceil(BLOCK_COUNT_MAX).max(1);
    let chosen: Vec<usize> = (0..blocks).step_by(step).collect();
    let share = count.div_ceil(chosen.len().max(1));
    let mut sections = SectionReader::default();
    for block in chosen {
        let columns = segment.read_keys(block, &mut sections)?;
        let step = columns.len().div_ceil(share.max(1)).max(1);
        let keys = (0..columns.len()).step_by(step);
        let keys = keys.filter_map(|index| columns.key(index));
        sample.sightings.extend(keys.map(|key| Sighting {
            key: key.to_vec(),
            node,
        }));
    }
    Ok(())
}

/// Checks that there are several different servers, without which no ring shows.
fn check_nodes(nodes: &[NodeSpec], resolved: &[NodeSpec]) -> Result<()> {
    if nodes.len() < 2 {
        let found = nodes.first().map(ToString::to_string).unwrap_or_default();
        let allowed = "a ring shows in where several nodes have their keys; name all nodes of the \
                       cluster";
        return Err(Error::invalid_input("nodes", found, allowed));
    }
    let mut seen = HashMap::new();
    for (node, resolved) in nodes.iter().zip(resolved) {
        let host = resolved
            .ip
            .map_or_else(|| node.host.clone(), |ip| ip.to_string());
        let socket = node.socket_path().is_some();
        if let Some(earlier) = seen.insert((host, node.port, socket), node) {
            let allowed = format!("is the same server as \"{earlier}\" before it");
            return Err(Error::invalid_input("node", node.to_string(), allowed));
        }
    }
    Ok(())
}
