//! The names under which nodes are put on a ring.
//!
//! A ring hashes this text, so `mc1` and `mc1.internal` and their address are
//! three different nodes to it. Nothing is normalised.

use crate::node::{DEFAULT_PORT, NodeSpec};

/// How a node's ring name is made from its host and port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelFormat {
    /// `host`, or `host:port` when the port is not 11211.
    #[default]
    PortUnlessDefault,
    /// `/host:port`, as spymemcached prints an unresolved address.
    SlashAndPort,
}

impl LabelFormat {
    /// Returns the node's ring name: the label the user gave it, or else the
    /// one of this format. Points add `-0`, `-1` and so on.
    pub fn name(self, node: &NodeSpec) -> String {
        if let Some(label) = &node.label {
            return label.clone();
        }
        let NodeSpec { host, port, .. } = node;
        match self {
            Self::PortUnlessDefault if *port == DEFAULT_PORT => host.clone(),
            Self::PortUnlessDefault => format!("{host}:{port}"),
            Self::SlashAndPort => format!("/{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_port_is_left_out_of_the_name() {
        let format = LabelFormat::PortUnlessDefault;
        assert_eq!(format.name(&NodeSpec::new("MC1", 11211)), "MC1");
        assert_eq!(format.name(&NodeSpec::new("MC1", 11212)), "MC1:11212");
        assert_eq!(format.name(&NodeSpec::new("::1", 11212)), "::1:11212");
        let socket: NodeSpec = "unix:/run/m.sock".parse().unwrap();
        assert_eq!(format.name(&socket), "/run/m.sock");
    }

    #[test]
    fn the_spy_format_always_has_the_port() {
        let format = LabelFormat::SlashAndPort;
        assert_eq!(format.name(&NodeSpec::new("mc1", 11211)), "/mc1:11211");
    }

    #[test]
    fn a_given_label_replaces_the_name() {
        let node: NodeSpec = "mc1:11212@cache-a".parse().unwrap();
        for format in [LabelFormat::PortUnlessDefault, LabelFormat::SlashAndPort] {
            assert_eq!(format.name(&node), "cache-a");
        }
    }
}
