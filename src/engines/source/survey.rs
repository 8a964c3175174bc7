//! Asks a node about itself, and finds out how its keys can be listed.

use crate::codecs::protocol::stats::ServerVersion;
use crate::engines::source::strategy::{Crawler, ReadStrategy, WalkKind, probe_crawler};
use crate::ports::net::{Connection, NetOptions, ServerReport, ask_slab_item_counts, meet_server};
use crate::words::access::AccessProblem;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};
use crate::words::location::Location;
use crate::words::node::NodeSpec;

/// A node that answers.
#[derive(Clone, Debug)]
pub struct SourceNode {
    /// What the node reported about itself.
    pub server: ServerReport,
    /// How it is read.
    pub strategy: ReadStrategy,
}

impl SourceNode {
    /// Reports whether a listing of the node has the CAS of each item. The CAS shows
    /// whether an item has changed since.
    pub fn lists_cas(&self) -> bool {
        self.strategy.walk.needs_crawler() && self.server.settings.has_cas
    }
}

/// Asks a node about itself; `walk` is the kind of walk that the caller wants, if any.
///
/// # Errors
///
/// - `Access`: the node is a proxy, or requires credentials that were not given.
/// - `Unsupported`: it does not list its keys, or reports no slab class.
/// - Those of a connection.
pub fn survey(
    node: &NodeSpec,
    net: &NetOptions,
    walk: Option<WalkKind>,
    cancel: &Cancel,
) -> Result<SourceNode> {
    let server = meet_server(node, net, cancel)?;
    if server.is_proxy {
        let sign = "it knows no command that lists keys".to_owned();
        return Err(Error::access(AccessProblem::Proxy { sign }).at(Location::node(node.address())));
    }
    let crawler = if server.stats.version < ServerVersion::METADUMP {
        Crawler::None
    } else {
        probe_crawler(&mut Connection::connect(node, net, cancel)?)?
    };
    let strategy = ReadStrategy::choose(node, &server, crawler, walk)?;
    if strategy.walk != WalkKind::Hash {
        // Cachedump lists class by class, so a server that reports no class cannot be
        // listed.
        ask_slab_item_counts(&mut Connection::connect(node, net, cancel)?)?;
    }
    Ok(SourceNode { server, strategy })
}
