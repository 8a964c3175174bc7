//! Why a server that is up does not let us in.

/// An obstacle to using a server, which does not go away by retrying.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessProblem {
    /// The server speaks TLS, but was addressed in plain text.
    #[error("the server speaks TLS, and was spoken to without it")]
    TlsWanted,
    /// The server does not speak TLS, but was addressed in TLS.
    #[error("the server does not speak TLS")]
    TlsNotSpoken,
    /// No trusted authority has signed the server's certificate.
    #[error("the server's certificate is not signed by a trusted authority")]
    UnknownIssuer,
    /// The server's certificate is an authority's, which may not identify a server.
    #[error(
        "the server shows the certificate of an authority (CA:TRUE, as openssl req -x509 makes \
         them), which may not stand for a server; make one with CA:FALSE"
    )]
    AuthorityAsServer,
    /// The server's certificate is for another name.
    #[error("the server's certificate is for {found}, not for {wanted}")]
    WrongName {
        /// The names in the certificate.
        found: String,
        /// The expected name.
        wanted: String,
    },
    /// The server's certificate has expired or is not valid yet.
    #[error("the server's certificate has expired, or is not valid yet, by this host's clock")]
    WrongTime,
    /// The server wants a client certificate.
    #[error("the server wants a client certificate")]
    ClientCertificateWanted,
    /// The server rejects the client certificate.
    #[error("the server does not accept the client certificate")]
    ClientCertificateRefused,
    /// Any other TLS problem.
    #[error("TLS: {words}")]
    Tls {
        /// The problem in one line.
        words: String,
    },
    /// The server was started with a list of users (`-Y`), and wants a log-in.
    #[error("the server wants a user and a password")]
    AuthenticationWanted,
    /// The server rejects the user or the password.
    #[error("the server does not accept the user or the password")]
    AuthenticationRefused,
    /// The server speaks only the binary protocol, which cannot list keys or read a TTL.
    #[error(
        "the server speaks the binary protocol only ({option}), in which no key can be listed and \
         no TTL read"
    )]
    BinaryOnly {
        /// The option it was started with, as far as can be determined.
        option: &'static str,
    },
    /// The peer answers, but not as memcached does.
    #[error("wanted {wanted}, got \"{got}\"")]
    NotMemcached {
        /// The expected reply.
        wanted: &'static str,
        /// The first bytes of the actual reply, escaped.
        got: String,
    },
    /// The server answers but reveals nothing about itself.
    #[error(
        "it answers version, and hangs up at stats, as the proxy twemproxy does; if it is a \
         proxy, name the servers behind it"
    )]
    NoStats,
    /// The peer is a proxy, which holds no items.
    #[error("this is a proxy, not a server: {sign}; name the servers behind it")]
    Proxy {
        /// The sign by which it was recognised.
        sign: String,
    },
}

impl AccessProblem {
    /// Returns whether the caller's settings are wrong for this server.
    pub fn is_of_settings(&self) -> bool {
        match self {
            Self::TlsWanted
            | Self::TlsNotSpoken
            | Self::UnknownIssuer
            | Self::WrongName { .. }
            | Self::ClientCertificateWanted
            | Self::ClientCertificateRefused
            | Self::AuthenticationWanted
            | Self::AuthenticationRefused
            | Self::BinaryOnly { .. }
            | Self::NotMemcached { .. }
            | Self::NoStats
            | Self::Proxy { .. } => true,
            Self::AuthorityAsServer | Self::WrongTime | Self::Tls { .. } => false,
        }
    }
}
