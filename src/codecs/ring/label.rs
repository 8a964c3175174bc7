//! The names under which nodes are put on a ring.
//!
//! A ring hashes this text, so for a ring `mc1`, `mc1.internal` and their address are
//! three different nodes. Nothing is normalised.

use std::net::IpAddr;

use crate::words::error::{Error, Result};
use crate::words::node::{DEFAULT_PORT, NodeSpec};

/// How a node's name on the ring is made from its host, address and port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelFormat {
    /// `host`, or `host:port` if the port is not 11211.
    #[default]
    PortUnlessDefault,
    /// `host:port`.
    HostPort,
    /// `host:port`, with brackets around an IPv6 address: PHP's memcache, which only
    /// connects to such an address with brackets.
    BracketsHostPort,
    /// `/host:port`, as libmemcached imitates spymemcached.
    SlashHostPort,
    /// `host/host:port`, as memcached's own proxy imitates EVCache.
    HostSlashHostPort,
    /// `host/ip:port`, and `ip:port` for a node known only by its address: spymemcached.
    HostIpPort,
    /// `host/ip:port`, and `/ip:port` for a node known only by its address: how Java
    /// prints an address, and how xmemcached uses it.
    JavaAddress,
    /// `host/ip:11211` whatever the port, and `ip/ip:11211` for a node known only by its
    /// address: EVCache.
    HostIpDefaultPort,
    /// `ip:port`: Enyim.
    IpPort,
    /// `ip:port` for a node known by its address, and `Unspecified/host:port` for one
    /// with a name: how .NET prints an end point, and how the Core fork of Enyim uses it.
    DotNetEndPoint,
    /// `ip`, or `ip:port` if the port is not 11211: xmemcached in its nginx mode.
    IpPortUnlessDefault,
    /// `host:port_None_None`, which stands for no user and no password:
    /// python-binary-memcached. If there is a user, set the label
    /// `host:port_user_password`.
    HostPortNoUser,
}

impl LabelFormat {
    /// Every format with its name in a ring's text.
    pub const NAMES: [(&'static str, Self); 12] = [
        ("port-unless-default", Self::PortUnlessDefault),
        ("host-port", Self::HostPort),
        ("brackets-host-port", Self::BracketsHostPort),
        ("slash-host-port", Self::SlashHostPort),
        ("host-slash-host-port", Self::HostSlashHostPort),
        ("host-ip-port", Self::HostIpPort),
        ("java-address", Self::JavaAddress),
        ("host-ip-11211", Self::HostIpDefaultPort),
        ("ip-port", Self::IpPort),
        ("dot-net-end-point", Self::DotNetEndPoint),
        ("ip-port-unless-default", Self::IpPortUnlessDefault),
        ("host-port-no-user", Self::HostPortNoUser),
    ];

    fn text(self, node: &NodeSpec) -> Result<String> {
        let NodeSpec { host, port, .. } = node;
        Ok(match self {
            Self::PortUnlessDefault if *port == DEFAULT_PORT => host.clone(),
            Self::PortUnlessDefault | Self::HostPort => format!("{host}:{port}"),
            Self::BracketsHostPort => node.address(),
            Self::HostPortNoUser => format!("{}_None_None", node.address()),
            Self::SlashHostPort => format!("/{host}:{port}"),
            Self::HostSlashHostPort => format!("{host}/{host}:{port}"),
            Self::HostIpPort => java_address(node, "")?,
            Self::JavaAddress => java_address(node, "/")?,
            Self::HostIpDefaultPort => format!("{host}/{}:{DEFAULT_PORT}", java_ip(ip_of(node)?)),
            Self::DotNetEndPoint if host.parse::<IpAddr>().is_err() => {
                format!("Unspecified/{host}:{port}")
            }
            Self::IpPortUnlessDefault if *port == DEFAULT_PORT => java_ip(ip_of(node)?),
            Self::IpPortUnlessDefault => format!("{}:{port}", java_ip(ip_of(node)?)),
            Self::IpPort | Self::DotNetEndPoint => {
                format!("{}:{port}", dot_net_ip(ip_of(node)?))
            }
        })
    }
}

/// Returns `host/ip:port`, with `before` in place of the host for a node known only by
/// its address.
fn java_address(node: &NodeSpec, before: &str) -> Result<String> {
    let ip = ip_of(node)?;
    let host = match node.host.parse::<IpAddr>() {
        Ok(_) => before.to_owned(),
        Err(_) => format!("{}/", node.host),
    };
    Ok(format!("{host}{}:{}", java_ip_before_port(ip), node.port))
}

/// `InetAddress.getHostAddress`: Java writes an IPv6 address in full, as eight groups
/// without leading zeros.
fn java_ip(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => ip.segments().map(|group| format!("{group:x}")).join(":"),
    }
}

/// The address in `InetSocketAddress.toString`: since Java 14, an IPv6 address has
/// brackets.
fn java_ip_before_port(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(_) => java_ip(ip),
        IpAddr::V6(_) => format!("[{}]", java_ip(ip)),
    }
}

/// The address in .NET's `IPEndPoint.ToString`, which omits the longest run of zeros.
fn dot_net_ip(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

fn ip_of(node: &NodeSpec) -> Result<IpAddr> {
    let ip = node.ip.or_else(|| node.host.parse().ok());
    ip.ok_or_else(|| {
        let wanted = format!(
            "this ring hashes the address of a node, too; write {}=ADDRESS, with the address that \
             the client resolves it to, or {}@LABEL",
            node.address(),
            node.address()
        );
        Error::invalid_input("node", node.to_string(), wanted)
    })
}

/// How a node that is a socket is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SocketName {
    /// Its path: php-memcached's `addServer`, Dalli, pymemcache.
    #[default]
    Path,
    /// `path:0`: libmemcached's `memcached_server_add_unix_socket` (pylibmc), and
    /// php-memcached's `addServers`.
    PathAndZero,
    /// `path:`: twemproxy.
    PathAndColon,
    /// `unix://path:0`: PHP's memcache, which is configured with this text.
    UriAndZero,
    /// `path_None_None`: python-binary-memcached.
    PathNoUser,
}

impl SocketName {
    /// Every kind with its word in a ring's text.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("path", Self::Path),
        ("path-0", Self::PathAndZero),
        ("path-colon", Self::PathAndColon),
        ("uri-0", Self::UriAndZero),
        ("path-no-user", Self::PathNoUser),
    ];
}

/// How the number of a label is joined with the node's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbering {
    /// `name-0`.
    #[default]
    Dash,
    /// `name:0`: Dalli.
    Colon,
    /// `0-name`: the Core fork of Enyim.
    Before,
}

/// How a node is named on a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LabelRule {
    /// The name of a node with host and port.
    pub format: LabelFormat,
    /// The name of a socket.
    pub socket: SocketName,
    /// How labels are numbered.
    pub numbering: Numbering,
}

impl LabelRule {
    /// Returns the rule for names of one format.
    pub fn of(format: LabelFormat) -> Self {
        Self {
            format,
            ..Self::default()
        }
    }

    /// Returns the node's name on the ring: the user's label, or else the name in this
    /// format.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the name needs an address that is unknown.
    pub fn name(self, node: &NodeSpec) -> Result<String> {
        if let Some(label) = &node.label {
            return Ok(label.clone());
        }
        if node.socket_path().is_none() {
            return self.format.text(node);
        }
        let path = &node.host;
        Ok(match self.socket {
            SocketName::Path => path.clone(),
            SocketName::PathAndZero => format!("{path}:0"),
            SocketName::PathAndColon => format!("{path}:"),
            SocketName::UriAndZero => format!("unix://{path}:0"),
            SocketName::PathNoUser => format!("{path}_None_None"),
        })
    }

    /// Returns a name with a label's number.
    pub(super) fn numbered(self, name: &str, number: u32) -> String {
        match self.numbering {
            Numbering::Dash => format!("{name}-{number}"),
            Numbering::Colon => format!("{name}:{number}"),
            Numbering::Before => format!("{number}-{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(format: LabelFormat, node: &str) -> String {
        let node: NodeSpec = node.parse().unwrap();
        LabelRule::of(format).name(&node).unwrap()
    }

    #[test]
    fn the_default_port_is_left_out_of_the_name() {
        let format = LabelFormat::PortUnlessDefault;
        assert_eq!(name(format, "MC1"), "MC1");
        assert_eq!(name(format, "MC1:11212"), "MC1:11212");
        assert_eq!(name(format, "[::1]:11212"), "::1:11212");
        assert_eq!(
            name(LabelFormat::IpPortUnlessDefault, "a=10.0.0.1"),
            "10.0.0.1"
        );
    }

    #[test]
    fn other_formats_always_have_a_port() {
        assert_eq!(name(LabelFormat::HostPort, "mc1"), "mc1:11211");
        assert_eq!(name(LabelFormat::SlashHostPort, "mc1"), "/mc1:11211");
        assert_eq!(name(LabelFormat::HostSlashHostPort, "a:1"), "a/a:1");
        assert_eq!(name(LabelFormat::IpPort, "a:1=10.0.0.1"), "10.0.0.1:1");
        let format = LabelFormat::HostPortNoUser;
        assert_eq!(name(format, "[::1]"), "[::1]:11211_None_None");
        let format = LabelFormat::DotNetEndPoint;
        assert_eq!(name(format, "a:1"), "Unspecified/a:1");
        assert_eq!(name(format, "10.0.0.1:1"), "10.0.0.1:1");
    }

    #[test]
    fn java_names_a_node_by_host_and_address() {
        for (format, named, literal) in [
            (LabelFormat::HostIpPort, "a/10.0.0.1:1", "10.0.0.1:1"),
            (LabelFormat::JavaAddress, "a/10.0.0.1:1", "/10.0.0.1:1"),
            (
                LabelFormat::HostIpDefaultPort,
                "a/10.0.0.1:11211",
                "10.0.0.1/10.0.0.1:11211",
            ),
        ] {
            assert_eq!(name(format, "a:1=10.0.0.1"), named);
            assert_eq!(name(format, "10.0.0.1:1"), literal);
        }
        let local = name(LabelFormat::HostIpPort, "a:1=::1");
        assert_eq!(local, "a/[0:0:0:0:0:0:0:1]:1");
        let local = |format| name(format, "a:1=2001:db8::1");
        let java = "2001:db8:0:0:0:0:0:1";
        assert_eq!(
            local(LabelFormat::HostIpDefaultPort),
            format!("a/{java}:11211")
        );
        assert_eq!(local(LabelFormat::IpPortUnlessDefault), format!("{java}:1"));
        assert_eq!(local(LabelFormat::IpPort), "[2001:db8::1]:1");
    }

    #[test]
    fn an_address_that_is_not_known_is_asked_for() {
        let node: NodeSpec = "mc1*2".parse().unwrap();
        let error = LabelRule::of(LabelFormat::HostIpPort)
            .name(&node)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "node \"mc1:11211*2\": this ring hashes the address of a node, too; write \
             mc1:11211=ADDRESS, with the address that the client resolves it to, or mc1:11211@LABEL"
        );
    }

    #[test]
    fn a_given_label_replaces_the_name() {
        for (_, format) in LabelFormat::NAMES {
            assert_eq!(name(format, "mc1:11212@cache-a"), "cache-a");
        }
    }

    #[test]
    fn a_socket_is_named_by_its_path() {
        let node: NodeSpec = "unix:/run/m.sock".parse().unwrap();
        let names = SocketName::NAMES.map(|(_, socket)| {
            let rule = LabelRule {
                socket,
                ..LabelRule::default()
            };
            rule.name(&node).unwrap()
        });
        let wanted = [
            "/run/m.sock",
            "/run/m.sock:0",
            "/run/m.sock:",
            "unix:///run/m.sock:0",
            "/run/m.sock_None_None",
        ];
        assert_eq!(names, wanted);
    }
}
