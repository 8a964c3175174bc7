//! Finds the nodes: named one by one, listed in a file, or reported by an endpoint that
//! knows its cluster.

use std::path::Path;
use std::str::FromStr;

use crate::codecs::protocol::cluster_config::{
    ClusterConfig, ConfigReply, GET_CONFIG, GET_CONFIG_KEY, parse_config,
};
use crate::codecs::protocol::text::Step;
use crate::codecs::ring::NODE_COUNT_MAX;
use crate::ports::host;
use crate::ports::net::{Connection, NetOptions, Received, ask_patiently, explain};
use crate::words::cancel::Cancel;
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::limits::check_limit;
use crate::words::location::Location;
use crate::words::node::NodeSpec;
use crate::words::progress::NoProgress;
use crate::words::units::to_u64;

/// The source of one node or of several: a [`NodeSpec`], or `cfg:host[:port]` for the
/// configuration endpoint of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeSource {
    /// The node itself.
    Node(NodeSpec),
    /// The endpoint that knows the nodes.
    Endpoint(NodeSpec),
}

/// The prefix of an endpoint.
const ENDPOINT_PREFIX: &str = "cfg:";

/// The name of an endpoint in messages.
const ENDPOINT: &str = "configuration endpoint";

impl FromStr for NodeSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let endpoint = text.strip_prefix(ENDPOINT_PREFIX);
        // If only a port follows, `cfg` is a host name.
        let is_port = |rest: &str| rest.parse::<u16>().is_ok();
        let Some(endpoint) = endpoint.filter(|rest| !is_port(rest)) else {
            return Ok(Self::Node(text.parse()?));
        };
        let refused = |_| {
            let allowed = "wanted cfg:HOST[:PORT], the configuration endpoint of a cluster";
            Error::invalid_input("node", text, allowed)
        };
        let node: NodeSpec = endpoint.parse().map_err(refused)?;
        if node.weight != 1 || node.label.is_some() {
            let allowed = "an endpoint is no node of a ring, and has no weight and no label";
            return Err(Error::invalid_input("node", text, allowed));
        }
        Ok(Self::Endpoint(node))
    }
}

/// A node and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundNode {
    /// The node.
    pub node: NodeSpec,
    /// The endpoint and the version of its list; `None` for a node that was named
    /// directly.
    pub endpoint: Option<String>,
}

/// Reads a file of nodes and endpoints, one on each line. A `#` at the start of a line or
/// after a space begins a comment.
///
/// # Errors
///
/// - `InvalidInput`: the file cannot be read, a line is not a node (the error has its
///   number), or there is no node at all.
/// - `LimitExceeded`: the file is longer than 4 MiB.
pub fn read_node_file(path: &Path) -> Result<Vec<NodeSource>> {
    const LEN_MAX: u64 = 4 << 20;
    let name = path.to_string_lossy();
    let text = host::read_named_file("nodes-file", path, LEN_MAX)?;
    let mut sources = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let node = line_without_comment(line);
        if !node.is_empty() {
            let read = node.parse::<NodeSource>();
            let place = || Location::object(format!("{name}: line {number}"));
            sources.push(read.map_err(|error| error.at(place()))?);
        }
    }
    if sources.is_empty() {
        return Err(Error::invalid_input("nodes-file", name, "no node is in it"));
    }
    Ok(sources)
}

fn line_without_comment(line: &str) -> &str {
    let is_start = |at: usize| {
        line.get(..at)
            .is_some_and(|front| front.ends_with([' ', '\t']))
    };
    let comment = line
        .match_indices('#')
        .map(|(at, _)| at)
        .find(|&at| at == 0 || is_start(at));
    line.get(..comment.unwrap_or(line.len()))
        .unwrap_or(line)
        .trim()
}

/// Replaces each endpoint with the nodes that it reports, in its order. An endpoint that
/// does not answer is retried like a node.
///
/// # Errors
///
/// - `InvalidInput`: an endpoint is a plain server.
/// - `LimitExceeded`: more nodes than a ring can have.
/// - Those of [`Connection::connect`] and of [`parse_config`].
pub fn find_nodes(
    sources: &[NodeSource],
    options: &NetOptions,
    cancel: &Cancel,
) -> Result<Vec<FoundNode>> {
    let mut found = Vec::new();
    for source in sources {
        match source {
            NodeSource::Node(node) => found.push(FoundNode {
                node: node.clone(),
                endpoint: None,
            }),
            NodeSource::Endpoint(endpoint) => {
                let address = endpoint.address();
                // No job has started yet that could report its progress.
                let asked = ask_patiently(endpoint, options, cancel, &NoProgress, || {
                    ask_endpoint(endpoint, options, cancel)
                        .map_err(|error| explain(endpoint, options, cancel, error))
                });
                let config = asked.map_err(|error| at_endpoint(error, &address))?;
                let name = format!("{ENDPOINT_PREFIX}{address} version {}", config.version);
                found.extend(config.nodes.into_iter().map(|node| FoundNode {
                    node,
                    endpoint: Some(name.clone()),
                }));
            }
        }
        check_limit("the number of nodes", to_u64(found.len()), NODE_COUNT_MAX)?;
    }
    Ok(found)
}

/// Locates the error at the endpoint instead of at a node.
fn at_endpoint(error: Error, address: &str) -> Error {
    if matches!(error.kind(), ErrorKind::InvalidInput { .. }) {
        return error;
    }
    let place = format!("{ENDPOINT} {ENDPOINT_PREFIX}{address}");
    error.moved_to(Location::node(place))
}

fn ask_endpoint(
    endpoint: &NodeSpec,
    options: &NetOptions,
    cancel: &Cancel,
) -> Result<ClusterConfig> {
    let mut connection = Connection::connect(endpoint, options, cancel)?;
    for request in [GET_CONFIG, GET_CONFIG_KEY] {
        let mut reply = ConfigReply::Absent;
        connection.exchange_short("configuration", request, |bytes| {
            Ok(match parse_config(bytes)? {
                Step::Need => Received::More(0),
                Step::Done(parsed, len) => {
                    reply = parsed;
                    Received::Done(len)
                }
            })
        })?;
        if let ConfigReply::Config(config) = reply {
            return Ok(config);
        }
    }
    Err(Error::invalid_input(
        ENDPOINT,
        format!("{ENDPOINT_PREFIX}{}", endpoint.address()),
        "it knows of no cluster; if it is a server itself, leave out cfg:",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_told_from_a_node() {
        let endpoint = |text: &str| match text.parse::<NodeSource>().unwrap() {
            NodeSource::Endpoint(node) => Some(node.address()),
            NodeSource::Node(_) => None,
        };
        assert_eq!(endpoint("cfg:a.b:1"), Some("a.b:1".to_owned()));
        assert_eq!(endpoint("cfg:[::1]"), Some("[::1]:11211".to_owned()));
        assert_eq!(endpoint("cfg"), None);
        assert_eq!(endpoint("cfg:11211"), None);
        for text in ["cfg:", "cfg:a*2", "cfg:a@b", "cfg:a:0", "cfg:a b"] {
            assert!(text.parse::<NodeSource>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_has_a_node_a_line_and_comments() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nodes");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_node_file(&path)
        };
        let text = "# all\r\n\r\n a:1*2 # heavy\r\ncfg:b:2\n#c:3\nd:4@x#y\n";
        let wanted: Vec<NodeSource> = ["a:1*2", "cfg:b:2", "d:4@x#y"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        assert_eq!(read(text).unwrap(), wanted);
        let error = read("a:1\n\na:0\n").unwrap_err().to_string();
        assert!(
            error.contains("/nodes: line 3: node \"a:0\": wanted"),
            "{error}"
        );
        assert!(
            read("# none\n")
                .unwrap_err()
                .to_string()
                .ends_with("no node is in it")
        );
        assert!(read_node_file(&directory.path().join("absent")).is_err());
    }
}
