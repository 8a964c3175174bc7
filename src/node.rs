//! Which memcached server is meant, and how a client names it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::limits::NODE_ADDRESS_LEN_MAX;

/// memcached's own port, used where a node gives none.
pub const DEFAULT_PORT: u16 = 11211;

/// One node as the user wrote it: `host[:port][=ip][*weight][@label]`.
///
/// An IPv6 address stands in brackets when a port follows. The host text is
/// kept as it was typed, since rings hash it; it is never normalised.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeSpec {
    /// Host name or address, exactly as configured in the client.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The address to connect to and to put in labels that need one, when it
    /// is not what the host resolves to.
    pub ip: Option<IpAddr>,
    /// The client's weight for this node, 1 or more.
    pub weight: u32,
    /// A name that replaces the one the ring would make.
    pub label: Option<String>,
}

impl NodeSpec {
    /// Makes a node of weight 1 with no label.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            ip: None,
            weight: 1,
            label: None,
        }
    }

    /// Returns `host:port`, brackets around an IPv6 address: how the node is
    /// named in reports and messages.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
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
            Error::invalid_input(
                "node",
                text,
                "wanted HOST[:PORT][=IP][*WEIGHT][@LABEL], such as 10.0.0.1:11211, [::1]:11211 or \
                 mc1*2",
            )
        })
    }
}

fn parse(text: &str) -> Option<NodeSpec> {
    let (rest, label) = match text.split_once('@') {
        Some((rest, label)) => (rest, Some(label)),
        None => (text, None),
    };
    let (rest, weight) = match rest.split_once('*') {
        Some((rest, weight)) => (rest, weight.parse().ok().filter(|&weight| weight >= 1)?),
        None => (rest, 1),
    };
    let (rest, ip) = match rest.split_once('=') {
        Some((rest, ip)) => (rest, Some(ip.parse().ok()?)),
        None => (rest, None),
    };
    let (host, port) = parse_host_and_port(rest)?;
    let is_host_byte = |byte: u8| byte.is_ascii_graphic() && !b"/,\\\"'".contains(&byte);
    let legal = !host.is_empty()
        && host.bytes().all(is_host_byte)
        && label.is_none_or(|label| !label.is_empty());
    let node = legal.then(|| NodeSpec {
        host: host.to_owned(),
        port,
        ip,
        weight,
        label: label.map(str::to_owned),
    });
    // A longer one could not be written down in a snapshot.
    node.filter(|node| node.address().len() <= NODE_ADDRESS_LEN_MAX)
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
        // Two colons and no brackets: an IPv6 address alone.
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
    fn nonsense_is_refused() {
        for text in [
            "", ":1", "a:", "a:0", "a:65536", "a:x", "a*0", "a@", "a b", "a=b", "[::1", "a/b:1",
        ] {
            assert!(text.parse::<NodeSpec>().is_err(), "{text:?} was accepted");
        }
        let host = |len: usize| format!("{}:1", "h".repeat(len - 2));
        assert!(host(NODE_ADDRESS_LEN_MAX).parse::<NodeSpec>().is_ok());
        assert!(host(NODE_ADDRESS_LEN_MAX + 1).parse::<NodeSpec>().is_err());
    }
}
