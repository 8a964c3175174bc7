//! Asks the target nodes about themselves, in parallel.

use crate::codecs::protocol::stats::SlabStats;
use crate::engines::sink::WriteStrategy;
use crate::jobs::restore::capacity::NodeMemory;
use crate::jobs::restore::options::RestoreOptions;
use crate::ports::net::{Connection, NetOptions, ServerReport, ask_all, ask_slabs, meet_server};
use crate::words::cancel::Cancel;
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::node::NodeSpec;
use crate::words::progress::Progress;

/// A target node of a restore.
#[derive(Debug)]
pub struct TargetPlan {
    /// The node.
    pub node: NodeSpec,
    /// What it reported about itself, or why it gets nothing.
    pub target: std::result::Result<TargetNode, LeftOut>,
}

/// A node that answers.
#[derive(Debug)]
pub struct TargetNode {
    /// What it reported about itself.
    pub server: ServerReport,
    /// The commands that write to it.
    pub strategy: WriteStrategy,
    pub(super) memory: NodeMemory,
}

/// Why a node gets nothing.
#[derive(Debug)]
pub enum LeftOut {
    /// It cannot be reached, and partial restores are allowed.
    Unreachable(Error),
    /// The restore is only for other nodes, so this one was not asked.
    NotMeant,
}

/// Asks each target node about itself.
///
/// # Errors
///
/// - The first node's error, unless partial restores are allowed and at least one node
///   answers.
/// - `Canceled`.
pub(super) fn probe_targets(
    options: &RestoreOptions,
    is_meant: impl Fn(&NodeSpec) -> bool,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Vec<TargetPlan>> {
    let meant = options.nodes.iter().filter(|node| is_meant(node));
    let are_all_needed = !options.is_partial_allowed;
    let ask = |node: &NodeSpec, stop: &Cancel| probe(node, options, stop);
    let probed = ask_all(meant, are_all_needed, &options.net, cancel, progress, ask)?;
    let is_any_there = probed.iter().any(Result::is_ok);
    let mut probed = probed.into_iter();
    let mut targets = Vec::new();
    for node in &options.nodes {
        let target = match is_meant(node).then(|| probed.next()).flatten() {
            Some(Ok(target)) => Ok(target),
            None => Err(LeftOut::NotMeant),
            Some(Err(error)) if is_any_there => {
                tracing::warn!("nothing is restored to a node: {}", error.to_chain());
                Err(LeftOut::Unreachable(error))
            }
            Some(Err(error)) => return Err(error),
        };
        targets.push(TargetPlan {
            node: node.clone(),
            target,
        });
    }
    Ok(targets)
}

fn probe(node: &NodeSpec, options: &RestoreOptions, cancel: &Cancel) -> Result<TargetNode> {
    let net = &options.net;
    let server = meet_server(node, net, cancel)?;
    let strategy = WriteStrategy::probe(node, &server, options.set_protocol, net, cancel)?;
    let slabs = if server.is_proxy {
        tracing::warn!(
            node = node.address(),
            "this is a proxy; CAS is not restored, and evictions of the servers behind it are \
             not counted"
        );
        SlabStats::default()
    } else {
        ask_memory(node, &server, net, cancel)?
    };
    Ok(TargetNode {
        memory: NodeMemory::new(&server, slabs),
        server,
        strategy,
    })
}

/// A service that closes the connection at this question has unknown memory, but can be
/// written to.
fn ask_memory(
    node: &NodeSpec,
    server: &ServerReport,
    net: &NetOptions,
    cancel: &Cancel,
) -> Result<SlabStats> {
    let asked = Connection::connect(node, net, cancel)
        .and_then(|mut connection| ask_slabs(&mut connection, server));
    match asked {
        Err(error) if !error.is_canceled() && *error.kind() != ErrorKind::TooManyConnections => {
            tracing::info!("its memory is not known: {}", error.to_chain());
            Ok(SlabStats::default())
        }
        asked => asked,
    }
}
