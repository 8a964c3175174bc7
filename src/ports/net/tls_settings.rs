//! Settings of TLS to servers.

use std::path::PathBuf;

/// Settings of TLS; all files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Certificates of the trusted authorities, instead of the system's.
    pub authorities: Option<PathBuf>,
    /// Our certificate with its intermediate certificates, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in every server's certificate, if it is not the host name.
    pub server_name: Option<String>,
}
