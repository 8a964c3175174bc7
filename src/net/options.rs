//! How servers are reached.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::net::credentials::Credentials;
use crate::net::tls::TlsClient;

/// How sockets behave, and what servers are shown; cheap to clone.
#[derive(Clone, Debug)]
pub struct NetOptions {
    /// Longest time without a byte either way, and longest time to connect.
    pub timeout: Duration,
    /// Who we are, for servers that ask (`-Y`); told to no other.
    pub credentials: Option<Arc<Credentials>>,
    /// TLS over TCP; sockets of this host are spoken to without, as memcached
    /// itself does it.
    pub tls: Option<TlsClient>,
}

impl Default for NetOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            credentials: None,
            tls: None,
        }
    }
}

/// What TLS needs to know; all files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Certificates of the authorities to trust, in place of the system's.
    pub authorities: Option<PathBuf>,
    /// Our certificate, with those between it and its authority, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in every server's certificate, where it is not the host's.
    pub server_name: Option<String>,
}
