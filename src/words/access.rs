//! Why a server does not let us in, though it is there.

/// What stands between us and a server. Nothing of it goes away by trying again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessProblem {
    /// It was spoken to in plain text.
    #[error("the server speaks TLS, and was spoken to without it")]
    TlsWanted,
    /// It was spoken to in TLS.
    #[error("the server does not speak TLS")]
    TlsNotSpoken,
    /// No trusted authority has signed its certificate.
    #[error("the server's certificate is not signed by a trusted authority")]
    UnknownIssuer,
    /// Its certificate may sign others, and so may not stand for a server.
    #[error(
        "the server shows the certificate of an authority (CA:TRUE, as openssl req -x509 makes \
         them), which may not stand for a server; make one with CA:FALSE"
    )]
    AuthorityAsServer,
    /// Its certificate is for somebody else.
    #[error("the server's certificate is for {found}, not for {wanted}")]
    WrongName {
        /// The names in it.
        found: String,
        /// The name that was wanted.
        wanted: String,
    },
    /// Its certificate is of another time.
    #[error("the server's certificate has expired, or is not valid yet, by this host's clock")]
    WrongTime,
    /// It asks who we are.
    #[error("the server wants a client certificate")]
    ClientCertificateWanted,
    /// It knows who we are.
    #[error("the server does not accept the client certificate")]
    ClientCertificateRefused,
    /// Anything else about TLS.
    #[error("TLS: {words}")]
    Tls {
        /// What, in one line.
        words: String,
    },
    /// It was started with a list of users (`-Y`).
    #[error("the server wants a user and a password")]
    AuthenticationWanted,
    /// They are not in its list.
    #[error("the server does not accept the user or the password")]
    AuthenticationRefused,
    /// It speaks the binary protocol alone, which has no command that lists keys
    /// and none that reads a TTL.
    #[error(
        "the server speaks the binary protocol only ({option}), in which no key can be listed and \
         no TTL read"
    )]
    BinaryOnly {
        /// What it was started with, as far as that shows.
        option: &'static str,
    },
    /// It answers, but not as memcached does.
    #[error("wanted {wanted}, got \"{got}\"")]
    NotMemcached {
        /// What would have been right.
        wanted: &'static str,
        /// The first bytes of what came, escaped.
        got: String,
    },
    /// It is there, and tells nothing of itself.
    #[error(
        "it answers version, and hangs up at stats, as the proxy twemproxy does; if it is a \
         proxy, name the servers behind it"
    )]
    NoStats,
    /// It holds no items.
    #[error("this is a proxy, not a server: {sign}; name the servers behind it")]
    Proxy {
        /// What gave it away.
        sign: String,
    },
}

impl AccessProblem {
    /// Says whether the caller's settings are wrong for this server.
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
