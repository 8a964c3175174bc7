//! The list of nodes that a configuration endpoint returns. protocol.txt does not have
//! it; it is ElastiCache's auto discovery, which Memorystore also speaks.
//!
//! ```text
//! CONFIG cluster 0 LEN\r\n
//! VERSION\n
//! host|ip|port host|ip|port\n
//! \r\n
//! END\r\n
//! ```
//!
//! Older engines (before 1.4.14) have the same two lines as the value of a key. The
//! length is not relied on: endpoints that merge other lists are known to miscount it,
//! and to end their lines with `\r\n`.

use crate::codecs::protocol::reply::{check_connection, is_refusal};
use crate::codecs::protocol::text::{Step, parse_u64, split_line};
use crate::words::error::{Error, Result};
use crate::words::node::NodeSpec;

/// Requests the list; since engine 1.4.14.
pub const GET_CONFIG: &[u8] = b"config get cluster\r\n";

/// Requests the list from older engines.
pub const GET_CONFIG_KEY: &[u8] = b"get AmazonElastiCache:cluster\r\n";

/// Longest accepted reply in bytes: a hundred times the nodes of the largest cluster.
pub const CONFIG_LEN_MAX: usize = 1 << 20;

/// An endpoint's description of its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Number of changes to the list so far.
    pub version: u64,
    /// The nodes in the order given; never empty. A node whose address is given along
    /// with its name has both.
    pub nodes: Vec<NodeSpec>,
}

/// A reply to [`GET_CONFIG`] or [`GET_CONFIG_KEY`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigReply {
    /// A list.
    Config(ClusterConfig),
    /// There is no list: the command is unknown or refused, or the key does not exist.
    Absent,
}

/// Parses the reply at the front of `bytes`.
///
/// # Errors
///
/// - `Protocol`: the bytes are not such a reply, the list is empty or malformed, or the
///   reply is longer than [`CONFIG_LEN_MAX`].
/// - `Access`, `TooManyConnections`: the server refuses the connection.
pub fn parse_config(bytes: &[u8]) -> Result<Step<ConfigReply>> {
    const WANTED: &str = "the configuration of a cluster";
    let window = bytes.get(..CONFIG_LEN_MAX).unwrap_or(bytes);
    let mut consumed: usize = 0;
    let mut payload = Vec::new();
    loop {
        let rest = window.get(consumed..).unwrap_or_default();
        let Some((line, len)) = split_line(rest) else {
            return if bytes.len() < CONFIG_LEN_MAX {
                Ok(Step::Need)
            } else {
                Err(Error::protocol(WANTED, bytes))
            };
        };
        let is_first = consumed == 0;
        consumed = consumed.saturating_add(len);
        if is_first {
            if line == b"END" {
                return Ok(Step::Done(ConfigReply::Absent, consumed));
            }
            if is_refusal(line) {
                check_connection(line)?;
                return Ok(Step::Done(ConfigReply::Absent, consumed));
            }
            let is_start = line.starts_with(b"CONFIG ") || line.starts_with(b"VALUE ");
            if !is_start {
                return Err(Error::protocol(WANTED, bytes));
            }
        } else if line == b"END" {
            return Ok(Step::Done(
                ConfigReply::Config(parse_payload(&payload)?),
                consumed,
            ));
        } else if !line.trim_ascii().is_empty() {
            payload.push(line.trim_ascii());
        }
    }
}

fn parse_payload(lines: &[&[u8]]) -> Result<ClusterConfig> {
    let (version, nodes) = match lines {
        [version, nodes] => (*version, *nodes),
        [_] => return Err(Error::protocol("a list of nodes", b"")),
        lines => return Err(Error::protocol("a version and a list", &lines.join(&b' '))),
    };
    let version =
        parse_u64(version).ok_or_else(|| Error::protocol("the version of a list", version))?;
    let texts = nodes.split(u8::is_ascii_whitespace);
    let nodes = texts
        .filter(|text| !text.is_empty())
        .map(|text| parse_node(text).ok_or_else(|| Error::protocol("host|ip|port", text)))
        .collect::<Result<_>>()?;
    Ok(ClusterConfig { version, nodes })
}

/// Parses `host|ip|port`; either host or ip may be empty.
fn parse_node(text: &[u8]) -> Option<NodeSpec> {
    let text = std::str::from_utf8(text).ok()?;
    let mut fields = text.split('|');
    let (host, ip, port) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() {
        return None;
    }
    let host = if host.is_empty() { ip } else { host };
    let port = port.parse().ok().filter(|&port: &u16| port != 0)?;
    let address = match ip {
        "" => None,
        ip => Some(ip.parse().ok()?),
    };
    NodeSpec::is_host(host).then(|| NodeSpec {
        // An address that stands in for the host is not a second name.
        ip: address.filter(|_| ip != host),
        ..NodeSpec::new(host, port)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIST: &str = "12\na.cfg|10.0.0.1|11211 b.cfg||11212 fe80::1|fe80::1|11213 |10.0.0.4|1\n";

    fn done(bytes: &[u8]) -> ConfigReply {
        match parse_config(bytes).unwrap() {
            Step::Done(reply, consumed) => {
                assert_eq!(consumed, bytes.len());
                reply
            }
            Step::Need => panic!("incomplete"),
        }
    }

    #[test]
    fn the_list_is_read_whatever_the_split_and_the_length() {
        let crlf = LIST.replace('\n', "\r\n");
        for start in ["CONFIG cluster 0 84", "VALUE AmazonElastiCache:cluster 0 1"] {
            for list in [LIST, &crlf] {
                let reply = format!("{start}\r\n{list}\r\nEND\r\n");
                for len in 0..reply.len() {
                    assert_eq!(parse_config(&reply.as_bytes()[..len]).unwrap(), Step::Need);
                }
                let ConfigReply::Config(config) = done(reply.as_bytes()) else {
                    panic!("absent");
                };
                assert_eq!(config.version, 12);
                let texts: Vec<String> = config.nodes.iter().map(NodeSpec::to_string).collect();
                let wanted = [
                    "a.cfg:11211=10.0.0.1",
                    "b.cfg:11212",
                    "[fe80::1]:11213",
                    "10.0.0.4:1",
                ];
                assert_eq!(texts, wanted);
            }
        }
    }

    #[test]
    fn a_plain_server_has_no_list() {
        for reply in [&b"ERROR\r\n"[..], b"END\r\n", b"CLIENT_ERROR bad\r\n"] {
            assert_eq!(done(reply), ConfigReply::Absent);
        }
        assert!(parse_config(b"CLIENT_ERROR unauthenticated\r\n").is_err());
        assert!(parse_config(b"HTTP/1.1 400 Bad Request\r\n").is_err());
    }

    #[test]
    fn a_list_that_is_empty_or_malformed_is_refused() {
        let message = |payload: &str| {
            let reply = format!("CONFIG cluster 0 1\r\n{payload}\r\nEND\r\n");
            parse_config(reply.as_bytes()).unwrap_err().to_string()
        };
        assert_eq!(message("12\n\n"), "wanted a list of nodes, got \"\"");
        for node in [
            "a", "a|b", "a||", "a||0", "a||65536", "a|x|1", "a||1|2", "||1", "a,b||1", "/a||1",
            "a@b||1", "a:1||1",
        ] {
            assert_eq!(
                message(&format!("1\nok||1 {node}\n")),
                format!("wanted host|ip|port, got \"{node}\"")
            );
        }
        assert!(message("x\na||1\n").starts_with("wanted the version"));
        assert!(message("1\na||1\nb||1\n").starts_with("wanted a version and a list"));
        let endless = [&b"CONFIG cluster 0 1\r\n"[..], &[b'1'; CONFIG_LEN_MAX]].concat();
        assert!(parse_config(&endless).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_config(&bytes);
            let _ = parse_config(&[b"CONFIG cluster 0 1\r\n".to_vec(), bytes].concat());
        }
    }
}
