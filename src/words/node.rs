//! A memcached server, and how a client names it.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;

use crate::words::error::{Error, Result};
use crate::words::limits::NODE_ADDRESS_LEN_MAX;

/// memcached's own port, used if a node has none.
pub const DEFAULT_PORT: u16 = 11211;

/// What may precede the path of a socket.
const SOCKET_PREFIX: &str = "unix:";

/// One node as the user wrote it: `host[:port][=ip][*weight][@label]`, or
/// `unix:path[*weight][@label]`.
///
/// An IPv6 address needs brackets when a port follows. The host text is kept exactly as
/// typed and never normalised, since rings hash it. An absolute path needs no `unix:`
/// before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeSpec {
    /// Host name or address, exactly as configured in the client; or the path of a
    /// socket. A path contains a slash, which a host never does.
    pub host: String,
    /// TCP port. For a socket it is [`DEFAULT_PORT`], which rings omit from a name:
    /// libmemcached also uses the path alone where php-memcached adds one server.
    /// php-memcached adding a list of servers, or pylibmc adding a socket, uses `path:0`;
    /// the ring handles that.
    pub port: u16,
    /// The address to connect to, and to use in labels that need one, if it is not what
    /// the host resolves to.
    pub ip: Option<IpAddr>,
    /// The client's weight for this node; 1 if it has none. Some clients treat 0 as 1,
    /// others as a node without keys.
    pub weight: u32,
    /// A name that replaces the one that the ring would make.
    pub label: Option<String>,
}

impl NodeSpec {
    /// Makes a node with weight 1 and no label.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            ip: None,
            weight: 1,
            label: None,
        }
    }

    /// Returns whether a text can be a node's host: a name, or an address without
    /// brackets.
    pub fn is_host(text: &str) -> bool {
        let is_legal = text.bytes().all(is_legal_byte) && !text.contains(['/', '=', '*', '@']);
        let is_address = || text.parse::<std::net::Ipv6Addr>().is_ok();
        is_legal && !text.is_empty() && (!text.contains([':', '[', ']']) || is_address())
    }

    /// Returns the path of the socket, if the node is one.
    pub fn socket_path(&self) -> Option<&Path> {
        let is_path = self.host.contains('/');
        is_path.then(|| Path::new(&self.host))
    }

    /// Returns the node's name in reports and messages: `host:port`, with brackets around
    /// an IPv6 address, or `unix:path`.
    pub fn address(&self) -> String {
        if self.socket_path().is_some() {
            format!("{SOCKET_PREFIX}{}", self.host)
        } else if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Returns the IP address and port if the node has a literal or given address; no
    /// name is resolved.
    fn ip_address(&self) -> Option<String> {
        let ip = self.ip.or_else(|| self.host.parse().ok())?;
        Some(SocketAddr::new(ip, self.port).to_string())
    }

    /// Returns the host to connect to: the given address, or else the host.
    pub fn connect_host(&self) -> String {
        self.ip
            .map_or_else(|| self.host.clone(), |ip| ip.to_string())
    }
}

impl fmt::Display for NodeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address())?;
        if let Some(ip) = self.ip {
            write!(f, "={ip}")?;
        }
        if self.weight != 1 {
            write!(f, "*{}", self.weight)?;
        }
        if let Some(label) = &self.label {
            write!(f, "@{label}")?;
        }
        Ok(())
    }
}

impl FromStr for NodeSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| {
            if is_odd_socket(text) {
                let allowed = "the path of a socket can have no space, comma, quote or backslash \
                               here, where nodes stand in lists and reports; give a symbolic \
                               link to it";
                return Error::invalid_input("node", text, allowed);
            }
            Error::invalid_input(
                "node",
                text,
                "wanted HOST[:PORT][=IP][*WEIGHT][@LABEL], such as 10.0.0.1:11211, [::1]:11211 or \
                 mc1*2, or unix:PATH",
            )
        })
    }
}

/// A list of nodes that recognises a node even under another name: first by `host:port`
/// or path, then by IP address.
#[derive(Clone, Debug, Default)]
pub struct NodeIndex {
    by_address: HashMap<String, usize>,
}

impl NodeIndex {
    /// Makes a list of nodes with their numbers.
    pub fn new(nodes: impl Iterator<Item = (usize, NodeSpec)> + Clone) -> Self {
        let by_ip = nodes
            .clone()
            .filter_map(|(index, node)| Some((node.ip_address()?, index)));
        let by_name = nodes.map(|(index, node)| (node.address(), index));
        // Names come last, so that they override the addresses of other nodes.
        Self {
            by_address: by_ip.chain(by_name).collect(),
        }
    }

    /// Returns the number of the listed node that equals this node.
    pub fn find(&self, node: &NodeSpec) -> Option<usize> {
        let by_ip = || self.by_address.get(&node.ip_address()?);
        let found = self.by_address.get(&node.address());
        found.or_else(by_ip).copied()
    }
}

fn parse(text: &str) -> Option<NodeSpec> {
    let (rest, label) = match text.split_once('@') {
        Some((rest, label)) => (rest, Some(label)),
        None => (text, None),
    };
    let (rest, weight) = match rest.split_once('*') {
        Some((rest, weight)) => (rest, weight.parse().ok()?),
        None => (rest, 1),
    };
    let (rest, ip) = match rest.split_once('=') {
        Some((rest, ip)) => (rest, Some(ip.parse().ok()?)),
        None => (rest, None),
    };
    let socket = parse_socket(rest);
    let (host, port) = match socket {
        Some(path) => (path, DEFAULT_PORT),
        None => parse_host_and_port(rest)?,
    };
    let legal = !host.is_empty()
        && host.bytes().all(is_legal_byte)
        && (socket.is_none() || ip.is_none())
        && (socket.is_some() || !host.contains('/'))
        && label.is_none_or(|label| !label.is_empty() && !ends_with_weight(label));
    let node = legal.then(|| NodeSpec {
        host: host.to_owned(),
        port,
        ip,
        weight,
        label: label.map(str::to_owned),
    });
    // A longer one could not be stored in a snapshot.
    node.filter(|node| node.address().len() <= NODE_ADDRESS_LEN_MAX)
}

fn is_legal_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b",\\\"'".contains(&byte)
}

/// Returns whether a weight stands after the label, where it would be part of the label.
fn ends_with_weight(label: &str) -> bool {
    label.rsplit_once('*').is_some_and(|(_, weight)| {
        !weight.is_empty()
            && weight
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

/// Returns whether a text is a path but contains characters that make it invalid as a
/// node.
fn is_odd_socket(text: &str) -> bool {
    let front = text.split(['*', '@']).next().unwrap_or(text);
    parse_socket(front).is_some_and(|path| !path.bytes().all(is_legal_byte))
}

/// Returns the path of a socket. Without a slash, `unix:11212` is a host and a port.
fn parse_socket(text: &str) -> Option<&str> {
    let path = text.strip_prefix(SOCKET_PREFIX);
    match path.filter(|path| path.contains('/')) {
        Some(path) => Some(path),
        None => text.starts_with('/').then_some(text),
    }
}

fn parse_host_and_port(text: &str) -> Option<(&str, u16)> {
    let parse_port = |port: &str| port.parse().ok().filter(|&port: &u16| port != 0);
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        let port = match after.strip_prefix(':') {
            Some(port) => parse_port(port)?,
            None if after.is_empty() => DEFAULT_PORT,
            None => return None,
        };
        return Some((host, port));
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => Some((host, parse_port(port)?)),
        // Two colons and no brackets: a bare IPv6 address.
        Some(_) => text
            .parse::<std::net::Ipv6Addr>()
            .ok()
            .map(|_| (text, DEFAULT_PORT)),
        None => Some((text, DEFAULT_PORT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_node_is_read_and_written_back() {
        for text in [
            "mc1:11211",
            "10.0.0.1:1",
            "[::1]:11212",
            "a:2=127.0.0.1*3@x y",
            "unix:/run/memcached.sock",
            "unix:./m:1.sock*2@/m:0",
        ] {
            let node: NodeSpec = text.parse().unwrap();
            assert_eq!(node.to_string(), text);
        }
        let node: NodeSpec = "mc1*2".parse().unwrap();
        assert_eq!((node.port, node.weight), (11211, 2));
        let node: NodeSpec = "fe80::1".parse().unwrap();
        assert_eq!(node.address(), "[fe80::1]:11211");
    }

    #[test]
    fn a_socket_is_its_path_with_and_without_a_prefix() {
        for text in ["unix:/run/m.sock", "/run/m.sock"] {
            let node: NodeSpec = text.parse().unwrap();
            assert_eq!((node.host.as_str(), node.port), ("/run/m.sock", 11211));
            assert_eq!(node.address(), "unix:/run/m.sock");
            assert_eq!(node.socket_path(), Some(Path::new("/run/m.sock")));
        }
        let host: NodeSpec = "unix:11212".parse().unwrap();
        assert_eq!((host.socket_path(), host.port), (None, 11212));
    }

    #[test]
    fn a_node_is_found_by_its_address_under_another_name() {
        let node = |text: &str| text.parse::<NodeSpec>().unwrap();
        let listed = ["10.0.0.1", "mc2=10.0.0.2*3", "[0:0::1]:1", "mc4", "/m.sock"].map(node);
        let index = NodeIndex::new(listed.iter().cloned().enumerate());
        for (text, wanted) in [
            ("10.0.0.1:11211*2@x", Some(0)),
            ("mc1=10.0.0.1", Some(0)),
            ("mc1:11212=10.0.0.1", None),
            ("mc2", Some(1)),
            ("10.0.0.2", Some(1)),
            ("cache=10.0.0.2", Some(1)),
            ("[::1]:1", Some(2)),
            ("localhost:1=::1", Some(2)),
            // The name takes precedence.
            ("mc4=10.0.0.1", Some(3)),
            ("unix:/m.sock", Some(4)),
            ("mc5", None),
        ] {
            assert_eq!(index.find(&node(text)), wanted, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "a:x",
            "a*-1",
            "a@",
            "a@x*2",
            "a*0.5",
            "a b",
            "a=b",
            "[::1",
            "a/b:1",
            "[a/b]:1",
            "unix:",
            "unix:x",
            "unix:/a b",
            "/a=127.0.0.1",
            "a/b",
        ] {
            assert!(text.parse::<NodeSpec>().is_err(), "{text:?} was accepted");
        }
        let odd = "/a b/m.sock".parse::<NodeSpec>().unwrap_err().to_string();
        assert!(odd.ends_with("; give a symbolic link to it"), "{odd}");
        let host = |len: usize| format!("{}:1", "h".repeat(len - 2));
        assert!(host(NODE_ADDRESS_LEN_MAX).parse::<NodeSpec>().is_ok());
        assert!(host(NODE_ADDRESS_LEN_MAX + 1).parse::<NodeSpec>().is_err());
    }
}
