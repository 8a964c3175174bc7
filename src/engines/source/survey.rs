//! What a node says of itself, and how its keys can be listed.

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
    /// What it said of itself.
    pub server: ServerReport,
    /// How it is read.
    pub strategy: ReadStrategy,
}

impl SourceNode {
    /// Says whether its listing tells the CAS of each item, by which one that has
    /// changed since shows.
    pub fn tells_cas(&self) -> bool {
        self.strategy.walk.needs_crawler() && self.server.settings.has_cas
    }
}

/// Asks a node; `walk` is what the caller wants, if anything.
///
/// # Errors
///
/// - `Access`: it is a proxy, or wants something that was not given.
/// - `Unsupported`: it does not let its keys be listed, or names no slab class.
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
        // Lists are walked class by class, so a server that names no class cannot be
        // listed.
        ask_slab_item_counts(&mut Connection::connect(node, net, cancel)?)?;
    }
    Ok(SourceNode { server, strategy })
}
